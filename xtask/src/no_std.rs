//! `cargo xtask no-std`: the board's core on a machine without an operating system.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Workspace, cargo, run, succeeds, workspace};
use crate::toolchain::{has_source, has_target, rustc};

/// A Cortex-M4 with floating point: no operating system, 32-bit addresses, no 64-bit atomics.
const TARGET: &str = "thumbv7em-none-eabihf";

const PROBE: &str = "xtask/src/no_std_probe.rs";

/// Builds the core for bare metal, or else does the strongest check that the toolchain allows.
///
/// # Errors
/// A core that needs the standard library.
pub fn no_std() -> Result<()> {
    let workspace = workspace()?;
    if has_target(rustc(), TARGET)? || succeeds(Command::new("rustup").args(["target", "add", TARGET])) {
        return run(core_build(&workspace).args(["--target", TARGET]));
    }
    if has_source()? {
        eprintln!("no {TARGET} to be had: building Rust's own core and alloc from source for it");
        let mut build = core_build(&workspace);
        build.args(["--target", TARGET, "-Zbuild-std=core,alloc"]);
        return run(build.env("RUSTC_BOOTSTRAP", "1"));
    }
    eprintln!(
        "no {TARGET} to be had, and no source of Rust's core (rustup component add rust-src): \
         linking without std on this machine instead"
    );
    run(&mut core_build(&workspace))?;
    probe(&workspace)
}

/// The core alone, in a folder of its own: its features would disturb the everyday build.
fn core_build(workspace: &Workspace) -> Command {
    let mut build = cargo();
    build.current_dir(&workspace.root);
    build.args(["build", "--package", "fieldmark", "--lib", "--no-default-features", "--target-dir"]);
    build.arg(folder(workspace));
    build
}

/// Compiles a static library that brings its own panic handler on top of the core. If anything below it linked
/// std, there would be two, which is an error.
fn probe(workspace: &Workspace) -> Result<()> {
    let built = folder(workspace).join("debug");
    let library = built.join("libfieldmark.rlib");
    let mut rustc = rustc();
    rustc.current_dir(&workspace.root);
    rustc.args(["--edition", "2024", "--crate-type", "staticlib", "-C", "panic=abort", PROBE]);
    rustc.arg("--extern").arg(format!("fieldmark={}", library.display()));
    rustc.arg("-L").arg(format!("dependency={}", built.join("deps").display()));
    rustc.arg("-o").arg(built.join("libno_std_probe.a"));
    run(&mut rustc).context("the core needs std without its feature `std`")
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("no-std")
}
