//! What a model knows, and whether it knows what it does not.

use fieldmark_trainer::measure::answers::Answered;
use fieldmark_trainer::measure::calibration::Fitted;
use fieldmark_trainer::run::records::{
    ClassResult, Comparison, Evaluation, HeadAndMaps, ScoreResult, UnknownResult,
};

use super::result;

/// Classes that are printed; all are in `eval.json`.
const WEAKEST: usize = 3;

/// The classes that are found or meant least often.
pub fn weakest(classes: &[ClassResult]) {
    list("lowest recall", classes, |class| (class.recall, class.right, class.pictures));
    list("lowest precision", classes, |class| (class.precision, class.right, class.answered));
}

/// `figure`: a share, and what it is a share of.
fn list(what: &str, classes: &[ClassResult], figure: impl Fn(&ClassResult) -> (Option<f64>, usize, usize)) {
    let part = |class: &ClassResult| {
        let (share, right, of) = figure(class);
        share.filter(|&share| share < 1.0).map(|share| (share, format!("{} {right} of {of}", class.label)))
    };
    let mut parts: Vec<(f64, String)> = classes.iter().filter_map(part).collect();
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let words: Vec<String> = parts.into_iter().take(WEAKEST).map(|(_, words)| words).collect();
    if !words.is_empty() {
        result(&format!("  {what}: {}", words.join(", ")));
    }
}

/// Calibration, agreement of head and maps, and unknowns.
pub fn knowledge(evaluation: &Evaluation) {
    let calibration = &evaluation.calibration;
    result(&format!(
        "probabilities are off by {:.1} % on average (expected calibration error; perfect ones would seem off by {:.1} % on so \
         many pictures), {:.1} % without the temperature {:.3}",
        100.0 * calibration.after.ece,
        100.0 * calibration.after.chance,
        100.0 * calibration.before.ece,
        calibration.temperature
    ));
    head_and_maps(&evaluation.evidence, evaluation.pictures);
    match &evaluation.unknown {
        Some(unknown) => strangers(unknown),
        None => result("nothing is called unknown: there are no validation pictures to fit a threshold on"),
    }
}

/// How many pictures of classes that the network was not trained for are called unknown.
pub fn rejected(answered: &[Answered], labels: &[String], fitted: &Fitted) {
    const LISTED: usize = 3;
    let names = labels.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if labels.len() > LISTED { ", ..." } else { "" };
    let counted =
        |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let pictures = counted(answered.len(), "picture", "pictures");
    let classes = counted(labels.len(), "other class", "other classes");
    let what = format!("{pictures} of {classes} ({names}{more})");
    if fitted.rule().is_none() {
        return result(&format!(
            "{what}: not called unknown, there is no threshold without validation pictures"
        ));
    }
    result(&format!("{what}: {:.1} % called unknown", 100.0 * (1.0 - fitted.kept(answered))));
}

fn head_and_maps(answers: &HeadAndMaps, pictures: usize) {
    let HeadAndMaps { disagreements, accuracy_where_different, accuracy_where_alike, .. } = answers;
    let right = |share: &Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    result(&format!(
        "head and maps disagree on {disagreements} of {pictures} pictures: accuracy {} there, {} elsewhere",
        right(accuracy_where_different),
        right(accuracy_where_alike)
    ));
}

fn strangers(unknown: &UnknownResult) {
    let UnknownResult { chosen, threshold, kept, kept_on_test, runs, classes_left_out, .. } = unknown;
    result(&format!(
        "unknown below {chosen} {threshold:.3}, which {:.1} % of the validation and {:.1} % of the test pictures reach",
        100.0 * kept.unwrap_or(1.0),
        100.0 * kept_on_test
    ));
    if *runs == 0 {
        result(
            "  (scores not compared; `fieldmark-trainer unknown RUN` trains without some classes and compares them)",
        );
    } else {
        result(&format!("  by {}: {}", trainings(*runs, *classes_left_out), aurocs(&unknown.scores)));
    }
}

/// Which score tells strangers best.
pub fn comparison(comparison: &Comparison) {
    let Comparison { runs, classes_left_out, scores, chosen, .. } = comparison;
    result(&format!("{}, whose pictures are then unknown:", trainings(*runs, *classes_left_out)));
    result("  score        AUROC  called unknown, at a threshold that keeps 95 % of the known");
    for ScoreResult { score, auroc, rejected } in scores {
        result(&format!("  {:<11}  {auroc:.3}  {:>5.1} %", score.name(), 100.0 * rejected));
    }
    result(&format!(
        "`export` uses {chosen}; another score takes the likeness's place only if its AUROC is higher by more than 0.1"
    ));
}

fn trainings(runs: usize, classes: usize) -> String {
    let trainings = if runs == 1 { "training" } else { "trainings" };
    let without = if classes == 1 { "class" } else { "classes" };
    format!("{runs} {trainings} without {classes} {without} each")
}

fn aurocs(scores: &[ScoreResult]) -> String {
    let words = scores.iter().map(|ScoreResult { score, auroc, .. }| format!("AUROC of {score} {auroc:.3}"));
    words.collect::<Vec<_>>().join(", ")
}
