//! What the model costs, and about how long a board takes.

use fieldmark_boards::{BOARDS, Published, Reference};
use maud::{Markup, html};

use super::Findings;
use super::words::{thousands, value};
use crate::net::backbone::Backbone;

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
                    code { (findings.asked.commands.half) } }
                dt { "class-aligned maps" } dd { (thousands(network.layout.channels() as u64)) " channels, "
                    (network.map_stride()) " pixels a cell" }
            }
            h3 { "About how long on a board" }
            (boards(config.network.backbone, cost.multiply_adds))
        }
    }
}

fn boards(backbone: Backbone, multiply_adds: u64) -> Markup {
    let reference = match backbone {
        Backbone::MobilenetV2
        | Backbone::EfficientnetLite0
        | Backbone::EfficientnetLite1
        | Backbone::EfficientnetLite2 => Reference::MobilenetV2,
        Backbone::Resnet50 => Reference::Resnet50,
        Backbone::Resnet18 | Backbone::Vgg16 | Backbone::Vgg16Plain | Backbone::Tiny => Reference::Resnet18,
    };
    html! {
        table.narrow {
            thead { tr { th scope="col" { "board" } th.number scope="col" { "one thread" }
                th.number scope="col" { "four threads" } } }
            tbody { @for published in BOARDS.iter().filter_map(|board| board.published.as_ref()) { tr {
                th scope="row" { (published.on) }
                @for milliseconds in estimate(published, reference, multiply_adds) {
                    td.number { "~\u{a0}" (value_in_ms(milliseconds)) }
                }
            } } }
        }
        p.hint {
            strong { "An estimate, not a measurement: " }
            "the multiply-adds, at the pace at which " (reference.name()) " runs on the board by ncnn\u{2019}s published benchmark. Another engine \
            may need two or three times as long, and small pictures run at a slower pace. "
            code { "fieldmark predict" } " on the board says how long it takes."
        }
    }
}

/// Milliseconds a picture with one and with four threads.
fn estimate(published: &Published, reference: Reference, multiply_adds: u64) -> [f64; 2] {
    let part = multiply_adds as f64 / reference.multiply_adds();
    published.milliseconds(reference).map(|milliseconds| part * milliseconds)
}

/// No more than two digits: an estimate has no more.
fn value_in_ms(milliseconds: f64) -> String {
    let power = 10_f64.powf(milliseconds.max(1e-3).log10().floor() - 1.0);
    let rounded = (milliseconds / power).round() * power;
    if rounded >= 10.0 { format!("{rounded:.0}\u{a0}ms") } else { format!("{rounded:.1}\u{a0}ms") }
}

#[cfg(test)]
mod tests {
    use fieldmark_boards::find;

    use super::*;

    #[test]
    fn a_network_of_the_references_size_takes_the_published_time() {
        let pi4 = find("pi4", None).unwrap().0.published.unwrap();
        let [one, four] = estimate(&pi4, Reference::Resnet50, 4_089_000_000);
        assert!((one - 533.0).abs() < 1e-9 && (four - 262.0).abs() < 1e-9);
        let [half, _] = estimate(&pi4, Reference::Resnet50, 2_044_500_000);
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
