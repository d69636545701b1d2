//! `fieldmark-trainer deploy`: program and models onto a board, through ssh and scp as the user has set them up.
//!
//! Everything is copied into a folder of its own, where the new program has to answer for the new models; only then are
//! files swapped, by renames, and tested again in their places. Whatever fails, the board keeps or gets back what it had.

mod facts;
mod package;
mod plan;
mod remote;
mod verified;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use fieldmark_boards::{Board, Variant, find};
use fieldmark_programs::elf::starts;
use fieldmark_programs::process::Act;

use crate::args::DeployArgs;
use crate::{say, self_test};
use facts::Facts;
use package::Program;
use plan::{Plan, STAGING};
use remote::{Ended, Remote};
use verified::{Verified, agree, verified};

const FACTS: &str = include_str!("deploy/facts.sh");
const STAGE: &str = include_str!("deploy/stage.sh");
const TRY: &str = include_str!("deploy/try.sh");
const SWAP: &str = include_str!("deploy/swap.sh");
const DISCARD: &str = include_str!("deploy/discard.sh");

/// Runs the subcommand, and says what was found on the way.
///
/// # Errors
/// What failed, and what the board has now.
pub fn run(options: &DeployArgs) -> Result<()> {
    let act = Act { dry_run: options.dry_run };
    let (board, variant) = find(&options.board, options.bits)?;
    let remote = Remote::new(&options.host, options.ssh_config.as_deref(), options.dry_run)?;
    let facts =
        facts(&remote, board, variant).with_context(|| format!("{} was not touched", options.host))?;
    let program = Program::of(&act, &options.program)?;
    let program = program.path();
    if let Some(facts) = &facts {
        starts(program, variant, facts.glibc.unwrap_or(board.system.1))?;
        room(facts, program, &options.models).with_context(|| format!("{} was not touched", options.host))?;
    } else if program.exists() {
        // Of the board's usual system: a dry run asks nobody.
        starts(program, variant, board.system.1)?;
    }
    let plan = Plan::new(&act, program, &options.models, [&options.to, &options.models_to])?;
    let here = answers_here(&act, &options.models)?;
    let tried = copy_and_try(&remote, &plan, &here);
    if tried.is_err() {
        // Without a connection the next deployment does it.
        let _ = remote.run(&plan.settings, DISCARD);
    }
    tried.with_context(|| format!("what is installed on {} is as it was", options.host))?;
    swap(&remote, &plan)?;
    if !options.dry_run {
        say::result(&format!("{} has {}", options.host, plan.places()));
    }
    Ok(())
}

/// What the board is; `None` in a dry run.
fn facts(remote: &Remote, board: &Board, variant: &Variant) -> Result<Option<Facts>> {
    let Some(ended) = remote.run("", FACTS)? else { return Ok(None) };
    ensure!(ended.code() == Some(0), "no connection; try ssh by itself first");
    let facts = Facts::read(&ended.out);
    say::aside(&format!("# the board: {facts}"));
    facts.check(board.name, variant)?;
    Ok(Some(facts))
}

/// Refuses what the board's disk does not hold.
fn room(facts: &Facts, program: &Path, models: &[PathBuf]) -> Result<()> {
    let Some(free) = facts.free else { return Ok(()) };
    let files = models.iter().map(PathBuf::as_path).chain([program]);
    let needed: u64 = files.map(|file| fs::metadata(file).map_or(0, |file| file.len())).sum();
    ensure!(needed <= free, "its home folder has {free} bytes free, {needed} are needed; make room there");
    Ok(())
}

/// What the models answer on this machine; none in a dry run.
fn answers_here(act: &Act, models: &[PathBuf]) -> Result<Vec<Verified>> {
    if act.dry_run {
        return Ok(Vec::new());
    }
    models.iter().map(|model| Ok(Verified::here(model, &self_test::passed(model)?))).collect()
}

/// Copies into a folder of its own, and lets the copies answer.
fn copy_and_try(remote: &Remote, plan: &Plan, here: &[Verified]) -> Result<()> {
    if let Some(ended) = remote.run(&plan.settings, STAGE)? {
        ensure!(ended.code() == Some(0), "{}", broken(&ended, "the folder for the copies could not be made"));
    }
    let copied = remote.copy(&plan.files(), STAGING);
    copied
        .map_err(|error| anyhow!("copying failed ({error:#}); is the disk full, or the connection lost?"))?;
    let Some(ended) = remote.run(&plan.settings, TRY)? else { return Ok(()) };
    match ended.code() {
        Some(0) => {}
        Some(11) => bail!("the copies are damaged; try again"),
        Some(12) => bail!("the new program does not give the models' answers there"),
        _ => bail!(broken(&ended, "the copies could not be tried")),
    }
    for said in agree(&verified(&ended.out)?, here)? {
        say::aside(&format!("# {said}"));
    }
    Ok(())
}

fn swap(remote: &Remote, plan: &Plan) -> Result<()> {
    let Some(ended) = remote.run(&plan.settings, SWAP)? else { return Ok(()) };
    Err(match ended.code() {
        Some(0) => return Ok(()),
        Some(13) => anyhow!("files could not be put in their places; what was installed is as it was"),
        Some(14) => {
            anyhow!("what was installed failed its self-test in its place; the previous version is restored")
        }
        Some(15) => anyhow!(
            "what was installed failed its self-test in its place, and the previous version could not be restored: it \
             lies beside {} as .NAME.previous",
            plan.places()
        ),
        _ => anyhow!(
            "the connection was lost during the swap, which the board brings to its end, or takes back, by itself; \
             deploy again to know"
        ),
    })
}

fn broken(ended: &Ended, what: &str) -> String {
    let why = if ended.code().is_none() { "the connection was lost" } else { "the board says why above" };
    format!("{what}: {why}")
}
