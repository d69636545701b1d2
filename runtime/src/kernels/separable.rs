//! A separable convolution as one step: a depthwise one with the 1 x 1 convolution before it, the one after it,
//! or both, where each alone takes the other's result.
//! With both it is an inverted residual block.
//!
//! The wide activations between them (six times the channels) are never stored whole: a ring holds the few rows that
//! the windows of one row reach over, a second place the rows that are projected at once, and both stay in the cache.

use core::ptr;

use super::dense::{Dense, TASKS_A_THREAD};
use super::depthwise::{Depthwise, Row};
use super::simd::Simd;
use super::window::{Buffers, Shape};

/// Below, activations stay in the cache anyway.
const LEAST_BYTES: usize = 512 << 10;

/// Above, reading the weights for every row anew costs more than storing the rows.
const MOST_WEIGHT_BYTES: usize = 48 << 10;

/// Rows of the output that a task makes at least after an expansion, so that few rows are computed by two tasks.
const LEAST_ROWS: usize = 14;

/// Pixels that are projected at once, at least: as many as make tiles full.
const LEAST_PIXELS: usize = 96;

/// The two or three, ready to run.
#[derive(Debug)]
pub(super) struct Separable {
    expand: Option<Dense>,
    depthwise: Depthwise,
    project: Option<Dense>,
    /// Rows of a task.
    rows: usize,
}

impl Separable {
    /// Whether the two are cheaper together.
    pub(super) fn expands(expand: &Dense, depthwise: &Depthwise) -> bool {
        depthwise.is_fast() && is_cheap(expand, expand.window().output)
    }

    /// With the convolution whose result it takes.
    pub(super) fn expanded(expand: Dense, depthwise: Depthwise, threads: usize) -> Separable {
        let height = depthwise.window().output.height;
        let rows =
            if threads == 1 { height } else { height.div_ceil(TASKS_A_THREAD * threads).max(LEAST_ROWS) };
        Separable { expand: Some(expand), depthwise, project: None, rows: rows.min(height) }
    }

    /// Whether the two are cheaper together.
    pub(super) fn projects(depthwise: &Depthwise, project: &Dense) -> bool {
        is_cheap(project, depthwise.window().output)
    }

    /// With the convolution that takes its result.
    pub(super) fn projected(depthwise: Depthwise, project: Dense, threads: usize) -> Separable {
        let height = depthwise.window().output.height;
        let rows = if threads == 1 { height } else { height.div_ceil(TASKS_A_THREAD * threads) };
        Separable { expand: None, depthwise, project: Some(project), rows }
    }

    /// As [`Separable::projects`], where there is no projection yet.
    pub(super) fn takes(&self, project: &Dense) -> bool {
        self.project.is_none() && Separable::projects(&self.depthwise, project)
    }

    /// With the convolution that takes its result, too.
    pub(super) fn with(self, project: Dense) -> Separable {
        Separable { project: Some(project), ..self }
    }

    /// Rows in the ring.
    fn ring(&self) -> usize {
        self.depthwise.window().kernel[0]
    }

    /// Floats of the ring.
    fn ring_floats(&self) -> usize {
        self.expand.as_ref().map_or(0, |expand| self.ring() * line(expand.window().output))
    }

    /// Rows that are projected at once.
    fn together(&self) -> usize {
        if self.project.is_some() { LEAST_PIXELS.div_ceil(self.depthwise.window().output.width) } else { 1 }
    }

    /// Floats of scratch for each thread.
    pub(super) fn scratch(&self) -> usize {
        let made = if self.project.is_some() { line(self.depthwise.window().output) } else { 0 };
        self.ring_floats() + self.together() * made
    }

    pub(super) fn tasks(&self) -> usize {
        self.depthwise.window().output.height.div_ceil(self.rows)
    }

    /// # Safety
    /// They are the buffers that the windows name; `scratch` is this task's alone.
    pub(super) unsafe fn task<S: Simd>(&self, buffers: Buffers, scratch: *mut f32, task: usize) {
        let made = self.depthwise.window().output;
        let end = ((task + 1) * self.rows).min(made.height);
        let mut next = 0;
        for first in (task * self.rows..end).step_by(self.together()) {
            let rows = first..(first + self.together()).min(end);
            // Safety: the caller's promise; scratch has room for the ring, and for so many rows behind it.
            unsafe {
                let Some(project) = &self.project else {
                    rows.for_each(|y| self.row::<S>(buffers, scratch, y, &mut next));
                    continue;
                };
                let place = scratch.add(self.ring_floats()).wrapping_sub(first * line(made));
                let pixels = rows.start * made.width..rows.end * made.width;
                let between = Buffers { residual: ptr::null(), out: place, ..buffers };
                rows.for_each(|y| self.row::<S>(between, scratch, y, &mut next));
                project.pixels::<S>(Buffers { x: place, ..buffers }, pixels);
            }
        }
    }

    /// Row `y` of what the depthwise convolution makes; rows of its input before `next` have been made.
    ///
    /// # Safety
    /// As [`Separable::task`].
    unsafe fn row<S: Simd>(&self, buffers: Buffers, scratch: *mut f32, y: usize, next: &mut usize) {
        let window = self.depthwise.window();
        let Some(expand) = &self.expand else {
            // Safety: the caller's promise.
            return unsafe { self.depthwise.line::<S>(&Row { buffers, ring: window.input.height, y }) };
        };
        let (ring, between) = (self.ring(), expand.window().output);
        let from = (y * window.stride[0]).saturating_sub(window.before[0]);
        let to = (y * window.stride[0] + window.kernel[0]).saturating_sub(window.before[0]);
        let to = to.min(between.height);
        for row in from.max(*next)..to {
            // Safety: the ring's row for this one; nothing of it is needed any more.
            unsafe {
                let out = scratch.add(row % ring * line(between)).wrapping_sub(row * line(between));
                let pixels = row * between.width..(row + 1) * between.width;
                expand.pixels::<S>(Buffers { x: buffers.x, residual: ptr::null(), out }, pixels);
            }
        }
        *next = to.max(*next);
        // Safety: the rows that the windows reach over are in the ring.
        unsafe { self.depthwise.line::<S>(&Row { buffers: Buffers { x: scratch, ..buffers }, ring, y }) }
    }
}

/// Whether a 1 x 1 convolution is cheaper where the wide activations on one side of it are made or taken.
fn is_cheap(convolution: &Dense, wide: Shape) -> bool {
    let window = convolution.window();
    window.is_pointwise()
        && 4 * wide.floats() >= LEAST_BYTES
        && 4 * window.input.channels * window.output.stride <= MOST_WEIGHT_BYTES
}

/// Floats of a row.
fn line(shape: Shape) -> usize {
    shape.width * shape.stride
}
