//! What is suspicious about a data set: pictures that cannot be read, that are there twice, that give their class away
//! by something else than what they show, and splits whose figures would flatter. Nothing is changed.
//!
//! Every picture is decoded once, as training would; then each check makes at most a few [`Finding`]s of what was
//! measured. [`table`] is for people, the JSON of a [`Lint`] for the report and for programs.

mod camera;
mod classes;
mod copies;
mod exif_data;
mod likeness;
mod measure;
mod shapes;
mod sources;
mod table;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::data::dataset::{Dataset, EmptyClass, SplitRule};

pub use measure::Split;
pub use table::table;

use measure::Measured;

/// What was found, the most serious first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lint {
    /// Version of this form: 1.
    pub schema: u32,
    /// [`Dataset::hash`].
    pub dataset: String,
    /// Classes.
    pub classes: usize,
    /// Pictures for training, validation and test.
    pub pictures: [usize; 3],
    /// One a [`Kind`] at most.
    pub findings: Vec<Finding>,
}

/// One thing that is suspicious.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// Pictures concerned; of classes, where the kind is about classes.
    pub count: usize,
    /// A sentence with the figures.
    pub text: String,
    /// What to do.
    pub advice: String,
    /// Where: pictures that belong together, or one, or none and a note.
    pub groups: Vec<Group>,
}

/// Pictures that a finding names together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The pictures.
    pub pictures: Vec<Named>,
    /// What is to be said of them.
    pub note: String,
}

/// A picture of the data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// Its name inside the data set.
    pub file: String,
    /// Its class.
    pub class: String,
    /// Its split.
    pub split: Split,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Training stops, or its figures would mislead.
    Serious,
    /// Costs accuracy, or somebody's privacy.
    Warning,
    /// Worth knowing.
    Note,
}

/// What can be found, the most serious first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Classes without a readable picture to learn from: training would stop at them.
    NoPictures,
    /// Pictures that do not decode: training would stop at them.
    Broken,
    /// The same bytes in several classes.
    LabelsDiffer,
    /// The same bytes in several splits.
    CopiesAcrossSplits,
    /// Pictures of one source, by their names, in several splits.
    SourcesAcrossSplits,
    /// Nearly the same picture in several splits.
    AlikeAcrossSplits,
    /// Nearly the same picture in several classes.
    AlikeAcrossClasses,
    /// The camera tells much about the class.
    CamerasTellClasses,
    /// Pictures that the data set's reader left out: absent, empty, damaged, out of place.
    LeftOut,
    /// Boxes that leave their pictures.
    BoxesOutside,
    /// The same bytes more than once in one class and split.
    Copies,
    /// A grouping by which nothing is kept together, or whole classes are.
    Grouping,
    /// Classes without a picture in a held-out split.
    NotHeldOut,
    /// Classes with few pictures.
    FewPictures,
    /// One class that nearly all pictures are of.
    OneClass,
    /// Classes of very different size.
    Imbalance,
    /// Pictures of one colour.
    Blank,
    /// Pictures smaller than a network's input.
    Tiny,
    /// Very long or very high pictures.
    Elongated,
    /// Pictures that say where they were taken.
    Position,
    /// Nearly the same picture more than once in one class and split.
    Alike,
    /// Pictures that EXIF turns.
    Turned,
    /// Other files and folders that the data set's reader left out.
    NotUsed,
}

impl Kind {
    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Kind::NoPictures
            | Kind::Broken
            | Kind::LabelsDiffer
            | Kind::CopiesAcrossSplits
            | Kind::SourcesAcrossSplits
            | Kind::AlikeAcrossSplits
            | Kind::AlikeAcrossClasses
            | Kind::CamerasTellClasses => Severity::Serious,
            Kind::LeftOut
            | Kind::BoxesOutside
            | Kind::Copies
            | Kind::Grouping
            | Kind::NotHeldOut
            | Kind::FewPictures
            | Kind::OneClass
            | Kind::Imbalance
            | Kind::Blank
            | Kind::Tiny
            | Kind::Elongated
            | Kind::Position => Severity::Warning,
            Kind::Alike | Kind::Turned | Kind::NotUsed => Severity::Note,
        }
    }
}

impl Lint {
    /// Whether something was found that is more than a note.
    pub fn has_warnings(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity < Severity::Note)
    }
}

impl Finding {
    fn new(kind: Kind, count: usize, text: String, advice: &str, groups: Vec<Group>) -> Finding {
        Finding { kind, severity: kind.severity(), count, text, advice: advice.to_owned(), groups }
    }
}

/// Reads every picture of `dataset`, which was split by `rule`, on all threads of the pool, `done` after each; the result does
/// not depend on their number. Each thread holds one decoded picture at a time, and of every picture about 1 KB stays.
/// `empty`: the classes that are not in the data set for want of pictures.
pub fn lint(dataset: &Dataset, empty: &[EmptyClass], rule: &SplitRule, done: &(dyn Fn() + Sync)) -> Lint {
    let measured = measure::measured(dataset, done);
    let checks: [fn(&Measured<'_>, &SplitRule) -> Vec<Finding>; 5] =
        [copies::findings, sources::findings, camera::findings, classes::findings, shapes::findings];
    let mut findings: Vec<Finding> = checks.iter().flat_map(|check| check(&measured, rule)).collect();
    findings.extend(classes::empty(dataset, empty));
    findings.sort_by_key(|finding| finding.kind);
    Lint {
        schema: 1,
        dataset: dataset.hash.clone(),
        classes: dataset.labels.len(),
        pictures: [dataset.train.len(), dataset.validation.len(), dataset.test.len()],
        findings,
    }
}
