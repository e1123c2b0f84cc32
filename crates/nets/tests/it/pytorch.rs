//! State dictionaries that PyTorch saved, in both of its formats.

use std::path::PathBuf;

use burn::module::{Initializer, Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_flex::Flex;
use kinvert_nets::{Error, KeyMap, Weights};
use kinvert_testkit::{fixtures_dir, values};

type B = Flex;

/// Fields for the tensors of `state_dict.pth`.
#[derive(Module, Debug)]
struct Fields<B: Backend> {
    conv: Affine<B, 4>,
    bn: Norm<B>,
    parameter: Param<Tensor<B, 2>>,
    half: Param<Tensor<B, 1>>,
    bfloat16: Param<Tensor<B, 1>>,
    double: Param<Tensor<B, 1>>,
    part_of_a_storage: Param<Tensor<B, 2>>,
    whole_storage: Param<Tensor<B, 1>>,
}

#[derive(Module, Debug)]
struct Affine<B: Backend, const D: usize> {
    weight: Param<Tensor<B, D>>,
    bias: Param<Tensor<B, 1>>,
}

#[derive(Module, Debug)]
struct Norm<B: Backend> {
    weight: Param<Tensor<B, 1>>,
    bias: Param<Tensor<B, 1>>,
    running_mean: Param<Tensor<B, 1>>,
    running_var: Param<Tensor<B, 1>>,
}

const KEY_MAP: KeyMap<'static> = &[(".conv.", ".0."), (".bn.", ".1.")];

fn zeros<const D: usize>(shape: [usize; D]) -> Param<Tensor<B, D>> {
    Initializer::Zeros.init(shape, &Default::default())
}

fn fields() -> Fields<B> {
    Fields {
        conv: Affine {
            weight: zeros([1, 2, 1, 1]),
            bias: zeros([1]),
        },
        bn: Norm {
            weight: zeros([1]),
            bias: zeros([1]),
            running_mean: zeros([1]),
            running_var: zeros([1]),
        },
        parameter: zeros([2, 3]),
        half: zeros([2]),
        bfloat16: zeros([2]),
        double: zeros([1]),
        part_of_a_storage: zeros([3, 2]),
        whole_storage: zeros([12]),
    }
}

fn fixture(name: &str) -> PathBuf {
    fixtures_dir().join("parity/inception").join(name)
}

#[test]
fn both_formats_hold_every_value() {
    for name in ["state_dict.pth", "state_dict_legacy.pth"] {
        let weights = Weights::open_file(&fixture(name)).unwrap();
        assert_eq!(weights.shape("1.num_batches_tracked"), Some(&[][..]));
        let fields = weights
            .without(|name| name == "1.num_batches_tracked")
            .fill(fields(), KEY_MAP)
            .unwrap();
        assert_eq!(values(fields.conv.weight.val()), [0.5, -2.0], "{name}");
        assert_eq!(values(fields.conv.bias.val()), [3.0]);
        assert_eq!(values(fields.bn.weight.val()), [1.0]);
        assert_eq!(values(fields.bn.running_mean.val()), [0.0]);
        assert_eq!(values(fields.bn.running_var.val()), [1.0]);
        let parameter = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(values(fields.parameter.val()), parameter);
        assert_eq!(values(fields.half.val()), [0.5, 65504.0]);
        assert_eq!(values(fields.bfloat16.val()), [1.0, -0.25]);
        assert_eq!(values(fields.double.val()), [1e-3]);
        let part = [4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        assert_eq!(values(fields.part_of_a_storage.val()), part);
        assert_eq!(
            values(fields.whole_storage.val()),
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(|v| v as f32)
        );
    }
}

#[test]
fn integers_are_no_weights() {
    let weights = Weights::open_file(&fixture("state_dict.pth")).unwrap();
    let Err(Error::Weights { faults, .. }) = weights.fill(fields(), KEY_MAP) else {
        panic!("an unused counter was accepted")
    };
    assert_eq!(faults.unused, ["1.num_batches_tracked"]);
}

#[test]
fn a_transposed_tensor_is_put_in_order() {
    #[derive(Module, Debug)]
    struct Transposed<B: Backend> {
        transposed: Param<Tensor<B, 2>>,
    }
    let network = Transposed {
        transposed: zeros([4, 3]),
    };
    let weights = Weights::open_file(&fixture("transposed.pth")).unwrap();
    let filled = weights.fill(network, &[]).unwrap();
    assert_eq!(
        values(filled.transposed.val()),
        [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11].map(|v| v as f32)
    );
}

#[test]
fn a_file_cut_or_damaged_anywhere_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    for name in ["state_dict.pth", "state_dict_legacy.pth"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for length in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = Weights::open_file(&path).err().unwrap();
            assert!(matches!(error, Error::PyTorch { .. }), "{length}: {error}");
        }
        // Damage is an error or, where it hits only numbers or names, other numbers or names.
        for at in (0..whole.len()).step_by(5) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            std::fs::write(&path, &damaged).unwrap();
            let _ = Weights::open_file(&path);
        }
    }
}
