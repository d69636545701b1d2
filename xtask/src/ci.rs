//! `cargo xtask ci`: what CI does, each step the command that a person types.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::measured::{Took, run_measured};
use crate::process::{Act, cargo, in_words, line, workspace};
use crate::toolchain::{compiled, origin};

struct Step {
    name: &'static str,
    /// What is typed after `cargo`.
    words: &'static str,
    environment: &'static [(&'static str, &'static str)],
    /// What it builds for. Where no standard library for that can be had, the step is left out, and said to be: rustup
    /// brings them from a place that not every machine reaches.
    targets: &'static [&'static str],
    /// Whether it also takes a standard library that cargo builds from source.
    from_source: bool,
}

/// Cheap steps first.
const STEPS: [Step; 18] = [
    step("format", "fmt --all --check"),
    step(
        "clippy",
        "clippy --locked --workspace --all-targets --features fieldmark-trainer/hub,fieldmark/cuda -- -D warnings",
    ),
    step("programs", "xtask programs --install"),
    step("test", "test --workspace"),
    // Of the whole workspace: of one package cargo would resolve other features, and compile its dependencies again.
    step("hub", "test --locked --workspace --features fieldmark-trainer/hub --bin fieldmark-trainer fetch"),
    Step { environment: &[("RUSTDOCFLAGS", "-D warnings")], ..step("doc", "doc --workspace --no-deps") },
    Step { targets: &crate::check_systems::TARGETS, ..step("systems", "xtask check-systems") },
    step("book", "xtask book --check"),
    step("no-std", "xtask no-std"),
    step("sanitize", "xtask sanitize"),
    // Building it takes a gigabyte and half an hour; whether candle still is as the build expects shows in a second.
    step("build-cuda", "xtask build-cuda --dry-run"),
    step("bench", "xtask bench train --quick"),
    step("bench-engine", "xtask bench engine --quick"),
    step("train-and-export", "xtask train-and-export --quick --out target/ci-out"),
    step("check-onnx", "xtask check-onnx target/ci-out/model.onnx"),
    step("check-weights", "xtask check-weights"),
    Step { targets: &["thumbv7em-none-eabihf"], from_source: true, ..step("bare-metal", BARE_METAL) },
    Step {
        targets: &["aarch64-unknown-linux-gnu"],
        from_source: true,
        ..step("board", "xtask test --board pi4")
    },
];

/// The first bird that the step before draws.
const BARE_METAL: &str = "xtask bare-metal target/ci-out/model.onnx \
    target/ci-out/birds/images/001.Amber_crowned_Warbler/Amber_crowned_Warbler_0001.jpg";

/// Hours, most of them to compile what is installed on boards.
const ALL_BOARDS: Step = step("all-boards", "xtask test --all-boards --profile board");

const fn step(name: &'static str, words: &'static str) -> Step {
    Step { name, words, environment: &[], targets: &[], from_source: false }
}

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Test every board, with the program that is installed there and its size
    #[arg(long)]
    all_boards: bool,
}

/// From a clean checkout on two cores.
const LONGEST: Duration = Duration::from_mins(30);

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// What it builds for is not to be had here.
    LeftOut,
    /// An earlier one failed.
    NotRun,
}

/// A line of the table.
struct Row {
    name: &'static str,
    outcome: Outcome,
    took: Took,
}

/// Runs all steps, to the first that fails; prints what each took.
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
    let mut rows = Vec::new();
    let mut failure = None;
    for step in STEPS.iter().chain(options.all_boards.then_some(&ALL_BOARDS)) {
        let (outcome, took) = match &failure {
            Some(_) => (Outcome::NotRun, Took::default()),
            None if is_left_out(step) => (Outcome::LeftOut, Took::default()),
            None => {
                let (outcome, took) = done(step, &root);
                failure = outcome.err();
                (if failure.is_none() { Outcome::Passed } else { Outcome::Failed }, took)
            }
        };
        rows.push(Row { name: step.name, outcome, took });
    }
    eprintln!("{}", table(&rows));
    let took = in_words(started.elapsed());
    if let Some(failure) = failure {
        return Err(failure.context(format!("ci failed after {took}")));
    }
    eprintln!("ci passed in {took}");
    if started.elapsed() > LONGEST {
        eprintln!("that is more than the {} it may take; the table says where it goes", in_words(LONGEST));
    }
    Ok(())
}

