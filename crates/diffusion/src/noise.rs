//! Seeded random numbers that depend on nothing but the seed and what they are for.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData, backend::Backend};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use rand_distr::{Distribution, StandardNormal};

/// A seed, and all the random numbers that belong to it.
///
/// There is no generator whose state a run would have to save: every draw has a label and an index, and the same
/// seed, label and index always give the same numbers, on every device and however many other draws there
/// were. A resumed run asks for step `i` and gets what an uninterrupted one got.
///
/// The algorithm is fixed, and a test pins its numbers; changing it changes what every saved seed means:
/// * The stream of a draw is ChaCha with 8 rounds, stream 0, from word 0 on, under the 256-bit key made of
///   the seed, the FNV-1a hash of the label, the index and 0, each 64 bits little-endian.
/// * A uniform float is the upper 53 bits of one 64-bit word, divided by 2^53.
/// * A uniform integer below `n` is the upper half of the 128-bit product of one word and `n`; a word
///   whose lower half falls below `2^64 mod n` is skipped, so that no number is favoured.
/// * An element of a mask is 0 if its 32-bit word, one after another in row-major order, is below the probability
///   times 2^32, rounded, and otherwise 1.
/// * Gaussians are `rand_distr`'s `StandardNormal` (a ziggurat), one f32 after another in row-major order.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn_flex::Flex;
/// use kinvert_diffusion::NoiseSource;
///
/// let source = NoiseSource::new(42);
/// let step = 17;
/// let noise: Tensor<Flex, 5> =
///     source.gaussian("inversion.noise", step, [1, 4, 2, 8, 8], &Default::default());
/// let timestep = source.uniform_int("inversion.timestep", step, 0..1000);
/// let coin = source.uniform("inversion.lora", step) < 0.8;
///
/// // Later, or elsewhere, the same again:
/// assert_eq!(NoiseSource::new(42).uniform_int("inversion.timestep", step, 0..1000), timestep);
/// # let _ = (noise, coin);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseSource {
    seed: u64,
}

impl NoiseSource {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    pub fn seed(self) -> u64 {
        self.seed
    }

    /// A tensor of independent standard Gaussians. They are drawn on the CPU in f32 and then moved to the
    /// device, where they take its default float type.
    pub fn gaussian<B: Backend, const D: usize>(
        self,
        label: &str,
        index: u64,
        shape: [usize; D],
        device: &B::Device,
    ) -> Tensor<B, D> {
        let mut stream = self.stream(label, index);
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| StandardNormal.sample(&mut stream))
            .collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// A tensor of ones, of which each is 0 instead with the given probability, independently of the others. It is
    /// drawn on the CPU and then moved to the device, where it takes its default float type.
    ///
    /// # Panics
    /// If the probability is not between 0 and 1.
    pub fn mask<B: Backend, const D: usize>(
        self,
        label: &str,
        index: u64,
        probability: f64,
        shape: [usize; D],
        device: &B::Device,
    ) -> Tensor<B, D> {
        assert!((0.0..=1.0).contains(&probability), "probability");
        let mut stream = self.stream(label, index);
        let below = (probability * (1_u64 << 32) as f64).round() as u64;
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| f32::from(u8::from(u64::from(stream.next_u32()) >= below)))
            .collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// A float from 0 up to 1, excluded.
    pub fn uniform(self, label: &str, index: u64) -> f64 {
        let word = self.stream(label, index).next_u64();
        (word >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An integer of `range`, all of them equally likely.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn uniform_int(self, label: &str, index: u64, range: Range<usize>) -> usize {
        assert!(!range.is_empty(), "nothing to draw from {range:?}");
        let count = (range.end - range.start) as u64;
        let skipped = count.wrapping_neg() % count; // 2^64 mod count
        let mut stream = self.stream(label, index);
        loop {
            let product = u128::from(stream.next_u64()) * u128::from(count);
            if product as u64 >= skipped {
                return range.start + (product >> 64) as usize;
            }
        }
    }

    fn stream(self, label: &str, index: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (part, word) in key
            .chunks_exact_mut(8)
            .zip([self.seed, fnv1a(label), index])
        {
            part.copy_from_slice(&word.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

/// The 64-bit FNV-1a hash.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    fn gaussians(source: NoiseSource, label: &str, index: u64, count: usize) -> Vec<f32> {
        let tensor: Tensor<Flex, 1> = source.gaussian(label, index, [count], &Default::default());
        tensor.into_data().to_vec().unwrap()
    }

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }

    /// The fraction and the integer were computed by hand from the documented algorithm as well.
    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let source = NoiseSource::new(42);
        let expected = [-1.848_409_3, 0.386_900_2, -0.585_260_8, 0.365_731_12];
        assert_eq!(gaussians(source, "noise", 3, 4), expected);
        assert_eq!(source.uniform("coin", 3), 0.721_265_804_619_730_9);
        assert_eq!(source.uniform_int("timestep", 3, 0..1000), 757);
    }

    #[test]
    fn seed_label_and_index_each_make_another_stream() {
        let source = NoiseSource::new(1);
        let draws = [
            gaussians(source, "a", 0, 1000),
            gaussians(NoiseSource::new(2), "a", 0, 1000),
            gaussians(source, "b", 0, 1000),
            gaussians(source, "a", 1, 1000),
        ];
        for (i, left) in draws.iter().enumerate() {
            assert_eq!(gaussians(source, "a", 0, 1000), draws[0]);
            for right in &draws[i + 1..] {
                let products = left.iter().zip(right).map(|(a, b)| f64::from(a * b));
                let correlation = products.sum::<f64>() / 1000.0;
                assert!(
                    correlation.abs() < 0.15,
                    "five deviations are 0.16: {correlation}"
                );
            }
        }
    }

    #[test]
    fn gaussians_have_the_moments_of_a_normal_distribution() {
        let values = gaussians(NoiseSource::new(9), "moments", 0, 200_000);
        let moment = |power: i32| {
            let powers = values.iter().map(|v| f64::from(*v).powi(power));
            powers.sum::<f64>() / values.len() as f64
        };
        // Deviations of the estimates are 0.002, 0.003, 0.009 and 0.022.
        assert!(moment(1).abs() < 0.01, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.015, "{}", moment(2));
        assert!(moment(3).abs() < 0.04, "{}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.1, "{}", moment(4));
    }

    #[test]
    fn masks_have_as_many_zeros_as_they_should() {
        let source = NoiseSource::new(4);
        let mask = |label, probability| -> Vec<f32> {
            let mask: Tensor<Flex, 1> =
                source.mask(label, 2, probability, [100_000], &Default::default());
            mask.into_data().to_vec().unwrap()
        };
        let tenth = mask("a", 0.1);
        let zeros = tenth.iter().filter(|value| **value == 0.0).count();
        assert!(
            (9_500..10_500).contains(&zeros),
            "the deviation is 95: {zeros}"
        );
        assert!(tenth.iter().all(|value| *value == 0.0 || *value == 1.0));
        assert_eq!(tenth, mask("a", 0.1));
        assert_ne!(tenth, mask("b", 0.1));
        assert!(mask("a", 0.0).iter().all(|value| *value == 1.0));
        assert!(mask("a", 1.0).iter().all(|value| *value == 0.0));
    }

    #[test]
    fn integers_cover_their_range_evenly() {
        let source = NoiseSource::new(5);
        let mut counts = [0; 7];
        for index in 0..7000 {
            counts[source.uniform_int("die", index, 10..17) - 10] += 1;
        }
        // The deviation of a count is 29.
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
        assert_eq!(source.uniform_int("single", 0, 3..4), 3);
    }
}
