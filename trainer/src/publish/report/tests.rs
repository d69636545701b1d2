use std::fs;

use image::{Rgb, RgbImage};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::data::dataset;
use crate::net::network;
use crate::run::checkpoint::Progress;
use crate::run::config::Config;
use crate::run::metrics::{Best, EpochSums};

const SIDE: u32 = 32;

/// As `config.json` of an early run had it, so that later settings need a default.
fn config(validation: f64) -> Config {
    let config = json!({
        "seed": 3,
        "split": { "seed": 0, "validation": validation, "test": 0.2, "group": null },
        "network": {
            "backbone": "tiny", "class_layer": { "project": { "stride": 8 } }, "xi": 2, "head": "group-mean", "dropout": 0.0,
        },
        "side": SIDE,
        "resize": "pad",
        "augment": { "crop": { "kind": "whole" }, "flip": 0.5, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2 },
        "sampling": "uniform",
        "loss": {
            "mc": { "mu": 1.0, "lambda": 0.5 }, "keep": "half", "mu_warm_up_epochs": 0.0, "label_smoothing": 0.0,
        },
        "optim": {
            "rate": 0.1, "head_factor": 1.0, "momentum": 0.9, "nesterov": true, "weight_decay": 0.0,
            "warm_up_epochs": 1.0, "schedule": "cosine",
        },
        "batch": 4,
        "epochs": 2,
        "patience": null,
    });
    serde_json::from_value(config).unwrap()
}

/// A run with first weights on pictures of one colour a class, `each` a class.
struct Made {
    folder: TempDir,
    trained: Trained,
}

fn made(labels: &[String], each: usize, validation: f64) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, run) = (folder.path().join("pictures"), folder.path().join("run"));
    fs::create_dir(&run).unwrap();
    for (class, label) in labels.iter().enumerate() {
        fs::create_dir_all(pictures.join(label)).unwrap();
        for index in 0..each {
            let tone = |x: u32| Rgb([(40 * class) as u8, (x * 5) as u8, (index * 20) as u8]);
            let name = format!("a \"{index}\" & <b>.png");
            RgbImage::from_fn(24, 20, |x, _| tone(x)).save(pictures.join(label).join(name)).unwrap();
        }
    }
    let config = config(validation);
    let dataset = dataset::read(&pictures, &config.split).unwrap();
    let network = network::build(&config.network, dataset.labels.len(), SIDE, 3).unwrap();
    let best = Some(Best { epoch: 1, accuracy: 0.5, cross_entropy: 1.0 });
    let progress = Progress {
        config,
        labels: dataset.labels.clone(),
        data: dataset.hash.clone(),
        epoch: 2,
        batch: 0,
        sums: EpochSums::default(),
        best,
        highest: best,
        last: best,
    };
    let line = |epoch: usize| {
        json!({
            "schema": 1, "epoch": epoch, "step": 10 * (epoch + 1), "rate": 0.1, "mu": 1.0, "cross_entropy": 1.5,
            "discriminality": 1.25, "diversity": 1.5, "coverage": 0.75, "train_accuracy": 0.5,
            "validation_accuracy": 0.5, "validation_cross_entropy": 1.0, "images_per_second": 10.0,
            "peak_memory_mib": null,
        })
    };
    fs::write(run.join("metrics.jsonl"), format!("{}\n{}\n", line(0), line(1))).unwrap();
    Made { folder, trained: Trained { network, weights: "w".repeat(64), progress, dataset } }
}

impl Made {
    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn report(&self) -> String {
        report(&self.trained, &self.run(), false, &ProgressBar::hidden()).unwrap()
    }
}

fn labels<const N: usize>(labels: [&str; N]) -> Vec<String> {
    labels.map(String::from).to_vec()
}

/// What stands between `before` and the next quote, wherever `before` stands.
fn quoted<'a>(html: &'a str, before: &str) -> Vec<&'a str> {
    html.split(before).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

const SECTIONS: [&str; 11] = [
    "summary",
    "confusion",
    "pairs",
    "classes",
    "gallery",
    "evidence",
    "calibration",
    "unknown",
    "training",
    "cost",
    "settings",
];

#[test]
fn labels_and_file_names_are_text_whatever_they_hold() {
    let html = made(&labels(["<script>x<", "\"q\" onload='y' &amp;", "c"]), 8, 0.3).report();
    assert!(html.contains("&lt;script&gt;x&lt;") && !html.contains("<script>x"));
    assert!(html.contains("&quot;q&quot; onload='y' &amp;amp;") && !html.contains("\"q\" onload"));
    assert!(html.contains("a &quot;0&quot; &amp; &lt;b&gt;.png") && !html.contains("<b>.png"));
    assert_eq!(html.matches("<script").count(), 1, "the one of the table");
}

