//! A pass over the typed graph: what the kernels can do goes to them, the rest stays tract's.
//!
//! It has to come before tract's own clean-up, which makes matrix products of 1 x 1 convolutions. Nodes that the
//! kernels know are gathered in regions, as large as can be without a way out of a region and back into it; each
//! region becomes one node, a [`Network`] that takes and gives planes (NCHW), as the rest of the graph has them.

#![allow(clippy::wildcard_imports, reason = "tract's macros need its prelude")]

mod head;
mod region;
mod tail;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_core::ops::source::TypedSource;
use tract_onnx::tract_core::optim::Optimizer;

use crate::kernels::{Builder, Convolution, Isa, Storage, Team, Threads};
use head::{Group, is_map_sum, is_same, matrix};
use region::Plan;
pub(super) use region::Region;
use tail::{is_affine, is_sum};

/// A graph with its regions, and whether its input is `u8 [1, height, width, 3]` now.
pub(super) struct Fused {
    pub(super) model: TypedModel,
    pub(super) takes_bytes: bool,
    /// The region that takes the graph's only input and gives its outputs, in order: there is nothing else to run.
    pub(super) whole: Option<Region>,
}

/// Replaces what the kernels can do.
pub(super) fn fuse(
    mut model: TypedModel,
    isa: Isa,
    storage: Storage,
    team: &Arc<Threads>,
) -> TractResult<Fused> {
    Optimizer::prop_consts().optimize(&mut model)?;
    let order = model.eval_order()?;
    let levels = Levels::of(&model, &order)?;
    let takes_bytes = takes_bytes(&model, &levels)?;
    let mut fused = TypedModel::default();
    let mut map: HashMap<OutletId, OutletId> = HashMap::new();
    let mut whole = None;
    for level in 0..=levels.last() {
        let region: Vec<usize> = order.iter().copied().filter(|&id| levels.is_fused_at(id, level)).collect();
        if !region.is_empty() {
            let plan = Plan::of(&model, &region, Builder::new(isa, storage, team.members()))?;
            let inputs: TVec<OutletId> = plan.inputs.iter().map(|outlet| map[outlet]).collect();
            let name = format!("{}.kernels", model.node(region[0]).name);
            let region = Region::new(plan.network, team, plan.shapes);
            if plan.inputs == model.input_outlets()? && plan.outputs == model.output_outlets()? {
                whole = Some(region.clone());
            }
            let outputs = fused.wire_node(name, region, &inputs)?;
            map.extend(plan.outputs.into_iter().zip(outputs));
        }
        for id in order.iter().copied().filter(|&id| levels.is_tracts_at(id, level)) {
            let node = model.node(id);
            let outputs = if node.op_is::<TypedSource>() {
                let fact = &node.outputs[0].fact;
                tvec!(fused.add_source(&node.name, if takes_bytes { bytes_of(fact)? } else { fact.clone() })?)
            } else if let Some(constant) = node.op_as::<Const>() {
                tvec!(fused.add_const(&node.name, Arc::clone(constant.val()))?)
            } else {
                let inputs: TVec<OutletId> = node.inputs.iter().map(|input| map[input]).collect();
                fused.wire_node(&node.name, node.op.clone(), &inputs)?
            };
            map.extend(
                outputs.into_iter().enumerate().map(|(slot, outlet)| (OutletId::new(id, slot), outlet)),
            );
        }
    }
    let outputs: Vec<OutletId> = model.output_outlets()?.iter().map(|outlet| map[outlet]).collect();
    fused.select_output_outlets(&outputs)?;
    Ok(Fused { model: fused, takes_bytes, whole })
}

/// Who computes a node, and when: one level for each change from tract to kernels or back on the way to it, so that
/// what the kernels do at one level depends on nothing that tract does at it.
struct Levels(HashMap<usize, (usize, bool)>);

