//! What of a picture a point should lie on, as far as the data set says.

use crate::data::dataset::{Annotation, FieldMarks, Sample};

/// How near to a part's point is on it, where the part has no size: this share of the box's longer side. It is the
/// tolerance of PCK (Yang and Ramanan 2013), with which part points of birds are judged.
const NEAR: f32 = 0.1;

/// A region of a picture, in its pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// One of these circles: x, y, radius.
    Circles(Vec<[f32; 3]>),
    /// Left, top, right, bottom.
    Box([f32; 4]),
}

/// What is known of one picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Targets {
    /// The one mark that tells look-alikes apart.
    pub one_mark: Option<Target>,
    /// The marks that do.
    pub marks: Option<Target>,
    /// All annotated parts.
    pub parts: Option<Target>,
    /// The object's box.
    pub object: Option<Target>,
}

impl Target {
    /// Whether a point lies on it.
    pub(crate) fn holds(&self, x: f32, y: f32) -> bool {
        match self {
            Target::Circles(circles) => {
                circles.iter().any(|[cx, cy, radius]| (x - cx).hypot(y - cy) <= *radius)
            }
            Target::Box([left, top, right, bottom]) => {
                (left..right).contains(&&x) && (top..bottom).contains(&&y)
            }
        }
    }

    /// The share of a picture of this width and height that it covers, 0..=1.
    pub(crate) fn covered(&self, [width, height]: [u32; 2]) -> f64 {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x as f32 + 0.5, y as f32 + 0.5)));
        let covered = pixels.filter(|&(x, y)| self.holds(x, y)).count();
        covered as f64 / (f64::from(width) * f64::from(height))
    }
}

/// What a point in the sample's picture should lie on; nothing where nothing is annotated or can be seen.
pub(crate) fn targets(sample: &Sample, field_marks: &[FieldMarks]) -> Targets {
    let Some(annotation) = &sample.marks else { return Targets::default() };
    let pair = field_marks.iter().find(|pair| pair.classes.contains(&sample.class));
    let marks = pair.and_then(|pair| circles(visible(annotation, &pair.parts)));
    let is_one = pair.is_some_and(|pair| pair.parts.len() == 1);
    Targets {
        one_mark: marks.clone().filter(|_| is_one),
        marks,
        parts: annotation.bounds.and_then(|bounds| circles(near_parts(annotation, bounds))),
        object: annotation.bounds.map(Target::Box),
    }
}

fn circles(circles: Vec<[f32; 3]>) -> Option<Target> {
    (!circles.is_empty()).then_some(Target::Circles(circles))
}

/// The parts of a list that can be seen and have a size.
fn visible(annotation: &Annotation, parts: &[usize]) -> Vec<[f32; 3]> {
    let wanted = annotation.parts.iter().filter(|point| parts.contains(&point.part));
    wanted.filter_map(|point| Some([point.x, point.y, point.radius?])).collect()
}

fn near_parts(annotation: &Annotation, [left, top, right, bottom]: [f32; 4]) -> Vec<[f32; 3]> {
    let radius = NEAR * (right - left).max(bottom - top);
    annotation.parts.iter().map(|point| [point.x, point.y, radius]).collect()
}
