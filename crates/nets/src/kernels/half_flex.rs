//! Between 16-bit floats and the f32 in which the CPU computes.
//!
//! Kernels take tensors of 16 bits by widening them, computing in f32 and narrowing the result, to the nearest number
//! and of two equally near ones to the even one: sums and whatever else lies inside a kernel have the precision of
//! f32. Weights stay in 16 bits; the wide copy of one layer lives as long as its product.

use burn::tensor::{Bytes, DType, Element, bf16, f16};
use burn_flex::{FlexTensor, Layout};
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::simd::vectorised;

/// Values that one task converts: 128 KiB of f32, so that both sides stay in the second-level cache.
const TASK: usize = 32 * 1024;

/// Whether all tensors have types that CPU kernels take: f32, or 16 bits by way of it.
pub(super) fn are_f32_or_half<'a>(tensors: impl IntoIterator<Item = &'a FlexTensor>) -> bool {
    let fits = |x: &FlexTensor| matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16);
    tensors.into_iter().all(fits)
}

/// Runs a kernel of f32 on tensors of one type, f32 or 16 bits; the result is of that type again.
pub(super) fn in_f32<const N: usize>(
    tensors: [FlexTensor; N],
    kernel: impl FnOnce([FlexTensor; N]) -> FlexTensor,
) -> FlexTensor {
    let dtype = tensors.first().map_or(DType::F32, FlexTensor::dtype);
    narrowed(kernel(tensors.map(widened)), dtype)
}

/// Floats of 16 bits as f32; anything else as it is.
pub(super) fn widened(tensor: FlexTensor) -> FlexTensor {
    let dtype = tensor.dtype();
    if !matches!(dtype, DType::F16 | DType::BF16) {
        return tensor;
    }
    let tensor = tensor.to_contiguous();
    let values = match dtype {
        DType::F16 => converted(tensor.storage::<f16>(), |from, to: &mut [f32]| {
            from.convert_to_f32_slice(to);
        }),
        _ => converted(tensor.storage::<bf16>(), |from, to: &mut [f32]| {
            let from = from.reinterpret_cast();
            vectorised(
                #[inline(always)]
                || {
                    for (to, bits) in to.iter_mut().zip(from) {
                        *to = f32::from_bits(u32::from(*bits) << 16);
                    }
                },
            );
        }),
    };
    like(&tensor, values)
}

/// f32 as floats of 16 bits, if that is the type; anything else as it is.
pub(super) fn narrowed(tensor: FlexTensor, dtype: DType) -> FlexTensor {
    if tensor.dtype() != DType::F32 || !matches!(dtype, DType::F16 | DType::BF16) {
        return tensor;
    }
    let tensor = tensor.to_contiguous();
    let source = tensor.storage::<f32>();
    if dtype == DType::F16 {
        let values = converted(source, |from, to: &mut [f16]| {
            to.convert_from_f32_slice(from)
        });
        return like(&tensor, values);
    }
    let values = converted(source, |from, to: &mut [bf16]| {
        let to = to.reinterpret_cast_mut();
        vectorised(
            #[inline(always)]
            || {
                for (to, value) in to.iter_mut().zip(from) {
                    *to = bf16_bits(*value);
                }
            },
        );
    });
    like(&tensor, values)
}

/// The upper half of an f32, rounded to nearest even; what is no number stays none.
#[inline(always)]
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    (if value.is_nan() { quiet } else { rounded }) as u16
}

/// Values of another type, by all threads unless there is little to do.
fn converted<S: Sync, T: Default + Clone + Send>(
    source: &[S],
    convert: impl Fn(&[S], &mut [T]) + Sync,
) -> Vec<T> {
    let mut values = vec![T::default(); source.len()];
    if source.len() < 2 * TASK {
        convert(source, &mut values);
    } else {
        values
            .par_chunks_mut(TASK)
            .zip(source.par_chunks(TASK))
            .for_each(|(to, from)| convert(from, to));
    }
    values
}

/// Values in the shape of a tensor.
fn like<T: Element>(tensor: &FlexTensor, values: Vec<T>) -> FlexTensor {
    let layout = Layout::contiguous(tensor.layout().shape().clone());
    FlexTensor::new(Bytes::from_elems(values), layout, T::dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Shape, TensorData};

    fn tensor<E: Element>(values: Vec<E>) -> FlexTensor {
        let shape = Shape::new([values.len()]);
        FlexTensor::from_data(TensorData::new(values, shape))
    }

    /// Every kind of f32: both signs, every exponent, ties and their neighbours, and what is no number.
    fn samples() -> Vec<f32> {
        let fractions = [
            0, 1, 0x0fff, 0x1000, 0x1001, 0x3000, 0x7fff, 0x8000, 0x8001, 0x1_8000, 0x7f_ffff,
        ];
        let bits = (0..=0x1ff_u32).flat_map(|sign_and_exponent| {
            fractions.map(|fraction| f32::from_bits(sign_and_exponent << 23 | fraction))
        });
        bits.collect()
    }

    #[test]
    fn narrowing_rounds_as_the_type_itself_does() {
        let samples = samples();
        // Twice: once in one piece, once in tasks.
        for repeats in [1, 30] {
            let values = samples.repeat(repeats);
            let found = narrowed(tensor(values.clone()), DType::BF16);
            for (value, found) in values.iter().zip(found.storage::<bf16>()) {
                let expected = bf16::from_f32(*value);
                let same = found.to_bits() == expected.to_bits();
                assert!(same || found.is_nan() && expected.is_nan(), "{value}");
            }
            let found = narrowed(tensor(values.clone()), DType::F16);
            for (value, found) in values.iter().zip(found.storage::<f16>()) {
                let expected = f16::from_f32(*value);
                let same = found.to_bits() == expected.to_bits();
                assert!(same || found.is_nan() && expected.is_nan(), "{value}");
            }
        }
    }

    #[test]
    fn widening_and_narrowing_gives_every_number_back() {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        let halves: Vec<f16> = bits.iter().map(|bits| f16::from_bits(*bits)).collect();
        let wide = widened(tensor(halves.clone()));
        assert_eq!(wide.dtype(), DType::F32);
        let back = narrowed(wide, DType::F16);
        for (found, half) in back.storage::<f16>().iter().zip(&halves) {
            assert!(found.to_bits() == half.to_bits() || found.is_nan() && half.is_nan());
        }
        let halves: Vec<bf16> = bits.iter().map(|bits| bf16::from_bits(*bits)).collect();
        let back = narrowed(widened(tensor(halves.clone())), DType::BF16);
        for (found, half) in back.storage::<bf16>().iter().zip(&halves) {
            assert!(found.to_bits() == half.to_bits() || found.is_nan() && half.is_nan());
        }
    }
}
