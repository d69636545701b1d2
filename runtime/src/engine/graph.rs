//! From a checked protocol buffer to a network that runs.

use std::sync::Arc;

use ndarray::Array3;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::floats::FloatPrecisionTranslator;
use tract_onnx::tract_core::internal::{Cost, TractErrorContext, ensure};
use tract_onnx::tract_core::runtime::{DefaultRuntime, Runnable, Runtime};
use tract_onnx::tract_core::tract_linalg;

use super::check::{FEATURES, graph_error, outputs};
use super::error::{LoadError, RunError};
use super::fuse::{Fused, KernelsOp, fuse};
use super::gpu;
use super::guard::{guarded, one_line};
use super::options::{Device, Kernels, Options, Precision};
use crate::frame::{Frame, input};
use crate::kernels::{Isa, Source, Storage, Team, Threads, return_freed};
use crate::model::Description;

/// The most values a tensor of the graph may have, 1 GiB in f32: twice the widest layer of a VGG-16 at
/// the largest input.
const MAX_VALUES: usize = 1 << 28;

/// The most values all tensors of the graph may have together, 4 GiB in f32: a ResNet-50 at 448 pixels has a twentieth.
const MAX_TOTAL: usize = 1 << 30;

/// The most multiply-adds of one run: a hundred times a VGG-16 at 448 pixels, an hour on the smallest board.
const MAX_MULTIPLY_ADDS: u64 = 6_000_000_000_000;

/// What the network says about one input.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// `c` finite numbers.
    pub logits: Vec<f32>,
    /// The class-aligned maps after `ReLU`, `[N, H, W]`.
    pub maps: Array3<f32>,
    /// The means of the backbone's last maps, `K` values; none where the model has no sketches.
    pub features: Vec<f32>,
}

/// What computes the network, and in which numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    /// The kernels.
    Kernels(Storage),
    /// tract, in 16-bit floats or in 32-bit ones.
    Tract { half: bool },
    /// A GPU, in 16-bit floats, or in 32-bit ones, whose products may be TF32's, of 11 significant bits.
    Gpu { half: bool },
}

impl Arithmetic {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Arithmetic::Kernels(Storage::Single) | Arithmetic::Tract { half: false } => "f32",
            Arithmetic::Kernels(Storage::Half) => "f32, weights f16",
            Arithmetic::Kernels(Storage::HalfProducts) => "f32 and f16",
            Arithmetic::Tract { half: true } => "f16",
            Arithmetic::Gpu { half: false } => "f32 on the GPU, products perhaps TF32",
            Arithmetic::Gpu { half: true } => "f16 on the GPU",
        }
    }

    /// All numbers are 32-bit floats, weights and products, too.
    pub(super) fn is_single(self) -> bool {
        matches!(self, Arithmetic::Kernels(Storage::Single) | Arithmetic::Tract { half: false })
    }
}

/// A network ready to run.
#[derive(Debug)]
pub(super) struct Graph {
    runner: Runner,
    side: usize,
    pub(super) map_size: [usize; 2],
    pub(super) arithmetic: Arithmetic,
    pub(super) multiply_adds: u64,
    pub(super) threads: usize,
}

/// What computes the outputs of a picture.
#[derive(Debug)]
enum Runner {
    /// The kernels, all of it.
    Kernels(Box<KernelsOp>),
    /// tract, and the kernels inside of its graph.
    Tract {
        plan: Box<dyn Runnable>,
        /// The input is `u8 [1, side, side, 3]`.
        takes_bytes: bool,
    },
}

/// This processor computes with 16-bit floats, and tract has kernels for it.
pub(super) fn has_half_arithmetic() -> bool {
    tract_linalg::has_fp16()
}

/// The instruction sets that the engine uses on this processor.
pub fn instruction_set() -> String {
    let names: Vec<_> = tract_linalg::isa::native().iter().map(|isa| isa.name()).collect();
    names.join(" ")
}

