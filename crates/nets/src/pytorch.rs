//! State dictionaries as `torch.save` writes them: dictionaries from names to tensors, in a `.pth` or `.pt` file.
//!
//! Two containers are read: the ZIP archive of PyTorch 1.6 and later, and the row of pickles of versions before
//! it, which is how older checkpoints are still published. A pickle is a program that may call any function, so
//! this reader runs none: it follows the instructions that put together dictionaries, lists, tuples, strings
//! and numbers, and knows three calls by their names (an ordered dictionary, a tensor, a parameter). Everything
//! else makes the file unusable. Values stay where they are: what comes out is each tensor's place in the file.
//!
//! Source: the pickle protocols 0 to 4 as Python's `pickletools` documents them, and `torch/serialization.py`.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;

use safetensors::Dtype;
use zip::{CompressionMethod, ZipArchive};

/// The pickle of the number that files before PyTorch 1.6 begin with.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The most instructions of a pickle. A tensor takes about fifty, and a thousand tensors are many.
const MAX_INSTRUCTIONS: usize = 1_000_000;

/// A tensor's place in its file.
#[derive(Debug, PartialEq)]
pub(crate) struct SavedTensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Elements from one place of an axis to the next, unless the values lie row by row: a tensor that was
    /// transposed before it was saved lies in the old order.
    pub strides: Option<Vec<usize>>,
    /// From its first value to its last, little-endian.
    pub range: Range<usize>,
}

/// Finds the tensors of a file, or says why it cannot be read.
pub(crate) fn state_dict(file: &[u8]) -> Result<BTreeMap<String, SavedTensor>, String> {
    if file.starts_with(b"PK\x03\x04") {
        read_archive(file)
    } else if file.starts_with(LEGACY_MAGIC) {
        read_legacy(file)
    } else {
        let first = file[..file.len().min(8)].escape_ascii();
        Err(format!(
            "it begins with `{first}`, as neither an archive nor a pickle of PyTorch does"
        ))
    }
}

/// A ZIP archive of `{root}/data.pkl` with the dictionary, and of `{root}/data/{key}` for each storage.
fn read_archive(file: &[u8]) -> Result<BTreeMap<String, SavedTensor>, String> {
    let damaged = |e| format!("a damaged archive: {e}");
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(damaged)?;
    let mut entries = BTreeMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.name().to_string();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(format!(
                "`{name}` is compressed or encrypted, expected it as it is"
            ));
        }
        let start = entry.data_start();
        let range = start.and_then(|start| place(start, entry.size(), file.len()));
        let range = range.ok_or_else(|| format!("`{name}` reaches beyond the end of the file"))?;
        entries.insert(name, range);
    }
    let (root, pickle) = entries
        .iter()
        .find_map(|(name, range)| Some((name.strip_suffix("/data.pkl")?, range.clone())))
        .ok_or("the archive has no data.pkl")?;
    if let Some(order) = entries.get(&format!("{root}/byteorder"))
        && file[order.clone()] != *b"little"
    {
        return Err(BIG_ENDIAN.into());
    }
    let dictionary = Pickle::read(&mut Bytes(&file[pickle]))?;
    dictionary.tensors(|storage| {
        let entry = entries.get(&format!("{root}/data/{}", storage.key));
        entry.cloned()
    })
}

/// Pickles one after the other: the magic number, the version, facts about the machine, the dictionary and the
/// keys of the storages; then for each key the number of its elements, and these.
fn read_legacy(file: &[u8]) -> Result<BTreeMap<String, SavedTensor>, String> {
    let mut bytes = Bytes(&file[LEGACY_MAGIC.len()..]);
    let _version = Pickle::read(&mut bytes)?;
    let machine = Pickle::read(&mut bytes)?;
    if !matches!(machine.entry("little_endian"), Some(Value::Bool(true))) {
        return Err(BIG_ENDIAN.into());
    }
    let dictionary = Pickle::read(&mut bytes)?;
    let dtypes: BTreeMap<&str, Dtype> = dictionary.storages().collect();
    let mut storages = BTreeMap::new();
    for key in Pickle::read(&mut bytes)?.texts()? {
        let dtype = dtypes.get(key).ok_or("it has a storage without tensors")?;
        let elements = u64::from_le_bytes(bytes.array()?);
        let start = (file.len() - bytes.0.len()) as u64;
        let size = elements.checked_mul(size_of_element(*dtype) as u64);
        let range = size
            .and_then(|size| place(start, size, file.len()))
            .ok_or_else(|| format!("storage {key} reaches beyond the end of the file"))?;
        bytes = Bytes(&file[range.end..]);
        storages.insert(key, range);
    }
    dictionary.tensors(|storage| storages.get(storage.key).cloned())
}

