//! What the checkpoint of a network calls its tensors: names and shapes, without any values.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, backend::Backend};

use crate::weights::KeyMap;

/// Names and shapes of the tensors that [`Weights::fill`](crate::Weights::fill) looks for, in the order of the
/// network's fields and as files hold them. No weight is drawn for it, so that a network of any size costs nothing.
pub fn expected_tensors<B: Backend, M: Module<B>>(
    module: &M,
    key_map: KeyMap<'_>,
) -> Vec<(String, Vec<usize>)> {
    let mut lister = Lister {
        key_map,
        place: Place::default(),
        tensors: Vec::new(),
    };
    module.visit(&mut lister);
    lister.tensors
}

/// Numbers that a network holds; none is drawn for it.
pub fn parameters<B: Backend, M: Module<B>>(module: &M) -> u64 {
    let numbers = |(_, shape): (String, Vec<usize>)| shape.iter().product::<usize>() as u64;
    expected_tensors(module, &[]).into_iter().map(numbers).sum()
}

/// Walks a network and notes what it passes.
struct Lister<'a> {
    key_map: KeyMap<'a>,
    place: Place,
    tensors: Vec<(String, Vec<usize>)>,
}

impl<B: Backend> ModuleVisitor<B> for Lister<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let mut shape = param.lazy_shape().to_vec();
        if self.place.is_transposed(&shape) {
            shape.reverse();
        }
        self.tensors.push((self.place.key(self.key_map), shape));
    }
}

/// Where in a network a walk stands.
#[derive(Default)]
pub(crate) struct Place {
    path: Vec<String>,
    owners: Vec<String>,
}

impl Place {
    /// Goes into a field, or an element of a list, of a module of the given kind.
    pub(crate) fn enter(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_string());
        self.owners.push(container_type.to_string());
    }

    /// Goes back out.
    pub(crate) fn leave(&mut self) {
        self.path.pop();
        self.owners.pop();
    }

    /// What the checkpoint calls the tensor here.
    pub(crate) fn key(&self, key_map: KeyMap<'_>) -> String {
        let mut key = format!(".{}", self.path.join("."));
        for (field, published) in key_map {
            key = key.replace(field, published);
        }
        if matches!(
            self.owner(),
            Some("Struct:GroupNorm" | "Struct:LayerNorm" | "Struct:BatchNorm")
        ) {
            key = match key.strip_suffix(".gamma") {
                Some(stem) => format!("{stem}.weight"),
                None => key
                    .strip_suffix(".beta")
                    .map(|stem| format!("{stem}.bias"))
                    .unwrap_or(key),
            };
        }
        key[1..].to_string()
    }

    /// Whether files hold the tensor here, of the given shape, with its two axes swapped.
    pub(crate) fn is_transposed(&self, shape: &[usize]) -> bool {
        self.owner() == Some("Struct:Linear") && shape.len() == 2
    }

    fn owner(&self) -> Option<&str> {
        self.owners.last().map(String::as_str)
    }
}
