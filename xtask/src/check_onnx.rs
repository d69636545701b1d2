//! `cargo xtask check-onnx`: exported files under the eyes of other people's programs.
//!
//! The checks are `check_onnx.py`; this gives it a Python with the packages it needs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Act, run, workspace};
use crate::python::python_with_packages;

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
    let python = python_with_packages(&Act::REAL, &folder, &PINS, "numpy, onnx, onnxruntime")?;
    let script = folder.join("check_onnx.py");
    fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    run(Command::new(python).arg(&script).args(files))
}
