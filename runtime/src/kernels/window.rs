//! Shapes of activations, and windows over them.

/// Activations in a buffer: `height x width` pixels of `channels` floats, `stride` floats from one pixel to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Floats of a pixel that mean something.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Floats from one pixel to the next.
    pub stride: usize,
}

impl Shape {
    /// Pixels in all.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Floats of the buffer.
    pub fn floats(&self) -> usize {
        self.pixels() * self.stride
    }
}

/// Where a step's pictures lie: what it reads, what it adds (or null), what it writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffers {
    pub(super) x: *const f32,
    pub(super) residual: *const f32,
    pub(super) out: *mut f32,
}

/// A window that moves over one picture and gives a pixel of another at each place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// What it moves over.
    pub input: Shape,
    /// What it gives.
    pub output: Shape,
    /// Height and width.
    pub kernel: [usize; 2],
    /// Pixels from one place to the next, down and across.
    pub stride: [usize; 2],
    /// Pixels from one tap to the next, down and across.
    pub dilation: [usize; 2],
    /// Rows and columns of padding before the first pixel; after the last it is what the output needs.
    pub before: [usize; 2],
}

impl Window {
    /// One tap, every pixel, no padding.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1]
            && self.stride == [1, 1]
            && self.before == [0, 0]
            && (self.input.height, self.input.width) == (self.output.height, self.output.width)
    }

    /// Row and column of the pixel that is so far from the upper left corner of the padding; `None` in the padding.
    #[inline(always)]
    pub(super) fn inside(&self, line: usize, column: usize) -> Option<(usize, usize)> {
        // Before the first they wrap to huge numbers.
        let (row, column) = (line.wrapping_sub(self.before[0]), column.wrapping_sub(self.before[1]));
        (row < self.input.height && column < self.input.width).then_some((row, column))
    }

    /// Rows that the windows reach over, padding included.
    pub(super) fn bordered_height(&self) -> usize {
        reach(self.output.height, self.stride[0], self.dilation[0], self.kernel[0])
            .max(self.before[0] + self.input.height)
    }

    /// The same for columns.
    pub(super) fn bordered_width(&self) -> usize {
        reach(self.output.width, self.stride[1], self.dilation[1], self.kernel[1])
            .max(self.before[1] + self.input.width)
    }
}

fn reach(places: usize, stride: usize, dilation: usize, kernel: usize) -> usize {
    (places - 1) * stride + (kernel - 1) * dilation + 1
}
