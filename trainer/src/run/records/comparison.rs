//! `unknown.json`.

use fieldmark::unknown::Score;
use serde::{Deserialize, Serialize};

/// How well one score tells strangers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreResult {
    /// Which score.
    pub score: Score,
    /// The probability that a known picture scores above a stranger: 0.5 is chance, 1 perfect.
    pub auroc: f64,
    /// Share of strangers below the threshold that keeps 95 % of the validation pictures.
    pub rejected: f64,
}

/// A run that did without some classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The classes left out.
    pub left_out: Vec<String>,
    /// Validation pictures of the other classes.
    pub known: usize,
    /// Training and validation pictures of the classes left out.
    pub strangers: usize,
    /// Share of right answers on the known pictures.
    pub accuracy: f64,
    /// Every score.
    pub scores: Vec<ScoreResult>,
}

/// What `unknown.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Version of this record: 1.
    pub schema: u32,
    /// Classes that each run did without.
    pub classes_left_out: usize,
    /// Runs.
    pub runs: usize,
    /// Every score, its figures the means over the runs.
    pub scores: Vec<ScoreResult>,
    /// The score that the model uses: the likeness, or the one with the highest mean AUROC if that is much higher.
    pub chosen: Score,
    /// The whole run's threshold for it, at which [`Comparison::kept`] holds; `None` without validation pictures.
    /// An export fits it anew, for the weights that it exports.
    pub threshold: Option<f32>,
    /// Share of the whole run's validation pictures that reach the threshold.
    pub kept: Option<f32>,
    /// SHA-256 of the file of the whole run's weights, in hex.
    pub weights: String,
    /// The runs one by one.
    pub parts: Vec<Part>,
}
