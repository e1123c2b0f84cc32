//! Learning a LoRA of how the frames look, beside the embeddings that learn how they move: the debiased hybrid
//! objective.
//!
//! Source: *Motion Inversion for Video Customization* (arXiv:2403.20193v2), its published code, and *MotionDirector*
//! (arXiv:2310.08465), whose dual path it follows. As there:
//!
//! * The layers are the self-attention (`attn1`) and the feed-forward (`ff`) of every spatial transformer; attention to
//!   the text, `proj_in` and `proj_out` are left as they are. The rank is at most the smaller number of channels of
//!   a layer, alpha is the rank, `A` starts from Gaussians of deviation `1 / rank`, `B` from zero.
//! * With some probability a step has the LoRA on. Then the LoRA learns to predict the noise of one random frame, given
//!   as a clip of its own with the timestep and the noise that the whole clip has. The loss of the embeddings is that of
//!   the whole clip with the LoRA on or off alike, as a constant.
//! * Both gradients are those before either update. (There the LoRA is updated between the forward and the backward
//!   pass of the embeddings' loss, which reads 16-bit copies of the weights before the update.) A step without the
//!   LoRA leaves it and its optimiser alone.
//!
//! What differs on purpose:
//!
//! * There most temporal layers are skipped when there is one frame. Here they run, as in the diffusers library, and
//!   embeddings take no part, for each of their rows belongs to a frame of the whole clip.
//! * There dropout is on what `B` gives, for both losses, and is switched off for good by the first validation,
//!   after one step. Here it is on what `A` reads, as in peft, for the LoRA's own loss, throughout; the embeddings'
//!   loss sees the whole LoRA.
//!
//! One frame as a clip of its own takes about an Nth of the time of N frames; a frame of the whole prediction would need
//! a second backward pass through all of them.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Device, Tensor};
use kinvert_diffusion::NoiseSource;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::{LinearLayer, VideoUNet};

use super::{Dropout, LoraAdapter, LoraTensors, LowRank, SpatialLora};
use crate::checkpoint::SavedLora;
use crate::gradient::{
    Activations, LossAndGradients, OwnedHooks, Parameters, Question, loss_and_gradients,
};
use crate::inversion::to_floats;
use crate::objective::mean_square;
use crate::optimiser::Optimised;
use crate::settings::InversionSettings;

/// Label of the random start of `A`, before the layer's path.
const START: &str = "inversion.lora.start.";

/// Labels of the random draws of a step.
const ACTIVE: &str = "inversion.lora";
const FRAME: &str = "inversion.lora.frame";

/// What a step that has the LoRA on draws for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoraDraw {
    /// The frame that it learns from.
    pub frame: usize,
    /// The number of the step, which decides what dropout leaves out.
    pub step: usize,
}

impl LoraDraw {
    /// What step `step` draws; none if the LoRA is off.
    pub(crate) fn of(settings: &InversionSettings, step: usize, frames: usize) -> Option<Self> {
        let source = NoiseSource::new(settings.seed);
        let is_on = source.uniform(ACTIVE, step as u64) < settings.lora_probability;
        is_on.then(|| Self {
            frame: source.uniform_int(FRAME, step as u64, 0..frames),
            step,
        })
    }
}

/// A LoRA that is being learned, and the optimiser's memory of it.
pub(crate) struct LearnedLora<B: AutodiffBackend> {
    layers: Vec<LinearLayer>,
    /// `A` as `[1, rank, in]` and `B` as `[1, out, rank]`, layer by layer.
    matrices: Optimised<B::InnerBackend>,
    /// Loss of every step that had it on.
    losses: Vec<f32>,
    dropout: f64,
    source: NoiseSource,
}

impl<B: TrackingBackend> LearnedLora<B> {
    /// Starts for a network from a LoRA that changes nothing.
    pub fn new(unet: &VideoUNet<B>, settings: &InversionSettings, device: &Device<B>) -> Self {
        let is_learned = |layer: &LinearLayer| {
            let mut parts = layer.path.split('.');
            parts.any(|part| matches!(part, "attn1" | "ff"))
        };
        let layers: Vec<_> = unet
            .spatial_linears()
            .into_iter()
            .filter(is_learned)
            .collect();
        let source = NoiseSource::new(settings.seed);
        let matrices = layers.iter().flat_map(|layer| {
            let (inputs, outputs) = (layer.in_channels, layer.out_channels);
            let rank = settings.lora_rank.min(inputs).min(outputs);
            let label = format!("{START}{}", layer.path);
            let down = source.gaussian(&label, 0, [1, rank, inputs], device) / rank as f64;
            [down, Tensor::zeros([1, outputs, rank], device)]
        });
        Self {
            matrices: Optimised::new(
                matrices.collect(),
                settings.lora_learning_rate,
                settings.weight_decay,
            ),
            layers,
            losses: Vec::new(),
            dropout: settings.lora_dropout,
            source,
        }
    }

