//! Cargo, what it builds, and the programs that chores start.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

pub use fieldmark_programs::process::{
    Act, Failed, cache_folder, checked, in_words, line, on_path, output, run, succeeds,
};

/// Builds a bench, optimised throughout unless it is quick and measures nothing; returns where it is.
///
/// # Errors
/// It does not build.
pub fn bench_program(name: &str, is_quick: bool) -> Result<PathBuf> {
    let profile = if is_quick { "dev" } else { "release" };
    output_of_build(&["--bench", name, "--profile", profile], name)
}

/// Builds a target of a `kind`, like `--example`, as everything else is built; returns where it is.
///
/// # Errors
/// It does not build.
pub fn built(kind: &str, name: &str) -> Result<PathBuf> {
    output_of_build(&[kind, name], name)
}

fn output_of_build(words: &[&str], name: &str) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--workspace"]).args(words);
    eprintln!("$ {}", line(&build));
    program(&output(build.args(["--message-format", "json-render-diagnostics"]))?, name)
}

/// Builds the board's program for this machine, as everything else is built; returns where it is.
///
/// # Errors
/// It does not build.
pub fn board_program() -> Result<PathBuf> {
    built("--bin", "fieldmark")
}

/// The program called `name` among cargo's messages.
///
/// # Errors
/// There is none.
pub fn program(artefacts: &str, name: &str) -> Result<PathBuf> {
    let program = made(artefacts).find(|made| made.name == name);
    program.map(|made| made.path).with_context(|| format!("cargo built no program called {name}"))
}

/// A program that cargo made.
pub struct Made {
    /// As `Cargo.toml` has it.
    pub name: String,
    /// It runs tests.
    pub is_test: bool,
    /// Where it is.
    pub path: PathBuf,
}

/// The programs among cargo's messages, one JSON object a line.
pub fn made(artefacts: &str) -> impl Iterator<Item = Made> {
    artefacts.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(Made {
            name: message["target"]["name"].as_str()?.to_owned(),
            is_test: message["profile"]["test"] == true,
            path: message["executable"].as_str()?.into(),
        })
    })
}

/// The cargo that runs us, so that a toolchain chosen with `cargo +NAME xtask` stays chosen.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Where the workspace is, and where cargo builds it.
pub struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
}

/// The workspace around the current folder.
///
/// # Errors
/// Those of `cargo metadata`.
pub fn workspace() -> Result<Workspace> {
    let json = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&json).context("cannot read what `cargo metadata` says")?;
    let folder = |key: &str| {
        let folder = metadata[key].as_str();
        folder.map(PathBuf::from).with_context(|| format!("`cargo metadata` says no {key}"))
    };
    Ok(Workspace { root: folder("workspace_root")?, target: folder("target_directory")? })
}

/// Lets a file be started as a program.
///
/// # Errors
/// Its path and the system's reason.
#[cfg(unix)]
pub fn make_executable(path: &Path) -> Result<()> {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}

/// Where files need no permission to be started.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_where_cargo_says() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"fieldmark"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"fieldmark"},"executable":"/t/debug/fieldmark"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(program(messages, "fieldmark").unwrap(), Path::new("/t/debug/fieldmark"));
        let error = program(messages, "fieldmark-trainer").unwrap_err();
        assert_eq!(error.to_string(), "cargo built no program called fieldmark-trainer");
    }
}
