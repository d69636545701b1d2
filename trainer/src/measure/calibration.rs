//! How far probabilities can be believed, and what is fitted on the validation split: the temperature that makes
//! them believable, and the score below which a picture is better called unknown.
//!
//! Both stand in the model file. Neither sees the test split, on which the evaluation measures them.

use fieldmark::head::{softmax, top_k};
use fieldmark::unknown::{Rejection, Score};
use rand::RngExt;

use crate::data::dataset::Sample;
use crate::measure::answers::{AnswerError, Answered, answers};
use crate::random::{Stream, stream};
use crate::run::folder::Trained;
use crate::run::records::{Bin, Reliability};

/// Bins of a reliability diagram, of equal width.
pub const BINS: usize = 15;

/// Share of the validation pictures, all of known classes, that the threshold for unknowns keeps at least.
pub const KEPT: f64 = 0.95;

/// Temperatures that are searched, from all too sure to knowing nothing.
const TEMPERATURES: [f64; 2] = [1e-3, 1e3];

/// What was fitted on the validation split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// What logits are divided by before the softmax.
    pub temperature: f32,
    /// Below which score a picture is better called unknown; `None` without validation pictures.
    pub rejection: Option<Rejection>,
}

/// Fits temperature and threshold of `score` on the validation split of a run.
///
/// # Errors
/// [`AnswerError`].
pub fn fit(trained: &Trained, score: Score) -> Result<Fitted, AnswerError> {
    let config = &trained.progress.config;
    let validation: Vec<&Sample> = trained.dataset.validation.iter().collect();
    Ok(fitted(&answers(&trained.network, &validation, config.input())?, score))
}

/// Temperature and threshold of `score` for what a network says of its validation pictures.
pub fn fitted(validation: &[Answered], score: Score) -> Fitted {
    let temperature = temperature(validation);
    Fitted { temperature, rejection: rejection(&scores(validation, score, temperature), score) }
}

/// The score of every picture, at the model's temperature.
pub fn scores(answered: &[Answered], score: Score, temperature: f32) -> Vec<f32> {
    answered.iter().map(|a| score.of(&a.logits, &a.evidence, temperature)).collect()
}

/// The highest threshold that at least [`KEPT`] of the `known` pictures' scores reach; `None` without any.
fn rejection(known: &[f32], score: Score) -> Option<Rejection> {
    let mut sorted = known.to_vec();
    sorted.sort_by(f32::total_cmp);
    let dropped = ((1.0 - KEPT) * known.len() as f64 + 1e-9).floor() as usize;
    let threshold = just_below(*sorted.get(dropped)?, score);
    Some(Rejection { score, threshold, kept: Some(share_reaching(known, threshold) as f32) })
}

/// To four decimals, and less: the board's arithmetic may round the picture's own score down.
fn just_below(value: f32, score: Score) -> f32 {
    let below = ((f64::from(value) * 1e4 - 0.5).floor() / 1e4) as f32;
    match score {
        Score::Energy => below,
        Score::Probability | Score::Agreement => below.max(0.0),
    }
}

/// Share of the scores that reach `threshold`; 1 without any.
pub fn share_reaching(scores: &[f32], threshold: f32) -> f64 {
    let kept = scores.iter().filter(|&&score| score >= threshold).count();
    if scores.is_empty() { 1.0 } else { kept as f64 / scores.len() as f64 }
}

/// The temperature at which the answers' cross-entropy is least, and 1 without any answer.
///
/// As though one picture in `n + 1` were of all classes in equal parts, each target is mixed with the others so far:
/// without that, answers that are all right would ask for a temperature of zero and call everything certain.
pub fn temperature(answered: &[Answered]) -> f32 {
    if answered.is_empty() {
        return 1.0;
    }
    let [low, high] = TEMPERATURES.map(f64::ln);
    lowest(low, high, |log_t| believed_cross_entropy(answered, log_t.exp())).exp() as f32
}

/// Mean cross-entropy of the answers at a temperature, with the targets mixed.
fn believed_cross_entropy(answered: &[Answered], temperature: f64) -> f64 {
    let even = 1.0 / (answered.len() as f64 + 1.0);
    let of = |Answered { class, logits, .. }: &Answered| {
        let scaled = |logit: f32| f64::from(logit) / temperature;
        let normaliser = log_sum_exp(logits.iter().map(|&logit| scaled(logit)));
        let mean = logits.iter().map(|&logit| scaled(logit)).sum::<f64>() / logits.len() as f64;
        normaliser - (1.0 - even) * scaled(logits[*class]) - even * mean
    };
    answered.iter().map(of).sum::<f64>() / answered.len() as f64
}

