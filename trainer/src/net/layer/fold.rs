//! The same function without batch normalisation and dropout.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::{BatchNorm, Conv, Layer, ParamKind, Params, parameter_specs};

/// Layers and parameters that compute in evaluation what `layers` do, with every batch normalisation that
/// follows a convolution folded into it and dropout left out. A batch normalisation that follows anything
/// else stays. The given parameters are copied, not shared.
///
/// # Errors
/// Parameters that are missing; candle's own.
pub fn fold(layers: &[Layer], params: &Params) -> Result<(Vec<Layer>, Params)> {
    let mut folded = Params::default();
    let layers = fold_into(layers, params, &mut folded)?;
    Ok((layers, folded))
}

fn fold_into(layers: &[Layer], params: &Params, folded: &mut Params) -> Result<Vec<Layer>> {
    let mut out = Vec::new();
    let mut rest = layers;
    while let [layer, after @ ..] = rest {
        rest = after;
        match (layer, after.first()) {
            (Layer::Conv(conv), Some(Layer::BatchNorm(norm))) => {
                out.push(fold_pair(conv, norm, params, folded)?);
                rest = &after[1..];
            }
            (Layer::Residual { body, shortcut }, _) => out.push(Layer::Residual {
                body: fold_into(body, params, folded)?,
                shortcut: fold_into(shortcut, params, folded)?,
            }),
            (Layer::Beside { body }, _) => {
                out.push(Layer::Beside { body: fold_into(body, params, folded)? });
            }
            (Layer::Dropout { .. }, _) => {}
            (
                Layer::Normalise { .. }
                | Layer::Conv(_)
                | Layer::BatchNorm(_)
                | Layer::Relu
                | Layer::Relu6
                | Layer::MaxPool(_)
                | Layer::AvgPool { .. }
                | Layer::GlobalPool
                | Layer::Ccmp { .. }
                | Layer::GroupLinear(_)
                | Layer::Linear(_),
                _,
            ) => {
                for spec in parameter_specs(std::slice::from_ref(layer)) {
                    let copy = Var::from_tensor(&params.get(&spec.name)?.as_detached_tensor().copy()?)?;
                    folded.insert(&spec.name, spec.kind, copy)?;
                }
                out.push(layer.clone());
            }
        }
    }
    Ok(out)
}

/// `gamma (W x + b - mean) / sqrt(var + eps) + beta` as one convolution. In f64, so that folding adds no
/// rounding but the last.
fn fold_pair(conv: &Conv, norm: &BatchNorm, params: &Params, folded: &mut Params) -> Result<Layer> {
    let read = |layer: &str, part: &str| {
        params.get(&format!("{layer}.{part}"))?.as_detached_tensor().to_dtype(DType::F64)
    };
    let scale = (read(&norm.name, "weight")? / (read(&norm.name, "running_var")? + norm.eps)?.sqrt()?)?;
    let weight = read(&conv.name, "weight")?.broadcast_mul(&scale.reshape((conv.outputs, 1, 1, 1))?)?;
    let bias = if conv.bias {
        read(&conv.name, "bias")?
    } else {
        Tensor::zeros(conv.outputs, DType::F64, &Device::Cpu)?.to_device(scale.device())?
    };
    let bias = (((bias - read(&norm.name, "running_mean")?)? * scale)? + read(&norm.name, "bias")?)?;
    for (part, kind, tensor) in [("weight", ParamKind::Weight, weight), ("bias", ParamKind::Bias, bias)] {
        let var = Var::from_tensor(&tensor.to_dtype(DType::F32)?)?;
        folded.insert(&format!("{}.{part}", conv.name), kind, var)?;
    }
    Ok(Layer::Conv(Conv { bias: true, ..conv.clone() }))
}
