//! What a run is worth: measured once, on the test split, through the board's own preprocessing.

mod counts;

use std::path::PathBuf;

use fieldmark::cues::PartCue;
use fieldmark::head::{Head, top_k};
use fieldmark::unknown::{Score, energy};

pub use counts::wilson;

use crate::data::dataset::Sample;
use crate::data::picture::ReadError;
use crate::measure::answers::{AnswerError, Answered, Batch, Look, batches};
use crate::measure::calibration::{self, Fitted, reliability};
use crate::measure::places::add_moved;
use crate::measure::pointing::CueCount;
use crate::measure::unknown::DEFAULT_SCORE;
use crate::net::network::Network;
use crate::net::ops::coverage;
use crate::run::folder::Trained;
use crate::run::places::PlaceCount;
use crate::run::records::{
    Calibration, Comparison, Evaluation, FittedOn, HeadAndMaps, SCHEMA, UnknownResult,
};
use counts::{class_results, confusion_matrix, confusions, right};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// There is nothing to measure on.
    #[error("the data set in {} has no test pictures; put some into its test folder, or train with a share held out for it", folder.display())]
    NoTest {
        /// The data set.
        folder: PathBuf,
    },
    /// The network does not answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl From<candle_core::Error> for EvalError {
    fn from(error: candle_core::Error) -> EvalError {
        AnswerError::from(error).into()
    }
}

impl From<ReadError> for EvalError {
    fn from(error: ReadError) -> EvalError {
        AnswerError::from(error).into()
    }
}

/// What was seen so far.
struct Tally<'a> {
    answered: Vec<Answered>,
    coverage: f64,
    places: PlaceCount,
    right: Vec<&'a Sample>,
    cues: CueCount,
    /// Whether its cue is on a mark, log-probability, file.
    example: (bool, f32, PathBuf),
}

/// A run's figures, and the answers that they were made of.
pub struct Measured {
    /// The figures.
    pub evaluation: Evaluation,
    /// What the network says of each test picture, in their order.
    pub answers: Vec<Answered>,
    /// Temperature and threshold.
    pub fitted: Fitted,
}

/// Measures a run on its test split; `comparison` is what its `unknown.json` says, from which the score for unknowns
/// is taken.
///
/// # Errors
/// [`EvalError`].
pub fn evaluate(trained: &Trained, comparison: Option<&Comparison>) -> Result<Evaluation, EvalError> {
    Ok(measure(trained, comparison)?.evaluation)
}

/// The score for unknowns.
pub fn score(comparison: Option<&Comparison>) -> Score {
    comparison.map_or(DEFAULT_SCORE, |comparison| comparison.chosen)
}

/// As [`evaluate`], with the answers.
///
/// # Errors
/// [`EvalError`].
pub fn measure(trained: &Trained, comparison: Option<&Comparison>) -> Result<Measured, EvalError> {
    let Trained { network, progress, dataset, .. } = trained;
    if dataset.test.is_empty() {
        return Err(EvalError::NoTest { folder: dataset.root.clone() });
    }
    let to = progress.config.input();
    let mut tally = Tally {
        answered: Vec::with_capacity(dataset.test.len()),
        coverage: 0.0,
        places: PlaceCount::of(network, to.side)?,
        right: Vec::new(),
        cues: CueCount::new(&dataset.field_marks),
        example: (false, f32::NEG_INFINITY, dataset.test[0].path.clone()),
    };
    let head = network.head()?;
    let samples: Vec<&Sample> = dataset.test.iter().collect();
    for batch in batches(network, &samples, to) {
        tally.add_batch(network, &head, batch?)?;
    }
    add_moved(&mut tally.places, network, &tally.right, to)?;
    let fitted = calibration::fit(trained, score(comparison))?;
    Ok(tally.measured(trained, fitted, comparison))
}

impl<'a> Tally<'a> {
    fn add_batch(&mut self, network: &Network, head: &Head, batch: Batch<'a>) -> candle_core::Result<()> {
        let layout = &network.layout;
        self.coverage += f64::from(coverage(&batch.maps, layout)?.mean_all()?.to_scalar::<f32>()?)
            * batch.looks.len() as f64;
        for look in batch.looks {
            self.add(&look, &look.cues(layout, head, look.sample.class));
            self.answered.push(look.answered(layout));
        }
        Ok(())
    }

