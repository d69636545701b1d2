//! `cargo xtask check-onnx`: exported files under the eyes of other people's programs.
//!
//! The checks are `check_onnx.py`; this gives it a Python with the packages it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{run, succeeds, workspace};

/// Everything that is installed, so that a new release of something else breaks nothing here.
const PINS: [&str; 7] = [
    "flatbuffers==25.12.19",
    "ml_dtypes==0.6.0",
    "numpy==2.4.6",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "packaging==26.3",
    "protobuf==7.36.2",
];

const SCRIPT: &str = include_str!("check_onnx.py");

/// Checks model files; every file is reported on.
///
/// # Errors
/// A file that failed, or no Python.
pub fn check_onnx(files: &[PathBuf]) -> Result<()> {
    let folder = workspace()?.target.join("check-onnx-venv");
    let python = python_with_packages(&folder)?;
    let script = folder.join("check_onnx.py");
    fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    run(Command::new(python).arg(&script).args(files))
}

/// The Python of a virtual environment in `folder`, made anew unless it is whole.
fn python_with_packages(folder: &Path) -> Result<PathBuf> {
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let stamp = folder.join("pins.txt");
    let pins = PINS.join("\n");
    let is_whole = fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == pins)
        && succeeds(Command::new(&python).args(["-c", "import numpy, onnx, onnxruntime"]));
    if is_whole {
        return Ok(python);
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let missing =
        "no virtual environment; install Python 3.11 or later and its venv module (Debian: python3-venv)";
    run(Command::new("python3").args(["-m", "venv"]).arg(folder)).context(missing)?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(PINS))?;
    fs::write(&stamp, pins).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}
