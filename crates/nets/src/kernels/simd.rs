//! Loops for the CPU kernels that the compiler turns into vector instructions.
//!
//! Everything here is plain arithmetic on slices, inlined into [`vectorised`], which compiles it once for each
//! instruction set and picks one when the program runs. Products and sums are never fused, so that a value is the
//! same with every instruction set.

use macerator::{Arch, Scalar, Simd, WithSimd};

/// Values that loops handle side by side: one to four vectors.
pub const LANES: usize = 16;

/// Runs `work` with the widest vector instructions of this processor. `work` and all that it calls must be
/// `#[inline(always)]`: code that is called rather than inlined is compiled for the oldest processor.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    struct Work<F>(F);

    impl<R, F: FnOnce() -> R> WithSimd for Work<F> {
        type Output = R;

        #[inline(always)]
        fn with_simd<S: Simd>(self) -> R {
            (self.0)()
        }
    }

    Arch::new().dispatch(Work(work))
}

/// Runs `work` with the widest vectors of this processor, for loops that the compiler would not turn into instructions
/// on whole vectors by itself.
#[inline(always)]
pub fn on_vectors<W: WithSimd>(work: W) -> W::Output {
    Arch::new().dispatch(work)
}

/// A vector of an instruction set.
pub type Vector<S> = macerator::Vector<S, f32>;

/// The first `count` values, at most as many as a vector has, and zeros.
#[inline(always)]
pub fn load<S: Simd>(values: &[f32], count: usize) -> Vector<S> {
    if count == S::lanes32() {
        return whole(&values[..count]);
    }
    let mut lanes = [0.0; LANES];
    lanes[..count].copy_from_slice(&values[..count]);
    whole(&lanes)
}

#[inline(always)]
fn whole<S: Simd>(values: &[f32]) -> Vector<S> {
    assert!(S::lanes32() <= values.len());
    // SAFETY: there are as many values as a vector has, and none need be aligned.
    #[allow(unsafe_code)]
    unsafe {
        f32::vload_unaligned(values.as_ptr())
    }
}

/// Writes the first `count` values, at most as many as a vector has.
#[inline(always)]
pub fn store<S: Simd>(to: &mut [f32], values: Vector<S>, count: usize) {
    if count == S::lanes32() {
        return store_whole(&mut to[..count], values);
    }
    let mut lanes = [0.0; LANES];
    store_whole(&mut lanes, values);
    to[..count].copy_from_slice(&lanes[..count]);
}

#[inline(always)]
fn store_whole<S: Simd>(to: &mut [f32], values: Vector<S>) {
    assert!(S::lanes32() <= to.len());
    // SAFETY: there is room for as many values as a vector has, and they need not be aligned.
    #[allow(unsafe_code)]
    unsafe {
        f32::vstore_unaligned(to.as_mut_ptr(), values);
    }
}

/// `e^x`, off by at most 1.5 units in the last place where the result is a normal number. Below -87.3 it is the
/// smallest normal number and from 88.4 infinite.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // ln 2 in two parts: the first has few enough bits for its products with whole numbers to be exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;

    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let rest = (x - whole * LN_2_HIGH) - whole * LN_2_LOW; // within ln(2) / 2
    // (e^r - 1 - r) / r², a Chebyshev fit within 8e-9 after multiplication by r².
    let tail = polynomial(
        rest,
        [
            1.392_625_1e-3,
            8.363_233e-3,
            4.166_655_4e-2,
            1.666_657_7e-1,
            0.5,
        ],
    );
    let fraction = 1.0 + (rest + rest * rest * tail);
    fraction * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The derivative of SiLU.
#[inline(always)]
pub fn silu_slope(x: f32) -> f32 {
    let s = sigmoid(x);
    s + x * s * (1.0 - s)
}

/// The distribution function of the standard normal distribution at `x`, and `e^(-x²/2)`.
///
/// The tail is `e^(-u²/2) t p(t)` with `t = 1 / (1 + 0.35 u)` and `u = |x|`, so that small values keep their digits
/// where one plus an error function would lose them.
#[inline(always)]
pub fn normal_distribution(x: f32) -> (f32, f32) {
    let distance = x.abs();
    let bell = exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.35 * distance);
    // A Chebyshev fit on 0 ≤ u ≤ 14, within 4e-8 of the value.
    let fit = polynomial(
        t,
        [
            -2.967_952_2e-2,
            1.465_458_3e-1,
            -2.609_612_3e-1,
            1.650_51e-1,
            -2.704_660_8e-2,
            1.071_145_9e-1,
            1.194_449_2e-1,
            1.399_123e-1,
            1.396_187_1e-1,
        ],
    );
    let tail = bell * (t * fit);
    (if x < 0.0 { tail } else { 1.0 - tail }, bell)
}

/// Horner's scheme, highest power first.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut value = coefficients[0];
    for coefficient in &coefficients[1..] {
        value = value * x + coefficient;
    }
    value
}

/// Sums over pairs of values. Each block is added up in f32, the blocks in f64: rounding does not grow with the
/// length.
#[inline(always)]
pub fn sum_pairs<const N: usize>(
    left: &[f32],
    right: &[f32],
    terms: impl Fn(f32, f32) -> [f32; N],
) -> [f64; N] {
    const BLOCK: usize = 64 * LANES;

    let mut totals = [0.0_f64; N];
    for (left, right) in left.chunks(BLOCK).zip(right.chunks(BLOCK)) {
        let mut sums = [[0.0_f32; LANES]; N];
        let (left_lanes, left_rest) = left.as_chunks::<LANES>();
        let (right_lanes, right_rest) = right.as_chunks::<LANES>();
        for (left, right) in left_lanes.iter().zip(right_lanes) {
            for lane in 0..LANES {
                let terms = terms(left[lane], right[lane]);
                for i in 0..N {
                    sums[i][lane] += terms[i];
                }
            }
        }
        // Not added to a lane: an index that varies would keep the lanes out of registers.
        let mut rest = [0.0_f32; N];
        for (&left, &right) in left_rest.iter().zip(right_rest) {
            let terms = terms(left, right);
            for i in 0..N {
                rest[i] += terms[i];
            }
        }
        for i in 0..N {
            totals[i] += f64::from(sum_lanes(sums[i]) + rest[i]);
        }
    }
    totals
}

