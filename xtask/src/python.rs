//! Virtual environments of Python packages, one for each chore that needs some.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Act, succeeds};

/// The Python of a virtual environment in `folder` with the packages `pins`, made anew unless it is whole:
/// the same pins, and `import imports` works.
///
/// # Errors
/// No Python, or no packages.
pub fn python_with_packages(act: &Act, folder: &Path, pins: &[&str], imports: &str) -> Result<PathBuf> {
    let python = python_in(folder);
    let stamp = folder.join("pins.txt");
    let pinned = pins.join("\n");
    let is_whole = fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == pinned)
        && succeeds(Command::new(&python).args(["-c", &format!("import {imports}")]));
    if is_whole {
        return Ok(python);
    }
    act.remove_folder(folder)?;
    environment(act, folder)?;
    act.run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(pins),
    )?;
    act.write(&stamp, pinned)?;
    Ok(python)
}

/// The Python of a new virtual environment in `folder`, without packages but pip.
///
/// # Errors
/// No Python.
pub fn environment(act: &Act, folder: &Path) -> Result<PathBuf> {
    let missing =
        "no virtual environment; install Python 3.11 or later and its venv module (Debian: python3-venv)";
    act.run(Command::new("python3").args(["-m", "venv"]).arg(folder)).context(missing)?;
    Ok(python_in(folder))
}

fn python_in(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}
