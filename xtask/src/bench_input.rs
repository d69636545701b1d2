//! `cargo xtask bench input`: how many pictures a core decodes and augments.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::process::{bench_program, run};

/// Builds `trainer/benches/input.rs` as everything else is built, and runs it.
///
/// # Errors
/// It does not build or ends early.
pub fn bench_input(arguments: &[OsString]) -> Result<()> {
    run(Command::new(bench_program("input")?).args(arguments))
}
