//! What is measured of each picture, once.

use std::fs::File;
use std::path::Path;

use fieldmark::picture::{Limits, decode_picture, read_limited};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::exif_data::{Exif, exif};
use super::likeness::{Likeness, likeness};
use super::{Group, Named};
use crate::data::dataset::{Dataset, Sample};

/// Which pictures a picture is among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose the best epoch by.
    Validation,
    /// For the final figure.
    Test,
}

impl Split {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

/// One picture of the data set.
pub struct Picture<'a> {
    pub sample: &'a Sample,
    pub split: Split,
    /// SHA-256 of the file; of nothing where it cannot be read.
    pub sha: [u8; 32],
    /// Why it cannot be used.
    pub broken: Option<String>,
    /// What there is to see, where it can be.
    pub seen: Option<Seen>,
    pub exif: Exif,
}

/// What a decoded picture is like.
pub struct Seen {
    /// Upright, pixels.
    pub width: u32,
    pub height: u32,
    pub likeness: Likeness,
}

/// All pictures: training, validation, test, each in the data set's order.
pub struct Measured<'a> {
    pub dataset: &'a Dataset,
    pub pictures: Vec<Picture<'a>>,
}

/// Decodes every picture.
pub fn measured<'a>(dataset: &'a Dataset, done: &(dyn Fn() + Sync)) -> Measured<'a> {
    let splits = [
        (Split::Train, &dataset.train),
        (Split::Validation, &dataset.validation),
        (Split::Test, &dataset.test),
    ];
    let samples =
        splits.iter().flat_map(|&(split, samples)| samples.iter().map(move |sample| (split, sample)));
    let samples: Vec<(Split, &Sample)> = samples.collect();
    let measure = |&(split, sample)| {
        let picture = picture(split, sample);
        done();
        picture
    };
    Measured { dataset, pictures: samples.par_iter().map(measure).collect() }
}

fn picture(split: Split, sample: &Sample) -> Picture<'_> {
    let blank = Picture { sample, split, sha: [0; 32], broken: None, seen: None, exif: Exif::default() };
    let bytes = match bytes(&sample.path) {
        Ok(bytes) => bytes,
        Err(reason) => return Picture { broken: Some(reason), ..blank },
    };
    let blank = Picture { sha: Sha256::digest(&bytes).into(), ..blank };
    match decode_picture(&bytes, &Limits::default()) {
        Err(error) => Picture { broken: Some(error.to_string()), ..blank },
        Ok(frame) => {
            let (width, height) = (frame.width(), frame.height());
            let seen = Seen { width, height, likeness: likeness(&frame) };
            Picture { seen: Some(seen), exif: exif(&bytes), ..blank }
        }
    }
}

/// The data set's reader has seen a regular file here.
fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    read_limited(file, &Limits::default()).map_err(|error| error.to_string())
}

impl Measured<'_> {
    /// The name of a picture's class.
    pub fn label(&self, class: usize) -> &str {
        &self.dataset.labels[class]
    }

    /// The pictures at these places, named.
    pub fn group(&self, places: &[usize], note: impl Into<String>) -> Group {
        let named = |&at: &usize| {
            let Picture { sample, split, .. } = &self.pictures[at];
            let file = self.dataset.name(&sample.path);
            Named { file, class: self.label(sample.class).to_owned(), split: *split }
        };
        Group { pictures: places.iter().map(named).collect(), note: note.into() }
    }

    /// One group for each picture of which `note` has something to say.
    pub fn noted(&self, note: impl Fn(&Picture<'_>) -> Option<String>) -> Vec<Group> {
        let each = self.pictures.iter().enumerate();
        each.filter_map(|(at, picture)| Some(self.group(&[at], note(picture)?))).collect()
    }
}
