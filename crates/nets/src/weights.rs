//! Weight files: reading them, and filling a network with them.
//!
//! Weights are read as safetensors or, where those are not there, as state dictionaries that PyTorch saved; whole or
//! in shards. A network names its fields as the published checkpoint does; the few keys that cannot be Rust field
//! names are renamed by one [`KeyMap`] per network.
//! Linear weights are stored as `[out, in]`, or as 1×1 convolutions `[out, in, 1, 1]`, in files and as `[in, out]` in Burn, and norms call their
//! parameters `weight` and `bias` in files and `gamma` and `beta` in Burn: both are handled here, once.
//!
//! A tensor that is missing, unused, misshapen, of a dtype that is no float, or that holds a value that is
//! not finite is a fault; all faults are collected and reported together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Element, FloatDType, Tensor, TensorData, backend::Backend, bf16, f16};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::error::{Error, KeyFaults};
use crate::files::{FileBytes, ModelFiles};
use crate::keys::Place;
use crate::original;
use crate::precision::Precision;
use crate::pytorch;
use crate::weight_names::weight_names;

/// How the fields of a network become keys of its checkpoint: pairs of (part of the field's path, what
/// stands for it in the key), applied in order. Paths are matched with a leading and inner dots, for example
/// `(".to_out.", ".to_out.0.")`.
pub type KeyMap<'a> = &'a [(&'static str, &'static str)];

/// The tensors of a checkpoint, not yet converted.
pub struct Weights {
    origin: String,
    tensors: BTreeMap<String, Stored>,
    values_are_read: bool,
}

/// [`Weights::open`] or [`Weights::open_shapes`].
pub(crate) type OpenWeights = fn(&ModelFiles, &str) -> Result<Weights, Error>;

/// Where one tensor lies.
struct Stored {
    file: FileBytes,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Elements from one place of an axis to the next, unless the values lie row by row.
    strides: Option<Vec<usize>>,
    range: std::ops::Range<usize>,
}

impl Weights {
    /// Opens the weights that [`weight_files`] finds. Those of a [single file](ModelFiles::original) get their
    /// published names.
    ///
    /// # Errors
    /// If there are none, a shard is missing, a name climbs out of the folder, or a file is damaged.
    pub fn open(files: &ModelFiles, stem: &str) -> Result<Self, Error> {
        let names = weight_files(files, stem)?;
        let of_original = || {
            let part = files.weights_at(names.first()?)?;
            Some((files.original_path()?, part))
        };
        match of_original() {
            Some((path, part)) => original::to_published(Self::open_file(path)?, part),
            None => Self::open_files(files, &names),
        }
    }

