//! Papers, language models and benchmarks, through what this crate shows of them.

mod chat;
