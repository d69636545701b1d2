//! Whether cues lie on marks, and whether the answer depends on them.

use maud::{Markup, html};
use serde_json::Value;

use super::Findings;
use super::knowledge::{agreement, lacking};
use super::record::{Cues, Rates};
use super::words::{percent, thousands, value};

/// The section.
pub fn section(findings: &Findings) -> Markup {
    let record = findings.record.as_ref().ok();
    let faithful = record.and_then(|record| record.faithfulness.as_ref());
    let pointing =
        faithful.and_then(|json| serde_json::from_value::<Cues>(json.get("pointing")?.clone()).ok());
    let cues = pointing.as_ref().or_else(|| record.and_then(|record| record.cues.as_ref()));
    html! {
        section #evidence {
            h2 { "Are the cues its reasons?" }
            @if let Some(agreement) = record.and_then(agreement) { (agreement) }
            @if let Some(cues) = cues { (pointing_table(cues)) }
            @match faithful {
                Some(faithful) => { (coverings(faithful)) (steadiness(faithful)) }
                None => { (lacking(findings, "Whether the answer depends on what the cues show is", " --faithfulness")) }
            }
        }
    }
}

fn pointing_table(cues: &Cues) -> Markup {
    let rows = [
        ("on the one mark that tells look-alikes", &cues.one_mark),
        ("on a mark that tells look-alikes", &cues.marks),
        ("on an annotated part", &cues.parts),
        ("inside the object's box", &cues.object),
    ];
    let rows: Vec<(&str, Rates)> =
        rows.into_iter().filter_map(|(name, rates)| Some((name, (*rates)?))).collect();
    let has_grad_cam = rows.iter().any(|(_, rates)| rates.grad_cam.is_some());
    html! {
        @if !rows.is_empty() {
            p.hint { "Where the cues of right answers are, beside what chance reaches." }
            div.wide tabindex="0" role="region" aria-label="Table of where cues are" {
                table {
                    thead { tr {
                        th scope="col" { "" } th.number scope="col" { "strongest cue" } th.number scope="col" { "any cue" }
                        @if has_grad_cam { th.number scope="col" { "Grad-CAM" } }
                        th.number scope="col" { "a random point" } th.number scope="col" { "the centre" }
                        th.number scope="col" { "pictures" }
                    } }
                    tbody { @for (name, rates) in rows { tr {
                        th scope="row" { (name) }
                        td.number { strong { (percent(rates.strongest_cue)) } } td.number { (percent(rates.any_cue)) }
                        @if has_grad_cam { td.number {
                            @if let Some(share) = rates.grad_cam { (percent(share)) } @else { "\u{2013}" }
                        } }
                        td.number { (percent(rates.random_point)) } td.number { (percent(rates.centre)) }
                        td.number { (thousands(rates.pictures as u64)) }
                    } } }
                }
            }
        }
    }
}

/// What covering takes away, by what is covered.
fn coverings(faithful: &Value) -> Markup {
    let area = |curve: &str, by: &str| {
        faithful.pointer(&format!("/coverings/{curve}/{by}/area_under")).and_then(Value::as_f64)
    };
    let rows = [("cue", "the class's cues"), ("grad_cam", "Grad-CAM"), ("random", "chance")];
    html! {
        @if area("deletion", "cue").is_some() {
            p.hint { "How much of the class's probability is left, on average, while the picture is covered step by step from \
                the strongest evidence (the less the better), and while it is uncovered so (the more the better)." }
            table.narrow {
                thead { tr { th scope="col" { "in the order of" } th.number scope="col" { "covered" }
                    th.number scope="col" { "uncovered" } } }
                tbody { @for (by, name) in rows { tr {
                    th scope="row" { (name) }
                    @for curve in ["deletion", "insertion"] { td.number {
                        @if let Some(area) = area(curve, by) { (format!("{area:.3}")) } @else { "\u{2013}" }
                    } }
                } } }
            }
            (squares(faithful))
        }
    }
}

fn squares(faithful: &Value) -> Markup {
    let squares = faithful.pointer("/coverings/squares").and_then(Value::as_array);
    html! {
        @for square in squares.into_iter().flatten() {
            @let number = |path: &str| square.pointer(path).and_then(Value::as_f64);
            @if let (Some(area), Some(cue), Some(random)) =
                (number("/area"), number("/drop/cue/logit"), number("/drop/random/logit")) {
                p {
                    "A square of " (percent(area)) " of the picture over the strongest cue takes " (value(cue))
                    " from the logit, one anywhere " (value(random))
                    @if let Some(grad_cam) = number("/drop/grad_cam/logit") {
                        ", one over Grad-CAM's peak " (value(grad_cam))
                    }
                    "."
                }
            }
        }
    }
}

/// How still cues stand, and how many are beside the object.
fn steadiness(faithful: &Value) -> Markup {
    let number = |path: &str| faithful.pointer(path).and_then(Value::as_f64);
    html! {
        @for (change, words) in [("mirrored", "Mirrored"), ("shifted", "Moved by a fifteenth of its side")] {
            @let at = |name: &str| number(&format!("/stability/{change}/{name}"));
            @if let (Some(near), Some(same)) = (at("cue/near"), at("same_answer")) {
                p {
                    (words) ", a picture keeps its answer in " (percent(same)) " of cases and its strongest cue stays in place in "
                    (percent(near))
                    @if let Some(grad_cam) = at("grad_cam/near") { " (Grad-CAM: " (percent(grad_cam)) ")" }
                    "."
                }
            }
        }
        @if let (Some(evidence), Some(picture)) = (number("/background/evidence"), number("/background/picture")) {
            p { "Of the evidence, " (percent(evidence)) " lies outside of the object's box, which leaves "
                (percent(picture)) " of the picture outside." }
        }
    }
}
