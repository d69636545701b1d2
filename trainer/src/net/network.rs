//! A whole network: backbone, class-aligned layer, head. One pass gives maps and logits.
//!
//! The maps are the class-aligned channels after their ReLU: class `i` owns a contiguous group of `xi` of the
//! `N` channels. MC-Loss works on the maps, the head makes `c` logits of them.

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor, TensorId, Var, bail};
use fieldmark::head::{Head, HeadKind};
use fieldmark::layout::{Layout, LayoutError};
use ndarray::{Array3, Array4, Axis};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::net::backbone::{Backbone, BackboneError, Convention, Cut, conv, conventional, norm, trunk};
use crate::net::device::Precision;
use crate::net::layer::{
    self, GroupLinear, Layer, Linear, Mode, Padding, ParamSpec, Params, Shape, ShapeError, forward,
    parameter_specs, shape,
};
use crate::net::ops::{Gradients, Tape, record};

/// How class-aligned channels are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ClassLayer {
    /// A 1x1 convolution to `c * xi` channels, batch normalisation and ReLU, on the backbone's last maps of
    /// `stride`.
    Project {
        /// Input pixels a cell.
        stride: usize,
    },
    /// As `Project`, on the maps of `stride` and the backbone's last, coarser ones together, which are repeated over their
    /// cells: hypercolumns (Hariharan et al. 2015). What a cell sees decides where a mark lies, what the backbone knows at its
    /// end whose it is.
    Hypercolumn {
        /// Input pixels a cell of the finer maps.
        stride: usize,
    },
    /// The backbone's own last width is `c * xi`, as in the authors' training from scratch.
    Native,
    /// The backbone's own channels, shared out as evenly as they can be, larger groups last; xi follows.
    Allot,
}

/// What a network is made of, apart from its classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Below the class-aligned layer.
    pub backbone: Backbone,
    /// What its pretrained weights expect; `None` leaves it as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convention: Option<Convention>,
    /// How class-aligned channels are made.
    pub class_layer: ClassLayer,
    /// Channels a class; not used by [`ClassLayer::Allot`].
    pub xi: usize,
    /// How logits are made of maps.
    pub head: HeadKind,
    /// Probability of zeroing a pooled channel in training, in 0..1; 0 for none.
    pub dropout: f32,
}

/// A network and its parameters. `c` classes, `N` channels.
#[derive(Clone, Debug)]
pub struct Network {
    /// Pictures `B x 3 x S x S` in 0..=255 to maps `B x N x H x W` after a ReLU.
    pub trunk: Vec<Layer>,
    /// Maps to logits `B x c`.
    pub head: Vec<Layer>,
    /// Which of the `N` channels belong to which class.
    pub layout: Layout,
    /// How logits are made of maps.
    pub head_kind: HeadKind,
    /// Parameters of trunk and head. Names that begin with `class_aligned.` or `head.` belong to no backbone.
    pub params: Params,
    /// Of the maps between layers.
    pub precision: Precision,
}

/// The first layer above the backbone in [`ClassLayer::Project`] and [`ClassLayer::Hypercolumn`].
const CLASS_ALIGNED: &str = "class_aligned.conv";

/// What one pass gives.
#[derive(Clone, Debug)]
pub struct Output {
    /// `B x N x H x W`, at least 0, in the network's precision.
    pub maps: Tensor,
    /// `B x c`.
    pub logits: Tensor,
}

/// How the backbone takes part in a training pass. Class-aligned layer and head always learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    /// It learns, and its batch normalisations do what is said.
    Whole(Norms),
    /// It computes as in evaluation and gets no gradients: what a pass costs then is little more than its forward half.
    /// Without a class-aligned layer of its own ([`ClassLayer::Native`], [`ClassLayer::Allot`]) it takes part as
    /// [`Norms::Keep`].
    Head,
}

/// What the backbone's batch normalisations do in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Norms {
    /// They normalise by each batch's own statistics, and learn.
    #[default]
    Learn,
    /// They keep the statistics, scales and shifts of the pretrained weights, which come from far more pictures than a small
    /// photo set has.
    Keep,
}

