//! Dense and grouped convolution as matrix products over windows laid out in columns.
//!
//! Work is cut by pictures and channels in a way that only sizes decide, and every sum is made by
//! one task in one order: results do not depend on the number of threads.
#![allow(unsafe_code)] // Products are written straight into their places among the results.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::columns::{Block, COLUMNS, add_columns};
use super::geometry::{Conv, Dense};
use super::product::{Matrix, write_product};
use super::storage::{Real, fresh, write_copy, written};
use super::window::{Phases, Window, add_phases};
use super::winograd::Winograd;

/// Channels of both sides turned at once, so that neither side jumps through memory for a kernel.
const TILE: usize = 16;

impl Dense {
    /// `y[b, co, p] = sum_k weight[co, k] columns[k, p]`.
    pub(super) fn forward<T: Real>(&self, x: &[T], weight: &[T]) -> Vec<T> {
        let conv = &self.conv;
        if let Some(winograd) = Winograd::of(conv) {
            return winograd.forward(x, weight);
        }
        let (picture_in, picture_out) = self.picture_sizes();
        let pictures = self.pictures_per_task();
        let mut y = fresh(conv.batch * picture_out);
        y.par_chunks_mut(pictures * picture_out)
            .zip(x.par_chunks(pictures * picture_in))
            .for_each(|(y, x)| self.forward_pictures(x, weight, y));
        // SAFETY: every task wrote its pictures' outputs, all rows of all channels.
        unsafe { written(y) }
    }

    fn forward_pictures<T: Real>(&self, x: &[T], weight: &[T], y: &mut [MaybeUninit<T>]) {
        let positions = self.conv.window.positions();
        let pictures = x.len() / self.picture_sizes().0;
        for rows in self.bands(self.depth, pictures) {
            let block = Block { pictures: 0..pictures, rows };
            let width = self.width(&block);
            // Products of several pictures have their columns mixed and are sorted out afterwards.
            let mixed = if pictures > 1 { self.outputs * width } else { 0 };
            for group in 0..self.conv.groups {
                let weight = Matrix::of(
                    &weight[group * self.outputs * self.depth..],
                    self.outputs,
                    self.depth,
                    self.depth,
                );
                let channels = group * self.inputs..(group + 1) * self.inputs;
                self.with_columns(x, &block, channels, mixed, |columns, mixed| {
                    let first = group * self.outputs * positions;
                    if pictures == 1 {
                        let start = first + block.rows.start * self.conv.window.output[1];
                        let into = y[start..first + self.outputs * positions].as_mut_ptr();
                        // SAFETY: the block's columns of this group's rows lie in this task's `y`.
                        unsafe { write_product(weight, columns, into.cast(), positions, false) };
                    } else {
                        // SAFETY: `mixed` has room for the product and is this task's own.
                        unsafe { write_product(weight, columns, mixed.as_mut_ptr(), width, false) };
                        for (picture, y) in y.chunks_exact_mut(self.picture_sizes().1).enumerate() {
                            let planes = y[first..].chunks_exact_mut(positions);
                            for (plane, row) in planes.zip(mixed.chunks_exact(width)) {
                                let row = &row[picture * positions..][..positions];
                                write_copy(plane, row);
                            }
                        }
                    }
                });
            }
        }
    }

    /// `dx`: the convolution of `dy` with the turned kernels where the stride is 1; else the
    /// columns' gradients, added back to where the columns came from.
    pub(super) fn input_gradient<T: Real>(&self, weight: &[T], dy: &[T]) -> Vec<T> {
        if let Some(turned) = self.turned() {
            return turned.forward(dy, &self.turned_weight(weight));
        }
        let (picture_in, picture_out) = self.picture_sizes();
        let pictures = self.pictures_per_task();
        let mut dx = vec![T::zero(); self.conv.batch * picture_in];
        dx.par_chunks_mut(pictures * picture_in)
            .zip(dy.par_chunks(pictures * picture_out))
            .for_each(|(dx, dy)| self.add_input_gradient(weight, dy, dx));
        dx
    }

