//! Python environments of our own, for programs that only exist there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Act, succeeds};

/// What an environment holds.
pub struct Packages<'a> {
    /// Everything that is installed, so that a new release of something else breaks nothing here.
    pub pins: &'a [&'a str],
    /// Python that runs only where they work.
    pub check: &'a str,
}

/// The Python of a virtual environment in `folder`, made anew unless it is whole.
///
/// # Errors
/// No Python with `venv`, or packages that cannot be had.
pub fn environment(act: &Act, folder: &Path, packages: &Packages<'_>) -> Result<PathBuf> {
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let stamp = folder.join("pins.txt");
    let pins = packages.pins.join("\n");
    let is_whole = fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == pins)
        && succeeds(Command::new(&python).args(["-c", packages.check]));
    if is_whole {
        return Ok(python);
    }
    act.remove_folder(folder)?;
    let missing =
        "no virtual environment; install Python 3.11 or later and its venv module (Debian: python3-venv)";
    act.run(Command::new("python3").args(["-m", "venv"]).arg(folder)).context(missing)?;
    act.run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(packages.pins),
    )?;
    act.write(&stamp, &pins)?;
    Ok(python)
}

/// As [`environment`], whole when `import imports` works.
///
/// # Errors
/// As [`environment`].
pub fn python_with_packages(folder: &Path, pins: &[&str], imports: &str) -> Result<PathBuf> {
    let check = format!("import {imports}");
    environment(&Act { dry_run: false }, folder, &Packages { pins, check: &check })
}
