//! The scenes that a model is measured on and never learns from.

use std::ops::Range;

use kinvert_world::Scene;

/// Seeds of the scenes that models are measured on: those with the top bit set. The recipe draws its scenes from seeds
/// below, so that none of these was ever seen in training.
pub const HELD_OUT: Range<u64> = 1 << 63..u64::MAX;

/// One of the scenes that models are measured on. The top bit of the index is of no account.
pub fn held_out_scene(index: u64) -> Scene {
    Scene::random(HELD_OUT.start | index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_scenes_differ_from_each_other_and_from_those_of_small_seeds() {
        let held_out: Vec<Scene> = (0..50).map(held_out_scene).collect();
        for (index, scene) in held_out.iter().enumerate() {
            assert_eq!(*scene, Scene::random(HELD_OUT.start + index as u64));
            assert!(!held_out[..index].contains(scene));
            assert!((0..50).all(|seed| Scene::random(seed) != *scene));
        }
    }
}
