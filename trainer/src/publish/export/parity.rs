//! Whether the board's engine and the trainer agree.

use std::path::PathBuf;

use candle_core::IndexOp;
use fieldmark::engine::{Engine, Options, RunError};
use fieldmark::head::top_k;
use fieldmark::model::Description;

use super::ExportError;
use crate::data::dataset::{Dataset, Sample, spread};
use crate::data::picture::{Seen, seen, stacked};
use crate::measure::answers::featured;
use crate::net::layer::Mode;
use crate::net::network::{Network, Output};

/// Logits may differ by this share of [`Head::reach`](fieldmark::head::Head::reach): 1e-4 where it is 10. A sum of 32-bit
/// floats errs in proportion to its terms, so that a small logit of large terms is no more exact than a large one.
const TOLERANCE: f32 = 1e-5;

/// Values of the maps, which no pooling has averaged, may differ by this share of the picture's largest: 1e-3 where it is 10 or
/// less. What tells a misplaced map is far larger.
const MAPS_TOLERANCE: f32 = 1e-4;

/// Maps smaller than this are compared as though they were as large.
const SMALLEST_SCALE: f32 = 10.0;

/// Share of pictures on which rounding weights to 16 bits may change the answer.
const ROUNDED_CHANGES: f64 = 0.005;

/// Pictures that go through the trainer at a time.
const BATCH: usize = 16;

/// How well engine and trainer agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parity {
    /// Pictures compared.
    pub pictures: usize,
    /// The largest difference of a logit; where logits or what they are sums of reach above 10, its difference a 10.
    pub worst: f32,
    /// By how much the stored weights move a logit, as a share of the largest logit of the same picture.
    pub moved: f32,
    /// Pictures on which the stored weights name another class than the trained ones.
    pub changed: usize,
}

/// Where engine and trainer differ.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disagreement {
    /// A logit, or a value of the maps.
    #[error(
        "the board's engine and the trainer differ on {} in {what}: engine {engine}, trainer {trainer}, {difference:.1e} of the \
         largest value there; please report it",
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
        /// Their difference, as a share of the picture's scale.
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
    let (mut worst, mut moved, mut changed) = (0.0_f32, 0.0_f32, 0);
    for samples in samples.chunks(BATCH) {
        let pictures = seen(samples, description.input)?;
        let images = stacked(&pictures)?;
        let (features, Output { logits, maps }) = featured(deployed, &images)?;
        let unrounded = trained.forward(&images, &mut Mode::Eval)?.logits.to_vec2::<f32>()?;
        for (index, (sample, picture)) in samples.iter().zip(&pictures).enumerate() {
            let expected: Vec<f32> = logits.i(index)?.to_vec1()?;
            let maps: Vec<f32> = maps.i(index)?.flatten_all()?.to_vec1()?;
            let features: Vec<f32> = features.i(index)?.to_vec1()?;
            let expected_all = (expected.as_slice(), maps.as_slice(), features.as_slice());
            let (found, reach) = compared(&engine, sample, picture, expected_all, description)?;
            worst = worst.max(SMALLEST_SCALE * found);
            moved = moved.max(worst_of(&expected, &unrounded[index], largest(&unrounded[index])).difference);
            changed += usize::from(!is_same_answer(&unrounded[index], &expected, reach));
        }
    }
    // One picture may be at the border in any set, however small.
    if changed > 1 && changed as f64 > ROUNDED_CHANGES * samples.len() as f64 {
        return Err(Disagreement::Rounding { pictures: samples.len(), changed }.into());
    }
    Ok(Parity { pictures: samples.len(), worst, moved, changed })
}

/// The largest difference of one picture's logits, as a share of their reach, and their reach, once logits, maps and answer
/// agree.
fn compared(
    engine: &Engine,
    sample: &Sample,
    picture: &Seen,
    (logits, maps, features): (&[f32], &[f32], &[f32]),
    description: &Description,
) -> Result<(f32, f32), Disagreement> {
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
    let reach = description.head.reach(output.maps.view(), &description.layout, logits);
    let worst = worst_of(&output.logits, logits, reach);
    if !is_within(worst, TOLERANCE) {
        return Err(refused(worst, format!("the logit of {:?}", name(worst.index))));
    }
    // None, where the model has no sketches.
    let of_features = worst_of(&output.features, features, largest(features).max(SMALLEST_SCALE));
    if !is_within(of_features, MAPS_TOLERANCE) {
        return Err(refused(of_features, format!("feature {}", of_features.index)));
    }
    // Pooling forgets places: only the maps show that the cues are where the trainer's are.
    let (_, height, width) = output.maps.dim();
    let of_engine: Vec<f32> = output.maps.into_iter().collect();
    let of_maps = worst_of(&of_engine, maps, largest(maps).max(SMALLEST_SCALE));
    if !is_within(of_maps, MAPS_TOLERANCE) {
        let (channel, cell) = (of_maps.index / (height * width), of_maps.index % (height * width));
        let place = format!("channel {channel} of the maps, row {}, column {}", cell / width, cell % width);
        return Err(refused(of_maps, place));
    }
    if is_same_answer(&output.logits, logits, reach) {
        return Ok((worst.difference, reach));
    }
    let [ours, theirs] = [&output.logits, logits].map(|logits| name(top_k(logits, 1)[0]));
    Err(Disagreement::Answer { path: path(), engine: ours, trainer: theirs })
}

/// The largest magnitude; 0 without a value.
fn largest(values: &[f32]) -> f32 {
    values.iter().map(|value| value.abs()).fold(0.0, f32::max)
}

