//! Prompts to text states. The text encoder is a quarter of a published model's weights and works for a moment, so it is
//! let go when denoising begins and loaded again for a prompt that is new.

use std::cell::RefCell;
use std::collections::HashMap;

use burn::tensor::{Int, Tensor, TensorData};
use kinvert_base::Progress;
use kinvert_nets::clip::{CLIPTextModel, CLIPTokenizer};
use kinvert_nets::kernels::NetBackend;
use kinvert_nets::{CLIPTextConfig, ModelFiles, Precision};

use crate::error::Error;

/// Prompts whose states are remembered: some 300 KB each for published models.
const REMEMBERED: usize = 64;

/// A tokenizer and a text encoder.
pub(crate) struct TextEncoder<B: NetBackend> {
    tokenizer: CLIPTokenizer,
    config: CLIPTextConfig,
    files: ModelFiles,
    precision: Precision,
    device: B::Device,
    /// Absent from when it was let go until a new prompt comes.
    network: RefCell<Option<CLIPTextModel<B>>>,
    known: RefCell<HashMap<String, Tensor<B, 3>>>,
}

impl<B: NetBackend> TextEncoder<B> {
    /// Loads both, so that what is wrong with them is known at once.
    pub fn load(
        tokenizer: &ModelFiles,
        files: ModelFiles,
        precision: Precision,
        device: &B::Device,
    ) -> Result<Self, Error> {
        let tokenizer = CLIPTokenizer::load(tokenizer)?;
        let network = CLIPTextModel::load(&files, device, precision)?;
        tokenizer.check_fits(network.config())?;
        Ok(Self {
            tokenizer,
            config: network.config().clone(),
            files,
            precision,
            device: device.clone(),
            network: RefCell::new(Some(network)),
            known: RefCell::default(),
        })
    }

    /// The encoder's sizes.
    pub fn config(&self) -> &CLIPTextConfig {
        &self.config
    }

    /// States of a prompt, `[1, text tokens, channels]`. A prompt that is too long is cut short with a note.
    ///
    /// # Errors
    /// If the network has to be loaded again and its files are no longer there.
    pub fn states(&self, prompt: &str, progress: &mut dyn Progress) -> Result<Tensor<B, 3>, Error> {
        let encoding = self.tokenizer.encode(prompt);
        if let Some(cut) = encoding.truncated {
            let limit = self.tokenizer.max_length() - 2;
            progress.note(&format!(
                "the prompt is too long for the text encoder: it takes {limit} tokens, the last {cut} were \
                 left out"
            ));
        }
        if let Some(states) = self.known.borrow().get(prompt) {
            return Ok(states.clone());
        }
        let length = encoding.ids.len();
        let ids: Tensor<B, 2, Int> =
            Tensor::from_data(TensorData::new(encoding.ids, [1, length]), &self.device);
        let mut network = self.network.borrow_mut();
        let network = match &mut *network {
            Some(network) => network,
            absent => {
                let loaded = CLIPTextModel::load(&self.files, &self.device, self.precision)?;
                absent.insert(loaded)
            }
        };
        let states = network.forward(ids).last_hidden_state;
        let mut known = self.known.borrow_mut();
        if known.len() == REMEMBERED {
            known.clear();
        }
        known.insert(prompt.into(), states.clone());
        Ok(states)
    }

    /// Gives the network's memory back.
    pub fn let_go(&self) {
        self.network.borrow_mut().take();
    }
}
