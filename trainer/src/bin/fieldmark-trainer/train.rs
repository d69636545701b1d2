//! `fieldmark-trainer train`: from pictures to a run.

use std::num::NonZeroUsize;

use anyhow::{Result, ensure};
use fieldmark_trainer::data::dataset;
use fieldmark_trainer::measure::doubts::few_validation;
use fieldmark_trainer::net::network::Norms;
use fieldmark_trainer::net::{device, network, weights};
use fieldmark_trainer::run::recipe::Recipe;
use fieldmark_trainer::training::train;

use crate::args::TrainArgs;
use crate::{progress, say};

/// Runs the subcommand.
///
/// # Errors
/// Options that do not fit each other, pictures or weights that cannot be read, and all of training's.
pub fn run(args: &TrainArgs) -> Result<()> {
    progress::use_threads(args.threads)?;
    let mut config = args.settings()?;
    config.check()?;
    let allow = args.allow(&config);
    let convention = args.network.convention.or(config.network.convention);
    let file = args.network.weights.as_deref();
    let pretrained =
        weights::read_start(config.pretrained.as_ref(), file, config.network.backbone, convention)?;
    if let Some(pretrained) = &pretrained {
        config.network.convention = Some(pretrained.origin.convention);
        config.pretrained = Some(pretrained.start(&allow));
    }
    ensure!(
        config.pretrained.is_some() || config.optim.norms == Norms::Learn,
        "batch normalisations with random weights have nothing to keep; let them learn, or start from pretrained weights \
         (--norms, --weights)"
    );
    if pretrained.is_none() && matches!(args.recipe, Some(Recipe::Photos | Recipe::PaperFinetune)) {
        say::aside(
            "this recipe is made for pretrained weights, and the training starts from random ones: name a file with --weights \
             (`fieldmark-trainer fetch efficientnet-lite0` prints one)",
        );
    }
    let device = device::open(args.device, config.precision)?;
    let dataset = dataset::read(&args.data, &config.split)?;
    say::dataset(&dataset, &config.split);
    let network = network::build(&config.network, dataset.labels.len(), config.side, config.seed)?;
    if let Some(pretrained) = &pretrained {
        say::loaded(&pretrained.load(&network.params, &allow)?, pretrained);
    }
    let network = network.on(&device, config.precision)?;
    say::network(&network, config.side)?;
    let (bar, stop) = progress::watched()?;
    let steps = args.output.checkpoint_steps.map(NonZeroUsize::get);
    let outcome = train::train(&network, &dataset, &config, &args.output.out, steps, &bar, stop);
    bar.finish_and_clear();
    let outcome = outcome?;
    say::outcome(&outcome, &args.output.out, config.epochs);
    say::doubts(few_validation(dataset.validation.len()).as_slice());
    Ok(())
}