/// `ln sum exp(x_i)`.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let highest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    highest + values.map(|value| (value - highest).exp()).sum::<f64>().ln()
}

/// Where `f`, which falls and then rises, is lowest between `low` and `high`: golden section, to 1e-9.
fn lowest(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_left, mut at_right) = (f(left), f(right));
    while high - low > 1e-9 {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - golden * (high - low);
            at_left = f(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + golden * (high - low);
            at_right = f(right);
        }
    }
    f64::midpoint(low, high)
}

/// Draws by which [`Reliability::chance`] is found.
const DRAWS: u64 = 200;

/// Accuracy against confidence of the answers at a temperature. All zero without answers.
pub fn reliability(answered: &[Answered], temperature: f32) -> Reliability {
    let (mut confidences, mut right) = (Vec::new(), Vec::new());
    let mut cross_entropy = 0.0;
    for Answered { class, logits, .. } in answered {
        let first = top_k(logits, 1)[0];
        confidences.push(f64::from(softmax(logits, temperature)[first]));
        right.push(first == *class);
        let scaled = logits.iter().map(|&logit| f64::from(logit) / f64::from(temperature));
        cross_entropy += log_sum_exp(scaled) - f64::from(logits[*class]) / f64::from(temperature);
    }
    let sums = binned(&confidences, &right);
    let by_chance = (0..DRAWS).map(|draw| {
        let mut rng = stream(Stream::Calibration { draw });
        let right: Vec<bool> = confidences.iter().map(|&sure| rng.random::<f64>() < sure).collect();
        calibration_error(&binned(&confidences, &right))
    });
    Reliability {
        ece: calibration_error(&sums),
        chance: by_chance.sum::<f64>() / DRAWS as f64,
        cross_entropy: cross_entropy / answered.len().max(1) as f64,
        bins: sums.iter().zip(0..).map(|(&sums, at)| bin(at, sums)).collect(),
    }
}

/// Of each bin: how many answers, the sum of their confidences, how many are right.
type Sums = [(usize, f64, usize); BINS];

fn binned(confidences: &[f64], right: &[bool]) -> Sums {
    let mut sums = Sums::default();
    for (confidence, is_right) in confidences.iter().zip(right) {
        let at = ((confidence * BINS as f64) as usize).min(BINS - 1);
        let (pictures, confidences, right) = &mut sums[at];
        *pictures += 1;
        *confidences += confidence;
        *right += usize::from(*is_right);
    }
    sums
}

fn calibration_error(sums: &Sums) -> f64 {
    let all: usize = sums.iter().map(|(pictures, ..)| pictures).sum();
    let gap = |&(_, confidences, right): &(usize, f64, usize)| (confidences - right as f64).abs();
    sums.iter().map(gap).sum::<f64>() / all.max(1) as f64
}

