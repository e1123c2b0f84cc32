//! What a clip shows: shape, colour and background, their pictures, and the caption that names them.
//!
//! Colours are RGB in 0..1; lengths are pixels of a 64-pixel frame, x to the right, y down. Numbers and
//! formulas are those of `WORLD.md`.

use std::f64::consts::{PI, TAU};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Red, green and blue in 0..1.
pub type Rgb = [f64; 3];

/// An enum without fields whose values have lower-case names: `ALL`, `name`, `Display`, `FromStr` and serde
/// agree on them.
macro_rules! named {
    (
        $(#[$meta:meta])*
        pub enum $name:ident called $what:literal {
            $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// The name, as in captions and files.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::ALL
                    .into_iter()
                    .find(|value| value.name() == text)
                    .ok_or_else(|| Error::UnknownName {
                        what: $what,
                        found: text.to_owned(),
                        expected: Self::ALL.map(Self::name).join(", "),
                    })
            }
        }
    };
}
pub(crate) use named;

named! {
    /// The outline of a sprite. Each is given by a signed distance and has its centroid at its centre.
    pub enum Shape called "shape" {
        /// A disc.
        Circle = "circle",
        /// A ring, slightly larger than the disc of the same size.
        Ring = "ring",
        /// A square with horizontal and vertical sides.
        Square = "square",
        /// An upright cross.
        Cross = "cross",
        /// An equilateral triangle that points up.
        Triangle = "triangle",
        /// A star of five points, one of them up.
        Star = "star",
    }
}

impl Shape {
    /// The distance of no point of a sprite of size 1 from its centre exceeds this (the corners of the square).
    pub const REACH: f64 = 1.22;

    /// Distance of the point (`x`, `y`), relative to the sprite's centre, from the outline of a sprite of size
    /// `radius`: negative inside. For the star it is measured along the ray from the centre.
    pub fn signed_distance(self, x: f64, y: f64, radius: f64) -> f64 {
        match self {
            Self::Circle => x.hypot(y) - radius,
            Self::Ring => (x.hypot(y) - 0.8 * radius).abs() - 0.28 * radius,
            Self::Square => x.abs().max(y.abs()) - 0.86 * radius,
            Self::Cross => {
                let bar = |along: f64, across: f64| {
                    (along.abs() - radius).max(across.abs() - 0.34 * radius)
                };
                bar(x, y).min(bar(y, x))
            }
            Self::Triangle => (3f64.sqrt() / 2.0 * x.abs() - y / 2.0).max(y) - 0.58 * radius,
            Self::Star => {
                let from_up = x.atan2(-y);
                let sector = TAU / 5.0;
                let off_axis = from_up - sector * (from_up / sector).round(); // within half a sector
                let point = (1.0 - 2.0 * off_axis.abs() / sector).max(0.0);
                x.hypot(y) - radius * (0.45 + 0.65 * point.powf(1.3))
            }
        }
    }

    /// How much of the pixel centred at (`x`, `y`) the sprite covers, in 0..1.
    pub fn coverage(self, x: f64, y: f64, radius: f64) -> f64 {
        (0.5 - self.signed_distance(x, y, radius)).clamp(0.0, 1.0)
    }

    /// The area within the outline of a sprite of size `radius`, in square pixels.
    pub fn area(self, radius: f64) -> f64 {
        let unit = match self {
            Self::Circle => PI,
            Self::Ring => PI * (1.08 * 1.08 - 0.52 * 0.52),
            Self::Square => 1.72 * 1.72,
            Self::Cross => 2.0 * (2.0 * 0.68) - 0.68 * 0.68,
            Self::Triangle => 3.0 * 3f64.sqrt() * 0.58 * 0.58,
            // Half the squared outline, integrated over the angle, in which `point` is linear.
            Self::Star => {
                PI * (0.45 * 0.45 + 2.0 * 0.45 * 0.65 / (1.3 + 1.0) + 0.65 * 0.65 / (2.6 + 1.0))
            }
        };
        unit * radius * radius
    }
}

