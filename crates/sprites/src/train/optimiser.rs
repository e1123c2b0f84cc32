//! AdamW over the parameters of a network, and their running average.
//!
//! Values are learned in f32 whatever the network's number format: a step is often smaller than what 16 bits can
//! add to a weight. Source of the optimiser: *Decoupled Weight Decay Regularization* (arXiv:1711.05101).

use burn::module::{AutodiffModule, Param};
use burn::optim::{AdamWConfig, AdamWState, AdaptiveMomentumState, SimpleOptimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use kinvert_nets::Published;
use kinvert_nets::parameters::{MapParameters, VisitParameters, map_parameters, visit_parameters};

use super::recipe::Recipe;

/// Betas and epsilon: the usual ones of diffusion models.
const BETAS: (f32, f32) = (0.9, 0.99);
const EPSILON: f32 = 1e-8;

/// Everything that is learned, and what the optimiser remembers of it.
pub struct Optimiser<B: Backend> {
    learned: Vec<Learned<B>>,
}

/// One parameter.
struct Learned<B: Backend> {
    name: String,
    shape: Vec<usize>,
    value: Tensor<B, 1>,
    average: Tensor<B, 1>,
    state: Option<AdamWState<B, 1>>,
}

/// What is kept of one parameter to go on later.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedParameter {
    /// Its published name.
    pub name: String,
    /// Its shape in the network.
    pub shape: Vec<usize>,
    /// Its value, its running average, and the first and second moment of its gradient.
    pub values: [Vec<f32>; 4],
}

impl<B: Backend> Optimiser<B> {
    /// Starts from the network's values; parameters that `keep` names are left out, see [`Recipe::keep`].
    pub fn new<M: Published<B>>(network: &M, keep: &[String]) -> Self {
        struct Collect<'a, B: Backend> {
            keep: &'a [String],
            learned: Vec<Learned<B>>,
        }

