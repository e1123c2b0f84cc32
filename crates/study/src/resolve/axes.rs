//! The axes of ablation, the settings on each, and the words that ask for them.
//!
//! Words are those of the table in `words.rs`. A phrase asks for its setting if all its words are there and no
//! other word of the axis is, except those with a question mark, which may be there.

/// A choice that the method makes and a study may make otherwise.
pub(super) struct Axis {
    /// Its name in reports.
    pub name: &'static str,
    /// Words that speak of it, and how clearly.
    pub topics: &'static [(&'static str, u32)],
    /// Without one of these in an ablation it is about something else. Empty: the topics are enough.
    pub anchors: &'static [&'static str],
    /// The settings that words can ask for.
    pub settings: &'static [Setting],
    /// The setting that a number can ask for.
    pub number: Option<Number>,
    /// Phrases for what can be removed, and the setting that remains.
    pub removed: &'static [(&'static str, &'static str)],
    /// Words that an alternative hands on to those after it: "multiply before or after projection".
    pub carried: &'static [&'static str],
}

/// One choice on an axis.
pub(super) struct Setting {
    pub name: &'static str,
    pub phrases: &'static [&'static str],
    /// What differs from the method; nothing if it is the method's own choice.
    pub values: &'static [(&'static str, Value)],
}

/// A number on an axis.
pub(super) struct Number {
    pub field: &'static str,
    pub least: f64,
    pub most: f64,
    pub whole: bool,
    /// The method's own.
    pub own: Option<f64>,
    /// Words that may stand beside it.
    pub beside: &'static [&'static str],
}

