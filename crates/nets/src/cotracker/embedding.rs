//! What tells the update transformer how a track moves, and which frame a token belongs to.

use burn::prelude::*;
use burn::tensor::TensorData;

use super::config::STRIDE;

/// Scales of the movement encoding: 1, 2, 4, … 512.
pub(super) const SCALES: usize = 10;

/// Describes the movement of every point at every frame: `cells` is `[points, frames, 2]` in cells of the feature
/// maps, the result `[points, frames, 84]`.
///
/// Each frame has the way to its next and from its previous frame, negated and not, in fractions of the frames
/// that the network was trained on; the missing neighbours at both ends count as no movement. These four numbers
/// are followed by `sin(2^k v)` and then `sin(2^k v + pi / 2)`, scale by scale.
pub(super) fn movement<B: Backend>(
    cells: Tensor<B, 3>,
    model_resolution: [usize; 2],
) -> Tensor<B, 3> {
    let [points, frames, _] = cells.dims();
    let device = cells.device();
    let [height, width] = model_resolution;
    let extent = [width, height].map(|pixels| pixels as f32 / STRIDE as f32);
    let extent = Tensor::<B, 1>::from_floats(extent, &device).reshape([1, 1, 2]);
    let still = Tensor::zeros([points, 1, 2], &device);
    let ways = if frames == 1 {
        Tensor::cat(vec![still.clone(), still], 2)
    } else {
        let earlier = cells.clone().narrow(1, 0, frames - 1);
        let later = cells.narrow(1, 1, frames - 1);
        let onward = (earlier - later) / extent; // [points, frames - 1, 2]
        let since = onward.clone().neg();
        Tensor::cat(
            vec![
                Tensor::cat(vec![onward, still.clone()], 1),
                Tensor::cat(vec![still, since], 1),
            ],
            2,
        )
    }; // [points, frames, 4]

    let scales: Vec<f32> = (0..SCALES).map(|k| (1_u32 << k) as f32).collect();
    let scales = Tensor::<B, 1>::from_floats(scales.as_slice(), &device).reshape([1, 1, SCALES, 1]);
    let scaled =
        (ways.clone().unsqueeze_dim::<4>(2) * scales).reshape([points, frames, SCALES * 4]);
    let sines = scaled.clone().sin();
    let cosines = (scaled + std::f32::consts::FRAC_PI_2).sin();
    Tensor::cat(vec![ways, sines, cosines], 2)
}

/// Stretches a time embedding `[1, trained frames, channels]` to `[1, frames, channels]`: linear between frames,
/// whose centres divide both lengths evenly, as PyTorch's `interpolate(mode="linear", align_corners=False)`.
pub(super) fn time_embedding<B: Backend>(time_emb: Tensor<B, 3>, frames: usize) -> Tensor<B, 3> {
    let trained = time_emb.dims()[1];
    if trained == frames {
        return time_emb;
    }
    let device = time_emb.device();
    let scale = trained as f32 / frames as f32;
    let at: Vec<f32> = (0..frames)
        .map(|frame| ((frame as f32 + 0.5) * scale - 0.5).max(0.0))
        .collect();
    let lower: Vec<i64> = at.iter().map(|at| *at as i64).collect();
    let upper: Vec<i64> = lower
        .iter()
        .map(|at| (at + 1).min(trained as i64 - 1))
        .collect();
    let share: Vec<f32> = at.iter().map(|at| at.fract()).collect();
    let rows = |indices: Vec<i64>| {
        let indices = Tensor::<B, 1, Int>::from_data(TensorData::new(indices, [frames]), &device);
        time_emb.clone().select(1, indices)
    };
    let share = Tensor::<B, 3>::from_data(TensorData::new(share, [1, frames, 1]), &device);
    rows(lower) * (share.clone().neg() + 1.0) + rows(upper) * share
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;
    use kinvert_testkit::values;

    use super::*;

    #[test]
    fn a_point_that_stands_still_has_no_movement() {
        for frames in [1, 3] {
            let cells = Tensor::<Flex, 3>::full([2, frames, 2], 7.5, &Default::default());
            let found = movement(cells, [384, 512]);
            assert_eq!(found.dims(), [2, frames, 84]);
            for token in values(found).chunks(84) {
                assert!(token[..44].iter().all(|value| *value == 0.0));
                assert!(token[44..].iter().all(|value| *value == 1.0));
            }
        }
    }

    #[test]
    fn movement_is_in_fractions_of_the_trained_frames() {
        let cells = [[[0.0, 0.0], [64.0, 24.0]]]; // half and a quarter of 128 x 96 cells
        let cells = Tensor::<Flex, 3>::from_floats(cells, &Default::default());
        let found = values(movement(cells, [384, 512]));
        assert_eq!(found[..4], [-0.5, -0.25, 0.0, 0.0]);
        assert_eq!(found[84..88], [0.0, 0.0, 0.5, 0.25]);
        assert_eq!(found[84 + 4 + 3 * 4 + 2], 4_f32.sin());
    }

    #[test]
    fn a_time_embedding_is_stretched_between_frame_centres() {
        let rows = [[[0.0], [10.0], [20.0], [30.0]]];
        let time_emb = Tensor::<Flex, 3>::from_floats(rows, &Default::default());
        let check = |frames: usize, expected: &[f32]| {
            assert_eq!(values(time_embedding(time_emb.clone(), frames)), expected);
        };
        check(4, &[0.0, 10.0, 20.0, 30.0]);
        check(1, &[15.0]);
        check(2, &[5.0, 25.0]);
        check(8, &[0.0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30.0]);
    }
}
