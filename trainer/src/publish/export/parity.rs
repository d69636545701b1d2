//! Whether the board's engine and the trainer agree.

use std::path::PathBuf;

use candle_core::IndexOp;
use fieldmark::engine::{Engine, Options, RunError};
use fieldmark::head::top_k;
use fieldmark::model::Description;

use super::ExportError;
use crate::data::dataset::{Dataset, Sample, spread};
use crate::data::picture::{Seen, seen, stacked};
use crate::net::layer::Mode;
use crate::net::network::{Network, Output};

/// Logits may differ by this much up to 10, above by this much a 10.
const TOLERANCE: f32 = 1e-4;

/// So may values of the maps, which no pooling has averaged: what tells a misplaced map is far larger.
const MAPS_TOLERANCE: f32 = 1e-3;

/// Share of pictures on which rounding weights to 16 bits may change the answer.
const ROUNDED_CHANGES: f64 = 0.005;

/// Pictures that go through the trainer at a time.
const BATCH: usize = 16;

/// How well engine and trainer agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parity {
    /// Pictures compared.
    pub pictures: usize,
    /// The largest difference of a logit; of one above 10, its difference a 10.
    pub worst: f32,
    /// Pictures on which the stored weights name another class than the trained ones.
    pub changed: usize,
}

/// Where engine and trainer differ.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disagreement {
    /// A logit, or a value of the maps.
    #[error(
        "the board's engine and the trainer differ by {difference:.2e} on {} in {what} (engine {engine}, trainer \
         {trainer}); please report it",
        path.display()
    )]
    Value {
        /// The worst picture.
        path: PathBuf,
        /// The class of the logit, or the place in the maps.
        what: String,
        /// The engine's value.
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
        "weights of 16 bits change the answer on {changed} of {pictures} pictures, allowed are {:.1} %; store the \
         weights in f32",
        100.0 * ROUNDED_CHANGES
    )]
    Rounding {
        /// Pictures compared.
        pictures: usize,
        /// Pictures whose answer changed.
        changed: usize,
    },
}

/// The value that differs most.
#[derive(Clone, Copy)]
struct Worst {
    difference: f32,
    engine: f32,
    trainer: f32,
    index: usize,
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
    let all = [&dataset.train, &dataset.validation, &dataset.test].into_iter().flatten();
    let samples = spread(&all.collect::<Vec<_>>(), pictures);
    let (mut worst, mut changed) = (0.0_f32, 0);
    for samples in samples.chunks(BATCH) {
        let pictures = seen(samples, description.input)?;
        let images = stacked(&pictures)?;
        let Output { logits, maps } = deployed.forward(&images, &mut Mode::Eval)?;
        let unrounded = trained.forward(&images, &mut Mode::Eval)?.logits.to_vec2::<f32>()?;
        for (index, (sample, picture)) in samples.iter().zip(&pictures).enumerate() {
            let expected: Vec<f32> = logits.i(index)?.to_vec1()?;
            let maps: Vec<f32> = maps.i(index)?.flatten_all()?.to_vec1()?;
            let found = compared(&engine, sample, picture, (&expected, &maps), description)?;
            worst = worst.max(found);
            changed += usize::from(!is_same_answer(&unrounded[index], &expected));
        }
    }
    // One picture may be at the border in any set, however small.
    if changed > 1 && changed as f64 > ROUNDED_CHANGES * samples.len() as f64 {
        return Err(Disagreement::Rounding { pictures: samples.len(), changed }.into());
    }
    Ok(Parity { pictures: samples.len(), worst, changed })
}