/// The value that differs most, as a share of `scale`. Not a number differs most of all.
fn worst_of(engine: &[f32], trainer: &[f32], scale: f32) -> Worst {
    let pairs = engine.iter().zip(trainer).enumerate();
    let all = pairs.map(|(index, (&engine, &trainer))| {
        // Any difference is nothing of an infinite scale.
        let difference = if scale.is_finite() { (engine - trainer).abs() / scale } else { f32::NAN };
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
fn is_same_answer(ours: &[f32], theirs: &[f32], reach: f32) -> bool {
    let [our, their] = [ours, theirs].map(|logits| top_k(logits, 1)[0]);
    our == their || theirs[their] - theirs[our] <= TOLERANCE * reach
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Tensor;
    use fieldmark::head::HeadKind;

    use super::super::{WeightType, deployed, description, model_file};
    use super::*;
    use crate::measure::calibration::Fitted;
    use crate::net::network::{ClassLayer, NetworkConfig};
    use crate::run::config::Config;
    use crate::run::folder::untrained;
    use crate::run::recipe::Recipe;

    /// Four pictures of stripes, two a class.
    fn dataset(folder: &Path) -> Dataset {
        let sample = |number: u32| {
            let path = folder.join(format!("{number}.png"));
            let shade =
                |x: u32, y: u32| [x * 7, y * 5, x * y].map(|value| (value * (number + 1) % 256) as u8);
            image::RgbImage::from_fn(32, 32, |x, y| image::Rgb(shade(x, y))).save(&path).unwrap();
            Sample { path, class: number as usize % 2, marks: None }
        };
        Dataset {
            root: folder.to_owned(),
            source: folder.to_owned(),
            labels: vec!["a".into(), "b".into()],
            parts: Vec::new(),
            field_marks: Vec::new(),
            train: (0..4).map(sample).collect(),
            validation: Vec::new(),
            test: Vec::new(),
            skipped: Vec::new(),
            hash: String::new(),
        }
    }

    #[test]
    fn large_maps_hide_no_changed_weight() {
        let folder = tempfile::tempdir().unwrap();
        let config = Recipe::Scratch.config();
        let class_layer = ClassLayer::Project { stride: 8 };
        let network = NetworkConfig { class_layer, xi: 2, head: HeadKind::GroupMean, ..config.network };
        let trained = untrained(dataset(folder.path()), Config { network, side: 32, ..config }).unwrap();
        let scale = trained.network.params.get("class_aligned.bn.weight").unwrap();
        scale.set(&(scale.as_tensor() * 1000.0).unwrap()).unwrap();
        let network = deployed(&trained.network, WeightType::F32).unwrap();
        let fitted = Fitted { temperature: 1.0, rejection: None, sketches: None };
        let description = description(&network, &trained.progress, fitted, None, &[]).unwrap();
        let bytes = model_file(&network, &description, WeightType::F32).unwrap();
        let checked = || check(&bytes, &network, &trained.network, &trained.dataset, &description, 4);
        let parity = checked().unwrap();
        assert!(parity.pictures == 4 && parity.worst < 5e-5 && parity.moved < 1e-4, "{parity:?}");

        // One of 128 weights of the second class's second channel, by a hundredth of the kernel's largest.
        let kernel = network.params.get("class_aligned.conv.weight").unwrap();
        let mut weights: Vec<f32> = kernel.flatten_all().unwrap().to_vec1().unwrap();
        weights[3 * 128 + 5] += 0.01 * largest(&weights);
        kernel.set(&Tensor::from_vec(weights, kernel.shape(), kernel.device()).unwrap()).unwrap();
        let error = checked().unwrap_err();
        assert!(matches!(error, ExportError::Disagreement(Disagreement::Value { .. })), "{error}");
    }

    #[test]
    fn a_difference_is_a_share_of_the_scale() {
        for (engine, trainer, difference) in [(1.0, 1.5, 0.05), (100.0, 101.0, 0.1), (-3.0, 3.0, 0.6)] {
            let worst = worst_of(&[2.0, engine], &[2.0, trainer], 10.0);
            assert!((worst.difference - difference).abs() < 1e-6, "{engine} {trainer}");
            assert_eq!((worst.index, worst.engine, worst.trainer), (1, engine, trainer));
        }
        // Beside a map of 800, a small value may be as inexact as the large one.
        let (engine, trainer) = ([800.0, 2.501], [800.002, 2.5]);
        assert!(is_within(worst_of(&engine, &trainer, largest(&trainer)), MAPS_TOLERANCE));
        assert!(!is_within(worst_of(&[800.0, 2.6], &trainer, largest(&trainer)), MAPS_TOLERANCE));
    }

    #[test]
    fn what_is_not_a_number_is_never_within_tolerance() {
        for bad in [f32::NAN, f32::INFINITY] {
            for place in 0..3 {
                let mut engine = [1.0, 2.0, 3.0];
                engine[place] = bad;
                for scale in [10.0, f32::INFINITY] {
                    for worst in [
                        worst_of(&engine, &[1.0, 2.0, 3.0], scale),
                        worst_of(&[1.0, 2.0, 3.0], &engine, scale),
                    ] {
                        assert!(!is_within(worst, TOLERANCE), "{bad} at {place} of {scale}");
                    }
                }
            }
        }
        assert!(is_within(worst_of(&[1.0, 2.0], &[1.0, 2.000_05], 10.0), TOLERANCE));
    }

    #[test]
    fn only_a_tie_may_be_answered_either_way() {
        assert!(is_same_answer(&[1.0, 3.0], &[0.0, 9.0], 10.0));
        assert!(is_same_answer(&[3.0, 2.999_99], &[3.0, 3.000_01], 10.0));
        assert!(!is_same_answer(&[3.0, 2.9], &[3.0, 3.1], 10.0));
        assert!(is_same_answer(&[3.0, 2.999], &[3.0, 3.001], 200.0));
    }
}
