//! The weight gradient of a dense or grouped convolution.
//!
//! The batch's sum is cut into partial sums or by channels as sizes alone decide, so it does not
//! depend on the number of threads.
#![allow(unsafe_code)] // Products are written straight into their places among the results.

use std::ops::Range;

use rayon::prelude::*;

use super::columns::{Block, COLUMNS};
use super::geometry::Dense;
use super::product::write_product;
use super::storage::{Pieces, Real};
use super::tape::add_to;
use super::winograd::Winograd;

/// Weights of up to this many floats are reduced in [`PARTS`] partial sums over the batch; larger
/// ones are cut by input channels, which needs no sums of their size.
const SMALL_WEIGHT: usize = 128 * 1024;
/// Partial sums of a small weight gradient.
const PARTS: usize = 8;
/// Rows of columns that one task of a large weight gradient takes at least.
const DEPTH: usize = 256;

/// What one task makes of a weight gradient.
struct Cut {
    group: usize,
    /// Input channels of the group.
    channels: Range<usize>,
    pictures: Range<usize>,
    /// Where in all parts it starts.
    start: usize,
    /// Whether it is `[depth, Co / g]`, which is faster but needs sorting out afterwards, and not
    /// `[Co / g, depth]`.
    upright: bool,
}

impl Dense {
    /// `dweight[co, k] = sum_{b, p} dy[b, co, p] columns[k, p]`.
    pub(super) fn weight_gradient<T: Real>(&self, x: &[T], dy: &[T]) -> Vec<T> {
        let conv = &self.conv;
        if let Some(winograd) = Winograd::of(conv) {
            return winograd.weight_gradient(x, dy);
        }
        let len = conv.outputs * self.depth;
        let small = len <= SMALL_WEIGHT;
        let (parts, channels) = if small {
            (PARTS.min(conv.batch), self.inputs)
        } else {
            let tasks = (self.depth / DEPTH).clamp(1, PARTS);
            (1, self.inputs.div_ceil(tasks))
        };
        let pictures = conv.batch.div_ceil(parts);
        let parts = conv.batch.div_ceil(pictures);
        let mut cuts = Vec::new();
        for part in 0..parts {
            for group in 0..conv.groups {
                for first in (0..self.inputs).step_by(channels) {
                    let column = first * conv.window.taps();
                    cuts.push(Cut {
                        group,
                        channels: first..(first + channels).min(self.inputs),
                        pictures: part * pictures..((part + 1) * pictures).min(conv.batch),
                        start: part * len + group * self.outputs * self.depth + column,
                        upright: small,
                    });
                }
            }
        }
        let mut sums = vec![T::zero(); parts * len];
        let all = Pieces::of(&mut sums, 1);
        cuts.into_par_iter().for_each(|cut| {
            // A cut is a group in a part, if that is cut by channels only their columns: elements
            // that no other task has.
            self.add_weight_gradient(x, dy, &cut, all.start_of(cut.start));
        });
        if small { self.laid_down(&sum_of_parts(sums, len)) } else { sums }
    }

    /// `[g, Co / g, depth]` from `[g, depth, Co / g]`.
    fn laid_down<T: Real>(&self, upright: &[T]) -> Vec<T> {
        let mut weight = vec![T::zero(); upright.len()];
        let group = self.depth * self.outputs;
        for (weight, upright) in weight.chunks_exact_mut(group).zip(upright.chunks_exact(group)) {
            for (output, row) in weight.chunks_exact_mut(self.depth).enumerate() {
                let column = upright[output..].iter().step_by(self.outputs);
                for (to, from) in row.iter_mut().zip(column) {
                    *to = *from;
                }
            }
        }
        weight
    }

    /// Adds a cut's gradient to what starts at `into`.
    fn add_weight_gradient<T: Real>(&self, x: &[T], dy: &[T], cut: &Cut, into: *mut T) {
        let Cut { group, pictures, .. } = cut;
        let positions = self.conv.window.positions();
        let depth = cut.channels.len() * self.conv.window.taps();
        let first = group * self.inputs;
        let channels = first + cut.channels.start..first + cut.channels.end;
        let at_once = COLUMNS.div_ceil(positions).min(pictures.len());
        for first in pictures.clone().step_by(at_once) {
            let pictures = first..(first + at_once).min(pictures.end);
            for rows in self.bands(depth, pictures.len()) {
                let block = Block { pictures: pictures.clone(), rows };
                let room = self.gathered(&block);
                self.with_columns(x, &block, channels.clone(), room, |columns, gathered| {
                    let dy = self.outputs_of(dy, &block, *group, gathered);
                    let (a, b, row_stride) = if cut.upright {
                        (columns, dy.transposed(), self.outputs)
                    } else {
                        (dy, columns.transposed(), self.depth)
                    };
                    // SAFETY: the caller's task owns the cut's elements, which start as zeros.
                    unsafe { write_product(a, b, into, row_stride, true) };
                });
            }
        }
    }
}

/// The sum of parts of `len` each, added in their order.
fn sum_of_parts<T: Real>(mut parts: Vec<T>, len: usize) -> Vec<T> {
    let (sum, rest) = parts.split_at_mut(len);
    for part in rest.chunks_exact(len) {
        add_to(sum, part);
    }
    parts.truncate(len);
    parts
}
