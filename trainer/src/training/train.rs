//! The training loop. `fieldmark-trainer make` reaches its README's figure with it.
//!
//! `L = L_CE + mu (L_dis - lambda L_div)`: the head's cross-entropy on the whole maps, and the mutual-channel loss
//! beside it. Every random number is drawn from the seed and the step, so a run that was killed goes on, on the
//! CPU, bit for bit as it would have.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use fieldmark::picture::{Limits, read_picture};
use indicatif::ProgressBar;

use crate::data::batch::{
    Batch, BatchError, Batches, CACHE_BYTES, OnDevice, Pictures, Plan, batches_of, default_threads,
    epoch_order, unreadable,
};
use crate::data::dataset::{Dataset, Skipped};
use crate::net::device::Fault;
use crate::net::layer::Mode;
use crate::net::network::{Learning, Network};
use crate::random::{Stream, stream};
use crate::run::checkpoint::{self, Checkpoint, CheckpointError, Progress, State};
use crate::run::config::{Config, ConfigError};
use crate::run::error::FolderError;
use crate::run::folder::{self, BEST, LAST};
use crate::run::lock;
use crate::run::metrics::{Best, EpochSums};
use crate::run::places::PlaceCount;
use crate::run::records::{EpochMetrics, Pace, Places, append_metrics};
use crate::training::average::Average;
use crate::training::best::{choose, is_stale};
use crate::training::loss::{Figures, correct, cross_entropy, losses, scalar};
use crate::training::memory::{MemoryError, refuse_too_little};
use crate::training::optim::{Rates, Sgd, rates};

/// What a finished run reached.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The epoch that `best.safetensors` holds.
    pub best: Best,
    /// The last epoch, which `last.safetensors` holds.
    pub last: Best,
    /// An earlier training had finished it, and nothing was left to do.
    pub was_finished: bool,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The run folder cannot be used.
    #[error(transparent)]
    Run(#[from] FolderError),
    /// A picture failed.
    #[error(transparent)]
    Batch(BatchError),
    /// A checkpoint failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A tensor operation failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(candle_core::Error),
    /// The GPU failed, or its memory is full.
    #[error(transparent)]
    Gpu(#[from] Fault),
    /// A setting that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot fit into memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Somebody asked it to.
    #[error("stopped after step {step} of {steps}, saved; the same command resumes the run")]
    Stopped {
        /// The signal that asked.
        signal: i32,
        /// Steps done.
        step: usize,
        /// Steps of the whole run.
        steps: usize,
    },
    /// Somebody asked it to, before its first step.
    #[error("stopped while the pictures were first read; the same command starts the run")]
    StoppedReading {
        /// The signal that asked.
        signal: i32,
    },
    /// The run ended before its first epoch did.
    #[error("the run has no whole epoch; train for 1 or more")]
    NoEpoch,
    /// A split has no pictures.
    #[error("the {split} split has no pictures; put some into its folder, or hold out a share of the others")]
    EmptySplit {
        /// "train" or "validation".
        split: &'static str,
    },
    /// Pictures whose header was fine, but which do not decode.
    #[error("{count} pictures do not decode, the first: {} ({reason}); repair or remove them", path.display())]
    Undecodable {
        /// How many.
        count: usize,
        /// The first.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },
    /// A loss stopped being a number, or became one that no training comes back from.
    #[error(
        "{term} became {value} at step {step}: training diverged; lower the learning rate, at that step {rate:.2e}"
    )]
    Diverged {
        /// Which loss.
        term: &'static str,
        /// Its value.
        value: f64,
        /// Steps done.
        step: usize,
        /// The head's rate, the highest.
        rate: f64,
    },
}