    /// As [`open`](Self::open), but names and shapes alone are compared when a network is [filled](Self::fill), which
    /// then keeps its own values.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_shapes(files: &ModelFiles, stem: &str) -> Result<Self, Error> {
        let mut weights = Self::open(files, stem)?;
        weights.values_are_read = false;
        Ok(weights)
    }

    /// Opens one file of any name: safetensors if it is called so, otherwise a state dictionary that PyTorch
    /// saved (`.bin`, `.ckpt`, `.pth`, `.pt`), of which no code is run.
    ///
    /// # Errors
    /// If the file is missing, or damaged, or something else.
    pub fn open_file(path: &Path) -> Result<Self, Error> {
        let (files, name) = ModelFiles::around(path);
        Self::open_files(&files, &[name])
    }

    fn open_files(files: &ModelFiles, names: &[String]) -> Result<Self, Error> {
        let mut weights = Self {
            origin: names
                .first()
                .map(|name| files.label(name))
                .unwrap_or_default(),
            tensors: BTreeMap::new(),
            values_are_read: true,
        };
        for name in names {
            let (file, label) = (files.open(name)?, files.label(name));
            match name.ends_with(".safetensors") {
                true => weights.add(file, &label)?,
                false => weights.add_state_dict(file, &label)?,
            }
        }
        Ok(weights)
    }

    /// Reads a safetensors file; `origin` names it in messages.
    ///
    /// # Errors
    /// If the bytes are not valid safetensors.
    pub fn from_bytes(bytes: &'static [u8], origin: &str) -> Result<Self, Error> {
        let mut weights = Self {
            origin: origin.into(),
            tensors: BTreeMap::new(),
            values_are_read: true,
        };
        weights.add(FileBytes::Static(bytes), origin)?;
        Ok(weights)
    }

    fn add(&mut self, file: FileBytes, label: &str) -> Result<(), Error> {
        let invalid = |source| Error::Safetensors {
            path: label.to_string(),
            source,
        };
        // The header's length is bounded by the reader (100 MB) and by the file before anything is
        // allocated, and every offset is checked against the data.
        let parsed = SafeTensors::deserialize(&file).map_err(invalid)?;
        let base = file.as_ptr() as usize;
        for (name, view) in parsed.iter() {
            let start = view.data().as_ptr() as usize - base;
            let stored = Stored {
                file: file.clone(),
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                strides: None,
                range: start..start + view.data().len(),
            };
            self.tensors.insert(name.to_string(), stored);
        }
        Ok(())
    }

    fn add_state_dict(&mut self, file: FileBytes, label: &str) -> Result<(), Error> {
        let saved = pytorch::state_dict(&file).map_err(|reason| Error::PyTorch {
            path: label.to_string(),
            reason,
        })?;
        let stored = saved.into_iter().map(|(name, tensor)| {
            let stored = Stored {
                file: file.clone(),
                dtype: tensor.dtype,
                shape: tensor.shape,
                strides: tensor.strides,
                range: tensor.range,
            };
            (name, stored)
        });
        self.tensors.extend(stored);
        Ok(())
    }

    /// Drops every tensor whose name satisfies `unwanted`: buffers that some exports carry and no network
    /// reads.
    pub fn without(mut self, unwanted: impl Fn(&str) -> bool) -> Self {
        self.tensors.retain(|name, _| !unwanted(name));
        self
    }

    /// Renames every tensor.
    pub fn renamed(mut self, rename: impl Fn(&str) -> String) -> Self {
        self.tensors = std::mem::take(&mut self.tensors)
            .into_iter()
            .map(|(name, stored)| (rename(&name), stored))
            .collect();
        self
    }

    /// These tensors and those of another checkpoint.
    ///
    /// # Errors
    /// [`Error::Weights`] if both have a tensor of the same name.
    pub fn joined(mut self, other: Self) -> Result<Self, Error> {
        let both = other.names().filter(|name| self.shape(name).is_some());
        let unused: Vec<String> = both.map(String::from).collect();
        if !unused.is_empty() {
            return Err(other.faulty(KeyFaults {
                unused,
                ..KeyFaults::default()
            }));
        }
        self.origin = format!("{} with {}", self.origin, other.origin);
        self.tensors.extend(other.tensors);
        Ok(self)
    }

    /// Adds a tensor that was computed, or puts it in the place of another; `values` are row-major.
    ///
    /// # Panics
    /// If there are other than `shape` says.
    pub fn insert(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        assert_eq!(
            values.len(),
            shape.iter().product::<usize>(),
            "values of {shape:?}"
        );
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        let stored = Stored {
            range: 0..bytes.len(),
            file: FileBytes::Owned(bytes.into()),
            dtype: Dtype::F32,
            shape: shape.into(),
            strides: None,
        };
        self.tensors.insert(name.into(), stored);
    }

    /// What names the checkpoint in messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// That these weights fit no network.
    pub(crate) fn faulty(&self, faults: KeyFaults) -> Error {
        Error::Weights {
            path: self.origin.clone(),
            faults,
        }
    }

    /// Names of all tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    /// Dtype of a tensor in its file.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.tensors.get(name).map(|stored| stored.dtype)
    }

    /// The values of a tensor, row-major, or why they cannot be used.
    ///
    /// # Errors
    /// If it is missing, no float tensor, holds a value that is not finite, or claims more elements than lie in
    /// the file (which PyTorch's strides can).
    pub fn values(&self, name: &str) -> Result<Vec<f32>, String> {
        let stored = self.tensors.get(name).ok_or("is missing")?;
        let elements = stored
            .shape
            .iter()
            .try_fold(1_usize, |n, side| n.checked_mul(*side));
        if elements.is_none_or(|elements| elements > stored.file.len()) {
            return Err(format!(
                "claims {:?} elements, more than lie in the file",
                stored.shape
            ));
        }
        stored.decode()
    }

    /// Takes out the value of a tensor without axes, which Burn's modules do not have.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is missing, has axes, or is no finite number.
    pub fn take_number(&mut self, name: &str) -> Result<f32, Error> {
        let mut faults = KeyFaults::default();
        match self.tensors.remove(name) {
            None => faults.missing.push(name.into()),
            Some(stored) if !stored.shape.is_empty() => {
                faults
                    .misshapen
                    .push((name.into(), stored.shape, Vec::new()));
            }
            Some(stored) => match stored.decode().as_deref() {
                Ok([value]) => return Ok(*value),
                Ok(_) => faults.unusable.push((name.into(), "is damaged".into())),
                Err(reason) => faults.unusable.push((name.into(), reason.clone())),
            },
        }
        Err(Error::Weights {
            path: self.origin.clone(),
            faults,
        })
    }

    /// Fills a network in f32; see [`fill_as`](Self::fill_as).
    ///
    /// # Errors
    /// As [`fill_as`](Self::fill_as).
    pub fn fill<B: Backend, M: Module<B>>(
        self,
        module: M,
        key_map: KeyMap<'_>,
    ) -> Result<M, Error> {
        self.fill_as(Precision::F32, module, key_map)
    }

    /// Fills a network, converting every weight to the given number format, and freezes it: no weight collects
    /// gradients.
    ///
    /// # Errors
    /// [`Error::Weights`] with every fault, if there is any.
    pub fn fill_as<B: Backend, M: Module<B>>(
        self,
        precision: Precision,
        module: M,
        key_map: KeyMap<'_>,
    ) -> Result<M, Error> {
        let mut filler = Filler {
            precision,
            weights: &self,
            key_map,
            place: Place::default(),
            used: BTreeSet::new(),
            faults: KeyFaults::default(),
        };
        let module = module.map(&mut filler);
        let Filler {
            used, mut faults, ..
        } = filler;
        faults.unused = self
            .tensors
            .keys()
            .filter(|name| !used.contains(*name))
            .cloned()
            .collect();
        if faults.is_empty() {
            Ok(match self.values_are_read {
                true => module.no_grad(),
                false => module, // whoever touches its values has them drawn
            })
        } else {
            Err(Error::Weights {
                path: self.origin,
                faults,
            })
        }
    }
}

