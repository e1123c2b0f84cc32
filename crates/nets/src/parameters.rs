//! The parameters of a network under the names of its published checkpoint: for those who train networks.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, backend::Backend};

use crate::autoencoder_kl::AutoencoderKL;
use crate::clip::{CLIPModel, CLIPTextModel};
use crate::keys::Place;
use crate::video_unet::VideoUNet;
use crate::weights::{KeyMap, transpose};
use crate::{autoencoder_kl, unet};

/// A network whose checkpoints are published under names that are not all those of its fields.
pub trait Published<B: Backend>: Module<B> {
    /// What is called otherwise in checkpoints.
    fn key_map() -> Vec<(&'static str, &'static str)>;

    /// What checkpoints hold beside the parameters.
    fn constants(&self) -> Vec<NamedTensor> {
        Vec::new()
    }
}

impl<B: Backend> Published<B> for CLIPModel<B> {
    fn key_map() -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    fn constants(&self) -> Vec<NamedTensor> {
        vec![self.logit_scale()]
    }
}

impl<B: Backend> Published<B> for CLIPTextModel<B> {
    fn key_map() -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

impl<B: Backend> Published<B> for AutoencoderKL<B> {
    fn key_map() -> Vec<(&'static str, &'static str)> {
        autoencoder_kl::KEY_MAP.to_vec()
    }
}

impl<B: Backend> Published<B> for VideoUNet<B> {
    fn key_map() -> Vec<(&'static str, &'static str)> {
        let mut key_map = unet::KEY_MAPS.concat();
        // The kind of network is no part of a name.
        key_map.extend([(".Condition3D.", "."), (".Motion.", ".")]);
        key_map
    }
}

/// A tensor as a checkpoint holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Its published name.
    pub name: String,
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// Its values, row by row.
    pub values: Vec<f32>,
}

/// The tensors of a network as its checkpoint holds them, in the order of the network's fields: what
/// [`Weights::fill`](crate::Weights::fill) reads back.
pub fn state<B: Backend, M: Published<B>>(network: &M) -> Vec<NamedTensor> {
    struct State<'a> {
        place: Place,
        key_map: KeyMap<'a>,
        tensors: Vec<NamedTensor>,
    }

    impl<B: Backend> ModuleVisitor<B> for State<'_> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.place.enter(name, container_type);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.place.leave();
        }

        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<B, D>>) {
            let mut shape = parameter.lazy_shape().to_vec();
            let mut values: Vec<f32> = parameter.val().into_data().iter().collect();
            if self.place.is_transposed(&shape) {
                // A linear layer: `[in, out]` in the network, `[out, in]` in files.
                values = transpose(&values, shape[0], shape[1]);
                shape.reverse();
            }
            let name = self.place.key(self.key_map);
            self.tensors.push(NamedTensor {
                name,
                shape,
                values,
            });
        }
    }

    let key_map = M::key_map();
    let mut state = State {
        place: Place::default(),
        key_map: &key_map,
        tensors: Vec::new(),
    };
    network.visit(&mut state);
    state.tensors.extend(network.constants());
    state.tensors
}

/// Sees every parameter with its published name.
pub trait VisitParameters<B: Backend> {
    /// Sees one.
    fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<B, D>>);
}

/// Shows every parameter of a network, in the order of the network's fields.
pub fn visit_parameters<B: Backend, M: Published<B>>(
    network: &M,
    visitor: &mut impl VisitParameters<B>,
) {
    network.visit(&mut Named::new(&M::key_map(), visitor));
}

/// Replaces parameters, knowing their published names.
pub trait MapParameters<B: Backend> {
    /// Replaces one.
    fn map<const D: usize>(
        &mut self,
        name: &str,
        parameter: Param<Tensor<B, D>>,
    ) -> Param<Tensor<B, D>>;
}

/// Replaces every parameter of a network, in the order of the network's fields.
pub fn map_parameters<B: Backend, M: Published<B>>(
    network: M,
    mapper: &mut impl MapParameters<B>,
) -> M {
    network.map(&mut Named::new(&M::key_map(), mapper))
}

/// Adds names to a walk through a network.
struct Named<'a, W> {
    place: Place,
    key_map: KeyMap<'a>,
    walker: &'a mut W,
}

impl<'a, W> Named<'a, W> {
    fn new(key_map: KeyMap<'a>, walker: &'a mut W) -> Self {
        Self {
            place: Place::default(),
            key_map,
            walker,
        }
    }
}

impl<B: Backend, W: VisitParameters<B>> ModuleVisitor<B> for Named<'_, W> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<B, D>>) {
        self.walker.visit(&self.place.key(self.key_map), parameter);
    }
}

impl<B: Backend, W: MapParameters<B>> ModuleMapper<B> for Named<'_, W> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        self.walker.map(&self.place.key(self.key_map), parameter)
    }
}
