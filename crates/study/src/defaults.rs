//! Clips and prompts of the sprite world for studies that name none.

use crate::models::BUILT_IN_MODEL;
use crate::study::{Clip, Study};

/// Scenes with one motion each, seeds as they come.
const CLIPS: [&str; 5] = [
    "sprites:line:1",
    "sprites:arc:2",
    "sprites:wave:3",
    "sprites:bounce:4",
    "sprites:back:5",
];

/// A shape, a colour and a background each.
const PROMPTS: [&str; 2] = [
    "a yellow star on a navy background",
    "a green square on a gray background",
];

impl Study {
    /// Puts in clips and prompts of the sprite world where there are none, if the model is the built-in one, which
    /// knows no other. Whether anything was put in.
    pub fn fill_in(&mut self) -> bool {
        if self
            .model
            .as_deref()
            .is_some_and(|model| model != BUILT_IN_MODEL)
        {
            return false;
        }
        let (no_clips, no_prompts) = (self.clips.is_empty(), self.prompts.is_empty());
        if no_clips {
            let clip = |path: &str| Clip {
                path: path.into(),
                caption: None,
            };
            self.clips = CLIPS.map(clip).into();
        }
        if no_prompts {
            self.prompts = PROMPTS.map(str::to_owned).into();
        }
        no_clips || no_prompts
    }
}
