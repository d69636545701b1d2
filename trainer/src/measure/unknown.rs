//! Which score tells strangers from the classes of a model: measured by runs that do without some of the classes.
//!
//! Such a run is trained as the whole one is, on the same split, and never sees a picture of the classes left out.
//! Their pictures are then strangers to it, and look like its own: the hard case. The kept classes' validation
//! pictures are what it should know. The test split takes no part, for the score that does best goes into the model.

use std::path::Path;

use fieldmark::sketches::Sketches;
use fieldmark::unknown::Score;
use rand::seq::SliceRandom;

use crate::data::dataset::{Dataset, Sample};
use crate::measure::answers::{AnswerError, Answered, answers};
use crate::measure::calibration::{self, KEPT, rejection, scores, share_reaching, temperature};
use crate::measure::sketches::{learnt, sketches};
use crate::net::network::Network;
use crate::random::{Stream, stream};
use crate::run::config::Config;
use crate::run::folder::Trained;
use crate::run::records::{Comparison, Part, SCHEMA, ScoreResult};

/// The score of models whose scores were not compared: `trainer/EXPERIMENTS.md` has the figures.
pub const DEFAULT_SCORE: Score = Score::Likeness;

/// By how much the AUROC of another score must be higher for it to be chosen. A comparison sees strangers that look like the
/// model's classes, in photos of one place; of others, and of other places, [`DEFAULT_SCORE`] is by far the surest.
const MARGIN: f64 = 0.1;

/// Classes cannot be left out so.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveOutError {
    /// Two must stay.
    #[error("the data set has {classes} classes; leaving some out needs 3 or more, because two must stay")]
    TooFewClasses {
        /// Classes of the data set.
        classes: usize,
    },
    /// Not a share.
    #[error("the share of classes to leave out is {share}, expected above 0 and below 1")]
    Share {
        /// The share.
        share: f64,
    },
}

/// The classes that run `run` (0-based) does without: `share` of them, at least one, and never all but one. Runs take
/// turns: no class is left out twice before there are too few that were not yet.
///
/// # Errors
/// [`LeaveOutError`].
pub fn left_out(classes: usize, share: f64, seed: u64, run: usize) -> Result<Vec<usize>, LeaveOutError> {
    if classes < 3 {
        return Err(LeaveOutError::TooFewClasses { classes });
    }
    if !(share > 0.0 && share < 1.0) {
        return Err(LeaveOutError::Share { share });
    }
    let count = ((share * classes as f64).round() as usize).clamp(1, classes - 2);
    let turns = classes / count;
    let mut order: Vec<usize> = (0..classes).collect();
    order.shuffle(&mut stream(Stream::LeftOut { seed, turn: (run / turns) as u64 }));
    let mut chosen = order[run % turns * count..][..count].to_vec();
    chosen.sort_unstable();
    Ok(chosen)
}

/// How well the scores of a network, trained without the classes `left_out` of `dataset`, tell those.
///
/// # Errors
/// [`AnswerError`].
pub fn part(
    network: &Network,
    config: &Config,
    dataset: &Dataset,
    left_out: &[usize],
) -> Result<Part, AnswerError> {
    let to = config.input();
    let without = dataset.without(left_out);
    let known: Vec<&Sample> = without.validation.iter().collect();
    let seen = dataset.train.iter().chain(&dataset.validation);
    let strangers: Vec<&Sample> = seen.filter(|sample| left_out.contains(&sample.class)).collect();
    let [known, strangers] = [answers(network, &known, to)?, answers(network, &strangers, to)?];
    let learnt = learnt(network, &without.train, to)?;
    let sketches = sketches(learnt.iter().chain(&known), without.labels.len(), KEPT);
    let temperature = temperature(&known);
    let measured = |&score: &Score| measured(score, temperature, sketches.as_ref(), &known, &strangers);
    let right = |a: &&Answered| fieldmark::top_k(&a.logits, 1)[0] == a.class;
    Ok(Part {
        left_out: left_out.iter().map(|&class| dataset.labels[class].clone()).collect(),
        known: known.len(),
        strangers: strangers.len(),
        accuracy: known.iter().filter(right).count() as f64 / known.len().max(1) as f64,
        scores: Score::ALL.iter().map(measured).collect(),
    })
}

/// How well `score` tells the strangers, its threshold fitted to the known pictures.
fn measured(
    score: Score,
    temperature: f32,
    sketches: Option<&Sketches>,
    known: &[Answered],
    strangers: &[Answered],
) -> ScoreResult {
    let [known, strangers] =
        [known, strangers].map(|answered| scores(answered, score, temperature, sketches));
    let kept = rejection(&known, score).map_or(1.0, |rule| share_reaching(&strangers, rule.threshold));
    ScoreResult { score, auroc: auroc(&known, &strangers), rejected: 1.0 - kept }
}

/// The probability that a known picture scores above a stranger, ties counted half: the area under the ROC curve. 0.5
/// where either has no picture.
pub fn auroc(known: &[f32], strangers: &[f32]) -> f64 {
    if known.is_empty() || strangers.is_empty() {
        return 0.5;
    }
    let mut strangers = strangers.to_vec();
    strangers.sort_by(f32::total_cmp);
    let beaten = |score: &f32| {
        let below = strangers.partition_point(|stranger| stranger < score);
        let not_above = strangers.partition_point(|stranger| stranger <= score);
        (below + not_above) as f64 / 2.0
    };
    known.iter().map(beaten).sum::<f64>() / (known.len() as f64 * strangers.len() as f64)
}

