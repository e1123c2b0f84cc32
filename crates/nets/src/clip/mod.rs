//! CLIP: the text encoder that conditions the diffusion networks, the full model that compares images with
//! sentences, and what prepares their inputs.
//!
//! Source: *Learning Transferable Visual Models From Natural Language Supervision* (arXiv:2103.00020), with
//! the names, configuration fields and defaults of the transformers library (`CLIPTextModel`, `CLIPModel`).
//! Both towers are the same pre-norm transformer ([`encoder`]); the text tower attends causally and takes no
//! padding mask, as published.

pub mod encoder;
pub mod image;
pub mod model;
pub mod text;
pub mod tokenizer;
pub mod vision;

pub use image::ImagePreprocessor;
pub use model::{CLIPConfig, CLIPModel, cosine_similarities};
pub use text::{CLIPTextConfig, CLIPTextModel, CLIPTextOutput};
pub use tokenizer::{CLIPTokenizer, Encoding};
pub use vision::{CLIPVisionConfig, CLIPVisionOutput};

use std::fmt;

use crate::Error;

/// A part of a `config.json`, for messages about its fields.
#[derive(Clone, Copy)]
struct Section<'a> {
    /// The file.
    path: &'a str,
    /// The object within the file that holds the fields; empty at the top level.
    name: &'a str,
}

impl Section<'_> {
    /// The error for a field whose value is not supported.
    fn refuse(&self, field: &str, found: impl fmt::Debug, expected: impl Into<String>) -> Error {
        if self.name.is_empty() {
            Error::config(self.path, field, found, expected)
        } else {
            Error::config(
                self.path,
                &format!("{}.{field}", self.name),
                found,
                expected,
            )
        }
    }

    /// Checks that a size lies within `1..=most`. The bounds lie far above every published model; they keep
    /// a damaged file from asking for absurd amounts of memory.
    fn expect_size(&self, field: &str, found: usize, most: usize) -> Result<(), Error> {
        if (1..=most).contains(&found) {
            Ok(())
        } else {
            Err(self.refuse(field, found, format!("a number from 1 to {most}")))
        }
    }
}

/// Whether a tensor is one of the buffers that some published files carry and no network reads.
fn is_position_ids(name: &str) -> bool {
    name.ends_with("embeddings.position_ids")
}
