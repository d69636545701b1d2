//! What is not a convolution: pooling, upsampling, sums, and the way into and out of the layout of the kernels.

use alloc::vec::Vec;
use core::ops::Range;

use super::memory::Floats;
use super::simd::{Kernel, Simd};
use super::window::{Buffers, Shape, Window};

/// What a pool makes of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// The largest value; a window with something that is not a number may give either.
    Max,
    /// The mean of the taps inside of the picture.
    Mean,
    /// The sum of the taps over the area of the window, padding included.
    MeanWithPadding,
    /// The sum of the taps.
    Sum,
}

/// Pooling.
#[derive(Debug)]
pub(super) struct Pooling {
    pub(super) window: Window,
    pub(super) reduction: Reduction,
}

impl Pooling {
    /// Makes a row of the output.
    ///
    /// # Safety
    /// `x` and `out` are the buffers that the window names.
    #[inline(always)]
    unsafe fn task<S: Simd>(&self, x: *const f32, out: *mut f32, y: usize) {
        let Window { input, output, kernel, stride, dilation, .. } = self.window;
        let max = self.reduction == Reduction::Max;
        for place in 0..output.width {
            for first in (0..output.stride).step_by(S::LANES) {
                // Safety: rows and columns are checked.
                unsafe {
                    let mut sum = S::splat(if max { f32::NEG_INFINITY } else { 0.0 });
                    let mut taps = 0;
                    for ky in 0..kernel[0] {
                        for kx in 0..kernel[1] {
                            let line = y * stride[0] + ky * dilation[0];
                            let column = place * stride[1] + kx * dilation[1];
                            if let Some((row, column)) = self.window.inside(line, column) {
                                let at = (row * input.width + column) * input.stride + first;
                                let value = S::load(x.add(at));
                                sum = if max { S::at_least(value, sum) } else { S::add(sum, value) };
                                taps += 1;
                            }
                        }
                    }
                    let mean = match self.reduction {
                        Reduction::Max | Reduction::Sum => sum,
                        Reduction::Mean => S::mul(sum, S::splat(1.0 / taps as f32)),
                        Reduction::MeanWithPadding => {
                            S::mul(sum, S::splat(1.0 / (kernel[0] * kernel[1]) as f32))
                        }
                    };
                    S::store(out.add((y * output.width + place) * output.stride + first), mean);
                }
            }
        }
    }
}

/// A row of a pool's output.
pub(super) struct PoolRow<'a> {
    pub(super) pooling: &'a Pooling,
    pub(super) x: *const f32,
    pub(super) out: *mut f32,
    pub(super) y: usize,
}

impl Kernel for PoolRow<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Safety: the promise of `Pooling::task`.
        unsafe { self.pooling.task::<S>(self.x, self.out, self.y) }
    }
}

/// Every pixel so many times down and across: the nearest neighbour.
#[derive(Debug)]
pub(super) struct Upsampling {
    pub(super) input: Shape,
    pub(super) factor: [usize; 2],
}

impl Upsampling {
    pub(super) fn output(&self) -> Shape {
        let Shape { height, width, .. } = self.input;
        Shape { height: height * self.factor[0], width: width * self.factor[1], ..self.input }
    }

    /// Makes a row of the output.
    ///
    /// # Safety
    /// They are of the shapes.
    pub(super) unsafe fn task(&self, x: *const f32, out: *mut f32, y: usize) {
        let (Shape { width, stride, .. }, [down, across]) = (self.input, self.factor);
        for column in 0..width * across {
            let from = (y / down * width + column / across) * stride;
            let to = (y * width * across + column) * stride;
            // Safety: the row and the column are inside, of the input as of the output.
            unsafe { x.add(from).copy_to_nonoverlapping(out.add(to), stride) };
        }
    }
}

/// `clamp((x + other) * scale + shift)`, scale and shift for each channel.
#[derive(Debug)]
pub(super) struct Affine {
    pub(super) shape: Shape,
    /// As many as the shape's stride.
    pub(super) scale: Floats,
    pub(super) shift: Floats,
    pub(super) clamp: [f32; 2],
}

impl Affine {
    pub(super) fn new(shape: Shape, scale: &[f32], shift: &[f32], clamp: [f32; 2]) -> Affine {
        let padded = |values| Floats::padded(values, shape.stride);
        Affine { shape, scale: padded(scale), shift: padded(shift), clamp }
    }

    /// Makes a row.
    ///
    /// # Safety
    /// They are of the shape.
    #[inline(always)]
    unsafe fn task<S: Simd>(&self, Buffers { x, residual: other, out }: Buffers, y: usize) {
        let stride = self.shape.stride;
        for pixel in y * self.shape.width..(y + 1) * self.shape.width {
            for first in (0..stride).step_by(S::LANES) {
                // Safety: the pixel is inside, and its stride a number of whole vectors.
                unsafe {
                    let at = pixel * stride + first;
                    let mut value = S::load(x.add(at));
                    if !other.is_null() {
                        value = S::add(value, S::load(other.add(at)));
                    }
                    let scale = S::load(self.scale.as_ptr().add(first));
                    let value = S::fma(value, scale, S::load(self.shift.as_ptr().add(first)));
                    let [low, high] = self.clamp.map(|bound| S::splat(bound));
                    S::store(out.add(at), S::at_most(S::at_least(value, low), high));
                }
            }
        }
    }
}

/// A row of an affine step.
pub(super) struct AffineRow<'a> {
    pub(super) affine: &'a Affine,
    pub(super) buffers: Buffers,
    pub(super) y: usize,
}

