//! 3x3 convolutions of stride 1 with fewer multiplications: Winograd's minimal filtering F(2x2, 3x3), as
//! Lavin and Gray ("Fast Algorithms for Convolutional Neural Networks", CVPR 2016) apply it.
//!
//! The output is cut into tiles of 2x2. A tile's 4x4 input and the kernel are each transformed to 16 values,
//! which are multiplied one by one: `Y = A' [(G g G') . (B' d B)] A`. Summed over channels these are 16
//! matrix products of a quarter of the columns that the direct form has, 4 multiplications an output instead
//! of 9. All transforms are sums and halves, so little accuracy is lost. The weight gradient runs through the
//! same products the other way round.
//!
//! Shapes: `T` tiles of a block, `C` channels; transformed values are `[16, C, T]`, the taps of a tile apart.
#![allow(unsafe_code)] // Products are written straight into their places among the results.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::columns::Block;
use super::geometry::Conv;
use super::product::{Matrix, write_product};
use super::simd::widest;
use super::storage::{Pieces, Real, fresh, write_copy, written};
use super::tape::add_to;
use super::window::{LANES, Phases, SLACK, Window, fill_phases};

/// Values of a transformed tile.
const TAPS: usize = 16;
/// Floats of a block's transformed input: what a core's second cache holds.
const BLOCK: usize = 256 * 1024;
/// Tiles that keep a matrix product busy.
const TILES: usize = 192;
/// Below so many channels the transforms cost more than the multiplications they save.
const CHANNELS: usize = 16;
/// Kernels of all partial sums of a weight gradient, where that leaves at least two.
const SUMS: usize = 128 * 1024;

/// A convolution in tiles.
pub(super) struct Winograd {
    conv: Conv,
    /// The 4x4 inputs of the tiles, as windows over the input.
    input: Window,
    /// The 2x2 outputs of the tiles, as windows over the output.
    output: Window,
}

/// Transformed values of one side, all the taps of a block.
struct Transformed<'a, T> {
    values: &'a mut [T],
    channels: usize,
    tiles: usize,
    /// From one channel to the next: rows are written in whole lanes, so there is room after each.
    stride: usize,
}

impl Winograd {
    /// If the convolution is one of 3x3 and stride 1, and large enough to gain.
    pub(super) fn of(conv: &Conv) -> Option<Winograd> {
        let Window { kernel, stride, output: [height, width], .. } = conv.window;
        let [rows, columns] = [height.div_ceil(2), width.div_ceil(2)];
        let fits = kernel == [3, 3] && stride == 1 && conv.groups == 1;
        let is_wide = conv.inputs >= CHANNELS && conv.outputs >= CHANNELS;
        // Tiles at odd edges compute outputs that do not exist: at least 3 in 10 must be saved all the same.
        let saves = TAPS * rows * columns * 10 <= 9 * height * width * 7;
        if !(fits && is_wide && saves) {
            return None;
        }
        let tiles = [rows, columns];
        let input = Window { kernel: [4, 4], stride: 2, output: tiles, ..conv.window };
        let plane = conv.window.output;
        let output = Window { input: plane, kernel: [2, 2], stride: 2, padding: [0; 4], output: tiles };
        Some(Winograd { conv: *conv, input, output })
    }