/// A training pass: what came out, and the way back.
pub struct Pass {
    /// As [`Network::forward`] gives it; the maps are a leaf of candle's graph, and the logits grow on them.
    pub output: Output,
    /// That leaf: the maps as they lie in memory.
    leaf: Tensor,
    /// The maps as the tape knows them.
    trunk_maps: Tensor,
    tape: Tape,
    /// The backbone's maps, where it learns and a class-aligned layer follows.
    floor: Option<TensorId>,
}

/// Why a network cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A group layout that cannot be.
    #[error(transparent)]
    Groups(#[from] LayoutError),
    /// Another number of channels than the layout shares out.
    #[error("the class-aligned maps have {channels} channels, but the layout shares out {layout}")]
    Layout {
        /// Channels that the trunk gives.
        channels: usize,
        /// Channels of the layout.
        layout: usize,
    },
    /// A backbone that cannot be cut so.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// Layers that do not fit each other or the input.
    #[error("the network does not fit pictures of side {side}: {source}")]
    Shape {
        /// Input side.
        side: u32,
        /// Which layer and why.
        source: ShapeError,
    },
    /// Maps that may be negative.
    #[error(
        "the class-aligned maps come out of {layer}, expected a ReLU or ReLU6: a masked channel is set to 0, which \
         drops it only where no value is below 0"
    )]
    NotAfterRelu {
        /// The trunk's last layer.
        layer: String,
    },
    /// Dropout that this head cannot have.
    #[error("dropout is {p}; {reason}")]
    Dropout {
        /// What was asked for.
        p: f32,
        /// Why not, and what instead.
        reason: &'static str,
    },
    /// Parameters could not be made.
    #[error("the network's parameters cannot be made: {0}")]
    Params(#[from] candle_core::Error),
}

/// A network of first weights for `classes` classes and pictures of `side` pixels, all random values decided by
/// `seed`.
///
/// # Errors
/// [`NetworkError`]: parts that do not fit each other or the side.
pub fn build(config: &NetworkConfig, classes: usize, side: u32, seed: u64) -> Result<Network, NetworkError> {
    let (trunk, layout) = class_aligned(config, classes, side)?;
    let head = head_layers(config.head, &layout, config.dropout)?;
    assemble(trunk, head, layout, config.head, side, seed)
}

/// Checks that layers make a network, and draws its first weights.
///
/// # Errors
/// Maps that do not come out of a ReLU, layers that do not fit.
pub fn assemble(
    trunk: Vec<Layer>,
    head: Vec<Layer>,
    layout: Layout,
    head_kind: HeadKind,
    side: u32,
    seed: u64,
) -> Result<Network, NetworkError> {
    if !matches!(trunk.last(), Some(Layer::Relu | Layer::Relu6)) {
        let layer = trunk.last().map_or_else(|| "an empty trunk".to_owned(), layer::title);
        return Err(NetworkError::NotAfterRelu { layer });
    }
    let channels = channels(&trunk, side)?;
    if channels != layout.channels() {
        return Err(NetworkError::Layout { channels, layout: layout.channels() });
    }
    let whole = [trunk.as_slice(), head.as_slice()].concat();
    shape(&whole, [3, side as usize, side as usize])
        .map_err(|source| NetworkError::Shape { side, source })?;
    let params = Params::init(&parameter_specs(&whole), seed, &Device::Cpu)?;
    Ok(Network { trunk, head, layout, head_kind, params, precision: Precision::F32 })
}

/// The trunk with its class-aligned layer, and the layout of its channels.
fn class_aligned(
    config: &NetworkConfig,
    classes: usize,
    side: u32,
) -> Result<(Vec<Layer>, Layout), NetworkError> {
    match config.class_layer {
        ClassLayer::Project { stride } => {
            projected(config, backbone_layers(config, Cut::Stride(stride))?, classes, side)
        }
        ClassLayer::Hypercolumn { stride } => projected(config, hypercolumns(config, stride)?, classes, side),
        ClassLayer::Native => {
            let layout = Layout::uniform(classes, config.xi)?;
            Ok((backbone_layers(config, Cut::Width(layout.channels()))?, layout))
        }
        ClassLayer::Allot => {
            let layers = backbone_layers(config, Cut::End)?;
            let layout = Layout::allot(classes, channels(&layers, side)?)?;
            Ok((layers, layout))
        }
    }
}

