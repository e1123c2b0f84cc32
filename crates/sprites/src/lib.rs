//! The sprite world and the small built-in model.