    /// `y`, as [`Dense::forward`](super::geometry::Dense::forward).
    pub(super) fn forward<T: Real>(&self, x: &[T], weight: &[T]) -> Vec<T> {
        let Conv { batch, inputs, outputs, .. } = self.conv;
        let (picture_in, picture_out) = (inputs * self.conv.window.area(), outputs * self.output.area());
        let kernels = self.kernels(weight);
        let pictures = self.pictures_per_task();
        let mut y = fresh(batch * picture_out);
        y.par_chunks_mut(pictures * picture_out).zip(x.par_chunks(pictures * picture_in)).for_each(
            |(y, x)| {
                for block in self.blocks(0..x.len() / picture_in) {
                    self.with_transformed(&block, |[from, into], planes| {
                        let (mut from, mut into) = (from, into);
                        transform(&self.input, inputs, x, &block, &mut from, planes);
                        for tap in 0..TAPS {
                            let kernel = &kernels[tap * outputs * inputs..];
                            let kernel = Matrix::of(kernel, outputs, inputs, inputs);
                            let product = into.tap_start(tap);
                            // SAFETY: `into` is this task's own, and the tap's rows lie in it.
                            unsafe { write_product(kernel, from.tap(tap), product, into.stride, false) };
                        }
                        self.write_outputs(&into, &block, y);
                    });
                }
            },
        );
        // SAFETY: the blocks' tiles cover every output of every picture.
        unsafe { written(y) }
    }

    /// `dweight`, as [`Dense::weight_gradient`](super::geometry::Dense::weight_gradient). The batch is cut into
    /// partial sums as sizes alone decide.
    pub(super) fn weight_gradient<T: Real>(&self, x: &[T], dy: &[T]) -> Vec<T> {
        let Conv { batch, inputs, outputs, .. } = self.conv;
        let len = TAPS * inputs * outputs;
        let parts = (SUMS / (inputs * outputs)).clamp(2, 8).min(batch);
        let pictures = batch.div_ceil(parts);
        let mut sums = vec![T::zero(); batch.div_ceil(pictures) * len];
        sums.par_chunks_mut(len).enumerate().for_each(|(part, sums)| {
            for block in self.blocks(part * pictures..((part + 1) * pictures).min(batch)) {
                self.with_transformed(&block, |[mut from, mut into], planes| {
                    transform(&self.input, inputs, x, &block, &mut from, planes);
                    transform(&self.output, outputs, dy, &block, &mut into, planes);
                    for (tap, sums) in sums.chunks_exact_mut(inputs * outputs).enumerate() {
                        let (dy, x) = (into.tap(tap), from.tap(tap).transposed());
                        // SAFETY: the sums are this task's own, and started as zeros.
                        unsafe { write_product(dy, x, sums.as_mut_ptr(), inputs, true) };
                    }
                });
            }
        });
        let (sum, rest) = sums.split_at_mut(len);
        rest.chunks_exact(len).for_each(|part| add_to(sum, part));
        let mut dweight = fresh(9 * inputs * outputs);
        dweight.par_chunks_mut(9 * inputs).enumerate().for_each(|(output, dweight)| {
            write_kernel_gradients(sum, output * inputs, inputs * outputs, dweight);
        });
        // SAFETY: the tasks wrote every output channel's kernels.
        unsafe { written(dweight) }
    }

    /// `G g G'` of every kernel, `[16, Co, Ci]`.
    fn kernels<T: Real>(&self, weight: &[T]) -> Vec<T> {
        let Conv { inputs, outputs, .. } = self.conv;
        let mut kernels = fresh(TAPS * outputs * inputs);
        let rows = Pieces::of(&mut kernels, inputs);
        weight.par_chunks(9 * inputs).enumerate().for_each(|(output, weight)| {
            let rows: [&mut [MaybeUninit<T>]; TAPS] = std::array::from_fn(|tap| {
                // SAFETY: this task alone has the rows of this output channel.
                unsafe { rows.take(tap * outputs + output) }
            });
            write_kernels(weight, rows);
        });
        // SAFETY: the tasks wrote every output channel's rows.
        unsafe { written(kernels) }
    }

