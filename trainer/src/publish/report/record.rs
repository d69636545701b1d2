//! What the files of a run say. A field that is absent or of another form is `None`: the section then says which
//! command brings it.

use std::path::Path;
use std::{fs, io};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ReportError;
use crate::measure::calibration::Bin;
use crate::run::folder;

/// The record of `eval`.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Pictures of the test split.
    pub pictures: Option<usize>,
    /// Share of right first answers.
    pub top1: Option<f64>,
    /// Its interval, 95 %.
    pub top1_interval: Option<[f64; 2]>,
    /// Share of pictures whose class is among the first five answers.
    pub top5: Option<f64>,
    /// Mean cross-entropy.
    pub cross_entropy: Option<f64>,
    /// Of each class.
    pub classes: Option<Vec<ClassRecord>>,
    /// Rows: what a picture shows; columns: what was answered.
    pub matrix: Option<Vec<Vec<usize>>>,
    /// Wrong answers, the most frequent first.
    pub confusions: Option<Vec<ConfusionRecord>>,
    /// Whether probabilities can be believed.
    pub calibration: Option<Calibration>,
    /// Whether pictures of no class are noticed.
    pub unknown: Option<Unknown>,
    /// Where cues of right answers are.
    pub cues: Option<Cues>,
    /// Where head and maps answer otherwise.
    pub evidence: Option<Value>,
    /// Whether cues are what the network goes by.
    pub faithfulness: Option<Value>,
}

/// One class.
#[derive(Clone, Debug, Deserialize)]
pub struct ClassRecord {
    /// The class.
    pub label: String,
    /// Its pictures.
    pub pictures: usize,
    /// Of them answered rightly.
    pub right: usize,
    /// Pictures that were given its label.
    pub answered: Option<usize>,
}

/// Pictures of one class taken for another.
#[derive(Clone, Debug, Deserialize)]
pub struct ConfusionRecord {
    /// What they show.
    pub label: String,
    /// What was answered.
    pub answer: String,
    /// How many.
    pub pictures: usize,
}

/// Confidence beside accuracy, before and after the temperature.
#[derive(Clone, Debug, Deserialize)]
pub struct Calibration {
    /// What logits are divided by.
    pub temperature: Option<f64>,
    /// The split that it was fitted on.
    pub fitted_on: Option<String>,
    /// At temperature 1.
    pub before: Option<Reliability>,
    /// At [`temperature`](Calibration::temperature).
    pub after: Option<Reliability>,
}

/// Confidence beside accuracy.
#[derive(Clone, Debug, Deserialize)]
pub struct Reliability {
    /// Expected calibration error.
    pub ece: f64,
    /// What it would be, on so many pictures, of probabilities that are exactly right.
    pub chance: Option<f64>,
    /// Of equal width, lowest confidence first.
    pub bins: Vec<Bin>,
}

/// What leaving out classes showed.
#[derive(Clone, Debug, Deserialize)]
pub struct Unknown {
    /// How many, or which, were left out.
    #[serde(default)]
    pub classes_left_out: Value,
    /// Runs that left out classes.
    #[serde(default)]
    pub runs: Value,
    /// By which known and unknown pictures can be told apart.
    #[serde(default)]
    pub scores: Vec<Score>,
    /// The score in use.
    pub chosen: Option<String>,
    /// The least value that is answered with a label.
    pub threshold: Option<f64>,
    /// Share of the validation pictures that reach it.
    pub kept: Option<f64>,
    /// Share of the test pictures that reach it.
    pub kept_on_test: Option<f64>,
}

/// How well a score tells known from unknown.
#[derive(Clone, Debug, Deserialize)]
pub struct Score {
    /// `energy`, `probability` or `agreement`.
    #[serde(rename = "score")]
    pub name: String,
    /// Area under the curve: 0.5 by chance, 1 at best.
    pub auroc: Option<f64>,
    /// Share of strangers that the threshold calls unknown.
    pub rejected: Option<f64>,
}

