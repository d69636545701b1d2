//! What each class's channels look at, so that a person can name the mark.

use maud::{Markup, html};

use super::Findings;
use super::album::CROP_SIDE;
use super::words::{count, percent, value};
use crate::run::records::Places;

/// Classes up to which all are unfolded.
const UNFOLDED: usize = 12;

/// The section.
pub fn section(findings: &Findings) -> Markup {
    let (survey, crops) = (&findings.survey, &findings.crops);
    let looked: usize = survey.pictures.iter().sum();
    let dead = survey.dead();
    html! {
        section #gallery {
            h2 { "What the marks are" }
            p {
                "For every class, where each of its channels fired most, cut from "
                (count(looked, "training and validation picture", "training and validation pictures"))
                ". If the crops of a mark agree, it can be named; if they do not, it goes by something else."
            }
            @if let Ok(evaluation) = &findings.evaluation {
                p { "On the test pictures, h/xi is " (value(evaluation.coverage))
                    ": 1 where every channel of a class looks at a place of its own." }
                @if let Some(places) = &evaluation.places { (where_peaks_are(places)) }
            }
            @if dead > 0 {
                p { (count(dead, "channel is", "channels are")) " dead: nowhere above zero on any of these pictures." }
            }
            @if crops.left_out > 0 {
                p.hint { (count(crops.left_out, "crop was", "crops were")) " left out to keep this file small." }
            }
            @for class in 0..findings.classes() { (class_parts(findings, class)) }
        }
    }
}

/// Whether channels go by the picture: what h/xi does not say.
fn where_peaks_are(places: &Places) -> Markup {
    let by_chance = |share: f64| format!(" (by chance {})", percent(share));
    html! {
        p { "A mark moves with what it marks. Of the " (count(places.peaks, "peak", "peaks")) " of the right class's \
            channels in " (count(places.pictures, "right answer", "right answers")) ":" }
        ul {
            @if let Some(moved) = &places.moved {
                li { (percent(moved.follows)) " move with the picture and " (percent(moved.stays)) " stay where they are, \
                    when the picture is moved by one cell of the map (" (count(moved.peaks, "peak", "peaks")) " in "
                    (count(moved.pictures, "picture", "pictures")) ");" }
            }
            li { (percent(places.blank)) " are where they are on a plain grey picture" (by_chance(places.blank_by_chance)) ";" }
            li { (percent(places.corner)) " are in a corner of the map" (by_chance(places.corner_by_chance)) "." }
        }
        @if let Some(parked) = places.parked {
            p { (percent(parked)) " of the channels have their peak in one and the same cell in at least half of their class's \
                pictures: right where the object is always at the same place, and no mark where it is not." }
        }
        @if places.dead > 0.0 { p { (percent(places.dead)) " of the channels have no peak." } }
    }
}

fn class_parts(findings: &Findings, class: usize) -> Markup {
    let layout = &findings.trained.network.layout;
    let label = &findings.labels()[class];
    html! {
        details.class id={ "class-" (class + 1) } open[findings.classes() <= UNFOLDED] {
            summary { h3 { (label) } " " span.hint { "class " (class + 1) } }
            div.parts { @for (part, channel) in layout.group(class).enumerate() {
                (part_crops(findings, class, part, channel))
            } }
        }
    }
}

fn part_crops(findings: &Findings, class: usize, part: usize, channel: usize) -> Markup {
    let (record, of) = (&findings.survey.channels[channel], findings.survey.pictures[class]);
    let label = &findings.labels()[class];
    html! {
        div.part {
            p.part-name {
                strong { "Mark " (part + 1) } " " span.hint { "channel " (channel) }
            }
            div.crops {
                @for (uri, path) in &findings.crops.of_channel[channel] {
                    img src=(uri) width=(CROP_SIDE) height=(CROP_SIDE) decoding="async"
                        alt={ (label) ", mark " (part + 1) }
                        title=(findings.trained.dataset.name(path));
                }
            }
            p.hint {
                @if of == 0 {
                    "no picture of this class was looked at"
                } @else if record.alive == 0 {
                    strong { "dead" } ": nowhere above zero on " (count(of, "picture", "pictures"))
                } @else if record.apart == 0 {
                    "always where a stronger mark is"
                } @else {
                    "adds " (value(f64::from(findings.survey.mean_share[[class, channel]]))) " to the logit on average; "
                    @if record.alive == of { "seen on all " (of) } @else { "seen on " (record.alive) " of " (of) }
                    @if record.apart < record.alive {
                        ", in a place of its own on " (record.apart)
                    }
                }
            }
        }
    }
}
