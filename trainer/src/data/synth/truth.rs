//! Ground truth as CUB-200-2011 lays it out, and two tables more: which parts tell look-alikes apart, and how
//! large each part is.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use fieldmark::file::write_whole;

use super::species::{Part, field_marks, look_alike};
use super::{Plan, SPECIES};

/// What is known about one drawn picture.
pub struct Truth {
    /// Left, top, width, height of the bird, covered or not, pixels.
    pub bounds: [f32; 4],
    /// x, y, radius of each part in pixels; none where it is covered.
    pub parts: [Option<[f32; 3]>; Part::ALL.len()],
}

/// Writes every table of the data set under `out`. Ids count from 1.
///
/// # Errors
/// The operating system's.
pub fn write_truth(out: &Path, plans: &[Plan], truths: &[Truth], classes: usize) -> io::Result<()> {
    std::fs::create_dir_all(out.join("parts"))?;
    let pictures = || plans.iter().enumerate().map(|(index, plan)| (index + 1, plan));
    let table = |file: &str, lines: String| write_whole(&out.join(file), lines.as_bytes());
    table("images.txt", lines(pictures().map(|(id, plan)| format!("{id} {}", plan.file()))))?;
    table(
        "image_class_labels.txt",
        lines(pictures().map(|(id, plan)| format!("{id} {}", plan.species + 1))),
    )?;
    table(
        "train_test_split.txt",
        lines(pictures().map(|(id, plan)| format!("{id} {}", u8::from(plan.train)))),
    )?;
    table("classes.txt", lines((0..classes).map(|class| format!("{} {}", class + 1, folder(class)))))?;
    let bounds = pictures().zip(truths).map(|((id, _), truth)| {
        let [x, y, width, height] = truth.bounds;
        format!("{id} {x:.1} {y:.1} {width:.1} {height:.1}")
    });
    table("bounding_boxes.txt", lines(bounds))?;
    let names = Part::ALL.iter().enumerate();
    table("parts/parts.txt", lines(names.map(|(part, name)| format!("{} {}", part + 1, name.name()))))?;
    table("parts/part_locs.txt", part_locations(truths))?;
    table("parts/part_regions.txt", part_regions(truths))?;
    table("field_marks.txt", field_mark_lines(classes))
}

/// A class's folder and name, as CUB writes them: `001.Amber_crowned_Warbler`.
pub fn folder(class: usize) -> String {
    format!("{:03}.{}", class + 1, SPECIES[class].name)
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

/// `image part x y visible`; a covered part is `0.0 0.0 0`, as in CUB.
fn part_locations(truths: &[Truth]) -> String {
    part_lines(truths, |place| match place {
        Some([x, y, _]) => format!("{x:.1} {y:.1} 1"),
        None => "0.0 0.0 0".to_owned(),
    })
}

/// `image part radius`, in pixels; 0 where the part is covered.
fn part_regions(truths: &[Truth]) -> String {
    part_lines(truths, |place| format!("{:.1}", place.map_or(0.0, |[_, _, radius]| radius)))
}

fn part_lines(truths: &[Truth], describe: impl Fn(Option<[f32; 3]>) -> String) -> String {
    let mut text = String::new();
    for (image, truth) in truths.iter().enumerate() {
        for (part, &place) in truth.parts.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {} {}", image + 1, part + 1, describe(place));
        }
    }
    text
}

/// `class class part...`: look-alikes, and the parts in which they differ.
fn field_mark_lines(classes: usize) -> String {
    let pairs = (0..classes).step_by(2).map(|class| {
        let marks = field_marks(&SPECIES[class], &SPECIES[look_alike(class)]);
        let ids: Vec<String> = marks.iter().map(|&part| (part as usize + 1).to_string()).collect();
        format!("{} {} {}", class + 1, look_alike(class) + 1, ids.join(" "))
    });
    lines(pairs)
}
