//! `kinvert-sprites`: trains the built-in model and measures it.

fn main() {}
