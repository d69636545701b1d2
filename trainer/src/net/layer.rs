//! The network as data: a closed set of layers, and lists of them.
//!
//! A network is a `Vec<Layer>`, written once (in [`backbone`](crate::net::backbone) and
//! [`network`](crate::net::network)). Everything done with one is an exhaustive match over [`Layer`], so a
//! new kind of layer does not compile before each of these knows it:
//!
//! - [`shape`], [`cost`], [`stride`]: what comes out, what it costs, input pixels a cell;
//! - [`parameter_specs`]: names, shapes, and first values of its parameters;
//! - [`forward`]: the computation, in training and in evaluation;
//! - [`fold`]: the same function without batch normalisation;
//! - [`export`](crate::publish::export): the same function as an ONNX graph.
//!
//! A layer with parameters has a name, and its parameters are `name.weight`, `name.bias`,
//! `name.running_mean`, `name.running_var`, as torchvision and timm call them.

mod fold;
mod forward;
mod params;
mod shape;

use fieldmark::layout::Layout;

pub use fold::fold;
pub use forward::{Mode, forward};
pub use params::{Init, ParamKind, ParamSpec, Params, Weight, is_head, parameter_specs};
pub(crate) use shape::layer_shape;
pub use shape::{Cost, Shape, ShapeError, convolved, cost, outputs, shape, stride};

use crate::net::ops::same_padding;

/// One layer. `B` batch, `C` channels, `H x W` maps.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// `(x - mean) / std` a colour, of pictures in 0..=255. First in every network, so that the
    /// exported file takes pictures as they are.
    Normalise {
        /// Mean of red, green, blue, in 0..=255.
        mean: [f32; 3],
        /// Standard deviation of red, green, blue, in the same unit.
        std: [f32; 3],
    },
    /// Convolution: dense, grouped or depthwise.
    Conv(Conv),
    /// Batch normalisation: the batch's statistics in training, running ones in evaluation.
    BatchNorm(BatchNorm),
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// Maximum of each window; padding never wins.
    MaxPool(Pool),
    /// Mean of each window.
    AvgPool {
        /// Side of the square window.
        kernel: usize,
        /// Cells from one window to the next.
        stride: usize,
    },
    /// `body(x) + shortcut(x)`.
    Residual {
        /// The computing branch.
        body: Vec<Layer>,
        /// The other branch; empty: `x` itself.
        shortcut: Vec<Layer>,
    },
    /// `x`, and after its channels those of `body(x)`, whose coarser cells are repeated over those of `x`.
    Beside {
        /// Its maps' sides divide those of `x`.
        body: Vec<Layer>,
    },
    /// Global average pooling, `B x C x H x W` to `B x C`.
    GlobalPool,
    /// Cross-channel maximum of each group, `B x N x H x W` to `B x c x H x W`.
    Ccmp {
        /// The groups.
        layout: Layout,
    },
    /// A weighted sum of each group plus the class's bias, `B x N` to `B x c`.
    GroupLinear(GroupLinear),
    /// `x W^T + b`, `B x inputs` to `B x outputs`.
    Linear(Linear),
    /// In training each value is zeroed with probability `p` and the others divided by `1 - p`; in
    /// evaluation nothing happens.
    Dropout {
        /// In 0..1.
        p: f32,
    },
}

/// A convolution's data.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Prefix of its parameters' names.
    pub name: String,
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Pixels from one position to the next, downwards and across.
    pub stride: usize,
    /// Zeros around the maps.
    pub padding: Padding,
    /// Groups of channels that do not see each other; `inputs` of them is depthwise.
    pub groups: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

/// Zeros around maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As many on each of the four sides.
    Explicit(usize),
    /// `TensorFlow`'s SAME: `ceil(side / stride)` positions, the odd zero at the end. How many depends on
    /// the side of the maps.
    Same,
}

/// A batch normalisation's data.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Prefix of its parameters' names.
    pub name: String,
    /// Channels.
    pub channels: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Share of the new batch in the running statistics, as `PyTorch` counts it.
    pub momentum: f64,
}

/// A maximum pooling's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Side of the square window.
    pub kernel: usize,
    /// Cells from one window to the next.
    pub stride: usize,
    /// Cells around the maps that never win.
    pub padding: Padding,
}

/// A linear layer within groups: one weight a channel, one bias a class.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupLinear {
    /// Prefix of its parameters' names.
    pub name: String,
    /// Which channels belong to which class.
    pub layout: Layout,
    /// Every weight's first value.
    pub first_weight: f32,
}

/// A linear layer's data.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Prefix of its parameters' names.
    pub name: String,
    /// Values in.
    pub inputs: usize,
    /// Values out.
    pub outputs: usize,
}

impl Conv {
    /// Every cell by itself: one tap, no stride, no groups.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1]
            && (self.stride, self.groups) == (1, 1)
            && matches!(self.padding, Padding::Same | Padding::Explicit(0))
    }
}

impl Padding {
    /// Zeros above, left, below, right of maps of this height and width, for a kernel and stride.
    pub fn around(self, [height, width]: [usize; 2], kernel: [usize; 2], stride: usize) -> [usize; 4] {
        match self {
            Padding::Explicit(zeros) => [zeros; 4],
            Padding::Same => {
                let (top, bottom) = same_padding(height, kernel[0], stride);
                let (left, right) = same_padding(width, kernel[1], stride);
                [top, left, bottom, right]
            }
        }
    }
}

/// What a message calls a layer: its name, or else its kind.
pub(crate) fn title(layer: &Layer) -> String {
    match layer {
        Layer::Normalise { .. } => "the normalisation".into(),
        Layer::Conv(conv) => format!("the convolution {}", conv.name),
        Layer::BatchNorm(norm) => format!("the batch normalisation {}", norm.name),
        Layer::Relu => "a ReLU".into(),
        Layer::Relu6 => "a ReLU6".into(),
        Layer::MaxPool(_) => "a maximum pooling".into(),
        Layer::AvgPool { .. } => "an average pooling".into(),
        Layer::Residual { body, .. } => match body.first() {
            Some(first) => format!("the residual that begins with {}", title(first)),
            None => "an empty residual".into(),
        },
        Layer::Beside { body } => match body.first() {
            Some(first) => format!("the two levels of which the second begins with {}", title(first)),
            None => "two levels of which the second is empty".into(),
        },
        Layer::GlobalPool => "the global pooling".into(),
        Layer::Ccmp { .. } => "the cross-channel maximum".into(),
        Layer::GroupLinear(linear) => format!("the grouped linear layer {}", linear.name),
        Layer::Linear(linear) => format!("the linear layer {}", linear.name),
        Layer::Dropout { .. } => "a dropout".into(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
