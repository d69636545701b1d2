//! `cargo xtask test --board BOARD`: the runtime's tests on the board's core, and its program's answers beside this
//! machine's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use fieldmark_boards::{BOARDS, Board, Variant};

use super::Choice;
use super::answers::{Answer, answers, difference};
use super::build::{Cross, Profile, tests};
use super::emulator::{Machine, machine};
use crate::bench_engine::models::{Model, model, model_files};
use crate::process::{Act, in_words, output, run};
use crate::train;

/// Depthwise and 1 x 1 convolutions; 3 x 3 ones, pooling and residuals.
const MODELS: [Model; 2] = [model("mobilenet_v2", 96), model("resnet18", 96)];

/// Tests of how readers take thousands of broken files: of no processor, and an hour long under emulation.
const SKIPPED: &str = "changed_byte";

/// A program that takes longer hangs.
const LIMIT: Duration = Duration::from_mins(10);

/// What can be chosen of `cargo xtask test`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    choice: Option<Choice>,
    /// Every board, one after the other
    #[arg(long, conflicts_with = "board")]
    all_boards: bool,
    /// The program whose answers are compared; tests are always soon compiled
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
}

/// Tests the boards that are named; whether any was.
///
/// # Errors
/// What differs, or what is missing, with the command that brings it.
pub fn test_boards(options: &Options) -> Result<bool> {
    let choices = match &options.choice {
        Some(choice) => vec![choice.clone()],
        None if options.all_boards => every_kind(),
        None => return Ok(false),
    };
    for choice in &choices {
        let started = Instant::now();
        let (_, variant) = choice.found()?;
        let name = format!("{}, {} bits", choice.board, variant.bits);
        test(choice, options.profile).with_context(|| name.clone())?;
        println!("{name}: passed after {}", in_words(started.elapsed()));
    }
    Ok(true)
}

/// One of the programs that are emulated on the same core.
fn every_kind() -> Vec<Choice> {
    let kind = |variant: &Variant| (variant.triple, variant.emulator.map(|emulator| emulator.cpu));
    let mut seen = BTreeSet::new();
    let all = BOARDS.iter().flat_map(|board| board.variants.iter().map(move |variant| (board, variant)));
    let new = all.filter(|(_, variant)| seen.insert(kind(variant)));
    let choice = |(board, variant): (&Board, &Variant)| Choice {
        board: board.name.to_owned(),
        bits: Some(variant.bits),
        ..Choice::default()
    };
    new.map(choice).collect()
}

fn test(choice: &Choice, profile: Profile) -> Result<()> {
    let cross = Cross::of(&Act::REAL, choice)?;
    let machine = machine(cross.variant)?;
    let mut build = cross.cargo(Profile::Quick);
    let artefacts = Act::REAL.output(build.args(["--bins", "--tests"]), "")?;
    for tests in tests(&artefacts) {
        let mut tests = machine.command(&tests, LIMIT);
        run(tests.args(["--quiet", "--skip", SKIPPED]).current_dir(cross.runtime()))?;
    }
    let program = match profile {
        Profile::Quick => cross.checked(&Act::REAL, &artefacts, Profile::Quick)?,
        Profile::Board => cross.program(&Act::REAL, Profile::Board)?,
    };
    let host = train::build(None)?.board;
    let folder = cross.folder().join("models");
    let files = model_files(&MODELS, &folder)?;
    let pictures = pictures(&cross.runtime().join("src/picture/golden"), &folder.join("birds"))?;
    for file in files {
        let both =
            Both { machine: &machine, program: &program, host: &host, model: &file, pictures: &pictures };
        run(both.board("verify").arg(&file))?;
        let name = file.file_stem().unwrap_or_default().display();
        println!("{} pictures, {name}, {}", pictures.len(), both.f32()?);
        println!("{} pictures, {name}, {}", pictures.len(), both.f16()?);
    }
    Ok(())
}

/// The same question to both programs.
struct Both<'a> {
    machine: &'a Machine,
    program: &'a Path,
    host: &'a Path,
    model: &'a Path,
    pictures: &'a [PathBuf],
}

impl Both<'_> {
    /// The board's program with a subcommand.
    fn board(&self, subcommand: &str) -> Command {
        let mut board = self.machine.command(self.program, LIMIT);
        board.arg(subcommand);
        board
    }

    fn answers(&self, mut program: Command, precision: &str) -> Result<Vec<Answer>> {
        program.arg(self.model).args(self.pictures).args(["--precision", precision]);
        let lines = output(program.args(["--cues", "--top", "1000", "--format", "jsonl"]))?;
        let answers = answers(&lines)?;
        ensure!(answers.len() == self.pictures.len(), "{} answers: {lines}", answers.len());
        Ok(answers)
    }

    /// The board's answers and the host's.
    fn asked(&self, precision: &str) -> Result<[Vec<Answer>; 2]> {
        let mut host = Command::new(self.host);
        host.arg("predict");
        Ok([self.answers(self.board("predict"), precision)?, self.answers(host, "f32")?])
    }

    /// Compares logits and cues; says how near they are.
    fn f32(&self) -> Result<String> {
        let [board, host] = self.asked("f32")?;
        let difference = difference(&board, &host)?;
        difference.is_small()?;
        Ok(format!("f32: {difference}"))
    }

    /// Compares the classes that come first.
    fn f16(&self) -> Result<String> {
        let [board, host] = self.asked("f16")?;
        for (board, host) in board.iter().zip(&host) {
            let [answer, expected] = [board, host].map(Answer::first);
            ensure!(answer == expected, "f16, {}: {answer}, here in f32 {expected}", board.input);
        }
        Ok("f16: the same classes first".to_owned())
    }
}

/// Every kind of JPEG, and some drawn birds.
fn pictures(golden: &Path, birds: &Path) -> Result<Vec<PathBuf>> {
    let mut pictures = jpegs(golden)?;
    for species in sorted(&birds.join("images"))?.into_iter().step_by(4) {
        pictures.extend(jpegs(&species)?.into_iter().take(1));
    }
    Ok(pictures)
}

fn jpegs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = sorted(folder)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jpg"));
    ensure!(!files.is_empty(), "no pictures in {}", folder.display());
    Ok(files)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_is_tested_once() {
        let kinds = every_kind();
        let names: Vec<_> = kinds.iter().map(|choice| (choice.board.as_str(), choice.bits)).collect();
        let first =
            [("pi-zero", Some(32)), ("pi-zero2", Some(64)), ("pi-zero2", Some(32)), ("pi4", Some(64))];
        assert_eq!(names[..4], first);
        assert!(names.contains(&("x86-64", Some(64))) && names.len() == 9, "{names:?}");
    }
}