impl Graph {
    /// Builds the network and checks its outputs against the description.
    pub(super) fn prepare(
        model: ModelProto,
        description: &Description,
        options: Options,
    ) -> Result<Graph, LoadError> {
        let half = options.precision == Precision::F16;
        let typed = prepared(|| typed_model(&model, description))?;
        // Constants are in memory twice otherwise, while the kernels pack theirs.
        drop(model);
        return_freed();
        check_sizes(&typed)?;
        let map_size = check_outputs(&typed, description)?;
        let multiply_adds = prepared(|| multiply_adds(&typed))?;
        if multiply_adds > MAX_MULTIPLY_ADDS {
            let expected = format!("at most {MAX_MULTIPLY_ADDS} multiply-adds");
            return Err(graph_error("the graph", &expected, &multiply_adds.to_string()));
        }
        let side = description.input.side as usize;
        if options.device == Device::Cuda {
            let arithmetic = Arithmetic::Gpu { half };
            let runtime = gpu::runtime().map_err(|reason| LoadError::NoGpu { reason })?;
            let plan = prepared(|| runtime.prepare(in_precision(typed, half)?))?;
            let runner = Runner::Tract { plan, takes_bytes: false };
            return Ok(Graph { runner, side, map_size, arithmetic, multiply_adds, threads: 1 });
        }
        let isa = match options.kernels {
            Kernels::Best => Some(Isa::best()),
            Kernels::Only(isa) => Some(isa),
            Kernels::Tract => None,
        };
        let Some(isa) = isa else {
            let arithmetic = Arithmetic::Tract { half };
            let runner = Runner::Tract { plan: prepared(|| plan(typed, half))?, takes_bytes: false };
            return Ok(Graph { runner, side, map_size, arithmetic, multiply_adds, threads: 1 });
        };
        if !isa.is_available() {
            let reason = format!("this processor does not have {isa}; it has {}", instruction_set());
            return Err(LoadError::Prepare { reason });
        }
        let team = Threads::new(threads(options)).map_err(|error| LoadError::Prepare {
            reason: format!("no threads for it: {error}; ask for fewer"),
        })?;
        let threads = team.members();
        let storage = match options.precision {
            Precision::Auto | Precision::F32 => Storage::Single,
            Precision::F16 => Storage::HalfProducts.possible(isa),
        };
        let Fused { model, takes_bytes, whole } = prepared(|| fuse(typed, isa, storage, &Arc::new(team)))?;
        let runner = match whole.filter(|_| takes_bytes) {
            Some(region) => {
                drop(model);
                Runner::Kernels(Box::new(region))
            }
            None => Runner::Tract { plan: prepared(|| plan(model, false))?, takes_bytes },
        };
        return_freed();
        let arithmetic = Arithmetic::Kernels(storage);
        Ok(Graph { runner, side, map_size, arithmetic, multiply_adds, threads })
    }

    /// The outputs for a `side * side` frame, finite or not, which fit into `output`.
    pub(super) fn run(&self, frame: &Frame, output: &mut Output) -> Result<(), RunError> {
        let failed = |reason: String| RunError::Engine { reason };
        guarded(|| self.outputs(frame, output))
            .map_err(failed)?
            .map_err(|error| failed(one_line(&format!("{error:#}"))))
    }

    fn outputs(&self, frame: &Frame, output: &mut Output) -> TractResult<()> {
        let maps = output.maps.as_slice_mut().context("maps in order")?;
        let wanted = 2 + usize::from(!output.features.is_empty());
        let mut outputs = [output.logits.as_mut_slice(), maps, output.features.as_mut_slice()];
        let outputs = &mut outputs[..wanted];
        let (plan, takes_bytes) = match &self.runner {
            Runner::Kernels(region) => {
                region.run(&[Source::Bytes(frame.pixels())], outputs);
                return Ok(());
            }
            Runner::Tract { plan, takes_bytes } => (plan, *takes_bytes),
        };
        let mut image = if takes_bytes {
            Tensor::from_shape(&[1, self.side, self.side, 3], frame.pixels())?
        } else {
            let planes = input(frame);
            let values = planes.as_slice().expect("a new array is contiguous");
            Tensor::from_shape(&[1, 3, self.side, self.side], values)?
        };
        if matches!(self.arithmetic, Arithmetic::Tract { half: true } | Arithmetic::Gpu { half: true }) {
            image = image.cast_to::<f16>()?.into_owned();
        }
        let tensors = plan.run(tvec!(image.into()))?;
        ensure!(tensors.len() == outputs.len(), "the graph did not give {} outputs", outputs.len());
        for (tensor, output) in tensors.iter().zip(outputs) {
            let tensor = tensor.cast_to::<f32>()?;
            let values = tensor.try_as_plain_ram()?.as_slice::<f32>()?;
            ensure!(
                values.len() == output.len(),
                "an output of {} values, not {}",
                values.len(),
                output.len()
            );
            output.copy_from_slice(values);
        }
        Ok(())
    }
}

/// As asked, else the cores that this program may use.
fn threads(options: Options) -> usize {
    if options.threads == 0 { cores() } else { options.threads }
}

/// Cores that this program may use: two threads that share one are slower here than one alone.
pub fn cores() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.min(num_cpus::get_physical())
}

/// What `run` gives; its errors and panics in words.
fn prepared<T>(run: impl FnOnce() -> TractResult<T>) -> Result<T, LoadError> {
    let failed = |reason: String| LoadError::Prepare { reason };
    guarded(run).map_err(failed)?.map_err(|error| failed(one_line(&format!("{error:#}"))))
}

