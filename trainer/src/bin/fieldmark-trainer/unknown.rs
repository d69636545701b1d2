//! `fieldmark-trainer unknown`: trainings without some classes, and what they say of those.

use std::sync::atomic::AtomicI32;

use anyhow::{Context, Result, ensure};
use fieldmark::file::write_whole;
use fieldmark_trainer::measure::unknown::{comparison, folder, left_out, part};
use fieldmark_trainer::net::network::{Network, NetworkConfig};
use fieldmark_trainer::net::weights::{self, Pretrained, Start};
use fieldmark_trainer::net::{device, network};
use fieldmark_trainer::run::checkpoint;
use fieldmark_trainer::run::config::Config;
use fieldmark_trainer::run::folder::{self, Trained};
use fieldmark_trainer::run::records::Part;
use fieldmark_trainer::run::records::UNKNOWN;
use fieldmark_trainer::training::train::train;
use indicatif::ProgressBar;

use crate::args::UnknownArgs;
use crate::progress::{use_threads, watched};
use crate::say;

/// Runs the subcommand.
///
/// # Errors
/// A run that cannot be read, classes that cannot be left out so, and all of training's.
pub fn run(args: &UnknownArgs) -> Result<()> {
    use_threads(args.threads)?;
    let mut trained = folder::open(&args.run, args.data.as_deref(), folder::BEST)?;
    let precision = trained.progress.config.precision;
    trained.network = trained.network.on(&device::open(args.device, precision)?, precision)?;
    let pretrained = pretrained(args, &trained.progress.config)?;
    let (bar, stop) = watched()?;
    let one = |at| one(args, &trained, pretrained.as_ref(), at, &bar, stop);
    let parts = (0..usize::from(args.runs)).map(one);
    let comparison = comparison(&trained, parts.collect::<Result<Vec<Part>>>()?)?;
    let path = args.run.join(UNKNOWN);
    let json = serde_json::to_string_pretty(&comparison)? + "\n";
    write_whole(&path, json.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    say::comparison(&comparison);
    Ok(())
}

/// The weights that the run started from, and what it remembers of them; `None` if these were random.
fn pretrained<'a>(args: &UnknownArgs, config: &'a Config) -> Result<Option<(Pretrained, &'a Start)>> {
    let Some(start) = &config.pretrained else {
        ensure!(args.weights.is_none(), "the run started from random weights; leave out --weights");
        return Ok(None);
    };
    let NetworkConfig { backbone, convention, .. } = config.network;
    let pretrained = weights::read_start(Some(start), args.weights.as_deref(), backbone, convention)?;
    Ok(pretrained.map(|pretrained| (pretrained, start)))
}

/// A network for this many classes, as the run's was before its first step.
fn first_network(
    config: &Config,
    classes: usize,
    pretrained: Option<&(Pretrained, &Start)>,
) -> Result<Network> {
    let network = network::build(&config.network, classes, config.side, config.seed)?;
    if let Some((pretrained, start)) = pretrained {
        pretrained.load(&network.params, &start.allow)?;
    }
    Ok(network)
}

/// The training that does without the classes of place `at`, resumed or finished before, and its scores.
fn one(
    args: &UnknownArgs,
    trained: &Trained,
    pretrained: Option<&(Pretrained, &Start)>,
    at: usize,
    bar: &ProgressBar,
    stop: &AtomicI32,
) -> Result<Part> {
    let Trained { progress, dataset, .. } = trained;
    let config = &progress.config;
    let left_out = left_out(dataset.labels.len(), args.share, config.seed, at)?;
    let without = dataset.without(&left_out);
    let names: Vec<&str> = left_out.iter().map(|&class| dataset.labels[class].as_str()).collect();
    say::aside(&format!("training {} of {}, without {}", at + 1, args.runs, names.join(", ")));
    let network = first_network(config, without.labels.len(), pretrained)?;
    let network = network.on(&trained.network.device(), config.precision)?;
    let run = folder(&args.run.join(folder::UNKNOWN_RUNS), at);
    let outcome = train(&network, &without, config, &run, None, bar, stop);
    bar.finish_and_clear();
    outcome?;
    checkpoint::restore_params(&checkpoint::load(&run.join(folder::BEST))?, &network.params)?;
    Ok(part(&network, config, dataset, &left_out)?)
}