    /// Runs `run` on room for both sides' transformed values and for the planes of [`transform`].
    fn with_transformed<T: Real>(&self, block: &Block, run: impl FnOnce([Transformed<T>; 2], &mut [T])) {
        let tiles = block.pictures.len() * block.rows.len() * self.input.output[1];
        let stride = tiles + LANES;
        let room = [self.conv.inputs, self.conv.outputs].map(|channels| TAPS * channels * stride);
        let planes = block.pictures.len() * (Phases::of(&self.input, block.rows.clone()).len() + SLACK);
        T::with_scratch(room[0] + room[1] + planes, |scratch| {
            let (from, scratch) = scratch.split_at_mut(room[0]);
            let (into, planes) = scratch.split_at_mut(room[1]);
            let side = |values, channels| Transformed { values, channels, tiles, stride };
            run([side(from, self.conv.inputs), side(into, self.conv.outputs)], planes);
        });
    }

    /// `A' m A` of the products of a block, to the outputs of its tiles.
    fn write_outputs<T: Real>(&self, products: &Transformed<T>, block: &Block, y: &mut [MaybeUninit<T>]) {
        let [_, columns] = self.output.output;
        let tiles = block.rows.len() * columns;
        for (index, picture) in block.pictures.clone().enumerate() {
            for channel in 0..products.channels {
                let start = (picture * products.channels + channel) * self.output.area();
                let plane = &mut y[start..start + self.output.area()];
                let products_of = &products.values[channel * products.stride + index * tiles..];
                let tap_stride = products.channels * products.stride;
                write_output_tiles(products_of, tap_stride, &block.rows, columns, self.output.input, plane);
            }
        }
    }

    /// Pictures one task takes: enough tiles for the products, but an even number of tasks.
    fn pictures_per_task(&self) -> usize {
        let batch = self.conv.batch;
        let at_once = TILES.div_ceil(self.input.positions());
        batch.div_ceil(batch.div_ceil(at_once).next_multiple_of(2))
    }

    /// Pictures cut so that a block's transformed values stay in a cache, and products stay busy.
    fn blocks(&self, pictures: Range<usize>) -> Vec<Block> {
        let [rows, columns] = self.input.output;
        let most = (BLOCK / (TAPS * self.conv.inputs.max(self.conv.outputs))).max(TILES);
        let band = (most / columns).clamp(1, rows);
        let band = rows.div_ceil(rows.div_ceil(band));
        let at_once = if band < rows { 1 } else { (most / (rows * columns)).max(1) };
        let mut blocks = Vec::new();
        for first in pictures.clone().step_by(at_once) {
            let pictures = first..(first + at_once).min(pictures.end);
            for row in (0..rows).step_by(band) {
                blocks.push(Block { pictures: pictures.clone(), rows: row..(row + band).min(rows) });
            }
        }
        blocks
    }
}

/// Transforms what the tiles of a block see of `x`, `channels` channels: 4x4 by `B' d B`, or 2x2 by `A y A'`.
fn transform<T: Real>(
    window: &Window,
    channels: usize,
    x: &[T],
    block: &Block,
    into: &mut Transformed<T>,
    plane: &mut [T],
) {
    let phases = Phases::of(window, block.rows.clone());
    let offsets = phases.offsets();
    let sizes = [block.rows.len(), window.output[1], phases.columns()];
    let plane = &mut plane[..phases.len() + SLACK];
    let tap_stride = channels * into.stride;
    for channel in 0..channels {
        for (index, picture) in block.pictures.clone().enumerate() {
            let start = (picture * channels + channel) * window.area();
            fill_phases(&phases, &x[start..start + window.area()], T::zero(), plane);
            let out = &mut into.values[channel * into.stride + index * sizes[0] * sizes[1]..];
            if window.kernel == [4, 4] {
                write_input_tiles(plane, &offsets, sizes, tap_stride, out);
            } else {
                write_gradient_tiles(plane, &offsets, sizes, tap_stride, out);
            }
        }
    }
}

impl<T: Real> Transformed<'_, T> {
    /// One tap's values, `[channels, tiles]`.
    fn tap(&self, tap: usize) -> Matrix<'_, T> {
        Matrix::of(&self.values[tap * self.channels * self.stride..], self.channels, self.tiles, self.stride)
    }

    fn tap_start(&mut self, tap: usize) -> *mut T {
        self.values[tap * self.channels * self.stride..][..self.channels * self.stride].as_mut_ptr()
    }
}