/// Trains `network`, built of `config` for the classes of `dataset`, to the end. Where the folder `run` holds an unfinished
/// run with the same settings, that run is resumed; of a finished one only what it reached is read. With `checkpoint_steps`
/// the state is saved every so many steps, as well as after each epoch. `stop` is 0, or the signal that asks the run to end
/// after the step in progress.
///
/// # Errors
/// [`TrainError`]; the last checkpoint then still stands whole.
pub fn train(
    network: &Network,
    dataset: &Dataset,
    config: &Config,
    run: &Path,
    checkpoint_steps: Option<usize>,
    bar: &ProgressBar,
    stop: &AtomicI32,
) -> Result<Outcome, TrainError> {
    config.check()?;
    if network.device().is_cpu() {
        refuse_too_little(network, config, dataset.train.len())?;
    }
    let _lock = lock::claim(run, dataset)?;
    let per_epoch = batches_of(dataset.train.len(), config.batch);
    let standing = folder::standing(dataset, config, run)?;
    if let Some(Checkpoint { progress, .. }) = &standing {
        if is_over(progress) {
            return outcome(progress, true);
        }
        tell(bar, &resumes(progress, per_epoch));
    }
    let pictures = Arc::new(Pictures::new(config.side, config.resize, CACHE_BYTES));
    refuse_unusable(dataset, &pictures, stop)?;
    let mut sgd = Sgd::new(config.optim.clone());
    let average = Average::of(network, config.optim.average)?;
    let averaged = average.as_ref().map(|average| &average.network.params);
    let progress = match standing {
        Some(checkpoint) => folder::resume(checkpoint, run, network, averaged, &mut sgd.velocities)?,
        None => folder::start(dataset, config, run)?,
    };
    bar.set_length((per_epoch * config.epochs) as u64);
    bar.set_position(steps_done(&progress, per_epoch) as u64);
    // What is done took none of the time to come.
    bar.tick();
    bar.reset_eta();
    let fixed = Fixed { network, dataset, config, run, checkpoint_steps, per_epoch, bar, stop };
    let mut training = Training { fixed, pictures, average, sgd, progress };
    while !is_over(&training.progress) {
        training.epoch()?;
    }
    outcome(&training.progress, false)
}

fn is_over(progress: &Progress) -> bool {
    let config = &progress.config;
    progress.epoch >= config.epochs || is_stale(progress, config.patience)
}

fn outcome(progress: &Progress, was_finished: bool) -> Result<Outcome, TrainError> {
    let (best, last) = progress.best.zip(progress.last).ok_or(TrainError::NoEpoch)?;
    Ok(Outcome { best, last, was_finished })
}

fn steps_done(progress: &Progress, per_epoch: usize) -> usize {
    progress.epoch * per_epoch + progress.batch
}

/// Where a run goes on, for people.
fn resumes(progress: &Progress, per_epoch: usize) -> String {
    let (epoch, epochs) = (progress.epoch, progress.config.epochs);
    match progress.batch {
        0 => format!("resumes after epoch {epoch} of {epochs}"),
        _ => format!(
            "resumes after step {} of {}, in epoch {} of {epochs}",
            steps_done(progress, per_epoch),
            per_epoch * epochs,
            epoch + 1
        ),
    }
}

/// What does not change in a training.
struct Fixed<'a> {
    network: &'a Network,
    dataset: &'a Dataset,
    config: &'a Config,
    run: &'a Path,
    checkpoint_steps: Option<usize>,
    /// Steps.
    per_epoch: usize,
    bar: &'a ProgressBar,
    stop: &'a AtomicI32,
}

/// A training on its way.
struct Training<'a> {
    fixed: Fixed<'a>,
    pictures: Arc<Pictures>,
    average: Option<Average>,
    sgd: Sgd,
    progress: Progress,
}

