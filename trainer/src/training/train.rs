//! The training loop. `cargo xtask train-and-export` reaches its README's figure with it.
//!
//! `L = L_CE + mu (L_dis - lambda L_div)`: the head's cross-entropy on the whole maps, and the mutual-channel loss
//! beside it. Every random number is drawn from the seed and the step, so a run that was killed goes on, on the
//! CPU, bit for bit as it would have.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use candle_core::{D, DType, Tensor};
use candle_nn::ops::log_softmax;
use fieldmark::picture::{Limits, read_picture};
use indicatif::ProgressBar;
use rand_chacha::ChaCha8Rng;

use crate::data::batch::{
    BatchError, Batches, CACHE_BYTES, OnDevice, Pictures, Plan, batches_of, default_threads, epoch_order,
    unreadable,
};
use crate::data::dataset::{Dataset, Skipped};
use crate::net::device::Fault;
use crate::net::layer::Mode;
use crate::net::mc_loss::{Weights, cwa_mask, mc_loss};
use crate::net::network::{Learning, Network, Pass};
use crate::net::ops::Gradients;
use crate::random::stream;
use crate::run::checkpoint::{self, CheckpointError, Progress, State};
use crate::run::config::{Config, ConfigError, LossConfig};
use crate::run::folder::{self, BEST, LAST, RunError};
use crate::run::metrics::{Best, EpochSums, Pace};
use crate::training::average::Average;
use crate::training::memory::{MemoryError, refuse_too_little};
use crate::training::optim::{Sgd, rates};

/// What a finished run reached.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The epoch that `best.safetensors` holds.
    pub best: Best,
    /// The last epoch, which `last.safetensors` holds.
    pub last: Best,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The run folder cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
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
    #[error("stopped after step {step} of {steps}, saved; the same command goes on")]
    Stopped {
        /// The signal that asked.
        signal: i32,
        /// Steps done.
        step: usize,
        /// Steps of the whole run.
        steps: usize,
    },
    /// Somebody asked it to, before its first step.
    #[error("stopped while the pictures were first read; the same command goes on")]
    StoppedReading {
        /// The signal that asked.
        signal: i32,
    },
    /// The run ended before its first epoch did.
    #[error("the run has no whole epoch; train with --epochs 1 or more")]
    NoEpoch,
    /// A split has no pictures.
    #[error(
        "the {split} split has no pictures; put some into its folder, or let it be split off (--validation SHARE)"
    )]
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
        "{term} became {value} at step {step}: training diverged; lower the learning rate (--rate), at that step \
         {rate:.2e}"
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

