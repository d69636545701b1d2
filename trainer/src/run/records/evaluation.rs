//! `eval.json`, but for its part on faithfulness.

use std::path::PathBuf;

use fieldmark::unknown::Score;
use serde::{Deserialize, Serialize};

use super::{CueRates, Faithfulness, Places, ScoreResult};

/// What the test split showed: `eval.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Version of this record: 1.
    pub schema: u32,
    /// SHA-256 of the file of the weights that were measured, in hex.
    pub weights: String,
    /// The last whole epoch that they were trained for, 0-based.
    pub epoch: Option<usize>,
    /// Pictures of the split.
    pub pictures: usize,
    /// Share of right first answers, 0..=1.
    pub top1: f64,
    /// Where that share is with 95 % confidence: a Wilson interval.
    pub top1_interval: [f64; 2],
    /// Share of pictures whose class is among the first five answers.
    pub top5: f64,
    /// Mean cross-entropy, at temperature 1.
    pub cross_entropy: f64,
    /// Class mean of h/xi over all pictures, in 1/xi..=1.
    pub coverage: f64,
    /// Whether the channels of right answers go by the picture or by a place; none without a right answer.
    pub places: Option<Places>,
    /// Of each class, in their order.
    pub classes: Vec<ClassResult>,
    /// How many pictures of each class (row) were given each label (column).
    pub confusion_matrix: Vec<Vec<usize>>,
    /// Wrong answers, the most frequent first.
    pub confusions: Vec<Confusion>,
    /// How far probabilities can be believed.
    pub calibration: Calibration,
    /// What is called unknown; `None` without validation pictures.
    pub unknown: Option<UnknownResult>,
    /// Whether the maps say what the head says.
    pub evidence: HeadAndMaps,
    /// Where the cues of right answers are, where the data set says what is where.
    pub cues: Option<CueRates>,
    /// Whether the cues are what the answers depend on, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faithfulness: Option<Faithfulness>,
    /// The picture that shows the model at its best: the likeliest of the right answers, its strongest cue on a field
    /// mark where these are known; the first picture where no answer is right.
    pub example: PathBuf,
}

/// How far probabilities can be believed, on the test split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What logits are divided by before the softmax.
    pub temperature: f32,
    /// The split that it was fitted on.
    pub fitted_on: FittedOn,
    /// At temperature 1.
    pub before: Reliability,
    /// At the fitted temperature.
    pub after: Reliability,
}

/// The split that temperature and threshold are fitted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FittedOn {
    /// The validation split: the test split stays unseen.
    Validation,
}

/// What is called unknown: below `threshold` of the score `chosen`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnknownResult {
    /// Classes that each run did without, by which the scores were compared; 0 if they were not.
    pub classes_left_out: usize,
    /// Those runs.
    pub runs: usize,
    /// How well each score tells the classes left out from the others; empty if they were not compared.
    pub scores: Vec<ScoreResult>,
    /// The score that the model uses.
    pub chosen: Score,
    /// Below it a picture is called unknown.
    pub threshold: f32,
    /// Share of the validation pictures that reach it, 0..=1.
    pub kept: Option<f32>,
    /// Share of the test pictures that reach it, 0..=1.
    pub kept_on_test: f64,
}

/// The first answer of the head beside that of the maps: the class with the highest mean of its strongest channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadAndMaps {
    /// Pictures on which the two differ.
    pub disagreements: usize,
    /// Their share of all, 0..=1.
    pub share: f64,
    /// Share of right answers of the head where they differ; `None` where they never do.
    pub accuracy_where_different: Option<f64>,
    /// Share of right answers where they agree; `None` where they never do.
    pub accuracy_where_alike: Option<f64>,
    /// Share of right answers of the maps.
    pub top1_of_maps: f64,
}

/// One class's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassResult {
    /// The class.
    pub label: String,
    /// Its pictures.
    pub pictures: usize,
    /// Of them answered rightly.
    pub right: usize,
    /// Pictures of any class that were given its label.
    pub answered: usize,
    /// Share of those that are right, 0..=1; `None` where the label was never given.
    pub precision: Option<f64>,
    /// Share of its pictures answered rightly, 0..=1; `None` without pictures.
    pub recall: Option<f64>,
    /// Where the recall is with 95 % confidence; `None` without pictures.
    pub recall_interval: Option<[f64; 2]>,
}

/// Pictures of one class taken for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// What they show.
    pub label: String,
    /// What was answered.
    pub answer: String,
    /// How many.
    pub pictures: usize,
}

/// Accuracy against confidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Expected calibration error: the mean over the pictures of the distance between their bin's confidence and
    /// accuracy, 0..=1.
    pub ece: f64,
    /// The `ece` to be expected, on so many pictures, of probabilities that are exactly right: few pictures a bin part
    /// from their mean by chance.
    pub chance: f64,
    /// Mean cross-entropy.
    pub cross_entropy: f64,
    /// Where confidence and accuracy part; bins of equal width from 0 to 1.
    pub bins: Vec<Bin>,
}

/// The pictures whose confidence is from `low` to below `high`; the last bin takes 1 too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How many.
    pub pictures: usize,
    /// Mean probability of their first answers; `None` without pictures.
    pub confidence: Option<f64>,
    /// Share of right first answers; `None` without pictures.
    pub accuracy: Option<f64>,
}
