//! Matrix products over borrowed slices of `f32`, and work shared among threads: what the CPU kernels stand on.

use std::cell::Cell;
use std::mem::MaybeUninit;

use gemm::Parallelism;
use rayon::prelude::*;

/// Multiply-adds of which [`rows_of`] makes several tasks if there are twice as many: some 20 µs, many times what another
/// thread takes to join in.
const LEAST_WORK_PER_ROW_TASK: usize = 1 << 20;
/// Multiply-adds that it has where there are more tasks than [`FEW_ROW_TASKS`]: every task packs the other operand anew.
const WORK_PER_ROW_TASK: usize = 1 << 24;
/// Tasks that threads share evenly, if there are two or four.
const FEW_ROW_TASKS: usize = 4;

/// Multiply-adds below which a task is not worth another thread: about 20 µs of work, several times what
/// waking a thread takes.
const WORK_PER_TASK: usize = 1 << 19;

/// A matrix inside a slice, with any strides.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// The matrix that begins with the slice and whose rows lie `row_stride` values apart.
    ///
    /// # Panics
    /// If it reaches beyond the slice.
    pub(super) fn new(data: &'a [f32], [rows, cols]: [usize; 2], row_stride: usize) -> Self {
        let matrix = Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride: 1,
        };
        assert!(
            extent([rows, cols], row_stride) <= data.len(),
            "a matrix reaches beyond its slice"
        );
        matrix
    }

    /// The same values with rows and columns exchanged; nothing is copied.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix to write to; its columns are adjacent and its rows do not overlap.
pub(super) struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// The matrix that begins with the slice and whose rows lie `row_stride` values apart.
    ///
    /// # Panics
    /// If it reaches beyond the slice or its rows overlap.
    pub(super) fn new(data: &'a mut [f32], [rows, cols]: [usize; 2], row_stride: usize) -> Self {
        assert!(
            rows <= 1 || cols <= row_stride,
            "rows of a matrix to write to overlap"
        );
        assert!(
            extent([rows, cols], row_stride) <= data.len(),
            "a matrix reaches beyond its slice"
        );
        Self {
            data,
            rows,
            cols,
            row_stride,
        }
    }
}

/// Values from the first to the last of a matrix with adjacent columns.
fn extent([rows, cols]: [usize; 2], row_stride: usize) -> usize {
    if rows == 0 || cols == 0 {
        return 0;
    }
    (rows - 1)
        .checked_mul(row_stride)
        .and_then(|start_of_last_row| start_of_last_row.checked_add(cols))
        .expect("the size of a matrix overflows")
}

/// What becomes of the values that a product is written over.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Existing {
    /// They are forgotten.
    Overwritten,
    /// The product is added to them.
    AddedTo,
}

