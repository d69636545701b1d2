//! What a step of gradient descent is given, here or on a GPU.

use candle_core::{Tensor, Var};

/// The numbers of a step, as `torch.optim.SGD` means them (no dampening).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub rate: f64,
    /// Share of the velocity that stays.
    pub momentum: f64,
    /// Nesterov's form: step along the gradient plus the new velocity's share.
    pub nesterov: bool,
    /// Added to the gradient: this times the parameter.
    pub weight_decay: f64,
}

/// A parameter's share of a step, see [`sgd_steps`](super::sgd_steps).
pub struct Update<'a> {
    /// What learns.
    pub param: &'a Var,
    /// Its velocity.
    pub velocity: &'a Var,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// Its numbers.
    pub step: SgdStep,
}
