//! The networks of the measures, as the arguments choose them.

use std::path::Path;

use kinvert::Device;
use kinvert_base::cache_folder;
use kinvert_metrics::Tracker;
use kinvert_metrics::cache::Cache;
use kinvert_metrics::cotracker::CoTracker;
use kinvert_metrics::evaluate::Evaluator;
use kinvert_metrics::inception::load_inception;
use kinvert_metrics::klt::Klt;
use kinvert_nets::inception::InceptionResize;
use kinvert_nets::{ModelFiles, ModelKind, find_weights};

use crate::args::evaluate::{FeatureNetwork, NetworkArgs, TrackerArgs, TrackerName};
use crate::session::Session;

/// Names under which PyTorch's hub keeps the published weights.
const COTRACKER_WEIGHTS: &str = "scaled_offline.pth";
const PYTORCH_FID_WEIGHTS: &str = "pt_inception-2015-12-05-6726825d.pth";
const TORCH_FIDELITY_WEIGHTS: &str = "weights-inception-2015-12-05-6726825d.pth";

/// Fetches the networks that the user chose by published names, as far as they are not there.
pub fn fetch(args: &NetworkArgs, session: &Session) -> anyhow::Result<()> {
    if let Some(name) = &args.clip_model {
        session.find(Path::new(name), ModelKind::Network)?;
    }
    Ok(())
}

/// The evaluator with the networks that the user chose, which must be there.
pub fn evaluator(args: &NetworkArgs, device: Device) -> anyhow::Result<Evaluator> {
    let mut evaluator =
        Evaluator::new(tracker(&args.tracker, device)?, device).with_cache(cache(args));
    if let Some(grid) = args.tracker.grid {
        evaluator = evaluator.with_grid(grid)?;
    }
    if let Some(name) = &args.clip_model {
        evaluator = evaluator.with_clip(ModelFiles::find(name, ModelKind::Network)?, name);
    }
    let (published, resize) = match args.features {
        FeatureNetwork::Clip => return Ok(evaluator),
        FeatureNetwork::Inception => (PYTORCH_FID_WEIGHTS, InceptionResize::PytorchFid),
        FeatureNetwork::InceptionTensorflow => {
            (TORCH_FIDELITY_WEIGHTS, InceptionResize::Tensorflow)
        }
    };
    let weights = find_weights(args.inception_weights.as_deref(), published)?;
    Ok(evaluator.with_frame_encoder(load_inception(&weights, resize, device)?))
}

/// The tracker that the user chose.
pub fn tracker(args: &TrackerArgs, device: Device) -> anyhow::Result<Box<dyn Tracker>> {
    match args.tracker {
        TrackerName::Klt => Ok(Box::new(Klt::default())),
        TrackerName::Cotracker3 => {
            let weights = find_weights(args.tracker_weights.as_deref(), COTRACKER_WEIGHTS)?;
            Ok(Box::new(CoTracker::load(&weights, device)?))
        }
    }
}

fn cache(args: &NetworkArgs) -> Cache {
    match cache_folder() {
        Some(folder) if !args.no_cache => {
            Cache::in_folder(folder, args.cache_limit.saturating_mul(1 << 20))
        }
        _ => Cache::off(),
    }
}