/// A transform of lines, applied to the columns and then to the rows of a square.
#[inline(always)]
fn both_ways<T: Real, const I: usize, const O: usize>(
    square: &[[T; I]; I],
    line: impl Fn([T; I]) -> [T; O],
) -> [[T; O]; O] {
    let mut columns = [[T::zero(); I]; O];
    for x in 0..I {
        let mut column = [T::zero(); I];
        for y in 0..I {
            column[y] = square[y][x];
        }
        let column = line(column);
        for y in 0..O {
            columns[y][x] = column[y];
        }
    }
    let mut both = [[T::zero(); O]; O];
    for y in 0..O {
        both[y] = line(columns[y]);
    }
    both
}

/// `B' d`.
#[inline(always)]
fn input_line<T: Real>([a, b, c, d]: [T; 4]) -> [T; 4] {
    [a - c, b + c, c - b, b - d]
}

/// `A' m`.
#[inline(always)]
fn output_line<T: Real>([a, b, c, d]: [T; 4]) -> [T; 2] {
    [a + b + c, b - c - d]
}

/// `A y`.
#[inline(always)]
fn gradient_line<T: Real>([a, b]: [T; 2]) -> [T; 4] {
    [a, a + b, a - b, T::zero() - b]
}

/// `G g`.
#[inline(always)]
fn kernel_line<T: Real>([a, b, c]: [T; 3]) -> [T; 4] {
    let (half, outer) = (T::from_f64(0.5), a + c);
    [a, half * (outer + b), half * (outer - b), c]
}

/// `G' u`.
#[inline(always)]
fn kernel_gradient_line<T: Real>([a, b, c, d]: [T; 4]) -> [T; 3] {
    let half = T::from_f64(0.5);
    let even = half * (b + c);
    [a + even, half * (b - c), even + d]
}

/// The transforms of as many squares as there are lanes, whose values stand in `from`, to lines of `into`.
///
/// One loop over lanes, so that each value of a square is one vector.
#[inline(always)]
fn transform_lanes<T: Real, const I: usize, const O: usize>(
    from: &[[T; LANES]],
    into: &mut [[T; LANES]],
    line: impl Fn([T; I]) -> [T; O],
) {
    let (from, into) = (&from[..I * I], &mut into[..O * O]);
    for lane in 0..LANES {
        let mut square = [[T::zero(); I]; I];
        for y in 0..I {
            for x in 0..I {
                square[y][x] = from[y * I + x][lane];
            }
        }
        let both = both_ways(&square, &line);
        for y in 0..O {
            for x in 0..O {
                into[y * O + x][lane] = both[y][x];
            }
        }
    }
}

/// Writes tiles whose `N x N` pixels lie in phases, 16 taps each, `tap_stride` apart.
///
/// Rows are written in whole lanes and each repairs what the one before it wrote too far.
#[inline(always)]
fn write_tiles<T: Real, const N: usize>(
    plane: &[T],
    offsets: &[usize],
    [rows, columns, line]: [usize; 3],
    tap_stride: usize,
    out: &mut [T],
    transform: impl Fn([T; N]) -> [T; 4],
) {
    let (mut pixels, mut taps) = ([[T::zero(); LANES]; TAPS], [[T::zero(); LANES]; TAPS]);
    for row in 0..rows {
        for column in (0..columns).step_by(LANES) {
            for (pixels, offset) in pixels.iter_mut().zip(offsets) {
                *pixels = *first_lanes(&plane[offset + row * line + column..]);
            }
            transform_lanes(&pixels, &mut taps, &transform);
            for (tap, values) in taps.iter().enumerate() {
                out[tap * tap_stride + row * columns + column..][..LANES].copy_from_slice(values);
            }
        }
    }
}

