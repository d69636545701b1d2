//! The dense convolution: a matrix product whose left rows are pixels, read where they lie.
//!
//! A tile is `M` pixels by `NV` vectors of output channels, kept in registers. For every tap of the window and
//! every input channel it takes one row of weights (`NV` vectors) and one float of each pixel. There is no
//! im2col: each tap of a pixel is a pointer to that pixel's channels, or to zeros outside of the picture
//! (the indirect convolution of Dukhan, 2019).

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr;

#[cfg(target_arch = "aarch64")]
use super::halves;
use super::isa::Isa;
use super::memory::{Floats, Pool, are_halves, normal};
use super::simd::{Kernel, Simd};
use super::tiles::{Line, MOST_PIXELS, Rows, Tiles};
use super::window::{Buffers, Window};

/// The most taps that have pointers of their own: a window of 7 x 7.
pub(super) const MOST_TAPS: usize = 49;

/// Rows of weights that are asked for before they are used: they come from the second-level cache or further.
const AHEAD: usize = 32;

/// Enough for threads to end together, so few that each is worth its start.
pub(super) const TASKS_A_THREAD: usize = 4;

/// Pixels that a task reads should stay in the second-level cache beside a block of weights.
const READ_BYTES: usize = 512 << 10;

/// What a column block covers: `vectors` from `first` on, its weights at `offset` in the packed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    first: usize,
    vectors: usize,
    offset: usize,
}

/// Channels that are packed together: a column's are read one after the other, and what is written stays in the first cache.
const BAND: usize = 64;

/// How the weights of products are kept. Those of depthwise convolutions are few, and always 32-bit floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// As 32-bit floats.
    #[default]
    Single,
    /// As 16-bit floats, rounded, and widened when they are used; 32-bit where one would become infinite.
    Half,
    /// As `Half`; where the processor multiplies 16-bit floats and it is [`Isa::Neon`] that is asked for, the pixels of dense
    /// products are rounded, too. Sums are of 32 bits, Winograd's products as with `Half`.
    ///
    /// [`Isa::Neon`]: super::Isa::Neon
    HalfProducts,
}

impl Storage {
    /// What this processor does of it with these kernels.
    #[must_use]
    pub fn possible(self, isa: Isa) -> Storage {
        #[cfg(target_arch = "aarch64")]
        let is_available = halves::is_available();
        #[cfg(not(target_arch = "aarch64"))]
        let is_available = false;
        let multiplies = is_available && isa == Isa::Neon;
        if self == Storage::HalfProducts && !multiplies { Storage::Half } else { self }
    }
}

/// How weights are to be kept, and where.
pub(super) struct Keeping<'a> {
    pub(super) storage: Storage,
    pub(super) pool: &'a mut Pool,
}

/// Weights `[depth, columns]` in blocks of a few vectors, each block row after row.
#[derive(Debug)]
pub(super) struct Packed {
    floats: Floats,
    /// With 16 bits two stand in the place of one.
    storage: Storage,
    blocks: Vec<Block>,
    depth: usize,
}

impl Packed {
    /// Of weights `[columns, channels, taps]`: a row for each channel of each tap.
    pub(super) fn new<S: Simd>(
        weights: &[f32],
        [columns, channels, taps]: [usize; 3],
        keeping: &mut Keeping<'_>,
    ) -> Packed {
        let depth = channels * taps;
        let mut packed = Packed::zeros::<S>(depth, columns, keeping);
        let values = packed.floats.as_mut_slice();
        for block in &packed.blocks {
            let (first, width) = (block.first * S::LANES, block.vectors * S::LANES);
            let columns = &weights[first * depth..columns.min(first + width) * depth];
            for from in (0..channels).step_by(BAND) {
                let to = (from + BAND).min(channels);
                for tap in 0..taps {
                    let rows = &mut values[block.offset + (tap * channels + from) * width..];
                    for (j, column) in columns.chunks_exact(depth).enumerate() {
                        let band = column[from * taps..to * taps].chunks_exact(taps);
                        for (row, window) in rows.chunks_exact_mut(width).zip(band) {
                            row[j] = normal(window[tap]);
                        }
                    }
                }
            }
        }
        packed.keep(keeping);
        packed
    }