#[derive(Clone, Copy)]
pub(super) enum Value {
    Word(&'static str),
    Number(f64),
}

use Value::Word;

pub(super) const CONTRIBUTION: &str = "contribution";
pub(super) const SHAPE: &str = "embedding shape";
pub(super) const TIMESTEPS: &str = "timesteps";

/// Every axis. Contribution, shape and timesteps have grammars of their own in `parts.rs`; here stand the words that
/// speak of them.
pub(super) const AXES: [Axis; 13] = [
    Axis {
        name: CONTRIBUTION,
        topics: &[
            ("mqk", 2),
            ("mv", 2),
            ("motion", 1),
            ("both", 2),
            ("only", 1),
            ("individual", 3),
        ],
        anchors: &["mqk", "mv", "motion"],
        settings: &[],
        number: None,
        removed: &[],
        carried: &[],
    },
    Axis {
        name: SHAPE,
        topics: &[
            ("mqk", 1),
            ("mv", 1),
            ("1d", 4),
            ("2d", 4),
            ("spatial", 3),
            ("dimension", 2),
            ("partial", 1),
        ],
        anchors: &["mqk", "mv", "motion"],
        settings: &[],
        number: None,
        removed: &[],
        carried: &[],
    },
    Axis {
        name: "integration",
        topics: &[
            ("projection", 3),
            ("qkv", 2),
            ("add", 2),
            ("multiply", 3),
            ("concat", 3),
            ("before", 1),
            ("after", 1),
        ],
        anchors: &["mqk", "mv", "motion"],
        settings: &[
            Setting {
                name: "add before projection",
                phrases: &[
                    "add",
                    "add before ?qkv ?projection",
                    "before projection ?qkv",
                    "before qkv",
                ],
                values: &[],
            },
            Setting {
                name: "add after projection",
                phrases: &[
                    "add after projection ?qkv",
                    "add after qkv",
                    "add projection ?qkv",
                    "add qkv",
                    "after projection ?qkv",
                    "after qkv",
                ],
                values: &[("inversion.integration", Word("add-after"))],
            },
            Setting {
                name: "multiply before projection",
                phrases: &["multiply", "multiply before ?qkv ?projection"],
                values: &[("inversion.integration", Word("multiply-before"))],
            },
            Setting {
                name: "multiply after projection",
                phrases: &[
                    "multiply after projection ?qkv",
                    "multiply after qkv",
                    "multiply projection ?qkv",
                    "multiply qkv",
                ],
                values: &[("inversion.integration", Word("multiply-after"))],
            },
            Setting {
                name: "concatenate",
                phrases: &[
                    "concat",
                    "concat before ?qkv ?projection",
                    "concat projection",
                ],
                values: &[("inversion.integration", Word("concat"))],
            },
        ],
        number: None,
        removed: &[],
        carried: &["add", "multiply", "concat"],
    },
    Axis {
        name: "debias",
        topics: &[
            ("debias", 5),
            ("difference", 4),
            ("normalize", 3),
            ("raw", 1),
            ("inference", 3),
            ("mv", 1),
            ("window", 2),
        ],
        anchors: &["debias", "mv", "motion", "inference", "frame", "adjacent"],
        settings: &[
            Setting {
                name: "difference to the previous frame",
                phrases: &["difference ?adjacent ?debias", "debias"],
                values: &[],
            },
            Setting {
                name: "normalize over the frames",
                phrases: &[
                    "normalize ?mean ?difference ?debias",
                    "mean difference ?debias",
                    "mean without ?debias",
                ],
                values: &[("generation.debias", Word("normalize"))],
            },
            Setting {
                name: "no debias",
                phrases: &[
                    "without",
                    "without debias ?difference",
                    "without difference",
                    "without difference debias raw",
                    "raw",
                    "raw without ?debias ?difference",
                ],
                values: &[("generation.debias", Word("none"))],
            },
        ],
        number: Some(Number {
            field: "generation.difference_frames",
            least: 1.0,
            most: 64.0,
            whole: true,
            own: Some(1.0),
            beside: &[
                "difference",
                "frame",
                "window",
                "adjacent",
                "longer",
                "all",
                "debias",
            ],
        }),
        removed: &[
            ("debias", "no debias"),
            ("difference", "no debias"),
            ("inference", "no debias"),
        ],
        carried: &[],
    },
    Axis {
        name: "objective",
        topics: &[("loss", 4), ("hybrid", 3), ("debias", 1), ("standard", 1)],
        anchors: &["loss"],
        settings: &[
            Setting {
                name: "debiased temporal",
                phrases: &["debias ?loss ?temporal", "debias standard loss ?temporal"],
                values: &[],
            },
            Setting {
                name: "base",
                phrases: &[
                    "standard ?loss",
                    "loss without debias ?temporal ?standard",
                    "without debias ?temporal",
                ],
                values: &[("inversion.objective", Word("base"))],
            },
            Setting {
                name: "debiased hybrid",
                phrases: &["hybrid ?loss ?debias"],
                values: &[("inversion.objective", Word("debiased-hybrid"))],
            },
        ],
        number: None,
        removed: &[("debias loss", "base")],
        carried: &[],
    },
    Axis {
        name: "initial noise",
        topics: &[
            ("noise", 3),
            ("inverted", 4),
            ("prior", 3),
            ("blend", 2),
            ("random", 2),
            ("frequency", 2),
            ("fft", 2),
        ],
        anchors: &["noise", "inverted", "prior"],
        settings: &[
            Setting {
                name: "blend",
                phrases: &["blend ?noise ?inverted ?random"],
                values: &[],
            },
            Setting {
                name: "none",
                phrases: &[
                    "random ?noise",
                    "without ?noise inverted",
                    "without blend ?inverted ?noise",
                    "without prior",
                    "random noise without inverted",
                    "standard random noise",
                ],
                values: &[("generation.noise", Word("none"))],
            },
            Setting {
                name: "inverted noise alone",
                phrases: &[
                    "inverted only ?noise",
                    "inverted without blend ?noise",
                    "inverted noise without random",
                ],
                values: &[("generation.noise_prior", Value::Number(1.0))],
            },
            Setting {
                name: "low frequencies",
                phrases: &["frequency ?noise ?inverted"],
                values: &[("generation.noise", Word("freq"))],
            },
            Setting {
                name: "low frequencies, blended",
                phrases: &["frequency blend ?noise ?inverted"],
                values: &[("generation.noise", Word("blend-freq"))],
            },
            Setting {
                name: "low frequencies in space and time",
                phrases: &["fft ?noise ?frequency ?blend ?inverted"],
                values: &[("generation.noise", Word("fft"))],
            },
        ],
        number: None,
        removed: &[
            ("inverted", "none"),
            ("prior", "none"),
            ("blend noise", "none"),
        ],
        carried: &[],
    },
    Axis {
        name: "noise prior",
        topics: &[("prior", 5), ("blend", 1)],
        anchors: &["prior"],
        settings: &[],
        number: Some(Number {
            field: "generation.noise_prior",
            least: 0.0,
            most: 1.0,
            whole: false,
            own: Some(0.5),
            beside: &["prior", "noise", "blend", "inverted"],
        }),
        removed: &[],
        carried: &[],
    },
    Axis {
        name: "sites",
        topics: &[("site", 3), ("up", 2), ("down", 2), ("mid", 2)],
        anchors: &["mqk", "mv", "motion"],
        settings: &[
            Setting {
                name: "every site",
                phrases: &["all ?site"],
                values: &[("inversion.sites", Word("all"))],
            },
            Setting {
                name: "the way up",
                phrases: &["up ?only ?site"],
                values: &[("inversion.sites", Word("up:*"))],
            },
            Setting {
                name: "the way down",
                phrases: &["down ?only ?site"],
                values: &[("inversion.sites", Word("down:*"))],
            },
            Setting {
                name: "the middle",
                phrases: &["mid ?only ?site"],
                values: &[("inversion.sites", Word("mid:*"))],
            },
        ],
        number: None,
        removed: &[],
        carried: &[],
    },
    Axis {
        name: "learning steps",
        topics: &[("steps", 4)],
        anchors: &[],
        settings: &[],
        number: Some(Number {
            field: "inversion.steps",
            least: 1.0,
            most: 1e6,
            whole: true,
            own: None, // a model may recommend another number
            beside: &["steps"],
        }),
        removed: &[],
        carried: &[],
    },
    Axis {
        name: "learning rate",
        topics: &[("rate", 5)],
        anchors: &[],
        settings: &[],
        number: Some(Number {
            field: "inversion.learning_rate",
            least: 1e-9,
            most: 10.0,
            whole: false,
            own: None,
            beside: &["rate"],
        }),
        removed: &[],
        carried: &[],
    },
    Axis {
        name: "guidance",
        topics: &[("guidance", 5)],
        anchors: &[],
        settings: &[],
        number: Some(Number {
            field: "generation.guidance",
            least: 0.0,
            most: 100.0,
            whole: false,
            own: None,
            beside: &["guidance"],
        }),
        removed: &[],
        carried: &[],
    },
    Axis {
        name: "model",
        topics: &[("backbone", 5), ("zeroscope", 4), ("modelscope", 4)],
        anchors: &[],
        settings: &[
            Setting {
                name: "ZeroScope",
                phrases: &["zeroscope ?backbone"],
                values: &[("model", Word("cerspense/zeroscope_v2_576w"))],
            },
            Setting {
                name: "ModelScope",
                phrases: &["modelscope ?backbone"],
                values: &[("model", Word("ali-vilab/text-to-video-ms-1.7b"))],
            },
        ],
        number: None,
        removed: &[],
        carried: &[],
    },
    Axis {
        name: TIMESTEPS,
        topics: &[("timestep", 5)],
        anchors: &[],
        settings: &[],
        number: None,
        removed: &[],
        carried: &[],
    },
];

/// Words that may stand in any wish without changing it.
pub(super) const COMMON: [&str; 14] = [
    "embedding",
    "channel",
    "add",
    "motion",
    "mqk",
    "mv",
    "temporal",
    "frame",
    "inference",
    "individual",
    "include",
    "original",
    "keep",
    "site",
];

impl Axis {
    /// Every word that its phrases tell apart.
    pub fn vocabulary(&self) -> impl Iterator<Item = &'static str> {
        let phrases = self.settings.iter().flat_map(|setting| setting.phrases);
        phrases
            .flat_map(|phrase| phrase.split_whitespace())
            .map(|word| word.trim_start_matches('?'))
    }

    /// Whether it knows a word at all.
    pub fn knows(&self, concept: &str) -> bool {
        self.topics.iter().any(|(topic, _)| *topic == concept)
            || self.vocabulary().any(|word| word == concept)
            || self.anchors.contains(&concept)
            || self
                .number
                .as_ref()
                .is_some_and(|number| number.beside.contains(&concept))
    }
}