        impl<B: Backend> VisitParameters<B> for Collect<'_, B> {
            fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<B, D>>) {
                if is_kept(name, self.keep) {
                    return;
                }
                let value = flat(parameter.val());
                self.learned.push(Learned {
                    name: name.into(),
                    shape: parameter.lazy_shape().to_vec(),
                    average: value.clone(),
                    value,
                    state: None,
                });
            }
        }

        let mut collect = Collect {
            keep,
            learned: Vec::new(),
        };
        visit_parameters(network, &mut collect);
        Self {
            learned: collect.learned,
        }
    }

    /// Numbers that are learned.
    pub fn numbers(&self) -> usize {
        let numbers = |learned: &Learned<B>| learned.shape.iter().product::<usize>();
        self.learned.iter().map(numbers).sum()
    }

    /// The network with the values that are learned, tracked; all others are frozen.
    pub fn tracked<A, M>(&self, network: M) -> M
    where
        A: AutodiffBackend<InnerBackend = B>,
        M: Published<A>,
    {
        struct Track<'a, B: Backend> {
            learned: std::iter::Peekable<std::slice::Iter<'a, Learned<B>>>,
        }

        impl<A: AutodiffBackend> MapParameters<A> for Track<'_, A::InnerBackend> {
            fn map<const D: usize>(
                &mut self,
                name: &str,
                parameter: Param<Tensor<A, D>>,
            ) -> Param<Tensor<A, D>> {
                let Some(learned) = self.learned.next_if(|learned| learned.name == name) else {
                    return parameter.set_require_grad(false);
                };
                parameter.map(|old| {
                    let value = shaped(&learned.value, &learned.shape, old.dtype());
                    Tensor::from_inner(value).require_grad()
                })
            }
        }

        let learned = self.learned.iter().peekable();
        map_parameters(network, &mut Track { learned })
    }

    /// A plain network with the running averages of what is learned.
    pub fn averaged<M: Published<B>>(&self, network: M) -> M {
        struct Average<'a, B: Backend> {
            learned: std::iter::Peekable<std::slice::Iter<'a, Learned<B>>>,
        }

        impl<B: Backend> MapParameters<B> for Average<'_, B> {
            fn map<const D: usize>(
                &mut self,
                name: &str,
                parameter: Param<Tensor<B, D>>,
            ) -> Param<Tensor<B, D>> {
                match self.learned.next_if(|learned| learned.name == name) {
                    Some(learned) => {
                        parameter.map(|old| shaped(&learned.average, &learned.shape, old.dtype()))
                    }
                    None => parameter,
                }
            }
        }

        let learned = self.learned.iter().peekable();
        map_parameters(network, &mut Average { learned })
    }

    /// One step, given the gradients that a loss of the [tracked](Self::tracked) network has. Returns their norm over
    /// all parameters, before it is limited; if that is no finite number, nothing is changed.
    pub fn step<A, M>(
        &mut self,
        network: &M,
        gradients: &A::Gradients,
        recipe: &Recipe,
        step: usize,
    ) -> f64
    where
        A: AutodiffBackend<InnerBackend = B>,
        M: Published<A> + AutodiffModule<A>,
    {
        let gradients = self.gradients_of::<A, M>(network, gradients);
        let squares = gradients
            .iter()
            .flatten()
            .map(|gradient| gradient.clone().square().sum());
        let norm = squares
            .reduce(|sum, square| sum + square)
            .map_or(0.0, |sum| {
                sum.into_data()
                    .iter::<f64>()
                    .next()
                    .unwrap_or(f64::NAN)
                    .sqrt()
            });
        if !norm.is_finite() {
            return norm;
        }
        let factor = (recipe.max_gradient_norm / norm.max(1e-12)).min(1.0);
        let learning_rate = recipe.learning_rate_at(step);
        let decay = recipe.average_decay_at(step);
        let adamw = |weight_decay: f64| {
            AdamWConfig::new()
                .with_beta_1(BETAS.0)
                .with_beta_2(BETAS.1)
                .with_epsilon(EPSILON)
                .with_weight_decay(weight_decay as f32)
                .build()
        };
        let (of_matrices, of_vectors) = (adamw(recipe.weight_decay), adamw(0.0));
        for (learned, gradient) in self.learned.iter_mut().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            let gradient = if factor < 1.0 {
                gradient * factor
            } else {
                gradient
            };
            let adamw = if learned.shape.len() > 1 {
                &of_matrices
            } else {
                &of_vectors
            };
            let (value, state) = SimpleOptimizer::<B>::step(
                adamw,
                learning_rate,
                learned.value.clone(),
                gradient,
                learned.state.take(),
            );
            let average = learned.average.clone();
            learned.average = average.clone() + (value.clone() - average) * (1.0 - decay);
            learned.value = value;
            learned.state = state;
        }
        norm
    }

    /// The gradient of everything that is learned, where the loss depends on it.
    fn gradients_of<A, M>(&self, network: &M, gradients: &A::Gradients) -> Vec<Option<Tensor<B, 1>>>
    where
        A: AutodiffBackend<InnerBackend = B>,
        M: Published<A>,
    {
        struct Collect<'a, A: AutodiffBackend> {
            learned: std::iter::Peekable<std::slice::Iter<'a, Learned<A::InnerBackend>>>,
            gradients: &'a A::Gradients,
            found: Vec<Option<Tensor<A::InnerBackend, 1>>>,
        }

        impl<A: AutodiffBackend> VisitParameters<A> for Collect<'_, A> {
            fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<A, D>>) {
                if self
                    .learned
                    .next_if(|learned| learned.name == name)
                    .is_some()
                {
                    let gradient = parameter.val().grad(self.gradients);
                    self.found.push(gradient.map(flat));
                }
            }
        }

        let mut collect = Collect::<A> {
            learned: self.learned.iter().peekable(),
            gradients,
            found: Vec::new(),
        };
        visit_parameters(network, &mut collect);
        collect.found
    }

    /// Everything that is needed to go on later.
    pub fn saved(&self) -> Vec<SavedParameter> {
        let saved = |learned: &Learned<B>| {
            let zeros = || Tensor::zeros_like(&learned.value);
            let (first, second) = match &learned.state {
                Some(state) => (
                    state.momentum.moment_1.clone(),
                    state.momentum.moment_2.clone(),
                ),
                None => (zeros(), zeros()),
            };
            let values = [
                learned.value.clone(),
                learned.average.clone(),
                first,
                second,
            ];
            SavedParameter {
                name: learned.name.clone(),
                shape: learned.shape.clone(),
                values: values.map(|tensor| tensor.into_data().iter().collect()),
            }
        };
        self.learned.iter().map(saved).collect()
    }

    /// Whether what was saved is of these parameters.
    pub fn fits(&self, saved: &[SavedParameter]) -> bool {
        let same = |(learned, saved): (&Learned<B>, &SavedParameter)| {
            let numbers = learned.shape.iter().product::<usize>();
            learned.name == saved.name
                && learned.shape == saved.shape
                && saved.values.iter().all(|values| values.len() == numbers)
        };
        self.learned.len() == saved.len() && self.learned.iter().zip(saved).all(same)
    }

    /// Goes on from what was saved after `steps` steps, which must [fit](Self::fits).
    pub fn restore(&mut self, saved: Vec<SavedParameter>, steps: usize, device: &B::Device) {
        for (learned, saved) in self.learned.iter_mut().zip(saved) {
            let tensor = |values: Vec<f32>| {
                let length = values.len();
                Tensor::from_data(TensorData::new(values, [length]), device)
            };
            let [value, average, first, second] = saved.values.map(tensor);
            learned.value = value;
            learned.average = average;
            learned.state = (steps > 0)
                .then(|| AdamWState::new(AdaptiveMomentumState::new(steps, first, second)));
        }
    }
}

/// Whether a parameter of that name keeps its value: its path, or what follows one of its dots, begins so.
fn is_kept(name: &str, keep: &[String]) -> bool {
    let begins_so = |start: &String| name.starts_with(start) || name.contains(&format!(".{start}"));
    keep.iter().any(begins_so)
}

/// All values one after another, in f32.
fn flat<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, 1> {
    tensor.cast(FloatDType::F32).flatten(0, D - 1)
}

/// Values in a shape and a number format.
fn shaped<B: Backend, const D: usize>(
    values: &Tensor<B, 1>,
    shape: &[usize],
    dtype: DType,
) -> Tensor<B, D> {
    let mut dims = [1; D];
    dims.copy_from_slice(shape);
    values.clone().reshape(dims).cast(FloatDType::from(dtype))
}
