//! Parity and bad input.
