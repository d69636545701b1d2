//! Resizing that gives the same bytes on every processor.
//!
//! An antialiased triangle filter (bilinear whose support grows with the reduction, as Pillow's
//! `BILINEAR`). Weights are computed with `+ - * /` of `f64` alone, which IEEE 754 defines to the last
//! bit, and then rounded to 14-bit integers that sum to exactly one; pixels are only ever summed in
//! integers. So a model trained on one processor meets the same input on all others.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::rgb::{Frame, MAX_SIDE, Region};

/// A weight of one is `1 << WEIGHT_BITS`: it and its products with pixels fit 16 and 32 bits, which
/// is what vector units multiply fastest.
const WEIGHT_BITS: u32 = 14;

/// Fraction bits of a pixel between the two passes; 255 with them still fits `i16`.
const PASS_BITS: u32 = 6;

/// `region` of `frame`, resized to `width * height`.
///
/// Every output pixel is the weighted mean of the input pixels around its centre: a triangle whose
/// half-width is one output pixel, or one input pixel if that is wider. As in Pillow, pixels just
/// outside the region take part if the frame has them. The region is clipped to the frame; where
/// nothing remains of it, the nearest pixel is taken, and an edge that is not a number is the frame's.
///
/// # Panics
/// Panics if `width` or `height` is not 1 to [`MAX_SIDE`].
pub fn resize(frame: &Frame, region: Region, width: u32, height: u32) -> Frame {
    let sides = 1..=MAX_SIDE;
    assert!(
        sides.contains(&width) && sides.contains(&height),
        "resize to {width} x {height}: each side must be 1 to {MAX_SIDE}"
    );
    let columns = Taps::new(region.x, region.width, frame.width, width);
    let rows = Taps::new(region.y, region.height, frame.height, height);
    let span = columns.span();
    let pitch = 3 * frame.width as usize;
    let bytes = 3 * span.start..3 * span.end;
    let mut pixels = vec![0_u8; 3 * width as usize * height as usize];
    // Rows first: it is the pass that vectorises whole, and it leaves the other one only `height` rows.
    let mut row = vec![0_i16; bytes.len()];
    let mut strip = vec![0_i16; STRIP * bytes.len() + 1];
    for (at, target) in pixels.chunks_mut(STRIP * 3 * width as usize).enumerate() {
        let count = target.len() / (3 * width as usize);
        for number in 0..count {
            let (first, weights) = rows.of(STRIP * at + number);
            let source = &frame.pixels[first * pitch + bytes.start..];
            merge_rows(source, pitch, weights, &mut row);
            interleave(&row, number, &mut strip);
        }
        merge_columns(&strip, &columns, span.start, target, width as usize);
    }
    Frame { width, height, pixels, scale: 1 }
}

/// Rows that the pass over columns does at once: their pixels at one place are 15 values, and vector units add 16.
const STRIP: usize = 5;

/// Values that the pass over rows does at once: few enough for their sums to stay in registers.
const BLOCK: usize = 32;

/// One row of intermediate pixels from as many rows of the frame, `pitch` apart, as there are weights.
fn merge_rows(source: &[u8], pitch: usize, weights: &[i16], row: &mut [i16]) {
    let whole = row.len() / BLOCK * BLOCK;
    let (blocks, rest) = row.split_at_mut(whole);
    for (block, target) in blocks.chunks_exact_mut(BLOCK).enumerate() {
        merge_block::<BLOCK>(&source[BLOCK * block..], pitch, weights, target);
    }
    for (at, target) in rest.chunks_exact_mut(1).enumerate() {
        merge_block::<1>(&source[whole + at..], pitch, weights, target);
    }
}

/// `N` values of [`merge_rows`].
#[inline]
fn merge_block<const N: usize>(source: &[u8], pitch: usize, weights: &[i16], target: &mut [i16]) {
    let mut sums = [0_i32; N];
    let mut at = 0;
    for &weight in weights {
        add_weighted(&mut sums, &source[at..at + N], weight);
        at += pitch;
    }
    for (value, sum) in target.iter_mut().zip(sums) {
        *value = rounded(sum, WEIGHT_BITS - PASS_BITS) as i16;
    }
}

