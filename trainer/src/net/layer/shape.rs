//! What comes out of layers, and what they cost.

use super::{Conv, Layer, Linear, Pool, parameter_specs, title};

/// The shape of one picture's values between layers, the batch left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `C x H x W`.
    Maps([usize; 3]),
    /// So many values.
    Vector(usize),
}

/// What a network costs for one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Of convolutions and linear layers, as papers count them.
    pub multiply_adds: u64,
    /// Trained values; running statistics are not counted.
    pub parameters: u64,
}

/// Why layers do not fit each other or the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Another number of channels or values.
    #[error("{layer} takes {expected} channels, but gets {actual}")]
    Channels {
        /// Which.
        layer: String,
        /// What it is made for.
        expected: usize,
        /// What the layers before it give.
        actual: usize,
    },
    /// Groups that do not divide the channels.
    #[error("{layer} has {groups} groups, which do not divide {inputs} channels in and {outputs} out")]
    Groups {
        /// Which.
        layer: String,
        /// Its groups.
        groups: usize,
        /// Channels in.
        inputs: usize,
        /// Channels out.
        outputs: usize,
    },
    /// A window larger than the padded maps.
    #[error("{layer} has a window larger than its {height} x {width} maps; choose a larger input side")]
    Small {
        /// Which.
        layer: String,
        /// Height of the maps.
        height: usize,
        /// Width of the maps.
        width: usize,
    },
    /// Maps where a vector was due, or the other way round.
    #[error("{layer} takes {expected}, but gets {actual:?}")]
    Rank {
        /// Which.
        layer: String,
        /// "maps" or "a vector".
        expected: &'static str,
        /// What it gets.
        actual: Shape,
    },
    /// Branches that cannot be added.
    #[error("{layer}: the body gives {body:?}, the shortcut {shortcut:?}; they must be equal")]
    Branches {
        /// Which.
        layer: String,
        /// The body's end.
        body: Shape,
        /// The shortcut's end.
        shortcut: Shape,
    },
    /// Levels whose cells do not fit.
    #[error(
        "{layer}: maps of {height} x {width} cells beside maps of {rows} x {columns}, which must divide them; choose an \
         input side that is a multiple of the coarser stride"
    )]
    Levels {
        /// Which.
        layer: String,
        /// Of the finer maps.
        height: usize,
        /// Of the finer maps.
        width: usize,
        /// Of the coarser maps.
        rows: usize,
        /// Of the coarser maps.
        columns: usize,
    },
}

/// The shape that `layers` make of `input`, `C x H x W`.
///
/// # Errors
/// [`ShapeError`] names the first layer that does not fit what it gets.
pub fn shape(layers: &[Layer], input: [usize; 3]) -> Result<Shape, ShapeError> {
    shape_from(layers, Shape::Maps(input))
}

/// Multiply-adds and parameters of `layers` for one `input`, `C x H x W`.
///
/// # Errors
/// As [`shape`].
pub fn cost(layers: &[Layer], input: [usize; 3]) -> Result<Cost, ShapeError> {
    // First what can fail: layers that fit nothing may have no parameters to count.
    let multiply_adds = multiply_adds(layers, Shape::Maps(input))?;
    let parameters = parameter_specs(layers)
        .iter()
        .filter(|spec| !spec.kind.is_running())
        .map(|spec| spec.shape.iter().product::<usize>() as u64)
        .sum();
    Ok(Cost { multiply_adds, parameters })
}

/// Channels that come out of `layers`; `None` where no layer says.
pub fn outputs(layers: &[Layer]) -> Option<usize> {
    layers.iter().rev().find_map(|layer| match layer {
        Layer::Conv(conv) => Some(conv.outputs),
        Layer::BatchNorm(norm) => Some(norm.channels),
        Layer::Residual { body, .. } => outputs(body),
        _ => None,
    })
}

/// Input pixels from one cell of the output maps to the next.
pub fn stride(layers: &[Layer]) -> usize {
    layers.iter().map(layer_stride).product()
}