/// The graph with every shape known. Without a path, so that no other file can be read.
fn typed_model(model: &ModelProto, description: &Description) -> TractResult<TypedModel> {
    let side = description.input.side as usize;
    let parsed = tract_onnx::onnx().with_ignore_value_info(true).parse(model, None)?;
    if let Some(name) = parsed.unresolved_inputs.first() {
        return Err(TractError::msg(format!("nothing makes {name:?}, which a node takes")));
    }
    let mut model = parsed.model;
    model.select_outputs_by_name(outputs(description))?;
    model.set_input_fact(0, f32::fact([1, 3, side, side]).into())?;
    model.into_typed()
}

/// Optimised for this processor.
fn plan(model: TypedModel, half: bool) -> TractResult<Box<dyn Runnable>> {
    DefaultRuntime.prepare(in_precision(model, half)?)
}

/// With `half`, all of it in 16 bits.
fn in_precision(mut model: TypedModel, half: bool) -> TractResult<TypedModel> {
    if half {
        let translator = FloatPrecisionTranslator::new(DatumType::F32, DatumType::F16);
        model.transform(&translator)?;
    }
    Ok(model)
}

fn multiply_adds(model: &TypedModel) -> TractResult<u64> {
    let mut total = 0;
    for node in model.nodes() {
        for (cost, count) in node.op.cost(&model.node_input_facts(node.id)?)? {
            if matches!(cost, Cost::FMA(_)) {
                total += u64::try_from(count.to_i64()?)?;
            }
        }
    }
    Ok(total)
}

fn check_sizes(model: &TypedModel) -> Result<(), LoadError> {
    let mut total = 0_usize;
    for node in model.nodes() {
        for output in &node.outputs {
            let values = output.fact.shape.as_concrete().and_then(|shape| {
                let grow = |values: usize, &side: &usize| values.checked_mul(side);
                shape.iter().try_fold(1, grow)
            });
            let Some(values) = values.filter(|&values| values <= MAX_VALUES) else {
                let what = format!("tensor {:?}", one_line(&node.name));
                let expected = format!("a fixed size of at most {MAX_VALUES} values");
                return Err(graph_error(&what, &expected, &format!("{:?}", output.fact.shape)));
            };
            total = total.saturating_add(values);
        }
    }
    if total > MAX_TOTAL {
        let expected = format!("at most {MAX_TOTAL} values in all tensors");
        return Err(graph_error("the graph", &expected, &total.to_string()));
    }
    Ok(())
}

/// Compares the outputs' shapes with the description; the maps' height and width.
fn check_outputs(model: &TypedModel, description: &Description) -> Result<[usize; 2], LoadError> {
    let (classes, channels) = (description.labels.len(), description.layout.channels());
    let shape = |at: usize| {
        let fact = model.output_fact(at).ok()?;
        let shape = fact.shape.as_concrete()?;
        (fact.datum_type == DatumType::F32).then(|| shape.to_vec())
    };
    let words = |at: usize| match model.output_fact(at) {
        Ok(fact) => format!("{fact:?}"),
        Err(_) => "none".to_string(),
    };
    if shape(0) != Some(vec![1, classes]) {
        let expected = format!("f32 [1, {classes}], one for each label");
        return Err(graph_error("graph output \"logits\"", &expected, &words(0)));
    }
    if let Some(sketches) = &description.sketches {
        let features = sketches.weights.len();
        if shape(2) != Some(vec![1, features]) {
            let expected = format!("f32 [1, {features}], one for each weight of the sketches");
            return Err(graph_error(&format!("graph output \"{FEATURES}\""), &expected, &words(2)));
        }
    }
    match shape(1).as_deref() {
        Some(&[1, n, height, width]) if n == channels && height.min(width) > 0 => {
            check_stride(description, [height, width])?;
            Ok([height, width])
        }
        _ => {
            let expected = format!("f32 [1, {channels}, H, W], one channel for each of the groups");
            Err(graph_error("graph output \"maps\"", &expected, &words(1)))
        }
    }
}

/// Padding may add or lose one cell against `side / map_stride`.
fn check_stride(description: &Description, cells: [usize; 2]) -> Result<(), LoadError> {
    let side = description.input.side as usize;
    let expected = side / description.map_stride as usize;
    if cells.iter().all(|&cells| cells.abs_diff(expected) <= 1) {
        return Ok(());
    }
    let what = format!("maps at stride {} of {side} pixels", description.map_stride);
    let expected = format!("about {expected} x {expected} cells");
    Err(graph_error(&what, &expected, &format!("{} x {}", cells[0], cells[1])))
}
