//! Features of frames as bytes.

/// Most numbers that are read: 10 000 frames of 2048 features.
const MAX_VALUES: usize = 10_000 * 2048;

/// Rows of equal length: the number of rows, then all values, little endian.
pub(super) fn of_rows(rows: &[Vec<f32>]) -> Vec<u8> {
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let values = rows.iter().flatten().flat_map(|value| value.to_le_bytes());
    count.to_le_bytes().into_iter().chain(values).collect()
}

/// The rows, or none if the bytes are none.
pub(super) fn to_rows(bytes: &[u8]) -> Option<Vec<Vec<f32>>> {
    let (count, values) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    if count == 0 {
        return values.is_empty().then(Vec::new);
    }
    let (values, rest) = values.as_chunks::<4>();
    if !rest.is_empty()
        || values.is_empty()
        || values.len() > MAX_VALUES
        || values.len() % count != 0
    {
        return None;
    }
    let values: Vec<f32> = values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let finite = values.iter().all(|value| value.is_finite());
    finite.then(|| {
        values
            .chunks(values.len() / count)
            .map(<[f32]>::to_vec)
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        for rows in [vec![], vec![vec![1.0, -0.5], vec![3.25, 1e-30]]] {
            assert_eq!(to_rows(&of_rows(&rows)), Some(rows));
        }
    }

    #[test]
    fn bytes_that_are_no_rows_are_refused() {
        let nan = of_rows(&[vec![f32::NAN]]);
        let uneven = [&2_u32.to_le_bytes()[..], &1_f32.to_le_bytes()].concat();
        let endless = [&u32::MAX.to_le_bytes()[..], &1_f32.to_le_bytes()].concat();
        for bytes in [
            &[][..],
            &[1],
            &[1, 0, 0, 0],
            &[1, 0, 0, 0, 7],
            &nan,
            &uneven,
            &endless,
        ] {
            assert_eq!(to_rows(bytes), None);
        }
    }
}