fn is_left_out(step: &Step) -> bool {
    let found = if step.from_source { origin } else { compiled };
    let is_missing = |target: &&&str| !matches!(found(&Act::REAL, target), Ok(Some(_)));
    let Some(target) = step.targets.iter().find(is_missing) else { return false };
    eprintln!("step {} left out: no standard library for {target} to be had here", step.name);
    true
}

fn done(step: &Step, root: &Path) -> (Result<()>, Took) {
    let mut command = cargo();
    command.args(step.words.split(' ')).envs(step.environment.iter().copied()).current_dir(root);
    eprintln!("$ {}", line(&command));
    let (outcome, took) = run_measured(&mut command);
    let (name, wall) = (step.name, in_words(took.wall));
    match &outcome {
        Ok(()) => eprintln!("step {name} passed after {wall}"),
        Err(_) => eprintln!("step {name} failed after {wall}; to repeat it: {}", line(&command)),
    }
    (outcome.with_context(|| format!("step {name}")), took)
}

/// What each step took, and all together.
fn table(rows: &[Row]) -> String {
    let total = rows.iter().fold((Duration::ZERO, Some(Duration::ZERO)), |(wall, cpu), Row { took, .. }| {
        let was_run = took.wall > Duration::ZERO;
        let sum = |cpu: Duration| if was_run { took.cpu.map(|more| cpu + more) } else { Some(cpu) };
        (wall + took.wall, cpu.and_then(sum))
    });
    let cell = |duration: Option<Duration>| duration.map_or("-".to_owned(), in_words);
    let line = |name: &str, [wall, cpu]: [String; 2], outcome: &str| {
        format!("{name:18}{wall:>14}{cpu:>14}   {outcome}").trim_end().to_owned()
    };
    let mut lines = vec![line("step", ["wall time", "CPU time"].map(str::to_owned), "outcome")];
    for Row { name, outcome, took } in rows {
        let (cells, outcome) = match outcome {
            Outcome::Passed => ([cell(Some(took.wall)), cell(took.cpu)], "passed"),
            Outcome::Failed => ([cell(Some(took.wall)), cell(took.cpu)], "failed"),
            Outcome::LeftOut => ([cell(None), cell(None)], "left out"),
            Outcome::NotRun => ([cell(None), cell(None)], "not run"),
        };
        lines.push(line(name, cells, outcome));
    }
    lines.push(line("all", [cell(Some(total.0)), cell(total.1)], ""));
    lines.join("\n")
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

    #[test]
    fn the_table_has_a_line_a_step_and_one_for_all() {
        let took = |wall, cpu| Took { wall: Duration::from_secs(wall), cpu: Some(Duration::from_secs(cpu)) };
        let rows = [
            Row { name: "format", outcome: Outcome::Passed, took: took(2, 1) },
            Row { name: "test", outcome: Outcome::Failed, took: took(100, 185) },
            Row { name: "board", outcome: Outcome::NotRun, took: Took::default() },
        ];
        let expected = "\
step                   wall time      CPU time   outcome
format                     2.0 s         1.0 s   passed
test                1 min 40 s    3 min 5 s   failed
board                          -             -   not run
all                 1 min 42 s    3 min 6 s";
        let words = |table: &str| {
            table
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&table(&rows)), words(expected));
    }

    #[test]
    fn a_step_that_was_not_counted_leaves_the_sum_open() {
        let took = Took { wall: Duration::from_secs(2), cpu: None };
        let all = table(&[Row { name: "format", outcome: Outcome::Passed, took }]);
        assert!(all.ends_with('-'), "{all}");
    }
}
