//! Which nodes the kernels can do, and as what.

use std::borrow::Cow;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_core::ops::nn::resize::{CoordTransformer, Interpolator, Nearest, Resize};

use super::facts::{constant, size};
use super::head::{Group, is_map_sum, is_same, matrix};
use super::tail::Join;
use crate::kernels::{Builder, Convolution, Reduction};

/// A node that the kernels can do.
#[derive(Debug)]
pub(super) enum Known<'a> {
    Convolution(Convolution<'a>),
    /// What its window does, without parameters.
    Pool(Convolution<'static>, Reduction),
    /// Every pixel so many times down and across.
    Upsample([usize; 2]),
    /// A value joined with a constant, or with another value.
    Join(Join),
    /// One of the nodes that reduce groups of channels.
    Group(Group),
    /// The sum of every channel's map.
    MapSum,
    /// Weights `[out, in]` of a fully connected layer.
    Matrix(Cow<'a, [f32]>),
    /// Height and width of 1 that are left out: nothing to do.
    Same,
}

impl<'a> Known<'a> {
    /// What the kernels make of a node; `None` where it stays tract's.
    pub(super) fn of(model: &'a TypedModel, node: &'a TypedNode) -> TractResult<Option<Known<'a>>> {
        if let Some(group) = Group::around(model, node) {
            return Ok(Some(Known::Group(group)));
        }
        if node.outputs.len() != 1 || size(model, OutletId::new(node.id, 0)).is_none() {
            return Ok(None);
        }
        if let Some(conv) = node.op_as::<Conv>() {
            return Ok(convolution(model, node, conv)?.map(Known::Convolution));
        }
        if let Some(pool) = node.op_as::<MaxPool>() {
            let window = window(model, node, &pool.pool_spec).filter(|_| pool.with_index_outputs.is_none());
            return Ok(window.map(|window| Known::Pool(window, Reduction::Max)));
        }
        if let Some(pool) = node.op_as::<SumPool>() {
            let mean = if pool.count_include_pad { Reduction::MeanWithPadding } else { Reduction::Mean };
            let window = window(model, node, &pool.pool_spec).filter(|_| pool.normalize);
            return Ok(window.map(|window| Known::Pool(window, mean)));
        }
        if let Some(factor) = upsampling(model, node)? {
            return Ok(Some(Known::Upsample(factor)));
        }
        if is_same(model, node) {
            return Ok(Some(Known::Same));
        }
        if is_map_sum(model, node) {
            return Ok(Some(Known::MapSum));
        }
        if let Some(weights) = matrix(model, node) {
            return Ok(Some(Known::Matrix(weights)));
        }
        Ok(Join::of(model, node).map(Known::Join))
    }

    /// It moves a window over a picture.
    pub(super) fn is_window(&self) -> bool {
        matches!(self, Known::Convolution(_) | Known::Pool(..))
    }
}

/// How many times a node repeats every pixel, down and across.
fn upsampling(model: &TypedModel, node: &TypedNode) -> TractResult<Option<[usize; 2]>> {
    if node.op.name() != "Resize" {
        return Ok(None);
    }
    let Some([channels, height, width]) = size(model, node.inputs[0]) else { return Ok(None) };
    // ONNX's operator is private to tract; it hands over the one of tract's core, whose modes can be seen.
    let Some(patch) = node.op.declutter(model, node)? else { return Ok(None) };
    let resize = patch.model.nodes.iter().find_map(|node| node.op_as::<Resize>());
    let is_repeating = resize.is_some_and(|resize| {
        resize.interpolator == Interpolator::Nearest
            && resize.coord_transformer == CoordTransformer::Asymmetric
            && resize.nearest == Nearest::Floor
    });
    let larger =
        size(model, OutletId::new(node.id, 0)).filter(|larger| is_repeating && larger[0] == channels);
    let factor =
        larger.map(|[_, down, across]| ([down / height, across / width], [down % height, across % width]));
    Ok(factor.filter(|(_, rest)| *rest == [0, 0]).map(|(factor, _)| factor))
}

/// What a window does, without parameters.
fn window(model: &TypedModel, node: &TypedNode, spec: &PoolSpec) -> Option<Convolution<'static>> {
    let [_, height, width] = size(model, node.inputs[0])?;
    let [_, out_height, out_width] = size(model, OutletId::new(node.id, 0))?;
    if spec.data_format != DataFormat::NCHW || spec.kernel_shape.len() != 2 {
        return None;
    }
    let padding = spec.computed_padding(&[height, width]);
    Some(Convolution {
        kernel: [spec.kernel_shape[0], spec.kernel_shape[1]],
        output: [out_height, out_width],
        stride: [spec.stride(0), spec.stride(1)],
        dilation: [spec.dilation(0), spec.dilation(1)],
        before: [padding[0].pad_before, padding[1].pad_before],
        weights: Cow::default(),
        bias: Vec::new(),
        depthwise: false,
        clamp: [f32::NEG_INFINITY, f32::INFINITY],
    })
}

/// The convolution of a node, if the kernels can do it.
fn convolution<'a>(
    model: &'a TypedModel,
    node: &TypedNode,
    conv: &Conv,
) -> TractResult<Option<Convolution<'a>>> {
    let Some(window) = window(model, node, &conv.pool_spec) else { return Ok(None) };
    let (inputs, outputs) = (conv.input_channels(), conv.output_channels());
    let depthwise = conv.group > 1 && conv.group == inputs && inputs == outputs;
    let is_plain = conv.q_params.is_none() && conv.kernel_fmt == KernelFormat::OIHW;
    if !is_plain || (conv.group != 1 && !depthwise) {
        return Ok(None);
    }
    let (Some(weights), Some(bias)) = (constant(model, node.inputs[1]), constant(model, node.inputs[2]))
    else {
        return Ok(None);
    };
    let bias = bias.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    let bias = if bias.len() == 1 { vec![bias[0]; outputs] } else { bias };
    let weights = Cow::Borrowed(weights.try_as_plain_ram()?.as_slice::<f32>()?);
    let convolution = Convolution { weights, bias, depthwise, ..window };
    Ok(Some(convolution).filter(Builder::can_convolve))
}
