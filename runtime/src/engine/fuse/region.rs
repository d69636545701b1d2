//! Nodes that become one network of fused steps, and the operator that runs it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{Conv, MaxPool, SumPool};

use super::head::{Group, is_map_sum, is_same, matrix};
use super::tail::Tail;
use super::{convolution, is_window, size, window};
use crate::kernels::{Arena, Builder, Convolution, Network, Reduction, Source, Threads, Value};

/// A region's network, and which outlets of the graph it takes and gives.
pub(super) struct Plan {
    pub(super) network: Network,
    pub(super) inputs: Vec<OutletId>,
    pub(super) outputs: Vec<OutletId>,
    /// Of the outputs.
    pub(super) shapes: TVec<TVec<usize>>,
}

struct Planner<'a> {
    model: &'a TypedModel,
    region: HashSet<usize>,
    builder: Builder,
    values: HashMap<OutletId, Value>,
    inputs: Vec<OutletId>,
}

impl Plan {
    pub(super) fn of(model: &TypedModel, region: &[usize], builder: Builder) -> TractResult<Plan> {
        let mut planner = Planner {
            model,
            region: region.iter().copied().collect(),
            builder,
            values: HashMap::new(),
            inputs: Vec::new(),
        };
        let mut absorbed = HashSet::new();
        for &id in region {
            if !absorbed.contains(&id) {
                planner.node(id, &mut absorbed)?;
            }
        }
        let mut outputs = Vec::new();
        for &id in region {
            let outlet = OutletId::new(id, 0);
            if planner.values.contains_key(&outlet) && planner.is_wanted_outside(id)? {
                outputs.push(outlet);
            }
        }
        // The graph's own come in its order.
        let place = |outlet: &OutletId| model.outputs.iter().position(|output| output == outlet);
        outputs.sort_by_key(|outlet| place(outlet).unwrap_or(usize::MAX));
        let mut shapes = TVec::new();
        for outlet in &outputs {
            planner.builder.output(planner.values[outlet]);
            shapes.push(model.outlet_fact(*outlet)?.shape.as_concrete().context("a size")?.into());
        }
        let inputs = planner.inputs;
        Ok(Plan { network: planner.builder.finish(), inputs, outputs, shapes })
    }
}

impl Planner<'_> {
    fn is_wanted_outside(&self, id: usize) -> TractResult<bool> {
        let outside = |user: &InletId| !self.region.contains(&user.node);
        let users = &self.model.node(id).outputs[0].successors;
        Ok(users.iter().any(outside) || self.model.output_outlets()?.contains(&OutletId::new(id, 0)))
    }

    /// The value of an outlet, taken in from outside where the region does not make it.
    fn value(&mut self, outlet: OutletId) -> TractResult<Value> {
        if let Some(value) = self.values.get(&outlet) {
            return Ok(*value);
        }
        let value = self.builder.input(size(self.model, outlet).context("a size")?);
        self.inputs.push(outlet);
        self.values.insert(outlet, value);
        Ok(value)
    }

    /// Adds a node's step, with what follows it and nobody else needs.
    fn node(&mut self, id: usize, absorbed: &mut HashSet<usize>) -> TractResult<()> {
        let model = self.model;
        let node = model.node(id);
        let x = node.inputs[0];
        if let Some(Group { xi, max, nodes }) = Group::from(model, node) {
            absorbed.extend(nodes);
            let x = self.value(x)?;
            let value = self.builder.group(x, xi, max);
            self.values.insert(OutletId::new(nodes[2], 0), value);
            return Ok(());
        }
        let [channels, ..] = size(model, OutletId::new(id, 0)).context("a size")?;
        let (value, last) = if let Some(conv) = node.op_as::<Conv>() {
            let mut step = convolution(model, node, conv)?.context("a convolution of the kernels")?;
            let (tail, last) = self.follow(id, Tail::new(channels), absorbed)?;
            if tail.is_scaled() {
                let per = step.weights.len() / channels;
                for (weights, scale) in step.weights.to_mut().chunks_exact_mut(per).zip(&tail.scale) {
                    for weight in weights {
                        *weight *= scale;
                    }
                }
            }
            for channel in 0..channels {
                step.bias[channel] = step.bias[channel] * tail.scale[channel] + tail.shift[channel];
            }
            step.clamp = tail.clamp;
            let x = self.value(x)?;
            let residual = tail.residual.map(|residual| self.value(residual)).transpose()?;
            (self.builder.convolve(x, &step, residual), last)
        } else if let Some(pool) = node.op_as::<MaxPool>() {
            let window = window(model, node, &pool.pool_spec).context("a window")?;
            let x = self.value(x)?;
            (self.builder.pool(x, &window, Reduction::Max), id)
        } else if let Some(pool) = node.op_as::<SumPool>() {
            let window = window(model, node, &pool.pool_spec).context("a window")?;
            let counted = if pool.count_include_pad { Reduction::MeanWithPadding } else { Reduction::Mean };
            let x = self.value(x)?;
            (self.builder.pool(x, &window, counted), id)
        } else if is_same(model, node) {
            (self.value(x)?, id)
        } else if is_map_sum(model, node) {
            let [_, height, width] = size(model, x).context("a size")?;
            let x = self.value(x)?;
            let window = Convolution { kernel: [height, width], ..place() };
            (self.builder.pool(x, &window, Reduction::Sum), id)
        } else if let Some(weights) = matrix(model, node) {
            let x = self.value(x)?;
            let layer = Convolution { weights, bias: vec![0.0; channels], ..place() };
            (self.builder.convolve(x, &layer, None), id)
        } else {
            let x = node.inputs.iter().copied().find(|&input| super::constant(model, input).is_none());
            let x = x.context("a value")?;
            let mut tail = Tail::new(channels);
            // The same value twice is not a residual.
            if node.inputs.len() == 2 && node.inputs[0] == node.inputs[1] {
                tail.scale = vec![2.0; channels];
            } else {
                ensure!(tail.absorb(model, node, x), "{node} was said to be known");
            }
            let (tail, last) = self.follow(id, tail, absorbed)?;
            let x = self.value(x)?;
            let other = tail.residual.map(|other| self.value(other)).transpose()?;
            (self.builder.affine(x, other, &tail.scale, &tail.shift, tail.clamp), last)
        };
        self.values.insert(OutletId::new(last, 0), value);
        Ok(())
    }

    /// Goes on along `tail` from node `id` as far as nodes are the region's, alone, and can be absorbed; the last one.
    fn follow(&self, id: usize, mut tail: Tail, absorbed: &mut HashSet<usize>) -> TractResult<(Tail, usize)> {
        let mut last = id;
        loop {
            let outlet = OutletId::new(last, 0);
            let [user] = self.model.node(last).outputs[0].successors.as_slice() else { break };
            if !self.region.contains(&user.node) || self.model.output_outlets()?.contains(&outlet) {
                break;
            }
            let next = self.model.node(user.node);
            let mut longer = tail.clone();
            if !longer.absorb(self.model, next, outlet) {
                break;
            }
            // A sum waits for its other side: the later of the two takes it.
            let known = |residual: OutletId| {
                self.values.contains_key(&residual) || !self.region.contains(&residual.node)
            };
            let added = longer.residual.filter(|_| tail.residual.is_none());
            if added.is_some_and(|residual| !is_window(self.model.node(id)) || !known(residual)) {
                break;
            }
            absorbed.insert(next.id);
            (tail, last) = (longer, next.id);
        }
        Ok((tail, last))
    }
}