    /// To be filled, and then kept. Columns are filled up to whole vectors with zeros.
    pub(super) fn zeros<S: Simd>(depth: usize, columns: usize, keeping: &mut Keeping<'_>) -> Packed {
        let vectors = columns.div_ceil(S::LANES);
        // A vector of 16-bit floats is as wide as two.
        let (together, most) = match keeping.storage {
            #[cfg(target_arch = "aarch64")]
            Storage::HalfProducts => (2, halves::TILES.len()),
            _ => (1, S::TILES.len()),
        };
        let blocks = blocks(vectors, together, most, depth * S::LANES);
        let len = vectors.next_multiple_of(together) * S::LANES * depth;
        let floats = match keeping.storage {
            Storage::Single => keeping.pool.zeros(len),
            // On their way to be rounded.
            Storage::Half | Storage::HalfProducts => Floats::zeros(len),
        };
        Packed { floats, storage: Storage::Single, blocks, depth }
    }

    /// Sets rows from `first` on, of `columns` weights each.
    pub(super) fn fill<S: Simd>(&mut self, first: usize, columns: usize, rows: &[f32]) {
        let values = self.floats.as_mut_slice();
        for block in &self.blocks {
            let (column, width) = (block.first * S::LANES, block.vectors * S::LANES);
            for (row, weights) in rows.chunks_exact(columns).enumerate() {
                let to = &mut values[block.offset + (first + row) * width..][..width];
                to.iter_mut().zip(&weights[column..]).for_each(|(value, weight)| *value = normal(*weight));
            }
        }
    }

    /// Goes over to the way that weights are kept in.
    pub(super) fn keep(&mut self, keeping: &mut Keeping<'_>) {
        let halves = match keeping.storage {
            Storage::Single => None,
            Storage::Half | Storage::HalfProducts => Floats::halves(self.floats.as_mut_slice(), keeping.pool),
        };
        if let Some(halves) = halves {
            (self.floats, self.storage) = (halves, keeping.storage);
        }
    }

    /// Pixels of a tile of this block, at most.
    fn most_pixels<S: Simd>(&self, block: &Block) -> usize {
        match self.storage {
            #[cfg(target_arch = "aarch64")]
            Storage::HalfProducts => halves::TILES[block.vectors / 2 - 1],
            _ => S::TILES[block.vectors - 1],
        }
    }

    /// Column blocks.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }
}

/// As few blocks of at most `most` groups of `together` vectors as can be, of widths as even as can be.
fn blocks(vectors: usize, together: usize, most: usize, floats_a_vector: usize) -> Vec<Block> {
    let groups = vectors.div_ceil(together);
    let count = groups.div_ceil(most);
    let mut first = 0;
    (0..count)
        .map(|at| {
            let width = together * (groups / count + usize::from(at < groups % count));
            let block = Block { first, vectors: width, offset: first * floats_a_vector };
            first += width;
            block
        })
        .collect()
}

/// Where a product's rows are read, and where its results go.
pub(super) struct Target {
    /// First float of the first pixel's result.
    pub(super) out: *mut f32,
    /// Added before the clamp; the same shape as `out`; or null.
    pub(super) residual: *const f32,
    /// Floats from one pixel's result to the next.
    pub(super) stride: usize,
    pub(super) low: f32,
    pub(super) high: f32,
}

/// What of a product is made.
pub(super) struct Part {
    pub(super) pixels: Range<usize>,
    /// Column blocks.
    pub(super) blocks: Range<usize>,
}

/// Pixels times weights: `out[i] = clamp(bias + pixel i x weights + residual[i])` for the pixels and the column blocks of
/// `weights` that `part` names.
///
/// # Safety
/// Pixels are good for `weights.depth` floats; `bias` and `target` for all pixels and columns that are asked for, in
/// whole vectors.
pub(super) unsafe fn product<S: Simd>(
    weights: &Packed,
    bias: *const f32,
    part: &Part,
    target: &Target,
    line: Line,
) {
    for block in &weights.blocks[part.blocks.clone()] {
        let height = even(part.pixels.len(), weights.most_pixels::<S>(block));
        let (pixels, rows) = (part.pixels.clone(), Rows::Line(line));
        // Safety: the caller's promise.
        unsafe {
            Tiles::new::<S>(weights, block, bias, target, pixels, rows).dispatch::<S>(height, weights, block);
        }
    }
}

