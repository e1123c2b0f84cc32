//! Several tests at once.

use crate::Error;

/// P-values corrected by Holm's method for all of them being looked at, in the order in which they were given.
///
/// A corrected value below a level rejects its hypothesis with a family-wise error rate of that level, whatever the
/// tests have to do with one another. Source: Holm, *A Simple Sequentially Rejective Multiple Test Procedure* (1979).
///
/// ```
/// let corrected = kinvert_metrics::statistics::holm(&[0.3, 0.01])?;
/// assert_eq!(corrected, [0.3, 0.02]);
/// # Ok::<(), kinvert_metrics::Error>(())
/// ```
///
/// # Errors
/// If one is not a number from 0 to 1.
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, Error> {
    if let Some(bad) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::argument("p_values", bad, "numbers from 0 to 1"));
    }
    let mut ascending: Vec<usize> = (0..p_values.len()).collect();
    ascending.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, &at) in ascending.iter().enumerate() {
        let hypotheses_left = (p_values.len() - rank) as f64;
        largest = largest.max((hypotheses_left * p_values[at]).min(1.0));
        corrected[at] = largest;
    }
    Ok(corrected)
}
