//! Where the standard library for a board comes from.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Act, output};
use crate::toolchain::{Origin, has_target, origin};

/// Names a toolchain as `--toolchain` does.
const VARIABLE: &str = "FIELDMARK_TOOLCHAIN";

/// A standard library for the board.
#[derive(Debug, PartialEq, Eq)]
pub enum Library {
    /// The compiler at hand has it.
    AtHand,
    /// This other compiler has it.
    Of(PathBuf),
    /// Built by cargo from the sources beside the compiler.
    FromSource,
}

/// Finds one, or brings it; says in one line what was chosen.
///
/// # Errors
/// There is none, with the commands that bring one.
pub fn library(act: &Act, triple: &str, toolchain: Option<&str>) -> Result<Library> {
    let (library, said) = found(act, triple, toolchain)?;
    eprintln!("# standard library for {triple}: {said}");
    Ok(library)
}

fn found(act: &Act, triple: &str, toolchain: Option<&str>) -> Result<(Library, String)> {
    let variable = env::var(VARIABLE).ok().filter(|name| !name.is_empty());
    if let Some(name) = toolchain.map(str::to_owned).or(variable) {
        let compiler = named(&name)?;
        let has = has_target(Command::new(&compiler), triple)?;
        ensure!(has, "{} has no standard library for {triple}", compiler.display());
        let said = format!("the one of {}", compiler.display());
        return Ok((Library::Of(compiler), said));
    }
    Ok(match origin(act, triple)? {
        Some(Origin::Installed) => (Library::AtHand, "installed".to_owned()),
        Some(Origin::Rustup) => (Library::AtHand, "added by rustup".to_owned()),
        Some(Origin::Source) => (Library::FromSource, "built from source; rustup has none".to_owned()),
        None => bail!(
            "no standard library for {triple}: `rustup target add {triple}` failed, and so did `rustup component add \
             rust-src` for building it; name a toolchain that has it with --toolchain or {VARIABLE}"
        ),
    })
}

/// The compiler of a toolchain.
fn named(name: &str) -> Result<PathBuf> {
    let inside = Path::new(name).join("bin/rustc");
    if inside.is_file() {
        return Ok(inside);
    }
    let path =
        output(Command::new("rustup").args(["which", "rustc", "--toolchain", name])).with_context(|| {
            format!(
                "{name} is no toolchain: {} is not there, and rustup has none of that name",
                inside.display()
            )
        })?;
    Ok(PathBuf::from(path.trim()))
}
