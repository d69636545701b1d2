//! The 3 x 3 convolution by Winograd's F(4x4, 3x3): 36 products for 16 results instead of 144; and by F(2x2, 3x3), 16 for 4
//! instead of 36, where the picture is so small that reading four times the weights would cost more.
//!
//! The picture is cut in tiles of 4 x 4 results. Each takes 6 x 6 values, transformed by `B`; for each of the 36
//! places a matrix product over the channels joins them with the transformed weights; `A` takes 6 x 6 products to
//! 4 x 4 results. `A`, `B` and `G` are those of Lavin and Gray (2016), sections 4.1 and 4.2. In the code `T` is the side of
//! the values, 6 or 4, and `R` that of the results.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::dense::{Keeping, Packed, Part, Storage, TASKS_A_THREAD, Target, product};
use super::memory::Floats;
use super::simd::{Kernel, Simd};
use super::tiles::Line;
use super::window::{Buffers, Window};

/// The most places of a transformed tile.
const MOST_PLACES: usize = 36;

/// Transformed values and products of one task stay in the second-level cache.
const TASK_BYTES: usize = 512 << 10;

/// Windows whose weights are transformed side by side when a network is built.
const TOGETHER: usize = 16;

/// Floats of transformed weights that are on their way to their places in the meantime.
const TRANSFORMED: usize = 256 << 10;

/// Below so many tiles, reading the larger weights costs more than the products saved.
const LEAST_TILES: usize = 12;

/// From so many tiles of 4 x 4 results on they are cheaper than those of 2 x 2.
const LEAST_LARGE_TILES: usize = 24;

const SMALL_G: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

const LARGE_G: [[f32; 3]; 6] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// A convolution by transformed tiles, ready to run.
#[derive(Debug)]
pub(super) struct Winograd {
    window: Window,
    /// Side of a tile's results: 4 or 2.
    side: usize,
    /// One product for each place.
    weights: Vec<Packed>,
    bias: Floats,
    /// The bias of the products, and what is read outside of the picture.
    zeros: Floats,
    low: f32,
    high: f32,
    /// Tiles that are transformed together.
    chunk: usize,
    /// A task is a whole chunk; else chunks follow one another, and tasks are tiles or places of one.
    apart: bool,
    threads: usize,
}

/// The tile with its upper left result at `(R * y, R * x)`.
struct At {
    y: usize,
    x: usize,
}

impl Winograd {
    /// Whether it is the cheaper way.
    pub(super) fn suits(window: &Window) -> bool {
        window.kernel == [3, 3]
            && window.stride == [1, 1]
            && window.dilation == [1, 1]
            && window.input.channels >= 16
            && window.output.channels >= 16
            && tiles(window, 4) >= LEAST_TILES
    }

    /// `weights` are `[out, in, 3, 3]`.
    pub(super) fn new<S: Simd>(
        window: Window,
        weights: &[f32],
        bias: &[f32],
        clamp: [f32; 2],
        mut keeping: Keeping<'_>,
        threads: usize,
    ) -> Winograd {
        // Its sums need more digits: the transforms make the errors of products larger.
        if keeping.storage == Storage::HalfProducts {
            keeping.storage = Storage::Half;
        }
        let (inputs, outputs) = (window.input.channels, window.output.channels);
        let side = if tiles(&window, 4) >= LEAST_LARGE_TILES { 4 } else { 2 };
        let g: &[[f32; 3]] = if side == 4 { &LARGE_G } else { &SMALL_G };
        let places = g.len() * g.len();
        let mut packed: Vec<Packed> =
            (0..places).map(|_| Packed::zeros::<S>(inputs, outputs, &mut keeping)).collect();
        // G g G' of the windows of some input channels, place by place; so few that they stay in the cache.
        let band = (TRANSFORMED / (places * outputs)).clamp(1, inputs);
        let mut transformed = vec![0.0; places * band * outputs];
        for from in (0..inputs).step_by(band) {
            let to = (from + band).min(inputs);
            for row in from..to {
                for first in (0..outputs).step_by(TOGETHER) {
                    let columns = first..(first + TOGETHER).min(outputs);
                    let mut windows = [[0.0; TOGETHER]; 9];
                    for (i, column) in columns.clone().enumerate() {
                        let window = &weights[9 * (column * inputs + row)..][..9];
                        windows.iter_mut().zip(window).for_each(|(tap, weight)| tap[i] = *weight);
                    }
                    let values = transformed_weights(g, &windows);
                    for (place, values) in values[..places].iter().enumerate() {
                        let to = &mut transformed[(place * band + row - from) * outputs..][columns.clone()];
                        to.copy_from_slice(&values[..columns.len()]);
                    }
                }
            }
            for (place, packed) in transformed.chunks_exact(band * outputs).zip(&mut packed) {
                packed.fill::<S>(from, outputs, &place[..(to - from) * outputs]);
            }
        }
        for packed in &mut packed {
            packed.keep(&mut keeping);
        }
        let all = tiles(&window, side);
        let tile_bytes = 4 * places * (window.input.stride + window.output.stride);
        let chunk = chunk(all, tile_bytes, 4 * places * inputs * outputs);
        let apart = threads == 1 || all.div_ceil(chunk) >= 3 * threads;
        Winograd {
            window,
            side,
            weights: packed,
            bias: Floats::padded(bias, window.output.stride),
            zeros: Floats::zeros(window.input.stride.max(window.output.stride)),
            low: clamp[0],
            high: clamp[1],
            chunk,
            apart,
            threads,
        }
    }