/// Trains `network`, built of `config` for the classes of `dataset`, to the end, going on from `last.safetensors` where the folder `run` has one of the same run. With
/// `checkpoint_steps` that file is written every so many steps, as well as after each epoch. `stop` is 0, or the signal
/// that asks the run to end after the step in progress.
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
    let device = network.device();
    if device.is_cpu() {
        refuse_too_little(network, config, dataset.train.len())?;
    }
    let _lock = folder::claim(run, dataset)?;
    let pictures = Arc::new(Pictures::new(config.side, config.resize, CACHE_BYTES));
    refuse_unusable(dataset, &pictures, stop)?;
    let mut sgd = Sgd::new(config.optim.clone());
    let average = Average::of(network, config.optim.average)?;
    let evaluated = average.as_ref().map_or(network, |average| &average.network);
    let mut progress = folder::start_or_resume(
        dataset,
        config,
        run,
        network,
        average.as_ref().map(|average| &average.network.params),
        &mut sgd.velocities,
    )?;
    let save_last = |progress: &Progress, sgd: &Sgd| {
        let trained = average.is_some().then_some(&network.params);
        checkpoint::save(
            &run.join(LAST),
            progress,
            State { evaluated: &evaluated.params, trained, velocities: Some(&sgd.velocities) },
        )
    };
    let per_epoch = batches_of(dataset.train.len(), config.batch);
    let steps = per_epoch * config.epochs;
    bar.set_length(steps as u64);
    while progress.epoch < config.epochs && !is_stale(&progress, config.patience) {
        let (started, pictures_before) = (Instant::now(), progress.sums.pictures);
        let batches = batches(&pictures, dataset, config, &progress);
        for batch in OnDevice::start(batches, &device)? {
            let batch = batch?;
            let step = progress.epoch * per_epoch + progress.batch;
            let rates = rates(&config.optim, step, steps, per_epoch);
            // One stream a step, so that a resumed run draws what an uninterrupted one draws.
            let mut rng = stream(&[config.seed, STEPS, step as u64]);
            let mu = config.loss.mu_at(step, per_epoch);
            // A random backbone has no statistics yet, and gathers them while it waits.
            let learning = if rates.backbone > 0.0 || config.pretrained.is_none() {
                Learning::Whole(config.optim.norms)
            } else {
                Learning::Head
            };
            let losses = losses(network, &batch.images, &batch.labels, &config.loss, mu, learning, &mut rng)?;
            let figures = losses.figures.clone();
            sgd.step(&network.params, &losses.backward(network)?, rates)?;
            if let Some(average) = &average {
                average.follow(&network.params, step)?;
            }
            // Read last: until then a GPU is only told what to do, which takes less time than doing it.
            let figures = Figures::read(&figures)?;
            figures.refuse_divergence(step, rates.head)?;
            figures.add_to(&mut progress.sums, batch.samples.len());
            progress.batch += 1;
            bar.set_position(step as u64 + 1);
            bar.set_message(progress.sums.message());
            if checkpoint_steps.is_some_and(|every| (step + 1).is_multiple_of(every)) {
                save_last(&progress, &sgd)?;
                tell(bar, &format!("saved after step {}", step + 1));
            }
            if let Some(signal) = asked(stop) {
                save_last(&progress, &sgd)?;
                return Err(TrainError::Stopped { signal, step: step + 1, steps });
            }
        }
        let seen = (progress.sums.pictures - pictures_before) as f64;
        let images_per_second = seen / started.elapsed().as_secs_f64();
        let step = (progress.epoch + 1) * per_epoch;
        let Some(last) = validate(evaluated, &pictures, dataset, config, progress.epoch, stop)? else {
            // Gone on with, the epoch has no step left and is validated.
            save_last(&progress, &sgd)?;
            return Err(TrainError::Stopped { signal: stop.load(Ordering::Relaxed), step, steps });
        };
        let now = rates(&config.optim, step - 1, steps, per_epoch);
        refuse_above(f64::MAX, "the validation cross-entropy", last.cross_entropy, step, now.head)?;
        progress.last = Some(last);
        let pace =
            Pace { step, rate: now.backbone, mu: config.loss.mu_at(step - 1, per_epoch), images_per_second };
        let metrics = progress.sums.metrics(last, pace);
        folder::append_metrics(run, &metrics)?;
        tell(bar, &metrics.line(config.epochs));
        let highest = progress.highest.filter(|highest| !is_better(last, *highest)).unwrap_or(last);
        progress.highest = Some(highest);
        let is_best = is_as_good(last, highest, dataset.validation.len());
        if is_best {
            progress.best = Some(last);
        }
        (progress.epoch, progress.batch, progress.sums) = (progress.epoch + 1, 0, EpochSums::default());
        if is_best {
            let state = State { evaluated: &evaluated.params, trained: None, velocities: None };
            checkpoint::save(&run.join(BEST), &progress, state)?;
        }
        save_last(&progress, &sgd)?;
    }
    let (best, last) = progress.best.zip(progress.last).ok_or(TrainError::NoEpoch)?;
    Ok(Outcome { best, last })
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

/// The losses of one batch: what to differentiate, and what to log.
pub struct Losses {
    pass: Pass,
    /// `L_CE + mu (L_dis - lambda L_div)`, a scalar on the graph.
    total: Tensor,
    /// [`Figures`] as one tensor, where the network is.
    figures: Tensor,
}

/// What to log of a batch.
struct Figures {
    cross_entropy: f64,
    discriminality: f64,
    diversity: f64,
    coverage: f64,
    correct: usize,
}

/// Random streams of a run's steps; other numbers are taken by [`crate::data::batch`].
const STEPS: u64 = 2;

