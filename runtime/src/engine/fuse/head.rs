//! What makes scores of class-aligned maps: means, groups of channels, a fully connected layer.

use std::borrow::Cow;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};

use super::facts::{constant, size};

/// Height and width of 1 that are left out: nothing to do.
pub(super) fn is_same(model: &TypedModel, node: &TypedNode) -> bool {
    matches!(node.op_as::<AxisOp>(), Some(AxisOp::Rm(axis)) if *axis > 1)
        && size(model, node.inputs[0]).is_some()
        && size(model, node.inputs[0]) == size(model, OutletId::new(node.id, 0))
}

/// The sum of every channel's map.
pub(super) fn is_map_sum(model: &TypedModel, node: &TypedNode) -> bool {
    node.op_as::<Reduce>().is_some_and(|reduce| reduce.reducer == Reducer::Sum && *reduce.axes == [2, 3])
        && size(model, node.inputs[0]).is_some()
}

/// Weights `[out, in]` of a fully connected layer of `[1, in]`.
pub(super) fn matrix<'a>(model: &'a TypedModel, node: &TypedNode) -> Option<Cow<'a, [f32]>> {
    let product = node.op_as::<EinSum>().filter(|product| product.q_params.is_none())?;
    let [inputs, ..] = size(model, node.inputs[0]).filter(|size| size[1..] == [1, 1])?;
    let [outputs, ..] = size(model, OutletId::new(node.id, 0))?;
    let &[x, weights] = node.inputs.as_slice() else { return None };
    let (tensor, axes) = (constant(model, weights)?, product.axes.to_string());
    let values = tensor.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?;
    if model.outlet_fact(x).ok()?.rank() != 2 || values.len() != inputs * outputs {
        return None;
    }
    let letters: Vec<char> = axes.chars().filter(|letter| letter.is_alphabetic()).collect();
    match letters.as_slice() {
        [m, k, n, l, a, b] if (m, k, n) == (a, l, b) => Some(Cow::Borrowed(values)),
        [m, k, l, n, a, b] if (m, k, n) == (a, l, b) => {
            let at = |i: usize| values[i % inputs * outputs + i / inputs];
            Some((0..values.len()).map(at).collect())
        }
        _ => None,
    }
}

/// Channels seen as `[1, groups, xi, ..]` and reduced over `xi`: the maximum or the sum of class-aligned channels.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) xi: usize,
    pub(super) max: bool,
    /// Its nodes, the first of which takes the channels.
    pub(super) nodes: [usize; 3],
}

impl Group {
    /// The one that a node is part of.
    pub(super) fn around(model: &TypedModel, node: &TypedNode) -> Option<Group> {
        let before = |node: &TypedNode| node.inputs.first().map(|input| input.node);
        let first = match node.op_as::<AxisOp>() {
            Some(AxisOp::Reshape(..)) => node.id,
            Some(AxisOp::Rm(_)) => before(model.node(before(node)?))?,
            _ if node.op_is::<Reduce>() => before(node)?,
            _ => return None,
        };
        Group::from(model, model.node(first)).filter(|group| group.nodes.contains(&node.id))
    }

    /// The one that begins with a node.
    fn from(model: &TypedModel, reshape: &TypedNode) -> Option<Group> {
        let Some(AxisOp::Reshape(1, from, to)) = reshape.op_as::<AxisOp>() else { return None };
        let next = |node: &TypedNode| match node.outputs[0].successors.as_slice() {
            [user] => Some(model.node(user.node)),
            _ => None,
        };
        let reduced = next(reshape)?;
        let reduce = reduced.op_as::<Reduce>().filter(|reduce| *reduce.axes == [2])?;
        let max = match reduce.reducer {
            Reducer::Max => true,
            Reducer::Sum => false,
            _ => return None,
        };
        let last = next(reduced).filter(|node| node.op_as::<AxisOp>() == Some(&AxisOp::Rm(2)))?;
        let ([_], [_, xi]) = (from.as_slice(), to.as_slice()) else { return None };
        let outlets = [reshape.id, reduced.id].map(|id| OutletId::new(id, 0));
        let given = outlets.iter().any(|outlet| model.outputs.contains(outlet));
        let sizes = size(model, reshape.inputs[0]).zip(size(model, OutletId::new(last.id, 0)));
        let xi = xi.to_usize().ok()?;
        let fits = sizes.is_some_and(|(x, y)| x[1..] == y[1..] && x[0] == y[0] * xi);
        (fits && !given).then_some(Group { xi, max, nodes: [reshape.id, reduced.id, last.id] })
    }
}
