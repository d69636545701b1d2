//! The sizes of a convolution, and those of the matrix products that it is as a dense one.

use super::window::Window;

/// How a kernel goes over a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Pixels from one position to the next, downwards and across.
    pub stride: usize,
    /// Rows and columns of zeros around the picture: top, left, bottom, right.
    pub padding: [usize; 4],
    /// Groups of channels that do not see each other; as many as input channels is depthwise.
    pub groups: usize,
}

/// A convolution whose sizes were checked.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    pub batch: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub groups: usize,
    pub window: Window,
}

impl Conv {
    /// One input plane to one output plane: memory-bound, so not worth a matrix product.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups == self.inputs && self.inputs == self.outputs
    }
}

/// A convolution as products of `[Co / g, depth]` weights and `[depth, positions]` columns.
pub(super) struct Dense {
    pub conv: Conv,
    /// Input and output channels of one group.
    pub inputs: usize,
    pub outputs: usize,
    /// Rows of columns: input channels of a group times kernel taps.
    pub depth: usize,
}

impl Dense {
    pub(super) fn of(conv: &Conv) -> Dense {
        let inputs = conv.inputs / conv.groups;
        Dense { conv: *conv, inputs, outputs: conv.outputs / conv.groups, depth: inputs * conv.window.taps() }
    }

    /// Floats of a picture before and after.
    pub(super) fn picture_sizes(&self) -> (usize, usize) {
        let Conv { inputs, outputs, window, .. } = &self.conv;
        (inputs * window.area(), outputs * window.positions())
    }
}
