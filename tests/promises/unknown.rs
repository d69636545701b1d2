//! What the model does not know: from trainings without some classes, through the model file, to the board's answer.

use std::fs;
use std::path::Path;

use fieldmark::engine::{Engine, Options};
use serde_json::Value;

use crate::program::{run, trained};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// What `fieldmark predict` writes about a picture in this format.
fn predicted(model: &Path, picture: &Path, format: &str) -> String {
    run("fieldmark", [Path::new("predict"), model, picture, Path::new("--format"), Path::new(format)])
        .expect(0)
        .out()
}

/// The model with a threshold of 1, so that no picture's likeness reaches it.
fn raised(model: &Path, folder: &Path) -> std::path::PathBuf {
    let mut bytes = fs::read(model).unwrap();
    let key = b"],\"threshold\":";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    let length = bytes[at..].iter().position(|byte| b",}".contains(byte)).unwrap();
    // As long as the number that was there: the file's sizes stay right.
    bytes[at..at + length].copy_from_slice(format!("{:<length$}", "1.0").as_bytes());
    let path = folder.join("raised.onnx");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn the_best_score_of_trainings_without_classes_becomes_the_models_threshold() {
    let folder = tempfile::tempdir().unwrap();
    let (trained, model) = trained(folder.path());
    let unknown = |runs: &str| {
        let args = ["unknown", trained.to_str().unwrap(), "--runs", runs, "--share", "0.25"];
        run("fieldmark-trainer", args).expect(0)
    };
    unknown("1");
    let first = fs::read(trained.join("unknown/1/last.safetensors")).unwrap();
    assert!(unknown("2").out().contains("2 trainings without 1 class each"));
    assert_eq!(fs::read(trained.join("unknown/1/last.safetensors")).unwrap(), first, "trained again");
    let comparison = json(&trained.join("unknown.json"));
    assert_eq!((&comparison["runs"], &comparison["classes_left_out"]), (&2.into(), &1.into()));
    let [one, two] = [0, 1].map(|part| comparison["parts"][part]["left_out"][0].clone());
    assert!(one.is_string() && two.is_string() && one != two, "{comparison}");
    // Of 4 classes 2 validation and 6 training pictures each.
    assert_eq!(
        (&comparison["parts"][0]["known"], &comparison["parts"][0]["strangers"]),
        (&6.into(), &8.into())
    );

    run("fieldmark-trainer", [Path::new("eval"), &trained]).expect(0);
    let export = [Path::new("export"), &trained, Path::new("--out"), &model, Path::new("--anyway")];
    run("fieldmark-trainer", export).expect(0);
    let eval = json(&trained.join("eval.json"));
    let engine = Engine::load(&model, Options::default()).unwrap();
    let rule = engine.description().rule().unwrap();
    for said in [&comparison["chosen"], &eval["unknown"]["chosen"]] {
        assert_eq!(said, rule.score.name());
    }
    for said in [&comparison["threshold"], &eval["unknown"]["threshold"]] {
        assert_eq!(said.as_f64().map(|threshold| threshold as f32), Some(rule.threshold));
    }
    assert!(rule.kept.unwrap() >= 0.95);
    let temperature = engine.description().temperature;
    assert!((temperature - 1.0).abs() > 1e-3);
    assert_eq!(eval["calibration"]["temperature"].as_f64().map(|t| t as f32), Some(temperature));
}

#[test]
fn a_picture_below_the_threshold_is_called_unknown_in_every_format_and_keeps_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (_, model) = trained(folder.path());
    let raised = raised(&model, folder.path());
    let picture = folder.path().join("birds/images/001.Amber_crowned_Warbler/Amber_crowned_Warbler_0001.jpg");
    let record = |model: &Path| serde_json::from_str::<Value>(&predicted(model, &picture, "jsonl")).unwrap();
    let (known, unknown) = (record(&model), record(&raised));
    assert_eq!(known["top"], unknown["top"]);
    let [value, threshold] = ["value", "threshold"].map(|field| unknown["unknown"][field].as_f64().unwrap());
    assert!(value < threshold, "{unknown}");
    let score = unknown["unknown"]["score"].as_str().unwrap();
    let reason = format!(
        "{}: {score} {value:.3} below {threshold:.3}",
        unknown["unknown"]["reason"].as_str().unwrap()
    );
    let text = predicted(&raised, &picture, "text");
    let best = unknown["top"][0]["label"].as_str().unwrap();
    assert!(text.contains(&format!("unknown ({reason}); nearest: {best}")), "{text}");
    assert!(predicted(&raised, &picture, "csv").lines().nth(1).unwrap().ends_with(&reason));
    assert!(predicted(&raised, &picture, "json").contains("\"unknown\": {"));
}
