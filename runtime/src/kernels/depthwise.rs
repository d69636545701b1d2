//! The depthwise convolution: every channel has a window of its own.
//!
//! A vector is a few channels of one pixel. Four neighbours of a row are made at once, so that what their windows
//! share is read once.

use super::memory::Floats;
use super::simd::Simd;
use super::window::Window;

/// Places made at once.
const ACROSS: usize = 4;

/// A depthwise convolution, ready to run.
#[derive(Debug)]
pub(super) struct Depthwise {
    window: Window,
    /// `[channels / LANES, taps, LANES]`.
    weights: Floats,
    bias: Floats,
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
                values[(channel / lanes * taps + tap) * lanes + channel % lanes] = *weight;
            }
        }
        let mut padded_bias = Floats::zeros(padded);
        padded_bias.as_mut_slice()[..channels].copy_from_slice(bias);
        let tasks = if threads == 1 { 1 } else { 4 * threads };
        Depthwise {
            window,
            weights: packed,
            bias: padded_bias,
            low: clamp[0],
            high: clamp[1],
            rows: window.output.height.div_ceil(tasks),
        }
    }

    pub(super) fn tasks(&self) -> usize {
        self.window.output.height.div_ceil(self.rows)
    }

    /// # Safety
    /// `x`, `residual` (or null) and `out` are the buffers that the window names.
    #[inline(always)]
    pub(super) unsafe fn task<S: Simd>(
        &self,
        x: *const f32,
        residual: *const f32,
        out: *mut f32,
        task: usize,
    ) {
        let rows = task * self.rows..((task + 1) * self.rows).min(self.window.output.height);
        let Window { kernel, stride, dilation, .. } = self.window;
        for y in rows {
            // Safety: the caller's promise.
            unsafe {
                match (kernel, stride, dilation) {
                    ([3, 3], [1, 1], [1, 1]) => self.row::<S, 3, 1>(x, residual, out, y),
                    ([3, 3], [2, 2], [1, 1]) => self.row::<S, 3, 2>(x, residual, out, y),
                    ([5, 5], [1, 1], [1, 1]) => self.row::<S, 5, 1>(x, residual, out, y),
                    ([5, 5], [2, 2], [1, 1]) => self.row::<S, 5, 2>(x, residual, out, y),
                    _ => self.any_row::<S>(x, residual, out, y),
                }
            }
        }
    }

    /// A row of windows of `K x K` at stride `T`.
    #[inline(always)]
    unsafe fn row<S: Simd, const K: usize, const T: usize>(
        &self,
        x: *const f32,
        residual: *const f32,
        out: *mut f32,
        y: usize,
    ) {
        let Window { input, output, before, .. } = self.window;
        // Places whose windows are inside from side to side.
        let inside = before[1].div_ceil(T)..=(input.width + before[1]).saturating_sub(K) / T;
        let fits = input.width + before[1] >= K;
        for first in (0..output.stride).step_by(S::LANES) {
            let mut place = 0;
            while place < output.width {
                // Safety: four places from an inside one to an inside one read inside; `few` checks each.
                unsafe {
                    if fits
                        && inside.contains(&place)
                        && inside.contains(&(place + ACROSS - 1))
                        && place + ACROSS <= output.width
                    {
                        self.four::<S, K, T>(x, residual, out, y, place, first);
                        place += ACROSS;
                    } else {
                        self.one::<S>(x, residual, out, (y, place), first);
                        place += 1;
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn four<S: Simd, const K: usize, const T: usize>(
        &self,
        x: *const f32,
        residual: *const f32,
        out: *mut f32,
        y: usize,
        place: usize,
        first: usize,
    ) {
        let Window { input, before, .. } = self.window;
        // Safety: the caller has checked the columns; rows are checked here.
        unsafe {
            let mut sums = [S::load(self.bias.as_ptr().add(first)); ACROSS];
            let weights = self.weights.as_ptr().add(first * K * K);
            for ky in 0..K {
                let row = (y * T + ky).wrapping_sub(before[0]);
                if row >= input.height {
                    continue;
                }
                let column = place * T - before[1];
                let line = x.add((row * input.width + column) * input.stride + first);
                let mut w = [S::splat(0.0); K];
                for (kx, w) in w.iter_mut().enumerate() {
                    *w = S::load(weights.add((ky * K + kx) * S::LANES));
                }
                for at in 0..(ACROSS - 1) * T + K {
                    let value = S::load(line.add(at * input.stride));
                    for (i, sum) in sums.iter_mut().enumerate() {
                        if at >= i * T && at - i * T < K {
                            *sum = S::fma(value, w[at - i * T], *sum);
                        }
                    }
                }
            }
            for (i, sum) in sums.into_iter().enumerate() {
                self.write::<S>(sum, residual, out, (y, place + i), first);
            }
        }
    }

    #[inline(always)]
    unsafe fn any_row<S: Simd>(&self, x: *const f32, residual: *const f32, out: *mut f32, y: usize) {
        for first in (0..self.window.output.stride).step_by(S::LANES) {
            for place in 0..self.window.output.width {
                // Safety: the caller's promise.
                unsafe { self.one::<S>(x, residual, out, (y, place), first) }
            }
        }
    }

    /// One place; taps outside of the picture are left out.
    #[inline(always)]
    unsafe fn one<S: Simd>(
        &self,
        x: *const f32,
        residual: *const f32,
        out: *mut f32,
        (y, place): (usize, usize),
        first: usize,
    ) {
        let Window { input, kernel: [kh, kw], stride, dilation, before, .. } = self.window;
        // Safety: rows and columns are checked.
        unsafe {
            let mut sum = S::load(self.bias.as_ptr().add(first));
            let weights = self.weights.as_ptr().add(first * kh * kw);
            for ky in 0..kh {
                let row = (y * stride[0] + ky * dilation[0]).wrapping_sub(before[0]);
                if row >= input.height {
                    continue;
                }
                for kx in 0..kw {
                    let column = (place * stride[1] + kx * dilation[1]).wrapping_sub(before[1]);
                    if column < input.width {
                        let value = S::load(x.add((row * input.width + column) * input.stride + first));
                        sum = S::fma(value, S::load(weights.add((ky * kw + kx) * S::LANES)), sum);
                    }
                }
            }
            self.write::<S>(sum, residual, out, (y, place), first);
        }
    }

    #[inline(always)]
    unsafe fn write<S: Simd>(
        &self,
        mut sum: S::V,
        residual: *const f32,
        out: *mut f32,
        (y, place): (usize, usize),
        first: usize,
    ) {
        let output = self.window.output;
        let at = (y * output.width + place) * output.stride + first;
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