/// `L_CE + mu (L_dis - lambda L_div)` of the network in training on one batch.
///
/// `images`: `B x 3 x S x S`, 0..=255; `labels`: `[B]`, u32; `mu` in place of the configured one, which may
/// still be rising; `learning`: what the backbone does; `rng` draws dropout and the CWA mask.
///
/// # Errors
/// Tensors that do not fit the network.
pub fn losses(
    network: &Network,
    images: &Tensor,
    labels: &Tensor,
    config: &LossConfig,
    mu: f64,
    learning: Learning,
    rng: &mut ChaCha8Rng,
) -> candle_core::Result<Losses> {
    let pass = network.pass(images, learning, rng)?;
    let output = &pass.output;
    let cross_entropy = cross_entropy(&output.logits, labels, config.label_smoothing)?;
    // With mu = 0 the terms are still measured, on maps cut off from the gradient.
    let maps = if mu > 0.0 { output.maps.clone() } else { output.maps.detach() };
    let mask = cwa_mask(&network.layout, config.keep, maps.dtype(), rng)?;
    let mc = mc_loss(&maps, labels, &network.layout, &mask, Weights { mu, ..config.mc })?;
    let total = if mu > 0.0 { (&cross_entropy + &mc.total)? } else { cross_entropy.clone() };
    let correct = correct(&output.logits, labels)?.to_dtype(cross_entropy.dtype())?;
    let figures = [&cross_entropy, &mc.discriminality, &mc.diversity, &mc.coverage, &correct];
    let figures = Tensor::stack(&figures.map(Tensor::detach), 0)?;
    Ok(Losses { pass, total, figures })
}

/// Mean over the batch of the cross-entropy of `logits` (`B x c`) with targets smoothed by `smoothing`.
fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> candle_core::Result<Tensor> {
    let log_p = log_softmax(logits, D::Minus1)?;
    let right = log_p.gather(&labels.unsqueeze(1)?, 1)?.mean_all()?;
    if smoothing == 0.0 {
        return right.neg();
    }
    let even = log_p.mean_all()?;
    (right * (smoothing - 1.0))? - (even * smoothing)?
}

/// How many rows of `logits` are largest at their label, a u32.
fn correct(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
    logits.argmax(D::Minus1)?.eq(labels)?.to_dtype(DType::U32)?.sum_all()
}

fn scalar(tensor: &Tensor) -> candle_core::Result<f64> {
    tensor.to_dtype(DType::F64)?.to_scalar::<f64>()
}

/// Accuracy and cross-entropy on the validation split, pictures prepared as the board prepares them; `None` if asked
/// to stop on the way.
fn validate(
    network: &Network,
    pictures: &Arc<Pictures>,
    dataset: &Dataset,
    config: &Config,
    epoch: usize,
    stop: &AtomicI32,
) -> Result<Option<Best>, TrainError> {
    let (mut right, mut entropy) = (0, 0.0);
    let batches = Batches::evaluate(pictures, &dataset.validation, config.batch);
    for batch in OnDevice::start(batches, &network.device())? {
        if asked(stop).is_some() {
            return Ok(None);
        }
        let batch = batch?;
        let output = network.forward(&batch.images, &mut Mode::Eval)?;
        right += correct(&output.logits, &batch.labels)?.to_scalar::<u32>()?;
        entropy += scalar(&cross_entropy(&output.logits, &batch.labels, 0.0)?)? * batch.samples.len() as f64;
    }
    let count = dataset.validation.len() as f64;
    Ok(Some(Best { epoch, accuracy: f64::from(right) / count, cross_entropy: entropy / count }))
}

/// More right answers, or as many with a lower cross-entropy.
fn is_better(new: Best, old: Best) -> bool {
    (new.accuracy, -new.cross_entropy) > (old.accuracy, -old.cross_entropy)
}

/// Whether `new` is at most one standard error, or one picture, below `highest`, both measured on so many `pictures`.
///
/// Of epochs that so few pictures cannot tell apart, the highest is so by chance, and the later one has learnt more, usually
/// at a lower rate: the rule of one standard error (Breiman et al. 1984).
fn is_as_good(new: Best, highest: Best, pictures: usize) -> bool {
    let (share, pictures) = (highest.accuracy, pictures as f64);
    let error = (pictures * share * (1.0 - share)).sqrt().max(1.0);
    // Counts come out of shares with an error of their own.
    (highest.accuracy - new.accuracy) * pictures < error + 1e-6
}

