//! Pictures whose names say that they come of one source, in several splits: crops of one photo, frames of one film.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::measure::{Measured, Picture, Split};
use super::{Finding, Kind};
use crate::data::dataset::{SplitRule, source};

/// What may stand between a source's name and a picture's number.
const DIVIDERS: [char; 4] = ['_', '-', '.', ' '];

/// Sources that a class must have for them to be sources and not the class; and pictures for it to count.
const SOURCES: usize = 3;
const PICTURES: usize = 4;

/// Share of all pictures that one source has at most. Above it is a camera's or a project's prefix.
const LARGEST: f64 = 0.2;

/// The pictures of each source by one divider.
struct Sources {
    by: char,
    places: BTreeMap<String, Vec<usize>>,
}

/// Held-out pictures with a training picture of their source, by the divider that finds most.
pub fn findings(measured: &Measured<'_>, _: &SplitRule) -> Vec<Finding> {
    let found = DIVIDERS.map(|by| sources(measured, by));
    let mut plausible: Vec<&Sources> = found.iter().filter(|found| is_plausible(measured, found)).collect();
    // Stable: the first of equals stays first.
    plausible.sort_by_key(|found| Reverse(held_out(measured, &leaking(measured, found))));
    let most = plausible.first().map(|found| (found, leaking(measured, found)));
    most.filter(|(_, leaking)| !leaking.is_empty())
        .map(|(found, leaking)| finding(measured, &leaking, found))
        .into_iter()
        .collect()
}

/// Names without the divider say nothing: `1.jpg` of one class is not of the same source as that of another.
fn sources(measured: &Measured<'_>, by: char) -> Sources {
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, picture) in measured.pictures.iter().enumerate() {
        let path = &picture.sample.path;
        if path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains(by)) {
            places.entry(source(path, by)).or_default().push(at);
        }
    }
    Sources { by, places }
}

/// Whether most pictures share their source with others, no source has nearly all, and in most classes there are several:
/// `Kiwi_001.jpg`, `Kiwi_002.jpg` in the class Kiwi say nothing.
fn is_plausible(measured: &Measured<'_>, found: &Sources) -> bool {
    let all = measured.pictures.len();
    let shared: usize = found.places.values().map(Vec::len).filter(|&count| count > 1).sum();
    let largest = found.places.values().map(Vec::len).max().unwrap_or(0);
    let mut of_class: BTreeMap<usize, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for (name, places) in &found.places {
        for &at in places {
            let (pictures, names) = of_class.entry(measured.pictures[at].sample.class).or_default();
            *pictures += 1;
            names.insert(name);
        }
    }
    let counted: Vec<usize> = of_class
        .values()
        .filter(|(pictures, _)| *pictures >= PICTURES)
        .map(|(_, names)| names.len())
        .collect();
    let several = counted.iter().filter(|&&sources| sources >= SOURCES).count();
    2 * shared >= all && largest as f64 <= LARGEST * all as f64 && several > 0 && 2 * several >= counted.len()
}

fn is_held_out(picture: &Picture<'_>) -> bool {
    picture.split != Split::Train
}

/// The sources that have pictures on both sides, with all of these.
fn leaking<'a>(measured: &Measured<'_>, found: &'a Sources) -> Vec<(&'a str, &'a [usize])> {
    let is_torn = |places: &[usize]| {
        let held_out = places.iter().filter(|&&at| is_held_out(&measured.pictures[at])).count();
        0 < held_out && held_out < places.len()
    };
    let torn = found.places.iter().filter(|(_, places)| is_torn(places));
    torn.map(|(name, places)| (name.as_str(), places.as_slice())).collect()
}

/// How many of these are held out.
fn held_out(measured: &Measured<'_>, leaking: &[(&str, &[usize])]) -> usize {
    let places = leaking.iter().flat_map(|(_, places)| places.iter());
    places.filter(|&&at| is_held_out(&measured.pictures[at])).count()
}

fn finding(measured: &Measured<'_>, leaking: &[(&str, &[usize])], found: &Sources) -> Finding {
    let count = held_out(measured, leaking);
    let all = measured.pictures.iter().filter(|picture| is_held_out(picture)).count();
    let (by, sources) = (found.by, found.places.len());
    let text = format!(
        "{count} of {all} held-out pictures ({:.0} %) share their name up to the last {by:?} with a training picture, as crops \
         of one photo or frames of one film do: held-out figures flatter",
        100.0 * count as f64 / all as f64
    );
    let advice = format!(
        "group by {by:?}, which keeps {sources} sources whole; where the data set came split, split it again by source"
    );
    let groups = leaking.iter().map(|(name, places)| measured.group(places, format!("source {name}")));
    Finding::new(Kind::SourcesAcrossSplits, count, text, &advice, groups.collect())
}