/// `sums += weight * values`, the hot loop of both passes.
#[inline]
fn add_weighted<T: Copy + Into<i32>, const N: usize>(sums: &mut [i32; N], values: &[T], weight: i16) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        // Cannot overflow, as the weights sum to one; `wrapping` spares checked builds the check, which
        // would keep the loop scalar.
        *sum = sum.wrapping_add(value.into() * i32::from(weight));
    }
}

/// Puts a row's pixels into their places among those of the other rows of a strip. `strip` ends with a value that
/// does not count, so that every place can be read as sixteen.
fn interleave(row: &[i16], number: usize, strip: &mut [i16]) {
    let places = strip.chunks_exact_mut(3 * STRIP);
    for (pixel, place) in row.chunks_exact(3).zip(places) {
        place[3 * number..3 * number + 3].copy_from_slice(pixel);
    }
}

/// The output rows of a strip of intermediate rows, which starts at input column `origin`.
fn merge_columns(strip: &[i16], columns: &Taps, origin: usize, target: &mut [u8], width: usize) {
    for x in 0..width {
        let (first, weights) = columns.of(x);
        let values = merge_place(&strip[3 * STRIP * (first - origin)..], weights);
        for (row, pixel) in target.chunks_exact_mut(3 * width).zip(values.chunks_exact(3)) {
            row[3 * x..3 * x + 3].copy_from_slice(pixel);
        }
    }
}

/// A strip's pixels at one output column. A function of its own: inlined, its sums are not kept in vector registers.
#[inline(never)]
fn merge_place(strip: &[i16], weights: &[i16]) -> [u8; 3 * STRIP + 1] {
    let mut sums = [0_i32; 3 * STRIP + 1];
    for (tap, &weight) in weights.iter().enumerate() {
        add_weighted(&mut sums, &strip[3 * STRIP * tap..=3 * STRIP * (tap + 1)], weight);
    }
    let mut values = [0_u8; 3 * STRIP + 1];
    for (value, sum) in values.iter_mut().zip(sums) {
        *value = rounded(sum, WEIGHT_BITS + PASS_BITS) as u8;
    }
    values
}

/// `sum / 2^bits`, rounded; sums are not negative.
fn rounded(sum: i32, bits: u32) -> i32 {
    sum.wrapping_add(1 << (bits - 1)) >> bits
}

/// For every output position of one axis, which input positions it is made of and with what weights.
struct Taps {
    /// Per output position: the first input position, and where its weights start.
    starts: Vec<(usize, usize)>,
    weights: Vec<i16>,
}

impl Taps {
    /// The taps that shrink or stretch `start..start + length` of an axis of `inputs` pixels to
    /// `outputs` pixels.
    fn new(start: f32, length: f32, inputs: u32, outputs: u32) -> Taps {
        let (low, high) = clipped(start, length, inputs);
        let scale = (high - low) / f64::from(outputs);
        let support = if scale > 1.0 { scale } else { 1.0 };
        let mut taps = Taps { starts: Vec::with_capacity(outputs as usize + 1), weights: Vec::new() };
        let mut window = Vec::new();
        for output in 0..outputs {
            let centre = low + (f64::from(output) + 0.5) * scale;
            // A cast to an unsigned integer cuts the fraction and turns negative numbers to 0.
            let first = (centre - support + 0.5) as u32;
            let end = ((centre + support + 0.5) as u32).min(inputs);
            window.clear();
            for input in first..end {
                let distance = (f64::from(input) + 0.5 - centre) / support;
                let height = 1.0 - if distance < 0.0 { -distance } else { distance };
                window.push(if height > 0.0 { height } else { 0.0 });
            }
            taps.push(first as usize, &window);
        }
        let end = taps.weights.len();
        taps.starts.push((0, end));
        taps
    }

