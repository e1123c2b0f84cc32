//! Where in a frame there is something to hold on to.

use super::patch::{dot, scharr};
use super::pyramid::Image;
use crate::tracks::Place;

/// Products of the slopes along x and y, summed over the channels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tensor {
    pub xx: f64,
    pub xy: f64,
    pub yy: f64,
}

impl Tensor {
    /// Both eigenvalues, the smaller first.
    pub fn eigenvalues(&self) -> [f64; 2] {
        let middle = (self.xx + self.yy) / 2.0;
        let apart = ((self.xx - self.yy) / 2.0).hypot(self.xy);
        [middle - apart, middle + apart]
    }

    /// The directions of both eigenvalues.
    fn axes(&self) -> [[f64; 2]; 2] {
        let (sin, cos) = (0.5 * (2.0 * self.xy).atan2(self.xx - self.yy)).sin_cos();
        [[-sin, cos], [cos, sin]]
    }

    /// The squared slope along a direction.
    fn along(&self, [x, y]: [f64; 2]) -> f64 {
        x * x * self.xx + 2.0 * x * y * self.xy + y * y * self.yy
    }

    fn add(&mut self, weight: f64, other: Self) {
        self.xx += weight * other.xx;
        self.xy += weight * other.xy;
        self.yy += weight * other.yy;
    }
}

/// What the pixels around a place say about it.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// Mean over the pixels.
    pub tensor: Tensor,
    /// Length of the mean direction from the place to the slopes, along the axis of the tensor where it is
    /// longest: 0 if slopes lie all around, 1 if all are on one side.
    pub one_sidedness: f64,
}

/// The tensors of all pixels of an image; 0 at its border.
pub struct Structure {
    width: usize,
    height: usize,
    tensors: Vec<Tensor>,
}

impl Structure {
    pub fn of(image: &Image) -> Self {
        let (width, height) = (image.width, image.height);
        let tensors = (0..width * height)
            .map(|index| tensor_at(image, index % width, index / width))
            .collect();
        Self {
            width,
            height,
            tensors,
        }
    }

    /// The square of a radius around the pixel nearest to a place.
    pub fn hold(&self, [x, y]: Place, radius: u32) -> Hold {
        let (x, y, radius) = (x.round() as i64, y.round() as i64, i64::from(radius));
        let range = |at: i64, length: usize| {
            let length = length as i64;
            (at - radius).clamp(0, length)..(at + radius + 1).clamp(0, length)
        };
        let (mut sum, mut towards) = (Tensor::default(), [Tensor::default(); 2]);
        let (columns, rows) = (range(x, self.width), range(y, self.height));
        let count = (columns.end - columns.start) * (rows.end - rows.start);
        for row in rows {
            for column in columns.clone() {
                let tensor = self.tensors[row as usize * self.width + column as usize];
                let (right, down) = ((column - x) as f64, (row - y) as f64);
                let distance = (right * right + down * down).sqrt().max(1.0);
                sum.add(1.0, tensor);
                towards[0].add(right / distance, tensor);
                towards[1].add(down / distance, tensor);
            }
        }
        let [weak, strong] = sum.axes().map(|axis| {
            let [right, down] = towards.map(|tensor| tensor.along(axis));
            right.hypot(down) / sum.along(axis).max(f64::MIN_POSITIVE)
        });
        let mut tensor = Tensor::default();
        tensor.add(1.0 / count.max(1) as f64, sum);
        Hold {
            tensor,
            one_sidedness: weak.max(strong),
        }
    }
}

fn tensor_at(image: &Image, column: usize, row: usize) -> Tensor {
    let inside = |at: usize, length: usize| at > 0 && at + 1 < length;
    if !inside(column, image.width) || !inside(row, image.height) {
        return Tensor::default();
    }
    let [x, y] = scharr(|i, j| image.pixel(column + i - 1, row + j - 1));
    Tensor {
        xx: dot(x, x).into(),
        xy: dot(x, y).into(),
        yy: dot(y, y).into(),
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;
    use crate::klt::pyramid::Pyramid;

    fn hold(bright: impl Fn(u32, u32) -> bool, place: Place) -> Hold {
        let frame = RgbImage::from_fn(33, 33, |x, y| Rgb([if bright(x, y) { 200 } else { 40 }; 3]));
        Structure::of(Pyramid::new(&frame, 1, [0.0; 3]).level(0)).hold(place, 5)
    }

    #[test]
    fn an_edge_holds_in_one_direction_and_a_corner_in_both() {
        let [least, most] = hold(|x, _| x > 16, [16.0, 16.0]).tensor.eigenvalues();
        assert!(least.abs() < 1e-9 && most > 1e-2, "{least} {most}");
        let [least, most] = hold(|x, y| x > 16 && y > 16, [16.0, 16.0])
            .tensor
            .eigenvalues();
        assert!(least > 0.5 * most && most > 1e-2, "{least} {most}");
    }

    #[test]
    fn a_place_beside_an_object_is_told_from_one_on_it() {
        let square = |x: u32, y: u32| (12..=20).contains(&x) && (12..=20).contains(&y);
        assert!(hold(square, [16.0, 16.0]).one_sidedness < 0.1);
        assert!(hold(square, [24.0, 24.0]).one_sidedness > 0.9);
    }

    #[test]
    fn a_frame_smaller_than_the_square_will_do() {
        let frame = RgbImage::new(1, 2);
        let structure = Structure::of(Pyramid::new(&frame, 1, [0.0; 3]).level(0));
        let hold = structure.hold([0.0, 1.0], 5);
        assert_eq!(hold.tensor, Tensor::default());
        assert_eq!(hold.one_sidedness, 0.0);
    }
}
