//! What links a board's program.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use fieldmark_boards::{Libc, Variant};

use crate::process::{Act, cargo, succeeds};
use crate::python::python_with_packages;

/// cargo-zigbuild, and the compiler that it drives: with it a program asks for no newer glibc than it is told.
const PINS: [&str; 2] = ["cargo-zigbuild==0.24.0", "ziglang==0.15.2"];

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LinkerName {
    /// Through cargo-zigbuild, from its Python wheel
    Zig,
    /// Debian's cross compiler; programs need its own glibc or a later one
    Gcc,
}

/// What links.
#[derive(Debug)]
pub enum Linker {
    /// In a Python environment of ours, with its caches beside it.
    Zig {
        /// The environment's programs.
        programs: PathBuf,
        /// What zig has made of C libraries.
        cache: PathBuf,
    },
    /// This compiler.
    Gcc(&'static str),
}

/// Finds what links `variant`, or brings it into `folder`; says in one line what was chosen.
///
/// # Errors
/// There is none, with the commands that bring one.
pub fn linker(act: &Act, folder: &Path, variant: &Variant, wanted: Option<LinkerName>) -> Result<Linker> {
    let gcc = variant.gcc.filter(|gcc| succeeds(Command::new(gcc).arg("--version")));
    let linker = match (wanted, gcc) {
        (Some(LinkerName::Gcc), Some(gcc)) => Linker::Gcc(gcc),
        (Some(LinkerName::Gcc), None) => bail!("{}", gcc_missing(variant)),
        (wanted, gcc) => match zig(act, folder) {
            Ok(zig) => zig,
            Err(error) if wanted.is_none() && gcc.is_some() => {
                eprintln!("# no zig: {error:#}");
                Linker::Gcc(gcc.unwrap_or_default())
            }
            Err(error) => {
                return Err(error).with_context(|| format!("no linker for {}", variant.triple));
            }
        },
    };
    match &linker {
        Linker::Zig { programs, .. } => {
            eprintln!("# linker: zig, through cargo-zigbuild in {}", programs.display());
        }
        Linker::Gcc(gcc) => {
            eprintln!("# linker: {gcc}; the program will need that compiler's glibc or a later one");
        }
    }
    Ok(linker)
}

fn gcc_missing(variant: &Variant) -> String {
    match variant.gcc {
        Some(gcc) => {
            format!("{gcc} does not start; install it (Debian: apt-get install gcc-{})", package(gcc))
        }
        None => format!("Debian has no gcc that is right for {}; leave --linker out", variant.triple),
    }
}

/// `aarch64-linux-gnu` of `aarch64-linux-gnu-gcc`, with the hyphens that package names have.
fn package(gcc: &str) -> String {
    gcc.trim_end_matches("-gcc").replace('_', "-")
}

fn zig(act: &Act, folder: &Path) -> Result<Linker> {
    let python = python_with_packages(act, &folder.join("zig"), &PINS, "ziglang")?;
    let programs = python.parent().unwrap_or(folder).to_owned();
    Ok(Linker::Zig { programs, cache: folder.join("zig-cache") })
}

impl Linker {
    /// Cargo with `verb` (`build`) for `variant`, to be told what is built.
    pub fn cargo(&self, verb: &str, variant: &Variant) -> Command {
        let of_target = |what: &str| format!("CARGO_TARGET_{}_{what}", variable(variant.triple));
        match self {
            Linker::Zig { programs, cache } => {
                let mut build = Command::new(programs.join("cargo-zigbuild"));
                build.args([if verb == "build" { "zigbuild" } else { verb }, "--target"]).arg(named(variant));
                // Set, it would win against zig without a word.
                build.env_remove(of_target("LINKER"));
                build.env("PATH", path_with(programs));
                let caches = ["CARGO_ZIGBUILD_CACHE_DIR", "ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"];
                build.envs(caches.map(|name| (name, cache)));
                build
            }
            Linker::Gcc(gcc) => {
                let mut build = cargo();
                build.args([verb, "--target", variant.triple]).env(of_target("LINKER"), gcc);
                build
            }
        }
    }
}

/// The target as cargo-zigbuild takes it, with the glibc to link with.
fn named(variant: &Variant) -> String {
    match variant.libc {
        Libc::Glibc((major, minor)) => format!("{}.{major}.{minor}", variant.triple),
        Libc::Musl => variant.triple.to_owned(),
    }
}

/// A target as cargo's variables have it.
pub fn variable(triple: &str) -> String {
    triple.to_uppercase().replace('-', "_")
}

fn path_with(programs: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [programs.to_owned()].into_iter().chain(env::split_paths(&path));
    env::join_paths(folders).unwrap_or(path.clone())
}

#[cfg(test)]
mod tests {
    use fieldmark_boards::find;

    use super::*;
    use crate::process::line;

    fn variant(board: &str) -> &'static Variant {
        find(board, None).unwrap().1
    }

    #[test]
    fn zig_is_told_the_glibc_and_nobody_else_the_linker() {
        let zig = Linker::Zig { programs: "/zig/bin".into(), cache: "/cache".into() };
        let build = zig.cargo("build", variant("pi4"));
        assert!(line(&build).ends_with("cargo-zigbuild zigbuild --target aarch64-unknown-linux-gnu.2.27"));
        let linker = ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER".as_ref(), None);
        assert!(build.get_envs().any(|set| set == linker));
    }

    #[test]
    fn gcc_is_named_with_the_package_that_brings_it() {
        let gcc = Linker::Gcc("aarch64-linux-gnu-gcc").cargo("build", variant("pi4"));
        let expected = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
                        cargo build --target aarch64-unknown-linux-gnu";
        assert_eq!(line(&gcc), expected);
        assert!(gcc_missing(variant("x86-64")).ends_with("apt-get install gcc-x86-64-linux-gnu)"));
        assert!(gcc_missing(variant("pi-zero")).starts_with("Debian has no gcc that is right"));
    }
}