/// `output = factor * lhs * rhs`, or `output += factor * lhs * rhs`, on the calling thread alone.
///
/// # Panics
/// If the sizes do not fit.
#[allow(unsafe_code)] // The argument stands at the call.
pub(super) fn multiply(
    output: MatrixMut<'_>,
    existing: Existing,
    factor: f32,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
) {
    assert_eq!(lhs.cols, rhs.rows, "inner sizes of a matrix product");
    assert_eq!(
        [output.rows, output.cols],
        [lhs.rows, rhs.cols],
        "outer sizes of a matrix product"
    );
    // SAFETY: `gemm` reads the elements `(row, col)` of both operands and reads and writes those of the output
    // at `row * row_stride + col * col_stride` from the pointers, for the sizes given. The constructors of
    // `Matrix` and `MatrixMut` have checked that all of them lie inside the slices (transposing exchanges both
    // sizes and strides, so the elements stay the same), and that elements of the output are distinct. The
    // output is borrowed exclusively, so it does not overlap the operands. No stride exceeds a slice's length
    // unless its axis has at most one element, so none overflows `isize` where it is multiplied.
    unsafe {
        gemm::gemm(
            output.rows,
            output.cols,
            lhs.cols,
            output.data.as_mut_ptr(),
            1,
            output.row_stride as isize,
            existing == Existing::AddedTo,
            lhs.data.as_ptr(),
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Runs `task` for every item, on several threads where the work is worth it. `work` counts the multiply-adds
/// of one item. Tasks must not share work themselves: they may hold their thread's scratch memory.
pub(super) fn for_each<T: Send>(items: Vec<T>, work: usize, task: impl Fn(T) + Sync + Send) {
    let items_per_task = WORK_PER_TASK.div_ceil(work.max(1));
    if items.len() <= items_per_task {
        items.into_iter().for_each(task);
    } else {
        items
            .into_par_iter()
            .with_min_len(items_per_task)
            .for_each(task);
    }
}

/// Lends the calling thread's memory for `length` values, whatever they are. A task that has it must not ask again.
pub(super) fn with_scratch<R>(length: usize, task: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    }
    let mut scratch = SCRATCH.take();
    if scratch.len() < length {
        scratch.resize(length, 0.0);
    }
    let result = task(&mut scratch[..length]);
    SCRATCH.set(scratch);
    result
}

/// `rows` rows as wide as `start`, which all of them are before tasks add to them. `work` counts the multiply-adds of a
/// row, `together` the rows that belong to one task. A task gets its first row and its rows.
///
/// How rows are cut into tasks does not depend on the number of threads.
pub(super) fn rows_of(
    rows: usize,
    start: &[f32],
    work: usize,
    together: usize,
    task: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let width = start.len();
    let rows_per_task = rows_per_task(rows, work, together);
    let from_start = |index, values: &mut [MaybeUninit<f32>]| {
        for row in values.chunks_exact_mut(width) {
            row.write_copy_of_slice(start);
        }
        // SAFETY: every value was written just now, as the length is a multiple of the width.
        #[allow(unsafe_code)]
        let values = unsafe { values.assume_init_mut() };
        task(index * rows_per_task, values);
    };
    built(rows * width, rows_per_task * width, from_start).0
}

fn rows_per_task(rows: usize, work: usize, together: usize) -> usize {
    let groups = (rows / together.max(1)).max(1);
    let work = rows * work;
    let tasks = match work / LEAST_WORK_PER_ROW_TASK {
        0 | 1 => 1,
        _ => (work / WORK_PER_ROW_TASK)
            .next_multiple_of(FEW_ROW_TASKS)
            .max(FEW_ROW_TASKS),
    };
    groups.div_ceil(tasks.min(groups)) * together
}

/// Values that a task of [`rows_written`] moves: 64 KiB.
const VALUES_PER_COPY: usize = 16 * 1024;

/// `rows` rows of `width` values, each written by `write`, which gets its index.
pub(super) fn rows_written(
    rows: usize,
    width: usize,
    write: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    if width == 0 {
        return Vec::new();
    }
    let rows_per_task = (VALUES_PER_COPY / width).max(1);
    made(rows * width, rows_per_task * width, |index, values| {
        for (row, to) in values.chunks_exact_mut(width).enumerate() {
            write(index * rows_per_task + row, to);
        }
    })
}

/// The same values in other memory, after tasks have changed them, each a piece of `piece` values. A task gets the index of
/// its piece and the piece, and may return something.
pub(super) fn rewritten<R: Send>(
    source: &[f32],
    piece: usize,
    task: impl Fn(usize, &mut [f32]) -> R + Sync,
) -> (Vec<f32>, Vec<R>) {
    built(source.len(), piece, |index, values| {
        let source = &source[index * piece..][..values.len()];
        task(index, values.write_copy_of_slice(source))
    })
}

/// `len` values that are zero before tasks write to them, each to a piece of `piece` values. A task gets the index of its
/// piece and the piece.
pub(super) fn made(len: usize, piece: usize, task: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let from_zeros = |index, values: &mut [MaybeUninit<f32>]| {
        values.fill(MaybeUninit::new(0.0));
        // SAFETY: every value was written just now.
        #[allow(unsafe_code)]
        let values = unsafe { values.assume_init_mut() };
        task(index, values);
    };
    built(len, piece, from_zeros).0
}

/// A vector whose pieces of `piece` values tasks make, each of which writes all values of its piece, and what the tasks
/// return: fresh memory is not filled with zeros by one thread first.
#[allow(unsafe_code)] // The argument stands at the call.
fn built<R: Send>(
    len: usize,
    piece: usize,
    task: impl Fn(usize, &mut [MaybeUninit<f32>]) -> R + Sync,
) -> (Vec<f32>, Vec<R>) {
    let mut values: Vec<f32> = Vec::with_capacity(len);
    let spare = &mut values.spare_capacity_mut()[..len];
    let results = if piece >= len {
        vec![task(0, spare)]
    } else {
        let pieces = spare.par_chunks_mut(piece).enumerate();
        let task = |(index, values): (usize, &mut [MaybeUninit<f32>])| task(index, values);
        pieces.map(task).collect()
    };
    // SAFETY: the pieces cover all of `len` values, and every task has written those of its own. Where one panics
    // this is not reached.
    unsafe { values.set_len(len) };
    (values, results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_have_the_values_of_the_definition() {
        // Integers are exact in f32, so the comparison is exact as well.
        let value = |index: usize| (index * 7 % 11) as f32 - 5.0;
        for (rows, inner, cols) in [(1, 1, 1), (1, 5, 3), (16, 32, 16), (17, 9, 40), (3, 0, 2)] {
            let (stride, factor) = (inner + 3, 2.0);
            let lhs: Vec<f32> = (0..rows * stride).map(value).collect();
            let rhs: Vec<f32> = (0..cols * stride).map(value).collect();
            for existing in [Existing::Overwritten, Existing::AddedTo] {
                let out_stride = cols + 2;
                let mut output = vec![3.0; rows * out_stride];
                multiply(
                    MatrixMut::new(&mut output, [rows, cols], out_stride),
                    existing,
                    factor,
                    Matrix::new(&lhs, [rows, inner], stride),
                    Matrix::new(&rhs, [cols, inner], stride).transposed(),
                );
                for row in 0..rows {
                    for col in 0..out_stride {
                        let product: f32 = (0..inner)
                            .map(|k| lhs[row * stride + k] * rhs[(col % cols) * stride + k])
                            .sum();
                        let expected = match existing {
                            _ if col >= cols => 3.0, // between the rows
                            Existing::Overwritten => factor * product,
                            Existing::AddedTo => 3.0 + factor * product,
                        };
                        assert_eq!(output[row * out_stride + col], expected, "{row}, {col}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_row_is_made_once_however_rows_are_cut() {
        for rows in [0, 1, 2, 7, 64, 1000] {
            for (work, together) in [
                (1, 1),
                (1 << 14, 1),
                (1 << 21, 1),
                (1 << 21, 2),
                (1 << 14, 5),
            ] {
                let rows = rows * together;
                let made = rows_of(rows, &[1.0, 2.0], work, together, |first, values| {
                    assert!(first.is_multiple_of(together));
                    assert!((values.len() / 2).is_multiple_of(together));
                    for (index, row) in values.chunks_exact_mut(2).enumerate() {
                        row[0] += (first + index) as f32;
                    }
                });
                let expected: Vec<f32> =
                    (0..rows).flat_map(|row| [1.0 + row as f32, 2.0]).collect();
                assert_eq!(made, expected, "{rows} rows, {work}, {together}");
            }
        }
    }

    #[test]
    fn small_work_is_one_task_and_large_work_is_many() {
        assert_eq!(rows_per_task(1000, 1, 1), 1000);
        assert_eq!(rows_per_task(1000, 1 << 12, 1), 250);
        assert_eq!(rows_per_task(1024, 1 << 20, 1), 16);
        assert_eq!(rows_per_task(2, 1 << 30, 2), 2);
    }

    #[test]
    fn rows_are_written_and_rewritten_as_wholes() {
        for (rows, width) in [(1, 1), (3, 40_000), (40_000, 3), (0, 5), (5, 0)] {
            let written = rows_written(rows, width, |row, to| to.fill(row as f32));
            let expected = (0..rows).flat_map(|row| std::iter::repeat_n(row as f32, width));
            assert_eq!(written, expected.collect::<Vec<_>>());
            let (doubled, lengths) = rewritten(&written, 1000, |_, values: &mut [f32]| {
                values.iter_mut().for_each(|x| *x *= 2.0);
                values.len()
            });
            assert_eq!(lengths.iter().sum::<usize>(), written.len());
            assert!(doubled.iter().zip(&written).all(|(a, b)| *a == 2.0 * b));
        }
    }

    #[test]
    #[should_panic(expected = "beyond its slice")]
    fn a_matrix_stays_inside_its_slice() {
        Matrix::new(&[0.0; 11], [3, 4], 4);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn rows_to_write_to_do_not_overlap() {
        MatrixMut::new(&mut [0.0; 11], [3, 4], 3);
    }
}