named! {
    /// The colour of a sprite.
    pub enum Colour called "colour" {
        /// Red.
        Red = "red",
        /// Green.
        Green = "green",
        /// Blue.
        Blue = "blue",
        /// Yellow.
        Yellow = "yellow",
        /// Purple.
        Purple = "purple",
        /// Orange.
        Orange = "orange",
        /// White.
        White = "white",
        /// Cyan.
        Cyan = "cyan",
    }
}

impl Colour {
    /// The colour as painted.
    pub fn rgb(self) -> Rgb {
        match self {
            Self::Red => [0.90, 0.16, 0.16],
            Self::Green => [0.16, 0.75, 0.25],
            Self::Blue => [0.18, 0.32, 0.95],
            Self::Yellow => [0.96, 0.86, 0.15],
            Self::Purple => [0.62, 0.22, 0.80],
            Self::Orange => [0.97, 0.55, 0.10],
            Self::White => [0.96, 0.96, 0.96],
            Self::Cyan => [0.15, 0.85, 0.90],
        }
    }
}

named! {
    /// What is behind the sprite.
    pub enum Background called "background" {
        /// Nearly black, plain.
        Black = "black",
        /// Middle gray, plain.
        Gray = "gray",
        /// Dark blue, plain.
        Navy = "navy",
        /// Brown squares of 12 pixels, nearly sharp.
        Checkered = "checkered",
        /// Soft green diagonal stripes.
        Striped = "striped",
    }
}

impl Background {
    /// The two colours between which the pattern runs; equal for a plain background.
    pub fn colours(self) -> [Rgb; 2] {
        match self {
            Self::Black => [[0.03, 0.03, 0.03]; 2],
            Self::Gray => [[0.45, 0.45, 0.45]; 2],
            Self::Navy => [[0.06, 0.09, 0.30]; 2],
            Self::Checkered => [[0.20, 0.16, 0.13], [0.48, 0.40, 0.32]],
            Self::Striped => [[0.08, 0.24, 0.20], [0.25, 0.46, 0.38]],
        }
    }

    /// Whether there is a pattern, so that one can see it pan.
    pub fn is_patterned(self) -> bool {
        matches!(self, Self::Checkered | Self::Striped)
    }

    /// The colour at a point of the pattern, in pixels; a pan has already been taken off.
    pub fn rgb_at(self, u: f64, v: f64) -> Rgb {
        let [first, second] = self.colours();
        let swing = match self {
            Self::Black | Self::Gray | Self::Navy => return first,
            Self::Checkered => 6.6 * (PI * u / 12.0).sin() * (PI * v / 12.0).sin(),
            Self::Striped => 2.2 * (PI * (u + v) / 11.0).sin(),
        };
        mix(first, second, 0.5 + 0.5 * swing.tanh())
    }
}

/// From `a` (0) to `b` (1).
pub(crate) fn mix(a: Rgb, b: Rgb, amount: f64) -> Rgb {
    std::array::from_fn(|i| a[i] + amount * (b[i] - a[i]))
}

/// Everything a caption says about a clip. It never says how the sprite moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// Colour of the sprite.
    pub colour: Colour,
    /// Shape of the sprite.
    pub shape: Shape,
    /// What is behind it.
    pub background: Background,
}

impl Look {
    /// Every look there is.
    pub fn all() -> impl Iterator<Item = Self> {
        Background::ALL.into_iter().flat_map(|background| {
            Shape::ALL.into_iter().flat_map(move |shape| {
                Colour::ALL.into_iter().map(move |colour| Self {
                    colour,
                    shape,
                    background,
                })
            })
        })
    }

    /// The caption, for example `a red circle on a gray background` or `an orange ring on a black background`.
    ///
    /// The text encoder of the built-in model reads `an` as `a`.
    pub fn caption(&self) -> String {
        let Self {
            colour,
            shape,
            background,
        } = self;
        let article = match colour {
            Colour::Orange => "an",
            _ => "a",
        };
        format!("{article} {colour} {shape} on a {background} background")
    }

