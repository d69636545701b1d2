//! What batch normalisation makes, here or on a GPU.

use candle_core::Tensor;

/// What a training step gets from batch normalisation.
pub struct BatchNormOutput {
    /// `[B, C, H, W]`.
    pub y: Tensor,
    /// Mean of the batch, `[C]`; no gradient.
    pub mean: Tensor,
    /// Biased variance of the batch, by which `y` was normalised, `[C]`; no gradient.
    pub var: Tensor,
    /// Unbiased variance of the batch, for the running statistics, `[C]`; no gradient.
    pub var_unbiased: Tensor,
}