/// A window of one tap at a single place.
fn place() -> Convolution<'static> {
    Convolution {
        kernel: [1, 1],
        output: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        before: [0, 0],
        weights: Cow::default(),
        bias: Vec::new(),
        depthwise: false,
        clamp: [f32::NEG_INFINITY, f32::INFINITY],
    }
}

/// A network of fused steps as one node: planes in, planes out; a picture's bytes where an input is `u8`.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Region {
    network: Arc<Network>,
    team: Arc<Threads>,
    /// Memory of runs that are over.
    arenas: Arc<Mutex<Vec<Arena>>>,
    /// Shapes.
    outputs: TVec<TVec<usize>>,
}

impl Region {
    pub(super) fn new(network: Network, team: &Arc<Threads>, outputs: TVec<TVec<usize>>) -> Region {
        Region { network: Arc::new(network), team: Arc::clone(team), arenas: Arc::default(), outputs }
    }

    /// Computes the outputs. Nothing is allocated but the memory of the first run, and of the first beside another.
    pub(in crate::engine) fn run(&self, sources: &[Source], outputs: &mut [&mut [f32]]) {
        let arena = self.arenas.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut arena = arena.unwrap_or_else(|| self.network.arena());
        self.network.run(&mut arena, &*self.team, sources, outputs);
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
    }
}

impl PartialEq for Region {
    fn eq(&self, other: &Region) -> bool {
        Arc::ptr_eq(&self.network, &other.network)
    }
}

impl Eq for Region {}

impl Op for Region {
    fn name(&self) -> StaticName {
        "Kernels".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{} steps", self.network.steps())])
    }

    op_as_typed_op!();
}

impl EvalOp for Region {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut sources = Vec::with_capacity(inputs.len());
        for input in &inputs {
            let plain = input.try_as_plain_ram()?;
            sources.push(match input.datum_type() {
                DatumType::U8 => Source::Bytes(plain.as_slice()?),
                _ => Source::Planes(plain.as_slice()?),
            });
        }
        let mut outputs = TVec::new();
        for shape in &self.outputs {
            outputs.push(Tensor::zero::<f32>(shape)?);
        }
        let mut views = Vec::with_capacity(outputs.len());
        for output in &mut outputs {
            views.push(output.try_as_plain_ram_mut()?);
        }
        let mut slices = Vec::with_capacity(views.len());
        for view in &mut views {
            slices.push(view.as_slice_mut::<f32>()?);
        }
        self.run(&sources, &mut slices);
        drop(views);
        Ok(outputs.into_iter().map(IntoTValue::into_tvalue).collect())
    }
}

impl TypedOp for Region {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.outputs.iter().map(f32::fact).collect())
    }

    as_op!();
}