/// As [`product`], summed over `taps`, of rows of `width` pixels: `tap(row, column, at)` points to the input channels of a
/// tap of a pixel.
///
/// # Safety
/// As [`product`]; the pointers that `tap` gives are good for `weights.depth / taps` floats.
unsafe fn windows<S: Simd>(
    weights: &Packed,
    taps: usize,
    bias: *const f32,
    part: &Part,
    target: &Target,
    width: usize,
    tap: impl Fn(usize, usize, usize) -> *const f32,
) {
    let Range { start: from, end: to } = part.pixels;
    let mut table = [[ptr::null(); MOST_PIXELS]; MOST_TAPS];
    for block in &weights.blocks[part.blocks.clone()] {
        let height = even(to - from, weights.most_pixels::<S>(block));
        // Counted along: a division for each pixel would take as long as a narrow tile's sums.
        let (mut row, mut column) = (from / width, from % width);
        for at in (from..to).step_by(height) {
            let end = (at + height).min(to);
            let mut places = [(row, column); MOST_PIXELS];
            for place in &mut places[..end - at] {
                *place = (row, column);
                column += 1;
                if column == width {
                    (row, column) = (row + 1, 0);
                }
            }
            let last = places[end - at - 1];
            places[end - at..].fill(last);
            for (at, pointers) in table.iter_mut().enumerate().take(taps) {
                for (pointer, (row, column)) in pointers.iter_mut().zip(places).take(height) {
                    *pointer = tap(row, column, at);
                }
            }
            let rows = Rows::Table(&table[..taps]);
            // Safety: the caller's promise.
            unsafe {
                Tiles::new::<S>(weights, block, bias, target, at..end, rows)
                    .dispatch::<S>(height, weights, block);
            }
        }
    }
}

/// The height of tiles, at most `most`, that leaves the last one of `pixels` as full as the others.
fn even(pixels: usize, most: usize) -> usize {
    pixels.div_ceil(pixels.div_ceil(most).max(1)).max(1)
}

/// Tiles of `M` pixels by `NV` vectors, their weights kept as `W`.
struct Sized<'a, W, const M: usize, const NV: usize>(Tiles<'a>, PhantomData<W>);

/// What weights are kept as.
trait Kept {
    type Number;

    /// # Safety
    /// As [`Simd::load`].
    unsafe fn load<S: Simd>(at: *const Self::Number) -> S::V;
}

struct Singles;

impl Kept for Singles {
    type Number = f32;

    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const f32) -> S::V {
        // Safety: the caller's promise.
        unsafe { S::load(at) }
    }
}

struct Halves;

impl Kept for Halves {
    type Number = u16;

    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const u16) -> S::V {
        // Safety: the caller's promise.
        unsafe { S::load_halves(at) }
    }
}

impl<'a> Tiles<'a> {
    /// # Safety
    /// As [`product`].
    unsafe fn new<S: Simd>(
        weights: &Packed,
        block: &Block,
        bias: *const f32,
        target: &Target,
        pixels: Range<usize>,
        rows: Rows<'a>,
    ) -> Tiles<'a> {
        let column = block.first * S::LANES;
        let taps = rows.taps();
        let has_residual = !target.residual.is_null();
        Tiles {
            rows,
            depth: weights.depth / taps,
            weights: weights.floats.as_ptr(),
            offset: block.offset,
            bias: bias.wrapping_add(column),
            residual: if has_residual { target.residual.wrapping_add(column) } else { ptr::null() },
            out: target.out.wrapping_add(column),
            stride: target.stride,
            pixels,
            low: target.low,
            high: target.high,
        }
    }

    /// Makes them, `height` pixels each but the last.
    ///
    /// # Safety
    /// As [`product`]; the height is one that [`Simd::TILES`] allows.
    unsafe fn dispatch<S: Simd>(self, height: usize, weights: &Packed, block: &Block) {
        // Safety: the caller's promise.
        unsafe {
            match weights.storage {
                #[cfg(neon32)]
                Storage::Single if S::NEON32 && block.vectors == 2 => super::neon32::all(&self),
                Storage::Single => self.enter::<S, Singles>(height, block.vectors),
                #[cfg(target_arch = "aarch64")]
                Storage::HalfProducts => {
                    // The last pair may have a vector that no pixel has.
                    let live = block.vectors.min(self.stride / S::LANES - block.first);
                    halves::dispatch(&self, height, block.vectors, live);
                }
                _ => self.enter::<S, Halves>(height, block.vectors),
            }
        }
    }

    unsafe fn enter<S: Simd, W: Kept>(self, height: usize, vectors: usize) {
        macro_rules! enter {
            ($vectors:literal: $($height:literal)*) => {
                match height {
                    $($height => unsafe { S::enter(Sized::<W, $height, $vectors>(self, PhantomData)) },)*
                    _ => unreachable!("a tile of {height} pixels"),
                }
            };
        }
        match vectors {
            1 => enter!(1: 1 2 3 4 5 6 7 8 9 10 11 12),
            2 if S::TILES[1] == 12 => enter!(2: 1 2 3 4 5 6 7 8 9 10 11 12),
            2 => enter!(2: 1 2 3 4 5 6 7 8),
            3 if S::TILES.len() > 2 => enter!(3: 1 2 3 4 5 6),
            4 if S::TILES.len() > 2 => enter!(4: 1 2 3 4),
            _ => unreachable!("a tile of {vectors} vectors"),
        }
    }
}

