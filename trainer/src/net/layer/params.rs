//! Parameters: their names, shapes, first values, and where they live.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use candle_core::{Device, Result, Tensor, Var, bail};
use rand::Rng;

use super::Layer;
use crate::random::{Stream, stream};

/// What a parameter is; optimisers treat kinds differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// Kernel or matrix: the only kind that weight decay is for.
    Weight,
    /// Added to outputs.
    Bias,
    /// Multiplies one channel: batch normalisation's gamma, a grouped linear layer's weights.
    Scale,
    /// Running mean of batch normalisation; not trained.
    RunningMean,
    /// Running variance of batch normalisation; not trained.
    RunningVar,
}

/// A parameter's first values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Everywhere this.
    Constant(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}

/// One parameter of a layer list.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// As torchvision or timm call it.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its first values.
    pub init: Init,
    /// What it is.
    pub kind: ParamKind,
}

/// Whether a parameter belongs to the class-aligned layer or the head, which start untrained.
pub fn is_head(name: &str) -> bool {
    name.starts_with("class_aligned.") || name.starts_with("head.")
}

/// A trained parameter.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Its values.
    pub var: Var,
    /// What it is.
    pub kind: ParamKind,
}

/// The values of a layer list's parameters, by name.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// What training changes by gradient.
    pub weights: BTreeMap<String, Weight>,
    /// Running statistics, which training changes without one.
    pub running: BTreeMap<String, Var>,
}

impl ParamKind {
    /// Whether it is a running statistic, which no gradient reaches.
    pub fn is_running(self) -> bool {
        matches!(self, ParamKind::RunningMean | ParamKind::RunningVar)
    }
}

impl Params {
    /// First values, f32. Each parameter has a random stream of its own, drawn from `seed` and its name, so
    /// that one layer more or less leaves the others' values as they were.
    ///
    /// # Errors
    /// Two parameters of one name; candle's, when memory runs out.
    pub fn init(specs: &[ParamSpec], seed: u64, device: &Device) -> Result<Params> {
        let mut params = Params::default();
        for spec in specs {
            let var = Var::from_tensor(&Tensor::from_vec(
                first_values(spec, seed),
                spec.shape.as_slice(),
                device,
            )?)?;
            params.insert(&spec.name, spec.kind, var)?;
        }
        Ok(params)
    }

    /// Adds a parameter.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn insert(&mut self, name: &str, kind: ParamKind, var: Var) -> Result<()> {
        if self.weights.contains_key(name) || self.running.contains_key(name) {
            bail!("two parameters are called {name}; every layer of a network needs a name of its own");
        }
        if kind.is_running() {
            self.running.insert(name.to_owned(), var);
        } else {
            self.weights.insert(name.to_owned(), Weight { var, kind });
        }
        Ok(())
    }

    /// The values of a parameter, running statistics included.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn get(&self, name: &str) -> Result<&Var> {
        match self.weights.get(name).map(|weight| &weight.var).or_else(|| self.running.get(name)) {
            Some(var) => Ok(var),
            None => bail!("the network's parameters lack {name}; they were made for other layers"),
        }
    }
}

/// All parameters of `layers`, in the layers' order.
pub fn parameter_specs(layers: &[Layer]) -> Vec<ParamSpec> {
    layers.iter().flat_map(layer_specs).collect()
}

fn layer_specs(layer: &Layer) -> Vec<ParamSpec> {
    match layer {
        Layer::Conv(conv) => {
            let [rows, columns] = conv.kernel;
            // He et al. 2015 by fan-out, as torchvision starts its networks. Fan-out counts one group, as timm
            // does: a depthwise convolution would else start sqrt(channels) times too small.
            let fan_out = conv.outputs * rows * columns / conv.groups;
            let shape = vec![conv.outputs, conv.inputs / conv.groups, rows, columns];
            let mut specs = vec![weight(&conv.name, shape, (2.0 / fan_out as f64).sqrt())];
            specs.extend(conv.bias.then(|| constant(&conv.name, "bias", conv.outputs, 0.0, ParamKind::Bias)));
            specs
        }
        Layer::BatchNorm(norm) => [
            ("weight", 1.0, ParamKind::Scale),
            ("bias", 0.0, ParamKind::Bias),
            ("running_mean", 0.0, ParamKind::RunningMean),
            ("running_var", 1.0, ParamKind::RunningVar),
        ]
        .map(|(part, value, kind)| constant(&norm.name, part, norm.channels, value, kind))
        .into(),
        Layer::Residual { body, shortcut } => {
            let mut specs = parameter_specs(body);
            specs.extend(parameter_specs(shortcut));
            specs
        }
        Layer::Beside { body } => parameter_specs(body),
        Layer::GroupLinear(linear) => vec![
            constant(&linear.name, "weight", linear.layout.channels(), linear.first_weight, ParamKind::Scale),
            constant(&linear.name, "bias", linear.layout.classes(), 0.0, ParamKind::Bias),
        ],
        // 0.01 is torchvision's for MobileNetV2 and VGG.
        Layer::Linear(linear) => vec![
            weight(&linear.name, vec![linear.outputs, linear.inputs], 0.01),
            constant(&linear.name, "bias", linear.outputs, 0.0, ParamKind::Bias),
        ],
        Layer::Normalise { .. }
        | Layer::Relu
        | Layer::Relu6
        | Layer::MaxPool(_)
        | Layer::AvgPool { .. }
        | Layer::GlobalPool
        | Layer::Ccmp { .. }
        | Layer::Dropout { .. } => Vec::new(),
    }
}

fn weight(layer: &str, shape: Vec<usize>, deviation: f64) -> ParamSpec {
    ParamSpec {
        name: format!("{layer}.weight"),
        shape,
        init: Init::Normal(deviation),
        kind: ParamKind::Weight,
    }
}

fn constant(layer: &str, part: &str, values: usize, value: f32, kind: ParamKind) -> ParamSpec {
    ParamSpec { name: format!("{layer}.{part}"), shape: vec![values], init: Init::Constant(value), kind }
}

fn first_values(spec: &ParamSpec, seed: u64) -> Vec<f32> {
    let count = spec.shape.iter().product();
    match spec.init {
        Init::Constant(value) => vec![value; count],
        Init::Normal(deviation) => {
            let mut rng = stream(Stream::Parameter { seed, name: &spec.name });
            let mut values: Vec<f32> = (0..count.div_ceil(2))
                .flat_map(|_| normal_pair(&mut rng).map(|value| (value * deviation) as f32))
                .collect();
            values.truncate(count);
            values
        }
    }
}

/// Two independent standard normal values (Box and Muller 1958); candle's own generator cannot be seeded on the CPU.
fn normal_pair(rng: &mut impl Rng) -> [f64; 2] {
    // 53 random bits, the first in (0, 1] because of the logarithm.
    let radius = (-2.0 * (((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64).ln()).sqrt();
    let angle = TAU * ((rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64);
    [radius * angle.cos(), radius * angle.sin()]
}
