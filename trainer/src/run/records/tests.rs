//! The files as they were before these types: names, order and digits are a promise to who reads them.

use serde_json::Value;
use tempfile::tempdir;

use super::*;
use crate::data::dataset::{Dataset, Sample};

const EVALUATION: &str = include_str!("tests/eval.json");
const COMPARISON: &str = include_str!("tests/unknown.json");
const SPLITS: &str = include_str!("tests/split.json");
const EPOCH: &str = include_str!("tests/metrics.jsonl");

/// The weights that [`EVALUATION`] measured.
const WEIGHTS: &str = "25cf97816b85298b5845f900c8ab20b037de3e453904160fe6523aeca0f952ab";

fn pretty(record: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(record).unwrap() + "\n"
}

#[test]
fn records_are_written_byte_for_byte_as_they_were_read() {
    assert_eq!(pretty(&serde_json::from_str::<Evaluation>(EVALUATION).unwrap()), EVALUATION);
    assert_eq!(pretty(&serde_json::from_str::<Comparison>(COMPARISON).unwrap()), COMPARISON);
    assert_eq!(pretty(&serde_json::from_str::<SplitRecord>(SPLITS).unwrap()), SPLITS);
    let epoch: EpochMetrics = serde_json::from_str(EPOCH).unwrap();
    assert_eq!(serde_json::to_string(&epoch).unwrap() + "\n", EPOCH);
}

#[test]
fn an_epoch_of_unknown_speed_says_nothing_of_it() {
    let epoch: EpochMetrics = serde_json::from_str(EPOCH).unwrap();
    assert!(epoch.line(20).ends_with(" pictures/s"), "{}", epoch.line(20));
    let epoch = EpochMetrics { images_per_second: None, ..epoch };
    assert!(epoch.line(20).ends_with(" %"), "{}", epoch.line(20));
    assert!(serde_json::to_string(&epoch).unwrap().contains(r#""images_per_second":null"#));
}

#[test]
fn what_was_not_measured_is_left_out_or_null() {
    let mut evaluation: Evaluation = serde_json::from_str(EVALUATION).unwrap();
    evaluation.faithfulness = None;
    evaluation.unknown = None;
    let json = pretty(&evaluation);
    assert!(!json.contains("faithfulness") && json.contains("\"unknown\": null"), "{json}");
    assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), evaluation);
}

#[test]
fn the_summary_is_the_evaluation_without_lists_and_paths() {
    let mut whole: Value = serde_json::from_str(EVALUATION).unwrap();
    let fields = whole.as_object_mut().unwrap();
    for dropped in ["classes", "confusion_matrix", "confusions", "faithfulness", "example"] {
        assert!(fields.remove(dropped).is_some(), "{dropped}");
    }
    for reliability in ["before", "after"] {
        assert!(whole["calibration"][reliability].as_object_mut().unwrap().remove("bins").is_some());
    }
    let evaluation: Evaluation = serde_json::from_str(EVALUATION).unwrap();
    let summary = serde_json::to_string(&evaluation.summary()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&summary).unwrap(), whole);
}

#[test]
fn an_evaluation_is_of_its_weights_and_of_this_version_or_says_why_not() {
    let run = tempdir().unwrap();
    let read = |text: &str| {
        fs::write(run.path().join(EVAL), text).unwrap();
        evaluation(run.path(), WEIGHTS)
    };
    assert_eq!(evaluation(run.path(), WEIGHTS).unwrap(), Err(NoEvaluation::Missing));
    assert_eq!(read(EVALUATION).unwrap().unwrap().weights, WEIGHTS);
    let other = EVALUATION.replace(WEIGHTS, "other");
    assert_eq!(read(&other).unwrap(), Err(NoEvaluation::OtherWeights));
    let reason = |text: &str| match read(text).unwrap() {
        Err(NoEvaluation::OtherVersion { reason }) => reason,
        read => panic!("{read:?}"),
    };
    assert!(reason(&EVALUATION.replace("\"top5\"", "\"top_5\"")).contains("missing field `top5`"));
    assert!(reason(&EVALUATION.replace("\"schema\": 1", "\"schema\": 2")).contains("schema is 2"));
    assert!(reason("{}").contains("missing field"));
    assert!(reason("[]").contains("invalid"));
    let broken = read("{").unwrap_err().to_string();
    assert!(broken.contains("eval.json") && broken.contains("not complete JSON"), "{broken}");
}

#[test]
fn other_records_of_another_version_are_refused_with_their_file() {
    let run = tempdir().unwrap();
    assert_eq!(comparison(run.path()).unwrap(), None);
    fs::write(run.path().join(UNKNOWN), COMPARISON.replace("\"runs\"", "\"trainings\"")).unwrap();
    let error = comparison(run.path()).unwrap_err().to_string();
    assert!(error.contains("unknown.json") && error.contains("missing field `runs`"), "{error}");
    fs::write(run.path().join(SPLIT), SPLITS.replace("\"folder\"", "\"where\"")).unwrap();
    let error = split(run.path()).unwrap_err().to_string();
    assert!(error.contains("split.json") && error.contains("missing field `folder`"), "{error}");
}

#[test]
fn lines_of_later_epochs_are_forgotten_and_new_ones_added() {
    let run = tempdir().unwrap();
    let epoch: EpochMetrics = serde_json::from_str(EPOCH).unwrap();
    for number in 0..3 {
        append_metrics(run.path(), &EpochMetrics { epoch: number, ..epoch.clone() }).unwrap();
    }
    forget_metrics_from(run.path(), 1).unwrap();
    append_metrics(run.path(), &EpochMetrics { epoch: 7, ..epoch.clone() }).unwrap();
    let epochs: Vec<usize> = metrics(run.path()).unwrap().iter().map(|epoch| epoch.epoch).collect();
    assert_eq!(epochs, [0, 7]);
}

#[test]
fn the_written_split_names_every_picture_once() {
    let root = tempdir().unwrap();
    let sample = |class: usize, index: usize| Sample {
        path: root.path().join(format!("{class}/{index}.jpg")),
        class,
        marks: None,
    };
    let of = |indices: std::ops::Range<usize>| -> Vec<Sample> {
        (0..2)
            .flat_map(|class| indices.clone().map(move |index| (class, index)))
            .map(|(c, i)| sample(c, i))
            .collect()
    };
    let dataset = Dataset {
        root: root.path().to_owned(),
        source: root.path().to_owned(),
        labels: vec!["a".into(), "b".into()],
        parts: Vec::new(),
        field_marks: Vec::new(),
        train: of(0..5),
        validation: of(5..6),
        test: of(6..8),
        skipped: Vec::new(),
        hash: "abc".into(),
    };
    let record = SplitRecord::of(&dataset);
    let mut names = [record.train.as_slice(), &record.validation, &record.test].concat();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), names[0].as_str()), (16, "0/0.jpg"));
    assert_eq!((record.labels[1].as_str(), record.folder.as_str()), ("b", root.path().to_str().unwrap()));
    let mut moved = dataset;
    moved.test.swap(0, 1);
    assert!(record.is_split_like(&record) && !record.is_split_like(&SplitRecord::of(&moved)));
}
