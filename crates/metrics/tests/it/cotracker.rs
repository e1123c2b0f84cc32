//! CoTracker3 as a tracker, with the fixture's network of reduced widths: its weights are random, so tracks
//! wander, but they wander as the network says.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use burn_flex::Flex;
use image::{Rgb, RgbImage};
use kinvert_base::{Progress, Quiet};
use kinvert_metrics::tracks::{Place, grid};
use kinvert_metrics::{CoTracker, Error, Tracker, Tracks};
use kinvert_nets::Device;
use kinvert_nets::cotracker::{self, CoTracker3, Query};
use kinvert_testkit::{Tolerance, assert_close, fixtures_dir, values};
use kinvert_video::Clip;
use sha2::{Digest, Sha256};

/// Frames that the fixture's network was made for; longer clips are tracked in windows.
const WINDOW: usize = 8;

fn weights() -> PathBuf {
    fixtures_dir().join("parity/cotracker/model.safetensors")
}

fn tracker() -> CoTracker {
    CoTracker::load(&weights(), Device::Cpu).unwrap()
}

/// A pattern that moves to the right by a pixel per frame.
fn clip(frames: u32, width: u32, height: u32) -> Clip {
    let pixel = |frame: u32, x: u32, y: u32| {
        let wave = |speed: f32, at: u32| (127.5 + 127.0 * (speed * at as f32).sin()) as u8;
        let x = x + 100 - frame;
        Rgb([wave(0.31, x), wave(0.23, y), wave(0.17, x + y)])
    };
    let frames = (0..frames)
        .map(|frame| RgbImage::from_fn(width, height, |x, y| pixel(frame, x, y)))
        .collect();
    Clip::new(frames, 8.0).unwrap()
}

fn track(clip: &Clip, starts: &[Place]) -> Tracks {
    tracker().track(clip, starts, &mut Quiet).unwrap()
}

/// What the network says by itself: places in pixels of its own frames, and visibilities.
fn predicted(clip: &Clip, starts: &[Place]) -> (Vec<f32>, Vec<f32>) {
    let device = Default::default();
    let network = CoTracker3::<Flex>::load(&weights(), &device).unwrap();
    let size = [clip.height() as usize, clip.width() as usize];
    let pixels: Vec<u8> = clip
        .frames()
        .iter()
        .flat_map(|f| f.as_raw().clone())
        .collect();
    let pixels: Vec<f32> = pixels.into_iter().map(f32::from).collect();
    let data = TensorData::new(pixels, [clip.len(), size[0], size[1], 3]);
    let frames = Tensor::<Flex, 4>::from_data(data, &device).permute([0, 3, 1, 2]);
    let pyramid = network.pyramid(network.encode(cotracker::resize(frames, [384, 512])));
    let queries: Vec<Query> = starts
        .iter()
        .map(|[x, y]| Query {
            frame: 0,
            place: [
                x * 511.0 / (clip.width() - 1) as f32,
                y * 383.0 / (clip.height() - 1) as f32,
            ],
        })
        .collect();
    let go_on = &mut |_| ControlFlow::Continue(());
    match network.track(&pyramid, &queries, 6, go_on) {
        ControlFlow::Continue(found) => (values(found.places), values(found.visibility)),
        ControlFlow::Break(()) => panic!("nobody stopped it"),
    }
}

#[test]
fn tracks_are_the_networks_in_pixels_of_the_clip() {
    let clip = clip(5, 96, 40);
    let starts = grid(clip.size(), 3);
    let tracks = track(&clip, &starts);
    assert_eq!(
        (tracks.len(), tracks.frames(), tracks.size()),
        (9, 5, clip.size())
    );
    let (places, visibility) = predicted(&clip, &starts);
    let (places, _) = places.as_chunks::<2>();
    for (index, start) in starts.iter().enumerate() {
        let found = tracks.places(index);
        assert_eq!(found[0], *start);
        let expected: Vec<Place> = places[index * 5..][1..5]
            .iter()
            .map(|[x, y]| [x * 95.0 / 511.0, y * 39.0 / 383.0])
            .collect();
        // A few roundings of places up to 100.
        let tolerance = Tolerance::Absolute(1e-4);
        assert_close(
            "places",
            found[1..].as_flattened(),
            expected.as_flattened(),
            tolerance,
        );
        let expected = visibility[index * 5..][1..5].iter().map(|v| *v > 0.9);
        assert!(tracks.visible(index)[1..].iter().copied().eq(expected));
        assert!(tracks.visible(index)[0]);
    }
}