/// Names of the files that hold the weights of one network: of the ways that [`weight_names`] lists, the first that is
/// there, whole or as the shards that an index names. If none is there, the first name.
///
/// # Errors
/// If an index cannot be read, lists nothing, or names a file outside its folder.
pub fn weight_files(files: &ModelFiles, stem: &str) -> Result<Vec<String>, Error> {
    for names in weight_names(stem) {
        if files.contains(&names.whole) {
            return Ok(vec![names.whole]);
        }
        if files.contains(&names.index) {
            return shard_names(files, &names.index, names.extension);
        }
    }
    Ok(vec![format!("{stem}.safetensors")])
}

/// The distinct files that an index of shards names.
///
/// # Errors
/// If the index cannot be read, lists nothing, or names a file outside its folder or of another kind.
pub fn shard_names(files: &ModelFiles, index: &str, extension: &str) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let names: BTreeSet<String> = files
        .json::<Index>(index)?
        .weight_map
        .into_values()
        .collect();
    let plain = |name: &&String| !name.contains(['/', '\\']) && name.ends_with(extension);
    let refuse = |found: &str, expected: &str| {
        Err(Error::config(
            &files.label(index),
            "weight_map",
            found,
            expected,
        ))
    };
    if let Some(name) = names.iter().find(|name| !plain(name)) {
        return refuse(
            name,
            &format!("names of {extension} files in the same folder"),
        );
    }
    if names.is_empty() {
        return refuse("empty", "at least one file");
    }
    Ok(names.into_iter().collect())
}

