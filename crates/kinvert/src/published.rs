//! What clips of a base model are like where its folder does not say: those that it was published with.

use kinvert_nets::VideoUNetConfig;

use crate::settings::{GenerationSettings, Recommendations};

/// A kind of clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PublishedClip {
    /// Frames.
    pub frames: usize,
    /// Width and height in pixels, of which a clip of another shape keeps the area.
    pub size: [usize; 2],
    /// Frames per second.
    pub fps: f64,
}

impl PublishedClip {
    /// The clips of a network: those of the method's publication, which are ZeroScope's, or AnimateDiff's (16 frames at
    /// 512x512 pixels and 8 frames per second, arXiv:2307.04725).
    pub fn of(unet: &VideoUNetConfig) -> Self {
        match unet {
            VideoUNetConfig::Condition3D(_) => Self {
                frames: 24,
                size: [576, 320],
                fps: 8.0,
            },
            VideoUNetConfig::Motion(_) => Self {
                frames: 16,
                size: [512, 512],
                fps: 8.0,
            },
        }
    }

    /// Pixels of a frame.
    pub fn area(&self) -> f64 {
        (self.size[0] * self.size[1]) as f64
    }
}

/// How to use a network where its folder does not say: as the method was published, but with the guidance that
/// AnimateDiff was published with, which is Stable Diffusion's.
pub(crate) fn recommendations(unet: &VideoUNetConfig) -> Recommendations {
    match unet {
        VideoUNetConfig::Condition3D(_) => Recommendations::default(),
        VideoUNetConfig::Motion(_) => Recommendations {
            generation: GenerationSettings {
                guidance: 7.5,
                ..GenerationSettings::default()
            },
            ..Recommendations::default()
        },
    }
}
