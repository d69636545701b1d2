use std::fs;
use std::path::PathBuf;

use fieldmark::frame::ResizeRule;
use fieldmark::unknown::Score;
use image::{Rgb, RgbImage};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::data::batch::{Augment, Crop};
use crate::data::dataset::{self, Annotation, FieldMarks, PartPoint, SplitRule};
use crate::measure::eval::evaluate;
use crate::measure::faithfulness::faithfulness;
use crate::net::network::{self, NetworkConfig};
use crate::run::checkpoint::Progress;
use crate::run::config::Config;
use crate::run::metrics::{Best, EpochSums};
use crate::run::recipe::Recipe;
use crate::run::records::{
    Background, Bin, Calibration, ClassResult, Comparison, Confusion, CueRates, EVAL, Faithfulness,
    HeadAndMaps, MovedPeaks, Places, Rates, Reliability, ScoreResult, Stability, UnknownResult,
};
use words::{breakable, count, interval, percent, value};

const SIDE: u32 = 32;

fn config(validation: f64) -> Config {
    let scratch = Recipe::Scratch.config();
    Config {
        seed: 3,
        split: SplitRule { validation, ..scratch.split },
        network: NetworkConfig { xi: 2, ..scratch.network },
        side: SIDE,
        resize: ResizeRule::Pad,
        augment: Augment { crop: Crop::Whole, ..scratch.augment },
        batch: 4,
        epochs: 2,
        ..scratch
    }
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

    /// Writes `eval.json`.
    fn record(&self, evaluation: &Evaluation) {
        fs::write(self.run().join(EVAL), serde_json::to_string_pretty(evaluation).unwrap()).unwrap();
    }

    fn report(&self) -> String {
        self.report_with(None)
    }

    fn report_with(&self, model: Option<&Path>) -> String {
        let run = words::typed(&self.run());
        let commands = Commands {
            eval: format!("MEASURE {run}"),
            faithfulness: format!("MEASURE MORE {run}"),
            export: "EXPORT".to_owned(),
            deploy: "DEPLOY".to_owned(),
            ..Commands::default()
        };
        let asked = Asked { run: &self.run(), is_last: false, model, commands };
        report(&self.trained, &asked, &ProgressBar::hidden()).unwrap()
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
    let command = format!("MEASURE {}", words::typed(&made.run()));
    assert!(html.contains(&format!("<code>{command}</code> measures it.")));
    assert!(html.contains(&format!("<code>MEASURE MORE {}</code>", words::typed(&made.run()))));
    for option in ["<code>--", " --", "(--"] {
        let body = html.split("<body>").nth(1).unwrap();
        assert!(!body.contains(option), "the library itself names no option: {option}");
    }
    assert!(html.contains("by which the best epoch was chosen"));
    assert!(html.contains(&format!("nothing was chosen by. <code>{command}</code>")));
    assert!(html.contains("class=\"matrix\""));
}

#[test]
fn the_way_to_a_board_begins_with_what_is_there() {
    let made = made(&labels(["a", "b"]), 8, 0.3);
    assert!(made.report().contains("write its model file, if that is not done yet. <code>EXPORT</code>"));
    let html = made.report_with(Some(Path::new("my out/model.onnx")));
    assert!(html.contains("its model file is 'my out/model.onnx'. <code>DEPLOY</code>"));
    assert!(!html.contains("EXPORT"));
}

#[test]
fn the_last_epoch_is_that_of_the_metrics_though_the_weights_are_of_an_earlier_one() {
    let mut made = made(&labels(["a", "b"]), 8, 0.3);
    let best = Some(Best { epoch: 0, accuracy: 0.625, cross_entropy: 1.0 });
    (made.trained.progress.best, made.trained.progress.last) = (best, best);
    let html = made.report();
    assert!(
        html.contains("Kept: epoch 1 with 62.5\u{a0}% of")
            && html.contains("Last: epoch 2 with 50.0\u{a0}%.")
    );
}

#[test]
fn long_labels_are_broken_where_they_stand_beside_pictures() {
    let style = include_str!("style.css");
    for beside in [".marks span {", ".shown figcaption {", "details.class h3 {"] {
        let rule = style.split(beside).nth(1).and_then(|rest| rest.split('}').next());
        assert!(rule.is_some_and(|rule| rule.contains("overflow-wrap: anywhere")), "{beside}");
    }
}

#[test]
fn what_eval_found_is_shown() {
    let made = made(&labels(["a", "b", "c"]), 8, 0.3);
    let mut evaluation = evaluate(&made.trained, None).unwrap();
    let bins = vec![
        Bin { low: 0.9, high: 1.0, pictures: 3, confidence: Some(0.95), accuracy: Some(0.75) },
        Bin { low: 0.0, high: 0.1, pictures: 0, confidence: None, accuracy: None },
    ];
    evaluation.confusion_matrix = vec![vec![1, 1, 0], vec![0, 2, 0], vec![2, 0, 0]];
    (evaluation.pictures, evaluation.top1, evaluation.top1_interval) = (6, 0.5, [0.187, 0.812]);
    evaluation.calibration.temperature = 1.7;
    (evaluation.calibration.before.ece, evaluation.calibration.after.ece) = (0.123, 0.017);
    (evaluation.calibration.before.bins, evaluation.calibration.after.bins) = (bins.clone(), bins);
    (evaluation.evidence.disagreements, evaluation.evidence.share) = (2, 0.333);
    let unknown = evaluation.unknown.as_mut().unwrap();
    (unknown.classes_left_out, unknown.runs, unknown.chosen) = (1, 3, Score::Energy);
    unknown.scores = vec![
        ScoreResult { score: Score::Energy, auroc: 0.876, rejected: 0.5 },
        ScoreResult { score: Score::Agreement, auroc: 0.54, rejected: 0.25 },
    ];
    made.record(&evaluation);
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
        "1\u{a0}class a run",
        "3\u{a0}runs",
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
    let mut evaluation = evaluate(&made.trained, None).unwrap();
    (evaluation.weights, evaluation.top1) = ("other".into(), 0.123);
    made.record(&evaluation);
    let html = made.report();
    assert!(!html.contains("12.3<span") && html.contains("eval.json is of other weights"));
}

#[test]
fn an_eval_json_of_another_version_is_said_with_the_command_that_makes_it_again() {
    let made = made(&labels(["a", "b"]), 8, 0.3);
    let command = format!("<code>MEASURE {}</code>", words::typed(&made.run()));
    let mut evaluation = evaluate(&made.trained, None).unwrap();
    let json = serde_json::to_string(&evaluation).unwrap();
    fs::write(made.run().join(EVAL), json.replace("\"top1\"", "\"first\"")).unwrap();
    evaluation.confusion_matrix[0].push(0);
    for reason in ["missing field `top1`", "it does not have the 2 classes of the run"] {
        let html = made.report();
        let calibration = section(&html, "calibration");
        assert!(calibration.contains("eval.json is not of this version of the program"), "{calibration}");
        assert!(calibration.contains(reason) && calibration.contains(&command), "{calibration}");
        let summary = section(&html, "summary");
        assert!(summary.contains("again: eval.json is not of this version") && summary.contains(&command));
        assert!(summary.contains("by which the best epoch was chosen"), "{summary}");
        made.record(&evaluation);
    }
}

/// The section with this id.
fn section<'a>(html: &'a str, id: &str) -> &'a str {
    let start = html.find(&format!("<section id=\"{id}\">")).unwrap();
    let length = html[start..].find("</section>").unwrap();
    &html[start..start + length]
}