    /// `cues`: those of the picture's own class.
    fn add(&mut self, look: &Look<'a>, cues: &[PartCue]) {
        let Look { sample, seen, logits, maps, .. } = look;
        if top_k(logits, 1)[0] != sample.class {
            return;
        }
        self.places.add(sample.class, maps);
        self.right.push(sample);
        let is_on_mark = self.cues.add(sample, seen.size, cues);
        let candidate = (is_on_mark, logits[sample.class] - energy(logits), sample.path.clone());
        if (candidate.0, candidate.1) > (self.example.0, self.example.1) {
            self.example = candidate;
        }
    }

    fn measured(self, trained: &Trained, fitted: Fitted, comparison: Option<&Comparison>) -> Measured {
        let Tally { answered, coverage, places, right: _, cues, example } = self;
        let progress = &trained.progress;
        let labels = &progress.labels;
        let pictures = answered.len();
        let matrix = confusion_matrix(&answered, labels.len());
        let right = right(&matrix);
        let in_top5 = answered.iter().filter(|a| top_k(&a.logits, 5).contains(&a.class)).count();
        let before = reliability(&answered, 1.0);
        let evaluation = Evaluation {
            schema: SCHEMA,
            weights: trained.weights.clone(),
            epoch: progress.last.map(|last| last.epoch),
            pictures,
            top1: right as f64 / pictures as f64,
            top1_interval: wilson(right, pictures),
            top5: in_top5 as f64 / pictures as f64,
            cross_entropy: before.cross_entropy,
            coverage: coverage / pictures as f64,
            places: places.places(),
            classes: class_results(&matrix, labels),
            confusions: confusions(&matrix, labels),
            confusion_matrix: matrix,
            calibration: Calibration {
                temperature: fitted.temperature,
                fitted_on: FittedOn::Validation,
                before,
                after: reliability(&answered, fitted.temperature),
            },
            unknown: unknown(&answered, &fitted, comparison),
            evidence: head_and_maps(&answered),
            cues: cues.rates(),
            faithfulness: None,
            example: example.2,
        };
        Measured { evaluation, answers: answered, fitted }
    }
}

fn unknown(answered: &[Answered], fitted: &Fitted, comparison: Option<&Comparison>) -> Option<UnknownResult> {
    let rule = fitted.rule()?;
    Some(UnknownResult {
        classes_left_out: comparison.map_or(0, |comparison| comparison.classes_left_out),
        runs: comparison.map_or(0, |comparison| comparison.runs),
        scores: comparison.map_or(Vec::new(), |comparison| comparison.scores.clone()),
        chosen: rule.score,
        threshold: rule.threshold,
        kept: rule.kept,
        kept_on_test: fitted.kept(answered),
    })
}

fn head_and_maps(answered: &[Answered]) -> HeadAndMaps {
    // [alike, different], each pictures and right answers of the head.
    let (mut counts, mut right_maps) = ([[0_usize; 2]; 2], 0);
    for Answered { class, logits, evidence, .. } in answered {
        let [head, maps] = [logits, evidence].map(|scores| top_k(scores, 1)[0]);
        let [pictures, right] = &mut counts[usize::from(head != maps)];
        *pictures += 1;
        *right += usize::from(head == *class);
        right_maps += usize::from(maps == *class);
    }
    let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
    let [[alike, right_alike], [different, right_different]] = counts;
    HeadAndMaps {
        disagreements: different,
        share: share(different, answered.len()).unwrap_or_default(),
        accuracy_where_different: share(right_different, different),
        accuracy_where_alike: share(right_alike, alike),
        top1_of_maps: share(right_maps, answered.len()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_counted_where_maps_and_head_differ() {
        let one_hot = |at: usize| (0..3).map(|class| f32::from(u8::from(class == at))).collect::<Vec<_>>();
        let cases = [(0, 0, 0), (1, 1, 1), (2, 2, 0), (1, 0, 1), (1, 0, 0)];
        let answered = cases.map(|(class, head, maps)| Answered {
            class,
            logits: one_hot(head),
            evidence: one_hot(maps),
            features: Vec::new(),
        });
        let expected = HeadAndMaps {
            disagreements: 2,
            share: 0.4,
            accuracy_where_different: Some(0.5),
            accuracy_where_alike: Some(2.0 / 3.0),
            top1_of_maps: 0.6,
        };
        assert_eq!(head_and_maps(&answered), expected);
        assert_eq!(head_and_maps(&answered[..1]).accuracy_where_different, None);
    }
}
