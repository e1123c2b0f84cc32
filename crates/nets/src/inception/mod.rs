//! The Inception-v3 network whose features the Fréchet inception distance (FID) compares.
//!
//! Source: *Rethinking the Inception Architecture for Computer Vision* (arXiv:1512.00567) as TensorFlow's graph
//! `inception-2015-12-05` has it, which FID was defined with, and as pytorch-fid and torch-fidelity rebuild it
//! upon torchvision's `Inception3`, whose names are kept. It differs from torchvision's network in its pools and
//! its weights: features of any other Inception-v3 give distances that compare with nothing published. The head
//! that classifies is left out.

mod blocks;
mod resize;

use std::path::Path;

use burn::prelude::*;

use blocks::{
    BasicConv2d, InceptionA, InceptionB, InceptionC, InceptionD, InceptionE, Pool, halve,
};
pub use resize::InceptionResize;

use crate::kernels::NetBackend;
use crate::{Error, KeyMap, Weights};

/// Keys begin with a capital letter, Rust's fields do not.
const KEY_MAP: KeyMap<'static> = &[(".conv2d_", ".Conv2d_"), (".mixed_", ".Mixed_")];

/// Shape of `fc.weight`. The published network tells apart 1008 classes, torchvision's 1000.
const HEAD_SHAPE: [usize; 2] = [1008, 2048];

/// The network up to its last pool; see the [module docs](self).
#[derive(Module, Debug)]
pub struct InceptionV3<B: Backend> {
    conv2d_1a_3x3: BasicConv2d<B>,
    conv2d_2a_3x3: BasicConv2d<B>,
    conv2d_2b_3x3: BasicConv2d<B>,
    conv2d_3b_1x1: BasicConv2d<B>,
    conv2d_4a_3x3: BasicConv2d<B>,
    mixed_5b: InceptionA<B>,
    mixed_5c: InceptionA<B>,
    mixed_5d: InceptionA<B>,
    mixed_6a: InceptionB<B>,
    mixed_6b: InceptionC<B>,
    mixed_6c: InceptionC<B>,
    mixed_6d: InceptionC<B>,
    mixed_6e: InceptionC<B>,
    mixed_7a: InceptionD<B>,
    mixed_7b: InceptionE<B>,
    mixed_7c: InceptionE<B>,
    resize: InceptionResize,
}

impl<B: NetBackend> InceptionV3<B> {
    /// Numbers that describe an image.
    pub const FEATURES: usize = 2048;

    /// Reads the weights from one file: `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid,
    /// `weights-inception-2015-12-05-6726825d.pth` of torch-fidelity, or the same tensors as safetensors. They
    /// are frozen. Images are resized as pytorch-fid does; see [`Self::with_resize`].
    ///
    /// [`ModelFiles::file_sha256`](crate::ModelFiles::file_sha256) tells which file it was.
    ///
    /// # Errors
    /// [`Error::Inception`] if the file is missing or damaged, or holds the weights of another network.
    pub fn load(path: &Path, device: &B::Device) -> Result<Self, Error> {
        Weights::open_file(path)
            .and_then(|weights| Self::from_weights(weights, device))
            .map_err(|source| Error::Inception {
                source: Box::new(source),
            })
    }

    /// The network with weights that are opened already.
    ///
    /// # Errors
    /// [`Error::Weights`] with every tensor that is missing, unused, misshapen or unusable. The head that
    /// classifies (`fc`) and the counters of training (`num_batches_tracked`) may be there, but not the head of
    /// another network.
    pub fn from_weights(weights: Weights, device: &B::Device) -> Result<Self, Error> {
        let has_known_head = weights.shape("fc.weight") == Some(&HEAD_SHAPE);
        weights
            .without(|name| match name {
                "fc.weight" | "fc.bias" => has_known_head,
                _ => name.ends_with(".bn.num_batches_tracked"),
            })
            .fill(Self::new(device), KEY_MAP)
    }

