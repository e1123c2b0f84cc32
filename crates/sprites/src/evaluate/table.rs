//! An evaluation as Markdown.

use super::{AttributeShares, Evaluation, Mean, Share};

impl Evaluation {
    /// The measures as tables: a value, and its uncertainty. Shares are in percent with Wilson's 95 % interval, means with
    /// their standard error.
    pub fn to_markdown(&self) -> String {
        let generation = &self.settings.generation;
        let mut text = format!(
            "{}, seed {}, {} generation steps with guidance {}, on {}\n",
            self.named_model(),
            self.settings.seed,
            generation.steps,
            generation.guidance,
            self.device,
        );
        let rows = self.rows();
        if !rows.is_empty() {
            text += "\n| measure | value | of |\n|---|---|---|\n";
            text += &rows.concat();
        }
        if let Some(transfer) = &self.transfer {
            text += "\n| way of transfer | path | colour | shape | background | all three |\n|---|---|---|---|---|---|\n";
            for way in &transfer.results.ways {
                let AttributeShares {
                    colour,
                    shape,
                    background,
                    all,
                } = way.by_clip;
                let shares = [colour, shape, background, all].map(percent).join(" | ");
                text += &format!("| {} | {} | {shares} |\n", way.name, value(way.path, 2));
            }
            text += &format!("\n{} clips each.\n", self.settings.transfer_clips);
        }
        text += &format!("\n{}\n", self.times());
        text
    }

    fn named_model(&self) -> String {
        let hash: String = self.sha256.chars().take(12).collect();
        format!("`{}` ({hash})", self.model)
    }

    fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        let mut row = |measure: &str, value: String, of: String| {
            rows.push(format!("| {measure} | {value} | {of} |\n"));
        };
        if let Some(vae) = &self.vae {
            for (measure, psnr) in [
                ("vae: PSNR", vae.results.psnr_db),
                ("vae: PSNR of the sprite", vae.results.sprite_psnr_db),
            ] {
                row(measure, format!("{} dB", value(psnr, 2)), clips(psnr.of));
            }
        }
        let mut shares = |what: &str, all: &str, shares: &AttributeShares, of: &str| {
            for (attribute, share) in [
                (all, shares.all),
                ("colour", shares.colour),
                ("shape", shares.shape),
                ("background", shares.background),
            ] {
                let measure = format!("{what}: {attribute}");
                row(&measure, percent(share), format!("{} {of}", share.of));
            }
        };
        if let Some(clip) = &self.clip {
            shares("clip", "exact caption", &clip.results.frames, "frames");
            let after = &clip.results.after_vae;
            shares("clip after the vae", "exact caption", after, "frames");
        }
        if let Some(generation) = &self.generation {
            let generation = &generation.results;
            shares("generated", "all three", &generation.by_clip, "clips");
            let by_pixels = &generation.by_pixels;
            shares("generated, by pixels", "all three", by_pixels, "clips");
            if let Some(smoothness) = &generation.smoothness {
                for (measure, mean) in [
                    ("generated: change of velocity, px", smoothness.generated_px),
                    ("real: change of velocity, px", smoothness.real_px),
                ] {
                    row(measure, value(mean, 2), clips(mean.of));
                }
                for (measure, ratio) in [
                    ("their ratio", smoothness.ratio),
                    ("ratio of their medians", smoothness.ratio_of_medians),
                ] {
                    let ratio = ratio.map_or("not defined".into(), |ratio| format!("{ratio:.2}"));
                    row(measure, ratio, clips(smoothness.generated_px.of));
                }
            }
            let fid = &generation.fid_clip;
            for (measure, distance) in [
                ("generated: FID-clip", fid.distance),
                ("real: FID-clip", fid.of_real_clips),
            ] {
                row(
                    measure,
                    format!("{distance:.4}"),
                    format!("{} frames", fid.frames),
                );
            }
        }
        rows
    }

    /// `Measured in 12 s: vae 2 s, clip 10 s.`
    fn times(&self) -> String {
        let times = [
            ("vae", self.vae.as_ref().map(|section| section.wall_s)),
            ("clip", self.clip.as_ref().map(|section| section.wall_s)),
            (
                "generation",
                self.generation.as_ref().map(|section| section.wall_s),
            ),
            (
                "transfer",
                self.transfer.as_ref().map(|section| section.wall_s),
            ),
        ];
        let taken = || {
            times
                .iter()
                .filter_map(|(name, wall_s)| Some((name, (*wall_s)?)))
        };
        let total_s: f64 = taken().map(|(_, wall_s)| wall_s).sum();
        let parts: Vec<String> = taken()
            .map(|(name, wall_s)| format!("{name} {wall_s:.0} s"))
            .collect();
        format!("Measured in {total_s:.0} s: {}.", parts.join(", "))
    }
}

