//! Gradients of a loss of the network's prediction, for parameters that enter through its hooks.
//!
//! The network is frozen, so the graph leads from the loss back to the earliest place where a parameter enters,
//! and to nothing else. It is computed in one of two ways that give the same gradients:
//! [whole](Activations::Keep), or [stage by stage](Activations::Recompute) from the end, each stage's activations
//! computed again when they are needed (*Training Deep Nets with Sublinear Memory Cost*, arXiv:1604.06174). The
//! latter takes one more forward pass and the memory of the largest stage instead of all.

use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::layers::adapter::LinearAdapter;
use kinvert_nets::layers::temporal::TemporalModulation;
use kinvert_nets::video_unet::{Features, Pass, Stage};
use kinvert_nets::{Hooks, Precision, VideoUNet};

/// What becomes of a forward pass's activations until the backward pass reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// They are kept.
    #[default]
    Keep,
    /// Those between stages are kept, those inside a stage computed again.
    Recompute,
}

/// What the network is asked.
#[derive(Debug, Clone)]
pub struct Question<B: AutodiffBackend> {
    /// Noisy latents, `[batch, channels, frames, height, width]`.
    pub sample: Tensor<B, 5>,
    /// Their timestep.
    pub timestep: f64,
    /// Text states, `[batch, text tokens, channels]`.
    pub text: Tensor<B, 3>,
}

/// Hooks made of parameters.
pub struct OwnedHooks<B: AutodiffBackend> {
    /// What the temporal attentions read.
    pub temporal: Option<Box<dyn TemporalModulation<B>>>,
    /// What linear layers of the spatial transformers give.
    pub spatial: Option<Box<dyn LinearAdapter<B>>>,
}

impl<B: AutodiffBackend> OwnedHooks<B> {
    fn lend(&self) -> Hooks<'_, B> {
        Hooks {
            temporal: self.temporal.as_deref(),
            spatial: self.spatial.as_deref(),
        }
    }
}

/// Parameters, and how they enter the network.
pub struct Parameters<'a, B: AutodiffBackend> {
    /// Their values.
    pub values: Vec<Tensor<B::InnerBackend, 3>>,
    /// Paths of the layers at which they enter.
    pub paths: Vec<&'a str>,
    /// Hooks made of the values, which are tracked where gradients are wanted.
    pub hooks: &'a dyn Fn(&[Tensor<B, 3>]) -> OwnedHooks<B>,
}

impl<B: AutodiffBackend> Parameters<'_, B> {
    fn plain(&self) -> Vec<Tensor<B, 3>> {
        self.values
            .iter()
            .cloned()
            .map(Tensor::from_inner)
            .collect()
    }

    fn tracked(&self) -> Vec<Tensor<B, 3>> {
        let values = self.plain().into_iter();
        values.map(Tensor::require_grad).collect()
    }
}

/// A loss, and its gradient for every parameter, in their order.
pub type LossAndGradients<B> = (f32, Vec<Tensor<<B as AutodiffBackend>::InnerBackend, 3>>);

/// The loss of the network's prediction and its gradients.
///
/// In f16 the loss is multiplied on its way back, and gradients divided at the end, so that what is small survives
/// (*Mixed Precision Training*, arXiv:1710.03740). The factor is the number of elements that the loss is the mean of,
/// which makes gradients at the network's end about as large as its error; where they grow beyond f16 on their way, the
/// step is done again with a smaller factor. Nothing is remembered from step to step, so a run that was stopped goes on
/// with the same numbers.
pub fn loss_and_gradients<B: TrackingBackend>(
    unet: &VideoUNet<B>,
    question: Question<B>,
    parameters: &Parameters<'_, B>,
    loss: impl Fn(Tensor<B, 5>) -> Tensor<B, 1>,
    activations: Activations,
) -> LossAndGradients<B> {
    let once = |scale| {
        let question = question.clone();
        match activations {
            Activations::Keep => whole(unet, question, parameters, &loss, scale),
            Activations::Recompute => by_stages(unet, question, parameters, &loss, scale),
        }
    };
    if unet.precision() != Precision::F16 {
        return finished(once(1.0), parameters, 1.0);
    }
    let elements: usize = question.sample.dims().iter().product();
    let mut scale = (elements as f64).log2().round().exp2();
    loop {
        let (value, gradients) = finished(once(scale), parameters, scale);
        let is_usable = !value.is_finite() || gradients.iter().all(is_finite);
        if is_usable || scale <= 1.0 {
            return (value, gradients);
        }
        scale /= SCALE_STEP;
    }
}