    fn chunks(&self) -> usize {
        tiles(&self.window, self.side).div_ceil(self.chunk)
    }

    /// Floats of scratch for each thread if chunks are apart, else for all together.
    pub(super) fn scratch(&self) -> usize {
        self.weights.len() * self.chunk * (self.window.input.stride + self.window.output.stride)
    }

    /// Chunks run on their own, with scratch for each thread.
    pub(super) fn is_apart(&self) -> bool {
        self.apart
    }

    /// Rounds of tasks; a round begins when the one before is done.
    pub(super) fn rounds(&self) -> usize {
        if self.apart { 1 } else { 3 * self.chunks() }
    }

    pub(super) fn tasks(&self, round: usize) -> usize {
        match (self.apart, round % 3) {
            (true, _) => self.chunks(),
            (false, 1) => self.weights.len(),
            (false, _) => TASKS_A_THREAD * self.threads,
        }
    }

    /// # Safety
    /// They are the buffers that the window names; `scratch` is as long as [`Winograd::scratch`] says, and this task's
    /// alone if chunks are apart.
    pub(super) unsafe fn task<S: Simd>(
        &self,
        buffers: Buffers,
        scratch: *mut f32,
        round: usize,
        task: usize,
    ) {
        // Safety: the caller's promise.
        unsafe {
            match self.side {
                4 => self.task_of::<S, 6, 4>(buffers, scratch, round, task),
                _ => self.task_of::<S, 4, 2>(buffers, scratch, round, task),
            }
        }
    }

    unsafe fn task_of<S: Simd, const T: usize, const R: usize>(
        &self,
        Buffers { x, residual, out }: Buffers,
        scratch: *mut f32,
        round: usize,
        task: usize,
    ) {
        let all = tiles(&self.window, R);
        let range = |chunk: usize| chunk * self.chunk..((chunk + 1) * self.chunk).min(all);
        // Safety: the caller's promise; tiles are inside of the chunk.
        unsafe {
            let products = scratch.add(T * T * self.chunk * self.window.input.stride);
            let transform = |from, part: Range<usize>| {
                S::enter(Transform::<T, R> { winograd: self, x, values: scratch, from, part });
            };
            let results = |from, part: Range<usize>| {
                S::enter(Results::<T, R> { winograd: self, products, residual, out, from, part });
            };
            if self.apart {
                let chunk = range(task);
                transform(chunk.start, chunk.clone());
                (0..T * T).for_each(|place| self.multiply::<S>(scratch, products, chunk.len(), place));
                results(chunk.start, chunk);
                return;
            }
            let chunk = range(round / 3);
            let share = chunk.len().div_ceil(TASKS_A_THREAD * self.threads);
            let tile = |task: usize| (chunk.start + task * share).min(chunk.end);
            let part = tile(task)..tile(task + 1);
            match round % 3 {
                0 => transform(chunk.start, part),
                1 => self.multiply::<S>(scratch, products, chunk.len(), task),
                _ => results(chunk.start, part),
            }
        }
    }

    fn at(&self, tile: usize) -> At {
        let across = self.window.output.width.div_ceil(self.side);
        At { y: tile / across, x: tile % across }
    }

    /// Transforms tiles `part` of the chunk that begins with tile `from`.
    #[inline(always)]
    unsafe fn transform_all<S: Simd, const T: usize, const R: usize>(
        &self,
        x: *const f32,
        values: *mut f32,
        from: usize,
        part: Range<usize>,
    ) {
        for tile in part {
            // Safety: the caller's promise.
            unsafe {
                let to = values.add((tile - from) * self.window.input.stride);
                self.transform::<S, T, R>(x, to, &self.at(tile));
            }
        }
    }