#[test]
fn a_long_clip_begins_as_its_first_window_and_goes_on_from_there() {
    let clip = clip(13, 64, 48);
    let starts = grid(clip.size(), 3);
    let tracks = track(&clip, &starts);
    let first = Clip::new(clip.frames()[..WINDOW].to_vec(), 8.0).unwrap();
    let first = track(&first, &starts);
    for index in 0..starts.len() {
        let overlap = &first.visible(index)[WINDOW - 2..];
        let anchor = match overlap.iter().rposition(|visible| *visible) {
            Some(seen) => WINDOW - 2 + seen,
            None => {
                assert!(!tracks.visible(index)[WINDOW..].contains(&true));
                WINDOW - 1
            }
        };
        assert_eq!(
            tracks.places(index)[..=anchor],
            first.places(index)[..=anchor]
        );
    }
    assert_eq!(tracks.frames(), 13);
}

#[test]
fn a_single_frame_has_its_starts_for_tracks() {
    let clip = clip(1, 64, 64);
    let starts = grid(clip.size(), 2);
    let tracks = track(&clip, &starts);
    let places: Vec<Place> = tracks.iter().flatten().copied().collect();
    assert_eq!(places, starts);
    assert_eq!(tracks.whole().len(), 4);
}

#[test]
fn no_starts_give_no_tracks() {
    let tracks = track(&clip(3, 64, 64), &[]);
    assert!(tracks.is_empty());
    assert_eq!(tracks.frames(), 3);
}

#[test]
fn a_clip_of_single_pixels_is_tracked() {
    let tracks = track(&clip(2, 1, 1), &[[0.0, 0.0]]);
    assert_eq!(tracks.len(), 1);
}

#[test]
fn starts_outside_the_frame_are_refused() {
    let tracker = tracker();
    let clip = clip(2, 64, 48);
    for outside in [
        [-0.6, 5.0],
        [64.1, 5.0],
        [5.0, 48.1],
        [f32::NAN, 5.0],
        [5.0, f32::INFINITY],
    ] {
        let starts = [[10.0, 10.0], outside];
        let error = tracker.track(&clip, &starts, &mut Quiet).unwrap_err();
        assert!(
            matches!(error, Error::Argument { name: "starts", .. }),
            "{error}"
        );
        assert!(error.to_string().contains("64x48"), "{error}");
    }
}

#[test]
fn more_starts_than_the_network_takes_are_refused() {
    let starts = vec![[1.0, 1.0]; 20_000];
    let error = tracker()
        .track(&clip(2, 64, 64), &starts, &mut Quiet)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`starts` is 20000, expected at most 16384"
    );
}

/// Counts steps, and stops after some.
#[derive(Default)]
struct Counter {
    total: usize,
    done: usize,
    stop_at: Option<usize>,
    is_finished: bool,
}

impl Progress for Counter {
    fn start(&mut self, stage: &str, total: usize) {
        assert_eq!(stage, "tracking");
        self.total = total;
    }

    fn advance(&mut self, done: usize, _detail: &str) {
        assert_eq!(done, self.done + 1);
        self.done = done;
    }

    fn finish(&mut self) {
        self.is_finished = true;
    }

    fn note(&mut self, message: &str) {
        panic!("{message}");
    }

    fn is_cancelled(&self) -> bool {
        self.stop_at == Some(self.done)
    }
}

#[test]
fn every_step_is_told_and_tracking_stops_after_any() {
    let tracker = tracker();
    let clip = clip(10, 64, 64); // two windows
    let mut whole = Counter::default();
    tracker.track(&clip, &[[9.0, 9.0]], &mut whole).unwrap();
    assert!(whole.is_finished);
    assert_eq!(whole.done, whole.total);
    for stop_at in [1, 9, whole.total] {
        let mut counter = Counter {
            stop_at: Some(stop_at),
            ..Counter::default()
        };
        let error = tracker
            .track(&clip, &[[9.0, 9.0]], &mut counter)
            .unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert_eq!((counter.done, counter.is_finished), (stop_at, false));
    }
}

#[test]
fn the_stamp_names_the_file() {
    let tracker = tracker();
    let digest = Sha256::digest(std::fs::read(weights()).unwrap());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(tracker.stamp().name, "cotracker3");
    assert_eq!(tracker.stamp().sha256, Some(digest));
}

#[test]
fn a_file_that_is_missing_cut_short_or_of_another_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let check = |path: &Path, expected: &str| {
        let Err(error) = CoTracker::load(path, Device::Cpu) else {
            panic!("{expected}: it was loaded");
        };
        assert!(error.hint().unwrap().contains("scaled_offline.pth"));
        let mut chain = error.to_string();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(error) = cause {
            chain += &format!(": {error}");
            cause = error.source();
        }
        assert!(chain.contains(expected), "{chain}");
    };
    check(&path, "no such file");
    let bytes = std::fs::read(weights()).unwrap();
    for length in [0, 5, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        check(&path, "not a valid safetensors file");
    }
    let other = fixtures_dir().join("parity/autoencoder_kl/diffusion_pytorch_model.safetensors");
    check(&other, "missing (");
}
