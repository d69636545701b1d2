//! What the compiler at hand can build for.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::process::{Act, output};

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

/// What brings the standard library for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is there.
    Installed,
    /// rustup has just brought it.
    Rustup,
    /// cargo builds it from the sources beside the compiler; see [`from_source`].
    Source,
}

/// Looks for the standard library for `target`, and brings what is missing; `None` where it is to be had from nowhere.
///
/// # Errors
/// A compiler that does not start, or does not know the target.
pub fn origin(act: &Act, target: &str) -> Result<Option<Origin>> {
    if let Some(origin) = compiled(act, target)? {
        return Ok(Some(origin));
    }
    Ok((has_source()? || added(act, "component", "rust-src")).then_some(Origin::Source))
}

/// As [`origin`], of the compiled library alone.
///
/// # Errors
/// Those of [`has_target`].
pub fn compiled(act: &Act, target: &str) -> Result<Option<Origin>> {
    if has_target(rustc(), target)? {
        return Ok(Some(Origin::Installed));
    }
    Ok(added(act, "target", target).then_some(Origin::Rustup))
}

/// Lets rustup bring the compiled standard library for `target` where it is missing.
///
/// # Errors
/// It is to be had from nowhere; or those of [`has_target`].
pub fn bring(target: &str) -> Result<()> {
    ensure!(
        compiled(&Act::REAL, target)?.is_some(),
        "no standard library for {target}; bring it with: rustup target add {target}"
    );
    Ok(())
}

/// Whether rustup brings something; in a dry run it is taken to.
fn added(act: &Act, kind: &str, what: &str) -> bool {
    act.run(Command::new("rustup").args([kind, "add", what])).is_ok()
}

/// Lets a build compile these crates of the standard library, too.
pub fn from_source(build: &mut Command, crates: &str) {
    build.arg(format!("-Zbuild-std={crates}")).env("RUSTC_BOOTSTRAP", "1");
}

/// Whether the standard library's sources lie beside the compiler, where rustup and distributions put those that fit it.
///
/// # Errors
/// A compiler that does not start.
fn has_source() -> Result<bool> {
    let sysroot = output(rustc().args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/core").exists())
}
