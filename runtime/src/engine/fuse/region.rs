//! Nodes that become one network of fused steps, and the operator that runs it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::facts::size;
use super::head::Group;
use super::known::Known;
use super::tail::{Join, Tail};
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
    region: HashMap<usize, &'a Known<'a>>,
    builder: Builder,
    values: HashMap<OutletId, Value>,
    inputs: Vec<OutletId>,
    /// Nodes that a step before them has taken over.
    absorbed: HashSet<usize>,
}

impl Plan {
    /// Of a region's nodes, in the order of the graph.
    pub(super) fn of<'a>(
        model: &'a TypedModel,
        region: &[(usize, &'a Known<'a>)],
        builder: Builder,
    ) -> TractResult<Plan> {
        let mut planner = Planner {
            model,
            region: region.iter().copied().collect(),
            builder,
            values: HashMap::new(),
            inputs: Vec::new(),
            absorbed: HashSet::new(),
        };
        for &(id, known) in region {
            if !planner.absorbed.contains(&id) {
                planner.node(id, known)?;
            }
        }
        let mut outputs = Vec::new();
        for &(id, _) in region {
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
        let outside = |user: &InletId| !self.region.contains_key(&user.node);
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
    fn node(&mut self, id: usize, known: &Known<'_>) -> TractResult<()> {
        let x = self.model.node(id).inputs[0];
        let (value, last) = match known {
            Known::Convolution(convolution) => self.convolve(id, x, convolution.clone())?,
            Known::Pool(window, reduction) => {
                let x = self.value(x)?;
                (self.builder.pool(x, window, *reduction), id)
            }
            Known::Upsample(factor) => {
                let x = self.value(x)?;
                (self.builder.upsample(x, *factor), id)
            }
            Known::Join(join) => self.join(id, join)?,
            Known::Group(Group { xi, max, nodes }) => {
                self.absorbed.extend(nodes);
                let x = self.value(x)?;
                (self.builder.group(x, *xi, *max), nodes[2])
            }
            Known::MapSum => {
                let [_, height, width] = size(self.model, x).context("a size")?;
                let x = self.value(x)?;
                let window = Convolution { kernel: [height, width], ..place() };
                (self.builder.pool(x, &window, Reduction::Sum), id)
            }
            Known::Matrix(weights) => {
                let [channels, ..] = size(self.model, OutletId::new(id, 0)).context("a size")?;
                let x = self.value(x)?;
                let (weights, bias) = (Cow::Borrowed(&**weights), vec![0.0; channels]);
                (self.builder.convolve(x, &Convolution { weights, bias, ..place() }, None), id)
            }
            Known::Same => (self.value(x)?, id),
        };
        self.values.insert(OutletId::new(last, 0), value);
        Ok(())
    }

    /// A convolution's step and what follows it; the value, and the last node of these.
    fn convolve(&mut self, id: usize, x: OutletId, mut step: Convolution<'_>) -> TractResult<(Value, usize)> {
        let channels = step.bias.len();
        let (tail, last) = self.follow(id, Tail::new(channels), true)?;
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
        Ok((self.builder.convolve(x, &step, residual), last))
    }

    /// A step of its own for what joins two values, and for what follows it; the value, and the last node of these.
    fn join(&mut self, id: usize, join: &Join) -> TractResult<(Value, usize)> {
        let [channels, ..] = size(self.model, OutletId::new(id, 0)).context("a size")?;
        let mut tail = Tail::new(channels);
        let x = match *join {
            Join::Sum([a, b]) if a == b => {
                tail.scale = vec![2.0; channels];
                a
            }
            Join::Sum([x, _]) | Join::Affine { x, .. } => {
                ensure!(tail.absorb(join, x), "an empty tail takes any of them");
                x
            }
        };
        let (tail, last) = self.follow(id, tail, false)?;
        let x = self.value(x)?;
        let other = tail.residual.map(|other| self.value(other)).transpose()?;
        Ok((self.builder.affine(x, other, &tail.scale, &tail.shift, tail.clamp), last))
    }

    /// Goes on along `tail` from node `id` as far as nodes are the region's, alone, and can be absorbed, with a residual
    /// if `adds`; the last one.
    fn follow(&mut self, id: usize, mut tail: Tail, adds: bool) -> TractResult<(Tail, usize)> {
        let mut last = id;
        loop {
            let outlet = OutletId::new(last, 0);
            let [user] = self.model.node(last).outputs[0].successors.as_slice() else { break };
            let Some(Known::Join(join)) = self.region.get(&user.node) else { break };
            if self.model.output_outlets()?.contains(&outlet) {
                break;
            }
            let mut longer = tail.clone();
            if !longer.absorb(join, outlet) {
                break;
            }
            // A sum waits for its other side: the later of the two takes it.
            let is_made = |residual: OutletId| {
                self.values.contains_key(&residual) || !self.region.contains_key(&residual.node)
            };
            let added = longer.residual.filter(|_| tail.residual.is_none());
            if added.is_some_and(|residual| !adds || !is_made(residual)) {
                break;
            }
            self.absorbed.insert(user.node);
            (tail, last) = (longer, user.node);
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
pub(in crate::engine) struct KernelsOp {
    network: Arc<Network>,
    team: Arc<Threads>,
    /// Memory of runs that are over.
    arenas: Arc<Mutex<Vec<Arena>>>,
    /// Shapes.
    outputs: TVec<TVec<usize>>,
}

impl KernelsOp {
    pub(super) fn new(network: Network, team: &Arc<Threads>, outputs: TVec<TVec<usize>>) -> KernelsOp {
        KernelsOp { network: Arc::new(network), team: Arc::clone(team), arenas: Arc::default(), outputs }
    }

    /// Computes the outputs. Nothing is allocated but the memory of the first run, and of the first beside another.
    pub(in crate::engine) fn run(&self, sources: &[Source], outputs: &mut [&mut [f32]]) {
        let arena = self.arenas.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut arena = arena.unwrap_or_else(|| self.network.arena());
        self.network.run(&mut arena, &*self.team, sources, outputs);
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
    }
}

impl PartialEq for KernelsOp {
    fn eq(&self, other: &KernelsOp) -> bool {
        Arc::ptr_eq(&self.network, &other.network)
    }
}

impl Eq for KernelsOp {}

impl Op for KernelsOp {
    fn name(&self) -> StaticName {
        "Kernels".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{} steps", self.network.steps())])
    }

    op_as_typed_op!();
}

impl EvalOp for KernelsOp {
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

impl TypedOp for KernelsOp {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.outputs.iter().map(f32::fact).collect())
    }

    as_op!();
}
