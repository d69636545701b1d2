//! Whether cues lie where the data set says that the marks are.

use serde::Serialize;

use fieldmark::cues::PartCue;

use crate::dataset::{Annotation, FieldMarks, PartPoint, Sample};

/// How often a point lies on something: the strongest cue's, beside what chance and the picture's centre reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Pictures that could be judged.
    pub pictures: usize,
    /// The strongest cue.
    pub strongest_cue: f64,
    /// Any cue that adds to the class's logit.
    pub any_cue: f64,
    /// A point anywhere in the picture: the share of the picture that it covers.
    pub random_point: f64,
    /// The picture's centre.
    pub centre: f64,
}

/// Where the cues of right answers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CueRates {
    /// On the mark, for look-alikes that differ by one mark; pictures in which it can be seen.
    pub one_mark: Option<Rates>,
    /// On one of the marks, for all look-alikes; pictures in which one can be seen.
    pub marks: Option<Rates>,
    /// Inside the object's box.
    pub object: Option<Rates>,
}

/// Hits so far.
#[derive(Clone, Copy, Debug, Default)]
struct Hits {
    pictures: usize,
    strongest: usize,
    any: usize,
    random: f64,
    centre: usize,
}

/// Counts hits over right answers.
pub(super) struct CueCount {
    field_marks: Vec<FieldMarks>,
    one_mark: Hits,
    marks: Hits,
    object: Hits,
}

impl CueCount {
    pub(super) fn new(field_marks: &[FieldMarks]) -> CueCount {
        let none = Hits::default();
        CueCount { field_marks: field_marks.to_vec(), one_mark: none, marks: none, object: none }
    }

    /// Adds a right answer: `size` is the picture's, `cues` its class's, strongest first. Whether the strongest
    /// lies on a field mark, or on the object where no marks are known.
    pub(super) fn add(&mut self, sample: &Sample, size: [u32; 2], cues: &[PartCue]) -> bool {
        let Some(annotation) = &sample.marks else { return false };
        let mut is_hit = false;
        if let Some([left, top, right, bottom]) = annotation.bounds {
            let inside = |x: f32, y: f32| (left..right).contains(&x) && (top..bottom).contains(&y);
            is_hit = self.object.add(size, cues, inside);
        }
        let pair = self.field_marks.iter().find(|pair| pair.classes.contains(&sample.class));
        if let Some(pair) = pair {
            let regions = visible(annotation, &pair.parts);
            if regions.is_empty() {
                return is_hit;
            }
            let on_mark = |x: f32, y: f32| regions.iter().any(|region| is_on(region, x, y));
            is_hit = self.marks.add(size, cues, on_mark);
            if pair.parts.len() == 1 {
                self.one_mark.add(size, cues, on_mark);
            }
        }
        is_hit
    }

    pub(super) fn rates(&self) -> Option<CueRates> {
        let rates = CueRates {
            one_mark: self.one_mark.rates(),
            marks: self.marks.rates(),
            object: self.object.rates(),
        };
        (rates != CueRates::default()).then_some(rates)
    }
}

/// The parts of a list that can be seen and have a size.
fn visible(annotation: &Annotation, parts: &[usize]) -> Vec<PartPoint> {
    let wanted = |point: &&PartPoint| parts.contains(&point.part) && point.radius.is_some();
    annotation.parts.iter().filter(wanted).copied().collect()
}

fn is_on(region: &PartPoint, x: f32, y: f32) -> bool {
    region.radius.is_some_and(|radius| (x - region.x).hypot(y - region.y) <= radius)
}

