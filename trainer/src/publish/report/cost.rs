//! What the model costs, and about how long a board takes.

use maud::{Markup, html};

use super::Findings;
use super::words::{thousands, value};
use crate::net::backbone::Backbone;

/// A published network that the estimate goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reference {
    /// Depthwise convolutions.
    MobilenetV2 = 0,
    /// Bottlenecks.
    Resnet50 = 1,
    /// 3x3 convolutions.
    Resnet18 = 2,
}

/// Multiply-adds of a picture of 224 x 224, in the order of [`Reference`].
const MULTIPLY_ADDS: [f64; 3] = [301e6, 4089e6, 1814e6];

/// A board and its published milliseconds a picture with one and with four threads, in the order of [`Reference`].
struct Board {
    name: &'static str,
    milliseconds: [[f64; 2]; 3],
}

/// From ncnn's `benchmark/README.md` (2026-07-22, a4d2ea1d4), the least of its runs; the Pi 5 in f16.
const BOARDS: [Board; 3] = [
    Board { name: "Raspberry Pi 3B+", milliseconds: [[158.7, 110.6], [977.0, 584.0], [379.0, 271.0]] },
    Board { name: "Raspberry Pi 4B", milliseconds: [[93.0, 61.6], [533.0, 262.0], [191.0, 122.0]] },
    Board { name: "Raspberry Pi 5", milliseconds: [[16.2, 10.5], [89.0, 45.9], [29.5, 19.8]] },
];

/// The section.
pub fn section(findings: &Findings) -> Markup {
    let cost = findings.cost;
    let (config, network) = (&findings.trained.progress.config, &findings.trained.network);
    let megabytes = |bytes: u64| value((bytes * cost.parameters) as f64 / 1e6);
    html! {
        section #cost {
            h2 { "What it costs" }
            dl.facts {
                dt { "parameters" } dd { (thousands(cost.parameters)) }
                dt { "multiply-adds" } dd { (thousands(cost.multiply_adds.div_ceil(1_000_000))) " million a picture of "
                    (config.side) " \u{d7} " (config.side) }
                dt { "model file" } dd { "about " (megabytes(4)) "\u{a0}MB, " (megabytes(2)) "\u{a0}MB with "
                    code { "export --weights f16" } }
                dt { "class-aligned maps" } dd { (thousands(network.layout.channels() as u64)) " channels, "
                    (network.map_stride()) " pixels a cell" }
            }
            h3 { "About how long on a board" }
            (boards(config.network.backbone, cost.multiply_adds))
        }
    }
}

fn boards(backbone: Backbone, multiply_adds: u64) -> Markup {
    let (reference, name) = match backbone {
        Backbone::MobilenetV2
        | Backbone::EfficientnetLite0
        | Backbone::EfficientnetLite1
        | Backbone::EfficientnetLite2 => (Reference::MobilenetV2, "MobileNet V2"),
        Backbone::Resnet50 => (Reference::Resnet50, "ResNet-50"),
        Backbone::Resnet18 | Backbone::Vgg16 | Backbone::Vgg16Plain | Backbone::Tiny => {
            (Reference::Resnet18, "ResNet-18")
        }
    };
    html! {
        table.narrow {
            thead { tr { th scope="col" { "board" } th.number scope="col" { "one thread" }
                th.number scope="col" { "four threads" } } }
            tbody { @for board in &BOARDS { tr {
                th scope="row" { (board.name) }
                @for milliseconds in estimate(board, reference, multiply_adds) {
                    td.number { "~\u{a0}" (value_in_ms(milliseconds)) }
                }
            } } }
        }
        p.hint {
            strong { "An estimate, not a measurement: " }
            "the multiply-adds, at the pace at which " (name) " runs on the board by ncnn\u{2019}s published benchmark. Another engine \
            may need two or three times as long, and small pictures run at a slower pace. "
            code { "fieldmark predict" } " on the board says how long it takes."
        }
    }
}

/// Milliseconds a picture with one and with four threads.
fn estimate(board: &Board, reference: Reference, multiply_adds: u64) -> [f64; 2] {
    let part = multiply_adds as f64 / MULTIPLY_ADDS[reference as usize];
    board.milliseconds[reference as usize].map(|milliseconds| part * milliseconds)
}

/// No more than two digits: an estimate has no more.
fn value_in_ms(milliseconds: f64) -> String {
    let power = 10_f64.powf(milliseconds.max(1e-3).log10().floor() - 1.0);
    let rounded = (milliseconds / power).round() * power;
    if rounded >= 10.0 { format!("{rounded:.0}\u{a0}ms") } else { format!("{rounded:.1}\u{a0}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_the_references_size_takes_the_published_time() {
        let [one, four] = estimate(&BOARDS[1], Reference::Resnet50, 4_089_000_000);
        assert!((one - 533.0).abs() < 1e-9 && (four - 262.0).abs() < 1e-9);
        let [half, _] = estimate(&BOARDS[1], Reference::Resnet50, 2_044_500_000);
        assert!((half - 266.5).abs() < 1e-9);
    }

    #[test]
    fn estimates_have_two_digits() {
        let cases = [(1234.0, "1200\u{a0}ms"), (87.4, "87\u{a0}ms"), (3.12, "3.1\u{a0}ms")];
        for (milliseconds, text) in cases {
            assert_eq!(value_in_ms(milliseconds), text);
        }
    }
}
