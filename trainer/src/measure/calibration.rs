//! How far probabilities can be believed, and what is fitted on the validation split: the temperature that makes
//! them believable, and the score below which a picture is better called unknown.
//!
//! Both stand in the model file. Neither sees the test split, on which the evaluation measures them.

use fieldmark::head::{softmax, top_k};
use fieldmark::sketches::Sketches;
use fieldmark::unknown::{Rejection, Score};
use rand::RngExt;

use crate::data::dataset::Sample;
use crate::measure::answers::{AnswerError, Answered, answers};
use crate::measure::sketches::{learnt, sketches};
use crate::random::{Stream, stream};
use crate::run::folder::Trained;
use crate::run::records::{Bin, Reliability};

/// Bins of a reliability diagram, of equal width.
pub const BINS: usize = 15;

/// Share of the validation pictures, all of known classes, that the threshold for unknowns keeps at least.
pub const KEPT: f64 = 0.95;

/// Temperatures that are searched, from all too sure to knowing nothing.
const TEMPERATURES: [f64; 2] = [1e-3, 1e6];

/// Scale of the Cauchy distribution that `ln T` is taken from before any answer is seen: half of all networks have a
/// temperature between 0.74 and 1.35, and a twentieth one below 0.02 or above 45.
const PRIOR: f64 = 0.3;

/// How far apart the temperatures are, in `ln T`, of which the best is then searched around. The prior's shape is as wide.
const STEP: f64 = 0.25;

/// What was fitted on the validation split.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// What logits are divided by before the softmax.
    pub temperature: f32,
    /// Below which score of logits and maps a picture is better called unknown; `None` without validation pictures.
    pub rejection: Option<Rejection>,
    /// What holds in its place where the score is the likeness; of training pictures, too.
    pub sketches: Option<Sketches>,
}

impl Fitted {
    /// The rule that holds.
    pub fn rule(&self) -> Option<Rejection> {
        self.sketches.as_ref().map(Rejection::by).or(self.rejection)
    }

    /// Whether a picture is called unknown; `None` without a rule.
    pub fn is_unknown(&self, answered: &Answered) -> Option<bool> {
        let Rejection { score, threshold, .. } = self.rule()?;
        let value = score.of(answered.said(), self.temperature, self.sketches.as_ref());
        Some(value.is_nan() || value < threshold)
    }

    /// The share of pictures that are not called unknown; 1 without any.
    pub fn kept(&self, answered: &[Answered]) -> f64 {
        let unknown = answered.iter().filter(|one| self.is_unknown(one) == Some(true)).count();
        1.0 - unknown as f64 / answered.len().max(1) as f64
    }
}

/// Fits temperature and threshold of `score` on the validation split of a run, and sketches on training pictures, too, if
/// the score is the likeness.
///
/// # Errors
/// [`AnswerError`].
pub fn fit(trained: &Trained, score: Score) -> Result<Fitted, AnswerError> {
    let config = &trained.progress.config;
    let validation: Vec<&Sample> = trained.dataset.validation.iter().collect();
    let validation = answers(&trained.network, &validation, config.input())?;
    if score != Score::Likeness {
        return Ok(fitted(&validation, score));
    }
    let learnt = learnt(&trained.network, &trained.dataset.train, config.input())?;
    let sketches = sketches(learnt.iter().chain(&validation), trained.network.layout.classes(), KEPT);
    let mut fitted = Fitted { sketches, ..fitted(&validation, Score::Probability) };
    let kept = (!validation.is_empty()).then(|| fitted.kept(&validation) as f32);
    if let Some(sketches) = &mut fitted.sketches {
        sketches.kept = kept;
    }
    Ok(fitted)
}

/// Temperature and threshold of `score`, other than the likeness, for what a network says of its validation pictures.
pub fn fitted(validation: &[Answered], score: Score) -> Fitted {
    let temperature = temperature(validation);
    let scores = scores(validation, score, temperature, None);
    Fitted { temperature, rejection: rejection(&scores, score), sketches: None }
}

/// The score of every picture, at the model's temperature; the likeness needs the `sketches`.
pub fn scores(
    answered: &[Answered],
    score: Score,
    temperature: f32,
    sketches: Option<&Sketches>,
) -> Vec<f32> {
    answered.iter().map(|one| score.of(one.said(), temperature, sketches)).collect()
}