#[inline(always)]
fn first_lanes<T>(values: &[T]) -> &[T; LANES] {
    values.first_chunk().expect("rows have whole lanes of slack")
}

widest! {
    fn write_input_tiles<T>(plane: &[T], offsets: &[usize], sizes: [usize; 3], tap_stride: usize, out: &mut [T]) {
        write_tiles::<T, 4>(plane, offsets, sizes, tap_stride, out, input_line);
    }
}

widest! {
    fn write_gradient_tiles<T>(plane: &[T], offsets: &[usize], sizes: [usize; 3], tap_stride: usize, out: &mut [T]) {
        write_tiles::<T, 2>(plane, offsets, sizes, tap_stride, out, gradient_line);
    }
}

widest! {
    /// The outputs of some rows of tiles in a plane of `height x width`.
    fn write_output_tiles<T>(
        products: &[T],
        tap_stride: usize,
        rows: &Range<usize>,
        columns: usize,
        plane_size: [usize; 2],
        plane: &mut [MaybeUninit<T>],
    ) {
        let [height, width] = plane_size;
        let (mut taps, mut tiles) = ([[T::zero(); LANES]; TAPS], [[T::zero(); LANES]; 4]);
        for (index, row) in rows.clone().enumerate() {
            for column in (0..columns).step_by(LANES) {
                for (tap, values) in taps.iter_mut().enumerate() {
                    *values = *first_lanes(&products[tap * tap_stride + index * columns + column..]);
                }
                transform_lanes(&taps, &mut tiles, output_line);
                let (pairs, _) = tiles.as_chunks::<2>();
                for (y, [even, odd]) in (2 * row..height).zip(pairs) {
                    let mut line = [T::zero(); 2 * LANES];
                    for lane in 0..LANES {
                        line[2 * lane] = even[lane];
                        line[2 * lane + 1] = odd[lane];
                    }
                    let until = width.min(2 * (column + LANES));
                    write_copy(&mut plane[y * width + 2 * column..y * width + until], &line[..until - 2 * column]);
                }
            }
        }
    }
}

widest! {
    /// One output channel's transformed kernels, `[Ci]` for each tap.
    fn write_kernels<T>(weight: &[T], rows: [&mut [MaybeUninit<T>]; TAPS]) {
        let (mut rows, mut taps) = (rows, [[T::zero(); LANES]; TAPS]);
        for (index, weight) in weight.chunks(9 * LANES).enumerate() {
            let mut kernels = [[T::zero(); LANES]; 9];
            for (lane, kernel) in weight.chunks_exact(9).enumerate() {
                for (values, value) in kernels.iter_mut().zip(kernel) {
                    values[lane] = *value;
                }
            }
            transform_lanes(&kernels, &mut taps, kernel_line);
            for (row, values) in rows.iter_mut().zip(&taps) {
                let row = &mut row[index * LANES..];
                let count = row.len().min(LANES);
                write_copy(&mut row[..count], &values[..count]);
            }
        }
    }
}

widest! {
    /// One output channel's kernel gradients `[Ci, 3, 3]`, from the taps that start at `start`.
    fn write_kernel_gradients<T>(sums: &[T], start: usize, tap_stride: usize, dweight: &mut [MaybeUninit<T>]) {
        let (mut taps, mut kernels) = ([[T::zero(); LANES]; TAPS], [[T::zero(); LANES]; 9]);
        for (index, dweight) in dweight.chunks_mut(9 * LANES).enumerate() {
            let count = dweight.len() / 9;
            for (tap, values) in taps.iter_mut().enumerate() {
                let from = tap * tap_stride + start + index * LANES;
                values[..count].copy_from_slice(&sums[from..from + count]);
            }
            transform_lanes(&taps, &mut kernels, kernel_gradient_line);
            for (lane, kernel) in dweight.chunks_exact_mut(9).enumerate() {
                for (value, values) in kernel.iter_mut().zip(&kernels) {
                    value.write(values[lane]);
                }
            }
        }
    }
}