/// What a factor that was too large is divided by.
const SCALE_STEP: f64 = 16.0;

/// Gradients without the factor, zero where there are none.
fn finished<B: TrackingBackend>(
    (loss, gradients): (f32, MaybeGradients<B>),
    parameters: &Parameters<'_, B>,
    scale: f64,
) -> LossAndGradients<B> {
    let zeros = |value: &Tensor<B::InnerBackend, 3>| value.zeros_like();
    let gradients = gradients.into_iter().zip(&parameters.values);
    let gradients = gradients.map(|(gradient, value)| match gradient {
        Some(gradient) => gradient / scale,
        None => zeros(value),
    });
    (loss, gradients.collect())
}

type MaybeGradients<B> = Vec<Option<Tensor<<B as AutodiffBackend>::InnerBackend, 3>>>;

fn whole<B: TrackingBackend>(
    unet: &VideoUNet<B>,
    question: Question<B>,
    parameters: &Parameters<'_, B>,
    loss: impl Fn(Tensor<B, 5>) -> Tensor<B, 1>,
    scale: f64,
) -> (f32, MaybeGradients<B>) {
    let tracked = parameters.tracked();
    let hooks = (parameters.hooks)(&tracked);
    let timesteps = [question.timestep];
    let predicted = unet.forward(question.sample, &timesteps, question.text, hooks.lend());
    let loss = loss(predicted);
    let mut found = (loss.clone() * scale).backward();
    let gradient = |tensor: &Tensor<B, 3>| tensor.grad_remove(&mut found);
    let gradients = tracked.iter().map(gradient).collect();
    (scalar(loss), gradients)
}

fn by_stages<B: TrackingBackend>(
    unet: &VideoUNet<B>,
    question: Question<B>,
    parameters: &Parameters<'_, B>,
    loss: impl Fn(Tensor<B, 5>) -> Tensor<B, 1>,
    scale: f64,
) -> (f32, MaybeGradients<B>) {
    let stages = unet.stages();
    let place = |path: &&str| {
        let stage = Stage::containing(path);
        stages.iter().position(|s| Some(*s) == stage).unwrap_or(0)
    };
    let first = parameters.paths.iter().map(place).min().unwrap_or(0);

    // Forwards: nothing is tracked, and only what passes from stage to stage is kept.
    let shape = question.sample.dims();
    let plain = (parameters.hooks)(&parameters.plain());
    let timesteps = [question.timestep];
    let mut pass = unet.pass(shape, &timesteps, question.text, plain.lend());
    let mut inputs = Vec::with_capacity(stages.len());
    let mut features = unet.start(question.sample);
    for (index, stage) in stages.iter().enumerate() {
        if index >= first {
            inputs.push(features.clone());
        }
        features = unet.run_stage(*stage, features, &mut pass);
    }

    // Backwards: the loss first, then stage by stage.
    let output = leaf(features.hidden_states);
    let predicted = unet.finish(
        Features {
            hidden_states: output.clone(),
            skips: Vec::new(),
        },
        shape[2],
    );
    let loss = loss(predicted);
    let mut found = (loss.clone() * scale).backward();
    let mut wanted = FeatureGradients::<B> {
        hidden_states: gradient_of(&output, &mut found),
        skips: Vec::new(),
    };
    let mut gradients: MaybeGradients<B> = vec![None; parameters.values.len()];
    for stage in stages[first..].iter().rev() {
        let Some(input) = inputs.pop() else { break };
        let tracked = parameters.tracked();
        let hooks = (parameters.hooks)(&tracked);
        let mut pass = pass.with_hooks(hooks.lend());
        let is_first = inputs.is_empty();
        let mut found = wanted.pass_through(unet, *stage, input, &mut pass, is_first);
        for (sum, parameter) in gradients.iter_mut().zip(&tracked) {
            if let Some(gradient) = parameter.grad_remove(&mut found) {
                *sum = Some(match sum.take() {
                    Some(sum) => sum + gradient,
                    None => gradient,
                });
            }
        }
    }
    (scalar(loss), gradients)
}

