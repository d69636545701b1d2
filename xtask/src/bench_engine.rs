//! `cargo xtask bench engine`: our engine and other people's on the same networks, interleaved in one run.
//!
//! Each engine is a process that runs the network once for every line on stdin, `runtime/benches/engine.rs` and
//! `engine.py`. They take turns in an order that rotates, so that what else the machine does hits all of them alike.
//! Processor time tells a thread's speed even on a machine that is busy; of two threads' wall time on such a machine
//! only the least means much.

pub mod models;
mod peer;
mod table;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::process::{Act, Workspace, bench_program, succeeds, workspace};
use crate::python::python_with_packages;
use models::{CASES, Model, QUICK, model_files};
use peer::{Peer, Run};
use table::{Row, Summary, overview, table};

/// The bench of engines.
#[derive(clap::Args)]
pub struct Options {
    /// Ours alone, one short round of a small network: whether it runs, not how fast
    #[arg(long)]
    quick: bool,
    /// Runs of each, taken in turns
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Networks, as BACKBONE or BACKBONE-SIDE [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Engines beside ours; `none` for ours alone
    #[arg(long, value_delimiter = ',', default_values_t = PEERS.map(String::from))]
    peers: Vec<String>,
    /// Where the measurements go, as JSON Lines [default: bench-engine.jsonl in cargo's target folder]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What ours is called.
const OURS: &str = "fieldmark";

/// The engine that the others' outputs are compared with.
const REFERENCE: &str = "onnxruntime";

/// As `engine.py` calls them.
const PEERS: [&str; 5] = [REFERENCE, "litert", "openvino", "ncnn", "mnn"];

/// Everything that is installed, so that a new release of something else breaks nothing here. Without what the
/// packages ask for beside it: pnnx's program needs no PyTorch, which would be 5 GB.
const PINS: [&str; 15] = [
    "--no-deps",
    "ai-edge-litert==2.3.0",
    "backports.strenum==1.2.8",
    "flatbuffers==25.12.19",
    "ml_dtypes==0.6.0",
    "mnn==3.6.1",
    "ncnn==1.0.20261020",
    "numpy==2.4.6",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "openvino==2026.4.1",
    "packaging==26.3",
    "pnnx==20261020",
    "protobuf==7.36.2",
    "typing_extensions==4.16.0",
];

/// Threads that wait for more work spin, ncnn's for 20 ms; the next engine should not pay for that.
const SETTLE: Duration = Duration::from_millis(30);

/// How processes are started.
struct Programs {
    ours: PathBuf,
    script: PathBuf,
    /// Where there are peers.
    python: Option<PathBuf>,
}

/// Measures all engines on all networks, prints tables and writes every run as a line of JSON.
///
/// # Errors
/// A name that is not known, a program that does not build, or ours failing. A peer that fails is left out, with a
/// line that says so.
pub fn bench_engine(options: &Options) -> Result<()> {
    let workspace = workspace()?;
    let models = if options.quick { vec![QUICK] } else { chosen_models(&options.only)? };
    let peers = if options.quick { Vec::new() } else { chosen_peers(&options.peers)? };
    let folder = workspace.target.join("bench-engine");
    let programs = programs(&workspace, &folder, !peers.is_empty(), options.quick)?;
    let files = model_files(&models, &folder)?;
    let path = options.out.clone().unwrap_or_else(|| workspace.target.join("bench-engine.jsonl"));
    let mut log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let rounds = if options.quick { 1 } else { options.rounds };
    let mut tables = Vec::new();
    for &threads in &options.threads {
        let mut rows = Vec::new();
        for (&model, file) in models.iter().zip(&files) {
            let started = started(&programs, &peers, file, threads)?;
            let summaries = measured(started, &model.name(), threads, rounds, &mut log)
                .with_context(|| format!("the runs so far are in {}", path.display()))?;
            let row = Row { model: model.name(), threads, summaries };
            println!("{}", table(&row));
            rows.push(row);
        }
        tables.push(overview(&rows));
    }
    println!("{}", tables.join("\n"));
    eprintln!("every run is in {}", path.display());
    Ok(())
}

/// The file of EfficientNet-Lite0 at 224 pixels in `folder`, made if it is missing.
///
/// # Errors
/// The trainer's.
pub fn efficientnet_lite0(folder: &Path) -> Result<PathBuf> {
    Ok(model_files(&[models::LITE0], folder)?.remove(0))
}

fn chosen_models(only: &[String]) -> Result<Vec<Model>> {
    let is_named = |model: &Model, name: &String| *name == model.backbone || *name == model.name();
    let all = || CASES.map(|model| model.name()).join(", ");
    for name in only {
        ensure!(CASES.iter().any(|model| is_named(model, name)), "no network {name:?}; there are {}", all());
    }
    let is_chosen = |model: &Model| only.is_empty() || only.iter().any(|name| is_named(model, name));
    Ok(CASES.into_iter().filter(is_chosen).collect())
}

/// The reference first: the others are compared with it.
fn chosen_peers(names: &[String]) -> Result<Vec<&'static str>> {
    for name in names.iter().filter(|name| *name != "none") {
        ensure!(PEERS.contains(&name.as_str()), "no engine {name:?}; there are {}", PEERS.join(", "));
    }
    Ok(PEERS.into_iter().filter(|peer| names.iter().any(|name| name == peer)).collect())
}

fn programs(workspace: &Workspace, folder: &Path, needs_python: bool, is_quick: bool) -> Result<Programs> {
    let python = || {
        let folder = workspace.target.join("bench-engine-venv");
        python_with_packages(&Act::REAL, &folder, &PINS, "numpy, onnx, onnxruntime")
    };
    Ok(Programs {
        ours: stripped(bench_program("engine", is_quick)?, folder)?,
        script: workspace.root.join("runtime/benches/engine.py"),
        python: needs_python.then(python).transpose()?,
    })
}

/// The program as one ships it, which is what its size is asked of; with symbols where there is no `strip`.
fn stripped(program: PathBuf, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let stripped = folder.join("engine");
    if succeeds(Command::new("strip").arg("-o").args([&stripped, &program])) {
        return Ok(stripped);
    }
    eprintln!("no `strip` (Debian: binutils); the size of ours is told with its symbols");
    Ok(program)
}

/// Ours and the peers that start, each after its first run.
fn started(programs: &Programs, peers: &[&'static str], file: &Path, threads: usize) -> Result<Vec<Peer>> {
    let mut ours = Command::new(&programs.ours);
    ours.arg(file).arg(threads.to_string());
    let mut started = vec![Peer::start(OURS, ours)?];
    let Some(python) = &programs.python else { return Ok(started) };
    for &name in peers {
        let mut command = Command::new(python);
        command.arg(&programs.script).arg(name).arg(file).arg(threads.to_string());
        match Peer::start(name, command) {
            Ok(peer) => started.push(peer),
            Err(error) => eprintln!("{name} is left out of {}: {error:#}", file.display()),
        }
    }
    Ok(started)
}

/// Whose turn it is: each starts as often as every other, and rounds go there and back, so that nobody always follows
/// the same neighbour.
fn index_at(turn: usize, round: usize, peers: usize) -> usize {
    let turn = if round.is_multiple_of(2) { turn } else { peers - 1 - turn };
    (turn + round) % peers
}

/// Summaries of all that lasted, ours first.
fn measured(
    mut peers: Vec<Peer>,
    model: &str,
    threads: usize,
    rounds: u16,
    log: &mut File,
) -> Result<Vec<Summary>> {
    let case = json!({"bench": "engine", "model": model, "threads": threads});
    let mut note = |key: &str, value: Value| {
        let mut record = case.clone();
        record[key] = value;
        writeln!(log, "{record}")
    };
    for round in 0..usize::from(rounds) {
        let mut failed = Vec::new();
        for turn in 0..peers.len() {
            let index = index_at(turn, round, peers.len());
            if threads > 1 {
                sleep(SETTLE);
            }
            let peer = &mut peers[index];
            match peer.run() {
                Ok(Run { wall_ms, cpu_ms }) => {
                    let run =
                        json!({"engine": peer.name, "round": round, "wall_ms": wall_ms, "cpu_ms": cpu_ms});
                    note("run", run)?;
                }
                Err(error) if peer.name == OURS => return Err(error),
                Err(error) => {
                    eprintln!("{} is left out of {model}: {error:#}", peer.name);
                    failed.push(peer.name);
                }
            }
        }
        peers.retain(|peer| !failed.contains(&peer.name));
    }
    let reference = peers.iter().find(|peer| peer.name == REFERENCE).map(|peer| &peer.ready);
    let summaries: Vec<_> = peers.iter().map(|peer| Summary::of(peer, reference)).collect();
    for summary in &summaries {
        note("summary", summary.record())?;
    }
    Ok(summaries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_rotate_and_turn_round() {
        let order = |round| [0, 1, 2].map(|turn| index_at(turn, round, 3));
        assert_eq!([order(0), order(1), order(2), order(3)], [[0, 1, 2], [0, 2, 1], [2, 0, 1], [2, 1, 0]]);
    }

    #[test]
    fn networks_are_named_with_or_without_their_side() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            chosen_models(&only).map(|models| models.iter().map(Model::name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["resnet18"]).unwrap(), ["resnet18-224", "resnet18-448"]);
        assert_eq!(names(&["resnet18-448", "vgg16"]).unwrap(), ["vgg16-224", "resnet18-448"]);
        assert_eq!(names(&[]).unwrap().len(), CASES.len());
        assert!(names(&["resnet"]).unwrap_err().to_string().starts_with("no network \"resnet\"; there are"));
    }
}
