//! What a run is worth: measured once, on the test split, through the board's own preprocessing.

use std::path::PathBuf;

use candle_core::IndexOp;
use fieldmark::cues::{PartCue, part_cues};
use fieldmark::head::{Head, top_k};
use fieldmark::unknown::{Score, energy};
use ndarray::Array3;
use serde::Serialize;

mod counts;
mod marks;
pub(crate) mod target;

pub use counts::{ClassResult, Confusion, wilson};
pub(crate) use marks::CueCount;
pub use marks::{CueRates, Rates};

use crate::data::dataset::Sample;
use crate::data::picture::{ReadError, Seen, seen, stacked};
use crate::measure::answers::{AnswerError, Answered, BATCH, answered, maps_of_each};
use crate::measure::calibration::{self, Fitted, Reliability, reliability, scores, share_reaching};
use crate::measure::faithfulness::Faithfulness;
use crate::measure::unknown::{Comparison, DEFAULT_SCORE, Measured};
use crate::net::layer::Mode;
use crate::net::network::Network;
use crate::net::ops::coverage;
use crate::run::folder::Trained;
use counts::{class_results, confusion_matrix, confusions, right};

/// What the test split showed. Written as `eval.json` into the run folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Version of this record: 1.
    pub schema: u32,
    /// SHA-256 of the file of the weights that were measured, in hex.
    pub weights: String,
    /// The last whole epoch that they were trained for, 0-based.
    pub epoch: Option<usize>,
    /// Pictures of the split.
    pub pictures: usize,
    /// Share of right first answers, 0..=1.
    pub top1: f64,
    /// Where that share is with 95 % confidence: see [`wilson`].
    pub top1_interval: [f64; 2],
    /// Share of pictures whose class is among the first five answers.
    pub top5: f64,
    /// Mean cross-entropy, at temperature 1.
    pub cross_entropy: f64,
    /// Class mean of h/xi over all pictures, in 1/xi..=1.
    pub coverage: f64,
    /// Of each class, in their order.
    pub classes: Vec<ClassResult>,
    /// How many pictures of each class (row) were given each label (column).
    pub confusion_matrix: Vec<Vec<usize>>,
    /// Wrong answers, the most frequent first.
    pub confusions: Vec<Confusion>,
    /// How far probabilities can be believed.
    pub calibration: Calibration,
    /// What is called unknown; `None` without validation pictures.
    pub unknown: Option<Unknown>,
    /// Whether the maps say what the head says.
    pub evidence: Evidence,
    /// Where the cues of right answers are, where the data set says what is where.
    pub cues: Option<CueRates>,
    /// Whether the cues are what the answers depend on, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faithfulness: Option<Faithfulness>,
    /// The picture that shows the model at its best: the likeliest of the right answers, its strongest cue on a field
    /// mark where these are known; the first picture where no answer is right.
    pub example: PathBuf,
}

/// How far probabilities can be believed, on the test split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// What logits are divided by before the softmax.
    pub temperature: f32,
    /// The split that it was fitted on: "validation".
    pub fitted_on: &'static str,
    /// At temperature 1.
    pub before: Reliability,
    /// At the fitted temperature.
    pub after: Reliability,
}

/// What is called unknown: below `threshold` of the score `chosen`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unknown {
    /// Classes that each run did without, by which the scores were compared; 0 if they were not.
    pub classes_left_out: usize,
    /// Those runs.
    pub runs: usize,
    /// How well each score tells the classes left out from the others; empty if they were not compared.
    pub scores: Vec<Measured>,
    /// The score that the model uses.
    pub chosen: Score,
    /// Below it a picture is called unknown.
    pub threshold: f32,
    /// Share of the validation pictures that reach it, 0..=1.
    pub kept: Option<f32>,
    /// Share of the test pictures that reach it, 0..=1.
    pub kept_on_test: f64,
}

/// The first answer of the head beside that of the maps: the class with the highest mean of its strongest channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// Pictures on which the two differ.
    pub disagreements: usize,
    /// Their share of all, 0..=1.
    pub share: f64,
    /// Share of right answers of the head where they differ; `None` where they never do.
    pub accuracy_where_different: Option<f64>,
    /// Share of right answers where they agree; `None` where they never do.
    pub accuracy_where_alike: Option<f64>,
    /// Share of right answers of the maps.
    pub top1_of_maps: f64,
}

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
struct Tally {
    answered: Vec<Answered>,
    coverage: f64,
    cues: CueCount,
    /// Whether its cue is on a mark, log-probability, file.
    example: (bool, f32, PathBuf),
}

/// Measures a run on its test split; `comparison` is what its `unknown.json` says, from which the score for unknowns
/// is taken.
///
/// # Errors
/// [`EvalError`].
pub fn evaluate(trained: &Trained, comparison: Option<&Comparison>) -> Result<Evaluation, EvalError> {
    let Trained { network, progress, dataset, .. } = trained;
    if dataset.test.is_empty() {
        return Err(EvalError::NoTest { folder: dataset.root.clone() });
    }
    let mut tally = Tally {
        answered: Vec::with_capacity(dataset.test.len()),
        coverage: 0.0,
        cues: CueCount::new(&dataset.field_marks),
        example: (false, f32::NEG_INFINITY, dataset.test[0].path.clone()),
    };
    let head = network.head()?;
    let samples: Vec<&Sample> = dataset.test.iter().collect();
    for samples in samples.chunks(BATCH) {
        let to = progress.config.input();
        let pictures = seen(samples, to)?;
        tally.add_batch(network, &head, samples, &pictures)?;
    }
    let score = comparison.map_or(DEFAULT_SCORE, |comparison| comparison.chosen);
    let fitted = calibration::fit(trained, score)?;
    Ok(tally.evaluation(trained, fitted, comparison))
}