impl Kernel for AffineRow<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Safety: the promise of `Affine::task`.
        unsafe { self.affine.task::<S>(self.buffers, self.y) }
    }
}

/// The largest value, or the sum, of every so many channels that lie side by side: class-aligned channels of a class.
#[derive(Debug)]
pub(super) struct Grouping {
    pub(super) input: Shape,
    pub(super) output: Shape,
    /// Channels of a group.
    pub(super) xi: usize,
    /// The largest, not the sum.
    pub(super) max: bool,
}

impl Grouping {
    /// Makes a row.
    ///
    /// # Safety
    /// `x` and `out` are of the shapes.
    pub(super) unsafe fn task(&self, x: *const f32, out: *mut f32, y: usize) {
        for pixel in y * self.output.width..(y + 1) * self.output.width {
            // Safety: the pixel is inside of both.
            let (groups, reduced) = unsafe {
                (
                    core::slice::from_raw_parts(
                        x.add(pixel * self.input.stride),
                        self.xi * self.output.channels,
                    ),
                    core::slice::from_raw_parts_mut(
                        out.add(pixel * self.output.stride),
                        self.output.channels,
                    ),
                )
            };
            for (group, reduced) in groups.chunks_exact(self.xi).zip(reduced) {
                let larger = |most: f32, &value: &f32| if value <= most { most } else { value };
                *reduced =
                    if self.max { group.iter().fold(f32::NEG_INFINITY, larger) } else { group.iter().sum() };
            }
        }
    }
}

/// Where a network's input lies.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// `[channels, height, width]`.
    Planes(&'a [f32]),
    /// `[height, width, channels]`, 0..=255.
    Bytes(&'a [u8]),
}

impl Source<'_> {
    /// Values in all.
    pub fn len(&self) -> usize {
        match self {
            Source::Planes(values) => values.len(),
            Source::Bytes(values) => values.len(),
        }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Takes an input into a buffer of pixels, in a border of zeros.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) input: usize,
    /// Without the border.
    pub(super) shape: Shape,
    /// Rows above and columns left.
    pub(super) before: [usize; 2],
    /// With the border.
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
}

impl Import {
    /// Makes a row of the bordered picture.
    ///
    /// # Safety
    /// `source` has all pixels of the shape, `out` all of the bordered picture.
    #[inline(always)]
    unsafe fn task(&self, source: Source<'_>, out: *mut f32, y: usize) {
        let Shape { channels, height, width, stride } = self.shape;
        // Safety: a row of the bordered picture.
        let line =
            unsafe { core::slice::from_raw_parts_mut(out.add(y * self.width * stride), self.width * stride) };
        let row = y.wrapping_sub(self.before[0]);
        if row >= height {
            line.fill(0.0);
            return;
        }
        let (left, rest) = line.split_at_mut(self.before[1] * stride);
        let (middle, right) = rest.split_at_mut(width * stride);
        left.fill(0.0);
        right.fill(0.0);
        if stride != channels {
            middle.fill(0.0);
        }
        match source {
            Source::Bytes(bytes) if (stride, channels) == (3, 3) => {
                let bytes = &bytes[row * width * 3..][..width * 3];
                // As many as make whole vectors.
                let [scale, shift] = [&self.scale, &self.shift].map(|v| {
                    let mut pattern = [0.0; 48];
                    pattern.iter_mut().enumerate().for_each(|(i, value)| *value = v[i % 3]);
                    pattern
                });
                let (wide, rest) = middle.as_chunks_mut::<48>();
                let (wide_bytes, rest_bytes) = bytes.as_chunks::<48>();
                for (to, from) in wide.iter_mut().zip(wide_bytes) {
                    for i in 0..48 {
                        to[i] = f32::from(from[i]) * scale[i] + shift[i];
                    }
                }
                for (i, (to, from)) in rest.iter_mut().zip(rest_bytes).enumerate() {
                    *to = f32::from(*from) * scale[i] + shift[i];
                }
            }
            Source::Bytes(bytes) => {
                let bytes = &bytes[row * width * channels..][..width * channels];
                for (to, from) in middle.chunks_exact_mut(stride).zip(bytes.chunks_exact(channels)) {
                    for (i, byte) in from.iter().enumerate() {
                        to[i] = f32::from(*byte) * self.scale[i] + self.shift[i];
                    }
                }
            }
            Source::Planes(values) => {
                for channel in 0..channels {
                    let (scale, shift) = (self.scale[channel], self.shift[channel]);
                    let plane = &values[(channel * height + row) * width..][..width];
                    for (x, value) in plane.iter().enumerate() {
                        middle[x * stride + channel] = value * scale + shift;
                    }
                }
            }
        }
    }
}

/// A row of an import.
pub(super) struct ImportRow<'a> {
    pub(super) import: &'a Import,
    pub(super) source: Source<'a>,
    pub(super) out: *mut f32,
    pub(super) y: usize,
}

impl Kernel for ImportRow<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Safety: the promise of `Import::task`.
        unsafe { self.import.task(self.source, self.out, self.y) }
    }
}

/// Gives some channels back as planes.
///
/// # Safety
/// `x` is of the shape; `out` has `[channels, height, width]` floats.
pub(super) unsafe fn export(shape: Shape, x: *const f32, out: *mut f32, channels: Range<usize>) {
    for channel in channels {
        for pixel in 0..shape.pixels() {
            // Safety: inside of both.
            unsafe { *out.add(channel * shape.pixels() + pixel) = *x.add(pixel * shape.stride + channel) }
        }
    }
}
