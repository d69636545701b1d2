//! The computation.

use candle_core::{D, Device, Result, Tensor};
use fieldmark::layout::Run;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{BatchNorm, Conv, GroupLinear, Layer, Linear, Params, Pool};
use crate::net::ops::{self, Activation, ConvGeometry};

/// Whether the network learns.
pub enum Mode<'a> {
    /// Batch statistics, which also move the running ones; dropout draws from the generator.
    Train(&'a mut ChaCha8Rng),
    /// As [`Mode::Train`], but batch normalisations stay as they are: running statistics, and scales and shifts that
    /// get no gradient.
    Tune(&'a mut ChaCha8Rng),
    /// Running statistics, no dropout.
    Eval,
}

/// What `layers` make of `x`, `B x C x H x W` (or `B x C` for layers that take vectors), f32.
///
/// A batch normalisation or biased convolution and the ReLU after it are one pass over memory, as are a
/// residual's addition and its ReLU.
///
/// # Errors
/// Shapes that do not fit, parameters that are missing; candle's own.
pub fn forward(layers: &[Layer], params: &Params, x: &Tensor, mode: &mut Mode) -> Result<Tensor> {
    let mut x = x.clone();
    let mut rest = layers;
    while let [layer, after @ ..] = rest {
        let next = match after.first() {
            Some(Layer::Relu) => Activation::Relu,
            Some(Layer::Relu6) => Activation::Relu6,
            _ => Activation::None,
        };
        let took_next;
        (x, took_next) = apply(layer, next, params, &x, mode)?;
        rest = if took_next { &after[1..] } else { after };
    }
    Ok(x)
}

/// One layer, and whether it has done the activation that comes next, too.
fn apply(
    layer: &Layer,
    next: Activation,
    params: &Params,
    x: &Tensor,
    mode: &mut Mode,
) -> Result<(Tensor, bool)> {
    let fused = next != Activation::None;
    Ok(match layer {
        Layer::Normalise { mean, std } => (normalise(x, mean, std)?, false),
        Layer::Conv(conv) if conv.bias => (biased_conv(conv, next, params, x)?, fused),
        Layer::Conv(conv) => (plain_conv(conv, params, x)?, false),
        Layer::BatchNorm(norm) => (batch_norm(norm, next, params, x, mode)?, fused),
        Layer::Relu => (ops::relu(x)?, false),
        Layer::Relu6 => (ops::relu6(x)?, false),
        Layer::MaxPool(pool) => (max_pool(*pool, x)?, false),
        Layer::AvgPool { kernel, stride } => (ops::avg_pool(x, *kernel, *stride)?, false),
        Layer::Residual { body, shortcut } => {
            let (body, shortcut) = (forward(body, params, x, mode)?, forward(shortcut, params, x, mode)?);
            if next == Activation::Relu {
                (ops::add_relu(&body, &shortcut)?, true)
            } else {
                (ops::add(&body, &shortcut)?, false)
            }
        }
        Layer::Beside { body } => (ops::beside(x, &forward(body, params, x, mode)?)?, false),
        Layer::GlobalPool => (ops::gap(x)?, false),
        Layer::Ccmp { layout } => (ops::ccmp(x, layout)?, false),
        Layer::GroupLinear(linear) => (group_linear(linear, params, x)?, false),
        Layer::Linear(linear) => (dense(linear, params, x)?, false),
        Layer::Dropout { p } => (dropout(x, *p, mode)?, false),
    })
}

fn normalise(x: &Tensor, mean: &[f32; 3], std: &[f32; 3]) -> Result<Tensor> {
    let scale = std.map(|std| 1.0 / std);
    let shift = [0, 1, 2].map(|colour| -mean[colour] / std[colour]);
    let tensor = |values: &[f32; 3]| Tensor::new(values, x.device())?.to_dtype(x.dtype());
    ops::scale_shift(x, &tensor(&scale)?, &tensor(&shift)?, Activation::None)
}

fn plain_conv(conv: &Conv, params: &Params, x: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let padding = conv.padding.around([height, width], conv.kernel, conv.stride);
    let geometry = ConvGeometry { stride: conv.stride, padding, groups: conv.groups };
    ops::conv2d(x, params.get(&format!("{}.weight", conv.name))?, geometry)
}

fn biased_conv(conv: &Conv, act: Activation, params: &Params, x: &Tensor) -> Result<Tensor> {
    let y = plain_conv(conv, params, x)?;
    let bias = params.get(&format!("{}.bias", conv.name))?;
    ops::scale_shift(&y, &Tensor::ones(conv.outputs, bias.dtype(), y.device())?, bias, act)
}

fn batch_norm(norm: &BatchNorm, act: Activation, params: &Params, x: &Tensor, mode: &Mode) -> Result<Tensor> {
    let part = |part: &str| params.get(&format!("{}.{part}", norm.name));
    let (gamma, beta) = (part("weight")?, part("bias")?);
    let (mean, var) = (part("running_mean")?, part("running_var")?);
    match mode {
        Mode::Train(_) => {
            let output = ops::batch_norm_train(x, gamma, beta, norm.eps, act)?;
            ops::move_running(mean, &output.mean, norm.momentum)?;
            ops::move_running(var, &output.var_unbiased, norm.momentum)?;
            Ok(output.y)
        }
        Mode::Tune(_) | Mode::Eval => {
            let (gamma, beta) = (gamma.as_detached_tensor(), beta.as_detached_tensor());
            let scale = (gamma / (var.as_detached_tensor() + norm.eps)?.sqrt()?)?;
            let shift = (beta - (mean.as_detached_tensor() * &scale)?)?;
            ops::scale_shift(x, &scale, &shift, act)
        }
    }
}

fn max_pool(pool: Pool, x: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let padding = pool.padding.around([height, width], [pool.kernel; 2], pool.stride);
    ops::max_pool(x, pool.kernel, pool.stride, padding)
}

/// `B x N` to `B x c`: each group's weighted sum plus its bias.
fn group_linear(linear: &GroupLinear, params: &Params, x: &Tensor) -> Result<Tensor> {
    let weight = params.get(&format!("{}.weight", linear.name))?;
    let weighted = x.broadcast_mul(weight)?;
    let sums =
        linear.layout.runs().iter().map(|run| run_sums(&weighted, run)).collect::<Result<Vec<Tensor>>>()?;
    Tensor::cat(&sums, 1)?.broadcast_add(params.get(&format!("{}.bias", linear.name))?)
}

/// The sums of the groups of one run of equal groups, `B x classes`.
fn run_sums(weighted: &Tensor, run: &Run) -> Result<Tensor> {
    let batch = weighted.dim(0)?;
    weighted
        .narrow(1, run.first_channel, run.classes * run.xi)?
        .contiguous()?
        .reshape((batch, run.classes, run.xi))?
        .sum(D::Minus1)
}

fn dense(linear: &Linear, params: &Params, x: &Tensor) -> Result<Tensor> {
    let weight = params.get(&format!("{}.weight", linear.name))?;
    x.matmul(&weight.t()?)?.broadcast_add(params.get(&format!("{}.bias", linear.name))?)
}

fn dropout(x: &Tensor, p: f32, mode: &mut Mode) -> Result<Tensor> {
    let (Mode::Train(rng) | Mode::Tune(rng)) = mode else { return Ok(x.clone()) };
    let kept = 1.0 / (1.0 - p);
    let mask = (0..x.elem_count()).map(|_| if rng.random::<f32>() < p { 0.0 } else { kept }).collect();
    let mask: Tensor = Tensor::from_vec::<_, f32>(mask, x.shape(), &Device::Cpu)?;
    x * mask.to_dtype(x.dtype())?.to_device(x.device())?
}