/// The highest threshold that at least [`KEPT`] of the `known` pictures' scores reach; `None` without any.
pub(crate) fn rejection(known: &[f32], score: Score) -> Option<Rejection> {
    let mut sorted = known.to_vec();
    sorted.sort_by(f32::total_cmp);
    let dropped = ((1.0 - KEPT) * known.len() as f64 + 1e-9).floor() as usize;
    let threshold = just_below(*sorted.get(dropped)?, score);
    Some(Rejection { score, threshold, kept: Some(share_reaching(known, threshold) as f32) })
}

/// To four digits after the point, of probabilities and agreements to four digits that are not zero, and less: the board's
/// arithmetic may round the picture's own score down.
fn just_below(value: f32, score: Score) -> f32 {
    let value = f64::from(value);
    let below = |digit: f64| (value / digit - 0.5).floor() * digit;
    match score {
        Score::Energy => below(1e-4) as f32,
        Score::Likeness => below(1e-6) as f32,
        // Of a thousand classes, a network that knows nothing gives each a thousandth.
        Score::Probability | Score::Agreement if value > 0.0 => {
            below(10.0_f64.powf(value.min(0.9).log10().floor() - 3.0)).max(0.0) as f32
        }
        Score::Probability | Score::Agreement => 0.0,
    }
}

/// Share of the scores that reach `threshold`; 1 without any.
pub fn share_reaching(scores: &[f32], threshold: f32) -> f64 {
    let kept = scores.iter().filter(|&&score| score >= threshold).count();
    if scores.is_empty() { 1.0 } else { kept as f64 / scores.len() as f64 }
}

/// The likeliest temperature after these answers, and 1 without any: where the sum of their cross-entropies, less the
/// logarithm of the prior's density of `ln T`, is least.
///
/// The prior is what keeps few answers from saying much. Where all are right, the cross-entropy alone is least at a
/// temperature of zero, which calls everything certain; here it stays close to 1. Its tails are heavy, so that answers that are
/// far too sure are still believed to be.
pub fn temperature(answered: &[Answered]) -> f32 {
    if answered.is_empty() {
        return 1.0;
    }
    let [low, high] = TEMPERATURES.map(f64::ln);
    let cost = |log_t: f64| cross_entropies(answered, log_t.exp()) + (log_t / PRIOR).powi(2).ln_1p();
    // Two valleys may be there: the prior's, and the answers'.
    let steps = ((high - low) / STEP).ceil() as u32;
    let costs = (0..=steps).map(|step| low + STEP * f64::from(step)).map(|log_t| (cost(log_t), log_t));
    let (_, near) = costs.min_by(|(a, _), (b, _)| a.total_cmp(b)).unwrap_or((0.0, 0.0));
    lowest(near - STEP, near + STEP, cost).exp() as f32
}

