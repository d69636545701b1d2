//! The 3 x 3 convolution by Winograd's F(4x4, 3x3): 36 products for 16 results instead of 144.
//!
//! The picture is cut in tiles of 4 x 4 results. Each takes 6 x 6 values, transformed by `B`; for each of the 36
//! places a matrix product over the channels joins them with the transformed weights; `A` takes 6 x 6 products to
//! 4 x 4 results. `A`, `B` and `G` are those of Lavin and Gray (2016), section 4.2.

use alloc::vec;
use alloc::vec::Vec;

use super::dense::{Packed, Storage, Target, product};
use super::memory::Floats;
use super::simd::{Kernel, Simd};
use super::window::Window;

/// Places of a transformed tile.
const PLACES: usize = 36;

/// Transformed values and products of one task stay in the second-level cache.
const TASK_BYTES: usize = 512 << 10;

/// Windows whose weights are transformed side by side when a network is built.
const TOGETHER: usize = 16;

/// Floats of transformed weights that are on their way to their places in the meantime.
const TRANSFORMED: usize = 256 << 10;

/// Below, reading four times the weights costs more than the products saved.
const LEAST_TILES: usize = 12;

const G: [[f32; 3]; 6] = [
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

/// The tile with its upper left result at `(4 * y, 4 * x)`.
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
            && tiles(window) >= LEAST_TILES
    }

    /// `weights` are `[out, in, 3, 3]`.
    pub(super) fn new<S: Simd>(
        window: Window,
        weights: &[f32],
        bias: &[f32],
        clamp: [f32; 2],
        storage: Storage,
        threads: usize,
    ) -> Winograd {
        let (inputs, outputs) = (window.input.channels, window.output.channels);
        let mut packed: Vec<Packed> = (0..PLACES).map(|_| Packed::zeros::<S>(inputs, outputs)).collect();
        // G g G' of the windows of some input channels, place by place; so few that they stay in the cache.
        let band = (TRANSFORMED / (PLACES * outputs)).clamp(1, inputs);
        let mut transformed = vec![0.0; PLACES * band * outputs];
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
                    for (place, values) in transformed_weights(&windows).iter().enumerate() {
                        let to = &mut transformed[(place * band + row - from) * outputs..][columns.clone()];
                        to.copy_from_slice(&values[..columns.len()]);
                    }
                }
            }
            for (place, packed) in transformed.chunks_exact(band * outputs).zip(&mut packed) {
                packed.fill::<S>((from, to), outputs, |row, column| place[(row - from) * outputs + column]);
            }
        }
        for packed in &mut packed {
            packed.keep(storage);
        }
        let all = tiles(&window);
        let chunk = chunk(
            all,
            4 * PLACES * (window.input.stride + window.output.stride),
            4 * PLACES * inputs * outputs,
        );
        let apart = threads == 1 || all.div_ceil(chunk) >= 3 * threads;
        Winograd {
            window,
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
        tiles(&self.window).div_ceil(self.chunk)
    }

    /// Floats of scratch for each thread if chunks are apart, else for all together.
    pub(super) fn scratch(&self) -> usize {
        PLACES * self.chunk * (self.window.input.stride + self.window.output.stride)
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
            (false, 1) => PLACES,
            (false, _) => 4 * self.threads,
        }
    }

    /// # Safety
    /// `x`, `residual` (or null) and `out` are the buffers that the window names; `scratch` is as long as
    /// [`Winograd::scratch`] says, and this task's alone if chunks are apart.
    pub(super) unsafe fn task<S: Simd>(
        &self,
        x: *const f32,
        residual: *const f32,
        out: *mut f32,
        scratch: *mut f32,
        (round, task): (usize, usize),
    ) {
        let all = tiles(&self.window);
        let range = |chunk: usize| (chunk * self.chunk, ((chunk + 1) * self.chunk).min(all));
        // Safety: the caller's promise; tiles are inside of the chunk.
        unsafe {
            let products = scratch.add(PLACES * self.chunk * self.window.input.stride);
            if self.apart {
                let (from, to) = range(task);
                S::enter(Transform { winograd: self, x, values: scratch, from, part: (from, to) });
                (0..PLACES).for_each(|place| self.multiply::<S>(scratch, products, to - from, place));
                S::enter(Results { winograd: self, products, residual, out, from, part: (from, to) });
                return;
            }
            let (from, to) = range(round / 3);
            let share = (to - from).div_ceil(4 * self.threads);
            let part = ((from + task * share).min(to), (from + (task + 1) * share).min(to));
            match round % 3 {
                0 => S::enter(Transform { winograd: self, x, values: scratch, from, part }),
                1 => self.multiply::<S>(scratch, products, to - from, task),
                _ => S::enter(Results { winograd: self, products, residual, out, from, part }),
            }
        }
    }

    fn at(&self, tile: usize) -> At {
        let across = self.window.output.width.div_ceil(4);
        At { y: tile / across, x: tile % across }
    }

    /// Transforms tiles `part` of the chunk that begins with tile `from`.
    #[inline(always)]
    unsafe fn transform_all<S: Simd>(
        &self,
        x: *const f32,
        values: *mut f32,
        from: usize,
        part: (usize, usize),
    ) {
        for tile in part.0..part.1 {
            // Safety: the caller's promise.
            unsafe {
                let to = values.add((tile - from) * self.window.input.stride);
                self.transform::<S>(x, to, &self.at(tile));
            }
        }
    }

    /// `B' d B` of one tile.
    #[inline(always)]
    unsafe fn transform<S: Simd>(&self, x: *const f32, values: *mut f32, at: &At) {
        let input = self.window.input;
        let apart = self.chunk * input.stride;
        let mut pixels = [self.zeros.as_ptr(); PLACES];
        for (place, pixel) in pixels.iter_mut().enumerate() {
            let inside = self.window.inside(4 * at.y + place / 6, 4 * at.x + place % 6);
            if let Some((row, column)) = inside {
                // Safety: inside of the picture.
                *pixel = unsafe { x.add((row * input.width + column) * input.stride) };
            }
        }
        for first in (0..input.stride).step_by(S::LANES) {
            // Safety: pixels and zeros have the stride's floats.
            unsafe {
                let mut half = [[S::splat(0.0); 6]; 6];
                for column in 0..6 {
                    let mut d = [S::splat(0.0); 6];
                    for (row, d) in d.iter_mut().enumerate() {
                        *d = S::load(pixels[6 * row + column].add(first));
                    }
                    for (half, value) in half.iter_mut().zip(b::<S>(d)) {
                        half[column] = value;
                    }
                }
                for (row, half) in half.into_iter().enumerate() {
                    for (column, value) in b::<S>(half).into_iter().enumerate() {
                        S::store(values.add((6 * row + column) * apart + first), value);
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
            let all = (0, weights.blocks());
            product::<S>(weights, self.zeros.as_ptr(), (0, tiles), all, &target, (values, input));
        }
    }

    /// `A' m A` of tiles `part` of the chunk that begins with tile `from`, with bias, residual and clamp.
    #[inline(always)]
    unsafe fn results<S: Simd>(
        &self,
        products: *const f32,
        residual: *const f32,
        out: *mut f32,
        from: usize,
        part: (usize, usize),
    ) {
        let output = self.window.output;
        let apart = self.chunk * output.stride;
        for tile in part.0..part.1 {
            let at = self.at(tile);
            let rows = (output.height - 4 * at.y).min(4);
            let columns = (output.width - 4 * at.x).min(4);
            // Safety: places of the chunk are read, pixels of the output written.
            unsafe {
                let products = products.add((tile - from) * output.stride);
                let (low, high) = (S::splat(self.low), S::splat(self.high));
                for first in (0..output.stride).step_by(S::LANES) {
                    let mut half = [[S::splat(0.0); 6]; 4];
                    for column in 0..6 {
                        let mut m = [S::splat(0.0); 6];
                        for (row, m) in m.iter_mut().enumerate() {
                            *m = S::load(products.add((6 * row + column) * apart + first));
                        }
                        for (half, value) in half.iter_mut().zip(a::<S>(m)) {
                            half[column] = value;
                        }
                    }
                    let bias = S::load(self.bias.as_ptr().add(first));
                    for (row, half) in half.into_iter().enumerate() {
                        if row >= rows {
                            break;
                        }
                        for (column, value) in a::<S>(half).into_iter().enumerate() {
                            if column >= columns {
                                break;
                            }
                            let pixel = (4 * at.y + row) * output.width + 4 * at.x + column;
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

/// `G g G'` of some windows, each value of all of them side by side.
fn transformed_weights(g: &[[f32; TOGETHER]; 9]) -> [[f32; TOGETHER]; PLACES] {
    let mut half = [[0.0; TOGETHER]; 18];
    for (at, half) in half.iter_mut().enumerate() {
        let [a, b, c] = G[at / 3];
        let column = at % 3;
        for (i, half) in half.iter_mut().enumerate() {
            *half = a * g[column][i] + b * g[3 + column][i] + c * g[6 + column][i];
        }
    }
    let mut values = [[0.0; TOGETHER]; PLACES];
    for (place, values) in values.iter_mut().enumerate() {
        let [a, b, c] = G[place % 6];
        let [x, y, z] = [0, 1, 2].map(|column| &half[3 * (place / 6) + column]);
        for (i, value) in values.iter_mut().enumerate() {
            *value = x[i] * a + y[i] * b + z[i] * c;
        }
    }
    values
}

struct Transform<'a> {
    winograd: &'a Winograd,
    x: *const f32,
    values: *mut f32,
    from: usize,
    part: (usize, usize),
}

impl Kernel for Transform<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Safety: the promise of `Winograd::task`.
        unsafe { self.winograd.transform_all::<S>(self.x, self.values, self.from, self.part) }
    }
}

struct Results<'a> {
    winograd: &'a Winograd,
    products: *const f32,
    residual: *const f32,
    out: *mut f32,
    from: usize,
    part: (usize, usize),
}

impl Kernel for Results<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Results { winograd, products, residual, out, from, part } = self;
        // Safety: the promise of `Winograd::task`.
        unsafe { winograd.results::<S>(products, residual, out, from, part) }
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

fn tiles(window: &Window) -> usize {
    window.output.height.div_ceil(4) * window.output.width.div_ceil(4)
}

/// One side of `B' d B`.
#[inline(always)]
unsafe fn b<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    // Safety: the caller's promise.
    unsafe {
        let (four, five) = (S::splat(-4.0), S::splat(-5.0));
        let t0 = S::fma(four, d[2], d[4]);
        let t1 = S::fma(four, d[1], d[3]);
        let t2 = S::sub(d[4], d[2]);
        let t3 = S::sub(d[3], d[1]);
        let two_t3 = S::add(t3, t3);
        let plus_four = S::splat(4.0);
        [
            S::fma(plus_four, d[0], S::fma(five, d[2], d[4])),
            S::add(t0, t1),
            S::sub(t0, t1),
            S::add(t2, two_t3),
            S::sub(t2, two_t3),
            S::fma(plus_four, d[1], S::fma(five, d[3], d[5])),
        ]
    }
}

/// One side of `A' m A`.
#[inline(always)]
unsafe fn a<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // Safety: the caller's promise.
    unsafe {
        let (s1, d1) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (s2, d2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(S::add(m[0], s1), s2),
            S::fma(S::splat(2.0), d2, d1),
            S::fma(S::splat(4.0), s2, s1),
            S::add(S::fma(S::splat(8.0), d2, d1), m[5]),
        ]
    }
}
