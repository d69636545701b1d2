//! How training went: a chart of every term, and the numbers.

use maud::{Markup, html};

use super::Findings;
use super::chart::{Curves, Line, curves};
use super::words::{count, percent, value};
use crate::run::records::EpochMetrics;

/// The section.
pub fn section(findings: &Findings) -> Markup {
    let (epochs, config) = (&findings.epochs, &findings.trained.progress.config);
    let best = findings.trained.progress.best.map(|best| best.epoch);
    html! {
        section #training {
            h2 { "How training went" }
            @if epochs.is_empty() {
                p.lack { "No epoch has ended yet, so there is nothing to draw." }
            } @else {
                p {
                    (count(epochs.len(), "epoch", "epochs")) " of " (config.epochs) " asked for. "
                    @if let Some(best) = findings.trained.progress.best {
                        "Kept: epoch " (best.epoch + 1) " with " (percent(best.accuracy))
                        " of the validation pictures right (the upright line in the charts), the latest within chance of the \
                         highest. "
                    }
                    @if let Some(last) = epochs.last() {
                        "Last: epoch " (last.epoch + 1) " with " (percent(last.validation_accuracy)) "."
                    }
                }
                div.charts { @for chart in charts(findings, best) { (curves(&chart)) } }
                (terms(findings))
                (table(epochs))
            }
        }
    }
}

fn charts(findings: &Findings, best: Option<usize>) -> Vec<Curves> {
    let epochs = &findings.epochs;
    let weights = findings.trained.progress.config.loss.mc;
    let (classes, channels) = (findings.classes() as f64, findings.trained.network.layout.channels() as f64);
    let line = |name, of: fn(&EpochMetrics) -> f64| Line { name, values: epochs.iter().map(of).collect() };
    let total = |epoch: &EpochMetrics| {
        epoch.cross_entropy + epoch.mu * (epoch.discriminality - weights.lambda * epoch.diversity)
    };
    let chart = |title, unit, lines, bounds| Curves { title, unit, lines, bounds, best };
    let accuracy = vec![
        line("training, as augmented", |epoch| 100.0 * epoch.train_accuracy),
        line("validation", |epoch| 100.0 * epoch.validation_accuracy),
    ];
    let cross_entropy = vec![
        line("training, as augmented", |epoch| epoch.cross_entropy),
        line("validation", |epoch| epoch.validation_cross_entropy),
    ];
    let total = vec![Line { name: "L", values: epochs.iter().map(total).collect() }];
    let rate = vec![line("rate", |epoch| epoch.rate)];
    let mu = vec![line("mu", |epoch| epoch.mu)];
    let speed = vec![line("pictures a second", |epoch| epoch.images_per_second.unwrap_or(f64::NAN))];
    vec![
        chart("Right answers", "per cent", accuracy, [Some(0.0), Some(100.0)]),
        chart("Cross-entropy L_CE", "nats", cross_entropy, [Some(0.0), None]),
        chart(
            "Discriminality L_dis",
            "nats",
            vec![line("L_dis", |epoch| epoch.discriminality)],
            [Some(0.0), None],
        ),
        chart(
            "Diversity L_div",
            "places a class",
            vec![line("L_div", |epoch| epoch.diversity)],
            [Some(1.0), Some(channels / classes)],
        ),
        chart(
            "Coverage h/xi",
            "share of channels",
            vec![line("h/xi", |epoch| epoch.coverage)],
            [Some(0.0), Some(1.0)],
        ),
        chart("Total loss L", "nats", total, [None, None]),
        chart("Learning rate", "of the backbone", rate, [Some(0.0), None]),
        chart("Weight mu of MC-Loss", "factor", mu, [Some(0.0), None]),
        chart("Speed of training", "pictures a second", speed, [Some(0.0), None]),
    ]
}

/// What the charts' names mean.
fn terms(findings: &Findings) -> Markup {
    let weights = findings.trained.progress.config.loss.mc;
    html! {
        details {
            summary { "What these are" }
            dl.terms {
                dt { "L = L_CE + mu (L_dis \u{2212} lambda L_div)" }
                dd { "What training makes small; here mu rises to " (value(weights.mu)) " and lambda is "
                    (value(weights.lambda)) "." }
                dt { "L_CE" } dd { "How surprised the head is by the right answer, on average." }
                dt { "L_dis" } dd { "The same for each class's channels alone, a random half of them masked: every channel \
                    has to tell its class." }
                dt { "L_div" } dd { "How many different places a class's channels look at: 1 where all look at the same, as \
                    many as there are channels where each has its own." }
                dt { "h/xi" } dd { "The same as a share of the channels, averaged over all classes." }
            }
        }
    }
}

fn table(epochs: &[EpochMetrics]) -> Markup {
    html! {
        details {
            summary { "The numbers of every epoch" }
            div.wide tabindex="0" role="region" aria-label="Table of epochs" {
                table.numbers {
                    thead { tr {
                        th scope="col" { "epoch" } th scope="col" { "L_CE" } th scope="col" { "L_dis" }
                        th scope="col" { "L_div" } th scope="col" { "h/xi" } th scope="col" { "right, training" }
                        th scope="col" { "right, validation" } th scope="col" { "L_CE, validation" }
                        th scope="col" { "rate" } th scope="col" { "mu" }
                    } }
                    tbody { @for epoch in epochs { tr {
                        th scope="row" { (epoch.epoch + 1) }
                        td { (fixed(epoch.cross_entropy)) } td { (fixed(epoch.discriminality)) }
                        td { (fixed(epoch.diversity)) } td { (fixed(epoch.coverage)) }
                        td { (percent(epoch.train_accuracy)) } td { (percent(epoch.validation_accuracy)) }
                        td { (fixed(epoch.validation_cross_entropy)) } td { (value(epoch.rate)) } td { (value(epoch.mu)) }
                    } } }
                }
            }
        }
    }
}

/// Three digits after the point, so that a column is aligned.
fn fixed(value: f64) -> String {
    format!("{value:.3}")
}
