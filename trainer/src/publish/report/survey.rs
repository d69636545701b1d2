//! What the network answers and where it looks, over many pictures.

use std::path::PathBuf;

use fieldmark::cues::PartCue;
use fieldmark::head::{Head, softmax, top_k};
use indicatif::ProgressBar;
use ndarray::Array2;

use super::ReportError;
use crate::data::dataset::Sample;
use crate::measure::answers::{Look, batches};
use crate::run::folder::Trained;

/// Training pictures of a class that are looked at, evenly chosen: enough to show what a channel looks for.
const TRAINING_PICTURES: usize = 30;

/// Cues of a channel that are kept.
pub const SIGHTS: usize = 4;

/// A network that can be asked about pictures.
pub struct Eyes<'a> {
    trained: &'a Trained,
    head: Head,
}

/// The answer to one picture.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The picture.
    pub path: PathBuf,
    /// What it shows.
    pub class: usize,
    /// What was answered.
    pub answer: usize,
    /// The class is among the first five answers.
    pub is_in_top5: bool,
    /// Of the class, 0..=1, at temperature 1.
    pub probability: f32,
    /// It is of the validation split.
    pub is_validation: bool,
}

/// Where a channel looked in one picture.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The picture.
    pub path: PathBuf,
    /// `[x0, y0, x1, y1]` in its pixels.
    pub bounds: [f32; 4],
    /// The map's peak.
    pub strength: f32,
}

/// What one channel did on pictures of its own class.
#[derive(Clone, Debug, Default)]
pub struct ChannelRecord {
    /// Pictures on which it is somewhere above 0.
    pub alive: usize,
    /// Pictures on which no stronger channel of the class has its peak in the same cell.
    pub apart: usize,
    /// Its strongest cues, strongest first, at most [`SIGHTS`].
    pub sights: Vec<Sight>,
}

/// What the network answers and where it looks. `c` classes, `N` channels.
#[derive(Clone, Debug)]
pub struct Survey {
    /// `c`: pictures looked at.
    pub pictures: Vec<usize>,
    /// `c x N`: what a channel adds to the logit of the class that owns it, on average over the pictures of a class.
    pub mean_share: Array2<f32>,
    /// `N`.
    pub channels: Vec<ChannelRecord>,
    /// One a picture.
    pub answers: Vec<Outcome>,
}

impl<'a> Eyes<'a> {
    /// The network of a run.
    ///
    /// # Errors
    /// candle's, if parameters are missing.
    pub fn new(trained: &'a Trained) -> Result<Eyes<'a>, ReportError> {
        Ok(Eyes { trained, head: trained.network.head()? })
    }

    /// Shows `samples` to the network, in their order, and each result to `each`.
    ///
    /// # Errors
    /// A picture that cannot be read; candle's.
    pub fn look(
        &self,
        samples: &[&Sample],
        bar: &ProgressBar,
        mut each: impl FnMut(&Look),
    ) -> Result<(), ReportError> {
        let Trained { network, progress, .. } = self.trained;
        for batch in batches(network, samples, progress.config.input()) {
            let looks = batch?.looks;
            looks.iter().for_each(&mut each);
            bar.inc(looks.len() as u64);
        }
        Ok(())
    }

    /// The part cues of `class`, strongest share first, as the board finds them.
    pub fn cues(&self, look: &Look, class: usize) -> Vec<PartCue> {
        look.cues(&self.trained.network.layout, &self.head, class)
    }

    /// Looks at the whole validation split and at some training pictures of each class.
    ///
    /// # Errors
    /// As [`Eyes::look`].
    pub fn survey(&self, bar: &ProgressBar) -> Result<Survey, ReportError> {
        let Trained { network, dataset, .. } = self.trained;
        let layout = &network.layout;
        let (classes, channels) = (layout.classes(), layout.channels());
        let mut survey = Survey {
            pictures: vec![0; classes],
            mean_share: Array2::zeros((classes, channels)),
            channels: vec![ChannelRecord::default(); channels],
            answers: Vec::new(),
        };
        let training = some_of_each(&dataset.train, classes, TRAINING_PICTURES);
        bar.inc_length((dataset.validation.len() + training.len()) as u64);
        for (samples, is_validation) in [(dataset.validation.iter().collect(), true), (training, false)] {
            self.look(&samples, bar, |look| survey.add(self, look, is_validation))?;
        }
        for (mut shares, &pictures) in survey.mean_share.outer_iter_mut().zip(&survey.pictures) {
            shares /= pictures.max(1) as f32;
        }
        Ok(survey)
    }
}

impl Look<'_> {
    /// The likeliest class.
    pub fn answer(&self) -> usize {
        top_k(&self.logits, 1).first().copied().unwrap_or(0)
    }