#[test]
fn nothing_outside_of_the_file_is_referred_to() {
    let html = made(&labels(["a", "b"]), 8, 0.3).report();
    for outside in ["http:", "https:", "url(", "@import", "<link", "<iframe", "srcset"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let sources = quoted(&html, " src=\"");
    assert!(
        !sources.is_empty() && sources.iter().all(|source| source.starts_with("data:image/jpeg;base64,"))
    );
    let links = quoted(&html, " href=\"");
    assert!(links.iter().all(|link| link.starts_with('#') || link.starts_with("data:image/jpeg;base64,")));
    for link in links.iter().filter(|link| link.starts_with('#')) {
        assert!(html.contains(&format!("id=\"{}\"", &link[1..])), "{link} leads nowhere");
    }
}

#[test]
fn a_run_that_was_not_measured_is_shown_by_its_validation_split_and_says_what_to_do() {
    let made = made(&labels(["a", "b", "c"]), 8, 0.3);
    let html = made.report();
    for section in SECTIONS {
        assert!(html.contains(&format!("<section id=\"{section}\">")), "{section}");
    }
    let command = format!("fieldmark-trainer eval {}", words::typed(&made.run()));
    assert!(html.contains(&format!("<code>{command}</code> measures it.")));
    assert!(html.contains(&format!("<code>{command} --faithfulness</code>")));
    assert!(html.contains("by which the best epoch was chosen"));
    assert!(html.contains(&format!("nothing was chosen by. <code>{command}</code>")));
    assert!(html.contains("class=\"matrix\""));
}

#[test]
fn what_eval_found_is_shown() {
    let made = made(&labels(["a", "b", "c"]), 8, 0.3);
    let bins = json!([{ "low": 0.9, "high": 1.0, "pictures": 3, "confidence": 0.95, "accuracy": 0.75 },
        { "low": 0.0, "high": 0.1, "pictures": 0, "confidence": null, "accuracy": null }]);
    let eval = json!({
        "schema": 1, "weights": "w".repeat(64), "pictures": 6, "top1": 0.5, "top1_interval": [0.187, 0.812],
        "top5": 1.0, "cross_entropy": 0.9, "confusion_matrix": [[1, 1, 0], [0, 2, 0], [2, 0, 0]],
        "calibration": { "temperature": 1.7, "fitted_on": "validation", "before": { "ece": 0.123, "bins": bins },
            "after": { "ece": 0.017, "bins": bins } },
        "unknown": { "classes_left_out": 1, "runs": 3, "chosen": "energy", "threshold": 2.5, "kept": 0.95,
            "scores": [{ "score": "energy", "auroc": 0.876 }, { "score": "agreement", "auroc": 0.54 }] },
        "evidence": { "disagreements": 2, "share": 0.333 },
    });
    fs::write(made.run().join("eval.json"), eval.to_string()).unwrap();
    let html = made.report();
    for shown in [
        "50.0<span",
        "18.7\u{2013}81.2\u{a0}%",
        "2\u{a0}pictures of c taken for a",
        "1.70",
        "1.7\u{a0}%",
        "12.3\u{a0}%",
        "0.876",
        "in use",
        "Look at what the data's lint found (",
        "2\u{a0}test pictures",
        "Look at the marks of c and a: 2 of 3\u{a0}mistakes lie between the two",
        "Add pictures of classes with fewer than 20 to learn from: a (",
        "that neither training nor the choice",
    ] {
        assert!(html.contains(shown), "{shown}");
    }
    assert!(!html.contains("Calibration is not measured"));
}

#[test]
fn what_eval_found_of_other_weights_is_not_shown() {
    let made = made(&labels(["a", "b"]), 8, 0.3);
    fs::write(made.run().join("eval.json"), r#"{"weights": "other", "top1": 0.123}"#).unwrap();
    let html = made.report();
    assert!(!html.contains("12.3<span") && html.contains("eval.json is of other weights"));
}

#[test]
fn many_classes_and_no_validation_split_make_a_report_too() {
    let names: Vec<String> = (0..30).map(|class| format!("class {class}")).collect();
    let html = made(&names, 3, 0.0).report();
    assert!(html.contains("There is no validation split"));
    assert!(html.contains("no picture to measure on"));
    let html = made(&names, 4, 0.3).report();
    assert!(html.contains("<figure class=\"heat\">") && html.contains("The classes with the most mistakes"));
    // A crop of 88 pixels of a plain picture is under 2 KB.
    assert!(html.len() < 30 * 2 * 4 * 3000 + 300_000, "{}", html.len());
}

#[test]
fn the_same_run_gives_the_same_report() {
    let made = made(&labels(["a", "b"]), 8, 0.3);
    assert!(made.report() == made.report());
}

#[test]
fn a_dead_channel_is_said_to_be_dead() {
    let made = made(&labels(["a", "b"]), 8, 0.3);
    let params = &made.trained.network.params;
    // Shifts before the ReLU: the first channel's far below zero, the others' above.
    let shift = &params.weights["class_aligned.bn.bias"].var;
    let shifts = [-1000.0_f32, 1.0, 1.0, 1.0];
    shift.set(&candle_core::Tensor::new(&shifts, shift.device()).unwrap()).unwrap();
    let html = made.report();
    assert!(html.contains("1\u{a0}channel is dead") && html.contains("<strong>dead</strong>"));
}
