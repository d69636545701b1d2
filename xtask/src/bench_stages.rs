//! `cargo xtask bench stages`: the stages of a prediction one by one, and the kernels on numbers below the normal ones.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::bench_engine::efficientnet_lite0;
use crate::process::{bench_program, run, workspace};

/// Builds `runtime/benches/stages.rs` as everything else is built, and runs it on EfficientNet-Lite0.
///
/// # Errors
/// It does not build or ends early.
pub fn bench_stages(arguments: &[OsString]) -> Result<()> {
    let target = workspace()?.target;
    let model = efficientnet_lite0(&target.join("bench-engine"))?;
    let mut stages = Command::new(bench_program("stages", false)?);
    stages.env("FIELDMARK_MODEL", model).env("CARGO_TARGET_DIR", target);
    run(stages.arg("--bench").args(arguments))
}