    /// Builds the network. Weights are drawn when first read, so a network that is about to be loaded costs
    /// nothing.
    fn new(device: &B::Device) -> Self {
        Self {
            conv2d_1a_3x3: BasicConv2d::valid([3, 32], 2, device),
            conv2d_2a_3x3: BasicConv2d::valid([32, 32], 1, device),
            conv2d_2b_3x3: BasicConv2d::same([32, 64], [3, 3], device),
            conv2d_3b_1x1: BasicConv2d::same([64, 80], [1, 1], device),
            conv2d_4a_3x3: BasicConv2d::valid([80, 192], 1, device),
            mixed_5b: InceptionA::new(192, 32, device),
            mixed_5c: InceptionA::new(256, 64, device),
            mixed_5d: InceptionA::new(288, 64, device),
            mixed_6a: InceptionB::new(288, device),
            mixed_6b: InceptionC::new(768, 128, device),
            mixed_6c: InceptionC::new(768, 160, device),
            mixed_6d: InceptionC::new(768, 160, device),
            mixed_6e: InceptionC::new(768, 192, device),
            mixed_7a: InceptionD::new(768, device),
            mixed_7b: InceptionE::new(1280, Pool::Average, device),
            mixed_7c: InceptionE::new(2048, Pool::Maximum, device),
            resize: InceptionResize::default(),
        }
    }

    /// The network with another way to resize images.
    pub fn with_resize(self, resize: InceptionResize) -> Self {
        Self { resize, ..self }
    }

    /// How images are resized.
    pub fn resize(&self) -> InceptionResize {
        self.resize
    }

    /// Features `[batch, 2048]` of RGB images `[batch, 3, height, width]` of any size, with colours from 0 to 1
    /// (sRGB, as files hold them). Each image takes some 20 MB on the way, whatever its size.
    ///
    /// # Panics
    /// If there is no image, a side is zero, or there are not three colours.
    pub fn features(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.features_observed(images, &mut |_, _| {})
    }

    /// As [`features`](Self::features), and hands the output of every layer and block, `[batch, channels,
    /// height, width]`, to `observe` by its name.
    ///
    /// # Panics
    /// As [`features`](Self::features).
    pub fn features_observed(
        &self,
        images: Tensor<B, 4>,
        observe: &mut dyn FnMut(&str, &Tensor<B, 4>),
    ) -> Tensor<B, 2> {
        let [batch, colours, height, width] = images.dims();
        assert!(
            batch > 0 && colours == 3 && height > 0 && width > 0,
            "images of the shape {:?}, expected [batch, 3, height, width] without zeros",
            images.dims()
        );
        let mut show = |name: &str, output: Tensor<B, 4>| {
            observe(name, &output);
            output
        };
        let x = self.resize.pixel_values(images); // [B, 3, 299, 299]
        let x = show("Conv2d_1a_3x3", self.conv2d_1a_3x3.forward(x)); // [B, 32, 149, 149]
        let x = show("Conv2d_2a_3x3", self.conv2d_2a_3x3.forward(x)); // [B, 32, 147, 147]
        let x = show("Conv2d_2b_3x3", self.conv2d_2b_3x3.forward(x)); // [B, 64, 147, 147]
        let x = halve(x); // [B, 64, 73, 73]
        let x = show("Conv2d_3b_1x1", self.conv2d_3b_1x1.forward(x)); // [B, 80, 73, 73]
        let x = show("Conv2d_4a_3x3", self.conv2d_4a_3x3.forward(x)); // [B, 192, 71, 71]
        let x = halve(x); // [B, 192, 35, 35]
        let x = show("Mixed_5b", self.mixed_5b.forward(x)); // [B, 256, 35, 35]
        let x = show("Mixed_5c", self.mixed_5c.forward(x)); // [B, 288, 35, 35]
        let x = show("Mixed_5d", self.mixed_5d.forward(x)); // [B, 288, 35, 35]
        let x = show("Mixed_6a", self.mixed_6a.forward(x)); // [B, 768, 17, 17]
        let x = show("Mixed_6b", self.mixed_6b.forward(x)); // [B, 768, 17, 17]
        let x = show("Mixed_6c", self.mixed_6c.forward(x)); // [B, 768, 17, 17]
        let x = show("Mixed_6d", self.mixed_6d.forward(x)); // [B, 768, 17, 17]
        let x = show("Mixed_6e", self.mixed_6e.forward(x)); // [B, 768, 17, 17]
        let x = show("Mixed_7a", self.mixed_7a.forward(x)); // [B, 1280, 8, 8]
        let x = show("Mixed_7b", self.mixed_7b.forward(x)); // [B, 2048, 8, 8]
        let x = show("Mixed_7c", self.mixed_7c.forward(x)); // [B, 2048, 8, 8]
        let x: Tensor<B, 3> = x.flatten(2, 3); // [B, 2048, 64]
        x.mean_dim(2).squeeze_dim(2)
    }
}