impl Training<'_> {
    /// What is left of the epoch in progress.
    fn epoch(&mut self) -> Result<(), TrainError> {
        let (started, pictures_before) = (Instant::now(), self.progress.sums.pictures);
        let batches = batches(&self.pictures, self.fixed.dataset, self.fixed.config, &self.progress);
        for batch in OnDevice::start(batches, &self.fixed.network.device())? {
            self.step(&batch?)?;
        }
        let seen = self.progress.sums.pictures - pictures_before;
        self.end_epoch((seen > 0).then(|| seen as f64 / started.elapsed().as_secs_f64()))
    }

    fn step(&mut self, batch: &Batch) -> Result<(), TrainError> {
        let Fixed { network, config, bar, .. } = self.fixed;
        let step = steps_done(&self.progress, self.fixed.per_epoch);
        let rates = self.rates(step);
        // One stream a step, so that a resumed run draws what an uninterrupted one draws.
        let mut rng = stream(Stream::Step { seed: config.seed, step: step as u64 });
        let mu = config.loss.mu_at(step, self.fixed.per_epoch);
        let learning = learning(config, rates);
        let losses = losses(network, &batch.images, &batch.labels, &config.loss, mu, learning, &mut rng)?;
        let figures = losses.figures();
        self.sgd.step(&network.params, &losses.backward(network)?, rates)?;
        if let Some(average) = &self.average {
            average.follow(&network.params, step)?;
        }
        // Read last: until then a GPU is only told what to do, which takes less time than doing it.
        let figures = Figures::read(&figures)?;
        refuse_divergence(&figures, step, rates.head)?;
        figures.add_to(&mut self.progress.sums, batch.samples.len());
        self.progress.batch += 1;
        bar.set_position(step as u64 + 1);
        bar.set_message(self.progress.sums.message());
        if self.fixed.checkpoint_steps.is_some_and(|every| (step + 1).is_multiple_of(every)) {
            self.save_last()?;
            tell(bar, &format!("saved after step {}", step + 1));
        }
        match asked(self.fixed.stop) {
            Some(signal) => Err(self.stopped(signal, step + 1)),
            None => Ok(()),
        }
    }

    /// Validates, writes the epoch's line, chooses the best epoch, and saves.
    fn end_epoch(&mut self, images_per_second: Option<f64>) -> Result<(), TrainError> {
        let Fixed { dataset, config, run, per_epoch, bar, stop, .. } = self.fixed;
        let step = (self.progress.epoch + 1) * per_epoch;
        let evaluated = self.average.as_ref().map_or(self.fixed.network, |average| &average.network);
        let validated = validate(evaluated, &self.pictures, dataset, config, self.progress.epoch, stop)?;
        let Some((last, places)) = validated else {
            // Resumed, the epoch has no step left and is validated.
            return Err(self.stopped(stop.load(Ordering::Relaxed), step));
        };
        let rates = self.rates(step - 1);
        refuse_above(f64::MAX, "the validation cross-entropy", last.cross_entropy, step, rates.head)?;
        let mu = config.loss.mu_at(step - 1, per_epoch);
        let metrics = EpochMetrics::of(
            &self.progress.sums,
            last,
            places,
            Pace { step, rate: rates.backbone, mu, images_per_second },
        );
        append_metrics(run, &metrics)?;
        tell(bar, &metrics.line(config.epochs));
        let is_best = choose(&mut self.progress, last, dataset.validation.len());
        (self.progress.epoch, self.progress.batch) = (self.progress.epoch + 1, 0);
        self.progress.sums = EpochSums::default();
        if is_best {
            let state = State { evaluated: &evaluated.params, trained: None, velocities: None };
            checkpoint::save(&run.join(BEST), &self.progress, state)?;
        }
        self.save_last()
    }

    fn rates(&self, step: usize) -> Rates {
        rates(&self.fixed.config.optim, step, self.steps(), self.fixed.per_epoch)
    }

    /// Of the whole run.
    fn steps(&self) -> usize {
        self.fixed.per_epoch * self.fixed.config.epochs
    }

    fn save_last(&self) -> Result<(), TrainError> {
        let trained = &self.fixed.network.params;
        let velocities = Some(&self.sgd.velocities);
        let state = match &self.average {
            Some(average) => State { evaluated: &average.network.params, trained: Some(trained), velocities },
            None => State { evaluated: trained, trained: None, velocities },
        };
        Ok(checkpoint::save(&self.fixed.run.join(LAST), &self.progress, state)?)
    }

    /// Saves, and says that the run was asked to end, or why it cannot be saved.
    fn stopped(&self, signal: i32, step: usize) -> TrainError {
        let stopped = TrainError::Stopped { signal, step, steps: self.steps() };
        self.save_last().err().unwrap_or(stopped)
    }
}

/// A random backbone has no statistics yet, and gathers them while it waits.
fn learning(config: &Config, rates: Rates) -> Learning {
    if rates.backbone > 0.0 || config.pretrained.is_none() {
        Learning::Whole(config.optim.norms)
    } else {
        Learning::Head
    }
}

/// A line on stderr. What stderr is may be full or gone, and a run goes on without.
pub fn tell(bar: &ProgressBar, line: &str) {
    let _ = bar.suspend(|| writeln!(io::stderr(), "{line}"));
}