fn layer_stride(layer: &Layer) -> usize {
    match layer {
        Layer::Conv(Conv { stride, .. })
        | Layer::MaxPool(Pool { stride, .. })
        | Layer::AvgPool { stride, .. } => *stride,
        Layer::Residual { body, .. } => stride(body),
        Layer::Normalise { .. }
        | Layer::BatchNorm(_)
        | Layer::Relu
        | Layer::Relu6
        | Layer::Beside { .. }
        | Layer::GlobalPool
        | Layer::Ccmp { .. }
        | Layer::GroupLinear(_)
        | Layer::Linear(_)
        | Layer::Dropout { .. } => 1,
    }
}

pub(crate) fn shape_from(layers: &[Layer], input: Shape) -> Result<Shape, ShapeError> {
    layers.iter().try_fold(input, |shape, layer| layer_shape(layer, shape))
}

/// Values of one picture that come out of the convolutions of `layers`, together.
///
/// # Errors
/// As [`shape`].
pub fn convolved(layers: &[Layer], input: [usize; 3]) -> Result<u64, ShapeError> {
    convolved_from(layers, Shape::Maps(input))
}

fn convolved_from(layers: &[Layer], mut input: Shape) -> Result<u64, ShapeError> {
    let mut sum = 0;
    for layer in layers {
        let output = layer_shape(layer, input)?;
        sum += match layer {
            Layer::Conv(_) => values(output) as u64,
            Layer::Residual { body, shortcut } => {
                convolved_from(body, input)? + convolved_from(shortcut, input)?
            }
            Layer::Beside { body } => convolved_from(body, input)?,
            _ => 0,
        };
        input = output;
    }
    Ok(sum)
}

fn multiply_adds(layers: &[Layer], mut input: Shape) -> Result<u64, ShapeError> {
    let mut sum = 0;
    let mut rest = layers;
    while let [layer, after @ ..] = rest {
        let output = layer_shape(layer, input)?;
        (sum, input, rest) = match (layer, after) {
            // As it is exported: on each level at its own cells.
            (Layer::Beside { body }, [next @ Layer::Conv(conv), after @ ..]) if conv.is_pointwise() => {
                let values = values(input) + values(shape_from(body, input)?);
                let of_body = multiply_adds(body, input)?;
                (sum + of_body + (conv.outputs * values) as u64, layer_shape(next, output)?, after)
            }
            _ => (sum + layer_multiply_adds(layer, input, output)?, output, after),
        };
    }
    Ok(sum)
}

fn layer_multiply_adds(layer: &Layer, input: Shape, output: Shape) -> Result<u64, ShapeError> {
    Ok(match layer {
        Layer::Conv(conv) => {
            let a_value = conv.kernel[0] * conv.kernel[1] * conv.inputs / conv.groups;
            (values(output) * a_value) as u64
        }
        Layer::Linear(linear) => (linear.inputs * linear.outputs) as u64,
        Layer::GroupLinear(linear) => linear.layout.channels() as u64,
        Layer::Residual { body, shortcut } => multiply_adds(body, input)? + multiply_adds(shortcut, input)?,
        Layer::Beside { body } => multiply_adds(body, input)?,
        Layer::Normalise { .. }
        | Layer::BatchNorm(_)
        | Layer::Relu
        | Layer::Relu6
        | Layer::MaxPool(_)
        | Layer::AvgPool { .. }
        | Layer::GlobalPool
        | Layer::Ccmp { .. }
        | Layer::Dropout { .. } => 0,
    })
}

fn values(shape: Shape) -> usize {
    match shape {
        Shape::Maps(dims) => dims.iter().product(),
        Shape::Vector(values) => values,
    }
}