    /// The probability of `class`, at temperature 1.
    pub fn probability(&self, class: usize) -> f32 {
        softmax(&self.logits, 1.0)[class]
    }
}

impl Survey {
    fn add(&mut self, eyes: &Eyes, look: &Look, is_validation: bool) {
        let class = look.sample.class;
        let layout = &eyes.trained.network.layout;
        self.pictures[class] += 1;
        for owner in 0..layout.classes() {
            let shares = eyes.head.shares(look.maps.view(), layout, owner);
            for (channel, share) in layout.group(owner).zip(shares) {
                self.mean_share[[class, channel]] += share;
            }
        }
        for cue in eyes.cues(look, class).into_iter().filter(|cue| !cue.dead) {
            for &merged in &cue.merged {
                self.channels[merged].alive += 1;
            }
            let path = look.sample.path.clone();
            self.channels[cue.channel].add(Sight { path, bounds: cue.bounds, strength: cue.strength });
        }
        let first_five = top_k(&look.logits, 5);
        self.answers.push(Outcome {
            path: look.sample.path.clone(),
            class,
            answer: first_five.first().copied().unwrap_or(0),
            is_in_top5: first_five.contains(&class),
            probability: look.probability(class),
            is_validation,
        });
    }

    /// Channels that are nowhere above 0 on any picture of their class that was looked at.
    pub fn dead(&self) -> usize {
        self.channels.iter().filter(|channel| channel.alive == 0).count()
    }
}

impl ChannelRecord {
    fn add(&mut self, sight: Sight) {
        self.alive += 1;
        self.apart += 1;
        let place = self.sights.partition_point(|other| other.strength >= sight.strength);
        self.sights.insert(place, sight);
        self.sights.truncate(SIGHTS);
    }
}

/// At most `most` samples of each class, evenly spread over the class's list.
fn some_of_each(samples: &[Sample], classes: usize, most: usize) -> Vec<&Sample> {
    let mut of_class: Vec<Vec<&Sample>> = vec![Vec::new(); classes];
    for sample in samples {
        of_class[sample.class].push(sample);
    }
    let mut chosen = Vec::new();
    for samples in of_class {
        let count = samples.len().min(most);
        chosen.extend((0..count).map(|index| samples[index * samples.len() / count]));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_each_class_are_chosen_evenly() {
        let sample = |index: usize| Sample {
            path: index.to_string().into(),
            class: usize::from(index >= 100),
            marks: None,
        };
        let samples: Vec<Sample> = (0..103).map(sample).collect();
        let names: Vec<String> =
            some_of_each(&samples, 3, 4).iter().map(|sample| sample.path.display().to_string()).collect();
        assert_eq!(names, ["0", "25", "50", "75", "100", "101", "102"]);
    }

    #[test]
    fn a_channel_keeps_its_strongest_sights_and_the_first_of_equals() {
        let mut record = ChannelRecord::default();
        for (index, strength) in [1.0, 3.0, 2.0, 3.0, 0.5, 2.5].into_iter().enumerate() {
            record.add(Sight { path: index.to_string().into(), bounds: [0.0; 4], strength });
        }
        let kept: Vec<_> = record.sights.iter().map(|sight| sight.path.display().to_string()).collect();
        assert_eq!(kept, ["1", "3", "5", "2"]);
        assert_eq!(record.alive, 6);
    }
}