impl Hits {
    /// Whether the strongest cue hits.
    fn add(
        &mut self,
        [width, height]: [u32; 2],
        cues: &[PartCue],
        inside: impl Fn(f32, f32) -> bool,
    ) -> bool {
        let hits = |cue: &PartCue| !cue.dead && inside(cue.x, cue.y);
        let is_hit = cues.first().is_some_and(hits);
        self.pictures += 1;
        self.strongest += usize::from(is_hit);
        self.any += usize::from(cues.iter().any(|cue| cue.share > 0.0 && hits(cue)));
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x as f32 + 0.5, y as f32 + 0.5)));
        let covered = pixels.filter(|&(x, y)| inside(x, y)).count();
        self.random += covered as f64 / (f64::from(width) * f64::from(height));
        self.centre += usize::from(inside(width as f32 / 2.0, height as f32 / 2.0));
        is_hit
    }

    fn rates(&self) -> Option<Rates> {
        let share = |count: usize| count as f64 / self.pictures as f64;
        (self.pictures > 0).then(|| Rates {
            pictures: self.pictures,
            strongest_cue: share(self.strongest),
            any_cue: share(self.any),
            random_point: self.random / self.pictures as f64,
            centre: share(self.centre),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cue(x: f32, y: f32, share: f32) -> PartCue {
        PartCue {
            part: 0,
            channel: 0,
            merged: Vec::new(),
            x,
            y,
            bounds: [x, y, x, y],
            strength: 1.0,
            share,
            dead: false,
        }
    }

    fn sample(class: usize, parts: &[(usize, f32, f32, f32)]) -> Sample {
        let point =
            |&(part, x, y, radius): &(usize, f32, f32, f32)| PartPoint { part, x, y, radius: Some(radius) };
        let marks =
            Annotation { bounds: Some([10.0, 10.0, 60.0, 60.0]), parts: parts.iter().map(point).collect() };
        Sample { path: "x".into(), class, marks: Some(marks) }
    }

    fn counted(samples: &[(Sample, Vec<PartCue>)]) -> CueRates {
        let field_marks = [
            FieldMarks { classes: [0, 1], parts: vec![3] },
            FieldMarks { classes: [2, 3], parts: vec![0, 4] },
        ];
        let mut count = CueCount::new(&field_marks);
        for (sample, cues) in samples {
            count.add(sample, [100, 50], cues);
        }
        count.rates().unwrap()
    }

    #[test]
    fn a_cue_is_on_a_mark_within_its_circle() {
        let here = || sample(1, &[(3, 40.0, 25.0, 5.0), (0, 80.0, 25.0, 9.0)]);
        let rates = counted(&[
            (here(), vec![cue(43.0, 29.0, 2.0), cue(0.0, 0.0, 1.0)]),
            (here(), vec![cue(44.0, 29.0, 2.0), cue(40.0, 25.0, 1.0)]),
            (here(), vec![cue(80.0, 25.0, 2.0), cue(40.0, 25.0, -1.0)]),
        ]);
        let one = rates.one_mark.unwrap();
        assert_eq!((one.pictures, one.centre), (3, 0.0));
        assert!((one.strongest_cue - 1.0 / 3.0).abs() < 1e-9);
        assert!((one.any_cue - 2.0 / 3.0).abs() < 1e-9);
        // A circle of radius 5 in 100 x 50 pixels.
        assert!((one.random_point - 25.0 * std::f64::consts::PI / 5000.0).abs() < 1e-3);
        assert_eq!(rates.marks, rates.one_mark);
    }

    #[test]
    fn look_alikes_of_two_marks_count_either() {
        let rates = counted(&[
            (sample(2, &[(0, 20.0, 20.0, 5.0), (4, 50.0, 25.0, 3.0)]), vec![cue(20.0, 20.0, 1.0)]),
            (sample(3, &[(0, 20.0, 20.0, 5.0), (4, 50.0, 25.0, 3.0)]), vec![cue(50.0, 25.0, 1.0)]),
        ]);
        assert_eq!(rates.one_mark, None);
        let marks = rates.marks.unwrap();
        assert!((marks.strongest_cue, marks.centre) == (1.0, 1.0));
    }

    #[test]
    fn pictures_whose_mark_is_hidden_are_judged_by_their_box_alone() {
        let rates = counted(&[(sample(0, &[(2, 20.0, 20.0, 5.0)]), vec![cue(20.0, 20.0, 1.0)])]);
        assert_eq!((rates.one_mark, rates.marks), (None, None));
        assert_eq!(rates.object.map(|rates| rates.pictures), Some(1));
    }

    #[test]
    fn pictures_without_annotation_give_no_rates() {
        let mut count = CueCount::new(&[]);
        let bare = Sample { path: "x".into(), class: 0, marks: None };
        assert!(!count.add(&bare, [10, 10], &[cue(1.0, 1.0, 1.0)]));
        assert_eq!(count.rates(), None);
    }
}
