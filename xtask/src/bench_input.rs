//! `cargo xtask bench input`: how many pictures a core decodes and augments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{cargo, line, output, run};

/// Builds `trainer/benches/input.rs` as everything else is built, and runs it.
///
/// # Errors
/// It does not build or ends early.
pub fn bench_input(arguments: &[OsString]) -> Result<()> {
    run(Command::new(program()?).args(arguments))
}

fn program() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--workspace", "--bench", "input", "--message-format", "json"]);
    eprintln!("$ {}", line(&build));
    let messages = output(&mut build)?;
    let mut artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executable = artifacts.find_map(|message| {
        let is_ours = message["target"]["name"] == "input" && message["target"]["kind"][0] == "bench";
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    });
    executable.context("cargo built the bench `input` but did not say where")
}
