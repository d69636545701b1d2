//! What joins a value with another one or with a constant, and what of it is done before a convolution stores: scale,
//! shift, residual, clamp.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

use super::facts::{constant, size};

/// A node that joins two tensors of floats in a way that the kernels know.
#[derive(Debug)]
pub(super) enum Join {
    /// The sum of two values of one size.
    Sum([OutletId; 2]),
    /// The value `x` joined with a constant: one number, or one for each channel.
    Affine { x: OutletId, operation: Operation, values: Vec<f32> },
}

/// What a constant `c` does to a value `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `x + c`
    Add,
    /// `x - c`
    Subtract,
    /// `c - x`
    SubtractFrom,
    /// `x * c`
    Multiply,
    /// `x / c`
    Divide,
    /// The larger of `x` and `c`, which is one number.
    AtLeast,
    /// The smaller of `x` and `c`, which is one number.
    AtMost,
}

impl Join {
    pub(super) fn of(model: &TypedModel, node: &TypedNode) -> Option<Join> {
        let joined = node.op_as::<TypedBinOp>().filter(|joined| joined.1.is_none())?;
        let operator = joined.0.name();
        let &[a, b] = node.inputs.as_slice() else { return None };
        let out = size(model, OutletId::new(node.id, 0))?;
        let (x, other) = match (constant(model, a), constant(model, b)) {
            (None, None) => {
                let fits = operator == "Add" && size(model, a).is_some() && size(model, a) == size(model, b);
                return fits.then_some(Join::Sum([a, b]));
            }
            (None, Some(other)) => (a, other),
            (Some(other), None) => (b, other),
            (Some(_), Some(_)) => return None,
        };
        let values = other.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec();
        let per_channel = values.len() == out[0] && other.shape().get(1) == Some(&out[0]);
        if size(model, x) != Some(out) || values.len() != 1 && !per_channel {
            return None;
        }
        let is_bound = values.len() == 1 && !values[0].is_nan();
        let operation = match operator {
            "Add" => Operation::Add,
            "Sub" if x == a => Operation::Subtract,
            "Sub" => Operation::SubtractFrom,
            "Mul" => Operation::Multiply,
            "Div" if x == a && values.iter().all(|value| *value != 0.0) => Operation::Divide,
            "Max" if is_bound => Operation::AtLeast,
            "Min" if is_bound => Operation::AtMost,
            _ => return None,
        };
        Some(Join::Affine { x, operation, values })
    }
}

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

    /// Takes over what `join` does to `x`, where the order allows.
    pub(super) fn absorb(&mut self, join: &Join, x: OutletId) -> bool {
        let (operation, values) = match join {
            Join::Sum([a, b]) => {
                // The same value twice is not a residual.
                let free = self.residual.is_none() && self.is_open() && a != b;
                if free {
                    self.residual = Some(if *a == x { *b } else { *a });
                }
                return free;
            }
            Join::Affine { operation, values, .. } => (*operation, values),
        };
        match operation {
            Operation::AtLeast => self.clamp = self.clamp.map(|side| side.max(values[0])),
            Operation::AtMost => self.clamp = self.clamp.map(|side| side.min(values[0])),
            _ if self.residual.is_some() || !self.is_open() => return false,
            _ => {
                for channel in 0..self.scale.len() {
                    let value = if values.len() == 1 { values[0] } else { values[channel] };
                    let (scale, shift) = (&mut self.scale[channel], &mut self.shift[channel]);
                    (*scale, *shift) = match operation {
                        Operation::Add => (*scale, *shift + value),
                        Operation::Subtract => (*scale, *shift - value),
                        Operation::SubtractFrom => (-*scale, value - *shift),
                        Operation::Multiply => (*scale * value, *shift * value),
                        Operation::Divide => (*scale / value, *shift / value),
                        Operation::AtLeast | Operation::AtMost => (*scale, *shift),
                    };
                }
            }
        }
        true
    }
}
