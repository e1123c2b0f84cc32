//! A published network loads from PyTorch files as from safetensors.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use burn_flex::Flex;
use kinvert_nets::clip::CLIPModel;
use kinvert_nets::{Error, ModelFiles, weight_files};
use kinvert_testkit::fixtures_dir;
use safetensors::SafeTensors;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The CLIP of the fixtures.
fn tensors() -> Tensors {
    let bytes = std::fs::read(fixture("model.safetensors")).unwrap();
    let parsed = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let numbers = view.data().as_chunks().0.iter();
        let values = numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        (name.to_string(), (view.shape().to_vec(), values))
    };
    parsed.iter().map(tensor).collect()
}

fn fixture(name: &str) -> PathBuf {
    fixtures_dir().join("parity/clip_full").join(name)
}

/// An archive as `torch.save(state_dict)` writes it.
fn archive(tensors: &Tensors) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut entry = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("archive/{name}"), stored).unwrap();
        zip.write_all(bytes).unwrap();
    };
    entry("data.pkl", &pickle(tensors));
    entry("byteorder", b"little");
    for (index, (_, values)) in tensors.values().enumerate() {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        entry(&format!("data/{index}"), &bytes);
    }
    entry("version", b"3\n");
    zip.finish().unwrap().into_inner()
}

/// A dictionary of calls to `_rebuild_tensor_v2`, one storage for each tensor.
fn pickle(tensors: &Tensors) -> Vec<u8> {
    let text = |text: &str| {
        [
            b"X",
            &(text.len() as u32).to_le_bytes()[..],
            text.as_bytes(),
        ]
        .concat()
    };
    let int = |n: usize| [b"J", &(n as i32).to_le_bytes()[..]].concat();
    let tuple = |items: &[usize]| {
        [
            b"(".to_vec(),
            items.iter().flat_map(|n| int(*n)).collect(),
            b"t".to_vec(),
        ]
        .concat()
    };
    let mut out = b"\x80\x02}(".to_vec();
    for (index, (name, (shape, values))) in tensors.iter().enumerate() {
        let strides: Vec<usize> = (0..shape.len())
            .map(|axis| shape[axis + 1..].iter().product())
            .collect();
        out.extend(text(name));
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        out.extend(text("storage"));
        out.extend(b"ctorch\nFloatStorage\n");
        out.extend(text(&index.to_string()));
        out.extend(text("cpu"));
        out.extend(int(values.len()));
        out.extend(b"tQ"); // the storage, by its persistent id
        out.extend(int(0));
        out.extend(tuple(shape));
        out.extend(tuple(&strides));
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR"); // no gradient, no hooks
    }
    out.extend(b"u.");
    out
}

/// The folder of the CLIP of the fixtures, with these weights.
fn folder_with(weights: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("config.json"), folder.path().join("config.json")).unwrap();
    for (name, bytes) in weights {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn embeds(folder: &Path) -> Result<Vec<f32>, Error> {
    let files = ModelFiles::folder(folder);
    let network = CLIPModel::<Flex>::load(&files, &Default::default())?;
    let pixels = Tensor::ones([1, 3, 64, 64], &Default::default());
    Ok(network
        .image_embeds(pixels)
        .into_data()
        .iter::<f32>()
        .collect())
}

#[test]
fn a_network_loads_from_a_pytorch_file_as_from_safetensors() {
    let expected = embeds(fixture("config.json").parent().unwrap()).unwrap();
    let folder = folder_with(&[("pytorch_model.bin", &archive(&tensors()))]);
    assert_eq!(embeds(folder.path()).unwrap(), expected);
    let files = ModelFiles::folder(folder.path());
    assert_eq!(
        weight_files(&files, "model").unwrap(),
        ["pytorch_model.bin"]
    );
}

#[test]
fn shards_of_pytorch_files_load_as_one() {
    let all = tensors();
    let (first, second): (Tensors, Tensors) = all
        .clone()
        .into_iter()
        .partition(|(name, _)| name < &"text_o".to_string());
    assert!(!first.is_empty() && !second.is_empty());
    let names = [
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
    ];
    let map: BTreeMap<&String, &str> = all
        .keys()
        .map(|name| (name, names[usize::from(second.contains_key(name))]))
        .collect();
    let index = serde_json::json!({ "weight_map": map }).to_string();
    let folder = folder_with(&[
        ("pytorch_model.bin.index.json", index.as_bytes()),
        (names[0], &archive(&first)),
        (names[1], &archive(&second)),
    ]);
    let expected = embeds(fixture("config.json").parent().unwrap()).unwrap();
    assert_eq!(embeds(folder.path()).unwrap(), expected);
}

#[test]
fn faults_of_a_pytorch_file_are_listed_as_those_of_safetensors() {
    let mut tensors = tensors();
    tensors.remove("text_projection.weight");
    tensors.insert("stranger".into(), (vec![2], vec![0.0; 2]));
    let embedding = tensors
        .get_mut("vision_model.embeddings.class_embedding")
        .unwrap();
    embedding.1[3] = f32::NAN;
    let folder = folder_with(&[("pytorch_model.bin", &archive(&tensors))]);
    let error = embeds(folder.path()).unwrap_err().to_string();
    for part in [
        "pytorch_model.bin",
        "1 missing (text_projection.weight)",
        "1 not expected (stranger)",
        "class_embedding holds NaN at element 3",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