/// Gradients of what passes from one stage to the next.
struct FeatureGradients<B: AutodiffBackend> {
    hidden_states: Tensor<B::InnerBackend, 4>,
    skips: Vec<Tensor<B::InnerBackend, 4>>,
}

impl<B: TrackingBackend> FeatureGradients<B> {
    /// Turns the gradients of a stage's output into those of its input, and returns all that the stage's graph
    /// gave. The input of the first stage needs none.
    fn pass_through(
        &mut self,
        unet: &VideoUNet<B>,
        stage: Stage,
        mut input: Features<B>,
        pass: &mut Pass<'_, B>,
        is_first: bool,
    ) -> B::Gradients {
        // A stage takes skip connections off the end or appends to it; those before are none of its business.
        let untouched = input.skips.len().min(self.skips.len());
        if !is_first {
            input.hidden_states = leaf(input.hidden_states);
            for skip in &mut input.skips[untouched..] {
                *skip = leaf(skip.clone());
            }
        }
        let hidden_states = input.hidden_states.clone();
        let taken = input.skips[untouched..].to_vec();
        let output = unet.run_stage(stage, input, pass);

        // The gradient of this sum is the wanted one; its value, which may overflow 16 bits, is not read.
        let product = |output: Tensor<B, 4>, wanted: &Tensor<B::InnerBackend, 4>| {
            (output * Tensor::from_inner(wanted.clone())).sum()
        };
        let appended = output.skips.into_iter().skip(untouched);
        let appended = appended.zip(&self.skips[untouched..]);
        let sum = appended.map(|(skip, wanted)| product(skip, wanted)).fold(
            product(output.hidden_states, &self.hidden_states),
            Tensor::add,
        );
        let mut found = sum.backward();

        self.skips.truncate(untouched);
        if !is_first {
            self.hidden_states = gradient_of(&hidden_states, &mut found);
            let taken = taken.iter().map(|skip| gradient_of(skip, &mut found));
            self.skips.extend(taken);
        }
        found
    }
}

fn is_finite<B: Backend>(gradient: &Tensor<B, 3>) -> bool {
    let largest = gradient.clone().abs().max().into_data();
    largest.iter::<f32>().all(f32::is_finite)
}

/// The same values as the start of a new graph.
fn leaf<B: AutodiffBackend>(tensor: Tensor<B, 4>) -> Tensor<B, 4> {
    Tensor::from_inner(tensor.inner()).require_grad()
}

fn gradient_of<B: AutodiffBackend>(
    tensor: &Tensor<B, 4>,
    found: &mut B::Gradients,
) -> Tensor<B::InnerBackend, 4> {
    let gradient = tensor.grad_remove(found);
    gradient.unwrap_or_else(|| tensor.clone().inner().zeros_like())
}

/// The loss as a number. A GPU has computed all that was asked before when it is read, so it is read last.
fn scalar<B: AutodiffBackend>(loss: Tensor<B, 1>) -> f32 {
    let data = loss.into_data().convert::<f32>();
    data.iter::<f32>().next().unwrap_or(f32::NAN)
}
