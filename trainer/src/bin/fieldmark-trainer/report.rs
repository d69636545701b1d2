//! `fieldmark-trainer report`: a run for people, in a browser or in tensorboard.

use std::path::Path;

use anyhow::{Context, Result};
use fieldmark::file::write_whole;
use fieldmark_trainer::net::device;
use fieldmark_trainer::net::device::Precision;
use fieldmark_trainer::publish::{report, tensorboard};
use fieldmark_trainer::run::{folder, records};

use crate::args::ReportArgs;
use crate::own_files::refuse_inside;
use crate::{checkpoint, progress, say};

/// Runs the subcommand.
///
/// # Errors
/// A run that cannot be read, and a file that cannot be written or lies among the run's own.
pub fn run(args: &ReportArgs) -> Result<()> {
    if let Some(folder) = &args.tensorboard {
        return events(&args.run, folder);
    }
    let path = args.out.clone().unwrap_or_else(|| args.run.join(folder::REPORT));
    refuse_inside(&args.run, &path, Some(folder::REPORT))?;
    let device = device::open(args.device, Precision::F32)?;
    let mut trained = folder::open(&args.run, args.data.as_deref(), checkpoint::chosen(args.last))?;
    trained.network = trained.network.on(&device, Precision::F32)?;
    let bar = progress::picture_bar()?;
    let html = report::report(&trained, &args.run, args.last, &bar);
    bar.finish_and_clear();
    let html = html?;
    write_whole(&path, html.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    say::result(&format!("{} ({:.1} MB)", path.display(), html.len() as f64 / 1e6));
    Ok(())
}

fn events(run: &Path, folder: &Path) -> Result<()> {
    let path = folder.join(folder::EVENTS);
    refuse_inside(run, &path, Some(folder::EVENTS))?;
    let events =
        tensorboard::events(&records::metrics(run)?, folder::began(run), records::training_pictures(run)?);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write_whole(&path, &events).with_context(|| format!("cannot write {}", path.display()))?;
    say::result(&format!("{}", path.display()));
    Ok(())
}
