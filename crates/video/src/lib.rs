//! Clips in and out: decode, resize, encode, contact sheets, GIF.