const BIG_ENDIAN: &str = "its numbers are not little-endian";

/// The range of `size` bytes from `start` on, if it ends within a file of `length` bytes.
fn place(start: u64, size: u64, length: usize) -> Option<Range<usize>> {
    let end = usize::try_from(start.checked_add(size)?).ok()?;
    (end <= length).then_some(usize::try_from(start).ok()?..end)
}

/// Everything that one pickle made. Values name each other by their index, so that a value may occur in many
/// places, or in itself, without being copied or walked twice.
struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Index,
}

/// Index of a value among all values of its pickle.
type Index = usize;

/// A value of Python's, as far as state dictionaries need them. Text borrows from the file.
enum Value<'a> {
    /// What nobody asks for: None, a float, a number of more than 64 bits.
    Other,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    /// A function or a type, by module and name.
    Global(&'a str, &'a str),
    Tuple(Vec<Index>),
    List(Vec<Index>),
    Dictionary(Vec<(Index, Index)>),
    Storage(Storage<'a>),
    Tensor(Box<View<'a>>),
}

/// A row of numbers.
#[derive(Clone, Copy)]
struct Storage<'a> {
    key: &'a str,
    dtype: Dtype,
}

/// A tensor: part of a storage, in elements.
struct View<'a> {
    storage: Storage<'a>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl<'a> Pickle<'a> {
    fn read(bytes: &mut Bytes<'a>) -> Result<Self, String> {
        let mut machine = Machine::default();
        for _ in 0..MAX_INSTRUCTIONS {
            if let Some(root) = machine.step(bytes)? {
                let values = machine.values;
                return Ok(Self { values, root });
            }
        }
        Err(format!(
            "a pickle of more than {MAX_INSTRUCTIONS} instructions"
        ))
    }

    /// What the dictionary has under a name.
    fn entry(&self, name: &str) -> Option<&Value<'a>> {
        let Value::Dictionary(entries) = &self.values[self.root] else {
            return None;
        };
        let is_wanted =
            |key: &Index| matches!(self.values[*key], Value::Text(text) if text == name);
        let (_, value) = entries.iter().find(|(key, _)| is_wanted(key))?;
        Some(&self.values[*value])
    }

    /// The names in the list.
    fn texts(&self) -> Result<Vec<&'a str>, String> {
        let Value::List(items) = &self.values[self.root] else {
            return Err("it has no list of storages".into());
        };
        let text = |item: &Index| match self.values[*item] {
            Value::Text(text) => Ok(text),
            _ => Err("its list of storages holds something else than names".into()),
        };
        items.iter().map(text).collect()
    }

    /// Key and type of every storage.
    fn storages(&self) -> impl Iterator<Item = (&'a str, Dtype)> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some((storage.key, storage.dtype)),
            _ => None,
        })
    }

    /// The tensors of the dictionary; `find` says where in the file a storage lies.
    fn tensors(
        &self,
        find: impl Fn(Storage<'_>) -> Option<Range<usize>>,
    ) -> Result<BTreeMap<String, SavedTensor>, String> {
        // Programs that save the state of a training put the weights beside it, under this name.
        let root = self.entry("state_dict").unwrap_or(&self.values[self.root]);
        let Value::Dictionary(entries) = root else {
            return Err("it holds something else than a dictionary of tensors".into());
        };
        let mut tensors = BTreeMap::new();
        for (key, value) in entries {
            let Value::Text(name) = self.values[*key] else {
                return Err("its dictionary has a key that is no name".into());
            };
            let Value::Tensor(view) = &self.values[*value] else {
                return Err(format!("`{name}` is no tensor"));
            };
            let saved = match find(view.storage) {
                Some(storage) => view.within(storage),
                None => Err("has no values in the file".into()),
            };
            let saved = saved.map_err(|reason| format!("`{name}` {reason}"))?;
            tensors.insert(name.to_string(), saved);
        }
        Ok(tensors)
    }
}