/// `layers`, and above them a class-aligned layer of its own.
fn projected(
    config: &NetworkConfig,
    mut layers: Vec<Layer>,
    classes: usize,
    side: u32,
) -> Result<(Vec<Layer>, Layout), NetworkError> {
    let layout = Layout::uniform(classes, config.xi)?;
    let (inputs, outputs) = (channels(&layers, side)?, layout.channels());
    layers.extend([
        Layer::Conv(conv(CLASS_ALIGNED, inputs, outputs, 1, 1, Padding::Explicit(0))),
        norm("class_aligned.bn", outputs, 1e-5),
        Layer::Relu,
    ]);
    Ok((layers, layout))
}

/// The backbone as far as the maps of `stride`, and beside these its last.
fn hypercolumns(config: &NetworkConfig, stride: usize) -> Result<Vec<Layer>, BackboneError> {
    let mut layers = backbone_layers(config, Cut::Stride(stride))?;
    let mut whole = backbone_layers(config, Cut::End)?;
    let body = whole.split_off(layers.len());
    if layer::stride(&body) == 1 {
        return Err(BackboneError::Coarser { backbone: config.backbone, asked: stride });
    }
    layers.push(Layer::Beside { body });
    Ok(layers)
}

fn backbone_layers(config: &NetworkConfig, cut: Cut) -> Result<Vec<Layer>, BackboneError> {
    let layers = trunk(config.backbone, cut)?;
    match config.convention {
        Some(convention) => conventional(layers, config.backbone, convention),
        None => Ok(layers),
    }
}

/// Channels that `layers` give for pictures of `side`.
fn channels(layers: &[Layer], side: u32) -> Result<usize, NetworkError> {
    let input = [3, side as usize, side as usize];
    match shape(layers, input).map_err(|source| NetworkError::Shape { side, source })? {
        Shape::Maps([channels, ..]) | Shape::Vector(channels) => Ok(channels),
    }
}

/// A class's logit at the start, in units of its group's mean activation (about 0.4 a channel after batch
/// normalisation and ReLU). A mark covers few of the map's cells, so its mean is small, and with 1 the softmax
/// would need activations tens of units tall before it believed any mark.
const FIRST_SCALE: f32 = 5.0;

/// The layers from maps to logits.
///
/// # Errors
/// Dropout outside 0..1, or before the group maximum's scores.
pub fn head_layers(kind: HeadKind, layout: &Layout, dropout: f32) -> Result<Vec<Layer>, NetworkError> {
    let refuse = |reason| Err(NetworkError::Dropout { p: dropout, reason });
    if !(0.0..1.0).contains(&dropout) {
        return refuse("it is a probability: choose 0 for none, or less than 1");
    }
    let group_linear = |layout: Layout| {
        let mean_xi = layout.channels() as f32 / layout.classes() as f32;
        Layer::GroupLinear(GroupLinear { name: "head".into(), layout, first_weight: FIRST_SCALE / mean_xi })
    };
    let pooled = [Layer::GlobalPool, Layer::Dropout { p: dropout }];
    let pooled = if dropout > 0.0 { pooled.to_vec() } else { pooled[..1].to_vec() };
    Ok(match kind {
        HeadKind::GroupMax if dropout > 0.0 => {
            return refuse(
                "the group-max head has one score a class, and dropping the right one teaches nothing: \
                           choose 0, or another head",
            );
        }
        HeadKind::GroupMax => vec![
            Layer::Ccmp { layout: layout.clone() },
            Layer::GlobalPool,
            group_linear(Layout::uniform(layout.classes(), 1)?),
        ],
        HeadKind::GroupMean => [pooled, vec![group_linear(layout.clone())]].concat(),
        HeadKind::Linear => {
            let linear = Linear { name: "head".into(), inputs: layout.channels(), outputs: layout.classes() };
            [pooled, vec![Layer::Linear(linear)]].concat()
        }
    })
}

impl Network {
    /// Maps and logits of `images`, `B x 3 x S x S` in 0..=255.
    ///
    /// # Errors
    /// Images of another shape; candle's own.
    pub fn forward(&self, images: &Tensor, mode: &mut Mode) -> candle_core::Result<Output> {
        let maps = self.maps(images, mode)?;
        let logits = forward(&self.head, &self.params, &maps, mode)?;
        Ok(Output { maps, logits })
    }

