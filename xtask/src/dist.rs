//! `cargo xtask dist`: what people download. For each program and each kind of board or machine an archive
//! and, for Debian's relatives, a package; beside them what is inside (a bill of materials a program) and the
//! files' hashes.

mod crates;
mod deb;
mod files;
mod program;

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use fieldmark_boards::Variant;
use fieldmark_programs::hash::sha256;

use crate::boards::{Choice, Profile, build, build_trainer};
use crate::process::{Act, built, output, run, workspace};
use crates::{Crates, bill_of_materials, licences};
use deb::Package;
use program::Program;

/// One program of the table of boards, under the name of a board that has it.
struct Packed {
    program: Program,
    board: &'static str,
    bits: u8,
    /// Package name and Debian's architecture.
    debian: Option<(&'static str, &'static str)>,
}

/// Debian's armhf has two programs: package names of their own keep one from overwriting the other.
const PACKED: [Packed; 7] = [
    of_board("pi4", 64, Some(("fieldmark", "arm64"))),
    of_board("pi4", 32, Some(("fieldmark", "armhf"))),
    of_board("pi-zero", 32, Some(("fieldmark-armv6", "armhf"))),
    of_board("x86-64", 64, Some(("fieldmark", "amd64"))),
    of_board("aarch64", 64, None),
    of_trainer("pi4", "arm64"),
    of_trainer("x86-64", "amd64"),
];

const fn of_board(board: &'static str, bits: u8, debian: Option<(&'static str, &'static str)>) -> Packed {
    Packed { program: Program::Fieldmark, board, bits, debian }
}

/// For 64 bits: training takes more memory than 32 bits address.
const fn of_trainer(board: &'static str, architecture: &'static str) -> Packed {
    let debian = Some(("fieldmark-trainer", architecture));
    Packed { program: Program::FieldmarkTrainer, board, bits: 64, debian }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Pack only this program [default: both]
    #[arg(long, value_enum, value_name = "NAME")]
    package: Option<Program>,
    /// Pack only the programs of pi4 (64 and 32 bits), pi-zero, x86-64 or aarch64
    #[arg(long = "board", value_name = "BOARD")]
    boards: Vec<String>,
    /// Pack only programs of 32 or 64 bits
    #[arg(long)]
    bits: Option<u8>,
    /// A file that was built already, for the one program that is chosen, instead of building it
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
    let chosen = chosen(options.package, &options.boards, options.bits)?;
    ensure!(
        options.program.is_none() || chosen.len() == 1,
        "--program is one, and {} are packed; choose one with --package, --board and --bits",
        chosen.len()
    );
    let workspace = workspace()?;
    let made = made_folder(&options.out)?;
    let work = workspace.target.join("dist-work");
    let epoch = epoch(&workspace.root)?;
    for program in
        Program::ALL.into_iter().filter(|program| chosen.iter().any(|packed| packed.program == *program))
    {
        manual(program, &manual_of(program, &work))?;
    }
    for packed in chosen {
        let package = packed.program.name();
        let choice = Choice { board: packed.board.to_owned(), bits: Some(packed.bits), ..Choice::default() };
        let (_, variant) = choice.found()?;
        let file = match (&options.program, packed.program) {
            (Some(file), _) => file.clone(),
            (None, Program::Fieldmark) => build(&Act::REAL, &choice, Profile::Board)?,
            (None, Program::FieldmarkTrainer) => build_trainer(&Act::REAL, &choice)?,
        };
        let crates = Crates::of_program(&workspace.root, package, variant.triple)?;
        let contents = files::Contents {
            root: &workspace.root,
            program: packed.program,
            file: &file,
            manual: &manual_of(packed.program, &work),
            licences: licences(&crates)?,
            epoch: &epoch,
        };
        pack(packed, variant, &contents, &work, &made)?;
        let bill = made.join(format!("{}.cdx.json", name(packed.program, variant)));
        fs::write(&bill, bill_of_materials(&crates, package, VERSION))
            .with_context(|| format!("cannot write {}", bill.display()))?;
    }
    print!("{}", write_sums(&made)?);
    Ok(())
}

