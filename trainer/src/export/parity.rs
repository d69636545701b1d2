//! Whether the board's engine and the trainer agree.

use std::path::PathBuf;

use fieldmark::engine::{Engine, Options, RunError};
use fieldmark::head::top_k;
use fieldmark::model::Description;

use super::ExportError;
use crate::dataset::{Dataset, Sample};
use crate::layer::Mode;
use crate::network::Network;
use crate::picture::{Seen, seen, stacked};

/// Logits may differ by this much up to 10, above by this much a 10.
const TOLERANCE: f32 = 1e-4;

/// Share of pictures on which weights of 16 bits must name the class that full weights name.
const ROUNDED_AGREEMENT: f64 = 0.995;

/// Pictures that go through the trainer at a time.
const BATCH: usize = 16;

/// How well engine and trainer agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parity {
    /// Pictures compared.
    pub pictures: usize,
    /// The largest difference of a logit; of one above 10, its difference a 10.
    pub worst: f32,
    /// Share of pictures on which the stored weights name the class that the trained ones name.
    pub same_answer: f64,
}

/// Where engine and trainer differ.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disagreement {
    /// A logit.
    #[error(
        "the board's engine and the trainer differ by {difference:.2e} on {} for class {label:?} \
         (engine {engine}, trainer {trainer}), allowed are {TOLERANCE:.0e} a 10; please report it",
        path.display()
    )]
    Logit {
        /// The worst picture.
        path: PathBuf,
        /// The class.
        label: String,
        /// The engine's logit.
        engine: f32,
        /// The trainer's.
        trainer: f32,
        /// Their difference, a 10 above 10.
        difference: f32,
    },
    /// The first answer, without a tie.
    #[error(
        "the board's engine answers {engine:?} to {}, the trainer {trainer:?}; please report it",
        path.display()
    )]
    Answer {
        /// The picture.
        path: PathBuf,
        /// The engine's answer.
        engine: String,
        /// The trainer's.
        trainer: String,
    },
    /// The engine fails on a picture.
    #[error("the board's engine fails on {}: {source}", path.display())]
    Run {
        /// The picture.
        path: PathBuf,
        /// The engine's reason.
        source: RunError,
    },
    /// Rounded weights change too many answers.
    #[error(
        "weights of 16 bits change the answer on {:.1} % of {pictures} pictures, allowed are {:.1} %; \
         export with --weights f32",
        100.0 * (1.0 - same),
        100.0 * (1.0 - ROUNDED_AGREEMENT)
    )]
    Rounding {
        /// Pictures compared.
        pictures: usize,
        /// Share of equal answers.
        same: f64,
    },
}

/// The worst logit so far.
struct Worst {
    difference: f32,
    engine: f32,
    trainer: f32,
    class: usize,
    path: PathBuf,
}

/// Runs the model file's `bytes` on pictures of the data set and compares it with `deployed`, the network that
/// was written into it, and `trained`, the same before weights were stored.
pub(super) fn check(
    bytes: &[u8],
    deployed: &Network,
    trained: &Network,
    dataset: &Dataset,
    description: &Description,
    pictures: usize,
) -> Result<Parity, ExportError> {
    let engine = Engine::from_bytes(bytes, Options::default())?;
    let samples = spread(dataset, pictures);
    let mut worst: Option<Worst> = None;
    let mut same = 0;
    for samples in samples.chunks(BATCH) {
        let pictures = seen(samples, description.input)?;
        let images = stacked(&pictures)?;
        let expected = deployed.forward(&images, &mut Mode::Eval)?.logits.to_vec2::<f32>()?;
        let unrounded = trained.forward(&images, &mut Mode::Eval)?.logits.to_vec2::<f32>()?;
        for (((sample, picture), expected), unrounded) in
            samples.iter().zip(&pictures).zip(expected).zip(unrounded)
        {
            let found = compared(&engine, sample, picture, &expected, description)?;
            if worst.as_ref().is_none_or(|worst| found.difference > worst.difference) {
                worst = Some(found);
            }
            same += usize::from(top_k(&expected, 1) == top_k(&unrounded, 1));
        }
    }
    let same_answer = same as f64 / samples.len().max(1) as f64;
    if same_answer < ROUNDED_AGREEMENT {
        return Err(Disagreement::Rounding { pictures: samples.len(), same: same_answer }.into());
    }
    match worst {
        // Not a number counts as worse than any.
        Some(worst) if !(worst.difference <= TOLERANCE) => Err(Disagreement::Logit {
            label: description.labels[worst.class].clone(),
            path: worst.path,
            engine: worst.engine,
            trainer: worst.trainer,
            difference: worst.difference,
        }
        .into()),
        worst => Ok(Parity {
            pictures: samples.len(),
            worst: worst.map_or(0.0, |worst| worst.difference),
            same_answer,
        }),
    }
}

/// The worst logit of one picture.
fn compared(
    engine: &Engine,
    sample: &Sample,
    picture: &Seen,
    expected: &[f32],
    description: &Description,
) -> Result<Worst, Disagreement> {
    let path = sample.path.clone();
    let actual = match engine.run(&picture.frame) {
        Ok(output) => output.logits,
        Err(source) => return Err(Disagreement::Run { path, source }),
    };
    let differences = actual.iter().zip(expected).map(|(a, e)| (a - e).abs() / (e.abs() / 10.0).max(1.0));
    let differences: Vec<f32> = differences.collect();
    let class = (0..differences.len())
        .max_by(|&a, &b| differences[a].total_cmp(&differences[b]))
        .expect("a network has classes");
    let [ours, theirs] = [&actual, expected].map(|logits| top_k(logits, 1)[0]);
    // Two classes within the tolerance of each other are a tie, and either may come first.
    let margin = expected[theirs] - expected[ours];
    if ours != theirs && margin > TOLERANCE * (expected[theirs].abs() / 10.0).max(1.0) {
        let name = |class: usize| description.labels[class].clone();
        return Err(Disagreement::Answer { path, engine: name(ours), trainer: name(theirs) });
    }
    Ok(Worst { difference: differences[class], engine: actual[class], trainer: expected[class], class, path })
}

/// At most `count` samples, evenly over all splits and classes.
fn spread(dataset: &Dataset, count: usize) -> Vec<&Sample> {
    let all: Vec<&Sample> =
        [&dataset.train, &dataset.validation, &dataset.test].into_iter().flatten().collect();
    let count = count.clamp(1, all.len().max(1)).min(all.len());
    (0..count).map(|index| all[index * all.len() / count]).collect()
}
