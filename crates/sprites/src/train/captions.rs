//! The captions of all looks, as the text encoder takes them.

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use kinvert_nets::clip::CLIPTokenizer;
use kinvert_world::Look;

/// Where a look stands in [`Look::all`].
pub fn number_of(look: Look) -> usize {
    // Every look is one of all.
    Look::all()
        .position(|other| other == look)
        .unwrap_or_default()
}

/// Token ids `[texts, tokens]`.
pub fn token_ids<B: Backend>(
    tokenizer: &CLIPTokenizer,
    texts: impl IntoIterator<Item = String>,
    device: &B::Device,
) -> Tensor<B, 2, Int> {
    let rows: Vec<Vec<i64>> = texts
        .into_iter()
        .map(|text| tokenizer.encode(&text).ids)
        .collect();
    let shape = [rows.len(), tokenizer.max_length()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), device)
}

/// Token ids of the captions of all looks, `[240, tokens]`.
pub fn all_captions<B: Backend>(
    tokenizer: &CLIPTokenizer,
    device: &B::Device,
) -> Tensor<B, 2, Int> {
    token_ids(tokenizer, Look::all().map(|look| look.caption()), device)
}
