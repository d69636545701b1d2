//! Depthwise convolution: one kernel a channel, so plain loops over planes.
//!
//! A plane is laid out in padded phases (see [`Phases`]); every kernel tap then reads one run of
//! neighbours for all window positions, the few between rows being computed and dropped.
#![allow(unsafe_code)] // A channel's planes are written by one task, but do not lie side by side.

use rayon::prelude::*;

use super::geometry::Conv;
use super::simd::widest;
use super::storage::{Pieces, Real, fresh, written};
use super::window::{LANES, Phases, SLACK, add_phases, fill_phases};

/// A depthwise convolution and where its taps lie.
pub(super) struct Depthwise {
    conv: Conv,
    phases: Phases,
    /// Where each tap's pixels start in the phases.
    offsets: Vec<usize>,
    /// For each phase: its taps, and where the `dy` that each hands to its start lies when spread
    /// out.
    taps_of_phases: Vec<(Vec<usize>, Vec<usize>)>,
    /// Zeros before the first row of `dy` when it is laid out for the way back.
    lead: usize,
    /// Window positions with the gaps between their rows.
    run: usize,
}

impl Depthwise {
    pub(super) fn of(conv: &Conv) -> Depthwise {
        let window = &conv.window;
        let phases = Phases::of(window, 0..window.output[0]);
        let taps = phases.taps();
        let lead = taps.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
        let mut taps_of_phases = vec![(Vec::new(), Vec::new()); phases.count()];
        for (tap, (phase, offset)) in taps.into_iter().enumerate() {
            taps_of_phases[phase].0.push(tap);
            taps_of_phases[phase].1.push(lead - offset);
        }
        Depthwise { conv: *conv, offsets: phases.offsets(), taps_of_phases, lead, run: phases.run(), phases }
    }

    pub(super) fn forward<T: Real>(&self, x: &[T], weight: &[T]) -> Vec<T> {
        let Conv { batch, inputs, window, .. } = &self.conv;
        let (area, positions, taps) = (window.area(), window.positions(), window.taps());
        let mut y = fresh(batch * inputs * positions);
        y.par_chunks_mut(positions).zip(x.par_chunks(area)).enumerate().for_each(|(index, (y, x))| {
            let kernel = &weight[(index % inputs) * taps..][..taps];
            let room = [self.phases.len() + SLACK, self.run];
            T::with_scratch(room.iter().sum(), |scratch| {
                let (plane, out) = scratch.split_at_mut(room[0]);
                fill_phases(&self.phases, x, T::zero(), plane);
                correlate(plane, &self.offsets, kernel, out);
                self.phases.take_rows(out, y, |y, value| {
                    y.write(value);
                });
            });
        });
        // SAFETY: every task wrote the rows of its plane.
        unsafe { written(y) }
    }

    /// The gradients asked for: of the input, of the weights.
    pub(super) fn backward<T: Real>(
        &self,
        x: &[T],
        weight: &[T],
        dy: &[T],
        need_dx: bool,
        need_dw: bool,
    ) -> (Option<Vec<T>>, Option<Vec<T>>) {
        let Conv { batch, inputs, window, .. } = &self.conv;
        let (area, positions, taps) = (window.area(), window.positions(), window.taps());
        let mut dx = vec![T::zero(); if need_dx { x.len() } else { 0 }];
        let mut dw = vec![T::zero(); weight.len()];
        let planes = Pieces::of(&mut dx, area);
        dw.par_chunks_mut(taps).enumerate().for_each(|(channel, dw)| {
            let kernel = &weight[channel * taps..][..taps];
            let phases = self.taps_of_phases.iter();
            let weights: Vec<Vec<T>> =
                phases.map(|(taps, _)| taps.iter().map(|tap| kernel[*tap]).collect()).collect();
            let spread = self.lead + self.phases.area().max(self.run) + SLACK;
            let room = [spread, self.phases.len() + SLACK, taps * LANES];
            T::with_scratch(room.iter().sum(), |scratch| {
                // Zeros: between the rows of `dy`, where the last lanes read beyond the plane,
                // sums.
                scratch.fill(T::zero());
                let (spread, scratch) = scratch.split_at_mut(room[0]);
                let (plane, lanes) = scratch.split_at_mut(room[1]);
                let (lanes, _) = lanes.as_chunks_mut::<LANES>();
                for picture in 0..*batch {
                    let index = picture * inputs + channel;
                    self.spread_rows(&dy[index * positions..][..positions], spread);
                    if need_dw {
                        fill_phases(&self.phases, &x[index * area..][..area], T::zero(), plane);
                        let dy = &spread[self.lead..][..self.run];
                        add_tap_gradients(dy, plane, &self.offsets, lanes);
                    }
                    if need_dx {
                        self.phase_gradients(spread, &weights, plane);
                        // SAFETY: this task alone has this channel's planes.
                        add_phases(&self.phases, plane, unsafe { planes.take(index) });
                    }
                }
                for (dw, lanes) in dw.iter_mut().zip(lanes) {
                    *dw = T::from_f64(lanes.iter().map(|lane| lane.to_f64()).sum());
                }
            });
        });
        (need_dx.then_some(dx), need_dw.then_some(dw))
    }

