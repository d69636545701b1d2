//! What the model knows of what it knows: calibration, unknown things, agreement of head and maps.

use fieldmark::unknown::Score;
use maud::{Markup, html};

use super::Findings;
use super::chart::{Axis, at};
use super::words::{count, percent, value};
use crate::run::records::{
    Calibration, FittedOn, HeadAndMaps, NoEvaluation, Reliability, ScoreResult, UnknownResult,
};

/// What a section says that `eval.json` has nothing for, which `command` brings.
pub fn lacking(findings: &Findings, what: &str, command: &str) -> Markup {
    html! {
        p.lack {
            @match &findings.evaluation {
                Err(NoEvaluation::OtherWeights) => { "eval.json is of other weights than this report. " }
                Err(NoEvaluation::OtherVersion { reason }) => {
                    "eval.json is not of this version of the program (" (reason) "). "
                }
                Err(NoEvaluation::Missing) | Ok(_) => { (what) " not measured yet. " }
            }
            code { (command) } " measures it."
        }
    }
}

/// The section on probabilities.
pub fn calibration(findings: &Findings) -> Markup {
    html! {
        section #calibration {
            h2 { "Can its probabilities be believed?" }
            @match &findings.evaluation {
                Ok(evaluation) => { (believed(&evaluation.calibration)) }
                Err(_) => { (lacking(findings, "Calibration is", &findings.asked.commands.eval)) }
            }
        }
    }
}

fn believed(calibration: &Calibration) -> Markup {
    let Calibration { temperature, fitted_on, before, after } = calibration;
    html! {
        p {
            "Of the answers given with 80\u{a0}% confidence, 80\u{a0}% should be right. As exported, confidence is off by "
            (percent(after.ece)) " on average (as trained, by " (percent(before.ece))
            "); probabilities that are exactly right would seem off by " (percent(after.chance)) " on so many pictures. "
            "Logits are divided by the temperature " (value(f64::from(*temperature)))
            ", fitted on the " (split_name(*fitted_on)) " split"
            @if *temperature > 1.02 { ": as trained, the model was too sure of itself." }
            @else if *temperature < 0.98 { ": as trained, the model was too modest." }
            @else { "." }
            " The mean cross-entropy is " (value(after.cross_entropy)) " (as trained, " (value(before.cross_entropy)) ")."
        }
        p.hint { "A bar should end at its line. The paler it is, the fewer pictures it is made of." }
        div.charts { (reliability_chart("as trained", before)) (reliability_chart("as exported", after)) }
    }
}

fn split_name(split: FittedOn) -> &'static str {
    match split {
        FittedOn::Validation => "validation",
    }
}

fn reliability_chart(name: &str, reliability: &Reliability) -> Markup {
    let across = Axis { values: [0.0, 1.0], places: [42.0, 322.0] };
    let down = Axis { values: [0.0, 1.0], places: [212.0, 8.0] };
    let most = reliability.bins.iter().map(|bin| bin.pictures).max().unwrap_or(1).max(1);
    let error = percent(reliability.ece);
    html! {
        figure.chart {
            figcaption { strong { "Reliability " (name) } span.keys { "error " (error) } }
            svg viewBox="0 0 340 250" role="img"
                aria-label={ "Share of right answers by confidence, " (name) "; expected calibration error " (error) } {
                @for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
                    line.grid x1="42" x2="322" y1=(at(down.place(tick))) y2=(at(down.place(tick))) {}
                    text.tick x="36" y=(at(down.place(tick) + 3.5)) text-anchor="end" { (100.0 * tick) }
                    text.tick x=(at(across.place(tick))) y="227" text-anchor="middle" { (100.0 * tick) }
                }
                @for bin in &reliability.bins {
                    @if let (Some(accuracy), true) = (bin.accuracy, bin.pictures > 0) {
                        @let (left, right) = (across.place(bin.low), across.place(bin.high));
                        // The fewer pictures, the less a bar says.
                        @let weight = 0.35 + 0.65 * (bin.pictures as f64 / most as f64).sqrt();
                        rect.reliable x=(at(left + 0.7)) width=(at((right - left - 1.4).max(1.0)))
                            y=(at(down.place(accuracy))) height=(at((212.0 - down.place(accuracy)).max(1.0)))
                            fill-opacity=(at(weight)) {
                            title {
                                "confidence " (percent(bin.low)) " to " (percent(bin.high)) ": "
                                (count(bin.pictures, "picture", "pictures")) ", " (percent(accuracy)) " right"
                            }
                        }
                        @if let Some(confidence) = bin.confidence {
                            line.due x1=(at(left)) x2=(at(right)) y1=(at(down.place(confidence)))
                                y2=(at(down.place(confidence))) {}
                        }
                    }
                }
                line.diagonal x1="42" y1="212" x2="322" y2="8" {}
                text.axis x="182" y="244" text-anchor="middle" { "confidence, per cent" }
                text.axis x="10" y="110" text-anchor="middle" transform="rotate(-90 10 110)" { "right, per cent" }
            }
        }
    }
}

