//! Virtual environments of Python packages, one for each chore that needs some.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
pub use fieldmark_programs::wheel::{Wheel, environment, python_in, unpacked};

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