/// The comparison of the scores over all `parts`, and the threshold for the best one in the whole run `trained`.
///
/// # Errors
/// [`AnswerError`].
pub fn comparison(trained: &Trained, parts: Vec<Part>) -> Result<Comparison, AnswerError> {
    let scores: Vec<ScoreResult> = Score::ALL.iter().map(|&score| mean(score, &parts)).collect();
    let chosen = chosen(&scores);
    let rule = calibration::fit(trained, chosen)?.rule();
    Ok(Comparison {
        schema: SCHEMA,
        classes_left_out: parts.iter().map(|part| part.left_out.len()).max().unwrap_or(0),
        runs: parts.len(),
        scores,
        chosen,
        threshold: rule.map(|rule| rule.threshold),
        kept: rule.and_then(|rule| rule.kept),
        weights: trained.weights.clone(),
        parts,
    })
}

/// The score with the highest AUROC, of equals the first; [`DEFAULT_SCORE`] where that is not lower by [`MARGIN`].
fn chosen(scores: &[ScoreResult]) -> Score {
    let best = scores.iter().rev().max_by(|a, b| a.auroc.total_cmp(&b.auroc));
    let default = scores.iter().find(|result| result.score == DEFAULT_SCORE);
    match (best, default) {
        (Some(best), Some(default)) if best.auroc > default.auroc + MARGIN => best.score,
        _ => DEFAULT_SCORE,
    }
}

/// A score's figures, the means over the runs.
fn mean(score: Score, parts: &[Part]) -> ScoreResult {
    let of = |figure: fn(&ScoreResult) -> f64| {
        let measured = parts.iter().flat_map(|part| &part.scores).filter(|measured| measured.score == score);
        measured.map(figure).sum::<f64>() / parts.len().max(1) as f64
    };
    ScoreResult { score, auroc: of(|measured| measured.auroc), rejected: of(|measured| measured.rejected) }
}

/// The folder of run `run` (0-based) below the folder of all of them.
pub fn folder(runs: &Path, run: usize) -> std::path::PathBuf {
    runs.join((run + 1).to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn auroc_counts_the_pairs_in_order() {
        let cases: [(&[f32], &[f32], f64); 7] = [
            (&[3.0, 4.0], &[1.0, 2.0], 1.0),
            (&[1.0, 2.0], &[3.0, 4.0], 0.0),
            (&[1.0, 3.0], &[2.0], 0.5),
            (&[2.0, 2.0], &[2.0], 0.5),
            // 3 beats both, 2 ties with one and beats the other: 3.5 of 4.
            (&[3.0, 2.0], &[2.0, 1.0], 0.875),
            (&[], &[1.0], 0.5),
            (&[0.0], &[-0.0], 0.5),
        ];
        for (known, strangers, expected) in cases {
            assert!((auroc(known, strangers) - expected).abs() < 1e-12, "{known:?} {strangers:?}");
        }
    }

    #[test]
    fn every_class_is_left_out_before_any_is_again() {
        let chosen: Vec<Vec<usize>> = (0..10).map(|run| left_out(10, 0.2, 7, run).unwrap()).collect();
        for round in chosen.chunks(5) {
            let seen: BTreeSet<usize> = round.iter().flatten().copied().collect();
            assert_eq!(seen.len(), 10);
        }
        assert_ne!(chosen[..5], chosen[5..]);
        assert_eq!(left_out(10, 0.2, 7, 3), left_out(10, 0.2, 7, 3));
        assert_ne!(left_out(10, 0.2, 8, 0), left_out(10, 0.2, 7, 0));
    }

    #[test]
    fn at_least_one_class_goes_and_two_stay() {
        for (classes, share, count) in [(3, 0.01, 1), (3, 0.99, 1), (81, 0.2, 16), (8, 0.5, 4), (5, 0.9, 3)] {
            for run in 0..6 {
                assert_eq!(left_out(classes, share, 1, run).unwrap().len(), count, "{classes} {share}");
            }
        }
        assert_eq!(left_out(2, 0.5, 1, 0), Err(LeaveOutError::TooFewClasses { classes: 2 }));
        for share in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(matches!(left_out(9, share, 1, 0), Err(LeaveOutError::Share { .. })));
        }
    }

    #[test]
    fn a_score_that_tells_strangers_has_auroc_one_and_rejects_them() {
        let answered = |logits: [f32; 2], evidence: [f32; 2]| Answered {
            class: 0,
            logits: logits.to_vec(),
            evidence: evidence.to_vec(),
            features: Vec::new(),
        };
        // As sure, and as loud, but only of the known do the maps say what the head says.
        let known: Vec<Answered> = (0..20).map(|_| answered([4.0, 0.0], [9.0, 0.0])).collect();
        let strangers: Vec<Answered> = (0..5).map(|_| answered([4.0, 0.0], [0.0, 9.0])).collect();
        let of = |score| measured(score, 1.0, None, &known, &strangers);
        assert_eq!((of(Score::Energy).auroc, of(Score::Energy).rejected), (0.5, 0.0));
        assert_eq!((of(Score::Agreement).auroc, of(Score::Agreement).rejected), (1.0, 1.0));
    }

    #[test]
    fn another_score_is_chosen_only_where_it_is_much_better() {
        let chosen_of = |likeness: f64, energy: f64| {
            let result = |score, auroc| ScoreResult { score, auroc, rejected: 0.5 };
            let others = [result(Score::Probability, 0.5), result(Score::Energy, energy)];
            chosen(&[&[result(Score::Likeness, likeness)], &others[..]].concat())
        };
        assert_eq!(chosen_of(0.8, 0.89), Score::Likeness);
        assert_eq!(chosen_of(0.8, 0.91), Score::Energy);
        assert_eq!(chosen(&[]), Score::Likeness);
    }
}