fn is_stale(progress: &Progress, patience: Option<usize>) -> bool {
    match (progress.highest, patience) {
        (Some(highest), Some(patience)) => progress.epoch > highest.epoch + patience,
        _ => false,
    }
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

impl Losses {
    /// The gradients of the total for all of the network's weights.
    ///
    /// # Errors
    /// candle's.
    pub fn backward(self, network: &Network) -> candle_core::Result<Gradients> {
        self.pass.backward(&self.total, network)
    }
}

impl Figures {
    fn read(figures: &Tensor) -> candle_core::Result<Figures> {
        let figures = figures.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let &[cross_entropy, discriminality, diversity, coverage, correct] = figures.as_slice() else {
            candle_core::bail!("{} figures of a step, expected 5", figures.len());
        };
        Ok(Figures { cross_entropy, discriminality, diversity, coverage, correct: correct as usize })
    }

    fn refuse_divergence(&self, step: usize, rate: f64) -> Result<(), TrainError> {
        let terms = [
            (HOPELESS, "the cross-entropy", self.cross_entropy),
            (f64::MAX, "the discriminality loss", self.discriminality),
            (f64::MAX, "the coverage", self.coverage),
        ];
        terms.into_iter().try_for_each(|(most, term, value)| refuse_above(most, term, value, step, rate))
    }

    fn add_to(&self, sums: &mut EpochSums, pictures: usize) {
        sums.pictures += pictures;
        sums.correct += self.correct;
        let of_all = |mean: f64| mean * pictures as f64;
        sums.cross_entropy += of_all(self.cross_entropy);
        sums.discriminality += of_all(self.discriminality);
        sums.diversity += of_all(self.diversity);
        sums.coverage += of_all(self.coverage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn smoothed_cross_entropy_is_the_mix_of_target_and_uniform() {
        let logits = Tensor::new(&[[1.0f64, 2.0, 4.0], [0.5, 0.0, -1.0]], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[2u32, 1], &Device::Cpu).unwrap();
        // -log softmax by hand: log(sum exp) minus each logit.
        let rows = [[1.0f64, 2.0, 4.0], [0.5, 0.0, -1.0]].map(|row| {
            let sum: f64 = row.iter().map(|v| v.exp()).sum();
            row.map(|v| sum.ln() - v)
        });
        let hard = f64::midpoint(rows[0][2], rows[1][1]);
        let even = rows.iter().flatten().sum::<f64>() / 6.0;
        for smoothing in [0.0, 0.1] {
            let got = scalar(&cross_entropy(&logits, &labels, smoothing).unwrap()).unwrap();
            assert!((got - ((1.0 - smoothing) * hard + smoothing * even)).abs() < 1e-12);
        }
    }

    #[test]
    fn better_is_more_right_answers_then_less_cross_entropy() {
        let best = |accuracy, cross_entropy| Best { epoch: 0, accuracy, cross_entropy };
        assert!(is_better(best(0.9, 1.0), best(0.8, 0.1)));
        assert!(is_better(best(0.9, 0.5), best(0.9, 0.6)));
        assert!(!is_better(best(0.9, 0.5), best(0.9, 0.5)));
    }

    #[test]
    fn losses_that_are_no_numbers_or_hopeless_end_training() {
        for value in [f64::NAN, f64::INFINITY, 1299.8] {
            let error = refuse_above(HOPELESS, "the cross-entropy", value, 7, 0.06).unwrap_err().to_string();
            assert!(error.contains("at step 7") && error.contains("--rate"), "{error}");
        }
        assert!(refuse_above(HOPELESS, "the cross-entropy", 30.0, 7, 0.06).is_ok());
    }

    #[test]
    fn epochs_are_equals_within_one_standard_error() {
        let best = |accuracy| Best { epoch: 0, accuracy, cross_entropy: 1.0 };
        // Of 90 right answers in 100: 3.
        assert!(is_as_good(best(0.87), best(0.9), 100) && !is_as_good(best(0.86), best(0.9), 100));
        // 400 of 400, then one and two fewer.
        assert!(is_as_good(best(399.0 / 400.0), best(1.0), 400));
        assert!(!is_as_good(best(398.0 / 400.0), best(1.0), 400));
    }
}
