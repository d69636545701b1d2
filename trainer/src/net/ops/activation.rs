//! What may follow an operation in the same pass, and its gradient: 0 at the kinks, as in `PyTorch`.

use super::storage::Real;

/// What follows a normalisation, in the same pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Activation {
    /// The values between which the activation passes its input, and the gradient, on.
    pub(super) fn bounds<T: Real>(self) -> (T, T) {
        match self {
            Activation::None => (T::NEG_INFINITY, T::INFINITY),
            Activation::Relu => (T::zero(), T::INFINITY),
            Activation::Relu6 => (T::zero(), T::from_f64(6.0)),
        }
    }
}

/// `value` held between two bounds; NaN stays NaN.
#[inline(always)]
pub(super) fn clamped<T: Real>(value: T, (low, high): (T, T)) -> T {
    let value = if low > value { low } else { value };
    if high < value { high } else { value }
}

/// The gradient where `value` is strictly between the bounds, else 0.
#[inline(always)]
pub(super) fn passed<T: Real>(gradient: T, value: T, (low, high): (T, T)) -> T {
    if value <= low || value >= high { T::zero() } else { gradient }
}
