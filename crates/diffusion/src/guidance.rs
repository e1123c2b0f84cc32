//! Classifier-free guidance (arXiv:2207.12598).

use burn::tensor::{Tensor, backend::Backend};

use crate::Error;

/// How strongly a prompt pulls: `uncond + scale (cond - uncond)`.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn_flex::Flex;
/// use kinvert_diffusion::Guidance;
///
/// let guidance = Guidance::new(7.5)?;
/// // One pass over both: the negative (or empty) prompt's half comes first.
/// let both = Tensor::<Flex, 2>::from_floats([[1.0, 2.0], [2.0, 2.0]], &Default::default());
/// let guided = guidance.combine_halves(both);
/// assert_eq!(guided.into_data().to_vec::<f32>().unwrap(), [8.5, 2.0]);
/// # Ok::<(), kinvert_diffusion::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guidance {
    scale: f64,
}

impl Guidance {
    /// Guidance of a scale: 0 ignores the prompt, 1 follows the model, 7.5 and 12 are usual.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the scale is negative or not finite.
    pub fn new(scale: f64) -> Result<Self, Error> {
        if scale.is_finite() && scale >= 0.0 {
            return Ok(Self { scale });
        }
        Err(Error::OutOfRange {
            name: "guidance scale",
            found: scale,
            expected: "a finite number of at least 0",
        })
    }

    /// The scale.
    pub fn scale(self) -> f64 {
        self.scale
    }

    /// Whether the negative prompt takes part; if not, its half of the pass can be saved.
    pub fn needs_unconditional(self) -> bool {
        self.scale != 1.0
    }

    /// Combines the outputs for the negative prompt and for the prompt, which have one shape.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn combine<B: Backend, const D: usize>(
        self,
        uncond: Tensor<B, D>,
        cond: Tensor<B, D>,
    ) -> Tensor<B, D> {
        uncond.clone() + (cond - uncond) * self.scale
    }

    /// Combines the halves of one batched pass, `[2 * batch, ...]` to `[batch, ...]`; the first half belongs
    /// to the negative prompt.
    ///
    /// # Panics
    /// If the batch is odd.
    pub fn combine_halves<B: Backend, const D: usize>(self, both: Tensor<B, D>) -> Tensor<B, D> {
        let doubled = both.dims()[0];
        assert!(
            doubled.is_multiple_of(2),
            "expected two halves, found a batch of {doubled}"
        );
        let batch = doubled / 2;
        let uncond = both.clone().narrow(0, 0, batch);
        let cond = both.narrow(0, batch, batch);
        self.combine(uncond, cond)
    }
}