    /// Reads a caption back. Either article will do before any word, and neither letter case nor the amount
    /// of space matters.
    ///
    /// ```
    /// use kinvert_world::Look;
    ///
    /// let look = Look::parse("a orange star on a navy background")?;
    /// assert_eq!(look.caption(), "an orange star on a navy background");
    /// # Ok::<(), kinvert_world::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotACaption`] if the sentence has another form; [`Error::UnknownName`] if it has the form, but
    /// one of its words is not of this world.
    pub fn parse(caption: &str) -> Result<Self, Error> {
        let lower = caption.to_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        match words[..] {
            [
                "a" | "an",
                colour,
                shape,
                "on",
                "a" | "an",
                background,
                "background",
            ] => Ok(Self {
                colour: colour.parse()?,
                shape: shape.parse()?,
                background: background.parse()?,
            }),
            _ => Err(Error::NotACaption {
                found: caption.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.caption())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_between_display_parsing_and_serde() {
        fn check<T>(all: &[T])
        where
            T: Copy
                + PartialEq
                + fmt::Debug
                + fmt::Display
                + FromStr<Err = Error>
                + Serialize
                + serde::de::DeserializeOwned,
        {
            for value in all {
                let name = value.to_string();
                assert_eq!(name, name.to_lowercase());
                assert_eq!(name.parse::<T>().unwrap(), *value);
                let json = serde_json::to_string(value).unwrap();
                assert_eq!(json, format!("\"{name}\""));
                assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *value);
            }
        }
        check(&Shape::ALL);
        check(&Colour::ALL);
        check(&Background::ALL);
        check(&crate::Motion::ALL);
    }

    #[test]
    fn captions_of_all_looks_differ_and_parse_back() {
        let captions: std::collections::HashSet<String> =
            Look::all().map(|look| look.caption()).collect();
        assert_eq!(captions.len(), 240);
        for look in Look::all() {
            assert_eq!(Look::parse(&look.caption()).unwrap(), look);
        }
    }

    #[test]
    fn sentences_that_are_no_captions_are_refused() {
        for sentence in [
            "",
            "a red circle",
            "red circle on a gray background",
            "a red circle on a gray background, please",
            "a red circle under a gray background",
        ] {
            let error = Look::parse(sentence).unwrap_err();
            assert!(
                matches!(error, Error::NotACaption { .. }),
                "{sentence}: {error}"
            );
            assert!(error.hint().is_some());
        }
        let error = Look::parse("a pink circle on a gray background").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`pink` is not a colour, expected one of red, green, blue, yellow, purple, orange, white, cyan"
        );
    }

    #[test]
    fn shapes_stay_within_their_reach_and_turn_about_their_centroid() {
        for shape in Shape::ALL {
            let (radius, mut mass, mut moment) = (100.0, 0.0, [0.0; 2]);
            for y in -130..130 {
                for x in -130..130 {
                    let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
                    let coverage = shape.coverage(x, y, radius);
                    let reach = Shape::REACH * radius + 1.0;
                    assert!(coverage == 0.0 || x.hypot(y) <= reach, "{shape} ({x}, {y})");
                    mass += coverage;
                    moment = [moment[0] + coverage * x, moment[1] + coverage * y];
                }
            }
            let error = mass / shape.area(radius) - 1.0;
            assert!(error.abs() < 2e-3, "{shape}: area off by {error}");
            assert!(
                moment.iter().all(|m| (m / mass).abs() < 0.02),
                "{shape}: {moment:?}"
            );
        }
    }

    #[test]
    fn points_of_the_star_and_triangle_are_up() {
        for shape in [Shape::Star, Shape::Triangle] {
            assert!(shape.coverage(0.0, -9.0, 10.0) > 0.9, "{shape}");
            assert_eq!(shape.coverage(0.0, 9.0, 10.0), 0.0, "{shape}");
        }
    }

    #[test]
    fn patterns_run_between_their_two_colours() {
        for background in Background::ALL {
            let [first, second] = background.colours();
            let mut seen = [f64::MAX, f64::MIN];
            for i in 0..48 {
                for j in 0..48 {
                    let rgb = background.rgb_at(i as f64, j as f64);
                    for c in 0..3 {
                        assert!((first[c]..=second[c]).contains(&rgb[c]), "{background}");
                    }
                    seen = [seen[0].min(rgb[0]), seen[1].max(rgb[0])];
                }
            }
            let range = second[0] - first[0];
            assert!(seen[1] - seen[0] >= 0.95 * range, "{background}: {seen:?}");
            assert_eq!(background.is_patterned(), range > 0.0);
        }
    }
}