    /// Adds one output position, whose weights are in proportion to `window`.
    fn push(&mut self, first: usize, window: &[f64]) {
        let start = self.weights.len();
        let mut total = 0.0;
        for weight in window {
            total += weight;
        }
        // Rounding the running sum, not each weight, makes the weights sum to exactly one, so that a
        // plain picture stays as it is at any reduction.
        let (mut sum, mut before, mut leading) = (0.0, 0, 0);
        for weight in window {
            sum += weight;
            let until = (sum / total * f64::from(1 << WEIGHT_BITS) + 0.5) as i16;
            let weight = until - before;
            before = until;
            if weight == 0 && self.weights.len() == start {
                leading += 1;
            } else {
                self.weights.push(weight);
            }
        }
        while self.weights.len() > start + 1 && self.weights.last() == Some(&0) {
            self.weights.pop();
        }
        self.starts.push((first + leading, start));
    }

    /// The first input position of an output position, and the weights from there on.
    fn of(&self, output: usize) -> (usize, &[i16]) {
        let (first, start) = self.starts[output];
        (first, &self.weights[start..self.starts[output + 1].1])
    }

    /// The input positions that any output position is made of.
    fn span(&self) -> Range<usize> {
        let outputs = self.starts.len() - 1;
        let last = |output| {
            let (first, weights) = self.of(output);
            first + weights.len()
        };
        let end = (0..outputs).map(last).max().unwrap_or(0);
        let start = (0..outputs).map(|output| self.starts[output].0).min();
        start.unwrap_or(0)..end
    }
}

