//! What follows a convolution and is done before it stores: scale, shift, residual, clamp.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

use super::{constant, size};

/// `clamp(x * scale + shift + residual)`.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    /// What is added.
    pub(super) residual: Option<OutletId>,
    pub(super) clamp: [f32; 2],
}

impl Tail {
    pub(super) fn new(channels: usize) -> Tail {
        Tail {
            scale: vec![1.0; channels],
            shift: vec![0.0; channels],
            residual: None,
            clamp: [f32::NEG_INFINITY, f32::INFINITY],
        }
    }

    /// A scale is not 1.
    pub(super) fn is_scaled(&self) -> bool {
        self.scale.iter().any(|scale| scale.to_bits() != 1.0_f32.to_bits())
    }

    fn is_open(&self) -> bool {
        self.clamp == [f32::NEG_INFINITY, f32::INFINITY]
    }

    /// Takes over what `node` does to `x`, where the order allows.
    pub(super) fn absorb(&mut self, model: &TypedModel, node: &TypedNode, x: OutletId) -> bool {
        let Some(operator) = operator(node) else { return false };
        if is_sum(model, node) {
            let free = self.residual.is_none() && self.is_open() && node.inputs[0] != node.inputs[1];
            if free {
                self.residual = node.inputs.iter().copied().find(|&input| input != x);
            }
            return free;
        }
        let Some(values) = channel_values(model, node) else { return false };
        let first = node.inputs[0] == x;
        match operator.as_str() {
            "Max" | "Min" => {
                let [value] = values.as_slice() else { return false };
                let bound = |side: f32| if operator == "Max" { side.max(*value) } else { side.min(*value) };
                self.clamp = self.clamp.map(bound);
                return true;
            }
            _ if self.residual.is_some() || !self.is_open() => return false,
            _ => {}
        }
        for channel in 0..self.scale.len() {
            let value = if values.len() == 1 { values[0] } else { values[channel] };
            let (scale, shift) = (&mut self.scale[channel], &mut self.shift[channel]);
            match (operator.as_str(), first) {
                ("Add", _) => *shift += value,
                ("Sub", true) => *shift -= value,
                ("Sub", false) => (*scale, *shift) = (-*scale, value - *shift),
                ("Mul", _) => (*scale, *shift) = (*scale * value, *shift * value),
                ("Div", true) => (*scale, *shift) = (*scale / value, *shift / value),
                _ => return false,
            }
        }
        true
    }
}

/// `"Add"`, ..., of a node that joins two tensors of floats.
fn operator(node: &TypedNode) -> Option<String> {
    let joined = node.op_as::<TypedBinOp>()?;
    joined.1.is_none().then(|| joined.0.name().to_string())
}

/// The node's constant: one value, or one for each channel.
fn channel_values(model: &TypedModel, node: &TypedNode) -> Option<Vec<f32>> {
    let [channels, ..] = size(model, OutletId::new(node.id, 0))?;
    let tensor = node.inputs.iter().find_map(|&input| constant(model, input))?;
    let per_channel = tensor.len() == channels && tensor.shape().get(1) == Some(&channels);
    let values = tensor.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec();
    (values.len() == 1 || per_channel).then_some(values)
}

/// A value joined with a constant in a way that [`Tail`] knows.
pub(super) fn is_affine(model: &TypedModel, node: &TypedNode) -> bool {
    let Some(values) = channel_values(model, node) else { return false };
    let Some(operator) = operator(node) else { return false };
    let value_first = constant(model, node.inputs[0]).is_none();
    let value = node.inputs[usize::from(!value_first)];
    let whole = size(model, value).is_some() && size(model, value) == size(model, OutletId::new(node.id, 0));
    whole
        && constant(model, value).is_none()
        && match operator.as_str() {
            "Add" | "Sub" | "Mul" => true,
            "Div" => value_first && values.iter().all(|value| *value != 0.0),
            "Max" | "Min" => values.len() == 1 && !values[0].is_nan(),
            _ => false,
        }
}

/// The sum of two values of one size.
pub(super) fn is_sum(model: &TypedModel, node: &TypedNode) -> bool {
    let [a, b] = node.inputs.as_slice() else { return false };
    operator(node).as_deref() == Some("Add")
        && [a, b].iter().all(|&&input| constant(model, input).is_none())
        && size(model, *a).is_some()
        && size(model, *a) == size(model, *b)
}