/// `62 % (58–66)`.
fn percent(share: Share) -> String {
    let [low, high] = share.interval.map(|end| 100.0 * end);
    format!("{:.0} % ({low:.0}–{high:.0})", 100.0 * share.share)
}

/// `0.91 ± 0.05`, with so many decimals.
fn value(mean: Mean, decimals: usize) -> String {
    let text = format!("{:.decimals$}", mean.mean);
    match mean.standard_error {
        Some(error) => format!("{text} ± {error:.decimals$}"),
        None => text,
    }
}

fn clips(count: usize) -> String {
    match count {
        1 => "1 clip".into(),
        _ => format!("{count} clips"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::transfer::{Transfer, Way};
    use crate::evaluate::vae::Vae;
    use crate::evaluate::{Settings, Timed};
    use kinvert_world::model::model_files;

    #[test]
    fn values_stand_beside_their_uncertainty() {
        let half = Share::new(120, 240);
        let evaluation = Evaluation {
            model: "sprites".into(),
            sha256: "0123456789abcdef".into(),
            device: "cpu".into(),
            settings: Settings {
                transfer_clips: 2,
                generation: kinvert::GenerationSettings {
                    steps: 15,
                    guidance: 7.5,
                    ..kinvert::GenerationSettings::default()
                },
                ..Settings::of(&model_files()).unwrap()
            },
            vae: Some(Timed {
                results: Vae {
                    psnr_db: Mean::of(vec![30.0, 32.0]).unwrap(),
                    sprite_psnr_db: Mean::of(vec![25.0]).unwrap(),
                },
                wall_s: 3.0,
            }),
            clip: None,
            generation: None,
            transfer: Some(Timed {
                results: Transfer {
                    ways: vec![Way {
                        name: "method",
                        path: Mean::of(vec![0.9, 1.0]).unwrap(),
                        path_correlations: vec![0.9, 1.0],
                        by_clip: AttributeShares {
                            colour: half,
                            shape: Share::new(0, 2),
                            background: Share::new(2, 2),
                            all: half,
                        },
                    }],
                },
                wall_s: 60.0,
            }),
        };
        let expected = "\
`sprites` (0123456789ab), seed 0, 15 generation steps with guidance 7.5, on cpu

| measure | value | of |
|---|---|---|
| vae: PSNR | 31.00 ± 1.00 dB | 2 clips |
| vae: PSNR of the sprite | 25.00 dB | 1 clip |

| way of transfer | path | colour | shape | background | all three |
|---|---|---|---|---|---|
| method | 0.95 ± 0.05 | 50 % (44–56) | 0 % (0–66) | 100 % (34–100) | 50 % (44–56) |

2 clips each.

Measured in 63 s: vae 3 s, transfer 60 s.
";
        let text = evaluation.to_markdown();
        assert_eq!(text, expected);
        let json = serde_json::to_value(&evaluation).unwrap();
        assert_eq!(json["vae"]["psnr_db"]["mean"], 31.0);
        assert_eq!(json["transfer"]["wall_s"], 60.0);
        assert!(json.get("clip").is_none());
    }
}
