//! Whether cues lie where the data set says that the marks are: the pointing game.

pub(crate) mod target;

use fieldmark::cues::PartCue;

use crate::data::dataset::{FieldMarks, Sample};
use crate::run::records::{CueRates, Rates};
use target::{Target, targets};

/// Hits so far.
#[derive(Clone, Copy, Debug, Default)]
struct Hits {
    pictures: usize,
    strongest: usize,
    any: usize,
    grad_cam: Option<usize>,
    random: f64,
    centre: usize,
}

/// Counts hits over right answers.
pub(crate) struct CueCount {
    field_marks: Vec<FieldMarks>,
    one_mark: Hits,
    marks: Hits,
    parts: Hits,
    object: Hits,
}

impl CueCount {
    pub(crate) fn new(field_marks: &[FieldMarks]) -> CueCount {
        let none = Hits::default();
        let field_marks = field_marks.to_vec();
        CueCount { field_marks, one_mark: none, marks: none, parts: none, object: none }
    }

    /// Adds a right answer: `size` is the picture's, `cues` its class's, strongest first. Whether the strongest
    /// lies on a field mark, or on the object where no marks are known.
    pub(crate) fn add(&mut self, sample: &Sample, size: [u32; 2], cues: &[PartCue]) -> bool {
        let targets = targets(sample, &self.field_marks);
        let add = |hits: &mut Hits, target: &Option<Target>| {
            target.as_ref().is_some_and(|target| hits.add(size, cues, target))
        };
        add(&mut self.one_mark, &targets.one_mark);
        add(&mut self.parts, &targets.parts);
        let on_object = add(&mut self.object, &targets.object);
        let on_mark = add(&mut self.marks, &targets.marks);
        if targets.marks.is_some() { on_mark } else { on_object }
    }

    /// Adds where Grad-CAM's peak is, if anywhere, in a picture that [`CueCount::add`] was given.
    pub(crate) fn add_grad_cam(&mut self, sample: &Sample, peak: Option<(f32, f32)>) {
        let targets = targets(sample, &self.field_marks);
        for (hits, target) in [
            (&mut self.one_mark, targets.one_mark),
            (&mut self.marks, targets.marks),
            (&mut self.parts, targets.parts),
            (&mut self.object, targets.object),
        ] {
            let Some(target) = target else { continue };
            let is_hit = peak.is_some_and(|(x, y)| target.holds(x, y));
            *hits.grad_cam.get_or_insert(0) += usize::from(is_hit);
        }
    }

    pub(crate) fn rates(&self) -> Option<CueRates> {
        let rates = CueRates {
            one_mark: self.one_mark.rates(),
            marks: self.marks.rates(),
            parts: self.parts.rates(),
            object: self.object.rates(),
        };
        (rates != CueRates::default()).then_some(rates)
    }
}

impl Hits {
    /// Whether the strongest cue hits.
    fn add(&mut self, [width, height]: [u32; 2], cues: &[PartCue], target: &Target) -> bool {
        let hits = |cue: &PartCue| !cue.dead && target.holds(cue.x, cue.y);
        let is_hit = cues.first().is_some_and(hits);
        self.pictures += 1;
        self.strongest += usize::from(is_hit);
        self.any += usize::from(cues.iter().any(|cue| cue.share > 0.0 && hits(cue)));
        self.random += target.covered([width, height]);
        self.centre += usize::from(target.holds(width as f32 / 2.0, height as f32 / 2.0));
        is_hit
    }

    fn rates(&self) -> Option<Rates> {
        let share = |count: usize| count as f64 / self.pictures as f64;
        (self.pictures > 0).then(|| Rates {
            pictures: self.pictures,
            strongest_cue: share(self.strongest),
            any_cue: share(self.any),
            grad_cam: self.grad_cam.map(share),
            random_point: self.random / self.pictures as f64,
            centre: share(self.centre),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::{Annotation, PartPoint};

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
            spread: false,
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
    fn grad_cams_peak_is_judged_as_cues_are_and_a_missing_one_misses() {
        let mut count = CueCount::new(&[FieldMarks { classes: [0, 1], parts: vec![3] }]);
        let here = sample(1, &[(3, 40.0, 25.0, 5.0)]);
        for peak in [Some((43.0, 29.0)), Some((44.0, 29.0)), None, Some((90.0, 5.0))] {
            count.add(&here, [100, 50], &[cue(0.0, 0.0, 1.0)]);
            count.add_grad_cam(&here, peak);
        }
        let rates = count.rates().unwrap();
        let grad_cam = |rates: Option<Rates>| rates.unwrap().grad_cam;
        assert_eq!([grad_cam(rates.one_mark), grad_cam(rates.marks)], [Some(0.25); 2]);
        // Within a tenth of 50 pixels of the part's point; within 10 to 60.
        assert_eq!([grad_cam(rates.parts), grad_cam(rates.object)], [Some(0.25), Some(0.5)]);
        assert_eq!(rates.object.map(|rates| rates.strongest_cue), Some(0.0));
    }

    #[test]
    fn pictures_without_annotation_give_no_rates() {
        let mut count = CueCount::new(&[]);
        let bare = Sample { path: "x".into(), class: 0, marks: None };
        assert!(!count.add(&bare, [10, 10], &[cue(1.0, 1.0, 1.0)]));
        assert_eq!(count.rates(), None);
    }
}