impl<W: Kept, const M: usize, const NV: usize> Kernel for Sized<'_, W, M, NV> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = &self.0.pixels;
        for at in pixels.clone().step_by(M) {
            // Safety: the promise of `product`.
            unsafe { self.0.tile::<S, W, M, NV>(at, M.min(pixels.end - at)) }
        }
    }
}

impl Tiles<'_> {
    /// The tile that begins with pixel `at`. Of its `M` pixels `rows` are written; the others read the last of them again.
    #[inline(always)]
    unsafe fn tile<S: Simd, W: Kept, const M: usize, const NV: usize>(&self, at: usize, rows: usize) {
        // Safety: the promise of `product`; the arrays are of the tile's own size.
        unsafe {
            let mut sums = [[S::splat(0.0); NV]; M];
            for j in 0..NV {
                let bias = S::load(self.bias.add(j * S::LANES));
                for row in &mut sums {
                    row[j] = bias;
                }
            }
            let mut weights = self.weights.cast::<W::Number>().add(self.offset);
            for tap in 0..self.rows.taps() {
                let mut pixels = [ptr::null::<f32>(); M];
                for (i, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = self.rows.pixel(tap, at, i, rows);
                }
                // A macro: a closure might be compiled for the baseline processor.
                macro_rules! row {
                    ($lane:expr, $i:ident => $x:expr) => {
                        let mut w = [S::splat(0.0); NV];
                        for (j, w) in w.iter_mut().enumerate() {
                            *w = W::load::<S>(weights.add(j * S::LANES));
                            S::prefetch(weights.wrapping_add((AHEAD * NV + j) * S::LANES).cast());
                        }
                        for $i in 0..M {
                            let x = $x;
                            for j in 0..NV {
                                sums[$i][j] = S::fma_value(w[j], x, $lane, sums[$i][j]);
                            }
                        }
                        weights = weights.add(NV * S::LANES);
                    };
                }
                let mut k = 0;
                while S::STEP > 1 && k + S::STEP <= self.depth {
                    let mut x = [S::values(pixels[0].add(k)); M];
                    for i in 1..M {
                        x[i] = S::values(pixels[i].add(k));
                    }
                    for lane in 0..S::STEP {
                        row!(lane, i => x[i]);
                    }
                    k += S::STEP;
                }
                while k < self.depth {
                    row!(0, i => S::value(pixels[i].add(k)));
                    k += 1;
                }
            }
            let (low, high) = (S::splat(self.low), S::splat(self.high));
            for (i, sums) in sums.into_iter().enumerate() {
                if i < rows {
                    for (j, mut sum) in sums.into_iter().enumerate() {
                        let at = (at + i) * self.stride + j * S::LANES;
                        if !self.residual.is_null() {
                            sum = S::add(sum, S::load(self.residual.add(at)));
                        }
                        S::store(self.out.wrapping_add(at), S::at_most(S::at_least(sum, low), high));
                    }
                }
            }
        }
    }
}

/// A dense convolution, ready to run.
#[derive(Debug)]
pub(super) struct Dense {
    window: Window,
    weights: Packed,
    bias: Floats,
    low: f32,
    high: f32,
    /// Where the pixels outside of the picture are read.
    zeros: Floats,
    /// The picture is narrow and lies in a border of zeros: a tap is a whole row of the window.
    bordered: bool,
    taps: usize,
    task: TaskSize,
}

/// What one task makes, at most.
#[derive(Clone, Copy, Debug)]
struct TaskSize {
    pixels: usize,
    /// Column blocks.
    blocks: usize,
}

impl Dense {
    /// `weights` are `[out, in, height, width]`. With `bordered` the input lies in a border of zeros as wide as the
    /// padding, without gaps between pixels.
    pub(super) fn new<S: Simd>(
        window: Window,
        weights: &[f32],
        bias: &[f32],
        clamp: [f32; 2],
        bordered: bool,
        mut keeping: Keeping<'_>,
        threads: usize,
    ) -> Dense {
        let Window { kernel: [kh, kw], input, output, .. } = window;
        let channels = input.channels;
        let area = kh * kw;
        // What was laid out for products of 16 bits cannot go back.
        if keeping.storage == Storage::HalfProducts && !are_halves(weights) {
            keeping.storage = Storage::Single;
        }
        let packed = Packed::new::<S>(weights, [output.channels, channels, area], &mut keeping);
        let taps = if bordered { kh } else { area };
        let task = task_size(&window, &packed, threads);
        Dense {
            window,
            weights: packed,
            bias: Floats::padded(bias, output.stride),
            low: clamp[0],
            high: clamp[1],
            zeros: Floats::zeros(channels),
            bordered,
            taps,
            task,
        }
    }

