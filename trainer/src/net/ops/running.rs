//! Running averages: of a batch normalisation's statistics, of weights.

use candle_core::{Result, Tensor, Var};

use super::storage::on_cuda;

/// `running = (1 - momentum) running + momentum batch`, in place.
///
/// `running`, `batch`: equal shapes and types.
///
/// # Errors
/// Shapes or types differ.
pub fn move_running(running: &Var, batch: &Tensor, momentum: f64) -> Result<()> {
    on_cuda!(running, super::cuda::move_running(running, batch, momentum));
    let kept = (running.as_detached_tensor() * (1.0 - momentum))?;
    running.set(&(kept + (batch * momentum)?)?)
}
