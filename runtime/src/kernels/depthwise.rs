//! The depthwise convolution: every channel has a window of its own.
//!
//! A vector is a few channels of one pixel. Some neighbours of a row are made at once, so that what their windows share
//! is read once, and their weights, too. Where the pixels lie is looked up once for all channels; those outside of
//! the picture are read from zeros.

use super::memory::{Floats, normal};
use super::simd::{Kernel, Simd};
use super::window::{Buffers, Window};

/// The most columns that a group of neighbours reads: seven places of 5 taps, two columns apart.
const MOST_COLUMNS: usize = 6 * 2 + 5;

/// A depthwise convolution, ready to run.
#[derive(Debug)]
pub(super) struct Depthwise {
    window: Window,
    /// `[channels / LANES, taps, LANES]`.
    weights: Floats,
    bias: Floats,
    /// Where the pixels outside of the picture are read.
    zeros: Floats,
    low: f32,
    high: f32,
    rows: usize,
}

impl Depthwise {
    /// `weights` are `[channels, height, width]`.
    pub(super) fn new<S: Simd>(
        window: Window,
        weights: &[f32],
        bias: &[f32],
        clamp: [f32; 2],
        threads: usize,
    ) -> Depthwise {
        let channels = window.output.channels;
        let (lanes, taps) = (S::LANES, window.kernel[0] * window.kernel[1]);
        let padded = channels.next_multiple_of(lanes);
        let mut packed = Floats::zeros(padded * taps);
        let values = packed.as_mut_slice();
        for (channel, window) in weights.chunks_exact(taps).enumerate() {
            for (tap, weight) in window.iter().enumerate() {
                values[(channel / lanes * taps + tap) * lanes + channel % lanes] = normal(*weight);
            }
        }
        // Rows of 7, 14, 28, .. fall in two equal shares so.
        let tasks = if threads == 1 { 1 } else { 8 * threads };
        Depthwise {
            window,
            weights: packed,
            bias: Floats::padded(bias, padded),
            zeros: Floats::zeros(padded),
            low: clamp[0],
            high: clamp[1],
            rows: window.output.height.div_ceil(tasks),
        }
    }

    pub(super) fn tasks(&self) -> usize {
        self.window.output.height.div_ceil(self.rows)
    }

    /// # Safety
    /// They are the buffers that the window names.
    pub(super) unsafe fn task<S: Simd>(&self, buffers: Buffers, task: usize) {
        let rows = task * self.rows..((task + 1) * self.rows).min(self.window.output.height);
        for y in rows {
            // Safety: the caller's promise.
            unsafe { self.line::<S>(&Row { buffers, ring: self.window.input.height, y }) }
        }
    }