    pub(super) fn tasks(&self) -> usize {
        let TaskSize { pixels, blocks } = self.task;
        self.window.output.pixels().div_ceil(pixels) * self.weights.blocks.len().div_ceil(blocks)
    }

    /// # Safety
    /// They are the buffers that the window names.
    pub(super) unsafe fn task<S: Simd>(&self, buffers: Buffers, task: usize) {
        let all = self.window.output.pixels();
        let TaskSize { pixels, blocks } = self.task;
        let across = all.div_ceil(pixels);
        let (group, at) = (task / across, task % across);
        let part = Part {
            pixels: at * pixels..((at + 1) * pixels).min(all),
            blocks: group * blocks..((group + 1) * blocks).min(self.weights.blocks.len()),
        };
        // Safety: the caller's promise.
        unsafe { self.part::<S>(buffers, &part) }
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// All channels of some pixels.
    ///
    /// # Safety
    /// As [`Dense::task`]; only what these pixels take, and they themselves, have to be there.
    pub(super) unsafe fn pixels<S: Simd>(&self, buffers: Buffers, pixels: Range<usize>) {
        let part = Part { pixels, blocks: 0..self.weights.blocks.len() };
        // Safety: the caller's promise.
        unsafe { self.part::<S>(buffers, &part) }
    }

    unsafe fn part<S: Simd>(&self, Buffers { x, residual, out }: Buffers, part: &Part) {
        let Window { output, input, stride, dilation, kernel, .. } = self.window;
        let target = Target { out, residual, stride: output.stride, low: self.low, high: self.high };
        let bias = self.bias.as_ptr();
        // Safety: the window's pixels are inside of the buffer, or read from `zeros`.
        unsafe {
            if self.bordered {
                let line = self.window.bordered_width() * input.channels;
                let tap = |row: usize, column: usize, tap: usize| {
                    x.add((row * stride[0] + tap * dilation[0]) * line + column * stride[1] * input.channels)
                };
                windows::<S>(&self.weights, self.taps, bias, part, &target, output.width, tap);
            } else if self.window.is_pointwise() {
                product::<S>(&self.weights, bias, part, &target, Line { x, apart: input.stride });
            } else {
                let zeros = self.zeros.as_ptr();
                let tap = |row: usize, column: usize, tap: usize| {
                    let (ky, kx) = (tap / kernel[1], tap % kernel[1]);
                    let (line, column) =
                        (row * stride[0] + ky * dilation[0], column * stride[1] + kx * dilation[1]);
                    let inside = self.window.inside(line, column);
                    inside.map_or(zeros, |(row, column)| x.add((row * input.width + column) * input.stride))
                };
                windows::<S>(&self.weights, self.taps, bias, part, &target, output.width, tap);
            }
        }
    }
}

/// Pixels and column blocks of one task: what it reads stays in the cache, and every thread gets a few tasks. Of pixels
/// and weights the larger part is shared out first, so that each thread reads its own share of it.
fn task_size(window: &Window, weights: &Packed, threads: usize) -> TaskSize {
    let (pixels, blocks) = (window.output.pixels(), weights.blocks.len());
    // Neighbouring windows share most of what they read.
    let shared = (window.stride[0] * window.stride[1]).min(window.kernel[0] * window.kernel[1]);
    let floats = window.input.channels * shared;
    let fitting = (READ_BYTES / (4 * floats).max(1)).clamp(MOST_PIXELS, pixels.max(MOST_PIXELS));
    if threads == 1 {
        return TaskSize { pixels: fitting, blocks };
    }
    let tasks = TASKS_A_THREAD * threads;
    let tiles = pixels.div_ceil(MOST_PIXELS);
    let (across, down) = if weights.floats.len() > floats * pixels {
        let across = blocks.min(tasks);
        (across, tasks.div_ceil(across).min(tiles))
    } else {
        let down = tiles.min(tasks);
        (tasks.div_ceil(down).min(blocks), down)
    };
    TaskSize { pixels: fitting.min(pixels.div_ceil(down)), blocks: blocks.div_ceil(across) }
}
