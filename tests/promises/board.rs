//! The board's program: what it prints, how it fails, and that it answers as the trainer does.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fieldmark::engine::{Engine, Options};
use fieldmark::kernels::Isa;
use fieldmark::model::Description;
use fieldmark::raw::raw_tensor;
use ndarray::Ix3;
use serde_json::Value;

use crate::program::{Finished, example, finished, program, run, trained};

#[path = "../../runtime/examples/marks/answer.rs"]
mod answer;

/// A trained model and the pictures beside it.
struct Board {
    folder: tempfile::TempDir,
    run: PathBuf,
    model: PathBuf,
}

impl Board {
    fn new() -> Board {
        let folder = tempfile::tempdir().unwrap();
        let (run, model) = trained(folder.path());
        Board { folder, run, model }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of this name with these bytes.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn picture(&self) -> PathBuf {
        self.path("birds/images/001.Amber_crowned_Warbler/Amber_crowned_Warbler_0001.jpg")
    }

    /// `fieldmark predict MODEL` with these arguments.
    fn predict(&self, args: &[&Path]) -> Finished {
        run("fieldmark", [Path::new("predict"), &self.model].into_iter().chain(args.iter().copied()))
    }

    fn description(&self) -> Description {
        let engine = Engine::load(&self.model, Options::default()).unwrap();
        engine.description().clone()
    }
}

/// The records of JSON lines.
fn records(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn flag(text: &str) -> &Path {
    Path::new(text)
}

#[test]
fn the_board_answers_as_the_trainer_does() {
    let board = Board::new();
    run("fieldmark-trainer", [Path::new("eval"), &board.run]).expect(0);
    let eval: Value = serde_json::from_slice(&std::fs::read(board.run.join("eval.json")).unwrap()).unwrap();
    let split: Value = serde_json::from_slice(&std::fs::read(board.run.join("split.json")).unwrap()).unwrap();
    let path = |name: &Value| board.path("birds").join(name.as_str().unwrap()).display().to_string();
    let list = split["test"].as_array().unwrap().iter().map(path).collect::<Vec<_>>().join("\n");
    let list = format!("@{}", board.file("list.txt", list.as_bytes()).display());
    let records = records(&board.predict(&[flag("--format"), flag("jsonl"), flag(&list)]).expect(0).out());
    assert_eq!(records.len() as u64, eval["pictures"].as_u64().unwrap());
    let is_right = |record: &&Value| {
        let label = record["top"][0]["label"].as_str().unwrap();
        record["input"].as_str().unwrap().contains(label)
    };
    let right = records.iter().filter(is_right).count();
    let share = right as f64 / records.len() as f64;
    assert!((share - eval["top1"].as_f64().unwrap()).abs() < 1e-9, "{share} {eval}");
}

#[test]
fn shares_and_bias_are_the_logit_and_maps_are_what_cues_were_read_from() {
    let board = Board::new();
    let (picture, maps) = (board.picture(), board.path("maps.bin"));
    let args = [flag("--cues"), flag("--format"), flag("jsonl"), flag("--maps"), &maps, &picture];
    let record = &records(&board.predict(&args).expect(0).out())[0];
    assert_eq!((record["schema"].as_u64(), record["width"].as_u64()), (Some(1), Some(64)));
    let answer = &record["top"][0];
    let class = answer["index"].as_u64().unwrap() as usize;
    let description = board.description();
    let shares: f64 =
        record["cues"].as_array().unwrap().iter().map(|cue| cue["share"].as_f64().unwrap()).sum();
    let logit = answer["logit"].as_f64().unwrap();
    assert!((shares + f64::from(description.head.bias[class]) - logit).abs() < 1e-4, "{record}");
    let maps = raw_tensor(&std::fs::read(maps).unwrap()).unwrap().into_dimensionality::<Ix3>().unwrap();
    assert_eq!(maps.dim(), (12, 4, 4));
    let logits = description.head.logits(maps.view(), &description.layout).unwrap();
    assert!((f64::from(logits[class]) - logit).abs() < 1e-4);
}

#[test]
fn the_examples_name_pictures_as_the_program_does() {
    let board = Board::new();
    let picture = board.picture();
    let record = &records(&board.predict(&[flag("--format"), flag("jsonl"), &picture]).expect(0).out())[0];
    let out = finished(example("predict").args([&board.model, &picture])).expect(0).out();
    for answer in record["top"].as_array().unwrap() {
        let probability = 100.0 * answer["probability"].as_f64().unwrap();
        let line = format!("{} {probability:.1} %", answer["label"].as_str().unwrap());
        assert!(out.lines().any(|found| found == line), "{line}: {out}");
    }
    assert!(out.contains("  at x "), "{out}");

    let drawn = finished(example("camera_loop").arg(&board.model).arg("3")).expect(0).out();
    assert_eq!(drawn.lines().count(), 3, "{drawn}");
    // The last drawn frame, and half of another, which is left out.
    let frame: Vec<u8> = (0..3 * 32 * 32).map(|at| (at / 3) as u8).collect();
    let frames = [frame.as_slice(), &frame[..1500]].concat();
    let stdin = std::fs::File::open(board.file("frames.rgb", &frames)).unwrap();
    let sent = finished(example("camera_loop").arg(&board.model).stdin(stdin)).expect(0).out();
    assert_eq!(sent.lines().collect::<Vec<_>>(), drawn.lines().skip(2).collect::<Vec<_>>());
}

#[test]
fn a_microcontroller_names_class_and_marks_from_half_precision_maps() {
    let board = Board::new();
    let (picture, maps, description) = (board.picture(), board.path("maps.f16"), board.path("model.json"));
    let flags = ["--cues", "--format", "jsonl", "--maps-type", "f16", "--maps"].map(flag);
    let args: Vec<&Path> = flags.into_iter().chain([maps.as_path(), &picture]).collect();
    let record = &records(&board.predict(&args).expect(0).out())[0];
    run("fieldmark", [flag("inspect"), &board.model, flag("--description"), &description]).expect(0);

    let description = Description::from_json(&std::fs::read_to_string(description).unwrap()).unwrap();
    assert_eq!(description, board.description());
    let maps = std::fs::read(maps).unwrap();
    let answer = answer::answer(&description, &maps, [64, 64]).unwrap();
    assert_eq!(answer.label, record["top"][0]["label"]);
    let close = |a: f32, b: &Value, within: f64| (f64::from(a) - b.as_f64().unwrap()).abs() <= within;
    assert!(close(answer.probability, &record["top"][0]["probability"], 1e-3), "{answer} {record}");
    assert_eq!(answer.unknown.is_some(), record["unknown"].is_object());
    let cues = record["cues"].as_array().unwrap();
    assert_eq!(answer.cues.len(), cues.len());
    for (cue, expected) in answer.cues.iter().zip(cues) {
        assert_eq!(cue.channel, expected["channel"]);
        assert!(close(cue.x, &expected["x"], 0.1) && close(cue.y, &expected["y"], 0.1), "{answer} {record}");
        assert!(close(cue.share, &expected["share"], 1e-2), "{answer} {record}");
    }
    let error = answer::answer(&description, &maps[..20], [64, 64]).unwrap_err();
    assert!(error.to_string().starts_with("raw tensor needs 404 bytes, got 20"), "{error}");
}

#[test]
fn answers_do_not_depend_on_threads_and_keep_the_order() {
    let board = Board::new();
    let images = board.path("birds/images");
    let answers = |threads: &str| {
        let args =
            [flag("--cues"), flag("--format"), flag("jsonl"), flag("--threads"), flag(threads), &images];
        let mut records = records(&board.predict(&args).expect(0).out());
        for record in &mut records {
            record["ms"] = Value::Null;
        }
        records
    };
    let one = answers("1");
    assert_eq!(one.len(), 44);
    assert!(one == answers("3"));
}

#[test]
fn every_format_holds_the_answer() {
    let board = Board::new();
    let picture = board.picture();
    let of = |format: &str| board.predict(&[flag("--format"), flag(format), &picture]).expect(0).out();
    let label = records(&of("jsonl"))[0]["top"][0]["label"].as_str().unwrap().to_owned();
    let json: Value = serde_json::from_str(&of("json")).unwrap();
    assert_eq!(json[0]["top"][0]["label"], label.as_str());
    assert!(of("csv").lines().nth(1).unwrap().contains(&label));
    assert!(of("text").contains(&label.replace('_', " ")) || of("text").contains(&label));
}

#[test]
fn models_that_are_none_are_refused_with_exit_code_3() {
    let board = Board::new();
    let (bytes, picture) = (std::fs::read(&board.model).unwrap(), board.picture());
    let labels = board.description().labels;
    let ours = format!("\"{}\",\"{}\"", labels[0], labels[1]);
    let swapped = format!("\"{}\",\"{}\"", labels[1], labels[0]);
    let at = bytes.windows(ours.len()).position(|window| window == ours.as_bytes()).unwrap();
    let mut permuted = bytes.clone();
    permuted[at..at + ours.len()].copy_from_slice(swapped.as_bytes());
    let cases = [
        (board.file("cut.onnx", &bytes[..bytes.len() / 2]), "copy or export it again"),
        (board.file("permuted.onnx", &permuted), "reordered after export"),
        (board.file("text.onnx", b"a shopping list"), "not an ONNX model"),
        (board.file("empty.onnx", b""), "not an ONNX model"),
        (board.path("absent.onnx"), "cannot be read"),
        (board.path("birds"), "not a regular file"),
    ];
    for (model, reason) in cases {
        for command in ["predict", "inspect", "verify"] {
            let mut args = vec![Path::new(command), &model];
            args.extend((command == "predict").then_some(picture.as_path()));
            let refused = run("fieldmark", args).expect(3);
            let err = refused.err();
            assert!(err.contains(reason) && err.lines().count() == 1, "{command} {}: {err}", model.display());
            assert_eq!(refused.out(), "");
        }
    }
}

#[test]
fn pictures_that_are_none_are_named_and_the_rest_processed() {
    let board = Board::new();
    let picture = board.picture();
    let photo = std::fs::read(&picture).unwrap();
    let cases = [
        (board.file("text.jpg", b"Dear diary"), "text"),
        (board.file("empty.jpg", b""), "empty (0 bytes)"),
        (board.file("cut.jpg", &photo[..photo.len() / 2]), "ends in the middle"),
        (board.path("absent.jpg"), "cannot be read"),
    ];
    for (bad, reason) in &cases {
        let done = board.predict(&[flag("--format"), flag("jsonl"), bad, &picture]).expect(1);
        let err = done.err();
        assert!(err.contains(reason) && err.contains(&bad.display().to_string()), "{err}");
        assert_eq!(err.lines().filter(|line| line.starts_with("error")).count(), 1, "{err}");
        let records = records(&done.out());
        assert_eq!(records.len(), 2);
        assert!(records[0]["error"].is_string() && records[1]["top"].is_array());
    }
    std::fs::create_dir(board.path("hollow")).unwrap();
    board.predict(&[&board.path("hollow")]).expect(1);
}

#[test]
fn a_picture_beyond_the_limit_ends_with_exit_code_6() {
    let board = Board::new();
    let mut header = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    header.extend([20_000_u32.to_be_bytes(), 20_000_u32.to_be_bytes()].concat());
    header.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    let bomb = board.file("bomb.png", &header);
    let done = board.predict(&[&bomb]).expect(6);
    assert!(done.err().contains("20000 x 20000 pixels"), "{}", done.err());
    board.predict(&[&bomb, &board.file("text.jpg", b"hello")]).expect(1);
}

#[test]
fn wrong_usage_ends_with_exit_code_2() {
    let board = Board::new();
    let picture = board.picture();
    run("fieldmark", ["predict"]).expect(2);
    board.predict(&[flag("--format"), flag("yaml"), &picture]).expect(2);
    board.predict(&[flag("--maps"), &board.path("m.bin"), &picture, &picture]).expect(2);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let board = Board::new();
    let mut child = program("fieldmark")
        .args([
            Path::new("predict"),
            &board.model,
            flag("--format"),
            flag("jsonl"),
            &board.path("birds/images"),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{err}");
    assert_eq!(err, "");
}

#[test]
fn verify_passes_on_the_model_and_fails_on_changed_weights() {
    let board = Board::new();
    run("fieldmark", [Path::new("verify"), &board.model]).expect(0);
    let mut bytes = std::fs::read(&board.model).unwrap();
    let bias: Vec<u8> = board.description().head.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
    // The head's biases stand in the graph as they do in the description; only the graph's are raw.
    let at = bytes.windows(bias.len()).position(|window| window == bias).unwrap();
    bytes[at] ^= 0x40;
    bytes[at + 2] ^= 0x40;
    let changed = board.file("changed.onnx", &bytes);
    let failed = run("fieldmark", [Path::new("verify"), &changed]).expect(4);
    assert!(failed.err().contains("self-test"), "{}", failed.err());
}

#[test]
fn every_instruction_set_passes_the_self_test_and_an_unknown_one_is_refused() {
    let board = Board::new();
    let verify = |isa: &str| {
        let mut command = program("fieldmark");
        command.arg("verify").arg(&board.model).env("FIELDMARK_ISA", isa).output().unwrap()
    };
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()).map(Isa::name).chain(["tract", ""]) {
        let output = verify(isa);
        assert_eq!(output.status.code(), Some(0), "{isa}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let refused = verify("mmx");
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("mmx") && message.contains("avx2"), "{message}");
}

#[test]
fn bench_tells_each_stage_and_takes_one_picture() {
    let board = Board::new();
    let bench = |more: &[&Path]| {
        let words = [Path::new("bench"), &board.model, flag("--seconds"), flag("1")];
        run("fieldmark", words.into_iter().chain(more.iter().copied()))
    };
    let picture = board.picture();
    for (input, expected) in [
        (vec![], vec!["resize", "run", "cues", "all"]),
        (vec![picture.as_path()], vec!["decode", "resize", "run", "cues", "all"]),
    ] {
        let words = [input.as_slice(), &[flag("--format"), flag("json")]].concat();
        let report: Value = serde_json::from_str(&bench(&words).expect(0).out()).unwrap();
        let stages = report["stages"].as_array().unwrap();
        assert_eq!(stages.iter().map(|stage| &stage["stage"]).collect::<Vec<_>>(), expected);
        for stage in stages {
            let times = ["least", "p50", "p95", "p99"].map(|name| stage[name].as_f64().unwrap());
            assert!(times[0] > 0.0 && times.is_sorted(), "{stage}");
        }
        assert!(report["pictures"].as_u64().unwrap() >= 10 && report["seconds"].as_f64().unwrap() >= 1.0);
        assert_eq!(report["sha256"].as_str().unwrap().len(), 64);
    }
    let text = bench(&[]).expect(0).out();
    assert!(text.contains("a drawn picture, 1024 x 1024") && text.contains("p99"), "{text}");
    assert!(bench(&[flag("-")]).expect(2).err().contains("name a file"));
    assert!(bench(&[&board.path("birds")]).expect(2).err().contains("one picture"));
    assert!(bench(&[&board.path("none.jpg")]).expect(1).err().contains("none.jpg"));
}

#[test]
fn inspect_names_labels_groups_and_the_run() {
    let board = Board::new();
    let out = run("fieldmark", [Path::new("inspect"), &board.model]).expect(0).out();
    for word in ["Plum", "tiny", "32", "group"] {
        assert!(out.contains(word), "{word} is not in\n{out}");
    }
    let json =
        run("fieldmark", [Path::new("inspect"), &board.model, flag("--format"), flag("json")]).expect(0);
    let json: Value = serde_json::from_str(&json.out()).unwrap();
    assert_eq!(json["schema"], 1);
}

#[test]
fn overlays_are_pictures_and_pictures_stay_as_they_were() {
    let board = Board::new();
    let (picture, marks) = (board.picture(), board.path("marks"));
    let before = std::fs::read(&picture).unwrap();
    board.predict(&[flag("--overlay"), &marks, &picture]).expect(0);
    let overlay = image::open(marks.join("Amber_crowned_Warbler_0001.marks.png")).unwrap();
    assert!(overlay.width().min(overlay.height()) >= 480, "{} x {}", overlay.width(), overlay.height());
    assert_eq!(std::fs::read(&picture).unwrap(), before);
}