fn bin(at: usize, (pictures, confidences, right): (usize, f64, usize)) -> Bin {
    let bound = |at: usize| at as f64 / BINS as f64;
    let mean = |sum: f64| (pictures > 0).then(|| sum / pictures as f64);
    Bin {
        low: bound(at),
        high: bound(at + 1),
        pictures,
        confidence: mean(confidences),
        accuracy: mean(right as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(class: usize, logits: &[f32]) -> Answered {
        Answered { class, logits: logits.to_vec(), evidence: Vec::new() }
    }

    /// Two classes, the first answered with this probability.
    fn sure(probability: f64, is_right: bool) -> Answered {
        let logit = (probability / (1.0 - probability)).ln() as f32;
        answered(usize::from(!is_right), &[logit, 0.0])
    }

    #[test]
    fn the_temperature_undoes_a_known_scaling() {
        // Classes drawn by the softmax of the logits, which are then said to be 2.5 times as large.
        let mut rng = stream(Stream::Trial { number: 1 });
        let mut draw = || {
            let logits: Vec<f32> = (0..5).map(|_| rng.random_range(-3.0..3.0)).collect();
            let mut left = rng.random::<f32>();
            let class = softmax(&logits, 1.0).iter().position(|p| {
                left -= p;
                left < 0.0
            });
            answered(class.unwrap_or(4), &logits.iter().map(|logit| 2.5 * logit).collect::<Vec<_>>())
        };
        let all: Vec<Answered> = (0..20_000).map(|_| draw()).collect();
        let fitted = temperature(&all);
        assert!((fitted - 2.5).abs() < 0.06, "{fitted}");
        let (before, after) = (reliability(&all, 1.0), reliability(&all, fitted));
        assert!(before.ece > 0.1 && after.ece < 0.015, "{} {}", before.ece, after.ece);
        assert!(after.ece < 2.0 * after.chance && after.chance < 0.01, "{} {}", after.ece, after.chance);
        assert!(after.cross_entropy < before.cross_entropy);
    }

    #[test]
    fn the_temperature_of_two_logits_is_in_closed_form() {
        // 3 of 4 right at a logit of 2, and one picture of both classes in equal parts: the probability is
        // (3 + 1/2) / 5 in the sum of the targets, so 2 / T = ln(7 / 3).
        let all = [
            answered(0, &[2.0, 0.0]),
            answered(1, &[0.0, 2.0]),
            answered(0, &[2.0, 0.0]),
            answered(1, &[2.0, 0.0]),
        ];
        let even = 1.0_f64 / 5.0;
        let target = (1.0 - even) * 0.75 + even / 2.0;
        let expected = 2.0 / (target / (1.0 - target)).ln();
        assert!((f64::from(temperature(&all)) - expected).abs() < 1e-5);
    }

    #[test]
    fn answers_that_are_all_right_are_not_called_certain() {
        let all: Vec<Answered> =
            (0..98).map(|class| answered(class % 2, &[[8.0, 0.0], [0.0, 8.0]][class % 2])).collect();
        let probability = softmax(&[8.0, 0.0], temperature(&all))[0];
        // Of 99 pictures, half a one is counted wrong.
        assert!((f64::from(probability) - (1.0 - 0.5 / 99.0)).abs() < 1e-4, "{probability}");
        assert_eq!(temperature(&[]).to_bits(), 1.0_f32.to_bits());
    }

    #[test]
    fn the_calibration_error_is_as_by_hand() {
        // 0.9 is in bin 13, 0.7 in bin 10; of the first 1 of 2 is right, of the second both.
        let all = [sure(0.9, true), sure(0.9, false), sure(0.7, true), sure(0.7, true)];
        let Reliability { ece, chance, cross_entropy, bins } = reliability(&all, 1.0);
        assert!((ece - (0.5 * 0.4 + 0.5 * 0.3)).abs() < 1e-6, "{ece}");
        // Of two answers, both, one or none right, with probability p^2, 2 p (1 - p), (1 - p)^2.
        let of_two =
            |p: f64| p * p * (1.0 - p) + 2.0 * p * (1.0 - p) * (p - 0.5).abs() + (1.0 - p).powi(2) * p;
        assert!((chance - 0.5 * (of_two(0.9) + of_two(0.7))).abs() < 0.03, "{chance}");
        let expected = -(0.9_f64.ln() + 0.1_f64.ln() + 2.0 * 0.7_f64.ln()) / 4.0;
        assert!((cross_entropy - expected).abs() < 1e-6);
        assert_eq!(bins.len(), BINS);
        assert_eq!(
            bins.iter().map(|bin| bin.pictures).collect::<Vec<_>>(),
            [[0; 10].as_slice(), &[2, 0, 0, 2, 0]].concat()
        );
        assert_eq!((bins[13].accuracy, bins[10].accuracy, bins[0].accuracy), (Some(0.5), Some(1.0), None));
        assert!((bins[13].confidence.unwrap() - 0.9).abs() < 1e-6);
    }

    #[test]
    fn answers_that_are_no_numbers_make_no_panic() {
        assert!(reliability(&[answered(0, &[f32::NAN, 0.0])], 1.0).cross_entropy.is_nan());
    }

    #[test]
    fn certainty_is_in_the_last_bin() {
        let certain = reliability(&[answered(0, &[1e4, 0.0])], 1.0);
        assert_eq!(certain.bins[BINS - 1].pictures, 1);
        assert!(certain.ece.abs() < 1e-9);
    }

    #[test]
    fn the_threshold_keeps_what_it_says() {
        let kept = |count: u16| {
            let scores: Vec<f32> = (0..count).rev().map(f32::from).collect();
            rejection(&scores, Score::Energy).map(|rule| (rule.threshold, rule.kept.unwrap()))
        };
        assert_eq!(kept(0), None);
        assert_eq!(kept(19), Some((-0.0001, 1.0)));
        assert_eq!(kept(20), Some((0.9999, 0.95)));
        assert_eq!(kept(100), Some((4.9999, 0.95)));
        let tied = rejection(&[1.0; 40], Score::Energy).unwrap();
        assert_eq!((tied.threshold, tied.kept), (0.9999, Some(1.0)));
        assert_eq!(rejection(&[0.0; 40], Score::Agreement).unwrap().threshold.to_bits(), 0);
    }
}
