//! What the model knows of what it knows: calibration, unknown things, agreement of head and maps.

use maud::{Markup, html};
use serde_json::Value;

use super::Findings;
use super::chart::{Axis, at};
use super::record::{Calibration, NoRecord, Record, Reliability, Score, Unknown};
use super::words::{command, count, listed, percent, value};

/// What a section says that `eval.json` has nothing for.
pub fn lacking(findings: &Findings, what: &str, options: &str) -> Markup {
    let last = if findings.is_last { " --last" } else { "" };
    let command = command("eval", findings.run) + last + options;
    html! {
        p.lack {
            @match &findings.record {
                Err(NoRecord::OtherWeights) => { "eval.json is of other weights than this report. " }
                Err(NoRecord::Missing) | Ok(_) => { (what) " not measured yet. " }
            }
            code { (command) } " measures it."
        }
    }
}

/// The section on probabilities.
pub fn calibration(findings: &Findings) -> Markup {
    let calibration = findings.record.as_ref().ok().and_then(|record| record.calibration.as_ref());
    html! {
        section #calibration {
            h2 { "Can its probabilities be believed?" }
            @match calibration {
                Some(calibration) => { (believed(calibration)) }
                None => { (lacking(findings, "Calibration is", "")) }
            }
        }
    }
}

fn believed(calibration: &Calibration) -> Markup {
    let panels = [("as trained", &calibration.before), ("as exported", &calibration.after)];
    html! {
        p {
            "Of the answers given with 80\u{a0}% confidence, 80\u{a0}% should be right. "
            @if let Some(after) = &calibration.after {
                "As exported, confidence is off by " (percent(after.ece)) " on average"
                @if let Some(before) = &calibration.before { " (as trained, by " (percent(before.ece)) ")" }
                @if let Some(chance) = after.chance {
                    "; probabilities that are exactly right would seem off by " (percent(chance)) " on so many pictures"
                }
                ". "
            }
            @if let Some(temperature) = calibration.temperature {
                "Logits are divided by the temperature " (value(temperature))
                @if let Some(split) = &calibration.fitted_on { ", fitted on the " (split) " split" }
                @if temperature > 1.02 { ": as trained, the model was too sure of itself." }
                @else if temperature < 0.98 { ": as trained, the model was too modest." }
                @else { "." }
            }
        }
        p.hint { "A bar should end at its line. The paler it is, the fewer pictures it is made of." }
        div.charts { @for (name, reliability) in panels {
            @if let Some(reliability) = reliability { (reliability_chart(name, reliability)) }
        } }
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
    let unknown = findings.record.as_ref().ok().and_then(|record| record.unknown.as_ref());
    html! {
        section #unknown {
            h2 { "Does it notice what it does not know?" }
            @match unknown {
                Some(unknown) => { (noticed(findings, unknown)) }
                None => { (lacking(findings, "Rejection of unknown pictures is", "")) }
            }
        }
    }
}

fn noticed(findings: &Findings, unknown: &Unknown) -> Markup {
    html! {
        p {
            @match (&unknown.chosen, unknown.threshold) {
                (Some(chosen), Some(threshold)) => {
                    "A picture whose " (score_name(chosen)) " is below " (value(threshold)) " is answered \u{201c}unknown\u{201d}. "
                }
                _ => { "No threshold is set. " }
            }
            @if let Some(kept) = unknown.kept {
                "Of the validation pictures, all of known classes, " (percent(kept)) " still get an answer"
                @if let Some(kept) = unknown.kept_on_test { ", of the test pictures " (percent(kept)) }
                "."
            }
        }
        @if unknown.scores.is_empty() {
            p.lack { "How well strangers are told apart was not measured: that takes runs that left classes out. "
                code { (command("unknown", findings.run)) } " makes them." }
        } @else {
            (scores(unknown))
        }
    }
}

fn scores(unknown: &Unknown) -> Markup {
    let left_out = listed_or_counted(&unknown.classes_left_out);
    let has_rejected = unknown.scores.iter().any(|score| score.rejected.is_some());
    html! {
        p.hint {
            "Measured with classes left out of training"
            @if let Some(left_out) = left_out { " (" (left_out) ")" }
            @if let Some(runs) = unknown.runs.as_u64() { ", in " (count(runs as usize, "run", "runs")) }
            ". AUROC is the chance that a known picture scores above a stranger: 0.5 is guessing, 1 perfect."
        }
        table.narrow {
            thead { tr { th scope="col" { "score" } th.number scope="col" { "AUROC" }
                @if has_rejected { th.number scope="col" { "strangers noticed" } } } }
            tbody { @for score in &unknown.scores { (score_row(unknown, score, has_rejected)) } }
        }
    }
}

fn score_row(unknown: &Unknown, score: &Score, has_rejected: bool) -> Markup {
    html! {
        tr {
            th scope="row" {
                (score_name(&score.name))
                @if unknown.chosen.as_ref() == Some(&score.name) { " " span.chosen { "in use" } }
            }
            td.number { @if let Some(auroc) = score.auroc { (format!("{auroc:.3}")) } @else { "\u{2013}" } }
            @if has_rejected {
                td.number { @if let Some(rejected) = score.rejected { (percent(rejected)) } @else { "\u{2013}" } }
            }
        }
    }
}

fn score_name(score: &str) -> &str {
    match score {
        "energy" => "energy of the logits",
        "probability" => "highest probability",
        "agreement" => "agreement of head and maps",
        other => other,
    }
}

/// Names, or how many.
fn listed_or_counted(value: &Value) -> Option<String> {
    if let Some(names) = value.as_array() {
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        return (!names.is_empty()).then(|| listed(&names, 8));
    }
    let number = value.as_u64().filter(|&number| number > 0)?;
    Some(format!("{} a run", count(number as usize, "class", "classes")))
}

/// Where the answer of the head and that of the maps differ, in a sentence.
pub fn agreement(record: &Record) -> Option<Markup> {
    let evidence = record.evidence.as_ref()?;
    let disagreements = evidence.get("disagreements")?.as_u64()?;
    let number = |name: &str| evidence.get(name).and_then(Value::as_f64);
    Some(html! {
        p {
            "On " (count(disagreements as usize, "test picture", "test pictures"))
            @if let Some(share) = number("share") { " (" (percent(share)) ")" }
            " the maps alone would have answered otherwise than the head."
            @if let (Some(apart), Some(alike)) = (number("accuracy_where_different"), number("accuracy_where_alike")) {
                " There the head is right on " (percent(apart)) ", elsewhere on " (percent(alike)) "."
            }
        }
    })
}