    /// The gradient of every phase from the spread-out rows of `dy` and each phase's weights.
    fn phase_gradients<T: Real>(&self, spread: &[T], weights: &[Vec<T>], plane: &mut [T]) {
        let area = self.phases.area();
        let phases = self.taps_of_phases.iter().zip(weights);
        for (phase, ((_, offsets), weights)) in phases.enumerate() {
            // Lanes beyond the phase are overwritten by the next, or fall into the slack.
            let out = &mut plane[phase * area..][..area.next_multiple_of(LANES)];
            correlate(spread, offsets, weights, out);
        }
        plane[self.phases.len()..].fill(T::zero());
    }

    /// Rows of window positions into a run with gaps of zeros.
    fn spread_rows<T: Real>(&self, rows: &[T], spread: &mut [T]) {
        let width = self.conv.window.output[1];
        let runs = spread[self.lead..].chunks_mut(self.phases.columns());
        for (row, run) in rows.chunks_exact(width).zip(runs) {
            run[..width].copy_from_slice(row);
        }
    }
}

widest! {
    /// `out[i] = sum_t weights[t] source[offsets[t] + i]`, `out` in whole lanes.
    fn correlate<T>(source: &[T], offsets: &[usize], weights: &[T], out: &mut [T]) {
        const WIDE: usize = 4;
        let whole = out.len() / (WIDE * LANES) * (WIDE * LANES);
        for start in (0..whole).step_by(WIDE * LANES) {
            let mut sums = [[T::zero(); LANES]; WIDE];
            for (offset, weight) in offsets.iter().zip(weights) {
                let source = &source[start + offset..][..WIDE * LANES];
                for (sums, source) in sums.iter_mut().zip(source.as_chunks::<LANES>().0) {
                    for (sum, source) in sums.iter_mut().zip(source) {
                        *sum += *weight * *source;
                    }
                }
            }
            out[start..start + WIDE * LANES].copy_from_slice(sums.as_flattened());
        }
        for start in (whole..out.len()).step_by(LANES) {
            let mut sums = [T::zero(); LANES];
            for (offset, weight) in offsets.iter().zip(weights) {
                let source = &source[start + offset..][..LANES];
                for (sum, source) in sums.iter_mut().zip(source) {
                    *sum += *weight * *source;
                }
            }
            out[start..start + LANES].copy_from_slice(&sums);
        }
    }
}

widest! {
    /// `sums[t] += sum_i dy[i] plane[offsets[t] + i]`, in lanes.
    fn add_tap_gradients<T>(dy: &[T], plane: &[T], offsets: &[usize], sums: &mut [[T; LANES]]) {
        let (dy, _) = dy.as_chunks::<LANES>();
        for (sums, offset) in sums.iter_mut().zip(offsets) {
            let (source, _) = plane[*offset..].as_chunks::<LANES>();
            let mut lanes = *sums;
            for (dy, source) in dy.iter().zip(source) {
                for lane in 0..LANES {
                    lanes[lane] += dy[lane] * source[lane];
                }
            }
            *sums = lanes;
        }
    }
}
