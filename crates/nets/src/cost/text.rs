//! The cost of the text encoder.

use super::{ForwardCost, attention, linear};
use crate::clip::CLIPTextConfig;

impl CLIPTextConfig {
    /// The cost of encoding one prompt, padded to full length.
    pub fn encode_cost(&self) -> ForwardCost {
        let (width, middle) = (self.hidden_size as u64, self.intermediate_size as u64);
        let tokens = self.max_position_embeddings as u64;
        let layer = linear(width, width, 4 * tokens)
            + linear(width, middle, 2 * tokens)
            + attention(width, tokens, tokens, 1);
        ForwardCost {
            flops: layer * self.num_hidden_layers as u64,
            // The residual, what is normed, and the two sides of the wide layer.
            peak: (2 * width + 2 * middle) * tokens,
        }
    }
}
