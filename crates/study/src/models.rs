//! The base models of a study, loaded when they are first needed.

use std::collections::HashMap;

use kinvert::{Device, LoadOptions, ModelFiles, MotionModel, load_model};
use kinvert_nets::{ModelKind, ModelName};

use crate::error::Error;

/// Name of the model that comes with the program.
pub const BUILT_IN_MODEL: &str = "sprites";

/// Models on one device. They belong to one thread.
pub(crate) struct Models {
    device: Device,
    options: LoadOptions,
    loaded: HashMap<String, Box<dyn MotionModel>>,
}

impl Models {
    /// None yet.
    pub(crate) fn new(device: Device, options: LoadOptions) -> Self {
        Self {
            device,
            options,
            loaded: HashMap::new(),
        }
    }

    /// The model in a folder or a single file, the built-in one by its name, or a published one that was fetched.
    pub(crate) fn get(&mut self, name: &str) -> Result<&dyn MotionModel, Error> {
        if !self.loaded.contains_key(name) {
            let files = match name {
                BUILT_IN_MODEL => kinvert_world::model::model_files(),
                // What is neither is told as a folder that lacks files.
                name if name.parse::<ModelName>().is_err() => ModelFiles::at(name),
                name => {
                    ModelFiles::find(name, ModelKind::Pipeline).map_err(kinvert::Error::from)?
                }
            };
            let model = load_model(&files.into(), &self.options, self.device)?;
            self.loaded.insert(name.into(), model);
        }
        match self.loaded.get(name) {
            Some(model) => Ok(model.as_ref()),
            None => Err(Error::Unrunnable {
                name: name.into(),
                reason: "the model is not loaded".into(),
            }),
        }
    }
}