#[track_caller]
fn shows(section: &str, figures: &[String]) {
    for figure in figures {
        assert!(section.contains(figure.as_str()), "{figure} is not in {section}");
    }
}

/// A run of three pairs of look-alikes, whose marks are known.
fn annotated() -> Made {
    let mut made = made(&labels(["a", "b", "c", "d", "e", "f"]), 10, 0.3);
    let part = PartPoint { part: 0, x: 12.0, y: 10.0, radius: Some(4.0) };
    let dataset = &mut made.trained.dataset;
    for sample in &mut dataset.test {
        sample.marks = Some(Annotation { bounds: Some([2.0, 2.0, 20.0, 18.0]), parts: vec![part] });
    }
    let pair = |classes| FieldMarks { classes, parts: vec![0] };
    dataset.field_marks = [[0, 1], [2, 3], [4, 5]].map(pair).to_vec();
    made
}

fn compared() -> Comparison {
    let scores =
        [(Score::Energy, 0.8125, 0.3), (Score::Probability, 0.9375, 0.6), (Score::Agreement, 0.5625, 0.1)];
    let result = |(score, auroc, rejected)| ScoreResult { score, auroc, rejected };
    Comparison {
        schema: 1,
        classes_left_out: 2,
        runs: 3,
        scores: scores.map(result).to_vec(),
        chosen: Score::Probability,
        threshold: None,
        kept: None,
        weights: String::new(),
        parts: Vec::new(),
    }
}