    /// Layers of the trunk that are the backbone's: those below the class-aligned layer of
    /// [`ClassLayer::Project`] and [`ClassLayer::Hypercolumn`], or all.
    pub fn backbone_depth(&self) -> usize {
        let is_class_aligned =
            |layer: &Layer| matches!(layer, Layer::Conv(conv) if conv.name == CLASS_ALIGNED);
        self.trunk.iter().position(is_class_aligned).unwrap_or(self.trunk.len())
    }

    /// Of a backbone that ends in two levels of maps, the channels of the coarser one, which come last.
    pub fn last_channels(&self) -> Option<usize> {
        match self.trunk[..self.backbone_depth()].last()? {
            Layer::Beside { body } => layer::outputs(body),
            _ => None,
        }
    }

    /// The backbone's last maps in evaluation, `B x K x H x W`, of `images` as [`Network::forward`] takes them.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn backbone_maps(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        let (images, layers) = self.begun(images, &mut Mode::Eval)?;
        let above = self.trunk.len() - self.backbone_depth();
        forward(&layers[..layers.len() - above], &self.params, &images, &mut Mode::Eval)
    }

    fn maps(&self, images: &Tensor, mode: &mut Mode) -> candle_core::Result<Tensor> {
        let (images, layers) = self.begun(images, mode)?;
        forward(layers, &self.params, &images, mode)
    }

    /// The trunk as far as nothing in it learns and the maps' type is not yet theirs, and the layers after that.
    fn begun(&self, images: &Tensor, mode: &mut Mode) -> candle_core::Result<(Tensor, &[Layer])> {
        Ok(match self.precision {
            Precision::F32 => (images.clone(), &self.trunk),
            Precision::Bf16 => {
                // Rounded after the normalisation: before, 0 to 255 would lose its last bits.
                let (normalisation, rest) = self.trunk.split_at(1);
                (in_bf16(&forward(normalisation, &self.params, images, mode)?)?, rest)
            }
        })
    }

    /// Maps and logits of `images`, `B x 3 x S x S` in 0..=255, in training; `rng` draws dropout.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn pass(
        &self,
        images: &Tensor,
        learning: Learning,
        rng: &mut ChaCha8Rng,
    ) -> candle_core::Result<Pass> {
        let (mut x, layers) = self.begun(&images.contiguous()?, &mut Mode::Eval)?;
        let above = self.trunk.len() - self.backbone_depth();
        let (mut backbone, class_aligned) = layers.split_at(layers.len() - above);
        if learning == Learning::Head && !class_aligned.is_empty() {
            x = forward(backbone, &self.params, &x, &mut Mode::Eval)?.detach();
            backbone = &[];
        }
        let mut floor = None;
        let (trunk_maps, tape) = record(&x, || {
            let mut mode = match learning {
                Learning::Whole(Norms::Learn) => Mode::Train(rng),
                Learning::Whole(Norms::Keep) | Learning::Head => Mode::Tune(rng),
            };
            let x = forward(backbone, &self.params, &x, &mut mode)?;
            floor = (!backbone.is_empty() && !class_aligned.is_empty()).then(|| x.id());
            forward(class_aligned, &self.params, &x, &mut Mode::Train(rng))
        })?;
        let mut mode = Mode::Train(rng);
        // A copy in another order than they lie in would be turned again by every operation.
        let is_last = trunk_maps.device().is_cuda();
        let lying = if is_last { trunk_maps.permute((0, 2, 3, 1))? } else { trunk_maps.clone() };
        let leaf = Var::from_tensor(&lying)?.into_inner();
        let maps = if is_last { leaf.permute((0, 3, 1, 2))? } else { leaf.clone() };
        let logits = forward(&self.head, &self.params, &maps, &mut mode)?;
        Ok(Pass { output: Output { maps, logits }, leaf, trunk_maps, tape, floor })
    }

    /// The same network on `device`, its maps of `precision`.
    ///
    /// # Errors
    /// candle's, when memory runs out.
    pub fn on(&self, device: &Device, precision: Precision) -> candle_core::Result<Network> {
        let mut network = Network { precision, ..self.clone() };
        let weights = network.params.weights.values_mut().map(|weight| &mut weight.var);
        for var in weights.chain(network.params.running.values_mut()) {
            *var = Var::from_tensor(&var.as_detached_tensor().to_device(device)?)?;
        }
        Ok(network)
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        let first = self.params.weights.values().next();
        first.map_or(Device::Cpu, |weight| weight.var.device().clone())
    }

    /// The head as the board computes it, with the parameters' present values.
    ///
    /// # Errors
    /// candle's, if parameters are missing.
    pub fn head(&self) -> candle_core::Result<Head> {
        let weight = self.params.get("head.weight")?.as_detached_tensor();
        let bias = self.params.get("head.bias")?.to_vec1()?;
        let owners = (0..self.layout.channels()).map(|channel| self.layout.class_of(channel));
        let weight = match self.head_kind {
            HeadKind::GroupMean => weight.to_vec1()?,
            HeadKind::GroupMax => {
                let scales: Vec<f32> = weight.to_vec1()?;
                owners.map(|class| scales[class]).collect()
            }
            HeadKind::Linear => {
                let owners = Tensor::from_iter(owners.map(|class| class as u32), weight.device())?;
                weight.t()?.contiguous()?.gather(&owners.unsqueeze(1)?, D::Minus1)?.squeeze(1)?.to_vec1()?
            }
        };
        Ok(Head { kind: self.head_kind, weight, bias })
    }

    /// Input pixels from one cell of the maps to the next.
    pub fn map_stride(&self) -> usize {
        layer::stride(&self.trunk)
    }

    /// All parameters, in the layers' order.
    pub fn specs(&self) -> Vec<ParamSpec> {
        [parameter_specs(&self.trunk), parameter_specs(&self.head)].concat()
    }
}

