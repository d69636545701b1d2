//! `split.json`.

use serde::{Deserialize, Serialize};

use crate::data::dataset::{Dataset, Sample};

/// What a run remembers of a data set, to be found again: where it is, its hash, which picture is in which split, and
/// what is not used. Pictures are named relative to the data set's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitRecord {
    /// The data set's hash.
    pub dataset: String,
    /// Folder or list of the pictures; absolute, so that the run can be read from any folder.
    pub folder: String,
    /// Labels in class order.
    pub labels: Vec<String>,
    /// Version of this record: 1.
    pub schema: u32,
    /// Files that are not used.
    pub skipped: Vec<SkippedFile>,
    /// Pictures that are measured on.
    pub test: Vec<String>,
    /// Pictures that are trained on.
    pub train: Vec<String>,
    /// Pictures that the best epoch is chosen by.
    pub validation: Vec<String>,
}

/// A file that is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedFile {
    /// Its name.
    pub file: String,
    /// Why not.
    pub reason: String,
}

impl SplitRecord {
    /// That of a data set.
    pub fn of(dataset: &Dataset) -> SplitRecord {
        let names = |samples: &[Sample]| samples.iter().map(|sample| dataset.name(&sample.path)).collect();
        let skipped = dataset
            .skipped
            .iter()
            .map(|skipped| SkippedFile { file: dataset.name(&skipped.path), reason: skipped.reason.clone() });
        let folder = std::path::absolute(&dataset.source).unwrap_or_else(|_| dataset.source.clone());
        SplitRecord {
            dataset: dataset.hash.clone(),
            folder: folder.to_string_lossy().into_owned(),
            labels: dataset.labels.clone(),
            schema: super::SCHEMA,
            skipped: skipped.collect(),
            test: names(&dataset.test),
            train: names(&dataset.train),
            validation: names(&dataset.validation),
        }
    }

    /// Whether the same pictures are in the same splits.
    pub fn is_split_like(&self, other: &SplitRecord) -> bool {
        (&self.train, &self.validation, &self.test) == (&other.train, &other.validation, &other.test)
    }
}