    /// `B' d B` of one tile.
    #[inline(always)]
    unsafe fn transform<S: Simd, const T: usize, const R: usize>(
        &self,
        x: *const f32,
        values: *mut f32,
        at: &At,
    ) {
        let input = self.window.input;
        let apart = self.chunk * input.stride;
        let mut pixels = [self.zeros.as_ptr(); MOST_PLACES];
        for (place, pixel) in pixels.iter_mut().enumerate().take(T * T) {
            let inside = self.window.inside(R * at.y + place / T, R * at.x + place % T);
            if let Some((row, column)) = inside {
                // Safety: inside of the picture.
                *pixel = unsafe { x.add((row * input.width + column) * input.stride) };
            }
        }
        for first in (0..input.stride).step_by(S::LANES) {
            // Safety: pixels and zeros have the stride's floats.
            unsafe {
                let mut half = [[S::splat(0.0); T]; T];
                for column in 0..T {
                    let mut d = [S::splat(0.0); T];
                    for (row, d) in d.iter_mut().enumerate() {
                        *d = S::load(pixels[T * row + column].add(first));
                    }
                    for (half, value) in half.iter_mut().zip(b::<S, T>(d)) {
                        half[column] = value;
                    }
                }
                for (row, half) in half.into_iter().enumerate() {
                    for (column, value) in b::<S, T>(half).into_iter().enumerate() {
                        S::store(values.add((T * row + column) * apart + first), value);
                    }
                }
            }
        }
    }

    /// The product of one place for the chunk's tiles.
    unsafe fn multiply<S: Simd>(&self, values: *const f32, products: *mut f32, tiles: usize, place: usize) {
        let (input, output) = (self.window.input.stride, self.window.output.stride);
        let weights = &self.weights[place];
        // Safety: the place's part of both.
        unsafe {
            let values = values.add(place * self.chunk * input);
            let target = Target {
                out: products.add(place * self.chunk * output),
                residual: core::ptr::null(),
                stride: output,
                low: f32::NEG_INFINITY,
                high: f32::INFINITY,
            };
            let part = Part { pixels: 0..tiles, blocks: 0..weights.blocks() };
            let line = Line { x: values, apart: input };
            product::<S>(weights, self.zeros.as_ptr(), &part, &target, line);
        }
    }

    /// `A' m A` of tiles `part` of the chunk that begins with tile `from`, with bias, residual and clamp.
    #[inline(always)]
    unsafe fn results<S: Simd, const T: usize, const R: usize>(
        &self,
        products: *const f32,
        residual: *const f32,
        out: *mut f32,
        from: usize,
        part: Range<usize>,
    ) {
        let output = self.window.output;
        let apart = self.chunk * output.stride;
        for tile in part {
            let at = self.at(tile);
            let rows = (output.height - R * at.y).min(R);
            let columns = (output.width - R * at.x).min(R);
            // Safety: places of the chunk are read, pixels of the output written.
            unsafe {
                let products = products.add((tile - from) * output.stride);
                let (low, high) = (S::splat(self.low), S::splat(self.high));
                for first in (0..output.stride).step_by(S::LANES) {
                    let mut half = [[S::splat(0.0); T]; R];
                    for column in 0..T {
                        let mut m = [S::splat(0.0); T];
                        for (row, m) in m.iter_mut().enumerate() {
                            *m = S::load(products.add((T * row + column) * apart + first));
                        }
                        for (half, value) in half.iter_mut().zip(a::<S, T, R>(m)) {
                            half[column] = value;
                        }
                    }
                    let bias = S::load(self.bias.as_ptr().add(first));
                    for (row, half) in half.into_iter().enumerate() {
                        if row >= rows {
                            break;
                        }
                        for (column, value) in a::<S, T, R>(half).into_iter().enumerate() {
                            if column >= columns {
                                break;
                            }
                            let pixel = (R * at.y + row) * output.width + R * at.x + column;
                            let to = pixel * output.stride + first;
                            let mut sum = S::add(value, bias);
                            if !residual.is_null() {
                                sum = S::add(sum, S::load(residual.add(to)));
                            }
                            S::store(out.add(to), S::at_most(S::at_least(sum, low), high));
                        }
                    }
                }
            }
        }
    }
}