/// Adds neighbours until one value is left.
#[inline(always)]
fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// Mean and mean squared distance from it.
///
/// Both come from one pass through memory: each block is read twice while it is in the cache, and blocks are
/// joined as in Chan, Golub and LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing Sample
/// Variances* (1979). A mean far from zero costs no digits.
#[inline(always)]
pub fn mean_and_variance(values: &[f32]) -> (f64, f64) {
    const BLOCK: usize = 4096;

    let mut blocks = values.chunks(BLOCK);
    let Some(first) = blocks.next() else {
        return (0.0, 0.0);
    };
    let mut count = first.len() as f64;
    let (mut mean, mut squares) = mean_and_squares(first);
    for block in blocks {
        let length = block.len() as f64;
        let (block_mean, block_squares) = mean_and_squares(block);
        let difference = block_mean - mean;
        let joined = count + length;
        mean += difference * length / joined;
        squares += block_squares + difference * difference * count * length / joined;
        count = joined;
    }
    (mean, squares / count)
}

/// Mean and sum of squared distances from it.
#[inline(always)]
fn mean_and_squares(values: &[f32]) -> (f64, f64) {
    let per_value = (values.len() as f64).recip();
    let [sum] = sum_pairs(values, values, |x, _| [x]);
    let centre = (sum * per_value) as f32;
    let [offset, squares] = sum_pairs(values, values, |x, _| {
        let distance = x - centre;
        [distance, distance * distance]
    });
    // What `centre` lost by rounding comes back through `offset`.
    let mean = f64::from(centre) + offset * per_value;
    (mean, (squares - offset * offset * per_value).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in units in the last place of the exact value.
    fn ulps(found: f32, exact: f64) -> f64 {
        let nearest = exact as f32;
        let ulp = f64::from(nearest.next_up()) - f64::from(nearest);
        (f64::from(found) - exact).abs() / ulp
    }

    fn sweep(from: f32, to: f32, count: usize) -> Vec<f32> {
        let step = (f64::from(to) - f64::from(from)) / count as f64;
        (0..=count)
            .map(|i| (f64::from(from) + step * i as f64) as f32)
            .collect()
    }

    #[test]
    fn exp_is_right_to_the_last_place_or_so() {
        for x in sweep(-87.3, 88.3, 1_000_003) {
            let error = ulps(vectorised(|| exp(x)), f64::from(x).exp());
            assert!(error < 1.5, "exp({x}): {error} units in the last place");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(1e-42), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(-1e4) < 1.3e-38);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_is_right_in_both_tails() {
        for x in sweep(-80.0, 80.0, 100_003) {
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            let error = ulps(vectorised(|| sigmoid(x)), exact);
            assert!(error < 3.0, "sigmoid({x}): {error} units in the last place");
        }
    }

    #[test]
    fn the_normal_distribution_agrees_with_known_values() {
        // mpmath: ncdf(x) to 12 digits.
        let known = [
            (-10.0, 7.619_853_024_160_527e-24),
            (-5.0, 2.866_515_718_791_939e-7),
            (-2.5, 6.209_665_325_776_135e-3),
            (-1.0, 0.158_655_253_931_457),
            (-0.125, 0.450_261_775_169_887),
            (0.0, 0.5),
            (0.5, 0.691_462_461_274_013),
            (1.5, 0.933_192_798_731_142),
            (3.0, 0.998_650_101_968_370),
            (6.0, 0.999_999_999_013_412),
        ];
        for (x, exact) in known {
            let (found, bell) = normal_distribution(x);
            // Relative: 4e-8 from the fit, a few roundings, and the square in the exponent, rounded to x²/2 * 6e-8.
            let tolerance = 4e-7 + f64::from(x * x) * 6e-8;
            let error = (f64::from(found) - exact).abs() / exact;
            assert!(error < tolerance, "at {x}: {found}, expected {exact}");
            let exact = (-0.5 * f64::from(x) * f64::from(x)).exp();
            assert!((f64::from(bell) - exact).abs() < tolerance * exact);
        }
        assert_eq!(normal_distribution(1e4).0, 1.0);
        assert!(normal_distribution(-1e4).0 < 1e-37);
    }

    #[test]
    fn moments_survive_a_mean_far_from_zero() {
        for count in [1, 2, 15, 16, 17, 1023, 4096, 4097, 50_000] {
            let values: Vec<f32> = (0..count)
                .map(|i| 1e4 + ((i * 7919) % 101) as f32 * 0.125)
                .collect();
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count as f64;
            let variance = values
                .iter()
                .map(|&x| (f64::from(x) - mean).powi(2))
                .sum::<f64>()
                / count as f64;
            let (found_mean, found_variance) = vectorised(|| mean_and_variance(&values));
            assert!((found_mean - mean).abs() < 1e-6 * mean, "mean of {count}");
            // Squares are added in f32, 64 in a row: 2e-6 measured.
            assert!(
                (found_variance - variance).abs() <= 1e-5 * variance,
                "variance of {count}: {found_variance}, expected {variance}"
            );
        }
    }
}