/// `start..start + length` within `0..inputs`, or the nearest pixel where that is empty.
fn clipped(start: f32, length: f32, inputs: u32) -> (f64, f64) {
    let inputs = f64::from(inputs);
    let (start, length) = (f64::from(start), f64::from(length));
    let low = if start > 0.0 { start } else { 0.0 };
    let high = if start + length < inputs { start + length } else { inputs };
    // Less than this of a pixel has no content of its own.
    if high - low >= 1.0 / 256.0 {
        return (low, high);
    }
    let low = f64::from(low.min(inputs - 1.0) as u32);
    (low, low + 1.0)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::super::pattern;
    use super::*;
    use crate::digits::hexadecimal;

    /// Byte `k` is `(31 k^2 + 17 k) mod 251`.
    fn thirteen_by_eleven() -> Frame {
        let pixels = (0..3 * 13 * 11_u32).map(|k| ((31 * k * k + 17 * k) % 251) as u8);
        Frame::new(13, 11, pixels.collect()).unwrap()
    }

    fn region(x: f32, y: f32, width: f32, height: f32) -> Region {
        Region { x, y, width, height }
    }

    fn furthest(a: &[u8], b: &[u8]) -> u8 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    }

    /// Numbers of Pillow 13.0.0: `px = bytes((31*k*k + 17*k) % 251 for k in range(3*13*11))`, then
    /// `Image.frombytes("RGB", (13, 11), px).resize(size, Image.BILINEAR, box=(x0, y0, x1, y1))`.
    /// Pillow rounds between the passes, so the last bit may differ.
    #[test]
    fn resize_agrees_with_pillow_to_the_last_bit() {
        let whole = [
            130, 91, 96, 131, 139, 116, 148, 155, 144, 138, 134, 148, 111, 141, 136, 106, 135, 103, 128, 128,
            114, 146, 125, 131, 155, 141, 161, 123, 144, 130, 107, 107, 124, 138, 117, 101,
        ];
        let part = [
            131, 96, 67, 167, 146, 99, 126, 144, 181, 162, 155, 143, 133, 161, 145, 129, 101, 99, 99, 138,
            114, 94, 143, 122, 176, 162, 114, 142, 135, 139, 93, 115, 120, 104, 139, 83, 122, 122, 105, 139,
            148, 94, 159, 131, 124, 157, 155, 121, 109, 146, 134, 78, 119, 126, 102, 68, 152, 147, 101, 142,
        ];
        let enlarged = [
            151, 141, 131, 160, 118, 137, 182, 108, 95, 172, 112, 66, 163, 154, 113, 165, 140, 129, 181, 124,
            112, 165, 122, 93, 94, 133, 77, 90, 143, 118, 100, 121, 157, 108, 113, 164,
        ];
        let frame = thirteen_by_eleven();
        let cases: [(Region, u32, u32, &[u8]); 3] = [
            (frame.region(), 4, 3, &whole),
            (region(1.5, 0.25, 10.25, 8.25), 5, 4, &part),
            (region(6.0, 5.0, 2.0, 1.5), 4, 3, &enlarged),
        ];
        for (region, width, height, expected) in cases {
            let actual = resize(&frame, region, width, height);
            assert!(furthest(actual.pixels(), expected) <= 1, "{region:?}");
        }
    }

    /// Pins the bytes themselves: a processor or compiler that computes others fails here.
    #[test]
    fn resize_gives_the_same_bytes_everywhere() {
        let frame = pattern(1, 300);
        let mut hash = Sha256::new();
        for (region, width, height) in [
            (frame.region(), 224, 224),
            (region(10.3, 7.7, 133.3, 211.1), 97, 64),
            (region(50.0, 60.5, 20.0, 30.25), 64, 96),
        ] {
            hash.update(resize(&frame, region, width, height).pixels());
        }
        assert_eq!(
            hexadecimal(&hash.finalize()),
            "c94f640aa5ca85343ccd575241ec3875d5f347270575404851598e1b694de731"
        );
    }

    #[test]
    fn weights_sum_to_exactly_one() {
        for (start, length, inputs, outputs) in [
            (0.0, 500.0, 500, 224),
            (0.0, 65_536.0, MAX_SIDE, 1),
            (3.7, 65_000.1, MAX_SIDE, 7),
            (0.0, 1.0, 1, 224),
            (10.3, 0.7, 20, 9),
            (0.0, 224.0, 224, 224),
        ] {
            let taps = Taps::new(start, length, inputs, outputs);
            for output in 0..outputs as usize {
                let (first, weights) = taps.of(output);
                let sum: i32 = weights.iter().map(|&weight| i32::from(weight)).sum();
                assert_eq!(sum, 1 << WEIGHT_BITS);
                assert!(weights.iter().all(|&weight| weight >= 0));
                assert!(first + weights.len() <= inputs as usize);
            }
        }
    }

    #[test]
    fn a_plain_picture_stays_plain() {
        let pixels = [7, 255, 0].repeat(31 * 17);
        let frame = Frame::new(31, 17, pixels).unwrap();
        for (width, height) in [(224, 224), (5, 3), (1, 1), (31, 17)] {
            let resized = resize(&frame, frame.region(), width, height);
            assert!(resized.pixels().chunks(3).all(|p| p == [7, 255, 0]));
        }
    }

    #[test]
    fn resize_to_the_same_size_is_the_identity() {
        let frame = thirteen_by_eleven();
        assert_eq!(resize(&frame, frame.region(), 13, 11), frame);
        let cropped = resize(&frame, region(2.0, 3.0, 4.0, 1.0), 4, 1);
        for x in 0..4 {
            assert_eq!(cropped.pixel(x, 0), frame.pixel(x + 2, 3));
        }
    }

    #[test]
    fn halving_weighs_four_pixels_one_three_three_one() {
        let pixels = [0, 0, 80, 0, 0, 0, 0, 0].into_iter();
        let frame = Frame::new(8, 1, pixels.flat_map(|v| [v; 3]).collect()).unwrap();
        let halved = resize(&frame, frame.region(), 4, 1);
        let values: Vec<u8> = halved.pixels().chunks(3).map(|p| p[0]).collect();
        // The first output lacks its outer neighbour: 3, 3, 1 of 7.
        assert_eq!(values, [11, 30, 0, 0]);
    }

    #[test]
    fn resize_commutes_with_flipping() {
        let frame = thirteen_by_eleven();
        let a = resize(&frame.flipped(), frame.region(), 6, 5);
        let b = resize(&frame, frame.region(), 6, 5).flipped();
        assert!(furthest(a.pixels(), b.pixels()) <= 1);
    }

    #[test]
    fn no_region_panics() {
        let frame = thirteen_by_eleven();
        let numbers =
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30, -3.0, 0.0, 1e-30, 12.9999, 13.0, 1e30];
        for a in numbers {
            for b in numbers {
                resize(&frame, region(a, b, b, a), 3, 2);
                resize(&frame, region(a, a, b, b), 1, 20);
            }
        }
        let corner = resize(&frame, region(13.0, 11.0, 5.0, 5.0), 1, 1);
        assert_eq!(corner.pixel(0, 0), frame.pixel(12, 10));
    }
}