impl View<'_> {
    /// Where the tensor's values lie, given where its storage lies.
    fn within(&self, storage: Range<usize>) -> Result<SavedTensor, String> {
        let dtype = self.storage.dtype;
        let bytes = |elements: usize| elements.checked_mul(size_of_element(dtype));
        let place = || {
            let start = storage.start.checked_add(bytes(self.offset)?)?;
            let end = start.checked_add(bytes(self.span()?)?)?;
            (end <= storage.end).then_some(start..end)
        };
        let range = place().ok_or_else(|| {
            format!(
                "has the shape {:?} and the strides {:?}, which its storage of {} bytes does not hold",
                self.shape,
                self.strides,
                storage.len()
            )
        })?;
        Ok(SavedTensor {
            dtype,
            shape: self.shape.clone(),
            strides: (!self.lies_in_rows()).then(|| self.strides.clone()),
            range,
        })
    }

    fn lies_in_rows(&self) -> bool {
        let mut expected = 1_usize;
        let mut axes = self.shape.iter().zip(&self.strides).rev();
        axes.all(|(size, stride)| {
            let fits = *size < 2 || *stride == expected;
            expected = expected.saturating_mul(*size);
            fits
        })
    }

    /// Elements from the first to the last.
    fn span(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let mut axes = self.shape.iter().zip(&self.strides);
        axes.try_fold(1_usize, |span, (size, stride)| {
            span.checked_add((size - 1).checked_mul(*stride)?)
        })
    }
}

/// The stack machine that a pickle is a program for.
#[derive(Default)]
struct Machine<'a> {
    values: Vec<Value<'a>>,
    stack: Vec<Index>,
    /// Heights of the stack that instructions go back to.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Index>,
}

