//! `cargo xtask no-std`: the board's core on a machine without an operating system.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Act, Workspace, cargo, run, workspace};
use crate::toolchain::{Origin, from_source, origin, rustc};

/// Without an operating system: a Cortex-M4 with floating point, whose addresses have 32 bits and which has no 64-bit
/// atomics; and any 64-bit Arm.
const TARGETS: [&str; 2] = ["thumbv7em-none-eabihf", "aarch64-unknown-none"];

const PROBE: &str = "xtask/src/no_std_probe.rs";

/// Builds the core for bare metal, or else does the strongest check that the toolchain allows.
///
/// # Errors
/// A core that needs the standard library.
pub fn no_std() -> Result<()> {
    let workspace = workspace()?;
    for target in TARGETS {
        let Some(mut build) = for_target(core_build(&workspace), target)? else {
            eprintln!(
                "no {target} to be had, and no source of Rust's core (rustup component add rust-src): \
                 linking without std on this machine instead"
            );
            run(&mut core_build(&workspace))?;
            return probe(&workspace);
        };
        run(&mut build)?;
    }
    Ok(())
}

/// The build for a target without an operating system, whose Rust comes from rustup or from source; `None` if from
/// nowhere.
///
/// # Errors
/// The compiler does not start.
pub fn for_target(mut build: Command, target: &str) -> Result<Option<Command>> {
    let Some(origin) = origin(&Act::REAL, target)? else { return Ok(None) };
    if origin == Origin::Source {
        eprintln!("no {target} to be had: building Rust's own core and alloc from source for it");
        from_source(&mut build, "core,alloc");
    }
    build.args(["--target", target]);
    Ok(Some(build))
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