impl Tally {
    fn add_batch(
        &mut self,
        network: &Network,
        head: &Head,
        samples: &[&Sample],
        pictures: &[Seen],
    ) -> candle_core::Result<()> {
        let images = stacked(pictures)?.to_device(&network.device())?;
        let output = network.forward(&images, &mut Mode::Eval)?;
        self.coverage += f64::from(coverage(&output.maps, &network.layout)?.mean_all()?.to_scalar::<f32>()?)
            * samples.len() as f64;
        let maps = maps_of_each(&output.maps)?;
        for (index, (sample, seen)) in samples.iter().zip(pictures).enumerate() {
            let (maps, logits) = (&maps[index], output.logits.i(index)?.to_vec1::<f32>()?);
            self.add(sample, seen, &logits, &cues(network, head, maps, sample.class, seen));
            self.answered.push(answered(sample.class, logits, maps, &network.layout));
        }
        Ok(())
    }

    /// `cues`: those of the picture's own class.
    fn add(&mut self, sample: &Sample, seen: &Seen, logits: &[f32], cues: &[PartCue]) {
        if top_k(logits, 1)[0] != sample.class {
            return;
        }
        let is_on_mark = self.cues.add(sample, seen.size, cues);
        let candidate = (is_on_mark, logits[sample.class] - energy(logits), sample.path.clone());
        if (candidate.0, candidate.1) > (self.example.0, self.example.1) {
            self.example = candidate;
        }
    }

    fn evaluation(self, trained: &Trained, fitted: Fitted, comparison: Option<&Comparison>) -> Evaluation {
        let Tally { answered, coverage, cues, example } = self;
        let progress = &trained.progress;
        let labels = &progress.labels;
        let pictures = answered.len();
        let matrix = confusion_matrix(&answered, labels.len());
        let right = right(&matrix);
        let in_top5 = answered.iter().filter(|a| top_k(&a.logits, 5).contains(&a.class)).count();
        let before = reliability(&answered, 1.0);
        Evaluation {
            schema: 1,
            weights: trained.weights.clone(),
            epoch: progress.last.map(|last| last.epoch),
            pictures,
            top1: right as f64 / pictures as f64,
            top1_interval: wilson(right, pictures),
            top5: in_top5 as f64 / pictures as f64,
            cross_entropy: before.cross_entropy,
            coverage: coverage / pictures as f64,
            classes: class_results(&matrix, labels),
            confusions: confusions(&matrix, labels),
            confusion_matrix: matrix,
            calibration: Calibration {
                temperature: fitted.temperature,
                fitted_on: "validation",
                before,
                after: reliability(&answered, fitted.temperature),
            },
            unknown: unknown(&answered, fitted, comparison),
            evidence: evidence(&answered),
            cues: cues.rates(),
            faithfulness: None,
            example: example.2,
        }
    }
}

fn unknown(answered: &[Answered], fitted: Fitted, comparison: Option<&Comparison>) -> Option<Unknown> {
    let rule = fitted.rejection?;
    let scores = scores(answered, rule.score, fitted.temperature);
    Some(Unknown {
        classes_left_out: comparison.map_or(0, |comparison| comparison.classes_left_out),
        runs: comparison.map_or(0, |comparison| comparison.runs),
        scores: comparison.map_or(Vec::new(), |comparison| comparison.scores.clone()),
        chosen: rule.score,
        threshold: rule.threshold,
        kept: rule.kept,
        kept_on_test: share_reaching(&scores, rule.threshold),
    })
}

fn evidence(answered: &[Answered]) -> Evidence {
    // [alike, different], each pictures and right answers of the head.
    let (mut counts, mut right_maps) = ([[0_usize; 2]; 2], 0);
    for Answered { class, logits, evidence } in answered {
        let [head, maps] = [logits, evidence].map(|scores| top_k(scores, 1)[0]);
        let [pictures, right] = &mut counts[usize::from(head != maps)];
        *pictures += 1;
        *right += usize::from(head == *class);
        right_maps += usize::from(maps == *class);
    }
    let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
    let [[alike, right_alike], [different, right_different]] = counts;
    Evidence {
        disagreements: different,
        share: share(different, answered.len()).unwrap_or_default(),
        accuracy_where_different: share(right_different, different),
        accuracy_where_alike: share(right_alike, alike),
        top1_of_maps: share(right_maps, answered.len()).unwrap_or_default(),
    }
}

/// The part cues of `class` in one picture's `maps`, `N x H x W`, as the board finds them.
fn cues(network: &Network, head: &Head, maps: &Array3<f32>, class: usize, seen: &Seen) -> Vec<PartCue> {
    part_cues(maps.view(), &network.layout, head, class, &seen.view, seen.frame.width())
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
        });
        let expected = Evidence {
            disagreements: 2,
            share: 0.4,
            accuracy_where_different: Some(0.5),
            accuracy_where_alike: Some(2.0 / 3.0),
            top1_of_maps: 0.6,
        };
        assert_eq!(evidence(&answered), expected);
        assert_eq!(evidence(&answered[..1]).accuracy_where_different, None);
    }
}