/// The sum of the answers' cross-entropies at a temperature.
fn cross_entropies(answered: &[Answered], temperature: f64) -> f64 {
    let of = |Answered { class, logits, .. }: &Answered| {
        let scaled = |logit: f32| f64::from(logit) / temperature;
        log_sum_exp(logits.iter().map(|&logit| scaled(logit))) - scaled(logits[*class])
    };
    answered.iter().map(of).sum()
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
        Answered { class, logits: logits.to_vec(), evidence: Vec::new(), features: Vec::new() }
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
    fn the_temperature_is_where_answers_and_prior_pull_alike() {
        // 3 of 4 right at a logit of 2. The cross-entropies alone are least at 2 / ln 3 = 1.82.
        let all = [
            answered(0, &[2.0, 0.0]),
            answered(1, &[0.0, 2.0]),
            answered(0, &[2.0, 0.0]),
            answered(1, &[2.0, 0.0]),
        ];
        let fitted = f64::from(temperature(&all));
        let log = fitted.ln();
        let of_answers = 2.0 / fitted * (4.0 / (1.0 + (2.0 / fitted).exp()) - 1.0);
        let of_prior = 2.0 * log / (0.3 * 0.3 + log * log);
        assert!((of_answers + of_prior).abs() < 1e-5, "{fitted}: {of_answers} {of_prior}");
        assert!((fitted - 1.043_764).abs() < 1e-5, "{fitted}");
        // With a thousand times as many, the answers say it almost alone: 2 / ln 3.
        let many: Vec<Answered> = (0..1000).flat_map(|_| all.clone()).collect();
        assert!((temperature(&many) - 1.82).abs() < 0.01, "{}", temperature(&many));
    }

    #[test]
    fn answers_that_are_all_right_are_not_called_certain_nor_doubted() {
        for count in [1, 10, 98, 1000] {
            let all: Vec<Answered> =
                (0..count).map(|class| answered(class % 2, &[[8.0, 0.0], [0.0, 8.0]][class % 2])).collect();
            let fitted = temperature(&all);
            assert!((0.85..=1.0).contains(&fitted), "{count}: {fitted}");
        }
        assert_eq!(temperature(&[]).to_bits(), 1.0_f32.to_bits());
    }

    /// Answers of a network to pictures of `classes`: `right` is added to the logit of the class that the picture was made of,
    /// the shown class is drawn by the softmax, and all are then said to be `times` as large.
    fn drawn(number: u64, count: usize, classes: usize, right: f32, times: f32) -> Vec<Answered> {
        let mut rng = stream(Stream::Trial { number });
        let mut one = || {
            let mut logits: Vec<f32> = (0..classes).map(|_| rng.random_range(-2.0..2.0)).collect();
            logits[rng.random_range(0..classes)] += right;
            let mut left = rng.random::<f32>();
            let class = softmax(&logits, 1.0).iter().position(|p| {
                left -= p;
                left < 0.0
            });
            let said: Vec<f32> = logits.iter().map(|logit| times * logit).collect();
            answered(class.unwrap_or(classes - 1), &said)
        };
        (0..count).map(|_| one()).collect()
    }

    /// Of logits that say nothing.
    fn at_chance(number: u64, count: usize, classes: usize, spread: f32) -> Vec<Answered> {
        let mut rng = stream(Stream::Trial { number: number + 1 });
        let answers = drawn(number, count, classes, 0.0, spread / 2.0);
        answers.into_iter().map(|answer| Answered { class: rng.random_range(0..classes), ..answer }).collect()
    }

    #[test]
    fn the_temperature_helps_on_other_pictures_and_never_harms_much() {
        // At least this much better than 1, at most this much worse than the best.
        for (what, all, gain, loss) in [
            ("as sure as right", drawn(21, 4000, 5, 3.0, 1.0), -0.02, 0.02),
            ("too sure", drawn(22, 4000, 50, 8.0, 2.5), 0.15, 0.12),
            ("not sure enough", drawn(23, 4000, 16, 9.0, 0.5), 0.05, 0.02),
            ("far apart", drawn(24, 4000, 16, 20.0, 1.0), -0.001, 0.001),
            ("chance, far apart", at_chance(25, 4000, 8, 40.0), 10.0, 0.06),
            ("chance, close", at_chance(27, 4000, 8, 2.0), 0.02, 0.06),
        ] {
            let mean =
                |answers: &[Answered], t: f32| cross_entropies(answers, f64::from(t)) / answers.len() as f64;
            let (few, others) = all.split_at(800);
            let fitted = few.chunks(40).map(|few| mean(others, temperature(few))).sum::<f64>() / 20.0;
            let least = mean(others, temperature(others));
            let at_one = mean(others, 1.0);
            assert!(fitted <= at_one - gain, "{what}: {fitted}, at 1 {at_one}, least {least}");
            assert!(fitted <= least + loss, "{what}: {fitted}, at 1 {at_one}, least {least}");
        }
    }

    #[test]
    fn a_network_at_chance_has_a_threshold_that_rejects_something() {
        for (classes, spread) in [(8, 40.0), (1000, 2.0)] {
            let all = at_chance(31, 300, classes, spread);
            let Fitted { temperature, rejection, .. } = fitted(&all, Score::Probability);
            let rule = rejection.unwrap();
            // What all classes are alike for.
            assert!(rule.threshold > 1.0 / classes as f32, "{classes}: T {temperature}, {rule:?}");
            let kept = share_reaching(&scores(&all, Score::Probability, temperature, None), rule.threshold);
            assert!((0.95..1.0).contains(&kept), "{classes}: {kept}");
        }
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
        for (value, below) in [(0.95, 0.9499), (1.0, 0.9999), (0.012_348, 0.012_34), (0.001, 0.000_999)] {
            let rule = rejection(&[value; 40], Score::Probability).unwrap();
            assert!((rule.threshold - below).abs() < 1e-7, "{value}: {}", rule.threshold);
        }
    }
}
