//! The most confused pairs with pictures, and for each the marks that separate them.

use maud::{Markup, html};

use super::Findings;
use super::album::CROP_SIDE;
use super::chart::at;
use super::pairs::{Drawn, Mark, Pair, Shown};
use super::words::{breakable, count, percent, typed, value};

/// The section.
pub fn section(findings: &Findings) -> Markup {
    html! {
        section #pairs {
            h2 { "The most confused pairs" }
            @if findings.pairs.is_empty() {
                @if findings.measured.pictures == 0 {
                    p.lack { "There is no picture that was not trained on, so no mistake can be shown. Train with "
                        code { (findings.asked.commands.splits) } "." }
                } @else {
                    p { "No two classes were confused on these pictures." }
                }
            } @else {
                p.hint { "Boxes are a class's marks, with the mark's number at the peak; only marks that speak for \
                    the class are drawn: "
                    span.key.key-0 { "first class" } " " span.key.key-1 { "second class, dashed" }
                    ". Marks are numbered as " code { (findings.asked.commands.cues) } " numbers them." }
                @for pair in &findings.pairs { (block(findings, pair)) }
            }
        }
    }
}

fn block(findings: &Findings, pair: &Pair) -> Markup {
    let [first, second] = pair.classes.map(|class| findings.labels()[class].as_str());
    html! {
        article.pair {
            h3 { span.name-0 { (breakable(first)) } " and " span.name-1 { (breakable(second)) } }
            p {
                (count(pair.taken[0], "picture", "pictures")) " of " (first) " taken for " (second)
                @if pair.taken[1] > 0 { ", " (pair.taken[1]) " the other way round" }
                "."
            }
            div.shown { @for shown in &pair.shown { (picture(findings, pair, shown)) } }
            (marks(findings, pair))
        }
    }
}

fn picture(findings: &Findings, pair: &Pair, shown: &Shown) -> Markup {
    let labels = findings.labels();
    let is_right = shown.class == shown.answer;
    let [width, height] = shown.size;
    let label = &labels[shown.class];
    let in_words = if is_right {
        format!("A picture of {label}, answered rightly, with its marks")
    } else {
        format!("A picture of {label}, taken for {}, with the marks of both", labels[shown.answer])
    };
    html! {
        figure {
            svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(in_words) {
                image href=(shown.uri) width=(width) height=(height) {}
                @for cue in &shown.cues { (drawn(cue, shown.size)) }
            }
            figcaption {
                @if is_right {
                    strong { (label) } " recognised, " (percent(f64::from(shown.probability)))
                } @else {
                    strong.wrong { (label) " taken for " (labels[shown.answer]) } ", "
                    (percent(f64::from(shown.probability)))
                }
                span.evidence { (evidence(findings, pair, shown)) }
                span.file { (shown.name) }
            }
        }
    }
}

/// A box, and the mark's number at the peak, kept inside the picture.
fn drawn(cue: &Drawn, size: [u32; 2]) -> Markup {
    let [x0, y0, x1, y1] = cue.bounds.map(f64::from);
    let radius = (f64::from(size[0].max(size[1])) * 0.032).max(5.0);
    // Of two classes that look at one place both numbers can be read.
    let beside = if cue.side == 0 { -0.8 * radius } else { 0.8 * radius };
    let inside = |place: f32, size: u32, by: f64| {
        (f64::from(place) + by).clamp(radius, (f64::from(size) - radius).max(radius))
    };
    let (x, y) = (inside(cue.point[0], size[0], beside), inside(cue.point[1], size[1], 0.0));
    html! {
        g class={ "cue cue-" (cue.side) } {
            title { "mark " (cue.number) ", share " (value(f64::from(cue.share))) }
            rect.halo x=(at(x0)) y=(at(y0)) width=(at(x1 - x0)) height=(at(y1 - y0)) {}
            rect.box x=(at(x0)) y=(at(y0)) width=(at(x1 - x0)) height=(at(y1 - y0)) {}
            circle.tag cx=(at(x)) cy=(at(y)) r=(at(radius)) {}
            text x=(at(x)) y=(at(y + 0.48 * radius)) font-size=(at(1.4 * radius)) text-anchor="middle" { (cue.number) }
        }
    }
}

/// What speaks for each of the pair's classes in a picture.
fn evidence(findings: &Findings, pair: &Pair, shown: &Shown) -> Markup {
    html! {
        @for side in 0..2 {
            @let parts: Vec<&Drawn> = shown.cues.iter().filter(|cue| cue.side == side).collect();
            @if !parts.is_empty() {
                span class={ "key key-" (side) } {
                    (findings.labels()[pair.classes[side]]) ": "
                    @for (index, cue) in parts.iter().enumerate() {
                        @if index > 0 { ", " }
                        "mark\u{a0}" (cue.number) "\u{a0}+" (value(f64::from(cue.share)))
                    }
                    "; logit\u{a0}" (value(f64::from(shown.logits[side])))
                }
            }
        }
    }
}

fn marks(findings: &Findings, pair: &Pair) -> Markup {
    html! {
        h4 { "Marks that separate them" }
        @if pair.marks.is_empty() {
            p { "No mark of either class speaks more for it on its own pictures than on the other's." }
        }
        ul.marks { @for mark in &pair.marks { li { (mark_line(findings, pair, mark)) } } }
    }
}

fn mark_line(findings: &Findings, pair: &Pair, mark: &Mark) -> Markup {
    let [own, other] = [mark.side, 1 - mark.side].map(|side| findings.labels()[pair.classes[side]].as_str());
    let crop = findings.crops.of_channel[mark.channel].first();
    html! {
        @if let Some((uri, path)) = crop {
            img src=(uri) width=(CROP_SIDE) height=(CROP_SIDE)
                alt={ "Mark " (mark.number) " of " (own) " in " (typed(path)) };
        }
        span {
            strong class={ "name-" (mark.side) } { (own) ", mark " (mark.number) } br;
            "adds " (value(f64::from(mark.own))) " on pictures of " (own) ", "
            (value(f64::from(mark.other))) " on those of " (other)
        }
    }
}
