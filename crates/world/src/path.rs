//! Where the centre of a sprite goes: six motions and their random parameters.
//!
//! Positions are in units in which the frame is [−1, 1]², x to the right and y down; time runs from 0 at the
//! first frame to 1 at the last. `WORLD.md` gives the ranges, and says which of them it had to settle.

use std::f64::consts::{PI, TAU};
use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::look::named;

/// x and y.
pub type Point = [f64; 2];

/// No centre leaves the square from minus this to this.
pub const MAX_POSITION: f64 = 0.72;

named! {
    /// A kind of motion.
    pub enum Motion called "motion" {
        /// No motion at all.
        Still = "still",
        /// Straight on at constant speed.
        Line = "line",
        /// Along a circle, by half a turn to a full one.
        Arc = "arc",
        /// Along a line, swaying sideways.
        Wave = "wave",
        /// Jumping from the floor while it goes sideways.
        Bounce = "bounce",
        /// Along a line and back again.
        Back = "back",
    }
}

impl Motion {
    /// Draws a motion; a line is twice as likely as each other one.
    pub fn random(rng: &mut impl Rng) -> Self {
        match rng.random_range(0..=Self::ALL.len()) {
            i if i < Self::ALL.len() => Self::ALL[i],
            _ => Self::Line,
        }
    }
}

/// The path of a sprite's centre.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "motion", rename_all = "lowercase", deny_unknown_fields)]
pub enum Path {
    /// Stays in one place.
    Still {
        /// The place.
        at: Point,
    },
    /// A straight line at constant speed.
    Line {
        /// Where it starts.
        from: Point,
        /// Where it ends.
        to: Point,
    },
    /// A part of a circle at constant speed.
    Arc {
        /// Centre of the circle.
        around: Point,
        /// Radius of the circle.
        radius: f64,
        /// Angle of the first position, in radians from the x axis towards the y axis.
        start: f64,
        /// Angle travelled, in radians; negative is the other way round.
        sweep: f64,
    },
    /// A line with a sine across it.
    Wave {
        /// Where it starts.
        from: Point,
        /// Where the line below it ends.
        to: Point,
        /// Largest distance from the line.
        amplitude: f64,
        /// Periods of the sine.
        periods: f64,
    },
    /// Jumps from the floor at y = 0.5: `y = 0.5 − height |sin(π jumps t)|`.
    Bounce {
        /// x at the start.
        from_x: f64,
        /// x at the end.
        to_x: f64,
        /// Height of a jump.
        height: f64,
        /// Number of jumps.
        jumps: u32,
    },
    /// A line and back to its start, each in half of the time.
    Back {
        /// Where it starts and ends.
        from: Point,
        /// Where it turns.
        to: Point,
    },
}

impl Path {
    /// Draws the parameters of a motion from the ranges of `WORLD.md`.
    pub fn random(motion: Motion, rng: &mut impl Rng) -> Self {
        match motion {
            Motion::Still => Self::Still {
                at: random_offset(MAX_OFFSET, rng),
            },
            Motion::Line => {
                let [from, to] = random_line(rng);
                Self::Line { from, to }
            }
            Motion::Arc => {
                let radius = rng.random_range(0.3..=0.55);
                let sweep = rng.random_range(PI..=TAU);
                Self::Arc {
                    // A circle that did not fit would be flattened where positions are clipped.
                    around: random_offset(MAX_OFFSET.min(MAX_POSITION - radius), rng),
                    radius,
                    start: rng.random_range(0.0..TAU),
                    sweep: if rng.random() { sweep } else { -sweep },
                }
            }
            Motion::Wave => {
                let [from, to] = random_line(rng);
                Self::Wave {
                    from,
                    to,
                    amplitude: rng.random_range(0.2..=0.35),
                    periods: rng.random_range(0.9..=1.6),
                }
            }
            Motion::Bounce => {
                let middle = rng.random_range(-MAX_OFFSET..=MAX_OFFSET);
                let length = random_length(rng);
                let half = if rng.random() { length } else { -length } / 2.0;
                Self::Bounce {
                    from_x: middle - half,
                    to_x: middle + half,
                    height: rng.random_range(0.7..=1.1),
                    jumps: rng.random_range(1..=2),
                }
            }
            Motion::Back => {
                let [from, to] = random_line(rng);
                Self::Back { from, to }
            }
        }
    }

    /// The kind of motion.
    pub fn motion(&self) -> Motion {
        match self {
            Self::Still { .. } => Motion::Still,
            Self::Line { .. } => Motion::Line,
            Self::Arc { .. } => Motion::Arc,
            Self::Wave { .. } => Motion::Wave,
            Self::Bounce { .. } => Motion::Bounce,
            Self::Back { .. } => Motion::Back,
        }
    }

    /// Where the centre is at time `t` in 0..1, each coordinate clipped to ±[`MAX_POSITION`].
    pub fn position(&self, t: f64) -> Point {
        let position = match *self {
            Self::Still { at } => at,
            Self::Line { from, to } => between(from, to, t),
            Self::Arc {
                around: [x, y],
                radius,
                start,
                sweep,
            } => {
                let (sin, cos) = (start + sweep * t).sin_cos();
                [x + radius * cos, y + radius * sin]
            }
            Self::Wave {
                from,
                to,
                amplitude,
                periods,
            } => {
                let along = [to[0] - from[0], to[1] - from[1]];
                let length = along[0].hypot(along[1]).max(f64::MIN_POSITIVE);
                let sway = amplitude * (TAU * periods * t).sin();
                let [x, y] = between(from, to, t);
                [x - sway * along[1] / length, y + sway * along[0] / length]
            }
            Self::Bounce {
                from_x,
                to_x,
                height,
                jumps,
            } => [
                from_x + t * (to_x - from_x),
                0.5 - height * (PI * f64::from(jumps) * t).sin().abs(),
            ],
            Self::Back { from, to } => between(from, to, 1.0 - (2.0 * t - 1.0).abs()),
        };
        position.map(|coordinate| coordinate.clamp(-MAX_POSITION, MAX_POSITION))
    }
}