/// The largest difference of one picture's logits, once logits, maps and answer agree.
fn compared(
    engine: &Engine,
    sample: &Sample,
    picture: &Seen,
    (logits, maps): (&[f32], &[f32]),
    description: &Description,
) -> Result<f32, Disagreement> {
    let path = || sample.path.clone();
    let output = engine.run(&picture.frame).map_err(|source| Disagreement::Run { path: path(), source })?;
    let name = |class: usize| description.labels[class].clone();
    let refused = |worst: Worst, what: String| Disagreement::Value {
        path: path(),
        what,
        engine: worst.engine,
        trainer: worst.trainer,
        difference: worst.difference,
    };
    let worst = worst_of(&output.logits, logits);
    if !is_within(worst, TOLERANCE) {
        return Err(refused(worst, format!("the logit of {:?}", name(worst.index))));
    }
    // Pooling forgets places: only the maps show that the cues are where the trainer's are.
    let (_, height, width) = output.maps.dim();
    let of_maps = worst_of(&output.maps.into_iter().collect::<Vec<_>>(), maps);
    if !is_within(of_maps, MAPS_TOLERANCE) {
        let (channel, cell) = (of_maps.index / (height * width), of_maps.index % (height * width));
        let place = format!("channel {channel} of the maps, row {}, column {}", cell / width, cell % width);
        return Err(refused(of_maps, place));
    }
    if is_same_answer(&output.logits, logits) {
        return Ok(worst.difference);
    }
    let [ours, theirs] = [&output.logits, logits].map(|logits| name(top_k(logits, 1)[0]));
    Err(Disagreement::Answer { path: path(), engine: ours, trainer: theirs })
}

/// The value that differs most, differences of values above 10 taken a 10. Not a number differs most of all.
fn worst_of(engine: &[f32], trainer: &[f32]) -> Worst {
    let pairs = engine.iter().zip(trainer).enumerate();
    let all = pairs.map(|(index, (&engine, &trainer))| {
        let difference = (engine - trainer).abs() / (trainer.abs() / 10.0).max(1.0);
        Worst { difference, engine, trainer, index }
    });
    let none = Worst { difference: 0.0, engine: 0.0, trainer: 0.0, index: 0 };
    all.fold(none, |worst, next| {
        let stays = worst.difference.is_nan() || next.difference <= worst.difference;
        if stays { worst } else { next }
    })
}

/// Not a number is not.
fn is_within(worst: Worst, tolerance: f32) -> bool {
    worst.difference <= tolerance
}

/// Whether both name the same class; two classes within the tolerance of each other are a tie, and either may come
/// first.
fn is_same_answer(ours: &[f32], theirs: &[f32]) -> bool {
    let [our, their] = [ours, theirs].map(|logits| top_k(logits, 1)[0]);
    let margin = theirs[their] - theirs[our];
    our == their || margin <= TOLERANCE * (theirs[their].abs() / 10.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_above_ten_count_a_ten() {
        for (engine, trainer, difference) in [(1.0, 1.5, 0.5), (100.0, 101.0, 1.0 / 10.1), (-3.0, 3.0, 6.0)] {
            let worst = worst_of(&[2.0, engine], &[2.0, trainer]);
            assert!((worst.difference - difference).abs() < 1e-6, "{engine} {trainer}");
            assert_eq!((worst.index, worst.engine, worst.trainer), (1, engine, trainer));
        }
    }

    #[test]
    fn what_is_not_a_number_is_never_within_tolerance() {
        for bad in [f32::NAN, f32::INFINITY] {
            for place in 0..3 {
                let mut engine = [1.0, 2.0, 3.0];
                engine[place] = bad;
                for worst in [worst_of(&engine, &[1.0, 2.0, 3.0]), worst_of(&[1.0, 2.0, 3.0], &engine)] {
                    assert!(!is_within(worst, TOLERANCE), "{bad} at {place}");
                }
            }
        }
        assert!(is_within(worst_of(&[1.0, 2.0], &[1.0, 2.000_05]), TOLERANCE));
    }

    #[test]
    fn only_a_tie_may_be_answered_either_way() {
        assert!(is_same_answer(&[1.0, 3.0], &[0.0, 9.0]));
        assert!(is_same_answer(&[3.0, 2.999_99], &[3.0, 3.000_01]));
        assert!(!is_same_answer(&[3.0, 2.9], &[3.0, 3.1]));
    }
}
