//! `cargo xtask dist`: what people download. For each kind of board an archive and, for Debian's relatives, a package;
//! beside them what is inside (a bill of materials a program) and the files' hashes.

mod crates;
mod deb;
mod files;

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use fieldmark_boards::Variant;

use crate::boards::{Choice, Profile, build};
use crate::hash::sha256;
use crate::process::{Act, built, output, run, workspace};
use crates::{Crates, bill_of_materials, licences};
use deb::Package;

/// One program of the table of boards, under the name of a board that has it.
struct Packed {
    board: &'static str,
    bits: u8,
    /// Package name and Debian's architecture.
    debian: Option<(&'static str, &'static str)>,
}

/// Debian's armhf has two programs: package names of their own keep one from overwriting the other.
const PACKED: [Packed; 5] = [
    Packed { board: "pi4", bits: 64, debian: Some(("fieldmark", "arm64")) },
    Packed { board: "pi4", bits: 32, debian: Some(("fieldmark", "armhf")) },
    Packed { board: "pi-zero", bits: 32, debian: Some(("fieldmark-armv6", "armhf")) },
    Packed { board: "x86-64", bits: 64, debian: Some(("fieldmark", "amd64")) },
    Packed { board: "aarch64", bits: 64, debian: None },
];

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Pack only the programs of pi4 (64 and 32 bits), pi-zero, x86-64 or aarch64
    #[arg(long = "board", value_name = "BOARD")]
    boards: Vec<String>,
    /// Pack only programs of 32 or 64 bits
    #[arg(long)]
    bits: Option<u8>,
    /// A program that was built already, for the one that is chosen, instead of building it
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Folder for what is made, emptied first
    #[arg(long, default_value = "target/dist")]
    out: PathBuf,
}

/// Makes everything, and prints the files' names and hashes.
///
/// # Errors
/// What could not be built or packed.
pub fn dist(options: &Options) -> Result<()> {
    let chosen = chosen(&options.boards, options.bits)?;
    ensure!(
        options.program.is_none() || chosen.len() == 1,
        "--program is one, and {} are packed; choose one with --board and --bits",
        chosen.len()
    );
    let workspace = workspace()?;
    let made = made_folder(&options.out)?;
    let work = workspace.target.join("dist-work");
    let manual = manual(&work.join("manual"))?;
    let epoch = epoch(&workspace.root)?;
    for packed in chosen {
        let choice = Choice { board: packed.board.to_owned(), bits: Some(packed.bits), ..Choice::default() };
        let (_, variant) = choice.found()?;
        let program = match &options.program {
            Some(program) => program.clone(),
            None => build(&Act::REAL, &choice, Profile::Board)?,
        };
        let crates = Crates::of_program(&workspace.root, variant.triple)?;
        let contents = files::Contents {
            root: &workspace.root,
            program: &program,
            manual: &manual,
            licences: licences(&crates)?,
            epoch: &epoch,
        };
        pack(packed, variant, &contents, &work, &made)?;
        let bill = made.join(format!("{}.cdx.json", name(variant)));
        fs::write(&bill, bill_of_materials(&crates, VERSION))
            .with_context(|| format!("cannot write {}", bill.display()))?;
    }
    print!("{}", write_sums(&made)?);
    Ok(())
}

fn chosen(boards: &[String], bits: Option<u8>) -> Result<Vec<&'static Packed>> {
    let names = || PACKED.iter().map(|packed| packed.board).collect::<Vec<_>>().join(", ");
    for board in boards {
        ensure!(
            PACKED.iter().any(|packed| packed.board == board),
            "nothing is packed under {board:?}; there are {}",
            names()
        );
    }
    let is_chosen = |packed: &&Packed| {
        (boards.is_empty() || boards.iter().any(|board| board == packed.board))
            && bits.is_none_or(|bits| bits == packed.bits)
    };
    Ok(PACKED.iter().filter(is_chosen).collect())
}

/// An empty folder; one with something else in it than was made here is somebody's own.
fn made_folder(out: &Path) -> Result<PathBuf> {
    if out.exists() {
        let is_ours = out.join("SHA256SUMS").exists() || fs::read_dir(out)?.next().is_none();
        ensure!(is_ours, "{} is not empty and was not made here; choose another --out", out.display());
        fs::remove_dir_all(out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    out.canonicalize().with_context(|| format!("cannot find {}", out.display()))
}

/// Manual pages and completions.
fn manual(folder: &Path) -> Result<PathBuf> {
    let example = built("--example", "manual")?;
    Act::REAL.remove_folder(folder)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    run(Command::new(example).arg(folder))?;
    Ok(folder.to_owned())
}

/// The time that files get, so that the same sources give the same archives: what the environment says, as everywhere
/// where builds are to be repeated, else the last commit's.
fn epoch(root: &Path) -> Result<String> {
    if let Ok(epoch) = env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    let mut log = Command::new("git");
    let time = output(log.current_dir(root).args(["log", "-1", "--format=%ct"]));
    Ok(time.context("no time for the files; set SOURCE_DATE_EPOCH")?.trim().to_owned())
}

/// `fieldmark-0.1.0-aarch64-unknown-linux-gnu`.
fn name(variant: &Variant) -> String {
    format!("fieldmark-{VERSION}-{}", variant.triple)
}

fn pack(
    packed: &Packed,
    variant: &Variant,
    contents: &files::Contents,
    work: &Path,
    made: &Path,
) -> Result<()> {
    let name = name(variant);
    let folder = work.join(&name);
    Act::REAL.remove_folder(&folder)?;
    contents.lay_out_archive(&folder)?;
    contents.archive(work, &name, made)?;
    let Some((package, architecture)) = packed.debian else { return Ok(()) };
    let tree = work.join(format!("{package}-{architecture}"));
    Act::REAL.remove_folder(&tree)?;
    contents.lay_out_system(&tree, package)?;
    Package { name: package, architecture, version: VERSION }.build(&tree, contents, made)
}

/// As `sha256sum --check` reads it.
fn write_sums(made: &Path) -> Result<String> {
    let mut names: Vec<_> = fs::read_dir(made)
        .with_context(|| format!("cannot list {}", made.display()))?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    names.sort();
    let mut sums = String::new();
    for name in names {
        let _ = writeln!(sums, "{}  {name}", sha256(&made.join(&name))?);
    }
    fs::write(made.join("SHA256SUMS"), &sums).context("cannot write SHA256SUMS")?;
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_programs_have_one_name() {
        let mut files = Vec::new();
        for packed in &PACKED {
            let choice =
                Choice { board: packed.board.to_owned(), bits: Some(packed.bits), ..Choice::default() };
            files.push(name(choice.found().unwrap().1));
            files.extend(packed.debian.map(|(package, architecture)| format!("{package}_{architecture}")));
        }
        let all = files.len();
        files.sort();
        files.dedup();
        assert_eq!((files.len(), all), (9, 9));
    }

    #[test]
    fn a_folder_of_somebody_s_own_is_not_emptied() {
        let folder = tempfile::tempdir().unwrap();
        made_folder(folder.path()).unwrap();
        fs::write(folder.path().join("thesis.txt"), "").unwrap();
        assert!(made_folder(folder.path()).unwrap_err().to_string().contains("choose another --out"));
        write_sums(folder.path()).unwrap();
        made_folder(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