impl Stored {
    /// The values as f32, or why they cannot be used.
    fn decode(&self) -> Result<Vec<f32>, String> {
        self.in_rows(self.floats()?)
    }

    /// The values in a number format, as a tensor of `shape`, for which rows and columns may have to be exchanged; or
    /// why they cannot be used. A file that has the format already is not converted on the way.
    fn decode_as(
        &self,
        precision: Precision,
        shape: Vec<usize>,
        transposed: bool,
    ) -> Result<TensorData, String> {
        let in_format = |reason: String| format!("{reason} in {precision}");
        Ok(match (precision, self.dtype) {
            (Precision::F32, _) => self.laid_out(self.decode()?, shape, transposed),
            (Precision::F16, Dtype::F16) => {
                let values = self.in_rows(self.numbers(f16::from_le_bytes))?;
                self.laid_out(values, shape, transposed)
            }
            (Precision::BF16, Dtype::BF16) => {
                let values = self.in_rows(self.numbers(bf16::from_le_bytes))?;
                self.laid_out(values, shape, transposed)
            }
            (Precision::F16, _) => {
                let values = narrowed(&self.decode()?, f16::from_f32).map_err(in_format)?;
                self.laid_out(values, shape, transposed)
            }
            (Precision::BF16, _) => {
                let values = narrowed(&self.decode()?, bf16::from_f32).map_err(in_format)?;
                self.laid_out(values, shape, transposed)
            }
        })
    }

    /// The values as they lie in the file, converted to f32.
    fn floats(&self) -> Result<Vec<f32>, String> {
        Ok(match self.dtype {
            Dtype::F32 => self.numbers(f32::from_le_bytes),
            Dtype::F16 => self.numbers(|bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => self.numbers(|bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F64 => self.numbers(|bytes| f64::from_le_bytes(bytes) as f32),
            other => {
                return Err(format!(
                    "has dtype {other:?}, expected F32, F16, BF16 or F64"
                ));
            }
        })
    }

    /// The values as they lie in the file.
    fn numbers<T, const N: usize>(&self, number: impl Fn([u8; N]) -> T) -> Vec<T> {
        let bytes = self.file[self.range.clone()].as_chunks().0;
        bytes.iter().map(|bytes| number(*bytes)).collect()
    }

    /// The values row by row, if all are finite.
    fn in_rows<T: Float>(&self, values: Vec<T>) -> Result<Vec<T>, String> {
        let values = match &self.strides {
            Some(strides) => in_rows(&values, &self.shape, strides),
            None => values,
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(format!(
                "holds {} at element {at}, expected finite values",
                values[at]
            )),
            None => Ok(values),
        }
    }

    /// A tensor of `shape` from values row by row.
    fn laid_out<T: Float>(
        &self,
        values: Vec<T>,
        shape: Vec<usize>,
        transposed: bool,
    ) -> TensorData {
        match shape[..] {
            // A matrix, or a 1×1 convolution that is one.
            [columns, rows] if transposed => {
                TensorData::new(transpose(&values, rows, columns), shape)
            }
            _ => TensorData::new(values, shape),
        }
    }
}

/// A number format of networks.
trait Float: Element {
    fn is_finite(self) -> bool;
}

macro_rules! float {
    ($($number:ty),*) => {
        $(
            impl Float for $number {
                fn is_finite(self) -> bool {
                    <$number>::is_finite(self)
                }
            }
        )*
    };
}

float!(f32, f16, bf16);

/// Finite values in a narrower format, or the first that is too large for it.
fn narrowed<T: Float>(values: &[f32], number: impl Fn(f32) -> T) -> Result<Vec<T>, String> {
    let narrowed: Vec<T> = values.iter().map(|value| number(*value)).collect();
    match narrowed.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(format!(
            "holds {} at element {at}, which is too large",
            values[at]
        )),
        None => Ok(narrowed),
    }
}

/// A network with its weights, drawn now if they were not yet, in a number format, and frozen.
pub fn in_precision<B: Backend, M: Module<B>>(module: M, precision: Precision) -> M {
    struct Cast(FloatDType);

    impl<B: Backend> ModuleMapper<B> for Cast {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            let id = param.id;
            let tensor = param.val().detach();
            Param::initialized(id, tensor.cast(self.0).set_require_grad(false))
        }
    }

