//! What is written into a run's folder and read back, as types. No other place names a field of these files.
//!
//! | file | type |
//! |---|---|
//! | `split.json` | [`SplitRecord`] |
//! | `metrics.jsonl` | [`EpochMetrics`], a line an epoch |
//! | `eval.json` | [`Evaluation`] |
//! | `unknown.json` | [`Comparison`] |
//!
//! The functions that compute these figures stand where the figures are measured.

mod comparison;
mod epoch;
mod evaluation;
mod faithfulness;
mod places;
mod pointing;
mod split;
mod summary;

use std::fs;
use std::io;
use std::path::Path;

use fieldmark::file::write_whole;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use comparison::{Comparison, Part, ScoreResult};
pub use epoch::{EpochMetrics, Pace};
pub use evaluation::{
    Bin, Calibration, ClassResult, Confusion, Evaluation, FittedOn, HeadAndMaps, Reliability, UnknownResult,
};
pub use faithfulness::{
    Background, ByRegion, ClassBackground, ClassScore, Coverings, Curve, Distance, Faithfulness, Moved,
    Square, Stability,
};
pub use places::{MovedPeaks, Places};
pub use pointing::{CueRates, Rates};
pub use split::{SkippedFile, SplitRecord};
pub use summary::EvaluationSummary;

use crate::run::error::{FolderError, in_file};

/// The test split's figures: an [`Evaluation`].
pub const EVAL: &str = "eval.json";
/// Which score tells strangers: a [`Comparison`].
pub const UNKNOWN: &str = "unknown.json";
/// A line an epoch: [`EpochMetrics`].
pub const METRICS: &str = "metrics.jsonl";
/// Which picture is in which split: a [`SplitRecord`].
pub const SPLIT: &str = "split.json";

/// The version of all records.
pub const SCHEMA: u32 = 1;

/// Why `eval.json` says nothing of some weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEvaluation {
    /// It is not there.
    Missing,
    /// Other weights were measured.
    OtherWeights,
    /// Another version of this program wrote it, or another program.
    OtherVersion {
        /// What does not fit.
        reason: String,
    },
}

/// What every version of `eval.json` has.
#[derive(Deserialize)]
struct Stamp {
    schema: u32,
    weights: String,
}

/// What `eval.json` in the folder `run` says of the weights with the hash `weights`, or why it says nothing.
///
/// # Errors
/// [`FolderError`]: a file that cannot be read or is not complete JSON.
pub fn evaluation(run: &Path, weights: &str) -> Result<Result<Evaluation, NoEvaluation>, FolderError> {
    let path = run.join(EVAL);
    let Some(text) = read(&path)? else { return Ok(Err(NoEvaluation::Missing)) };
    Ok(match parse::<Stamp>(&path, &text)? {
        Ok(stamp) if stamp.weights != weights => Err(NoEvaluation::OtherWeights),
        Ok(stamp) if stamp.schema != SCHEMA => Err(NoEvaluation::OtherVersion {
            reason: format!("its schema is {}, expected {SCHEMA}", stamp.schema),
        }),
        Ok(_) => parse(&path, &text)?.map_err(|reason| NoEvaluation::OtherVersion { reason }),
        Err(reason) => Err(NoEvaluation::OtherVersion { reason }),
    })
}

/// What `unknown.json` says; `None` without one.
///
/// # Errors
/// [`FolderError`]: a file that cannot be read, or is not of this version.
pub fn comparison(run: &Path) -> Result<Option<Comparison>, FolderError> {
    let path = run.join(UNKNOWN);
    read(&path)?.map(|text| in_this_form(&path, &text)).transpose()
}

/// The run's metrics, a line an epoch; lines that are none are left out.
///
/// # Errors
/// [`FolderError::File`].
pub fn metrics(run: &Path) -> Result<Vec<EpochMetrics>, FolderError> {
    let text = read(&run.join(METRICS))?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Adds an epoch's line to the run's metrics.
///
/// # Errors
/// [`FolderError::File`].
pub fn append_metrics(run: &Path, metrics: &EpochMetrics) -> Result<(), FolderError> {
    let path = run.join(METRICS);
    // None, where somebody has deleted the file: nothing else depends on its lines.
    let lines = read(&path)?.unwrap_or_default();
    let line = serde_json::to_string(metrics).map_err(io::Error::from);
    write(&path, line.map(|line| lines + &line + "\n"))
}

/// Drops the lines of epochs that a killed run wrote after its last checkpoint.
pub(super) fn forget_metrics_from(run: &Path, epoch: usize) -> Result<(), FolderError> {
    let path = run.join(METRICS);
    let is_older =
        |line: &&str| serde_json::from_str::<EpochMetrics>(line).is_ok_and(|metrics| metrics.epoch < epoch);
    let lines = read(&path)?.unwrap_or_default();
    let kept = lines.lines().filter(is_older).fold(String::new(), |kept, line| kept + line + "\n");
    write(&path, Ok(kept))
}

/// What `split.json` says.
///
/// # Errors
/// [`FolderError`]: a file that is not there, cannot be read, or is not of this version.
pub fn split(run: &Path) -> Result<SplitRecord, FolderError> {
    let path = run.join(SPLIT);
    let text = fs::read_to_string(&path).map_err(in_file("read", &path))?;
    in_this_form(&path, &text)
}

/// Pictures that the run trains on.
///
/// # Errors
/// As [`split`].
pub fn training_pictures(run: &Path) -> Result<usize, FolderError> {
    Ok(split(run)?.train.len())
}

/// Writes a text as one whole file.
pub(super) fn write(path: &Path, text: io::Result<String>) -> Result<(), FolderError> {
    text.and_then(|text| write_whole(path, text.as_bytes())).map_err(in_file("write", path))
}

/// The text of a file; `None` if it is not there.
fn read(path: &Path) -> Result<Option<String>, FolderError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(in_file("read", path)(error)),
    }
}

fn in_this_form<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, FolderError> {
    parse(path, text)?.map_err(|reason| FolderError::OtherVersion { path: path.to_owned(), reason })
}

/// A record of a JSON text, or what of it is in another form.
fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Result<T, String>, FolderError> {
    match serde_json::from_str(text) {
        Ok(record) => Ok(Ok(record)),
        Err(error) if error.is_data() => Ok(Err(error.to_string())),
        Err(source) => Err(FolderError::Json { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