    fn add_input_gradient<T: Real>(&self, weight: &[T], dy: &[T], dx: &mut [T]) {
        let window = &self.conv.window;
        let (picture_in, _) = self.picture_sizes();
        let pictures = dx.len() / picture_in;
        for rows in self.bands(self.depth, pictures) {
            let block = Block { pictures: 0..pictures, rows };
            let width = self.width(&block);
            let phases = Phases::of(window, block.rows.clone());
            let offsets = phases.offsets();
            let room = [self.depth * width, phases.len(), self.gathered(&block)];
            T::with_scratch(room.iter().sum(), |scratch| {
                let (columns, scratch) = scratch.split_at_mut(room[0]);
                let (plane, gathered) = scratch.split_at_mut(room[1]);
                for group in 0..self.conv.groups {
                    let weight = &weight[group * self.outputs * self.depth..];
                    let weight = Matrix::of(weight, self.outputs, self.depth, self.depth);
                    let dy = self.outputs_of(dy, &block, group, gathered);
                    let into = columns.as_mut_ptr();
                    // SAFETY: `columns` has room for the product and is this task's own.
                    unsafe { write_product(weight.transposed(), dy, into, width, false) };
                    let channels = columns.chunks_exact(window.taps() * width);
                    for (channel, columns) in channels.enumerate() {
                        for picture in 0..pictures {
                            plane.fill(T::zero());
                            let first = picture * (width / pictures);
                            let columns = columns.chunks_exact(width).map(|row| &row[first..]);
                            let sizes = [block.rows.len(), window.output[1]];
                            add_columns(columns, &offsets, &phases, sizes, plane);
                            let channel = group * self.inputs + channel;
                            let dx = &mut dx[picture * picture_in + channel * window.area()..];
                            add_phases(&phases, plane, &mut dx[..window.area()]);
                        }
                    }
                }
            });
        }
    }

    /// The convolution that takes `dy` to `dx`, where there is one.
    fn turned(&self) -> Option<Dense> {
        let Window { input, kernel, stride, padding, output } = self.conv.window;
        if stride != 1 {
            return None;
        }
        let [top, left, bottom, right] = padding;
        let padding = [
            (kernel[0] - 1).checked_sub(top)?,
            (kernel[1] - 1).checked_sub(left)?,
            (kernel[0] - 1).checked_sub(bottom)?,
            (kernel[1] - 1).checked_sub(right)?,
        ];
        let window = Window { input: output, kernel, stride, padding, output: input };
        Some(Dense::of(&Conv { inputs: self.conv.outputs, outputs: self.conv.inputs, window, ..self.conv }))
    }

    /// The weights with input and output channels exchanged and every kernel turned by half a turn.
    fn turned_weight<T: Real>(&self, weight: &[T]) -> Vec<T> {
        let taps = self.conv.window.taps();
        let group = self.inputs * self.outputs * taps;
        let mut turned = vec![T::zero(); weight.len()];
        for (turned, weight) in turned.chunks_mut(group).zip(weight.chunks(group)) {
            let tiles = turned.par_chunks_mut(TILE * self.outputs * taps);
            tiles.enumerate().for_each(|(tile, turned)| self.turn_tile(weight, tile, turned));
        }
        turned
    }

    /// The turned kernels of a tile of one group's input channels.
    fn turn_tile<T: Real>(&self, weight: &[T], tile: usize, turned: &mut [T]) {
        let taps = self.conv.window.taps();
        for first in (0..self.outputs).step_by(TILE) {
            for (row, turned) in turned.chunks_exact_mut(self.outputs * taps).enumerate() {
                let input = tile * TILE + row;
                for output in first..(first + TILE).min(self.outputs) {
                    let kernel = &weight[(output * self.inputs + input) * taps..][..taps];
                    let turned = &mut turned[output * taps..][..taps];
                    for (to, from) in turned.iter_mut().zip(kernel.iter().rev()) {
                        *to = *from;
                    }
                }
            }
        }
    }

    /// Pictures one task takes: enough columns for the matrix product, but an even number of tasks,
    /// since most machines have an even number of cores.
    fn pictures_per_task(&self) -> usize {
        let batch = self.conv.batch;
        let at_once = COLUMNS.div_ceil(self.conv.window.positions());
        let tasks = batch.div_ceil(at_once).next_multiple_of(2);
        batch.div_ceil(tasks)
    }
}
