//! The columns of matrix products: the pixels under every kernel tap, for many window positions.

use std::ops::Range;

use super::geometry::Dense;
use super::product::Matrix;
use super::simd::widest;
use super::storage::Real;
use super::window::{LANES, Phases, SLACK, fill_phases};

/// Columns that keep the matrix product busy; pictures with smaller maps are taken several at once.
pub(super) const COLUMNS: usize = 192;
/// Floats of a block of columns: half a megabyte, to stay in a core's second cache.
const BLOCK: usize = 128 * 1024;

/// Consecutive pictures, or some rows of one, whose columns or tiles go into one product.
pub(super) struct Block {
    pub pictures: Range<usize>,
    /// Rows of window positions, or of tiles.
    pub rows: Range<usize>,
}

impl Dense {
    /// Runs `run` on the columns `[channels * taps, positions of the block]` of some input
    /// channels, and on `extra` floats of scratch.
    pub(super) fn with_columns<T: Real>(
        &self,
        x: &[T],
        block: &Block,
        channels: Range<usize>,
        extra: usize,
        run: impl FnOnce(Matrix<T>, &mut [T]),
    ) {
        let window = &self.conv.window;
        let (picture_in, _) = self.picture_sizes();
        let width = self.width(block);
        let depth = channels.len() * window.taps();
        if window.is_identity() && block.pictures.len() == 1 {
            let start = block.pictures.start * picture_in + channels.start * window.area();
            let columns = Matrix::of(&x[start..], depth, width, window.area());
            return T::with_scratch(extra, |extra| run(columns, extra));
        }
        if window.is_identity() {
            return T::with_scratch(depth * width + extra, |scratch| {
                let (columns, extra) = scratch.split_at_mut(depth * width);
                for (channel, row) in channels.zip(columns.chunks_exact_mut(width)) {
                    let planes = row.chunks_exact_mut(window.area());
                    for (picture, plane) in block.pictures.clone().zip(planes) {
                        let start = picture * picture_in + channel * window.area();
                        plane.copy_from_slice(&x[start..start + window.area()]);
                    }
                }
                run(Matrix::of(columns, depth, width, width), extra);
            });
        }
        let phases = Phases::of(window, block.rows.clone());
        let offsets = phases.offsets();
        let plane_len = phases.len() + SLACK;
        let room = [depth * width + SLACK, block.pictures.len() * plane_len, extra];
        T::with_scratch(room.iter().sum(), |scratch| {
            let (columns, scratch) = scratch.split_at_mut(room[0]);
            let (planes, extra) = scratch.split_at_mut(room[1]);
            let mut rest = &mut columns[..];
            for channel in channels {
                for (picture, plane) in block.pictures.clone().zip(planes.chunks_exact_mut(plane_len)) {
                    let start = picture * picture_in + channel * window.area();
                    fill_phases(&phases, &x[start..start + window.area()], T::zero(), plane);
                }
                let done = write_columns(
                    planes,
                    plane_len,
                    &offsets,
                    [block.rows.len(), window.output[1], phases.columns()],
                    rest,
                );
                rest = &mut rest[done..];
            }
            run(Matrix::of(columns, depth, width, width), extra);
        });
    }

    /// Room that [`Dense::outputs_of`] a block needs.
    pub(super) fn gathered(&self, block: &Block) -> usize {
        if block.pictures.len() > 1 { self.outputs * self.width(block) } else { 0 }
    }

    /// One group's output channels `[Co / g, positions of the block]`, gathered in scratch if they
    /// are of several pictures.
    pub(super) fn outputs_of<'a, T: Real>(
        &self,
        y: &'a [T],
        block: &Block,
        group: usize,
        gathered: &'a mut [T],
    ) -> Matrix<'a, T> {
        let (_, picture_out) = self.picture_sizes();
        let positions = self.conv.window.positions();
        let width = self.width(block);
        let start = block.pictures.start * picture_out + group * self.outputs * positions;
        if block.pictures.len() == 1 {
            let start = start + block.rows.start * self.conv.window.output[1];
            return Matrix::of(&y[start..], self.outputs, width, positions);
        }
        for (channel, row) in gathered.chunks_exact_mut(width).enumerate() {
            for (picture, row) in row.chunks_exact_mut(positions).enumerate() {
                let at = start + picture * picture_out + channel * positions;
                row.copy_from_slice(&y[at..at + positions]);
            }
        }
        Matrix::of(gathered, self.outputs, width, width)
    }

    /// Columns of a block.
    pub(super) fn width(&self, block: &Block) -> usize {
        block.pictures.len() * block.rows.len() * self.conv.window.output[1]
    }

    /// Rows of window positions cut into equal bands whose columns fit a block.
    pub(super) fn bands(&self, depth: usize, pictures: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let [rows, columns] = self.conv.window.output;
        // Several pictures are taken whole, and pictures that are their own columns cost no room.
        let most = if pictures > 1 || self.conv.window.is_identity() {
            rows
        } else {
            (BLOCK / (depth * columns)).max(COLUMNS.div_ceil(columns)).clamp(1, rows)
        };
        let band = rows.div_ceil(rows.div_ceil(most));
        (0..rows).step_by(band).map(move |first| first..(first + band).min(rows))
    }
}

widest! {
    /// Writes the rows of columns of one channel's taps, picture by picture; returns how many
    /// floats.
    ///
    /// Rows are copied in whole vectors and each repairs what the one before it wrote too far,
    /// hence the slack after `out` and after each plane.
    pub(super) fn write_columns<T>(
        planes: &[T],
        plane_len: usize,
        offsets: &[usize],
        sizes: [usize; 3],
        out: &mut [T],
    ) -> usize {
        let [rows, width, line] = sizes;
        let reach = width.next_multiple_of(LANES);
        let mut at = 0;
        for offset in offsets {
            for plane in planes.chunks_exact(plane_len) {
                for row in 0..rows {
                    let from = &plane[offset + row * line..][..reach];
                    let to = &mut out[at..at + reach];
                    let (to, _) = to.as_chunks_mut::<LANES>();
                    let (from, _) = from.as_chunks::<LANES>();
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = *from;
                    }
                    at += width;
                }
            }
        }
        at
    }
}

widest! {
    /// Adds the columns of one channel's taps, in one picture, to the phases they came from.
    pub(super) fn add_columns<T>(
        columns: impl Iterator<Item = impl AsRef<[T]>>,
        offsets: &[usize],
        phases: &Phases,
        sizes: [usize; 2],
        out: &mut [T],
    ) {
        let [rows, width] = sizes;
        for (offset, columns) in offsets.iter().zip(columns) {
            let columns = columns.as_ref()[..rows * width].chunks_exact(width);
            for (out, columns) in out[*offset..].chunks_mut(phases.columns()).zip(columns) {
                for (out, column) in out.iter_mut().zip(columns) {
                    *out += *column;
                }
            }
        }
    }
}
