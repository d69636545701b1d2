//! `cargo xtask ci`: what CI does, each step the command that a person types.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::process::{Act, cargo, in_words, line, run, workspace};
use crate::toolchain::origin;

struct Step {
    name: &'static str,
    /// What is typed after `cargo`.
    words: &'static str,
    environment: Option<(&'static str, &'static str)>,
    /// What it builds for. Where no standard library for that can be had, the step is left out, and said to be: rustup
    /// brings them from a place that not every machine reaches.
    target: Option<&'static str>,
}

/// Cheap steps first.
const STEPS: [Step; 16] = [
    step("format", "fmt --all --check"),
    step(
        "clippy",
        "clippy --locked --workspace --all-targets --features xtask/hub,fieldmark/cuda -- -D warnings",
    ),
    step("programs", "xtask programs --install"),
    step("test", "test --workspace"),
    step("hub", "test --locked --package xtask --features hub weights"),
    Step { environment: Some(("RUSTDOCFLAGS", "-D warnings")), ..step("doc", "doc --workspace --no-deps") },
    step("no-std", "xtask no-std"),
    step("sanitize", "xtask sanitize"),
    // Building it takes a gigabyte and half an hour; whether candle still is as the build expects shows in a second.
    step("build-cuda", "xtask build-cuda --dry-run"),
    step("bench", "xtask bench train --quick"),
    step("bench-engine", "xtask bench engine --quick"),
    step("train-and-export", "xtask train-and-export --quick --out target/ci-out"),
    step("check-onnx", "xtask check-onnx target/ci-out/model.onnx"),
    step("check-weights", "xtask check-weights"),
    Step { target: Some("thumbv7em-none-eabihf"), ..step("bare-metal", BARE_METAL) },
    Step { target: Some("aarch64-unknown-linux-gnu"), ..step("board", "xtask test --board pi4") },
];

/// The first bird that the step before draws.
const BARE_METAL: &str = "xtask bare-metal target/ci-out/model.onnx \
    target/ci-out/birds/images/001.Amber_crowned_Warbler/Amber_crowned_Warbler_0001.jpg";

/// Hours, most of them to compile what is installed on boards.
const ALL_BOARDS: Step = step("all-boards", "xtask test --all-boards --profile board");

const fn step(name: &'static str, words: &'static str) -> Step {
    Step { name, words, environment: None, target: None }
}

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Test every board, with the program that is installed there and its size
    #[arg(long)]
    all_boards: bool,
}

/// Runs all steps, to the first that fails.
///
/// # Errors
/// The step that failed, and how to repeat it.
pub fn ci(options: &Options) -> Result<()> {
    let root = workspace()?.root;
    let old = root.join("target/ci-out");
    if old.exists() {
        fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    let started = Instant::now();
    let mut times = Vec::new();
    for step in STEPS.iter().chain(options.all_boards.then_some(&ALL_BOARDS)) {
        if let Some(target) = step.target.filter(|target| !matches!(origin(&Act::REAL, target), Ok(Some(_))))
        {
            eprintln!("step {} left out: no standard library for {target} to be had here", step.name);
            times.push(format!("{} left out", step.name));
            continue;
        }
        let took = timed(step, &root)?;
        times.push(format!("{} {}", step.name, in_words(took)));
    }
    eprintln!("ci passed in {}: {}", in_words(started.elapsed()), times.join(", "));
    Ok(())
}

fn timed(step: &Step, root: &Path) -> Result<Duration> {
    let started = Instant::now();
    let mut command = cargo();
    command.args(step.words.split(' ')).envs(step.environment).current_dir(root);
    let outcome = run(&mut command);
    let took = started.elapsed();
    let name = step.name;
    let repeat = if outcome.is_ok() { String::new() } else { format!("; to repeat it: {}", line(&command)) };
    let ended = if outcome.is_ok() { "passed" } else { "failed" };
    eprintln!("step {name} {ended} after {}{repeat}", in_words(took));
    outcome.with_context(|| format!("step {name}"))?;
    Ok(took)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn steps_of_our_own_are_commands_we_have() {
        let own = STEPS.iter().chain([&ALL_BOARDS]).filter(|step| step.words.starts_with("xtask "));
        for step in own {
            assert!(crate::Cli::try_parse_from(step.words.split(' ')).is_ok(), "{}", step.words);
        }
    }
}
