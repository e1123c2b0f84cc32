//! What is learned from: scenes of the sprite world, drawn and rendered when a step needs them.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use kinvert_diffusion::NoiseSource;
use kinvert_world::{FRAMES, Look, SIZE, Scene};
use rayon::prelude::*;

use crate::{HELD_OUT, held_out_scene};

/// Draws for the steps of a training. A draw depends on the seed, the step and its place in the batch alone.
#[derive(Clone, Copy)]
pub struct Draws {
    source: NoiseSource,
    batch: usize,
}

/// A frame of a scene.
#[derive(Clone, Copy)]
pub struct SceneFrame {
    /// The scene.
    pub scene: Scene,
    /// Which of its 16 frames.
    pub frame: usize,
}

impl SceneFrame {
    /// The picture.
    pub fn render(&self) -> RgbImage {
        self.scene.render_frame_of(self.frame)
    }
}

impl Draws {
    /// Draws of a seed, `batch` in each step.
    pub fn new(seed: u64, batch: usize) -> Self {
        Self {
            source: NoiseSource::new(seed),
            batch,
        }
    }

    /// Random numbers of this training.
    pub fn source(&self) -> NoiseSource {
        self.source
    }

    /// Numbers of the draws of a step: no other step has them.
    pub fn indices(&self, step: usize) -> impl Iterator<Item = u64> + use<> {
        let first = (step * self.batch) as u64;
        first..first + self.batch as u64
    }

    /// The scenes of a step.
    pub fn scenes(&self, step: usize) -> Vec<Scene> {
        let scene = |index| {
            let seed = self
                .source
                .uniform_int("scene", index, 0..HELD_OUT.start as usize);
            Scene::random(seed as u64)
        };
        self.indices(step).map(scene).collect()
    }

    /// The scenes of a step, one frame of each.
    pub fn frames(&self, step: usize) -> Vec<SceneFrame> {
        let scenes = self.scenes(step).into_iter().zip(self.indices(step));
        scenes
            .map(|(scene, index)| SceneFrame {
                scene,
                frame: self.source.uniform_int("frame", index, 0..FRAMES),
            })
            .collect()
    }
}

/// Held-out scenes, one frame of each, the looks in turn.
pub fn held_out_frames(count: usize) -> Vec<SceneFrame> {
    let looks: Vec<Look> = Look::all().collect();
    (0..count)
        .map(|index| SceneFrame {
            scene: held_out_scene(index as u64).with_look(looks[index % looks.len()]),
            frame: index % FRAMES,
        })
        .collect()
}

/// Renders frames, on all cores.
pub fn rendered(frames: &[SceneFrame]) -> Vec<RgbImage> {
    frames.par_iter().map(SceneFrame::render).collect()
}

/// Pictures as `[pictures, 3, height, width]` in -1..1.
pub fn pixels<B: Backend>(pictures: &[RgbImage], device: &B::Device) -> Tensor<B, 4> {
    let side = SIZE as usize;
    let mut values = Vec::with_capacity(pictures.len() * 3 * side * side);
    for picture in pictures {
        for channel in 0..3 {
            let levels = picture.as_raw().iter().skip(channel).step_by(3);
            values.extend(levels.map(|level| f32::from(*level) / 127.5 - 1.0));
        }
    }
    Tensor::from_data(
        TensorData::new(values, [pictures.len(), 3, side, side]),
        device,
    )
}

/// The pictures that `[pictures, 3, height, width]` in -1..1 stands for.
pub fn pictures<B: Backend>(pixels: Tensor<B, 4>) -> Vec<RgbImage> {
    let [count, _, height, width] = pixels.dims();
    let values: Vec<f32> = pixels.into_data().iter().collect();
    let plane = height * width;
    let level = |value: f32| ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
    (0..count)
        .map(|index| {
            let picture = &values[index * 3 * plane..];
            RgbImage::from_fn(width as u32, height as u32, |x, y| {
                let at = y as usize * width + x as usize;
                image::Rgb([0, 1, 2].map(|channel| level(picture[channel * plane + at])))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;

    use super::*;

    #[test]
    fn every_step_draws_its_own_scenes_always_the_same() {
        let draws = Draws::new(3, 4);
        assert_eq!(draws.scenes(7), Draws::new(3, 4).scenes(7));
        let first: Vec<Scene> = (0..5).flat_map(|step| draws.scenes(step)).collect();
        for (index, scene) in first.iter().enumerate() {
            assert!(!first[..index].contains(scene));
            assert!((0..100).all(|held_out| held_out_scene(held_out) != *scene));
        }
        assert_ne!(draws.scenes(0), Draws::new(4, 4).scenes(0));
    }

    #[test]
    fn held_out_frames_show_every_look() {
        let looks: std::collections::HashSet<Look> = held_out_frames(240)
            .iter()
            .map(|frame| frame.scene.look)
            .collect();
        assert_eq!(looks.len(), 240);
    }

    #[test]
    fn pictures_survive_being_tensors() {
        let frames = rendered(&held_out_frames(3));
        let tensor = pixels::<Flex>(&frames, &Default::default());
        assert_eq!(tensor.dims(), [3, 3, 64, 64]);
        assert_eq!(pictures(tensor), frames);
    }
}
