//! Pictures that do not decode, show nothing, are very small or very long, or whose box is elsewhere.

use super::measure::{Measured, Picture};
use super::{Finding, Group, Kind};
use crate::data::dataset::SplitRule;

/// Pixels of the shorter side below which even a small network's input has to be invented.
const TINY: u32 = 64;

/// Longer side over shorter side from which on a square input distorts or loses most of it.
const ELONGATED: f64 = 3.0;

/// How far a box may leave its picture, pixels: lists differ in where they count from.
const SLACK: f32 = 1.5;

/// One finding a kind.
pub fn findings(measured: &Measured<'_>, _: &SplitRule) -> Vec<Finding> {
    let found = |kind, note: &dyn Fn(&Picture<'_>) -> Option<String>, text: &str, advice| {
        let groups: Vec<Group> = measured.noted(note);
        let text = format!("{} pictures {text}", groups.len());
        (!groups.is_empty()).then(|| Finding::new(kind, groups.len(), text, advice, groups))
    };
    let kinds = [
        found(
            Kind::Broken,
            &|picture| picture.broken.clone(),
            "cannot be decoded: training stops at the first",
            "copy them again from their source, or remove them",
        ),
        found(
            Kind::BoxesOutside,
            &box_outside,
            "have a box that leaves them",
            "correct the boxes; they may be meant for another size, or for the picture before EXIF turned it",
        ),
        found(
            Kind::Blank,
            &blank,
            "show next to nothing but one colour",
            "look at them; remove those that show nothing",
        ),
        found(
            Kind::Tiny,
            &tiny,
            &format!("are less than {TINY} pixels wide or high"),
            "take larger ones where you can; small marks are lost in them",
        ),
        found(
            Kind::Elongated,
            &elongated,
            &format!("are {ELONGATED} times as long as wide, or more"),
            "look at them: scans, strips or wrong crops? Padded instead of cut, they keep their shapes",
        ),
    ];
    kinds.into_iter().flatten().collect()
}

fn size(picture: &Picture<'_>) -> Option<[u32; 2]> {
    picture.seen.as_ref().map(|seen| [seen.width, seen.height])
}

fn note([width, height]: [u32; 2]) -> String {
    format!("{width} x {height} pixels")
}

fn blank(picture: &Picture<'_>) -> Option<String> {
    let is_blank = picture.seen.as_ref().is_some_and(|seen| seen.likeness.is_blank());
    is_blank.then(String::new)
}

fn tiny(picture: &Picture<'_>) -> Option<String> {
    size(picture).filter(|size| size.iter().any(|&side| side < TINY)).map(note)
}

fn elongated(picture: &Picture<'_>) -> Option<String> {
    let is_elongated = |[width, height]: &[u32; 2]| {
        f64::from(*width.max(height)) >= ELONGATED * f64::from(*width.min(height))
    };
    size(picture).filter(is_elongated).map(note)
}

fn box_outside(picture: &Picture<'_>) -> Option<String> {
    let [left, top, right, bottom] = picture.sample.marks.as_ref()?.bounds?;
    let [width, height] = size(picture)?;
    let is_inside = left >= -SLACK
        && top >= -SLACK
        && right <= width as f32 + SLACK
        && bottom <= height as f32 + SLACK
        && left < right
        && top < bottom;
    (!is_inside).then(|| format!("box {left}, {top} to {right}, {bottom} in {width} x {height} pixels"))
}