    /// Loss of every step that had it on.
    pub fn losses(&self) -> &[f32] {
        &self.losses
    }

    /// As a constant inside the network.
    pub fn adapter(&self) -> LoraAdapter<B> {
        let values = self.matrices.values().cloned();
        let values: Vec<_> = values.map(Tensor::from_inner).collect();
        self.adapter_of(&values)
    }

    fn adapter_of(&self, matrices: &[Tensor<B, 3>]) -> LoraAdapter<B> {
        let layers = self.layers.iter().zip(matrices.as_chunks().0);
        let layers = layers.map(|(layer, [down, up])| {
            let [down, up] = [down, up].map(|matrix| matrix.clone().squeeze_dim(0));
            (layer.path.clone(), LoraTensors { down, up })
        });
        LoraAdapter {
            layers: layers.collect(),
            dropout: None,
        }
    }

    /// The mean squared error of the prediction of one frame, and its gradient for every matrix, `A` and `B` layer by
    /// layer. The question is that of the whole clip, and `target` its answer.
    pub fn gradients(
        &self,
        unet: &VideoUNet<B>,
        question: Question<B>,
        target: Tensor<B, 5>,
        draw: LoraDraw,
        activations: Activations,
    ) -> LossAndGradients<B> {
        let frame = |clip: Tensor<B, 5>| clip.narrow(2, draw.frame, 1);
        let question = Question {
            sample: frame(question.sample),
            ..question
        };
        let target = frame(target);
        let dropout = Dropout {
            rate: self.dropout,
            source: self.source,
            step: draw.step as u64,
        };
        let parameters = Parameters {
            values: self.matrices.values().cloned().collect(),
            paths: self
                .layers
                .iter()
                .map(|layer| layer.path.as_str())
                .collect(),
            hooks: &|matrices| OwnedHooks {
                temporal: None,
                spatial: Some(Box::new(LoraAdapter {
                    dropout: Some(dropout),
                    ..self.adapter_of(matrices)
                })),
            },
        };
        let loss = |predicted| mean_square(predicted - target.clone());
        loss_and_gradients(unet, question, &parameters, loss, activations)
    }

    /// One step of its AdamW.
    pub fn step(&mut self, (loss, gradients): LossAndGradients<B>) {
        self.matrices.step(gradients);
        self.losses.push(loss);
    }

    /// As plain numbers.
    pub fn to_lora(&self) -> SpatialLora {
        let matrices: Vec<_> = self.matrices.values().collect();
        let layers = self.layers.iter().zip(matrices.as_chunks().0);
        let layers = layers.map(|(layer, [down, up])| {
            let rank = down.dims()[1];
            let [down, up] = [*down, *up].map(|matrix| to_floats(matrix.clone()));
            (
                layer.path.clone(),
                LowRank::new(rank, rank as f32, down, up),
            )
        });
        SpatialLora {
            layers: layers.collect(),
        }
    }

    pub fn saved(&self) -> SavedLora {
        SavedLora {
            losses: self.losses.clone(),
            tensors: self.matrices.saved(),
        }
    }

    pub fn fits(&self, saved: &SavedLora) -> bool {
        self.matrices.fits(&saved.tensors, saved.losses.len())
    }