impl Pass {
    /// The gradients of `loss`, and of `above`, for all of the network's weights; both are made of the pass's output. By
    /// `above` the backbone does not learn: its gradient ends at the class-aligned layer, where there is one, and goes through
    /// the maps alone.
    ///
    /// # Errors
    /// candle's.
    pub fn backward(
        self,
        loss: &Tensor,
        above: Option<&Tensor>,
        network: &Network,
    ) -> candle_core::Result<Gradients> {
        let Pass { output, leaf, trunk_maps, tape, floor } = self;
        let mut of_head = loss.backward()?;
        let of_maps = of_leaf(&mut of_head, &leaf)?;
        let above = above.map(|above| of_leaf(&mut above.backward()?, &leaf)).transpose()?;
        drop((output, leaf));
        let mut gradients = match (above, floor) {
            (None, _) => tape.backward(&trunk_maps, of_maps)?,
            // The backbone has no gradient, or no layer above it.
            (Some(above), None) => tape.backward(&trunk_maps, (of_maps + above)?)?,
            (Some(above), Some(floor)) => {
                let above = tape.backward_to(floor, &trunk_maps, above)?;
                let mut gradients = tape.backward(&trunk_maps, of_maps)?;
                gradients.add_all(above)?;
                gradients
            }
        };
        for weight in network.params.weights.values() {
            if let Some(gradient) = of_head.remove(&weight.var) {
                gradients.add(&weight.var, gradient)?;
            }
        }
        Ok(gradients)
    }
}

/// The gradient of the maps, channels first, from that of the leaf, which lies channels last on a GPU.
fn of_leaf(gradients: &mut GradStore, leaf: &Tensor) -> candle_core::Result<Tensor> {
    let Some(gradient) = gradients.remove(leaf) else { bail!("the loss does not depend on the maps") };
    if leaf.device().is_cuda() { gradient.permute((0, 3, 1, 2)) } else { Ok(gradient) }
}

/// The maps of each picture, `[N, H, W]`, of a batch's `B x N x H x W`.
pub(crate) fn maps_of_each(maps: &Tensor) -> candle_core::Result<Vec<Array3<f32>>> {
    let shape = maps.dims4()?;
    let values = maps.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
    let maps = Array4::from_shape_vec(shape, values);
    let maps = maps.map_err(|error| candle_core::Error::Msg(error.to_string()))?;
    Ok(maps.axis_iter(Axis(0)).map(|maps| maps.to_owned()).collect())
}

/// Maps rounded to bf16, lying in memory as they lay: channels last on a GPU.
fn in_bf16(maps: &Tensor) -> candle_core::Result<Tensor> {
    maps.permute((0, 2, 3, 1))?.to_dtype(Precision::Bf16.dtype())?.permute((0, 3, 1, 2))
}

#[cfg(test)]
mod tests;
