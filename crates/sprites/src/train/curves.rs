//! The losses of a training as a table and as a picture.

use std::fmt::Write;

use plotters::prelude::*;

use super::checkpoint::Progress;

/// Width and height of the picture.
const SIZE: (u32, u32) = (900, 420);

/// Points of the curve, at most: each is the mean over as many steps.
const POINTS: usize = 300;

/// `step,loss` for every step.
pub fn csv(losses: &[f32]) -> String {
    let mut text = String::from("step,loss\n");
    for (step, loss) in losses.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{},{loss}", step + 1);
    }
    text
}

/// The losses, each point the mean over a run of steps, and what was measured on the way, as an SVG picture.
///
/// # Errors
/// What the plotting library says.
pub fn svg(progress: &Progress) -> Result<String, String> {
    let mut text = String::new();
    draw(progress, &mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

fn draw(progress: &Progress, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let points = smoothed(&progress.losses);
    let lowest = points
        .iter()
        .map(|(_, loss)| *loss)
        .fold(f64::MAX, f64::min);
    let highest = points
        .iter()
        .map(|(_, loss)| *loss)
        .fold(f64::MIN, f64::max);
    if points.is_empty() {
        return Ok(());
    }
    // Losses fall by powers of ten, so they are drawn on such a scale.
    let (low, high) = (lowest.max(1e-9) * 0.9, highest.max(1e-8) * 1.1);
    let steps = progress.losses.len() as f64;
    let measured: Vec<(f64, f64)> = progress
        .measured
        .iter()
        .map(|measured| (measured.steps as f64, measured.value))
        .collect();
    let [bottom, top] = margins(measured.iter().map(|(_, value)| *value));

    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .set_label_area_size(LabelAreaPosition::Left, 60)
        .set_label_area_size(LabelAreaPosition::Right, 60)
        .set_label_area_size(LabelAreaPosition::Bottom, 36)
        .caption(progress.recipe.stage.name(), ("sans-serif", 18))
        .build_cartesian_2d(0.0..steps, (low..high).log_scale())?
        .set_secondary_coord(0.0..steps, bottom..top);
    chart
        .configure_mesh()
        .x_desc("step")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_desc("loss")
        .draw()?;
    chart.draw_series(LineSeries::new(points, &BLUE))?;
    if let Some(last) = progress.measured.last() {
        chart
            .configure_secondary_axes()
            .y_desc(last.measure.as_str())
            .draw()?;
        chart.draw_secondary_series(LineSeries::new(measured.clone(), &RED))?;
        let dots = measured
            .into_iter()
            .map(|at| Circle::new(at, 3, RED.filled()));
        chart.draw_secondary_series(dots)?;
    }
    area.present()?;
    drop(chart);
    drop(area);
    Ok(())
}

/// The range of values with some room on either side.
fn margins(values: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let lowest = values.clone().fold(f64::MAX, f64::min);
    let highest = values.fold(f64::MIN, f64::max);
    let room = 0.15 * (highest - lowest).max(0.1 * highest.abs()).max(1e-9);
    match lowest <= highest {
        true => [lowest - room, highest + room],
        false => [0.0, 1.0],
    }
}

/// (step, mean loss over a run of steps that ends there).
fn smoothed(losses: &[f32]) -> Vec<(f64, f64)> {
    let run = losses.len().div_ceil(POINTS).max(1);
    let mean =
        |run: &[f32]| run.iter().map(|loss| f64::from(*loss)).sum::<f64>() / run.len() as f64;
    let ends = losses.chunks(run).enumerate();
    ends.map(|(index, losses)| ((index * run + losses.len()) as f64, mean(losses)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::checkpoint::Measured;
    use crate::train::{Recipe, Stage};

    #[test]
    fn points_are_means_over_runs_of_steps() {
        assert_eq!(smoothed(&[3.0, 1.0]), [(1.0, 3.0), (2.0, 1.0)]);
        let many: Vec<f32> = (0..900).map(|step| (step % 3) as f32).collect();
        let points = smoothed(&many);
        assert_eq!(points.len(), POINTS);
        assert!(points.iter().all(|(_, loss)| *loss == 1.0));
        assert_eq!(points[POINTS - 1].0, 900.0);
    }

    #[test]
    fn every_training_has_a_picture() {
        let progress = |losses: Vec<f32>, values: &[f64]| Progress {
            recipe: Recipe::of(Stage::Clip, false),
            started_from: String::new(),
            steps: losses.len(),
            losses,
            measured: values
                .iter()
                .map(|value| Measured {
                    steps: 1,
                    measure: "exact captions".into(),
                    value: *value,
                })
                .collect(),
        };
        for (losses, values) in [
            (vec![], vec![]),
            (vec![0.5], vec![]),
            (vec![0.0, 0.0], vec![0.0]),
            (vec![2.0, 1.0, 0.5], vec![0.3, 0.3]),
        ] {
            let has_losses = !losses.is_empty();
            let picture = svg(&progress(losses, &values)).unwrap();
            assert_eq!(picture.contains("<svg"), has_losses);
            assert!(!has_losses || values.is_empty() || picture.contains("exact captions"));
        }
        assert_eq!(csv(&[0.5, 0.25]), "step,loss\n1,0.5\n2,0.25\n");
    }
}