    /// A row of the output.
    ///
    /// # Safety
    /// `x` has the rows that its windows reach over; `residual` (or null) and `out` are as in [`Depthwise::task`].
    pub(super) unsafe fn line<S: Simd>(&self, row: &Row) {
        let Window { kernel, stride, dilation, .. } = self.window;
        // Safety: the caller's promise.
        unsafe {
            match (kernel, stride, dilation) {
                ([3, 3], [1, 1], [1, 1]) => S::enter(Sized::<3, 1>(self, row)),
                ([3, 3], [2, 2], [1, 1]) => S::enter(Sized::<3, 2>(self, row)),
                ([5, 5], [1, 1], [1, 1]) => S::enter(Sized::<5, 1>(self, row)),
                ([5, 5], [2, 2], [1, 1]) => S::enter(Sized::<5, 2>(self, row)),
                _ => S::enter(Any(self, row)),
            }
        }
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// There is more than the kernel for any window.
    pub(super) fn is_fast(&self) -> bool {
        let Window { kernel, stride, dilation, .. } = self.window;
        matches!((kernel, stride), ([3, 3] | [5, 5], [1, 1] | [2, 2])) && dilation == [1, 1]
    }

    /// A row of windows of `K x K` at stride `T`.
    #[inline(always)]
    unsafe fn row<S: Simd, const K: usize, const T: usize>(&self, row: &Row) {
        let mut place = 0;
        while place < self.window.output.width {
            // Safety: the caller's promise; so many places are left.
            unsafe {
                place += match self.window.output.width - place {
                    7.. => self.group::<S, K, T, 7>(row, place),
                    4.. => self.group::<S, K, T, 4>(row, place),
                    2.. => self.group::<S, K, T, 2>(row, place),
                    _ => self.group::<S, K, T, 1>(row, place),
                }
            }
        }
    }

    /// `X` neighbours from `place` on; how many that is.
    #[inline(always)]
    unsafe fn group<S: Simd, const K: usize, const T: usize, const X: usize>(
        &self,
        row: &Row,
        place: usize,
    ) -> usize {
        let input = self.window.input;
        let columns = (X - 1) * T + K;
        let mut pixels = [[self.zeros.as_ptr(); MOST_COLUMNS]; K];
        for (ky, pixels) in pixels.iter_mut().enumerate() {
            for (at, pixel) in pixels.iter_mut().enumerate().take(columns) {
                if let Some(offset) = self.offset(row, row.y * T + ky, place * T + at) {
                    // Safety: inside of the picture.
                    *pixel = unsafe { row.buffers.x.add(offset) };
                }
            }
        }
        for first in (0..input.stride).step_by(S::LANES) {
            // Safety: pixels and zeros have the stride's floats.
            unsafe {
                let mut sums = [S::load(self.bias.as_ptr().add(first)); X];
                let weights = self.weights.as_ptr().add(first * K * K);
                for (ky, pixels) in pixels.iter().enumerate() {
                    let mut w = [S::splat(0.0); K];
                    for (kx, w) in w.iter_mut().enumerate() {
                        *w = S::load(weights.add((ky * K + kx) * S::LANES));
                    }
                    for (at, pixel) in pixels.iter().enumerate().take(columns) {
                        let value = S::load(pixel.add(first));
                        for (i, sum) in sums.iter_mut().enumerate() {
                            if at >= i * T && at - i * T < K {
                                *sum = S::fma(value, w[at - i * T], *sum);
                            }
                        }
                    }
                }
                for (i, sum) in sums.into_iter().enumerate() {
                    self.write::<S>(sum, row, place + i, first);
                }
            }
        }
        X
    }

    /// One place of any window.
    #[inline(always)]
    unsafe fn any<S: Simd>(&self, row: &Row, place: usize) {
        let Window { input, kernel: [kh, kw], stride, dilation, .. } = self.window;
        for first in (0..input.stride).step_by(S::LANES) {
            // Safety: offsets are inside of the picture.
            unsafe {
                let mut sum = S::load(self.bias.as_ptr().add(first));
                let weights = self.weights.as_ptr().add(first * kh * kw);
                for ky in 0..kh {
                    for kx in 0..kw {
                        let (line, column) =
                            (row.y * stride[0] + ky * dilation[0], place * stride[1] + kx * dilation[1]);
                        if let Some(offset) = self.offset(row, line, column) {
                            let weight = S::load(weights.add((ky * kw + kx) * S::LANES));
                            sum = S::fma(S::load(row.buffers.x.add(offset + first)), weight, sum);
                        }
                    }
                }
                self.write::<S>(sum, row, place, first);
            }
        }
    }

    /// Where the pixel lies that is so far from the upper left corner of the padding.
    #[inline(always)]
    fn offset(&self, row: &Row, line: usize, column: usize) -> Option<usize> {
        let input = self.window.input;
        let (line, column) = self.window.inside(line, column)?;
        Some((line % row.ring * input.width + column) * input.stride)
    }

    #[inline(always)]
    unsafe fn write<S: Simd>(&self, mut sum: S::V, row: &Row, place: usize, first: usize) {
        let output = self.window.output;
        let Buffers { residual, out, .. } = row.buffers;
        let at = (row.y * output.width + place) * output.stride + first;
        // Safety: a place of the output.
        unsafe {
            if !residual.is_null() {
                sum = S::add(sum, S::load(residual.add(at)));
            }
            let clamped = S::at_most(S::at_least(sum, S::splat(self.low)), S::splat(self.high));
            S::store(out.add(at), clamped);
        }
    }
}

/// A row of windows of `K x K` at stride `T`.
struct Sized<'a, const K: usize, const T: usize>(&'a Depthwise, &'a Row);

impl<const K: usize, const T: usize> Kernel for Sized<'_, K, T> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Safety: the promise of `Depthwise::line`.
        unsafe { self.0.row::<S, K, T>(self.1) }
    }
}

/// A row of any windows.
struct Any<'a>(&'a Depthwise, &'a Row);

impl Kernel for Any<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Safety: the promise of `Depthwise::line`.
        (0..self.0.window.output.width).for_each(|place| unsafe { self.0.any::<S>(self.1, place) });
    }
}

/// A row of the output that is being made.
pub(super) struct Row {
    pub(super) buffers: Buffers,
    /// Rows of the input that are kept: row `i` lies at place `i % ring`.
    pub(super) ring: usize,
    /// Its number.
    pub(super) y: usize,
}