    pub fn restore(&mut self, saved: SavedLora, device: &Device<B>) {
        let steps = saved.losses.len();
        self.matrices.restore(saved.tensors, steps, device);
        self.losses = saved.losses;
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn_flex::Flex;
    use kinvert_nets::{ModelFiles, Precision};
    use kinvert_testkit::{Recording, fixtures_dir, values};

    use super::*;

    type Tracked = Autodiff<Flex>;

    fn unet() -> VideoUNet<Tracked> {
        let files = ModelFiles::folder(fixtures_dir().join("parity/unet3d"));
        let loaded = VideoUNet::load(&files, &Default::default(), Precision::F32);
        loaded.unwrap().1
    }

    /// A LoRA after some learning: no matrix is zero.
    fn learned(unet: &VideoUNet<Tracked>, settings: &InversionSettings) -> LearnedLora<Tracked> {
        let device = Default::default();
        let mut lora = LearnedLora::new(unet, settings, &device);
        let source = NoiseSource::new(3);
        let values = lora.matrices.values().cloned().enumerate();
        let values = values.map(|(index, matrix)| {
            let noise = source.gaussian("test", index as u64, matrix.dims(), &device);
            matrix + noise * 0.1
        });
        lora.matrices.start_from(values.collect());
        lora
    }

    fn gradients(
        unet: &VideoUNet<Tracked>,
        lora: &LearnedLora<Tracked>,
        activations: Activations,
    ) -> LossAndGradients<Tracked> {
        let recording = Recording::open("parity/unet3d/io.safetensors");
        let device = Default::default();
        let question = Question {
            sample: recording.tensor("latents", &device),
            timestep: 501.0,
            text: recording.tensor("text", &device),
        };
        let target = question.sample.clone() * 0.3;
        let draw = LoraDraw { frame: 2, step: 7 };
        lora.gradients(unet, question, target, draw, activations)
    }

    #[test]
    fn gradients_agree_with_finite_differences_and_stage_by_stage() {
        let unet = unet();
        let settings = InversionSettings {
            lora_rank: 3,
            lora_dropout: 0.3,
            ..Default::default()
        };
        let mut lora = learned(&unet, &settings);
        let (loss, found) = gradients(&unet, &lora, Activations::Keep);
        let (again, by_stages) = gradients(&unet, &lora, Activations::Recompute);
        assert_eq!(loss, again, "dropout leaves the same out each time");
        let squared: f64 = found
            .iter()
            .flat_map(|g| values(g.clone()))
            .map(|g| f64::from(g).powi(2))
            .sum();
        assert!(squared > 0.0);
        for (index, (whole, part)) in found.iter().zip(&by_stages).enumerate() {
            for (whole, part) in values(whole.clone()).into_iter().zip(values(part.clone())) {
                let difference = f64::from(whole - part).abs();
                assert!(
                    difference < 1e-5 * squared.sqrt(),
                    "matrix {index}: {whole} and {part}"
                );
            }
        }

        // Along the gradient the loss changes by its squared norm times the step, which is chosen so that the
        // change stands well above the float32 noise of the loss.
        let start: Vec<_> = lora.matrices.values().cloned().collect();
        let step = 2e-3 / squared;
        let mut loss_at = |sign: f64| {
            let moved = start.iter().zip(&found);
            let moved =
                moved.map(|(value, gradient)| value.clone() + gradient.clone() * (sign * step));
            lora.matrices.start_from(moved.collect());
            f64::from(gradients(&unet, &lora, Activations::Keep).0)
        };
        let ratio = (loss_at(1.0) - loss_at(-1.0)) / (2.0 * step) / squared;
        assert!((ratio - 1.0).abs() < 0.02, "{ratio}");
    }

    #[test]
    fn a_new_lora_has_the_published_layers_and_changes_nothing() {
        let unet = unet();
        let settings = InversionSettings::default();
        let lora = LearnedLora::<Tracked>::new(&unet, &settings, &Default::default()).to_lora();
        let all = unet.spatial_linears();
        lora.check_fits(&all).unwrap();
        assert_eq!(
            lora.layers.len(),
            all.len() / 12 * 6,
            "six of twelve layers of each transformer"
        );
        for (path, layer) in &lora.layers {
            assert!(path.contains(".attn1.") || path.contains(".ff."), "{path}");
            let narrow = layer.in_channels().min(layer.out_channels());
            assert_eq!(layer.rank(), narrow.min(32), "{path}");
            assert_eq!(layer.scale(), 1.0);
            assert!(layer.up().iter().all(|value| *value == 0.0));
            let squares: f32 = layer.down().iter().map(|value| value * value).sum();
            let deviation = (squares / layer.down().len() as f32).sqrt() * layer.rank() as f32;
            assert!((0.6..1.4).contains(&deviation), "{path}: {deviation}");
        }
    }

    #[test]
    fn steps_draw_by_their_number() {
        let settings = InversionSettings::default();
        let draws: Vec<_> = (0..2000)
            .map(|step| LoraDraw::of(&settings, step, 5))
            .collect();
        let on = draws.iter().flatten().count();
        assert!((1520..1680).contains(&on), "four deviations are 72: {on}");
        for frame in 0..5 {
            assert!(draws.iter().flatten().any(|draw| draw.frame == frame));
        }
        assert_eq!(LoraDraw::of(&settings, 17, 5), draws[17]);
        let with = |lora_probability| InversionSettings {
            lora_probability,
            ..settings.clone()
        };
        let always = (0..100).all(|step| LoraDraw::of(&with(1.0), step, 5).is_some());
        let never = (0..100).all(|step| LoraDraw::of(&with(0.0), step, 5).is_none());
        assert!(always && never);
    }
}
