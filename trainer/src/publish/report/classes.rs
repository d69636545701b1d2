//! Class by class: how many pictures, how good.

use maud::{Markup, html};

use super::Findings;
use super::chart::at;
use super::measured::ClassFigures;
use super::words::{breakable, interval, percent};
use crate::measure::eval::wilson;

/// The section.
pub fn section(findings: &Findings) -> Markup {
    let measured = &findings.measured;
    let training = findings.training_pictures();
    html! {
        section #classes {
            h2 { "Class by class" }
            p.hint {
                "Recall: of the class's " (measured.split.name()) " pictures, those answered rightly, with the interval in \
                which it lies with 95\u{a0}% confidence. Precision: of the pictures given its label, those that show it."
            }
            div.wide tabindex="0" role="region" aria-label="Table of classes" {
                table.sortable {
                    thead { tr {
                        th.number scope="col" { "#" } th scope="col" { "class" }
                        th.number scope="col" { "to learn from" }
                        th.number scope="col" { (measured.split.name()) " pictures" }
                        th.number scope="col" { "precision" } th.number scope="col" { "recall" }
                        th scope="col" data-plain="" { "recall, 95\u{a0}%" }
                    } }
                    tbody { @for (class, figures) in measured.classes.iter().enumerate() {
                        (row(findings, class, figures, training[class]))
                    } }
                }
            }
        }
    }
}

fn row(findings: &Findings, class: usize, figures: &ClassFigures, training: usize) -> Markup {
    let share = |of: usize| (of > 0).then(|| figures.right as f64 / of as f64);
    let recall = share(figures.pictures);
    html! {
        tr {
            td.number { (class + 1) }
            th scope="row" { a href={ "#class-" (class + 1) } { (breakable(&findings.labels()[class])) } }
            td.number { (training) }
            td.number { (figures.pictures) }
            (number(share(figures.answered)))
            (number(recall))
            td {
                @if let Some(recall) = recall {
                    @let range = wilson(figures.right, figures.pictures);
                    (bar(recall, range)) " " span.range { (interval(range)) }
                }
            }
        }
    }
}

fn number(share: Option<f64>) -> Markup {
    html! {
        @match share {
            Some(share) => td.number data-value=(at(share)) { (percent(share)) },
            None => td.number data-value="-1" { "\u{2013}" },
        }
    }
}

fn bar(recall: f64, [low, high]: [f64; 2]) -> Markup {
    html! {
        svg.bar viewBox="0 0 100 10" aria-hidden="true" preserveAspectRatio="none" {
            rect.ground x="0" y="3" width="100" height="4" {}
            rect.range x=(at(100.0 * low)) y="3" width=(at(100.0 * (high - low))) height="4" {}
            rect.point x=(at((100.0 * recall - 1.0).clamp(0.0, 98.0))) y="0" width="2" height="10" {}
        }
    }
}