#[test]
fn every_figure_of_an_evaluation_is_in_its_section_of_the_report() {
    let made = annotated();
    let mut evaluation = evaluate(&made.trained, Some(&compared())).unwrap();
    evaluation.faithfulness = Some(faithfulness(&made.trained, 100, &ProgressBar::hidden()).unwrap());
    made.record(&evaluation);
    let html = made.report();
    // By name: a new field has to be looked for too.
    let Evaluation {
        schema: _,
        weights: _,
        epoch: _,
        pictures,
        top1,
        top1_interval,
        top5,
        cross_entropy,
        coverage,
        places,
        classes,
        confusion_matrix,
        confusions,
        calibration,
        unknown,
        evidence,
        cues,
        faithfulness,
        example: _,
    } = &evaluation;
    let first = format!("{:.1}<span", 100.0 * top1);
    shows(
        section(&html, "summary"),
        &[first, interval(*top1_interval), percent(*top5), count(*pictures, "test picture", "test pictures")],
    );
    shows(section(&html, "gallery"), &[format!("h/xi is {}", value(*coverage))]);
    shows_places(&html, places.as_ref().unwrap());
    shows_classes(&html, classes, confusion_matrix, confusions);
    shows_knowledge(&html, *cross_entropy, calibration, unknown.as_ref().unwrap());
    shows_evidence(&html, evidence, cues.as_ref().unwrap(), faithfulness.as_ref().unwrap());
}

fn shows_places(html: &str, places: &Places) {
    let Places { pictures, peaks, dead, corner, corner_by_chance, blank, blank_by_chance, parked, moved } =
        places;
    let MovedPeaks { pictures: moved, peaks: judged, follows, stays } = moved.as_ref().unwrap();
    let shares = [corner, corner_by_chance, blank, blank_by_chance, follows, stays];
    let mut figures: Vec<String> = shares.into_iter().chain(parked).map(|share| percent(*share)).collect();
    figures.extend((*dead > 0.0).then(|| percent(*dead)));
    figures.extend([
        count(*pictures, "right answer", "right answers"),
        count(*peaks, "peak", "peaks"),
        count(*judged, "peak", "peaks"),
        count(*moved, "picture", "pictures"),
    ]);
    shows(section(html, "gallery"), &figures);
}

fn shows_classes(html: &str, classes: &[ClassResult], matrix: &[Vec<usize>], confusions: &[Confusion]) {
    let table = section(html, "classes");
    for (number, class) in classes.iter().enumerate() {
        let ClassResult { label, pictures, right: _, answered: _, precision, recall, recall_interval } =
            class;
        let row = table.split("<tr>").find(|row| row.contains(&format!("#class-{}\"", number + 1))).unwrap();
        let mut figures = vec![breakable(label).into_string(), format!(">{pictures}</td>")];
        figures.extend([precision, recall].into_iter().flatten().map(|share| percent(*share)));
        figures.extend(recall_interval.map(interval));
        shows(row, &figures);
    }
    let mistakes = section(html, "confusion");
    assert!(!confusions.is_empty());
    for Confusion { label, answer, pictures } in confusions {
        let [label, answer] = [label, answer].map(|label| breakable(label).into_string());
        let row = format!("<td>{label}</td><td>{answer}</td><td class=\"number\">{pictures}</td>");
        shows(mistakes, &[row]);
    }
    for count in matrix.iter().flatten().filter(|count| **count > 0) {
        shows(mistakes, &[format!("%\">{count}</td>")]);
    }
}

