//! The discrete Fréchet distance of paths.
//!
//! Two walkers go along the points of one path each, from first to last, neither ever turning back; it is the
//! shortest leash that lets them (Eiter & Mannila, *Computing Discrete Fréchet Distance*, 1994). Unlike a mean of
//! distances it keeps the order of the points, and unlike a frame-by-frame distance it forgives other timing.

use rayon::prelude::*;

/// A point of a path.
pub(super) type Point = [f64; 2];

/// The discrete Fréchet distance of two paths, in the unit of their points.
///
/// # Panics
/// If a path has no point.
pub fn discrete_frechet_distance(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    assert!(!a.is_empty() && !b.is_empty(), "a path has a point");
    let squared = squared_below(a, b, f64::INFINITY, &mut Vec::new());
    squared.map_or(f64::INFINITY, f64::sqrt)
}

/// Paths of one length.
pub(super) struct Paths {
    frames: usize,
    points: Vec<Point>,     // [paths, frames]
    boxes: Vec<[Point; 2]>, // least and greatest coordinates of each
}

impl Paths {
    /// Paths of `frames` points each, one after the other.
    pub fn new(frames: usize, points: Vec<Point>) -> Self {
        let bounds = |path: &[Point]| {
            let first = [path[0]; 2];
            path.iter().fold(first, |[low, high], point| {
                [0, 1].map(|end| {
                    [0, 1].map(|axis| match end {
                        0 => low[axis].min(point[axis]),
                        _ => high[axis].max(point[axis]),
                    })
                })
            })
        };
        let boxes = points.chunks_exact(frames).map(bounds).collect();
        Self {
            frames,
            points,
            boxes,
        }
    }

    fn len(&self) -> usize {
        self.boxes.len()
    }

    fn path(&self, index: usize) -> &[Point] {
        &self.points[index * self.frames..][..self.frames]
    }

    /// For each of these paths the distance to the nearest of `others`, of which there is at least one.
    ///
    /// Most pairs are settled by a bound: both leashes' ends must meet, and so must the borders of the boxes
    /// around the paths. The rest give up as soon as they cannot beat the best.
    pub fn nearest(&self, others: &Self) -> Vec<f64> {
        let nearest = |(bounds, scratch): &mut (Vec<f64>, Vec<f64>), index: usize| {
            bounds.clear();
            bounds.extend((0..others.len()).map(|other| self.bound(index, others, other)));
            let closest = bounds
                .iter()
                .enumerate()
                .min_by(|(_, a), (_, b)| a.total_cmp(b))
                .map_or(0, |(other, _)| other);
            let mut best = f64::INFINITY;
            for other in std::iter::once(closest).chain(0..others.len()) {
                if bounds[other] < best {
                    let path = self.path(index);
                    if let Some(less) = squared_below(path, others.path(other), best, scratch) {
                        best = less;
                    }
                }
            }
            best.sqrt()
        };
        (0..self.len())
            .into_par_iter()
            .map_init(Default::default, nearest)
            .collect()
    }

    /// A squared distance that that of two paths does not go below.
    fn bound(&self, index: usize, others: &Self, other: usize) -> f64 {
        let (a, b) = (self.path(index), others.path(other));
        let last = self.frames - 1;
        let ends = squared(a[0], b[0]).max(squared(a[last], b[others.frames - 1]));
        let (a, b) = (self.boxes[index], others.boxes[other]);
        [(0, 0), (0, 1), (1, 0), (1, 1)]
            .into_iter()
            .fold(ends, |bound, (end, axis)| {
                bound.max((a[end][axis] - b[end][axis]).powi(2))
            })
    }
}

fn squared(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

/// The squared distance if it is below `limit`. `leash[j]` is the shortest leash with which the walkers reach the
/// current point of `a` and point j of `b`; `leash` is scratch.
fn squared_below(a: &[Point], b: &[Point], limit: f64, leash: &mut Vec<f64>) -> Option<f64> {
    leash.clear();
    leash.extend(b.iter().scan(0.0_f64, |longest, &point| {
        *longest = longest.max(squared(a[0], point));
        Some(*longest)
    }));
    for &here in &a[1..] {
        let mut diagonal = leash[0]; // of the point of `a` before, one point of `b` back
        leash[0] = leash[0].max(squared(here, b[0]));
        let mut shortest = leash[0];
        for j in 1..b.len() {
            let reach = diagonal.min(leash[j]).min(leash[j - 1]);
            diagonal = leash[j];
            leash[j] = reach.max(squared(here, b[j]));
            shortest = shortest.min(leash[j]);
        }
        if shortest >= limit {
            return None;
        }
    }
    leash.last().copied().filter(|last| *last < limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(points: &[f64], y: f64) -> Vec<Point> {
        points.iter().map(|x| [*x, y]).collect()
    }

    #[test]
    fn distances_by_hand() {
        let straight = line(&[0.0, 1.0, 2.0, 3.0], 0.0);
        for (other, expected) in [
            (straight.clone(), 0.0),
            (line(&[0.0, 1.0, 2.0, 3.0], 2.0), 2.0),
            (line(&[0.0, 0.0, 0.0, 1.0, 2.0, 3.0], 0.0), 0.0), // another timing
            (line(&[3.0, 2.0, 1.0, 0.0], 0.0), 3.0),           // the same points backwards
            (line(&[0.0, 3.0, 0.0, 3.0], 0.0), 2.0), // back while the other waits half-way
            (line(&[5.0], 0.0), 5.0),
        ] {
            assert_eq!(
                discrete_frechet_distance(&straight, &other),
                expected,
                "{other:?}"
            );
            assert_eq!(
                discrete_frechet_distance(&other, &straight),
                expected,
                "{other:?}"
            );
        }
    }

    fn paths(count: usize) -> impl Strategy<Value = Vec<Point>> {
        proptest::collection::vec(proptest::array::uniform2(-1.0..1.0), count * 5)
    }

    proptest! {
        #[test]
        fn nothing_is_lost_to_the_bounds(a in paths(7), b in paths(9)) {
            let found = Paths::new(5, a.clone()).nearest(&Paths::new(5, b.clone()));
            for (path, found) in a.chunks_exact(5).zip(found) {
                let all = b.chunks_exact(5).map(|other| discrete_frechet_distance(path, other));
                prop_assert_eq!(found, all.fold(f64::INFINITY, f64::min));
            }
        }

        #[test]
        fn it_lies_between_the_ends_and_the_frames_in_step(a in paths(1), b in paths(1)) {
            let found = discrete_frechet_distance(&a, &b);
            let distances: Vec<f64> = a.iter().zip(&b).map(|(a, b)| squared(*a, *b).sqrt()).collect();
            prop_assert!(found >= distances[0].max(distances[4]) - 1e-12);
            prop_assert!(found <= distances.iter().copied().fold(0.0, f64::max) + 1e-12);
        }
    }
}
