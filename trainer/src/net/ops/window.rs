//! A window sliding over a padded plane: sizes, and the plane laid out for it.

use std::ops::Range;

use candle_core::{Result, bail};

use super::simd::widest;

/// Padding before and after a side of length `side` that gives `ceil(side / stride)` positions, as
/// `TensorFlow`'s `SAME`: the odd pixel goes after.
pub fn same_padding(side: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let stride = stride.max(1);
    let reach = side.div_ceil(stride).saturating_sub(1) * stride + kernel;
    let total = reach.saturating_sub(side);
    (total / 2, total - total / 2)
}

/// A checked kernel over a checked plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Height and width of the plane.
    pub input: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: usize,
    /// Top, left, bottom, right.
    pub padding: [usize; 4],
    /// Positions of the window downwards and across.
    pub output: [usize; 2],
}

impl Window {
    pub(super) fn new(
        name: &str,
        input: [usize; 2],
        kernel: [usize; 2],
        stride: usize,
        padding: [usize; 4],
    ) -> Result<Window> {
        let [top, left, bottom, right] = padding;
        if kernel.contains(&0) || stride == 0 {
            bail!("{name}: kernel {kernel:?} with stride {stride}, expected at least 1 each");
        }
        let padded = [input[0] + top + bottom, input[1] + left + right];
        if kernel[0] > padded[0] || kernel[1] > padded[1] {
            bail!(
                "{name}: the kernel {kernel:?} is larger than the padded input {padded:?} \
                 ({input:?} with padding {padding:?}); use larger pictures"
            );
        }
        let output = [0, 1].map(|axis| (padded[axis] - kernel[axis]) / stride + 1);
        Ok(Window { input, kernel, stride, padding, output })
    }

    /// Pixels of the input plane.
    pub(super) fn area(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Pixels of the output plane.
    pub(super) fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Elements of the kernel.
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether every position sees exactly the pixel below it.
    pub(super) fn is_identity(&self) -> bool {
        self.taps() == 1 && self.stride == 1 && self.padding == [0; 4]
    }
}

/// Lanes of loops over runs: one AVX-512 register of f32.
pub(super) const LANES: usize = 16;

/// How far a row may be read or written beyond its end by copies of whole vectors.
pub(super) const SLACK: usize = 64;

/// A padded band of a plane, taken apart by the stride.
///
/// Phase `(p, q)` holds the padded pixels whose row is `p` and column is `q` modulo the stride, so
/// the pixels under one kernel tap are neighbours for a whole row of window positions, and with one
/// gap between rows for all of them: strided and padded convolutions become plain loops.
pub(super) struct Phases {
    window: Window,
    /// First padded row.
    first: usize,
    /// Phases downwards and across: fewer than the stride when the kernel never sees the others.
    grid: [usize; 2],
    /// Rows and columns of each phase.
    rows: usize,
    columns: usize,
}

impl Phases {
    /// For the window positions in `rows` of the output.
    pub(super) fn of(window: &Window, rows: Range<usize>) -> Phases {
        let [kernel_rows, kernel_columns] = window.kernel;
        let stride = window.stride;
        Phases {
            window: *window,
            first: rows.start * stride,
            grid: [stride.min(kernel_rows), stride.min(kernel_columns)],
            rows: rows.len() + (kernel_rows - 1) / stride,
            columns: window.output[1] + (kernel_columns - 1) / stride,
        }
    }

    /// Pixels of one phase.
    pub(super) fn area(&self) -> usize {
        self.rows * self.columns
    }

    /// Pixels of all phases.
    pub(super) fn len(&self) -> usize {
        self.grid[0] * self.grid[1] * self.area()
    }

    /// Columns of each phase: the distance between rows of window positions.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The phase of every kernel tap, and where in it the pixel under the first position lies.
    pub(super) fn taps(&self) -> Vec<(usize, usize)> {
        let stride = self.window.stride;
        let mut taps = Vec::with_capacity(self.window.taps());
        for row in 0..self.window.kernel[0] {
            for column in 0..self.window.kernel[1] {
                let phase = (row % stride) * self.grid[1] + column % stride;
                taps.push((phase, (row / stride) * self.columns + column / stride));
            }
        }
        taps
    }

    /// Where in all phases the pixel under the first position of every kernel tap lies.
    pub(super) fn offsets(&self) -> Vec<usize> {
        let taps = self.taps().into_iter();
        taps.map(|(phase, offset)| phase * self.area() + offset).collect()
    }

    /// From the first window position to the last, with the gaps between rows, in whole lanes.
    pub(super) fn run(&self) -> usize {
        let [rows, columns] = self.window.output;
        ((rows - 1) * self.columns + columns).next_multiple_of(LANES)
    }

    /// Hands on the rows of window positions in a run of all of them, without the gaps.
    #[inline(always)]
    pub(super) fn take_rows<T: Copy, U>(&self, run: &[T], rows: &mut [U], write: impl Fn(&mut U, T)) {
        let width = self.window.output[1];
        for (row, run) in rows.chunks_exact_mut(width).zip(run.chunks(self.columns)) {
            for (to, from) in row.iter_mut().zip(run) {
                write(to, *from);
            }
        }
    }

