//! Recorded fixtures for the workspace's tests, and comparisons that say what differs.
//!
//! A fixture is a folder or file below `tests/fixtures/` at the workspace root; its README tells where it
//! comes from and how exactly it must be matched. This crate is a development dependency only: it panics
//! on anything unexpected, as a test should.
//!
//! [`server`] is for what talks over a network.

pub mod hub;
pub mod memory;
pub mod server;

use std::path::{Path, PathBuf};

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use safetensors::{Dtype, SafeTensors};

/// The folder `tests/fixtures/` of the workspace.
pub fn fixtures_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// The folder of the sprites model with the weights that `sprites/golden/` was recorded with. They were the first
/// weights of the built-in model, which may have others by now.
pub fn first_sprites_model() -> PathBuf {
    fixtures_dir().join("sprites/model")
}

/// Recorded tensors of one safetensors file.
pub struct Recording {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Recording {
    /// Opens `tests/fixtures/{path}`, for example `parity/unet3d/io.safetensors`.
    ///
    /// # Panics
    /// If the file cannot be read.
    pub fn open(path: &str) -> Self {
        let path = fixtures_dir().join(path);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { path, bytes }
    }

    fn parsed(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes)
            .unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .parsed()
            .names()
            .iter()
            .map(|n| n.to_string())
            .collect();
        names.sort();
        names
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.view(name, |view| view.shape().to_vec())
    }

    fn view<R>(
        &self,
        name: &str,
        read: impl FnOnce(safetensors::tensor::TensorView<'_>) -> R,
    ) -> R {
        let parsed = self.parsed();
        match parsed.tensor(name) {
            Ok(view) => read(view),
            Err(e) => panic!(
                "{}: {name}: {e}; it has {:?}",
                self.path.display(),
                self.names()
            ),
        }
    }

    /// Values of a float tensor (f16, f32 or f64) or a u8 tensor as f64, row-major.
    pub fn f64s(&self, name: &str) -> Vec<f64> {
        self.view(name, |view| {
            let data = view.data();
            match view.dtype() {
                Dtype::F32 => data
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f32::from_le_bytes(*b) as f64)
                    .collect(),
                Dtype::F64 => data
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f64::from_le_bytes(*b))
                    .collect(),
                Dtype::F16 => {
                    let half = |b: &[u8; 2]| burn::tensor::f16::from_le_bytes(*b).to_f64();
                    data.as_chunks().0.iter().map(half).collect()
                }
                Dtype::I64 => data
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| i64::from_le_bytes(*b) as f64)
                    .collect(),
                Dtype::U8 => data.iter().map(|b| *b as f64).collect(),
                other => panic!(
                    "{}: {name}: dtype {other:?} is not supported",
                    self.path.display()
                ),
            }
        })
    }

    /// Values of a tensor as f32, row-major.
    pub fn f32s(&self, name: &str) -> Vec<f32> {
        self.f64s(name).into_iter().map(|v| v as f32).collect()
    }

    /// Values of an integer tensor.
    pub fn i64s(&self, name: &str) -> Vec<i64> {
        self.f64s(name).into_iter().map(|v| v as i64).collect()
    }

    /// A float tensor with `D` dimensions.
    pub fn tensor<B: Backend, const D: usize>(
        &self,
        name: &str,
        device: &B::Device,
    ) -> Tensor<B, D> {
        Tensor::from_data(TensorData::new(self.f32s(name), self.shape(name)), device)
    }

    /// An integer tensor with `D` dimensions.
    pub fn ints<B: Backend, const D: usize>(
        &self,
        name: &str,
        device: &B::Device,
    ) -> Tensor<B, D, Int> {
        Tensor::from_data(TensorData::new(self.i64s(name), self.shape(name)), device)
    }

    /// Compares `actual` with the recorded tensor `name`; see [`assert_close`].
    ///
    /// # Panics
    /// If the shapes differ or any value lies outside the tolerance.
    pub fn expect<B: Backend, const D: usize>(
        &self,
        name: &str,
        actual: Tensor<B, D>,
        tolerance: Tolerance,
    ) {
        assert_eq!(actual.dims().to_vec(), self.shape(name), "{name}: shape");
        assert_close(name, &values(actual), &self.f32s(name), tolerance);
    }
}

/// The values of a tensor, row-major.
pub fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor
        .into_data()
        .convert::<f32>()
        .to_vec()
        .expect("float data")
}

/// How far from the recorded values an output may lie. There is no default: each use states its reason.
#[derive(Clone, Copy, Debug)]
pub enum Tolerance {
    /// Largest absolute difference.
    Absolute(f64),
    /// Largest absolute difference, as a fraction of the largest recorded absolute value.
    OfLargest(f64),
    /// Euclidean norm of the difference over the norm of the recorded values.
    RelativeL2(f64),
    /// Mean absolute difference.
    MeanAbsolute(f64),
}

/// Compares two lists of values.
///
/// # Panics
/// If the lengths differ, a value is not finite, or the difference exceeds the tolerance; the message names
/// the list and prints the worst pair.
pub fn assert_close(name: &str, actual: &[f32], expected: &[f32], tolerance: Tolerance) {
    assert_eq!(actual.len(), expected.len(), "{name}: number of values");
    let mut worst = (0, 0.0_f64);
    let (mut sum, mut sum_sq, mut ref_sq, mut largest) = (0.0, 0.0, 0.0, 0.0_f64);
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let difference = (a as f64 - e as f64).abs();
        assert!(
            difference.is_finite(),
            "{name}[{i}]: found {a}, expected {e}"
        );
        if difference > worst.1 {
            worst = (i, difference);
        }
        sum += difference;
        sum_sq += difference * difference;
        ref_sq += (e as f64) * (e as f64);
        largest = largest.max((e as f64).abs());
    }
    let (error, limit) = match tolerance {
        Tolerance::Absolute(limit) => (worst.1, limit),
        Tolerance::OfLargest(limit) => (worst.1 / largest.max(f64::MIN_POSITIVE), limit),
        Tolerance::RelativeL2(limit) => ((sum_sq / ref_sq.max(f64::MIN_POSITIVE)).sqrt(), limit),
        Tolerance::MeanAbsolute(limit) => (sum / actual.len().max(1) as f64, limit),
    };
    assert!(
        error <= limit,
        "{name}: error {error:.3e} exceeds {tolerance:?}; worst at {}: found {}, expected {}",
        worst.0,
        actual[worst.0],
        expected[worst.0],
    );
}