fn chosen(program: Option<Program>, boards: &[String], bits: Option<u8>) -> Result<Vec<&'static Packed>> {
    let of_program =
        || PACKED.iter().filter(|packed| program.is_none_or(|program| program == packed.program));
    let names = || {
        let mut names: Vec<_> = of_program().map(|packed| packed.board).collect();
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    };
    for board in boards {
        ensure!(
            of_program().any(|packed| packed.board == board),
            "nothing is packed under {board:?}; there are {}",
            names()
        );
    }
    let is_chosen = |packed: &&Packed| {
        (boards.is_empty() || boards.iter().any(|board| board == packed.board))
            && bits.is_none_or(|bits| bits == packed.bits)
    };
    let chosen: Vec<_> = of_program().filter(is_chosen).collect();
    ensure!(!chosen.is_empty(), "nothing is packed for these boards with that --bits; leave --bits out");
    Ok(chosen)
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

fn manual_of(program: Program, work: &Path) -> PathBuf {
    work.join(format!("{}-manual", program.name()))
}

/// Writes a program's manual pages and completions into a folder of their own.
fn manual(program: Program, folder: &Path) -> Result<()> {
    let example = built("--example", program.manual())?;
    Act::REAL.remove_folder(folder)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    run(Command::new(example).arg(folder))
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
fn name(program: Program, variant: &Variant) -> String {
    format!("{}-{VERSION}-{}", program.name(), variant.triple)
}

fn pack(
    packed: &Packed,
    variant: &Variant,
    contents: &files::Contents,
    work: &Path,
    made: &Path,
) -> Result<()> {
    let name = name(packed.program, variant);
    let folder = work.join(&name);
    Act::REAL.remove_folder(&folder)?;
    contents.lay_out_archive(&folder)?;
    contents.archive(work, &name, made)?;
    let Some((package, architecture)) = packed.debian else { return Ok(()) };
    let tree = work.join(format!("{package}-{architecture}"));
    Act::REAL.remove_folder(&tree)?;
    contents.lay_out_system(&tree, package)?;
    Package { program: packed.program, name: package, architecture, version: VERSION }
        .build(&tree, contents, made)
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
            files.push(name(packed.program, choice.found().unwrap().1));
            files.extend(packed.debian.map(|(package, architecture)| format!("{package}_{architecture}")));
        }
        let all = files.len();
        files.sort();
        files.dedup();
        assert_eq!((files.len(), all), (13, 13));
    }

    #[test]
    fn what_is_packed_can_be_chosen_and_nothing_else() {
        let chosen = |program, board: &str, bits| {
            let chosen = super::chosen(program, &[board.to_owned()], bits);
            chosen.map(|all| all.len()).map_err(|error| error.to_string())
        };
        assert_eq!(chosen(None, "x86-64", None), Ok(2));
        assert_eq!(chosen(Some(Program::Fieldmark), "pi4", None), Ok(2));
        assert_eq!(chosen(Some(Program::FieldmarkTrainer), "pi4", None), Ok(1));
        let error = chosen(Some(Program::FieldmarkTrainer), "pi-zero", None).unwrap_err();
        assert_eq!(error, "nothing is packed under \"pi-zero\"; there are pi4, x86-64");
        assert!(chosen(None, "pi-zero", Some(64)).unwrap_err().contains("leave --bits out"));
    }

    #[test]
    fn readmes_work_without_a_clone() {
        for program in Program::ALL {
            assert!(program.readme().contains(&format!("install -m 755 {} ", program.name())));
            assert!(!program.readme().contains("cargo"), "{}", program.readme());
            assert!(program.description().lines().skip(1).all(|line| line.starts_with(' ')));
        }
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
