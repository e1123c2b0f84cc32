//! How good a model of the sprite world is, in one table.
