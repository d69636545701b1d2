//! Whether cues lie on marks, and whether the answer depends on them.

use maud::{Markup, html};

use super::Findings;
use super::knowledge::{agreement, lacking};
use super::words::{percent, thousands, value};
use crate::run::records::{Background, Coverings, CueRates, Faithfulness, Rates, Square, Stability};

/// The section.
pub fn section(findings: &Findings) -> Markup {
    let evaluation = findings.evaluation.as_ref().ok();
    let faithfulness = evaluation.and_then(|evaluation| evaluation.faithfulness.as_ref());
    let pointing = faithfulness.and_then(|faithfulness| faithfulness.pointing.as_ref());
    let cues = pointing.or_else(|| evaluation.and_then(|evaluation| evaluation.cues.as_ref()));
    html! {
        section #evidence {
            h2 { "Are the cues its reasons?" }
            @if let Some(evaluation) = evaluation { (agreement(&evaluation.evidence)) }
            @if let Some(cues) = cues { (pointing_table(cues)) }
            @match faithfulness {
                Some(faithfulness) => { (faithful(faithfulness)) }
                None => { (lacking(
                    findings,
                    "Whether the answer depends on what the cues show is",
                    &findings.asked.commands.faithfulness,
                )) }
            }
        }
    }
}

fn faithful(faithfulness: &Faithfulness) -> Markup {
    let Faithfulness { pictures, right, pointing: _, coverings, stability, background } = faithfulness;
    html! {
        p.hint { "What follows was measured on the " (right) " right answers among " (pictures) " test pictures." }
        @if let Some(coverings) = coverings { (covered(coverings)) }
        @if let Some(stability) = stability { (steadiness(stability)) }
        @if let Some(background) = background { (beside(background)) }
    }
}

fn pointing_table(cues: &CueRates) -> Markup {
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
fn covered(coverings: &Coverings) -> Markup {
    let Coverings { deletion, insertion, squares, .. } = coverings;
    let names = ["the class's cues", "Grad-CAM", "chance"];
    html! {
        p.hint { "How much of the class's probability is left, on average, while the picture is covered step by step from \
            the strongest evidence (the less the better), and while it is uncovered so (the more the better)." }
        table.narrow {
            thead { tr { th scope="col" { "in the order of" } th.number scope="col" { "covered" }
                th.number scope="col" { "uncovered" } } }
            tbody { @for ((name, deletion), insertion) in names.iter().zip(deletion.each()).zip(insertion.each()) { tr {
                th scope="row" { (name) }
                @for curve in [deletion, insertion] { td.number { (format!("{:.3}", curve.area_under)) } }
            } } }
        }
        @for Square { area, drop, .. } in squares {
            p {
                "A square of " (percent(*area)) " of the picture over the strongest cue takes " (value(drop.cue.logit))
                " from the logit, one anywhere " (value(drop.random.logit))
                ", one over Grad-CAM's peak " (value(drop.grad_cam.logit)) "."
            }
        }
    }
}

/// How still cues stand.
fn steadiness(stability: &Stability) -> Markup {
    let Stability { mirrored, shifted } = stability;
    html! {
        @for (words, moved) in [("Mirrored", mirrored), ("Moved by a fifteenth of its side", shifted)] {
            p {
                (words) ", a picture keeps its answer in " (percent(moved.same_answer))
                " of cases and its strongest cue stays in place in " (percent(moved.cue.near))
                " (Grad-CAM: " (percent(moved.grad_cam.near)) ")."
            }
        }
    }
}

/// How much evidence lies beside the object.
fn beside(background: &Background) -> Markup {
    html! {
        p { "Of the evidence, " (percent(background.evidence)) " lies outside of the object's box, which leaves "
            (percent(background.picture)) " of the picture outside." }
    }
}
