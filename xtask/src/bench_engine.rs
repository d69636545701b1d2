//! `cargo xtask bench engine`: our engine and other people's on the same networks, interleaved in one run.
//!
//! Each engine is a process that runs the network once for every line on stdin, `runtime/benches/engine.rs` and
//! `engine.py`. They take turns in an order that rotates, so that what else the machine does hits all of them alike.
//! Processor time tells a thread's speed even on a machine that is busy; of two threads' wall time on such a machine
//! only the least means much.

mod models;
mod peer;
mod table;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::process::{Act, Workspace, bench_program, succeeds, workspace};
use crate::python::python_with_packages;
use models::{CASES, Model, QUICK, model_files};
use peer::{Peer, Run};
use table::{Row, overview, table};

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
const PEERS: [&str; 1] = [REFERENCE];

/// Everything that is installed, so that a new release of something else breaks nothing here.
const PINS: [&str; 5] =
    ["flatbuffers==25.12.19", "numpy==2.4.6", "onnxruntime==1.32.0", "packaging==26.3", "protobuf==7.36.2"];

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
    let programs = programs(&workspace, &folder, !peers.is_empty())?;
    let files = model_files(&models, &folder)?;
    let path = options.out.clone().unwrap_or_else(|| workspace.target.join("bench-engine.jsonl"));
    let mut log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let rounds = if options.quick { 1 } else { options.rounds };
    let mut tables = Vec::new();
    for &threads in &options.threads {
        let mut rows = Vec::new();
        for (&model, file) in models.iter().zip(&files) {
            let started = started(&programs, &peers, file, threads)?;
            let summaries =
                measured(started, &json!({"model": model.name(), "threads": threads}), rounds, &mut log)
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

fn programs(workspace: &Workspace, folder: &Path, needs_python: bool) -> Result<Programs> {
    let python = || {
        let folder = workspace.target.join("bench-engine-venv");
        python_with_packages(&Act::REAL, &folder, &PINS, "numpy, onnxruntime")
    };
    Ok(Programs {
        ours: stripped(bench_program("engine")?, folder)?,
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
    for (&name, python) in
        peers.iter().flat_map(|name| programs.python.iter().map(move |python| (name, python)))
    {
        let mut command = Command::new(python);
        command.arg(&programs.script).arg(name).arg(file).arg(threads.to_string());
        match Peer::start(name, command) {
            Ok(peer) => started.push(peer),
            Err(error) => eprintln!("{name} is left out of {}: {error:#}", file.display()),
        }
    }
    Ok(started)
}

/// Summaries of all that lasted, ours first.
fn measured(
    mut peers: Vec<Peer>,
    what: &serde_json::Value,
    rounds: u16,
    log: &mut File,
) -> Result<Vec<table::Summary>> {
    for round in 0..usize::from(rounds) {
        let mut failed = Vec::new();
        for turn in 0..peers.len() {
            let index = (turn + round) % peers.len();
            let peer = &mut peers[index];
            match peer.run() {
                Ok(Run { wall_ms, cpu_ms }) => {
                    let record = json!({
                        "bench": "engine", "engine": peer.name, "case": what, "round": round,
                        "wall_ms": wall_ms, "cpu_ms": cpu_ms,
                    });
                    writeln!(log, "{record}")?;
                }
                Err(error) if peer.name == OURS => return Err(error),
                Err(error) => {
                    eprintln!("{} is left out of {what}: {error:#}", peer.name);
                    failed.push(peer.name);
                }
            }
        }
        peers.retain(|peer| !failed.contains(&peer.name));
    }
    let reference = peers.iter().find(|peer| peer.name == REFERENCE).map(|peer| &peer.ready);
    let summaries: Vec<_> = peers.iter().map(|peer| table::Summary::of(peer, reference)).collect();
    for summary in &summaries {
        writeln!(log, "{}", json!({"bench": "engine", "case": what, "summary": summary.record()}))?;
    }
    Ok(summaries)
}

#[cfg(test)]
mod tests {
    use super::*;

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