fn shows_knowledge(html: &str, cross_entropy: f64, calibration: &Calibration, unknown: &UnknownResult) {
    let Calibration { temperature, fitted_on: _, before, after } = calibration;
    let mut figures = vec![value(f64::from(*temperature)), value(cross_entropy), percent(after.chance)];
    for Reliability { ece, chance: _, cross_entropy, bins } in [before, after] {
        figures.extend([percent(*ece), value(*cross_entropy)]);
        let filled = bins.iter().filter(|bin| bin.pictures > 0);
        figures.extend(filled.map(|bin| {
            let pictures = count(bin.pictures, "picture", "pictures");
            format!("{pictures}, {} right", percent(bin.accuracy.unwrap()))
        }));
    }
    shows(section(html, "calibration"), &figures);
    let UnknownResult { classes_left_out, runs, scores, chosen: _, threshold, kept, kept_on_test } = unknown;
    let mut figures = vec![
        count(*classes_left_out, "class", "classes"),
        count(*runs, "run", "runs"),
        value(f64::from(*threshold)),
        percent(f64::from(kept.unwrap())),
        percent(*kept_on_test),
    ];
    for ScoreResult { score: _, auroc, rejected } in scores {
        figures.extend([format!("{auroc:.3}"), percent(*rejected)]);
    }
    shows(section(html, "unknown"), &figures);
}

fn shows_evidence(html: &str, answers: &HeadAndMaps, cues: &CueRates, faithfulness: &Faithfulness) {
    let section = section(html, "evidence");
    let HeadAndMaps { disagreements, share, accuracy_where_different, accuracy_where_alike, top1_of_maps } =
        answers;
    let mut figures = vec![
        count(*disagreements, "test picture", "test pictures"),
        percent(*share),
        format!("right on {}", percent(*top1_of_maps)),
    ];
    if let (Some(apart), Some(alike)) = (accuracy_where_different, accuracy_where_alike) {
        figures.extend([percent(*apart), percent(*alike)]);
    }
    let Faithfulness { pictures, right, pointing, coverings, background, stability } = faithfulness;
    figures.push(format!("{right} right answers among {pictures}"));
    let CueRates { one_mark, marks, parts, object } = pointing.unwrap();
    let strongest = |rates: Option<Rates>| rates.map(|rates| rates.strongest_cue);
    assert_eq!(strongest(object), strongest(cues.object));
    for rates in [one_mark, marks, parts, object] {
        let Rates { pictures, strongest_cue, any_cue, grad_cam, random_point, centre } = rates.unwrap();
        figures.extend([strongest_cue, any_cue, grad_cam.unwrap(), random_point, centre].map(percent));
        figures.push(format!(">{pictures}</td>"));
    }
    let coverings = coverings.as_ref().unwrap();
    for curves in [&coverings.deletion, &coverings.insertion] {
        figures.extend(curves.each().map(|curve| format!(">{:.3}</td>", curve.area_under)));
    }
    for square in &coverings.squares {
        figures.push(format!("A square of {}", percent(square.area)));
        figures.extend(square.drop.each().map(|drop| value(drop.logit)));
    }
    let Stability { mirrored, shifted } = stability.as_ref().unwrap();
    for moved in [mirrored, shifted] {
        figures.extend([moved.same_answer, moved.cue.near, moved.grad_cam.near].map(percent));
    }
    let Background { evidence, picture, .. } = background.as_ref().unwrap();
    figures.extend([percent(*evidence), percent(*picture)]);
    shows(section, &figures);
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