/// How far the middle of a path lies from the middle of the frame, at most, on each axis.
const MAX_OFFSET: f64 = 0.25;

fn random_offset(max: f64, rng: &mut impl Rng) -> Point {
    std::array::from_fn(|_| rng.random_range(-max..=max))
}

fn random_length(rng: &mut impl Rng) -> f64 {
    rng.random_range(0.7..=1.3)
}

/// Both ends of a line of any direction.
fn random_line(rng: &mut impl Rng) -> [Point; 2] {
    let [x, y] = random_offset(MAX_OFFSET, rng);
    let half = random_length(rng) / 2.0;
    let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
    [
        [x - half * cos, y - half * sin],
        [x + half * cos, y + half * sin],
    ]
}

fn between(a: Point, b: Point, amount: f64) -> Point {
    [a[0] + amount * (b[0] - a[0]), a[1] + amount * (b[1] - a[1])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn assert_near(found: Point, expected: Point) {
        for i in 0..2 {
            assert!(
                (found[i] - expected[i]).abs() < 1e-12,
                "{found:?} {expected:?}"
            );
        }
    }

    #[test]
    fn paths_go_where_they_say() {
        let (from, to) = ([-0.4, 0.1], [0.4, 0.1]);
        assert_near(Path::Still { at: from }.position(0.7), from);
        assert_near(Path::Line { from, to }.position(0.25), [-0.2, 0.1]);
        assert_near(Path::Back { from, to }.position(0.75), [0.0, 0.1]);
        assert_near(Path::Back { from, to }.position(1.0), from);
        let wave = Path::Wave {
            from,
            to,
            amplitude: 0.3,
            periods: 1.0,
        };
        assert_near(wave.position(0.25), [-0.2, 0.4]);
        let arc = Path::Arc {
            around: [0.1, 0.0],
            radius: 0.5,
            start: 0.0,
            sweep: -PI,
        };
        assert_near(arc.position(0.5), [0.1, -0.5]);
        let bounce = Path::Bounce {
            from_x: 0.2,
            to_x: -0.2,
            height: 1.0,
            jumps: 2,
        };
        assert_near(bounce.position(0.0), [0.2, 0.5]);
        assert_near(bounce.position(0.25), [0.1, -0.5]);
        let far = Path::Line {
            from,
            to: [4.0, -4.0],
        };
        assert_near(far.position(1.0), [MAX_POSITION, -MAX_POSITION]);
    }

    #[test]
    fn a_wave_without_length_does_not_divide_by_zero() {
        let wave = Path::Wave {
            from: [0.1, 0.2],
            to: [0.1, 0.2],
            amplitude: 0.3,
            periods: 1.0,
        };
        assert_near(wave.position(0.25), [0.1, 0.2]);
    }

    #[test]
    fn lines_are_twice_as_likely_as_any_other_motion() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0; Motion::ALL.len()];
        for _ in 0..7000 {
            let motion = Motion::random(&mut rng);
            counts[Motion::ALL.iter().position(|m| *m == motion).unwrap()] += 1;
        }
        for (motion, count) in Motion::ALL.into_iter().zip(counts) {
            let expected = if motion == Motion::Line { 2000 } else { 1000 };
            assert!(i32::abs(count - expected) < 120, "{motion}: {count}");
        }
    }

    #[test]
    fn parameters_fill_their_ranges() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut fill = |motion, read: fn(Path) -> f64, low: f64, high: f64| {
            let values: Vec<f64> = (0..400)
                .map(|_| read(Path::random(motion, &mut rng)))
                .collect();
            let least = values.iter().copied().fold(f64::MAX, f64::min);
            let most = values.iter().copied().fold(f64::MIN, f64::max);
            let margin = 0.03 * (high - low);
            assert!(
                low - 1e-9 <= least && least < low + margin,
                "{motion}: {least}"
            );
            assert!(
                high - margin < most && most <= high + 1e-9,
                "{motion}: {most}"
            );
        };
        fill(
            Motion::Line,
            |path| match path {
                Path::Line { from, to } => (from[0] - to[0]).hypot(from[1] - to[1]),
                other => panic!("{other:?}"),
            },
            0.7,
            1.3,
        );
        fill(
            Motion::Arc,
            |path| match path {
                Path::Arc { radius, .. } => radius,
                other => panic!("{other:?}"),
            },
            0.3,
            0.55,
        );
        fill(
            Motion::Arc,
            |path| match path {
                Path::Arc { sweep, .. } => sweep.abs(),
                other => panic!("{other:?}"),
            },
            PI,
            TAU,
        );
        fill(
            Motion::Wave,
            |path| match path {
                Path::Wave { amplitude, .. } => amplitude,
                other => panic!("{other:?}"),
            },
            0.2,
            0.35,
        );
        fill(
            Motion::Bounce,
            |path| match path {
                Path::Bounce { height, .. } => height,
                other => panic!("{other:?}"),
            },
            0.7,
            1.1,
        );
        fill(
            Motion::Still,
            |path| path.position(0.0)[1],
            -MAX_OFFSET,
            MAX_OFFSET,
        );
    }
}