    module.map(&mut Cast(precision.dtype())).no_grad()
}

/// Walks a network and puts the stored tensors in.
struct Filler<'a> {
    precision: Precision,
    weights: &'a Weights,
    key_map: KeyMap<'a>,
    place: Place,
    used: BTreeSet<String>,
    faults: KeyFaults,
}

impl Filler<'_> {
    /// The stored tensor for the current field, as Burn lays it out, if it is there and fits.
    fn find(&mut self, expected: Vec<usize>) -> Option<TensorData> {
        let key = self.place.key(self.key_map);
        let Some(stored) = self.weights.tensors.get(&key) else {
            self.faults.missing.push(key);
            return None;
        };
        self.used.insert(key.clone());
        let transposed = self.place.is_transposed(&expected);
        let in_file: Vec<usize> = if transposed {
            expected.iter().rev().copied().collect()
        } else {
            expected.clone()
        };
        // A 1×1 convolution is a linear layer over positions, and older checkpoints hold some layers as that.
        let as_conv = || transposed && stored.shape == [in_file.as_slice(), &[1, 1]].concat();
        if stored.shape != in_file && !as_conv() {
            self.faults
                .misshapen
                .push((key, stored.shape.clone(), in_file));
            return None;
        }
        if !self.weights.values_are_read {
            return None;
        }
        match stored.decode_as(self.precision, expected, transposed) {
            Ok(data) => Some(data),
            Err(reason) => {
                self.faults.unusable.push((key, reason));
                None
            }
        }
    }
}

/// The values of a tensor row by row, from values whose neighbours along each axis lie `strides` apart.
fn in_rows<T: Copy>(values: &[T], shape: &[usize], strides: &[usize]) -> Vec<T> {
    let mut places = vec![0];
    for (size, stride) in shape.iter().zip(strides) {
        let along_axis = |start: &usize| {
            let start = *start;
            (0..*size).map(move |at| start + at * stride)
        };
        places = places.iter().flat_map(along_axis).collect();
    }
    places.into_iter().map(|place| values[place]).collect()
}

/// `[rows, columns]` to `[columns, rows]`, row-major.
pub(crate) fn transpose<T: Copy + Default>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    /// Sides of a tile that is read and written at once, so that every line of the cache is used whole.
    const TILE: usize = 32;

    let mut out = vec![T::default(); values.len()];
    for first_row in (0..rows).step_by(TILE) {
        for first_column in (0..columns).step_by(TILE) {
            for column in first_column..columns.min(first_column + TILE) {
                for row in first_row..rows.min(first_row + TILE) {
                    out[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    out
}

impl<B: Backend> ModuleMapper<B> for Filler<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let device = param.lazy_device();
        match self.find(param.lazy_shape().to_vec()) {
            Some(data) => {
                let id = param.id;
                let dtype = DType::from(self.precision.dtype());
                let tensor = Tensor::from_data(data, (&device, dtype));
                param.transform_for_load(tensor, id)
            }
            None => param,
        }
    }
}