/// Where cues of right answers are.
#[derive(Clone, Debug, Deserialize)]
pub struct Cues {
    /// On the one mark that tells look-alikes apart.
    pub one_mark: Option<Rates>,
    /// On one of the marks.
    pub marks: Option<Rates>,
    /// On any annotated part.
    pub parts: Option<Rates>,
    /// Inside the object's box.
    pub object: Option<Rates>,
}

/// How often a point lies on something.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Rates {
    /// Pictures that could be judged.
    pub pictures: usize,
    /// The strongest cue.
    pub strongest_cue: f64,
    /// Any cue that speaks for the class.
    pub any_cue: f64,
    /// A point anywhere.
    pub random_point: f64,
    /// The picture's centre.
    pub centre: f64,
    /// Grad-CAM's peak, where it was computed.
    pub grad_cam: Option<f64>,
}

/// Why there is no usable record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRecord {
    /// `eval` was not run.
    Missing,
    /// It measured other weights than the report's.
    OtherWeights,
}

/// What `eval.json` in `run` says of the weights with the hash `weights`.
///
/// # Errors
/// A file that is there and cannot be read, or is no JSON.
pub fn evaluation(run: &Path, weights: &str) -> Result<Result<Record, NoRecord>, ReportError> {
    let Some(json) = json(&run.join(folder::EVAL))? else { return Ok(Err(NoRecord::Missing)) };
    if json["weights"].as_str() != Some(weights) {
        return Ok(Err(NoRecord::OtherWeights));
    }
    Ok(Ok(record(&json)))
}

fn record(json: &Value) -> Record {
    Record {
        pictures: field(json, "pictures"),
        top1: field(json, "top1"),
        top1_interval: field(json, "top1_interval"),
        top5: field(json, "top5"),
        cross_entropy: field(json, "cross_entropy"),
        classes: field(json, "classes"),
        matrix: field(json, "confusion_matrix"),
        confusions: field(json, "confusions"),
        calibration: field(json, "calibration"),
        unknown: field(json, "unknown"),
        cues: field(json, "cues"),
        evidence: field(json, "evidence"),
        faithfulness: field(json, "faithfulness"),
    }
}

fn field<T: DeserializeOwned>(json: &Value, name: &str) -> Option<T> {
    let value = json.get(name).filter(|value| !value.is_null())?;
    serde_json::from_value(value.clone()).ok()
}

/// A JSON file of a run; `None` if it is not there.
///
/// # Errors
/// A file that is there and cannot be read, or is no JSON.
pub fn json(path: &Path) -> Result<Option<Value>, ReportError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReportError::File { act: "read", path: path.to_owned(), source }),
    };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|source| ReportError::Json { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_may_lack_any_field_and_have_any_in_another_form() {
        let empty = record(&json!({}));
        assert!(empty.top1.is_none() && empty.classes.is_none() && empty.unknown.is_none());
        let odd = record(&json!({ "top1": "much", "confusion_matrix": 3, "unknown": { "scores": [] } }));
        assert!(odd.top1.is_none() && odd.matrix.is_none());
        assert!(odd.unknown.is_some());
    }

    #[test]
    fn a_record_of_other_weights_is_not_used() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(evaluation(run.path(), "a").unwrap().unwrap_err(), NoRecord::Missing);
        fs::write(run.path().join(folder::EVAL), r#"{"weights": "b", "top1": 0.5}"#).unwrap();
        assert_eq!(evaluation(run.path(), "a").unwrap().unwrap_err(), NoRecord::OtherWeights);
        assert_eq!(evaluation(run.path(), "b").unwrap().unwrap().top1, Some(0.5));
        fs::write(run.path().join(folder::EVAL), "{").unwrap();
        assert!(evaluation(run.path(), "b").unwrap_err().to_string().contains("eval.json"));
    }
}