/// The signal that asks for the end.
fn asked(stop: &AtomicI32) -> Option<i32> {
    Some(stop.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// Before hours of training, not in the middle of them. What decodes is in the cache afterwards.
fn refuse_unusable(dataset: &Dataset, pictures: &Pictures, stop: &AtomicI32) -> Result<(), TrainError> {
    for (split, samples) in [("train", &dataset.train), ("validation", &dataset.validation)] {
        if samples.is_empty() {
            return Err(TrainError::EmptySplit { split });
        }
    }
    let bad = [
        unreadable(&dataset.train, stop, |path| pictures.scaled(path)),
        unreadable(&dataset.validation, stop, |path| pictures.as_on_the_board(path)),
        // Decoded, not looked at: found out now, a bad file does not spoil the run's last step.
        unreadable(&dataset.test, stop, |path| read_picture(path, &Limits::default()).map(Arc::new)),
    ]
    .concat();
    if let Some(signal) = asked(stop) {
        return Err(TrainError::StoppedReading { signal });
    }
    match bad.first().cloned() {
        Some(Skipped { path, reason }) => Err(TrainError::Undecodable { count: bad.len(), path, reason }),
        None => Ok(()),
    }
}

/// The batches that are left of the epoch in progress.
fn batches(pictures: &Arc<Pictures>, dataset: &Dataset, config: &Config, progress: &Progress) -> Batches {
    let order = epoch_order(config.seed, progress.epoch, &dataset.train, config.sampling);
    let plan = Plan {
        seed: config.seed,
        epoch: progress.epoch,
        size: config.batch,
        first: progress.batch,
        augment: Some(config.augment.clone()),
        threads: default_threads(),
    };
    Batches::start(pictures, &dataset.train, &order, plan)
}

/// Accuracy, cross-entropy and places of peaks on the validation split, pictures prepared as the board prepares them;
/// `None` if asked to stop on the way.
fn validate(
    network: &Network,
    pictures: &Arc<Pictures>,
    dataset: &Dataset,
    config: &Config,
    epoch: usize,
    stop: &AtomicI32,
) -> Result<Option<(Best, Option<Places>)>, TrainError> {
    let mut places = PlaceCount::of(network, config.side)?;
    let (mut right, mut entropy) = (0, 0.0);
    let batches = Batches::evaluate(pictures, &dataset.validation, config.batch);
    for batch in OnDevice::start(batches, &network.device())? {
        if asked(stop).is_some() {
            return Ok(None);
        }
        let batch = batch?;
        let output = network.forward(&batch.images, &mut Mode::Eval)?;
        right += correct(&output.logits, &batch.labels)?.to_scalar::<u32>()?;
        places.add_right(&output, &batch.labels)?;
        entropy += scalar(&cross_entropy(&output.logits, &batch.labels, 0.0)?)? * batch.samples.len() as f64;
    }
    let count = dataset.validation.len() as f64;
    let best = Best { epoch, accuracy: f64::from(right) / count, cross_entropy: entropy / count };
    Ok(Some((best, places.places())))
}

impl From<BatchError> for TrainError {
    fn from(error: BatchError) -> TrainError {
        Fault::of(&error.to_string()).map_or(TrainError::Batch(error), TrainError::Gpu)
    }
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> TrainError {
        Fault::of(&error.to_string()).map_or(TrainError::Tensor(error), TrainError::Gpu)
    }
}

/// Of the cross-entropy in training, nats: a right answer's probability of e^-100. In validation running statistics that
/// are still young may make as much.
const HOPELESS: f64 = 100.0;

fn refuse_above(most: f64, term: &'static str, value: f64, step: usize, rate: f64) -> Result<(), TrainError> {
    if value <= most { Ok(()) } else { Err(TrainError::Diverged { term, value, step, rate }) }
}

/// Refuses what no training comes back from. `rate`: the head's, the highest.
fn refuse_divergence(figures: &Figures, step: usize, rate: f64) -> Result<(), TrainError> {
    let terms = [
        (HOPELESS, "the cross-entropy", figures.cross_entropy),
        (f64::MAX, "the discriminality loss", figures.discriminality),
        (f64::MAX, "the coverage", figures.coverage),
    ];
    terms.into_iter().try_for_each(|(most, term, value)| refuse_above(most, term, value, step, rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::recipe::Recipe;

    #[test]
    fn a_resumed_run_says_where_it_goes_on_counted_from_1() {
        let config = Config { epochs: 20, ..Recipe::Scratch.config() };
        let progress = |epoch, batch| Progress {
            config: config.clone(),
            labels: Vec::new(),
            data: String::new(),
            epoch,
            batch,
            sums: EpochSums::default(),
            best: None,
            highest: None,
            last: None,
        };
        assert_eq!(resumes(&progress(7, 0), 30), "resumes after epoch 7 of 20");
        assert_eq!(resumes(&progress(7, 5), 30), "resumes after step 215 of 600, in epoch 8 of 20");
    }

    #[test]
    fn losses_that_are_no_numbers_or_hopeless_end_training() {
        for value in [f64::NAN, f64::INFINITY, 1299.8] {
            let error = refuse_above(HOPELESS, "the cross-entropy", value, 7, 0.06).unwrap_err().to_string();
            assert!(error.contains("at step 7") && error.contains("lower the learning rate"), "{error}");
        }
        assert!(refuse_above(HOPELESS, "the cross-entropy", 30.0, 7, 0.06).is_ok());
    }
}
