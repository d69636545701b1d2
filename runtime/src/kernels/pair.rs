//! A 1 x 1 convolution and the depthwise one that alone takes its result, as one step.
//!
//! The wide activations between the two (six times the channels, in an inverted residual block) are never stored whole:
//! a ring holds the few rows that the windows of one row reach over, and stays in the second-level cache.

use super::dense::{Dense, TASKS_A_THREAD};
use super::depthwise::{Depthwise, Lines};
use super::simd::Simd;

/// Below, the activations between stay in the cache anyway.
const LEAST_BYTES: usize = 512 << 10;

/// Above, reading the weights for every row anew costs more than storing the rows.
const MOST_WEIGHT_BYTES: usize = 48 << 10;

/// Rows of the output that a task makes at least, so that few rows are computed by two tasks.
const LEAST_ROWS: usize = 14;

/// The two, ready to run.
#[derive(Debug)]
pub(super) struct Pair {
    expand: Dense,
    depthwise: Depthwise,
    rows: usize,
}

impl Pair {
    /// Whether the two are cheaper together.
    pub(super) fn suits(expand: &Dense, depthwise: &Depthwise) -> bool {
        let between = expand.window().output;
        expand.window().is_pointwise()
            && depthwise.is_fast()
            && 4 * between.floats() >= LEAST_BYTES
            && 4 * expand.window().input.channels * between.stride <= MOST_WEIGHT_BYTES
    }

    pub(super) fn new(expand: Dense, depthwise: Depthwise, threads: usize) -> Pair {
        let height = depthwise.window().output.height;
        let rows =
            if threads == 1 { height } else { height.div_ceil(TASKS_A_THREAD * threads).max(LEAST_ROWS) };
        Pair { expand, depthwise, rows: rows.min(height) }
    }

    /// Rows in the ring.
    fn ring(&self) -> usize {
        self.depthwise.window().kernel[0]
    }

    /// Floats of scratch for each thread.
    pub(super) fn scratch(&self) -> usize {
        let between = self.expand.window().output;
        self.ring() * between.width * between.stride
    }

    pub(super) fn tasks(&self) -> usize {
        self.depthwise.window().output.height.div_ceil(self.rows)
    }

    /// # Safety
    /// `x`, `residual` (or null) and `out` are the buffers that the windows name; `scratch` is this task's alone.
    pub(super) unsafe fn task<S: Simd>(
        &self,
        x: *const f32,
        residual: *const f32,
        out: *mut f32,
        scratch: *mut f32,
        task: usize,
    ) {
        let window = self.depthwise.window();
        let between = self.expand.window().output;
        let line = between.width * between.stride;
        let lines = Lines { first: scratch, ring: self.ring() };
        let rows = task * self.rows..((task + 1) * self.rows).min(window.output.height);
        let reach = |y: usize| {
            let from = (y * window.stride[0]).saturating_sub(window.before[0]);
            let to = (y * window.stride[0] + window.kernel[0]).saturating_sub(window.before[0]);
            (from, to.min(between.height))
        };
        let (mut next, _) = reach(rows.start);
        for y in rows {
            let (from, to) = reach(y);
            for row in next.max(from)..to {
                // Safety: the ring's row for this one; nothing of it is needed any more.
                unsafe {
                    let place = scratch.add(row % self.ring() * line).wrapping_sub(row * line);
                    self.expand.pixels::<S>(x, place, (row * between.width, (row + 1) * between.width));
                }
            }
            next = next.max(to);
            // Safety: the rows that the windows reach over are in the ring.
            unsafe { self.depthwise.line::<S>(&lines, residual, out, y) }
        }
    }
}
