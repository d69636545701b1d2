//! Convolution.

use candle_core::{Result, Tensor};

use super::super::geometry::Conv;
use super::super::tape::{Arrived, Backward, Input};
use super::cudnn::{Geometry, Pass, convolve};
use super::depthwise;
use super::filter::{filter, placed, weight_gradient};
use super::memory::{Fresh, address_of, cuda, map_type, maps, shown, single};

/// A convolution whose sizes were checked; the weight stays f32 whatever the maps are.
pub(in super::super) fn conv2d(x: &Tensor, weight: &Tensor, conv: Conv) -> Result<Tensor> {
    map_type("conv2d", x)?;
    let (x, weight) = (maps(x)?, single("conv2d", "the weight", weight)?);
    let y = if conv.is_depthwise() {
        depthwise::forward(&conv, &x.values, &weight.values)?
    } else {
        forward(&conv, &x.values, &weight.values)?
    };
    let inputs = [&x, &weight];
    let backward = Backwards {
        conv,
        x: x.values.detach(),
        weight: weight.values.detach(),
        is_tracked: inputs.map(Input::is_tracked),
    };
    shown(&y.join(&inputs, backward)?)
}

/// The way back of [`conv2d`].
struct Backwards {
    conv: Conv,
    /// As it lies, `[B, H, W, C]`.
    x: Tensor,
    weight: Tensor,
    is_tracked: [bool; 2],
}

impl Backward for Backwards {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn gradients(&self, _: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let Backwards { conv, x, weight, is_tracked: [of_x, of_weight] } = self;
        let dx = || {
            if conv.is_depthwise() {
                depthwise::input_gradient(conv, weight, dy)
            } else {
                input_gradient(conv, weight, dy)
            }
        };
        let dw = || {
            if conv.is_depthwise() {
                depthwise::weight_gradient(conv, x, dy)
            } else {
                dense_weight_gradient(conv, x, dy)
            }
        };
        Ok([of_x.then(dx).transpose()?, of_weight.then(dw).transpose()?, None])
    }
}

fn forward(conv: &Conv, x: &Tensor, weight: &Tensor) -> Result<Fresh> {
    let [height, width] = conv.window.output;
    let y = Fresh::new(x, (conv.batch, height, width, conv.outputs), x.dtype())?;
    let (padded, filter) = (padded(conv, x)?, in_order(conv, weight, x)?);
    let addresses = [address_of(&padded)?, address_of(&filter)?, y.address()?];
    convolve(&cuda(x)?, Pass::Forward, geometry(conv, x), addresses)?;
    Ok(y)
}

fn input_gradient(conv: &Conv, weight: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let [height, width] = extent(conv);
    let dx = Fresh::new(dy, (conv.batch, height, width, conv.inputs), dy.dtype())?;
    let filter = in_order(conv, weight, dy)?;
    let addresses = [dx.address()?, address_of(&filter)?, address_of(dy)?];
    convolve(&cuda(dy)?, Pass::Data, geometry(conv, dy), addresses)?;
    let [top, left, ..] = conv.window.padding.map(|zeros| zeros as i32);
    let dx = dx.tensor();
    if is_even(conv) { Ok(dx) } else { placed(&dx, conv.window.input, -top, -left) }
}

fn dense_weight_gradient(conv: &Conv, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let [outputs, channels, rows, columns] = weight_shape(conv);
    let filter = Fresh::new(x, (outputs, rows, columns, channels), x.dtype())?;
    let padded = padded(conv, x)?;
    let addresses = [address_of(&padded)?, filter.address()?, address_of(dy)?];
    convolve(&cuda(x)?, Pass::Filter, geometry(conv, x), addresses)?;
    weight_gradient(&filter.tensor(), &weight_shape(conv), [channels, rows * columns])
}

/// Whether the padding is the same on opposite sides: cuDNN knows no other.
fn is_even(conv: &Conv) -> bool {
    let [top, left, bottom, right] = conv.window.padding;
    top == bottom && left == right
}

/// The maps that cuDNN sees: those of the input, with zeros around them if it could not add them itself.
fn padded(conv: &Conv, x: &Tensor) -> Result<Tensor> {
    let [top, left, ..] = conv.window.padding.map(|zeros| zeros as i32);
    if is_even(conv) { Ok(x.clone()) } else { placed(x, extent(conv), top, left) }
}

/// Height and width of the maps that cuDNN sees.
fn extent(conv: &Conv) -> [usize; 2] {
    let ([height, width], [top, left, bottom, right]) = (conv.window.input, conv.window.padding);
    if is_even(conv) { [height, width] } else { [height + top + bottom, width + left + right] }
}

fn weight_shape(conv: &Conv) -> [usize; 4] {
    let [rows, columns] = conv.window.kernel;
    [conv.outputs, conv.inputs / conv.groups, rows, columns]
}

/// The weight in the type of `like`, as cuDNN takes it.
fn in_order(conv: &Conv, weight: &Tensor, like: &Tensor) -> Result<Tensor> {
    let [outputs, channels, ..] = weight_shape(conv);
    filter(weight, [outputs, channels, conv.window.taps()], like.dtype())
}

fn geometry(conv: &Conv, like: &Tensor) -> Geometry {
    let ([height, width], [out_height, out_width]) = (extent(conv), conv.window.output);
    let [top, left, ..] = conv.window.padding;
    let padding = if is_even(conv) { [top, left] } else { [0, 0] };
    let sizes = |sizes: [usize; 4]| sizes.map(|size| size as i32);
    Geometry {
        is_half: Geometry::is_half(like.dtype()),
        x: sizes([conv.batch, conv.inputs, height, width]),
        weight: sizes(weight_shape(conv)),
        y: sizes([conv.batch, conv.outputs, out_height, out_width]),
        stride: conv.window.stride as i32,
        padding: padding.map(|zeros| zeros as i32),
        groups: conv.groups as i32,
    }
}