    /// Number of phases.
    pub(super) fn count(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// For a phase across: the columns that are not padding, and the input column of the first.
    #[inline(always)]
    fn inside(&self, phase: usize) -> (Range<usize>, usize) {
        let (stride, left, width) = (self.window.stride, self.window.padding[1], self.window.input[1]);
        let start = left.saturating_sub(phase).div_ceil(stride).min(self.columns);
        let end = (width + left).saturating_sub(phase).div_ceil(stride);
        let end = end.clamp(start, self.columns);
        (start..end, (start * stride + phase).saturating_sub(left))
    }

    /// The input row that a row of a phase shows, unless it is padding.
    #[inline(always)]
    fn input_row(&self, phase: usize, row: usize) -> Option<usize> {
        let padded = self.first + row * self.window.stride + phase;
        let row = padded.checked_sub(self.window.padding[0])?;
        (row < self.window.input[0]).then_some(row)
    }
}

widest! {
    /// Lays a plane out, with `pad` around it.
    pub(super) fn fill_phases<T>(phases: &Phases, plane: &[T], pad: T, out: &mut [T]) {
        let (width, stride) = (phases.window.input[1], phases.window.stride);
        let mut lines = out.chunks_exact_mut(phases.columns);
        for down in 0..phases.grid[0] {
            for across in 0..phases.grid[1] {
                let (inside, column) = phases.inside(across);
                for row in 0..phases.rows {
                    let line = lines.next().expect("a line for each row of each phase");
                    let row = phases.input_row(down, row);
                    let Some(row) = row.filter(|_| !inside.is_empty()) else {
                        line.fill(pad);
                        continue;
                    };
                    line[..inside.start].fill(pad);
                    line[inside.end..].fill(pad);
                    let pixels = &plane[row * width + column..(row + 1) * width];
                    let line = &mut line[inside.clone()];
                    match stride {
                        1 => line.copy_from_slice(&pixels[..line.len()]),
                        2 => {
                            let last = line.len() - 1;
                            for (to, from) in line[..last].iter_mut().zip(pixels.chunks_exact(2)) {
                                *to = from[0];
                            }
                            line[last] = pixels[2 * last];
                        }
                        _ => {
                            for (to, from) in line.iter_mut().zip(pixels.iter().step_by(stride)) {
                                *to = *from;
                            }
                        }
                    }
                }
            }
        }
    }
}

widest! {
    /// Adds what lies in the phases back to the plane; what lies in the padding is dropped.
    pub(super) fn add_phases<T>(phases: &Phases, from: &[T], plane: &mut [T]) {
        let (width, stride) = (phases.window.input[1], phases.window.stride);
        let mut lines = from.chunks_exact(phases.columns);
        for down in 0..phases.grid[0] {
            for across in 0..phases.grid[1] {
                let (inside, column) = phases.inside(across);
                for row in 0..phases.rows {
                    let line = lines.next().expect("a line for each row of each phase");
                    let row = phases.input_row(down, row);
                    let Some(row) = row.filter(|_| !inside.is_empty()) else {
                        continue;
                    };
                    let pixels = &mut plane[row * width + column..(row + 1) * width];
                    let line = &line[inside.clone()];
                    if stride == 1 {
                        for (to, from) in pixels.iter_mut().zip(line) {
                            *to += *from;
                        }
                    } else {
                        for (to, from) in pixels.iter_mut().step_by(stride).zip(line) {
                            *to += *from;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_puts_the_odd_pixel_after() {
        // (side, kernel, stride) -> TensorFlow's SAME.
        let cases = [
            ((224, 3, 2), (0, 1)),
            ((112, 3, 1), (1, 1)),
            ((56, 5, 2), (1, 2)),
            ((7, 5, 1), (2, 2)),
            ((5, 1, 2), (0, 0)),
            ((15, 3, 2), (1, 1)),
        ];
        for ((side, kernel, stride), expected) in cases {
            assert_eq!(same_padding(side, kernel, stride), expected, "side {side}");
        }
    }

    #[test]
    fn every_tap_of_every_position_is_found_in_the_phases() {
        for (input, kernel, stride, padding) in [
            ([5, 7], [3, 3], 1, [1, 1, 1, 1]),
            ([6, 5], [3, 2], 2, [0, 1, 1, 0]),
            ([8, 9], [1, 1], 2, [0, 0, 0, 0]),
            ([7, 7], [5, 3], 3, [2, 0, 3, 1]),
            ([4, 4], [2, 2], 3, [4, 3, 0, 5]),
        ] {
            let window = Window::new("test", input, kernel, stride, padding).unwrap();
            let plane: Vec<f64> = (1..=window.area()).map(|value| value as f64).collect();
            let first = window.output[0] / 2;
            let phases = Phases::of(&window, first..window.output[0]);
            let mut out = vec![f64::NAN; phases.len()];
            fill_phases(&phases, &plane, 0.0, &mut out);
            for (tap, offset) in phases.offsets().into_iter().enumerate() {
                for row in first..window.output[0] {
                    for column in 0..window.output[1] {
                        let y = (row * stride + tap / kernel[1]).checked_sub(padding[0]);
                        let x = (column * stride + tap % kernel[1]).checked_sub(padding[1]);
                        let expected = match (y, x) {
                            (Some(y), Some(x)) if y < input[0] && x < input[1] => plane[y * input[1] + x],
                            _ => 0.0,
                        };
                        let at = offset + (row - first) * phases.columns() + column;
                        assert_eq!(out[at].to_bits(), expected.to_bits(), "{window:?}");
                    }
                }
            }
        }
    }
}