/// The section on pictures of no class.
pub fn unknown(findings: &Findings) -> Markup {
    html! {
        section #unknown {
            h2 { "Does it notice what it does not know?" }
            @match findings.evaluation.as_ref().map(|evaluation| &evaluation.unknown) {
                Ok(Some(unknown)) => { (noticed(findings, unknown)) }
                Ok(None) => {
                    p.lack { "Nothing is called unknown: there are no validation pictures to fit a threshold on." }
                }
                Err(_) => { (lacking(findings, "Rejection of unknown pictures is", &findings.asked.commands.eval)) }
            }
        }
    }
}

fn noticed(findings: &Findings, unknown: &UnknownResult) -> Markup {
    let UnknownResult { chosen, threshold, kept, kept_on_test, scores, .. } = unknown;
    html! {
        p {
            "A picture whose " (score_name(*chosen)) " is below " (value(f64::from(*threshold)))
            " is answered \u{201c}unknown\u{201d}. "
            @if let Some(kept) = kept {
                "Of the validation pictures, all of known classes, " (percent(f64::from(*kept)))
                " still get an answer, of the test pictures " (percent(*kept_on_test)) "."
            }
        }
        @if scores.is_empty() {
            p.lack {
                "How well unknown pictures are told from known ones was not measured: "
                "that takes runs that left classes out. "
                code { (findings.asked.commands.unknown) } " makes them."
            }
        } @else {
            (compared(unknown))
        }
    }
}

fn compared(unknown: &UnknownResult) -> Markup {
    html! {
        p.hint {
            "Measured with classes left out of training (" (count(unknown.classes_left_out, "class", "classes"))
            " a run), in " (count(unknown.runs, "run", "runs"))
            ". AUROC is the chance that a known picture scores above an unknown one: 0.5 is guessing, 1 perfect."
        }
        table.narrow {
            thead { tr { th scope="col" { "score" } th.number scope="col" { "AUROC" }
                th.number scope="col" { "unknown pictures noticed" } } }
            tbody { @for ScoreResult { score, auroc, rejected } in &unknown.scores { tr {
                th scope="row" {
                    (score_name(*score))
                    @if unknown.chosen == *score { " " span.chosen { "in use" } }
                }
                td.number { (format!("{auroc:.3}")) } td.number { (percent(*rejected)) }
            } } }
        }
    }
}

fn score_name(score: Score) -> &'static str {
    match score {
        Score::Likeness => "likeness to the class that is answered",
        Score::Energy => "energy of the logits",
        Score::Probability => "highest probability",
        Score::Agreement => "agreement of head and maps",
    }
}

/// Where the answer of the head and that of the maps differ, in a sentence.
pub fn agreement(answers: &HeadAndMaps) -> Markup {
    html! {
        p {
            "On " (count(answers.disagreements, "test picture", "test pictures")) " (" (percent(answers.share))
            ") the maps alone would have answered otherwise than the head."
            @if let (Some(apart), Some(alike)) = (answers.accuracy_where_different, answers.accuracy_where_alike) {
                " There the head is right on " (percent(apart)) ", elsewhere on " (percent(alike)) "."
            }
            " The maps alone are right on " (percent(answers.top1_of_maps)) "."
        }
    }
}
