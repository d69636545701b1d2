//! The first screen: what the model is, how good, what it confuses, what to do next.

use fieldmark::head::HeadKind;
use maud::{Markup, html};

use super::advice::advice;
use super::chart::at;
use super::measured::Split;
use super::words::{count, interval, listed, percent};
use super::{Findings, source};
use crate::measure::doubts::{Doubt, doubts};
use crate::net::network::ClassLayer;

/// Labels that are named.
const NAMED: usize = 12;

/// The section.
pub fn section(findings: &Findings) -> Markup {
    let doubts = doubts_of(findings);
    html! {
        section #summary {
            div.verdict {
                (score(findings, !doubts.iter().any(Doubt::is_of_the_accuracy)))
                div.words {
                    p { (what(findings)) }
                    p { (how_good(findings)) }
                    p { (confuses(findings)) }
                    @for doubt in &doubts { p.doubt { strong { "Careful: " } (doubt.to_string()) "." } }
                }
            }
            h2 { "What to do next" }
            ol.advice { @for advice in advice(findings) { li {
                (advice.text)
                @if let Some(command) = &advice.command { " " code { (command) } }
                @if let Some(section) = advice.see { " " a href={ "#" (section) } { "See below." } }
            } } }
        }
    }
}

/// `is_sure`: nothing speaks against the figure.
fn score(findings: &Findings, is_sure: bool) -> Markup {
    let measured = &findings.measured;
    html! {
        div.score {
            @if let Some(top1) = measured.top1 {
                p class=(if is_sure { "large" } else { "unsure" }) {
                    (format!("{:.1}", 100.0 * top1)) span.unit { "%" }
                }
                p { "of the " (measured.split.name()) " pictures answered rightly" }
                @if let Some(interval) = findings.top1_interval() { (scale(top1, interval)) }
            } @else {
                p.large { "?" }
                p { "no picture to measure on" }
            }
        }
    }
}

/// What speaks against relying on what was measured.
fn doubts_of(findings: &Findings) -> Vec<Doubt> {
    let validation = findings.trained.dataset.validation.len();
    findings.evaluation.as_ref().map_or(Vec::new(), |evaluation| doubts(evaluation, validation))
}

/// A share and its interval on a line from 0 to 100 %.
fn scale(top1: f64, [low, high]: [f64; 2]) -> Markup {
    html! {
        svg.scale viewBox="0 0 200 26" role="img"
            aria-label={ "between " (percent(low)) " and " (percent(high)) ", 95 % confidence" } {
            rect.ground x="0" y="3" width="200" height="8" rx="4" {}
            rect.range x=(at(200.0 * low)) y="3" width=(at((200.0 * (high - low)).max(1.0))) height="8" rx="4" {}
            rect.point x=(at((200.0 * top1 - 1.0).clamp(0.0, 198.0))) y="0" width="2" height="14" {}
            text.tick x="0" y="25" { "0" }
            text.tick x="100" y="25" text-anchor="middle" { "50" }
            text.tick x="200" y="25" text-anchor="end" { "100 %" }
        }
        p.hint { (interval([low, high])) " with 95\u{a0}% confidence" }
    }
}

fn what(findings: &Findings) -> Markup {
    let progress = &findings.trained.progress;
    let network = &progress.config.network;
    let (dataset, side) = (&findings.trained.dataset, progress.config.side);
    html! {
        "A classifier of " strong { (count(findings.classes(), "class", "classes")) } ": "
        (listed(findings.labels(), NAMED)) ". It sees a picture as " (side) " \u{d7} " (side) " pixels. On top of the backbone "
        (network.backbone.name()) ", " (channels(findings)) ". " (head(network.head))
        " It learnt from " (count(dataset.train.len(), "picture", "pictures")) ", starting from "
        @match &progress.config.pretrained {
            Some(start) if start.source.is_empty() => { "pretrained weights." }
            Some(start) => { "pretrained weights (" (start.source) ")." }
            None => { "random weights." }
        }
    }
}

fn channels(findings: &Findings) -> String {
    let layout = &findings.trained.network.layout;
    let each: Vec<usize> = (0..layout.classes()).map(|class| layout.xi(class)).collect();
    let (least, most) = (each.iter().min().copied().unwrap_or(0), each.iter().max().copied().unwrap_or(0));
    let made = match findings.trained.progress.config.network.class_layer {
        ClassLayer::Project { .. } | ClassLayer::Hypercolumn { .. } => "of its own",
        ClassLayer::Native | ClassLayer::Allot => "of the backbone's",
    };
    if least == most {
        format!("every class has {} {made}, its parts", count(most, "channel", "channels"))
    } else {
        format!("every class has {least} to {most} channels {made}, its parts")
    }
}

fn head(kind: HeadKind) -> &'static str {
    match kind {
        HeadKind::GroupMean | HeadKind::GroupMax => {
            "A class's score is the sum of what its own parts add, so they are its reasons."
        }
        HeadKind::Linear => {
            "A class's score takes all classes' channels, so its own parts are only some of its reasons."
        }
    }
}

fn how_good(findings: &Findings) -> Markup {
    let measured = &findings.measured;
    html! {
        (source(findings)) " "
        @if let (Some(top5), true) = (measured.top5, findings.classes() > 5) {
            "The right class is among the first five answers on " (percent(top5)) " of them. "
        }
        @if let Some(first) = chance(findings) {
            "Always answering the most frequent class would be right on " (percent(first)) "."
        }
        @if measured.split == Split::Validation && findings.trained.dataset.test.is_empty() {
            " There is no test split; " code { (findings.asked.commands.test_split) } " holds one out."
        }
    }
}

/// What answering one class every time reaches.
fn chance(findings: &Findings) -> Option<f64> {
    let classes = &findings.measured.classes;
    let all: usize = classes.iter().map(|class| class.pictures).sum();
    let most = classes.iter().map(|class| class.pictures).max()?;
    (all > 0).then(|| most as f64 / all as f64)
}

fn confuses(findings: &Findings) -> Markup {
    let (measured, labels) = (&findings.measured, findings.labels());
    let wrong = measured.wrong();
    let pairs: Vec<String> = measured
        .pairs()
        .iter()
        .take(3)
        .map(|([first, second], taken)| {
            format!("{} and {} ({})", labels[*first], labels[*second], taken[0] + taken[1])
        })
        .collect();
    html! {
        @if measured.top1.is_none() {
            "What it confuses is not known. " code { (findings.asked.commands.eval) } " measures it."
        } @else if pairs.is_empty() {
            "It confuses nothing on these pictures."
        } @else {
            "Of " (count(wrong, "mistake", "mistakes")) ", the most frequent are between " strong { (listed(&pairs, 3)) } "."
        }
    }
}
