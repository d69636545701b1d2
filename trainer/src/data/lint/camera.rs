//! What is suspicious about what cameras wrote beside the pictures.

use std::collections::BTreeMap;

use super::measure::{Measured, Picture};
use super::{Finding, Kind};
use crate::data::dataset::SplitRule;

/// Pictures that a class must have for its cameras to say something.
const PICTURES: usize = 5;

/// Goodman and Kruskal's lambda from which on a camera tells too much of a class.
const TELLING: f64 = 0.5;

/// Cameras that tell classes, positions, turned pictures.
pub fn findings(measured: &Measured<'_>, _: &SplitRule) -> Vec<Finding> {
    [cameras(measured), positions(measured), turned(measured)].into_iter().flatten().collect()
}

fn positions(measured: &Measured<'_>) -> Option<Finding> {
    let groups = measured.noted(|picture| picture.exif.has_position.then(String::new));
    let count = groups.len();
    let text = format!("{count} pictures say where they were taken (GPS in their EXIF data)");
    let advice =
        "strip it before you share the pictures: exiftool -gps:all= FOLDER; training does not read it";
    (count > 0).then(|| Finding::new(Kind::Position, count, text, advice, groups))
}

fn turned(measured: &Measured<'_>) -> Option<Finding> {
    let note = |picture: &Picture<'_>| Some(format!("orientation {}", picture.exif.orientation?));
    let groups = measured.noted(note);
    let count = groups.len();
    let has_box = |picture: &&Picture<'_>| {
        picture.exif.orientation.is_some()
            && picture.sample.marks.as_ref().is_some_and(|marks| marks.bounds.is_some())
    };
    let boxed = measured.pictures.iter().filter(has_box).count();
    let boxes = if boxed > 0 { format!("; {boxed} of them have boxes") } else { String::new() };
    let text = format!("{count} pictures are turned upright as their EXIF data say{boxes}");
    let advice = "nothing for training; see that boxes and other programs mean the pictures as turned";
    (count > 0).then(|| Finding::new(Kind::Turned, count, text, advice, groups))
}

/// Pictures a camera, without those of small classes.
type Counts<'a> = BTreeMap<&'a str, usize>;

const NO_CAMERA: &str = "no camera named";

/// By how much knowing the class lessens the errors of guessing the camera: Goodman and Kruskal's lambda. A network
/// may go the other way, and tell the class by the camera's colours and noise.
fn cameras(measured: &Measured<'_>) -> Option<Finding> {
    let mut by_class: BTreeMap<usize, Counts<'_>> = BTreeMap::new();
    for picture in measured.pictures.iter().filter(|picture| picture.seen.is_some()) {
        let camera = picture.exif.camera.as_deref().unwrap_or(NO_CAMERA);
        *by_class.entry(picture.sample.class).or_default().entry(camera).or_default() += 1;
    }
    by_class.retain(|_, counts| counts.values().sum::<usize>() >= PICTURES);
    let mut all = Counts::new();
    for (camera, count) in by_class.values().flatten() {
        *all.entry(camera).or_default() += count;
    }
    let pictures: usize = all.values().sum();
    let commonest = |counts: &Counts<'_>| counts.values().copied().max().unwrap_or(0);
    let errors = pictures - commonest(&all);
    let errors_by_class = pictures - by_class.values().map(commonest).sum::<usize>();
    let lambda = (errors as f64 - errors_by_class as f64) / errors.max(1) as f64;
    if lambda < TELLING || by_class.len() < 2 {
        return None;
    }
    let of_class = |(&class, counts): (&usize, &Counts<'_>)| {
        let cameras = counts.iter().map(|(camera, count)| format!("{count} x {camera}"));
        measured.group(&[], format!("{}: {}", measured.label(class), cameras.collect::<Vec<_>>().join(", ")))
    };
    let text = format!(
        "the class tells which of {} cameras took a picture: {:.0} % fewer errors than without it; a network may learn \
         the camera instead of the thing",
        all.len(),
        100.0 * lambda
    );
    let advice =
        "take pictures of every class with every camera, or do not trust the figures for a new camera";
    Some(Finding::new(
        Kind::CamerasTellClasses,
        pictures,
        text,
        advice,
        by_class.iter().map(of_class).collect(),
    ))
}
