//! `fieldmark inspect`: what is inside a model.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};

use anyhow::Context;
use fieldmark::engine::Engine;
use fieldmark::file::write_whole;
use fieldmark::head::HeadKind;
use fieldmark::model::{Input, Thresholds};
use fieldmark::{Description, Layout, Rejection};
use serde::Serialize;
use serde_json::Value;

use crate::args::{ComputeArgs, InspectArgs, ReportFormat, load};
use crate::exit::Exit;
use crate::record::SCHEMA;
use crate::text::{percent, printable};

/// What is written.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    model: String,
    bytes: u64,
    input: Input,
    maps: Maps,
    head: HeadKind,
    multiply_adds: u64,
    temperature: f32,
    thresholds: Thresholds,
    /// The rule in force.
    unknown: Option<Rejection>,
    self_tests: usize,
    training: &'a Value,
    groups: &'a Layout,
    labels_sha256: &'a str,
    labels: &'a [String],
}

/// The size of the maps, in cells, and the input pixels from one cell to the next.
#[derive(Serialize)]
struct Maps {
    width: usize,
    height: usize,
    stride: u32,
}

/// Runs the subcommand.
///
/// # Errors
/// A refused model, and a report that cannot be written.
pub fn run(args: &InspectArgs) -> anyhow::Result<Exit> {
    let engine = load(&args.model, &ComputeArgs::default(), None)?;
    if let Some(path) = &args.description {
        let json = engine.description().to_json() + "\n";
        write_whole(path, json.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let model = args.model.display().to_string();
    let bytes = fs::metadata(&args.model).with_context(|| model.clone())?.len();
    let report = match args.format {
        ReportFormat::Text => text(&report(model, bytes, &engine)),
        ReportFormat::Json => json(model, bytes, &engine)?,
    };
    io::stdout().write_all(report.as_bytes()).context("results cannot be written")?;
    Ok(Exit::Done)
}

/// The report as JSON, of a model of so many bytes that is called `model`.
///
/// # Errors
/// That JSON has no words for it.
pub fn json(model: String, bytes: u64, engine: &Engine) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&report(model, bytes, engine))? + "\n")
}

fn report(model: String, bytes: u64, engine: &Engine) -> Report<'_> {
    let Description { labels, labels_sha256, layout, head, input, .. } = engine.description();
    let Description { map_stride, temperature, thresholds, training, self_test, .. } = engine.description();
    let [height, width] = engine.map_size();
    Report {
        schema: SCHEMA,
        model,
        bytes,
        input: *input,
        maps: Maps { width, height, stride: *map_stride },
        head: head.kind,
        multiply_adds: engine.multiply_adds(),
        temperature: *temperature,
        thresholds: *thresholds,
        unknown: engine.description().rule(),
        self_tests: self_test.len(),
        training,
        groups: layout,
        labels_sha256,
        labels,
    }
}

fn text(report: &Report<'_>) -> String {
    let Report { input, maps, groups, labels, .. } = report;
    let side = input.side;
    let resize = plain(&serde_json::json!(input.resize));
    let head = plain(&serde_json::json!(report.head));
    let facts = [
        ("model", printable(&report.model)),
        ("size", size(report.bytes)),
        ("input", format!("{side} x {side} pixels, resized by rule \"{resize}\"")),
        ("classes", labels.len().to_string()),
        ("channels", channels(groups)),
        ("maps", format!("{} x {} cells, one every {} pixels", maps.width, maps.height, maps.stride)),
        ("head", head),
        ("multiply-adds", format!("{} a picture", magnitude(report.multiply_adds))),
        ("temperature", report.temperature.to_string()),
        ("unknown", unknown(report.unknown)),
        ("self-tests", report.self_tests.to_string()),
    ];
    let mut text = String::new();
    for (name, fact) in facts {
        let _ = writeln!(text, "{name:<15}{fact}");
    }
    text.push_str("\ntraining\n");
    push_training(&mut text, &for_people(report.training, labels.len()), 1);
    text.push_str("\nclasses\n");
    push_classes(&mut text, labels, groups);
    text
}

/// What is called unknown.
fn unknown(rule: Option<Rejection>) -> String {
    let Some(Rejection { score, threshold, kept }) = rule else { return "never".to_string() };
    let kept = kept.map(|kept| format!(", which {} of the known pictures reach", percent(kept)));
    format!("below {score} {threshold}{}", kept.unwrap_or_default())
}

/// Channels, and how they are shared out.
fn channels(groups: &Layout) -> String {
    let xi = || (0..groups.classes()).map(|class| groups.xi(class));
    let (least, most) = (xi().min().unwrap_or(0), xi().max().unwrap_or(0));
    let channels = groups.channels();
    if least == most {
        format!("{channels}, {least} a class")
    } else {
        format!("{channels}, unevenly {least} to {most} a class")
    }
}