/// `G g G'` of some windows, each value of all of them side by side; as many as the matrix asks for.
fn transformed_weights(matrix: &[[f32; 3]], g: &[[f32; TOGETHER]; 9]) -> [[f32; TOGETHER]; MOST_PLACES] {
    let mut half = [[0.0; TOGETHER]; 18];
    let side = matrix.len();
    for (at, half) in half.iter_mut().enumerate().take(3 * side) {
        let [a, b, c] = matrix[at / 3];
        let column = at % 3;
        for (i, half) in half.iter_mut().enumerate() {
            *half = a * g[column][i] + b * g[3 + column][i] + c * g[6 + column][i];
        }
    }
    let mut values = [[0.0; TOGETHER]; MOST_PLACES];
    for (place, values) in values.iter_mut().enumerate().take(side * side) {
        let [a, b, c] = matrix[place % side];
        let [x, y, z] = [0, 1, 2].map(|column| &half[3 * (place / side) + column]);
        for (i, value) in values.iter_mut().enumerate() {
            *value = x[i] * a + y[i] * b + z[i] * c;
        }
    }
    values
}

struct Transform<'a, const T: usize, const R: usize> {
    winograd: &'a Winograd,
    x: *const f32,
    values: *mut f32,
    from: usize,
    part: Range<usize>,
}

impl<const T: usize, const R: usize> Kernel for Transform<'_, T, R> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Safety: the promise of `Winograd::task`.
        unsafe { self.winograd.transform_all::<S, T, R>(self.x, self.values, self.from, self.part) }
    }
}

struct Results<'a, const T: usize, const R: usize> {
    winograd: &'a Winograd,
    products: *const f32,
    residual: *const f32,
    out: *mut f32,
    from: usize,
    part: Range<usize>,
}

impl<const T: usize, const R: usize> Kernel for Results<'_, T, R> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Results { winograd, products, residual, out, from, part } = self;
        // Safety: the promise of `Winograd::task`.
        unsafe { winograd.results::<S, T, R>(products, residual, out, from, part) }
    }
}

/// How many of `all` tiles are transformed together: every chunk reads all weights, and chunks that are too large for the
/// cache write and read their values further out.
fn chunk(all: usize, tile_bytes: usize, weight_bytes: usize) -> usize {
    let cost = |chunks: &usize| {
        let spilled = all.div_ceil(*chunks) * tile_bytes > TASK_BYTES;
        chunks * weight_bytes + if spilled { 2 * all * tile_bytes } else { 0 }
    };
    let chunks = (1..=all.div_ceil(LEAST_TILES)).min_by_key(cost).unwrap_or(1);
    all.div_ceil(chunks)
}

/// Tiles of `side * side` results.
fn tiles(window: &Window, side: usize) -> usize {
    window.output.height.div_ceil(side) * window.output.width.div_ceil(side)
}

/// One side of `B' d B`.
#[inline(always)]
unsafe fn b<S: Simd, const T: usize>(d: [S::V; T]) -> [S::V; T] {
    let mut v = d;
    // Safety: the caller's promise.
    unsafe {
        if T == 4 {
            v[0] = S::sub(d[0], d[2]);
            v[1] = S::add(d[1], d[2]);
            v[2] = S::sub(d[2], d[1]);
            v[3] = S::sub(d[1], d[3]);
            return v;
        }
        let (plus_four, four, five) = (S::splat(4.0), S::splat(-4.0), S::splat(-5.0));
        let t0 = S::fma(four, d[2], d[4]);
        let t1 = S::fma(four, d[1], d[3]);
        let t2 = S::sub(d[4], d[2]);
        let t3 = S::sub(d[3], d[1]);
        let two_t3 = S::add(t3, t3);
        v[0] = S::fma(plus_four, d[0], S::fma(five, d[2], d[4]));
        v[1] = S::add(t0, t1);
        v[2] = S::sub(t0, t1);
        v[3] = S::add(t2, two_t3);
        v[4] = S::sub(t2, two_t3);
        v[5] = S::fma(plus_four, d[1], S::fma(five, d[3], d[5]));
    }
    v
}

/// One side of `A' m A`.
#[inline(always)]
unsafe fn a<S: Simd, const T: usize, const R: usize>(m: [S::V; T]) -> [S::V; R] {
    let mut y = [m[0]; R];
    // Safety: the caller's promise.
    unsafe {
        let (s1, d1) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        if T == 4 {
            y[0] = S::add(m[0], s1);
            y[1] = S::sub(d1, m[3]);
            return y;
        }
        let (s2, d2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        y[0] = S::add(S::add(m[0], s1), s2);
        y[1] = S::fma(S::splat(2.0), d2, d1);
        y[2] = S::fma(S::splat(4.0), s2, s1);
        y[3] = S::add(S::fma(S::splat(8.0), d2, d1), m[5]);
    }
    y
}
