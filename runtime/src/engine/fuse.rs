//! A pass over the typed graph: what the kernels can do goes to them, the rest stays tract's.
//!
//! It has to come before tract's own clean-up, which makes matrix products of 1 x 1 convolutions. Nodes that the
//! kernels know are gathered in regions, as large as can be without a way out of a region and back into it; each
//! region becomes one node, a [`Network`] that takes and gives planes (NCHW), as the rest of the graph has them.

#![allow(clippy::wildcard_imports, reason = "tract's macros need its prelude")]

mod facts;
mod head;
mod known;
mod region;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::source::TypedSource;
use tract_onnx::tract_core::optim::Optimizer;

use crate::kernels::{Builder, Isa, Storage, Team, Threads};
use facts::size;
use known::Known;
pub(super) use region::KernelsOp;
use region::Plan;

/// A graph with its regions, and whether its input is `u8 [1, height, width, 3]` now.
pub(super) struct Fused {
    pub(super) model: TypedModel,
    pub(super) takes_bytes: bool,
    /// The region that takes the graph's only input and gives its outputs, in order: there is nothing else to run.
    pub(super) whole: Option<KernelsOp>,
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
        let region: Vec<(usize, &Known)> =
            order.iter().filter_map(|&id| Some((id, levels.known_at(id, level)?))).collect();
        if !region.is_empty() {
            let plan = Plan::of(&model, &region, Builder::new(isa, storage, team.members()))?;
            let inputs: TVec<OutletId> = plan.inputs.iter().map(|outlet| map[outlet]).collect();
            let name = format!("{}.kernels", model.node(region[0].0).name);
            let region = KernelsOp::new(plan.network, team, plan.shapes);
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

/// Who computes a node, and when.
struct Place<'a> {
    /// One more for each change from tract to kernels or back on the way to it, so that what the kernels do at one level
    /// depends on nothing that tract does at it.
    level: usize,
    /// What the kernels make of it; `None` where it is tract's.
    known: Option<Known<'a>>,
}

/// Of every node.
struct Levels<'a>(HashMap<usize, Place<'a>>);

impl<'a> Levels<'a> {
    fn of(model: &'a TypedModel, order: &[usize]) -> TractResult<Levels<'a>> {
        let mut places: HashMap<usize, Place> = HashMap::new();
        for &id in order {
            let node = model.node(id);
            let known = Known::of(model, node)?;
            let level = |input: &OutletId| {
                let before = &places[&input.node];
                let is_constant = model.node(input.node).op_is::<Const>();
                before.level + usize::from(before.known.is_some() != known.is_some() && !is_constant)
            };
            let level = node.inputs.iter().map(level).max().unwrap_or(0);
            places.insert(id, Place { level, known });
        }
        // A region without a window is not worth its change of layout.
        let has_window = |place: &&Place| place.known.as_ref().is_some_and(Known::is_window);
        let windows: HashSet<usize> = places.values().filter(has_window).map(|place| place.level).collect();
        for place in places.values_mut().filter(|place| !windows.contains(&place.level)) {
            place.known = None;
        }
        Ok(Levels(places))
    }

    fn last(&self) -> usize {
        self.0.values().map(|place| place.level).max().unwrap_or(0)
    }

    fn known_at(&self, id: usize, level: usize) -> Option<&Known<'a>> {
        self.0[&id].known.as_ref().filter(|_| self.0[&id].level == level)
    }

    fn is_tracts_at(&self, id: usize, level: usize) -> bool {
        self.0[&id].level == level && self.0[&id].known.is_none()
    }

    fn is_fused(&self, id: usize) -> bool {
        self.0.get(&id).is_some_and(|place| place.known.is_some())
    }
}

/// The picture is used by the kernels alone, so it can come as the bytes it is made of.
fn takes_bytes(model: &TypedModel, levels: &Levels<'_>) -> TractResult<bool> {
    let [source] = model.input_outlets()? else { return Ok(false) };
    let users = &model.node(source.node).outputs[0].successors;
    let is_output = model.output_outlets()?.contains(source);
    Ok(!is_output && size(model, *source).is_some() && users.iter().all(|user| levels.is_fused(user.node)))
}

fn bytes_of(fact: &TypedFact) -> TractResult<TypedFact> {
    let shape = fact.shape.as_concrete().context("an input of a fixed size")?;
    Ok(u8::fact([1, shape[2], shape[3], shape[1]]))
}