/// A line an entry; objects in objects open up once, all below is JSON.
fn push_training(text: &mut String, value: &Value, depth: usize) {
    const DEEPEST: usize = 2;
    let indent = "  ".repeat(depth);
    let Value::Object(entries) = value else {
        let _ =
            writeln!(text, "{indent}{}", if value.is_null() { "not recorded".into() } else { plain(value) });
        return;
    };
    let width = entries.keys().map(|key| key.chars().count()).max().unwrap_or(0);
    for (key, value) in entries {
        let key = printable(key);
        if value.is_object() && depth < DEEPEST {
            let _ = writeln!(text, "{indent}{key}");
            push_training(text, value, depth + 1);
        } else {
            let _ = writeln!(text, "{indent}{key:<width$}  {}", plain(value));
        }
    }
}

/// Epochs as people count them, and without the first five of so few classes that all are among them.
fn for_people(value: &Value, classes: usize) -> Value {
    let Value::Object(entries) = value else { return value.clone() };
    let says_something = |key: &String| key != "top5" || classes > 5;
    let told = |(key, value): (&String, &Value)| {
        let told = match value.as_u64() {
            Some(epoch) if key == "epoch" => (epoch + 1).into(),
            _ => for_people(value, classes),
        };
        (key.clone(), told)
    };
    Value::Object(entries.iter().filter(|(key, _)| says_something(key)).map(told).collect())
}

/// A value on one line that fits a screen; text without its quotes.
fn plain(value: &Value) -> String {
    const LONGEST: usize = 96;
    let line = match value {
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    };
    match line.char_indices().nth(LONGEST) {
        None => line,
        Some((end, _)) => format!("{}...", &line[..end]),
    }
}

fn push_classes(text: &mut String, labels: &[String], groups: &Layout) {
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let digits = labels.len().to_string().len();
    for (class, label) in labels.iter().enumerate() {
        let group = groups.group(class);
        let last = group.end - 1;
        let channels = match groups.xi(class) {
            1 => format!("channel {last}"),
            _ => format!("channels {} to {last}", group.start),
        };
        let _ = writeln!(text, "  {class:>digits$}  {label:<width$}  {channels}");
    }
}

/// Bytes, for people.
fn size(bytes: u64) -> String {
    let (kib, mib) = (bytes as f64 / 1024.0, bytes as f64 / (1024.0 * 1024.0));
    if mib >= 1.0 { format!("{mib:.1} MiB") } else { format!("{kib:.1} KiB") }
}

/// A count to three digits, in words.
fn magnitude(count: u64) -> String {
    for (one, name) in [(1e9, "billion"), (1e6, "million"), (1e3, "thousand")] {
        if count as f64 >= one {
            return format!("{:.2} {name}", count as f64 / one);
        }
    }
    count.to_string()
}

#[cfg(test)]
mod tests {
    use fieldmark::Score;
    use serde_json::json;

    use super::*;

    #[test]
    fn uneven_layouts_are_called_so() {
        assert_eq!(channels(&Layout::uniform(4, 3).unwrap()), "12, 3 a class");
        assert_eq!(channels(&Layout::allot(3, 8).unwrap()), "8, unevenly 2 to 3 a class");
    }

    #[test]
    fn numbers_are_told_in_words() {
        for (count, words) in [(999, "999"), (1_500, "1.50 thousand"), (1_823_000_000, "1.82 billion")] {
            assert_eq!(magnitude(count), words);
        }
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(45 << 20), "45.0 MiB");
    }

    #[test]
    fn training_opens_up_one_level_and_stays_on_the_screen() {
        let training = json!({
            "program": "a\nb", "epochs": 30, "top1": 0.91,
            "config": {"xi": 3, "network": {"head": {"kind": "group"}}},
            "losses": vec![0.123_456; 100],
        });
        let mut text = String::new();
        push_training(&mut text, &training, 1);
        let config =
            "  config\n    network  {\"head\":{\"kind\":\"group\"}}\n    xi       3\n  epochs   30\n";
        assert!(text.starts_with(config), "{text}");
        assert!(text.contains("  program  a?b\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 112), "{text}");
        text.clear();
        push_training(&mut text, &Value::Null, 1);
        assert_eq!(text, "  not recorded\n");
    }

    #[test]
    fn people_count_epochs_from_1_and_five_of_five_classes_say_nothing() {
        let training = json!({ "test": { "epoch": 19, "top1": 0.5, "top5": 1.0 }, "epochs": 20 });
        let few = json!({ "test": { "epoch": 20, "top1": 0.5 }, "epochs": 20 });
        let more = json!({ "test": { "epoch": 20, "top1": 0.5, "top5": 1.0 }, "epochs": 20 });
        assert_eq!((for_people(&training, 5), for_people(&training, 6)), (few, more));
    }

    #[test]
    fn the_threshold_is_told_with_its_score_and_what_it_keeps() {
        let rule = Rejection { score: Score::Energy, threshold: 2.5, kept: Some(0.953) };
        assert_eq!(unknown(Some(rule)), "below energy 2.5, which 95.3 % of the known pictures reach");
        assert_eq!(unknown(Some(Rejection { kept: None, ..rule })), "below energy 2.5");
        assert_eq!(unknown(None), "never");
    }

    #[test]
    fn classes_are_listed_with_their_channels() {
        let mut text = String::new();
        push_classes(&mut text, &["Robin", "Wren"].map(String::from), &Layout::from_sizes(&[2, 1]).unwrap());
        assert_eq!(text, "  0  Robin  channels 0 to 1\n  1  Wren   channel 2\n");
    }
}
