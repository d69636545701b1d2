//! `cargo xtask build-cuda`: the trainer for NVIDIA GPUs, on a machine that needs none.
//!
//! An installed CUDA is used where `--cuda-home` or `CUDA_HOME` names it; else compiler and libraries come as
//! Python wheels ([`toolkit`]). Of candle's kernels only those are built that a network of ours can reach
//! ([`kernels`]). What comes out is a folder to carry to the machine with the GPU ([`dist`]).

mod dist;
mod kernels;
mod toolkit;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use crate::process::{Act, cargo, output, workspace};
use toolkit::Toolkit;

/// Runs on this and all later ones; the first with bf16 and TF32 (Ampere).
const COMPUTE_CAPABILITY: &str = "80";

/// Every processor of a machine with such a GPU has AVX2.
const RUSTFLAGS: &str = "-C target-cpu=x86-64-v3";

/// Packages that no training step runs through, made small instead of fast: the board's engine, which only checks
/// exports here, and products of kinds of numbers that nothing is trained in.
const SMALL: [&str; 14] = [
    "gemm-c32",
    "gemm-c64",
    "gemm-f16",
    "ndarray",
    "prost",
    "regex-automata",
    "tract-core",
    "tract-data",
    "tract-extra",
    "tract-hir",
    "tract-linalg",
    "tract-nnef",
    "tract-onnx",
    "tract-onnx-opl",
];

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Folder of an installed CUDA with cuDNN [default: `CUDA_HOME`, else Python wheels are fetched]
    #[arg(long)]
    cuda_home: Option<PathBuf>,
    /// Folder to lay out [default: cuda-dist in cargo's target folder]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Lay CUDA's libraries beside the programs, 1.3 GB, for a machine that has none and no network
    #[arg(long, conflicts_with = "cuda_home")]
    with_libraries: bool,
    /// Print what would be run and written, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Builds the programs and lays out the folder.
///
/// # Errors
/// The step that failed.
pub fn build_cuda(options: &Options) -> Result<()> {
    let act = Act { dry_run: options.dry_run };
    let target = workspace()?.target;
    let folder = target.join("cuda-build");
    let sources = Sources::of_workspace()?;
    let toolkit = match installed(options) {
        Some(home) => Toolkit::installed(&home)?,
        None => Toolkit::from_wheels(&act, &folder, &sources)?,
    };
    let kernels = kernels::fewer(&act, &folder, &sources)?;
    let artefacts = act.output(&mut build(&toolkit, &kernels, &folder), "")?;
    let out = options.out.clone().unwrap_or_else(|| target.join("cuda-dist"));
    if options.with_libraries {
        dist::copy_libraries(&act, &out, &toolkit)?;
    }
    dist::lay_out(&act, &out, &artefacts, &toolkit)
}

fn installed(options: &Options) -> Option<PathBuf> {
    let named = || env::var_os("CUDA_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    options.cuda_home.clone().or_else(named)
}

fn build(toolkit: &Toolkit, kernels: &Path, folder: &Path) -> Command {
    let mut build = cargo();
    build
        .args(["build", "--locked", "--release"])
        .args(["--package", "fieldmark-trainer", "--package", "fieldmark-tests"])
        .args(["--features", "fieldmark-trainer/cuda"])
        .args(["--bin", "fieldmark-trainer", "--bench", "train", "--test", "promises"])
        // Not `patch`, which would write to Cargo.lock.
        .args(["--config".to_owned(), format!("paths=[{:?}]", kernels.display().to_string())])
        .args(SMALL.iter().flat_map(small))
        .args(["--message-format", "json-render-diagnostics"])
        .envs(toolkit.variables())
        .envs([("CUDA_COMPUTE_CAP", COMPUTE_CAPABILITY), ("RUSTFLAGS", RUSTFLAGS)])
        // Other flags than everyday's: in the same folder the two would drive each other out.
        .env("CARGO_TARGET_DIR", folder.join("target"));
    build
}

/// What cargo is told of a package of [`SMALL`]; not in `Cargo.toml`, whose release profile is for speed.
fn small(package: &&str) -> [String; 4] {
    let told = |setting: &str| format!("profile.release.package.{package}.{setting}");
    let config = || "--config".to_owned();
    [config(), told("opt-level=\"s\""), config(), told("codegen-units=1")]
}

/// Where cargo keeps the sources of packages that the workspace depends on.
pub struct Sources {
    metadata: Value,
}

impl Sources {
    fn of_workspace() -> Result<Sources> {
        let json = output(cargo().args(["metadata", "--format-version", "1", "--all-features"]))?;
        let metadata = serde_json::from_str(&json).context("cannot read what `cargo metadata` says")?;
        Ok(Sources { metadata })
    }

    /// The folder of one package.
    ///
    /// # Errors
    /// Nothing depends on it.
    pub fn folder(&self, package: &str) -> Result<PathBuf> {
        let packages = self.metadata["packages"].as_array();
        let found = packages.into_iter().flatten().find(|found| found["name"] == package);
        let manifest = found.and_then(|found| found["manifest_path"].as_str()).map(Path::new);
        let folder = manifest.and_then(Path::parent).map(Path::to_owned);
        folder.with_context(|| format!("the workspace depends on no package called {package}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::line;

    #[test]
    fn the_build_names_its_toolkit_and_leaves_the_lock_file() {
        let toolkit = Toolkit { home: "/opt/cuda".into(), version: Some("13000"), brought_by: String::new() };
        let build = line(&build(&toolkit, Path::new("/t/kernels"), Path::new("/t")));
        for part in [
            "CUDA_HOME=/opt/cuda ",
            "NVCC=/opt/cuda/bin/nvcc ",
            "cargo build --locked ",
            r#"'paths=["/t/kernels"]'"#,
        ] {
            assert!(build.contains(part), "{part} in {build}");
        }
    }

    #[test]
    fn sources_are_where_cargo_says() {
        let metadata =
            serde_json::json!({"packages": [{"name": "cudarc", "manifest_path": "/r/cudarc-1/Cargo.toml"}]});
        let sources = Sources { metadata };
        assert_eq!(sources.folder("cudarc").unwrap(), Path::new("/r/cudarc-1"));
        let error = sources.folder("candle").unwrap_err();
        assert_eq!(error.to_string(), "the workspace depends on no package called candle");
    }
}
