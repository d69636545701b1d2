//! `cargo xtask check-packages`: every package of `cargo xtask dist` is installed in Debian 12 of its architecture, by that
//! system's own dpkg, and is removed. In between, the board's program serves pictures as a service of that system's own systemd,
//! and the trainer draws pictures and looks them over. Minutes, once the systems are there; so on demand.

mod system;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::process::{Act, output, workspace};
use system::System;

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Model file, which the installed program tests and serves
    model: PathBuf,
    /// Folder with the packages
    #[arg(long, default_value = "target/dist")]
    dist: PathBuf,
}

/// Where packages keep models, and where this one's is laid.
const MODEL: &str = "var/lib/fieldmark/check.onnx";

/// Where the package is laid.
const PACKAGE: &str = "/package.deb";

const SERVICE: &str = "fieldmark@check.service";

/// The package that serves nothing.
const TRAINER: &str = "fieldmark-trainer";

/// Where the trainer draws, in the system's memory.
const BIRDS: &str = "/tmp/birds";

/// A picture that every checkout has.
const PICTURE: &str = "docs/src/prediction.png";

/// All packages in the folder, one after the other.
///
/// # Errors
/// No packages, no debootstrap or namespaces, or a package that does not install, serve or leave.
pub fn check_packages(options: &Options) -> Result<()> {
    let entries = fs::read_dir(&options.dist)
        .with_context(|| format!("no packages in {}; make some: cargo xtask dist", options.dist.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut packages: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    packages.sort();
    ensure!(!packages.is_empty(), "no packages in {}; make some: cargo xtask dist", options.dist.display());
    for package in packages {
        let done = check(&package, &options.model).with_context(|| package.display().to_string())?;
        println!("{}: installed, {done}, removed", package.display());
    }
    Ok(())
}

/// Installs a package, uses it and removes it; says how it was used.
fn check(package: &Path, model: &Path) -> Result<&'static str> {
    let field = |name: &str| {
        let text = output(Command::new("dpkg-deb").arg("--field").arg(package).arg(name))?;
        Ok::<_, anyhow::Error>(text.trim().to_owned())
    };
    let system = System::start(&field("Architecture")?)?;
    let name = field("Package")?;
    let before = system.files()?;
    let laid = system.root.join(PACKAGE.trim_start_matches('/'));
    Act::REAL.copy(package, &laid)?;
    let installed = system.run(&["dpkg", "--install", PACKAGE]);
    let is_trainer = name == TRAINER;
    let used = installed.and_then(|()| if is_trainer { draw(&system) } else { predict(&system, model) });
    // Also after a failure: the system is used again.
    let removed = system.run(&["dpkg", "--purge", &name]);
    let is_model_kept = system.root.join(MODEL).exists();
    Act::REAL.remove_folder(&system.root.join("var/lib/fieldmark"))?;
    let _ = fs::remove_file(laid);
    used?;
    removed?;
    ensure!(is_trainer || is_model_kept, "removing it took the user's model away");
    let state = system.output(&["systemctl", "show", "--property=ActiveState", "--value", SERVICE])?;
    ensure!(state == "inactive\n", "it is {} though it was removed", state.trim());
    let left: Vec<_> = system.files()?.into_iter().filter(|file| !before.contains(file)).collect();
    ensure!(left.is_empty(), "it left {left:?} behind");
    Ok(if is_trainer {
        "drew pictures and looked them over"
    } else {
        "passed the model's self-test, served pictures"
    })
}

/// The trainer says its version, draws a small data set, and finds all of it again. To train would take long under emulation.
fn draw(system: &System) -> Result<()> {
    let version = system.output(&[TRAINER, "--version"])?;
    ensure!(version == concat!("fieldmark-trainer ", env!("CARGO_PKG_VERSION"), "\n"), "it is {version:?}");
    let size = ["--classes", "2", "--train", "4", "--test", "2", "--side", "64"];
    system.run(&[&[TRAINER, "synth", BIRDS], size.as_slice()].concat())?;
    let found = system.output(&[TRAINER, "lint", BIRDS])?;
    let is_all = found.starts_with("2 classes; ") && found.contains(" and 4 test pictures;");
    ensure!(is_all, "of two drawn species with two test pictures each it finds: {found}");
    Ok(())
}

/// The board's program passes a model's self-test and serves it.
fn predict(system: &System, model: &Path) -> Result<()> {
    Act::REAL.copy(model, &system.root.join(MODEL))?;
    system.run(&["fieldmark", "verify", &format!("/{MODEL}")])?;
    serve(system)
}

/// The service starts, answers as the program does, loads its model again, and comes back when it is killed or upgraded.
fn serve(system: &System) -> Result<()> {
    let picture = workspace()?.root.join(PICTURE);
    let bytes = fs::read(&picture).with_context(|| format!("cannot read {}", picture.display()))?;
    let length = bytes.len();
    let head = format!("POST /predict?cues=true HTTP/1.1\r\nHost: check\r\nContent-Length: {length}\r\n\r\n");
    system.write("tmp/request", [head.as_bytes(), &bytes].concat())?;
    system.write("tmp/metrics", "GET /metrics HTTP/1.1\r\nHost: check\r\n\r\n")?;
    system.write("tmp/picture", &bytes)?;
    let model = format!("/{MODEL}");
    let predict = ["fieldmark", "predict", &model, "/tmp/picture", "--cues", "--format", "jsonl"];
    let predicted = result(&system.output(&predict)?)?;
    let is_answered = || Ok(result(&ask(system, "/tmp/request")?)? == predicted);
    let started = system.run(&["systemctl", "enable", "--now", SERVICE]);
    if started.is_err() {
        let _ = system.run(&["journalctl", "--no-pager", "--unit", SERVICE]);
    }
    started?;
    ensure!(is_answered()?, "the service has another answer than the program");
    system.run(&["systemctl", "reload", SERVICE])?;
    let loaded = "fieldmark_reloads_total{outcome=\"loaded\"} 1\n";
    wait("the service did not load its model again", || Ok(ask(system, "/tmp/metrics")?.contains(loaded)))?;
    system.run(&["systemctl", "kill", "--signal=KILL", SERVICE])?;
    wait("the service did not come back when it was killed", is_answered)?;
    let main_process = || system.output(&["systemctl", "show", "--property=MainPID", SERVICE]);
    let before = main_process()?;
    system.run(&["dpkg", "--install", PACKAGE])?;
    ensure!(
        main_process()? != before,
        "the service goes on with the old program after a new one was installed"
    );
    wait("the service did not come back after a new program was installed", is_answered)
}

/// Tries until something is so; else says that it is not.
fn wait(not: &'static str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_so().unwrap_or(false) {
        ensure!(start.elapsed() < Duration::from_mins(2), not);
        sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// What the service answers to the request in a file.
fn ask(system: &System, request: &str) -> Result<String> {
    let ask = "{ exec 3<>/dev/tcp/127.0.0.1/8080; cat $0 >&3; cat <&3; } 2>/dev/null";
    let answer = system.output(&["bash", "-c", ask, request])?;
    let content = answer.strip_prefix("HTTP/1.1 200 OK\r\n").and_then(|rest| rest.split_once("\r\n\r\n"));
    Ok(content.with_context(|| format!("the service answered {answer:?}"))?.1.to_owned())
}

/// A record without the input's name and the times.
fn result(record: &str) -> Result<Value> {
    let mut record: Value = serde_json::from_str(record).with_context(|| format!("no record: {record}"))?;
    for differs in ["input", "ms"] {
        record[differs] = Value::Null;
    }
    Ok(record)
}
