//! `fieldmark-trainer report`: a run for people, in a browser or in tensorboard.

use std::path::Path;

use anyhow::{Context, Result};
use fieldmark::file::write_whole;
use fieldmark_programs::process::quoted;
use fieldmark_trainer::net::device;
use fieldmark_trainer::net::device::Precision;
use fieldmark_trainer::publish::report::{Asked, Commands};
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
    let asked =
        Asked { run: &args.run, is_last: args.last, model: args.model.as_deref(), commands: commands(args) };
    let html = report::report(&trained, &asked, &bar);
    bar.finish_and_clear();
    let html = html?;
    write_whole(&path, html.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    say::result(&format!("{} ({:.1} MB)", path.display(), html.len() as f64 / 1e6));
    Ok(())
}

/// What a reader of the report types.
fn commands(args: &ReportArgs) -> Commands {
    let run = quoted(&args.run);
    let last = if args.last { " --last" } else { "" };
    let of_run = |verb: &str| format!("fieldmark-trainer {verb} {run}");
    let eval = of_run("eval") + last;
    let model = args.model.as_ref().map_or_else(|| "model.onnx".to_owned(), quoted);
    Commands {
        report: of_run("report") + last,
        faithfulness: format!("{eval} --faithfulness"),
        eval,
        unknown: of_run("unknown"),
        export: of_run("export") + last + " --out model.onnx",
        half: "export --precision f16".to_owned(),
        deploy: format!("fieldmark-trainer deploy --board BOARD --program fieldmark USER@HOST {model}"),
        fetch: "fieldmark-trainer fetch efficientnet-lite0".to_owned(),
        lint: "fieldmark-trainer lint --json".to_owned(),
        cues: "predict --cues".to_owned(),
        test_split: "train --test 0.2".to_owned(),
        splits: "train --validation 0.15 --test 0.2".to_owned(),
        epochs: "train --epochs".to_owned(),
        changes: "train --crop, --jitter".to_owned(),
        channels: "train --xi".to_owned(),
    }
}

fn events(run: &Path, folder: &Path) -> Result<()> {
    folder::refuse_outer(run)?;
    let path = folder.join(folder::EVENTS);
    refuse_inside(run, &path, Some(folder::EVENTS))?;
    let events =
        tensorboard::events(&records::metrics(run)?, folder::began(run), records::training_pictures(run)?);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write_whole(&path, &events).with_context(|| format!("cannot write {}", path.display()))?;
    say::result(&format!("{}", path.display()));
    Ok(())
}
