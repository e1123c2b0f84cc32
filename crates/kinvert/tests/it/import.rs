//! The published code's `motion_embed.pt`.

use std::path::{Path, PathBuf};

use kinvert::Error;
use kinvert::import::read_published_embeddings;
use kinvert_nets::{TemporalSite, UNet3DConditionConfig};
use kinvert_testkit::{Recording, fixtures_dir};

use crate::support::published_embeddings;

fn file() -> PathBuf {
    fixtures_dir().join("parity/official_motion/motion_embed.pt")
}

fn sites() -> Vec<TemporalSite> {
    let config = std::fs::read(fixtures_dir().join("parity/unet3d/config.json")).unwrap();
    serde_json::from_slice::<UNet3DConditionConfig>(&config)
        .unwrap()
        .sites()
}

fn refusal(path: &Path, latent_size: [usize; 2], frames: Option<usize>) -> String {
    match read_published_embeddings(path, &sites(), latent_size, frames) {
        Err(Error::MotionFile { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn holds_what_the_recording_holds() {
    let recording = Recording::open("parity/official_motion/embeddings_random_f16.safetensors");
    for frames in [32, 8] {
        let found = read_published_embeddings(&file(), &sites(), [32, 32], Some(frames)).unwrap();
        assert_eq!(found, published_embeddings(&recording, "", [8, 8], frames));
    }
    let all = read_published_embeddings(&file(), &sites(), [32, 32], None).unwrap();
    assert_eq!(
        all[0].query_key.as_ref().unwrap().frames(),
        32,
        "every row of this file was trained"
    );
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    assert!(refusal(&file(), [40, 72], None).contains("vSpatial` has the shape [64, 32, 16]"));
    assert!(refusal(&file(), [32, 32], Some(33)).contains("33 frames were asked for"));
    let few = &sites()[..3];
    let error = read_published_embeddings(&file(), few, [32, 32], None).unwrap_err();
    assert!(error.to_string().contains("no site for"), "{error}");
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("motion_embed.pt");
    let whole = std::fs::read(file()).unwrap();
    std::fs::write(&path, b"not an archive").unwrap();
    assert!(refusal(&path, [32, 32], None).contains("as neither an archive nor a pickle"));
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(refusal(&path, [32, 32], None).contains("damaged archive"));
    // Damage anywhere is an error or, where it hits only numbers, other numbers: never a panic.
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut damaged = whole.clone();
        damaged[at..(at + 40).min(whole.len())].fill(0xff);
        std::fs::write(&path, &damaged).unwrap();
        let _ = read_published_embeddings(&path, &sites(), [32, 32], None);
    }
}