impl<'a> Machine<'a> {
    /// Follows one instruction; the last gives the result.
    fn step(&mut self, bytes: &mut Bytes<'a>) -> Result<Option<Index>, String> {
        let instruction = bytes.byte()?;
        match instruction {
            // The version of the protocol, and the length of what follows.
            0x80 => _ = bytes.byte()?,
            0x95 => _ = bytes.take(8)?,
            b'.' => return self.pop().map(Some),

            b'N' => self.push(Value::Other),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => self.push(Value::Int(bytes.byte()?.into())),
            b'M' => self.push(Value::Int(u16::from_le_bytes(bytes.array()?).into())),
            b'J' => self.push(Value::Int(i32::from_le_bytes(bytes.array()?).into())),
            0x8a => {
                let length = bytes.byte()?;
                let number = bytes.take(length.into())?;
                self.push(long(number).map_or(Value::Other, Value::Int));
            }
            b'G' => {
                bytes.take(8)?;
                self.push(Value::Other);
            }
            b'U' | 0x8c => {
                let length = bytes.byte()?;
                self.push(Value::Text(bytes.text(length.into())?));
            }
            b'X' => {
                let length = u32::from_le_bytes(bytes.array()?);
                self.push(Value::Text(bytes.text(length as usize)?));
            }
            b'c' => {
                let (module, name) = (bytes.line()?, bytes.line()?);
                self.push(Value::Global(module, name));
            }
            0x93 => {
                let [module, name] = self.pop_array()?;
                let (Value::Text(module), Value::Text(name)) =
                    (&self.values[module], &self.values[name])
                else {
                    return Err("a function without a name".into());
                };
                self.push(Value::Global(module, name));
            }

            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => {
                let height = self.stack.len().checked_sub((instruction - 0x84).into());
                let items = self.split_off(height.ok_or(UNDERFLOW)?)?;
                self.push(Value::Tuple(items));
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            b']' => self.push(Value::List(Vec::new())),
            b'a' => {
                let [item] = self.pop_array()?;
                self.extend_list(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.extend_list(items)?;
            }
            b'}' => self.push(Value::Dictionary(Vec::new())),
            b's' => {
                let entry: [Index; 2] = self.pop_array()?;
                self.extend_dictionary(&entry)?;
            }
            b'u' => {
                let entries = self.pop_to_mark()?;
                self.extend_dictionary(&entries)?;
            }

            b'q' => {
                let place = bytes.byte()?;
                self.memo.insert(place.into(), self.top()?);
            }
            b'r' => {
                let place = u32::from_le_bytes(bytes.array()?);
                self.memo.insert(place, self.top()?);
            }
            0x94 => _ = self.memo.insert(self.memo.len() as u32, self.top()?),
            b'h' => {
                let place = bytes.byte()?;
                self.recall(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(bytes.array()?);
                self.recall(place)?;
            }

            b'Q' => self.refer_to_storage()?,
            b'R' => self.call()?,
            // Attributes of the object below, which is the dictionary: its version, its hooks.
            b'b' => _ = self.pop()?,
            _ => {
                return Err(format!(
                    "a pickle with instruction {instruction:#04x}, which no state dictionary needs"
                ));
            }
        }
        Ok(None)
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Index, String> {
        self.pop_array().map(|[index]| index)
    }

    fn pop_array<const N: usize>(&mut self) -> Result<[Index; N], String> {
        let height = self.stack.len().checked_sub(N).ok_or(UNDERFLOW)?;
        let items = self.split_off(height)?;
        items.try_into().map_err(|_| UNDERFLOW.into())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Index>, String> {
        let height = self.marks.pop().ok_or(UNDERFLOW)?;
        self.split_off(height)
    }

    /// What lies above a height of the stack, but not below the last mark.
    fn split_off(&mut self, height: usize) -> Result<Vec<Index>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match (floor..=self.stack.len()).contains(&height) {
            true => Ok(self.stack.split_off(height)),
            false => Err(UNDERFLOW.into()),
        }
    }

    fn top(&self) -> Result<Index, String> {
        self.stack.last().copied().ok_or(UNDERFLOW.into())
    }

    fn recall(&mut self, place: u32) -> Result<(), String> {
        let index = self.memo.get(&place).ok_or("a value that was not kept")?;
        self.stack.push(*index);
        Ok(())
    }

    fn extend_list(&mut self, items: Vec<Index>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(list) => list.extend(items),
            _ => return Err("items for something else than a list".into()),
        }
        Ok(())
    }

    fn extend_dictionary(&mut self, keys_and_values: &[Index]) -> Result<(), String> {
        let top = self.top()?;
        let (pairs, rest) = keys_and_values.as_chunks::<2>();
        match &mut self.values[top] {
            Value::Dictionary(entries) if rest.is_empty() => {
                entries.extend(pairs.iter().map(|[key, value]| (*key, *value)));
            }
            _ => return Err("entries for something else than a dictionary".into()),
        }
        Ok(())
    }

    fn pop_tuple(&mut self) -> Result<Vec<Index>, String> {
        let index = self.pop()?;
        match &self.values[index] {
            Value::Tuple(items) => Ok(items.clone()),
            _ => Err("arguments that are no tuple".into()),
        }
    }

    /// Replaces `("storage", type, key, device, elements)` by the storage that it stands for. Files of PyTorch
    /// before 1.6 add what part of another storage this one is, or None.
    fn refer_to_storage(&mut self) -> Result<(), String> {
        let items = self.pop_tuple()?;
        let items: Vec<&Value<'a>> = items.iter().map(|item| &self.values[*item]).collect();
        let ([_, Value::Global(_, kind), Value::Text(key), _, _]
        | [
            _,
            Value::Global(_, kind),
            Value::Text(key),
            _,
            _,
            Value::Other,
        ]) = items[..]
        else {
            return Err("a reference to something else than a storage".into());
        };
        let dtype = match *kind {
            "DoubleStorage" => Dtype::F64,
            "FloatStorage" => Dtype::F32,
            "HalfStorage" => Dtype::F16,
            "BFloat16Storage" => Dtype::BF16,
            "LongStorage" => Dtype::I64,
            "IntStorage" => Dtype::I32,
            "ShortStorage" => Dtype::I16,
            "CharStorage" => Dtype::I8,
            "ByteStorage" => Dtype::U8,
            "BoolStorage" => Dtype::BOOL,
            other => {
                return Err(format!(
                    "numbers of the type `{other}`, which is not supported"
                ));
            }
        };
        self.push(Value::Storage(Storage { key, dtype }));
        Ok(())
    }

    /// The calls that a state dictionary needs.
    fn call(&mut self) -> Result<(), String> {
        let arguments = self.pop_tuple()?;
        let function = self.pop()?;
        let Value::Global(module, name) = self.values[function] else {
            return Err("a call of something else than a function".into());
        };
        match (module, name, &arguments[..]) {
            ("collections", "OrderedDict", []) => self.push(Value::Dictionary(Vec::new())),
            ("torch._utils", "_rebuild_tensor_v2", [storage, offset, shape, strides, ..]) => {
                let view = self.view(*storage, *offset, *shape, *strides).ok_or(
                    "a tensor that is described otherwise than by storage, shape and strides",
                )?;
                self.push(Value::Tensor(Box::new(view)));
            }
            ("torch._utils", "_rebuild_parameter", [tensor, ..]) => self.stack.push(*tensor),
            _ => {
                return Err(format!(
                    "a call of `{module}.{name}`, which no state dictionary needs"
                ));
            }
        }
        Ok(())
    }

    fn view(
        &self,
        storage: Index,
        offset: Index,
        shape: Index,
        strides: Index,
    ) -> Option<View<'a>> {
        let size = |index: &Index| match self.values[*index] {
            Value::Int(size) => usize::try_from(size).ok(),
            _ => None,
        };
        let sizes = |index: Index| match &self.values[index] {
            Value::Tuple(items) => items.iter().map(size).collect::<Option<Vec<usize>>>(),
            _ => None,
        };
        let Value::Storage(storage) = self.values[storage] else {
            return None;
        };
        let view = View {
            storage,
            offset: size(&offset)?,
            shape: sizes(shape)?,
            strides: sizes(strides)?,
        };
        (view.shape.len() == view.strides.len()).then_some(view)
    }
}

const UNDERFLOW: &str = "a pickle that takes more values than it made";

/// A number in two's complement, if it fits 64 bits.
fn long(bytes: &[u8]) -> Option<i64> {
    let is_negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut filled = [if is_negative { 0xff } else { 0 }; 8];
    filled.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(filled))
}

fn size_of_element(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| CUT_SHORT.into())
    }

    fn text(&mut self, length: usize) -> Result<&'a str, String> {
        std::str::from_utf8(self.take(length)?).map_err(|_| "text that is not UTF-8".into())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let length = self.0.iter().position(|byte| *byte == b'\n');
        let line = self.text(length.ok_or(CUT_SHORT)?)?;
        self.take(1)?;
        Ok(line)
    }
}

