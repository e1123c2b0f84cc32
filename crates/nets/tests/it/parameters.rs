//! The parameters of networks by name: what is written is what was read.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::Tensor;
use burn_flex::Flex;
use kinvert_nets::parameters::{MapParameters, VisitParameters, map_parameters, visit_parameters};
use kinvert_nets::{
    AutoencoderKL, CLIPModel, CLIPTextModel, ModelFiles, NamedTensor, Precision, Published,
    VideoUNet, Weights, state,
};
use kinvert_testkit::first_sprites_model;

fn part(name: &str) -> ModelFiles {
    ModelFiles::folder(first_sprites_model()).part(name)
}

/// Holds the state of a network against its file, name by name and number by number.
fn check_state<M: Published<Flex>>(network: &M, files: &ModelFiles, stem: &str) {
    let weights = Weights::open(files, stem).unwrap();
    let tensors = state(network);
    assert_eq!(tensors.len(), weights.names().count());
    for NamedTensor {
        name,
        shape,
        values,
    } in tensors
    {
        assert_eq!(weights.shape(&name), Some(shape.as_slice()), "{name}");
        assert!(weights.values(&name).unwrap() == values, "{name}");
    }
}

#[test]
fn the_state_of_a_network_is_what_its_file_holds() {
    let device = Default::default();
    let network = CLIPModel::load(&part("clip"), &device).unwrap();
    check_state(&network, &part("clip"), "model");
    let network = CLIPTextModel::load(&part("text_encoder"), &device, Precision::F32).unwrap();
    check_state(&network, &part("text_encoder"), "model");
    let stem = "diffusion_pytorch_model";
    let network = AutoencoderKL::load(&part("vae"), &device, Precision::F32).unwrap();
    check_state(&network, &part("vae"), stem);
    // Numbers that were 16 bits in the file are so in the network, and come back.
    for precision in [Precision::F32, Precision::F16] {
        let (_, network) = VideoUNet::load(&part("unet"), &device, precision).unwrap();
        check_state(&network, &part("unet"), stem);
    }
}

#[test]
fn parameters_are_seen_and_replaced_by_their_published_names() {
    /// Doubles biases and notes all sums.
    #[derive(Default)]
    struct Sums(BTreeMap<String, f64>);

    impl VisitParameters<Flex> for Sums {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<Flex, D>>) {
            let sum = parameter.val().into_data().iter::<f64>().sum();
            assert!(self.0.insert(name.into(), sum).is_none(), "{name} twice");
        }
    }

    impl MapParameters<Flex> for Sums {
        fn map<const D: usize>(
            &mut self,
            name: &str,
            parameter: Param<Tensor<Flex, D>>,
        ) -> Param<Tensor<Flex, D>> {
            match name.ends_with(".bias") {
                true => parameter.map(|values| values * 2.0),
                false => parameter,
            }
        }
    }

    let network =
        AutoencoderKL::<Flex>::load(&part("vae"), &Default::default(), Precision::F32).unwrap();
    let (mut before, mut after) = (Sums::default(), Sums::default());
    visit_parameters(&network, &mut before);
    let network = map_parameters(network, &mut Sums::default());
    visit_parameters(&network, &mut after);
    assert!(
        before
            .0
            .contains_key("decoder.mid_block.attentions.0.to_out.0.weight")
    );
    for (name, sum) in &before.0 {
        let factor = if name.ends_with(".bias") { 2.0 } else { 1.0 };
        assert!((after.0[name] - factor * sum).abs() < 1e-3, "{name}");
    }
}
