//! The learned projection with which embeddings enter by concatenation.
//!
//! [`Integration::Concat`](crate::Integration::Concat) puts the embedding `M` beside the features `h`, both with
//! `C` channels, and projects the `2C` channels back to `C`. The identity on the features is written out as a
//! shortcut, and what is learned is the rest:
//!
//! ```text
//! h + [h, M] P / 2C     the same as     [h, M] ([I; 0] + P / 2C)
//! ```
//!
//! **Start.** `P` starts at zero, so the network starts as the plain one exactly, as with every other
//! integration. `M` must not start at zero as well: the gradient of each is a product with the other, and both
//! would stay where they are for ever. `M` therefore starts at standard Gaussians drawn from the seed of learning,
//! of the scale that normalised features have, so that neither half of the concatenation outweighs the other. At
//! the first step the gradient moves `P`, and from the second on both.
//!
//! **Scale.** AdamW moves every number by about the learning rate, whatever its gradient. Without the
//! factor `1 / 2C` the first step, in which the rows of `P` move together, would change a feature by up to `2C`
//! learning rates; with it, by about one, as a step of an embedding that is added does. So all integrations share one
//! learning rate. On the built-in model, with the same draws, the mean loss of steps 61 to 80 is 0.017 by
//! concatenation and 0.015 by addition.

/// What is learned of one projection, `P` above: `[2 * channels, channels]`, row-major, the rows of the
/// features first.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    channels: usize,
    values: Vec<f32>,
}

impl Projection {
    /// A projection from its values.
    ///
    /// # Panics
    /// If the number of values is not that of the shape.
    pub fn new(channels: usize, values: Vec<f32>) -> Self {
        let expected = 2 * channels * channels;
        assert_eq!(values.len(), expected, "values for {channels} channels");
        Self { channels, values }
    }

    /// `[2 * channels, channels]`.
    pub fn shape(&self) -> [usize; 2] {
        [2 * self.channels, self.channels]
    }

    /// The values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Every value times a factor: how strongly features and embedding change the features. At zero, nothing
    /// does.
    pub fn scaled(&self, factor: f32) -> Self {
        let values = self.values.iter().map(|value| value * factor).collect();
        Self::new(self.channels, values)
    }
}
