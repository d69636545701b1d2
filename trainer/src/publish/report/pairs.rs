//! The most confused pairs: a picture of each class, a wrongly answered one, and the marks that separate them.

use fieldmark::cues::PartCue;
use indicatif::ProgressBar;

use super::ReportError;
use super::album::{picture, whole};
use super::measured::{Measured, Split};
use super::survey::{Eyes, Outcome, Survey};
use crate::data::dataset::{Dataset, Sample};
use crate::measure::answers::Look;
use crate::run::folder::Trained;

/// Pairs that are shown.
const PAIRS: usize = 6;

/// Longer side of a shown picture in pixels.
const SIDE: u32 = 340;

/// Cues of a class that are drawn into a picture.
const DRAWN: usize = 3;

/// The least part of what speaks for a class that is drawn.
const LEAST: f32 = 0.05;

/// Marks that are listed.
const MARKS: usize = 4;

/// Two classes that are confused.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Which.
    pub classes: [usize; 2],
    /// Pictures of the first taken for the second, and of the second taken for the first.
    pub taken: [usize; 2],
    /// One of each class, answered rightly, then a wrongly answered one.
    pub shown: Vec<Shown>,
    /// What separates them, the most separating first.
    pub marks: Vec<Mark>,
}

/// A picture with cues drawn on it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// As a data URI.
    pub uri: String,
    /// Its width and height.
    pub size: [u32; 2],
    /// Its name in the data set.
    pub name: String,
    /// What it shows.
    pub class: usize,
    /// What was answered.
    pub answer: usize,
    /// Of the answer, 0..=1.
    pub probability: f32,
    /// The logits of the pair's classes.
    pub logits: [f32; 2],
    /// What is drawn.
    pub cues: Vec<Drawn>,
}

/// A cue in a shown picture.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// 0 or 1: of which of the pair's classes.
    pub side: usize,
    /// Its number among the class's marks, from 1.
    pub number: usize,
    /// `[x0, y0, x1, y1]` in pixels of the shown picture.
    pub bounds: [f32; 4],
    /// The peak.
    pub point: [f32; 2],
    /// What it adds to its class's logit.
    pub share: f32,
}

/// A channel that tells the pair's classes apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// 0 or 1: of which of the pair's classes.
    pub side: usize,
    /// The channel in the maps.
    pub channel: usize,
    /// Its number among the class's marks, from 1.
    pub number: usize,
    /// What it adds to its class's logit on the class's own pictures, on average.
    pub own: f32,
    /// The same on pictures of the other class.
    pub other: f32,
}

/// The most confused pairs.
///
/// # Errors
/// A picture that cannot be read; candle's.
pub fn pairs(
    trained: &Trained,
    eyes: &Eyes,
    survey: &Survey,
    measured: &Measured,
    bar: &ProgressBar,
) -> Result<Vec<Pair>, ReportError> {
    let mut found = Vec::new();
    for (classes, taken) in measured.pairs().into_iter().take(PAIRS) {
        let mut shown = Vec::new();
        for class in classes {
            if let Some(sample) = typical(survey, &trained.dataset, class) {
                shown.extend(draw(trained, eyes, sample, classes, &[class], bar)?);
            }
        }
        if let Some(sample) = mistaken(&trained.dataset, eyes, measured.split, classes, bar)? {
            shown.extend(draw(trained, eyes, &sample, classes, &classes, bar)?);
        }
        found.push(Pair { classes, taken, shown, marks: marks(trained, survey, classes) });
    }
    Ok(found)
}

/// The picture of `class` that is most surely answered rightly, or least surely wrongly.
fn typical<'a>(survey: &Survey, dataset: &'a Dataset, class: usize) -> Option<&'a Sample> {
    let of_class = survey.answers.iter().filter(|answer| answer.class == class);
    let surest = of_class.max_by(|a, b| {
        let is_right = |answer: &Outcome| answer.answer == class;
        is_right(a).cmp(&is_right(b)).then(a.probability.total_cmp(&b.probability))
    })?;
    dataset.validation.iter().chain(&dataset.train).find(|sample| sample.path == surest.path)
}

/// A picture of the first class that is taken for the second, the most surely; the first class is the one that is
/// mistaken more often.
fn mistaken(
    dataset: &Dataset,
    eyes: &Eyes,
    split: Split,
    [class, answer]: [usize; 2],
    bar: &ProgressBar,
) -> Result<Option<Sample>, ReportError> {
    let samples = match split {
        Split::Test => &dataset.test,
        Split::Validation => &dataset.validation,
    };
    let of_class: Vec<&Sample> = samples.iter().filter(|sample| sample.class == class).collect();
    bar.inc_length(of_class.len() as u64);
    let mut worst: Option<(f32, Sample)> = None;
    eyes.look(&of_class, bar, |look| {
        let probability = look.probability(answer);
        if look.answer() == answer && worst.as_ref().is_none_or(|(other, _)| probability > *other) {
            worst = Some((probability, look.sample.clone()));
        }
    })?;
    Ok(worst.map(|(_, sample)| sample))
}

/// `sample` with the cues of the classes `of` drawn on it.
fn draw(
    trained: &Trained,
    eyes: &Eyes,
    sample: &Sample,
    classes: [usize; 2],
    of: &[usize],
    bar: &ProgressBar,
) -> Result<Option<Shown>, ReportError> {
    let (uri, size) = whole(&picture(&sample.path)?, SIDE);
    let name = trained.dataset.name(&sample.path);
    let mut shown = None;
    bar.inc_length(1);
    eyes.look(&[sample], bar, |look| {
        let answer = look.answer();
        shown = Some(Shown {
            uri: uri.clone(),
            size,
            name: name.clone(),
            class: sample.class,
            answer,
            probability: look.probability(answer),
            logits: classes.map(|class| look.logits[class]),
            cues: drawn(eyes, look, classes, of, size),
        });
    })?;
    Ok(shown)
}

fn drawn(eyes: &Eyes, look: &Look, classes: [usize; 2], of: &[usize], size: [u32; 2]) -> Vec<Drawn> {
    let [scale_x, scale_y] = [0, 1].map(|axis| size[axis] as f32 / look.seen.size[axis] as f32);
    let mut found = Vec::new();
    for (side, class) in classes.into_iter().enumerate().filter(|(_, class)| of.contains(class)) {
        let cues = eyes.cues(look, class);
        let all: f32 = cues.iter().map(|cue| cue.share.max(0.0)).sum();
        let speaks = |cue: &PartCue| cue.is_mark() && cue.share >= LEAST * all;
        found.extend(cues.into_iter().filter(speaks).take(DRAWN).map(|cue| {
            let [x0, y0, x1, y1] = cue.bounds;
            let bounds = [x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y];
            let point = [cue.x * scale_x, cue.y * scale_y];
            Drawn { side, number: cue.number(), bounds, point, share: cue.share }
        }));
    }
    found
}

/// The channels of both classes that add more on pictures of their own class than on the other's.
fn marks(trained: &Trained, survey: &Survey, classes: [usize; 2]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (side, class) in classes.into_iter().enumerate() {
        let other = classes[1 - side];
        marks.extend(trained.network.layout.group(class).enumerate().map(|(part, channel)| Mark {
            side,
            channel,
            number: part + 1,
            own: survey.mean_share[[class, channel]],
            other: survey.mean_share[[other, channel]],
        }));
    }
    marks.retain(|mark| mark.own > mark.other);
    marks.sort_by(|a, b| (b.own - b.other).total_cmp(&(a.own - a.other)));
    marks.truncate(MARKS);
    marks
}