impl Levels {
    fn of(model: &TypedModel, order: &[usize]) -> TractResult<Levels> {
        let mut levels: HashMap<usize, (usize, bool)> = HashMap::new();
        for &id in order {
            let node = model.node(id);
            let known = is_known(model, node)?;
            let of = |input: &OutletId| {
                let (level, other) = levels[&input.node];
                let is_constant = model.node(input.node).op_is::<Const>();
                level + usize::from(other != known && !is_constant)
            };
            levels.insert(id, (node.inputs.iter().map(of).max().unwrap_or(0), known));
        }
        // A region without a window is not worth its change of layout.
        let windows: Vec<usize> = order
            .iter()
            .filter(|&&id| is_window(model.node(id)) && levels[&id].1)
            .map(|id| levels[id].0)
            .collect();
        for (level, known) in levels.values_mut() {
            *known &= windows.contains(level);
        }
        Ok(Levels(levels))
    }

    fn last(&self) -> usize {
        self.0.values().map(|(level, _)| *level).max().unwrap_or(0)
    }

    fn is_fused_at(&self, id: usize, level: usize) -> bool {
        self.0[&id] == (level, true)
    }

    fn is_tracts_at(&self, id: usize, level: usize) -> bool {
        self.0[&id] == (level, false)
    }

    fn is_fused(&self, id: usize) -> bool {
        self.0.get(&id).is_some_and(|(_, fused)| *fused)
    }
}

/// The picture is used by the kernels alone, so it can come as the bytes it is made of.
fn takes_bytes(model: &TypedModel, levels: &Levels) -> TractResult<bool> {
    let [source] = model.input_outlets()? else { return Ok(false) };
    let users = &model.node(source.node).outputs[0].successors;
    let is_output = model.output_outlets()?.contains(source);
    Ok(!is_output && size(model, *source).is_some() && users.iter().all(|user| levels.is_fused(user.node)))
}

fn bytes_of(fact: &TypedFact) -> TractResult<TypedFact> {
    let shape = fact.shape.as_concrete().context("an input of a fixed size")?;
    Ok(u8::fact([1, shape[2], shape[3], shape[1]]))
}

/// Channels, height and width of `f32 [1, channels, height, width]`; where height and width are missing they are 1.
fn size(model: &TypedModel, outlet: OutletId) -> Option<[usize; 3]> {
    let fact = model.outlet_fact(outlet).ok()?;
    let (channels, height, width) = match *fact.shape.as_concrete()? {
        [1, channels, height, width] => (channels, height, width),
        [1, channels, 1] | [1, channels] => (channels, 1, 1),
        _ => return None,
    };
    let is_plain = fact.datum_type == DatumType::F32 && fact.is_plain();
    Some([channels, height, width]).filter(|size| is_plain && size.iter().all(|&side| side > 0))
}

/// The values of a constant f32 tensor.
fn constant(model: &TypedModel, outlet: OutletId) -> Option<&Tensor> {
    let fact = model.outlet_fact(outlet).ok()?;
    fact.konst.as_deref().filter(|tensor| tensor.datum_type() == DatumType::F32)
}

fn is_window(node: &TypedNode) -> bool {
    node.op_is::<Conv>() || node.op_is::<MaxPool>() || node.op_is::<SumPool>()
}

fn is_known(model: &TypedModel, node: &TypedNode) -> TractResult<bool> {
    if Group::around(model, node).is_some() {
        return Ok(true);
    }
    if node.outputs.len() != 1 || size(model, OutletId::new(node.id, 0)).is_none() {
        return Ok(false);
    }
    if let Some(conv) = node.op_as::<Conv>() {
        return Ok(convolution(model, node, conv)?.is_some());
    }
    if let Some(pool) = node.op_as::<MaxPool>() {
        return Ok(pool.with_index_outputs.is_none() && window(model, node, &pool.pool_spec).is_some());
    }
    if let Some(pool) = node.op_as::<SumPool>() {
        return Ok(pool.normalize && window(model, node, &pool.pool_spec).is_some());
    }
    Ok(is_same(model, node)
        || is_map_sum(model, node)
        || matrix(model, node).is_some()
        || node.op_is::<TypedBinOp>() && (is_affine(model, node) || is_sum(model, node)))
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
