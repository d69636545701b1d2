//! What the compiler at hand can build for.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::output;

/// The compiler that cargo takes.
pub fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// Whether a compiler has the standard library for `target`; asked of it, not of rustup, which a distribution's
/// toolchain does without.
///
/// # Errors
/// A compiler that does not start, or does not know the target.
pub fn has_target(mut rustc: Command, target: &str) -> Result<bool> {
    let folder = output(rustc.args(["--print", "target-libdir", "--target", target]))?;
    Ok(Path::new(folder.trim()).exists())
}

/// Whether the standard library's sources lie beside the compiler, where rustup and distributions put those that fit it.
///
/// # Errors
/// A compiler that does not start.
pub fn has_source() -> Result<bool> {
    let sysroot = output(rustc().args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/core").exists())
}