const CUT_SHORT: &str = "the file is cut short";

#[cfg(test)]
mod tests {
    use super::*;

    const FLOATS: &[u8] =
        b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ";

    /// An archive of one storage of six floats, and of a pickle.
    fn archive(pickle: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options =
            zip::write::SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let storage = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0_f32].map(f32::to_le_bytes);
        for (name, contents) in [("a/data.pkl", pickle), ("a/data/0", storage.as_flattened())] {
            archive.start_file(name, options).unwrap();
            archive.write_all(contents).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    /// The pickle of `{"x": tensor}` with an offset of `K`, shape and strides of two `K` each.
    fn one_tensor(offset: u8, shape: [u8; 2], strides: [u8; 2]) -> Vec<u8> {
        let mut pickle = b"\x80\x02}X\x01\0\0\0xctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
        pickle.extend(FLOATS);
        pickle.extend([b'K', offset]);
        for [rows, columns] in [shape, strides] {
            pickle.extend([b'K', rows, b'K', columns, 0x86]);
        }
        pickle.extend(b"\x89NtRs.");
        pickle
    }

    fn refusal(pickle: &[u8]) -> String {
        state_dict(&archive(pickle)).unwrap_err()
    }

    #[test]
    fn a_tensor_is_found_within_its_storage() {
        let file = archive(&one_tensor(2, [2, 2], [2, 1]));
        let tensors = state_dict(&file).unwrap();
        let SavedTensor {
            dtype,
            shape,
            strides,
            range,
        } = &tensors["x"];
        assert_eq!(*dtype, Dtype::F32);
        assert_eq!((&shape[..], strides), (&[2, 2][..], &None));
        let values = [2.0, 3.0, 4.0, 5.0_f32].map(f32::to_le_bytes);
        assert_eq!(&file[range.clone()], values.as_flattened());
    }

    #[test]
    fn a_tensor_ends_within_its_storage() {
        for (offset, shape, strides) in [
            (3, [2, 2], [2, 1]),
            (0, [255, 255], [255, 1]),
            (255, [1, 1], [1, 1]),
            (0, [2, 3], [1, 3]),
        ] {
            let reason = refusal(&one_tensor(offset, shape, strides));
            assert!(reason.contains("storage of 24 bytes"), "{reason}");
        }
        // A transposed tensor, an axis of one place, one of none, and one that repeats a value.
        for (shape, strides, bytes, in_rows) in [
            ([3, 2], [1, 3], 24, false),
            ([1, 2], [9, 1], 8, true),
            ([0, 9], [9, 1], 0, true),
            ([255, 2], [0, 1], 8, false),
        ] {
            let tensors = state_dict(&archive(&one_tensor(0, shape, strides))).unwrap();
            assert_eq!(tensors["x"].range.len(), bytes, "{shape:?} {strides:?}");
            let expected = (!in_rows).then(|| strides.map(usize::from).to_vec());
            assert_eq!(tensors["x"].strides, expected);
        }
    }

    #[test]
    fn code_is_not_run_but_refused() {
        let reason = refusal(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.");
        assert!(reason.contains("a call of `os.system`"), "{reason}");
        let reason = refusal(b"\x80\x04\x8c\x02os\x8c\x06system\x93)R.");
        assert!(reason.contains("a call of `os.system`"), "{reason}");
        let reason = refusal(b"\x80\x02(cos\nsystem\no.");
        assert!(reason.contains("instruction 0x6f"), "{reason}");
    }

    #[test]
    fn other_pickles_are_refused_with_the_reason() {
        for (pickle, part) in [
            (&b"]."[..], "something else than a dictionary"),
            (b"}X\x01\0\0\0eK\x05s.", "`e` is no tensor"),
            (b"}K\x01Ns.", "a key that is no name"),
            (b".", "takes more values than it made"),
            (b"K\x01(0", "instruction 0x30"),
            (b"K\x01(\x85.", "takes more values than it made"),
            (b"h\x07.", "a value that was not kept"),
            (b"K\x01K\x02a.", "items for something else than a list"),
            (b"}(K\x01u.", "entries for something else than a dictionary"),
            (b"X\xff\xff\xff\xff.", "cut short"),
            (b"U\x01\xff.", "not UTF-8"),
            (b"ctorch\nFloat", "cut short"),
            (b"K\x01Q.", "arguments that are no tuple"),
            (b")Q.", "something else than a storage"),
            (b"K\x01)R.", "something else than a function"),
        ] {
            let reason = refusal(pickle);
            assert!(reason.contains(part), "{}: {reason}", pickle.escape_ascii());
        }
        let endless = b"}".repeat(MAX_INSTRUCTIONS + 1);
        assert!(refusal(&endless).contains("more than 1000000 instructions"));
    }

    #[test]
    fn values_that_contain_each_other_many_times_are_not_walked() {
        // Each tuple holds the one before twice; the last is held by itself through a list.
        let mut pickle = b"}X\x01\0\0\0x)".to_vec();
        for place in 0..200 {
            pickle.extend([b'q', place, b'h', place, 0x86]);
        }
        pickle.extend(b"s.");
        assert!(refusal(&pickle).contains("`x` is no tensor"));
        assert!(refusal(b"]q\x01h\x01a.").contains("something else than a dictionary"));
    }

    #[test]
    fn numbers_of_any_length_are_read() {
        assert_eq!(long(&[]), Some(0));
        assert_eq!(long(&[0xff]), Some(-1));
        assert_eq!(long(&[0xff, 0]), Some(255));
        assert_eq!(long(&[0; 9]), None);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let whole = archive(&one_tensor(0, [2, 3], [3, 1]));
        for length in 0..whole.len() {
            state_dict(&whole[..length]).unwrap_err();
        }
        let archive_without_pickle = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let empty = archive_without_pickle.finish().unwrap().into_inner();
        assert!(state_dict(&empty).unwrap_err().contains("it begins with"));
        assert!(
            state_dict(b"<!DOCTYPE html>")
                .unwrap_err()
                .contains("`<!DOCTYP`")
        );
    }
}
