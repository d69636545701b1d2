//! Products of matrices that lie in slices.
#![allow(unsafe_code)] // The gemm crate takes pointers.

use gemm::Parallelism;

use super::storage::Real;

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// `rows` rows of `columns` neighbours each, the rows `row_stride` apart.
    pub(super) fn of(values: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        let last = (rows - 1) * row_stride + columns - 1;
        assert!(last < values.len(), "a matrix outgrows its slice");
        Matrix { values, rows, columns, row_stride, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Writes `a b` (added to what is there if `add`) into rows of neighbours, `row_stride` apart.
///
/// One thread: callers split work so that sums do not depend on the number of threads.
///
/// # Safety
/// From `into`, the rows are valid for writes and touched by nobody else; initialised if `add`.
pub(super) unsafe fn write_product<T: Real>(
    a: Matrix<T>,
    b: Matrix<T>,
    into: *mut T,
    row_stride: usize,
    add: bool,
) {
    assert_eq!(a.columns, b.rows, "factors do not fit");
    // SAFETY: `Matrix::of` checked the factors, the caller vouches for the result.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            into,
            1,
            row_stride as isize,
            add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
