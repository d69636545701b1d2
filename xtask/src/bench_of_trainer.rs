//! `cargo xtask bench input`: how many pictures a core decodes and augments; `cargo xtask bench growth`: what more
//! classes, larger pictures and several of them at a time cost the board.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::process::{bench_program, run};

/// Builds `trainer/benches/NAME.rs` as everything else is built, and runs it.
///
/// # Errors
/// It does not build or ends early.
pub fn bench_of_trainer(name: &str, arguments: &[OsString]) -> Result<()> {
    run(Command::new(bench_program(name, false)?).args(arguments))
}
