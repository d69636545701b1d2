//! NVIDIA GPUs, through tract's CUDA runtime, which finds driver and libraries when the program runs.

use tract_onnx::tract_core::runtime::Runtime;

#[cfg(feature = "cuda")]
use tract_cuda as _;

/// What runs a graph on the first GPU, or why there is nothing: no driver, no GPU, or a library that is missing.
#[cfg(feature = "cuda")]
pub(super) fn runtime() -> Result<&'static dyn Runtime, String> {
    use super::guard::{guarded, one_line};
    use tract_onnx::tract_core::runtime::runtime_for_name;

    let found = guarded(|| runtime_for_name("cuda"))?;
    let found = found.map_err(|error| one_line(&error.root_cause().to_string()))?;
    found.ok_or_else(|| "tract knows no CUDA".to_string())
}

/// Why there is nothing.
#[cfg(not(feature = "cuda"))]
pub(super) fn runtime() -> Result<&'static dyn Runtime, String> {
    Err("this program was compiled without the feature `cuda`".to_string())
}
