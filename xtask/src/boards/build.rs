//! One command from the sources to a board's program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use fieldmark_boards::{Board, Libc, Variant, Version};
use fieldmark_programs::elf;

use super::Choice;
use super::library::{Library, library};
use super::linker::{Linker, linker, variable};
use crate::process::{Act, Workspace, made, program, workspace};
use crate::toolchain::from_source;

/// How a program is compiled; both stand in the workspace's `Cargo.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Small and fast, and slow to compile: what is installed
    Board,
    /// Soon compiled: what is tested
    Quick,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Board => "board",
            Profile::Quick => "quick",
        }
    }
}

/// What only the small program is compiled with. It does not unwind, so neither our code makes tables for that nor does the
/// program keep those of Rust's own library. On aarch64, LLVM makes functions of what is the same in many, and looks twice
/// more whether that has made more the same. Linkers run in the workspace's root.
const SMALL: [&str; 3] = [
    "-C force-unwind-tables=no",
    "-C llvm-args=-machine-outliner-reruns=2",
    "-C link-arg=-Wl,--script=xtask/src/boards/no_unwinding.ld",
];

/// All that compiling for a board takes.
pub struct Cross {
    board: &'static Board,
    /// Which of the board's programs.
    pub variant: &'static Variant,
    library: Library,
    linker: Linker,
    cuda: bool,
    workspace: Workspace,
}

/// Builds the program of a board, and checks that it would start there and, of the profile `board`, that it is within its
/// budget; returns where it is.
///
/// # Errors
/// Something is missing, with the command that brings it; or the program fails a check.
pub fn build(act: &Act, choice: &Choice, profile: Profile) -> Result<PathBuf> {
    Cross::of(act, choice)?.program(act, profile)
}

/// Builds the trainer for a board's processor and system, and checks that it would start there; returns where it is.
///
/// # Errors
/// As [`build`].
pub fn build_trainer(act: &Act, choice: &Choice) -> Result<PathBuf> {
    Cross::of(act, choice)?.trainer(act)
}

impl Cross {
    /// Finds or brings what a choice needs.
    ///
    /// # Errors
    /// No such board, no standard library for it, or no linker.
    pub fn of(act: &Act, choice: &Choice) -> Result<Cross> {
        let (board, variant) = choice.found()?;
        let workspace = workspace()?;
        let library = library(act, variant.triple, choice.toolchain.as_deref())?;
        let linker = linker(act, &workspace.target.join("boards"), variant, choice.linker)?;
        Ok(Cross { board, variant, library, linker, cuda: choice.cuda, workspace })
    }

    /// Cargo building something of package `fieldmark`, which tells by messages what it made.
    pub fn cargo(&self, profile: Profile) -> Command {
        let flags = if profile == Profile::Board { SMALL.to_vec() } else { Vec::new() };
        let mut build = self.package("fieldmark", profile.name(), flags);
        if self.cuda {
            build.args(["--features", "cuda"]);
        }
        build
    }

    /// Cargo building something of a package in a profile, with flags of the compiler's.
    fn package(&self, package: &str, profile: &str, mut flags: Vec<&str>) -> Command {
        let Cross { variant, library, linker, workspace, .. } = self;
        let mut build = linker.cargo("build", variant);
        build.current_dir(&workspace.root);
        build.args(["--locked", "--package", package, "--profile", profile]);
        build.args(["--message-format", "json-render-diagnostics"]);
        match library {
            Library::AtHand => {}
            Library::Of(rustc) => {
                build.env("RUSTC", rustc);
            }
            Library::FromSource => {
                from_source(&mut build, "std,panic_abort,test");
                if variant.libc == Libc::Musl {
                    // rustup's own libraries bring musl's start files; zig has those for this one.
                    flags.push("-C link-self-contained=no");
                }
            }
        }
        if !flags.is_empty() {
            build.env(format!("CARGO_TARGET_{}_RUSTFLAGS", variable(variant.triple)), flags.join(" "));
        }
        build
    }

    /// The program alone.
    ///
    /// # Errors
    /// As [`build`].
    pub fn program(&self, act: &Act, profile: Profile) -> Result<PathBuf> {
        let artefacts = act.output(self.cargo(profile).args(["--bin", "fieldmark"]), "")?;
        self.checked(act, &artefacts, profile)
    }

    /// The trainer, fast rather than small.
    ///
    /// # Errors
    /// As [`build_trainer`].
    fn trainer(&self, act: &Act) -> Result<PathBuf> {
        const NAME: &str = "fieldmark-trainer";
        let artefacts = act.output(self.package(NAME, "release", Vec::new()).args(["--bin", NAME]), "")?;
        if act.dry_run {
            return Ok(self.workspace.target.join(self.variant.triple).join("release").join(NAME));
        }
        let program = program(&artefacts, NAME)?;
        elf::starts(&program, self.variant, self.glibc())?;
        eprintln!("# {} bytes", size(&program)?);
        Ok(program)
    }

    /// The program among what cargo made, checked.
    ///
    /// # Errors
    /// As [`build`].
    pub fn checked(&self, act: &Act, artefacts: &str, profile: Profile) -> Result<PathBuf> {
        let Cross { variant, workspace, .. } = self;
        if act.dry_run {
            return Ok(workspace.target.join(variant.triple).join(profile.name()).join("fieldmark"));
        }
        let program =
            executables(artefacts, false).next().context("cargo built no program called fieldmark")?;
        elf::starts(&program, variant, self.glibc())?;
        // What a GPU takes has none.
        if profile == Profile::Board && !self.cuda {
            within_budget(&program, variant.budget)?;
        }
        Ok(program)
    }

    /// The folder of package `fieldmark`, where its tests run.
    pub fn runtime(&self) -> PathBuf {
        self.workspace.root.join("runtime")
    }

    /// Where what the boards need is kept.
    pub fn folder(&self) -> PathBuf {
        self.workspace.target.join("boards")
    }

    /// The newest glibc that the program may need.
    fn glibc(&self) -> Version {
        match (&self.linker, self.variant.libc) {
            (Linker::Zig { .. }, Libc::Glibc(version)) => version,
            _ => self.board.system.1,
        }
    }
}

/// The programs that hold tests, among cargo's messages.
pub fn tests(artefacts: &str) -> Vec<PathBuf> {
    executables(artefacts, true).collect()
}

fn executables(artefacts: &str, with_tests: bool) -> impl Iterator<Item = PathBuf> {
    let wanted = made(artefacts).filter(move |made| made.name == "fieldmark" && made.is_test == with_tests);
    wanted.map(|made| made.path)
}

fn size(program: &Path) -> Result<u64> {
    Ok(fs::metadata(program).with_context(|| format!("cannot read {}", program.display()))?.len())
}

fn within_budget(program: &Path, budget: u64) -> Result<()> {
    let size = size(program)?;
    eprintln!("# {size} bytes; the budget is {budget}");
    ensure!(
        size <= budget,
        "{} has {size} bytes, its budget is {budget}: find what grew, and leave it out or say why not in trainer/boards",
        program.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_their_tests_are_told_apart() {
        let messages = r#"{"target":{"name":"fieldmark"},"profile":{"test":false},"executable":null}
{"target":{"name":"fieldmark"},"profile":{"test":true},"executable":"/t/fieldmark-1"}
{"target":{"name":"fieldmark"},"profile":{"test":false},"executable":"/t/fieldmark"}"#;
        assert_eq!(super::tests(messages), [Path::new("/t/fieldmark-1")]);
        assert!(executables(messages, false).eq([PathBuf::from("/t/fieldmark")]));
    }
}