pub(crate) fn layer_shape(layer: &Layer, input: Shape) -> Result<Shape, ShapeError> {
    match layer {
        Layer::Normalise { .. } => {
            let [channels, height, width] = maps(layer, input)?;
            expect_channels(layer, 3, channels)?;
            Ok(Shape::Maps([channels, height, width]))
        }
        Layer::Conv(conv) => conv_shape(layer, conv, maps(layer, input)?),
        Layer::BatchNorm(norm) => {
            let dims = maps(layer, input)?;
            expect_channels(layer, norm.channels, dims[0])?;
            Ok(Shape::Maps(dims))
        }
        Layer::Relu | Layer::Relu6 | Layer::Dropout { .. } => Ok(input),
        Layer::MaxPool(pool) => {
            let [channels, height, width] = maps(layer, input)?;
            let kernel = [pool.kernel; 2];
            let padding = pool.padding.around([height, width], kernel, pool.stride);
            let [h, w] = positions(layer, [height, width], kernel, pool.stride, padding)?;
            Ok(Shape::Maps([channels, h, w]))
        }
        Layer::AvgPool { kernel, stride } => {
            let [channels, height, width] = maps(layer, input)?;
            let [h, w] = positions(layer, [height, width], [*kernel; 2], *stride, [0; 4])?;
            Ok(Shape::Maps([channels, h, w]))
        }
        Layer::Residual { body, shortcut } => {
            let (body, shortcut) = (shape_from(body, input)?, shape_from(shortcut, input)?);
            if body == shortcut {
                Ok(body)
            } else {
                Err(ShapeError::Branches { layer: title(layer), body, shortcut })
            }
        }
        Layer::Beside { body } => {
            let [channels, height, width] = maps(layer, input)?;
            let [deep, rows, columns] = maps(layer, shape_from(body, input)?)?;
            if height % rows != 0 || width % columns != 0 {
                return Err(ShapeError::Levels { layer: title(layer), height, width, rows, columns });
            }
            Ok(Shape::Maps([channels + deep, height, width]))
        }
        Layer::GlobalPool => Ok(Shape::Vector(maps(layer, input)?[0])),
        Layer::Ccmp { layout } => {
            let [channels, height, width] = maps(layer, input)?;
            expect_channels(layer, layout.channels(), channels)?;
            Ok(Shape::Maps([layout.classes(), height, width]))
        }
        Layer::GroupLinear(linear) => {
            expect_channels(layer, linear.layout.channels(), vector(layer, input)?)?;
            Ok(Shape::Vector(linear.layout.classes()))
        }
        Layer::Linear(Linear { inputs, outputs, .. }) => {
            expect_channels(layer, *inputs, vector(layer, input)?)?;
            Ok(Shape::Vector(*outputs))
        }
    }
}

fn conv_shape(
    layer: &Layer,
    conv: &Conv,
    [channels, height, width]: [usize; 3],
) -> Result<Shape, ShapeError> {
    expect_channels(layer, conv.inputs, channels)?;
    let Conv { groups, inputs, outputs, .. } = *conv;
    if groups == 0 || inputs % groups != 0 || outputs % groups != 0 {
        return Err(ShapeError::Groups { layer: title(layer), groups, inputs, outputs });
    }
    let padding = conv.padding.around([height, width], conv.kernel, conv.stride);
    let [h, w] = positions(layer, [height, width], conv.kernel, conv.stride, padding)?;
    Ok(Shape::Maps([outputs, h, w]))
}

/// How many positions a window has, downwards and across.
fn positions(
    layer: &Layer,
    [height, width]: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    [top, left, bottom, right]: [usize; 4],
) -> Result<[usize; 2], ShapeError> {
    let padded = [height + top + bottom, width + left + right];
    if stride == 0 || kernel.contains(&0) || padded[0] < kernel[0] || padded[1] < kernel[1] {
        return Err(ShapeError::Small { layer: title(layer), height, width });
    }
    Ok([0, 1].map(|axis| (padded[axis] - kernel[axis]) / stride + 1))
}

fn maps(layer: &Layer, input: Shape) -> Result<[usize; 3], ShapeError> {
    match input {
        Shape::Maps(dims) => Ok(dims),
        Shape::Vector(_) => Err(ShapeError::Rank { layer: title(layer), expected: "maps", actual: input }),
    }
}

fn vector(layer: &Layer, input: Shape) -> Result<usize, ShapeError> {
    match input {
        Shape::Vector(values) => Ok(values),
        Shape::Maps(_) => Err(ShapeError::Rank { layer: title(layer), expected: "a vector", actual: input }),
    }
}

fn expect_channels(layer: &Layer, expected: usize, actual: usize) -> Result<(), ShapeError> {
    if expected == actual {
        Ok(())
    } else {
        Err(ShapeError::Channels { layer: title(layer), expected, actual })
    }
}
