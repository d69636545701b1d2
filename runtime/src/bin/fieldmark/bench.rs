//! `fieldmark bench`: how long this machine takes, stage by stage, and whether it keeps that up.

mod machine;

use std::borrow::Cow;
use std::io::{self, Write};
use std::slice;
use std::time::{Duration, Instant};

use anyhow::Context;
use fieldmark::digits::hexadecimal;
use fieldmark::engine::{Engine, Stages, instruction_set, read_model};
use fieldmark::picture::Limits;
use fieldmark::{Frame, pattern};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::args::{BenchArgs, ReportFormat, UsageError, options};
use crate::exit::Exit;
use crate::inputs::{Input, expand};
use crate::read::{decode, read};
use crate::record::SCHEMA;
use crate::text::{printable, table};
use machine::{Sensors, peak_memory_mib, processor, processor_seconds};

/// Predictions that are made however long they take.
const LEAST: usize = 10;

/// Side of the drawn picture that stands in where none is named.
const DRAWN_SIDE: u32 = 1024;

/// Share of the time at each end that is compared.
const END: f64 = 0.1;

/// What is written. Times are milliseconds.
#[derive(Serialize)]
struct Report {
    schema: u32,
    version: &'static str,
    model: String,
    /// Of the model's file.
    sha256: String,
    multiply_adds: u64,
    /// The board if it says what it is, else the processor.
    machine: Option<String>,
    /// Logical ones that this process may use.
    cores: usize,
    instruction_set: String,
    arithmetic: &'static str,
    /// That compute one picture.
    threads: usize,
    picture: Picture,
    /// From the file to an engine.
    load: f64,
    /// From a loaded engine to the first answer, with cues.
    first: f64,
    pictures: usize,
    seconds: f64,
    stages: Vec<Stage>,
    /// Processor time a picture; only Linux says it.
    processor: Option<f64>,
    /// The median of a whole prediction in the first tenth of the time, and in the last.
    ends: [f64; 2],
    peak_memory_mib: Option<f64>,
    before: Sensors,
    after: Sensors,
}

#[derive(Serialize)]
struct Picture {
    /// What was named; `None`: drawn.
    name: Option<String>,
    width: u32,
    height: u32,
}

/// One stage's times; percentiles are of the nearest rank.
#[derive(Debug, Serialize)]
struct Stage {
    #[serde(rename = "stage")]
    name: &'static str,
    least: f64,
    p50: f64,
    p95: f64,
    p99: f64,
}

/// Runs the subcommand.
///
/// # Errors
/// More than one picture, a refused model, a picture that cannot be read, and a report that cannot be written.
pub fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    let input = input(args)?;
    let model = Model::load(args)?;
    let source = input.map_or_else(|| Source::Drawn(pattern(0, DRAWN_SIDE)), Source::File);
    let report = measured(model, &source, Duration::from_secs(args.seconds.into()))?;
    let mut out = io::stdout().lock();
    match args.format {
        ReportFormat::Text => write!(out, "{}", text(&report)),
        ReportFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?),
    }
    .context("results cannot be written")?;
    Ok(Exit::Done)
}

fn input(args: &BenchArgs) -> Result<Option<Input>, UsageError> {
    let Some(typed) = &args.input else { return Ok(None) };
    let mut list = expand(slice::from_ref(typed)).list;
    match (list.pop(), list.len()) {
        (Some(Input::Stdin), _) => {
            Err(UsageError("stdin can be read once, and bench reads again and again; name a file".into()))
        }
        (Some(input), 0) => Ok(Some(input)),
        (_, more) => Err(UsageError(format!("bench takes one picture, got {}; name one", more + 1))),
    }
}

/// A loaded model, and what is said of it.
struct Model {
    engine: Engine,
    name: String,
    sha256: String,
    /// Milliseconds.
    load: f64,
}

impl Model {
    fn load(args: &BenchArgs) -> anyhow::Result<Model> {
        let name = args.model.display().to_string();
        let began = Instant::now();
        let bytes = read_model(&args.model)?;
        let options = options(&args.compute, args.threads)?;
        let read = began.elapsed();
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        let began = Instant::now();
        let engine = Engine::from_bytes(bytes, options).with_context(|| name.clone())?;
        Ok(Model { engine, name, sha256, load: milliseconds(read + began.elapsed()) })
    }
}

/// Where pictures come from.
enum Source {
    /// Read and decoded anew each time.
    File(Input),
    /// Drawn once.
    Drawn(Frame),
}

impl Source {
    /// A whole prediction's stages, and the picture's size.
    fn predict(&self, engine: &Engine) -> anyhow::Result<(Stages, [u32; 2])> {
        let began = Instant::now();
        let frame = match self {
            Source::File(input) => {
                let frame = read(input)
                    .and_then(|bytes| decode(&bytes, &Limits::default(), Some(engine.description().input)));
                Cow::Owned(frame.with_context(|| input.name())?)
            }
            Source::Drawn(frame) => Cow::Borrowed(frame),
        };
        let decoded = milliseconds(began.elapsed());
        let stages = engine.predict(&frame, 1, true)?.ms;
        Ok((Stages { decode: decoded, ..stages }, frame.picture_size()))
    }
}

fn measured(model: Model, source: &Source, time: Duration) -> anyhow::Result<Report> {
    let engine = &model.engine;
    let before = Sensors::read();
    let began = Instant::now();
    let (_, [width, height]) = source.predict(engine)?;
    let first = milliseconds(began.elapsed());
    // Before our own list of times grows.
    let peak_memory_mib = peak_memory_mib();
    let (began, at_first) = (Instant::now(), processor_seconds());
    let mut runs: Vec<(f64, Stages)> = Vec::new();
    while runs.len() < LEAST || began.elapsed() < time {
        let at = began.elapsed().as_secs_f64();
        runs.push((at, source.predict(engine)?.0));
    }
    let seconds = began.elapsed().as_secs_f64();
    let processor_time = at_first.zip(processor_seconds()).map(|(first, last)| last - first);
    let name = match source {
        Source::File(input) => Some(input.name()),
        Source::Drawn(_) => None,
    };
    Ok(Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        multiply_adds: engine.multiply_adds(),
        machine: processor(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        instruction_set: instruction_set(),
        arithmetic: engine.arithmetic(),
        threads: engine.threads(),
        model: model.name,
        sha256: model.sha256,
        load: model.load,
        first,
        pictures: runs.len(),
        seconds,
        stages: stages(&runs, name.is_some()),
        processor: processor_time.map(|seconds| 1000.0 * seconds / runs.len() as f64),
        ends: ends(&runs, seconds),
        picture: Picture { name, width, height },
        peak_memory_mib,
        before,
        after: Sensors::read(),
    })
}

fn stages(runs: &[(f64, Stages)], with_decode: bool) -> Vec<Stage> {
    let of = |name, ms: fn(&Stages) -> f64| stage(name, runs.iter().map(|(_, stages)| ms(stages)).collect());
    let decode = with_decode.then(|| of("decode", |ms| ms.decode));
    let others =
        [of("resize", |ms| ms.resize), of("run", |ms| ms.run), of("cues", |ms| ms.cues), of("all", all)];
    decode.into_iter().chain(others).collect()
}

fn all(ms: &Stages) -> f64 {
    ms.decode + ms.resize + ms.run + ms.cues
}

fn stage(name: &'static str, mut times: Vec<f64>) -> Stage {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
    Stage { name, least: times[0], p50: at(50), p95: at(95), p99: at(99) }
}

/// Medians of whole predictions in the first and last tenth of the time: a machine that becomes hot slows down.
fn ends(runs: &[(f64, Stages)], seconds: f64) -> [f64; 2] {
    let median = |is_in: &dyn Fn(f64) -> bool| {
        let times: Vec<f64> = runs.iter().filter(|(at, _)| is_in(*at)).map(|(_, ms)| all(ms)).collect();
        // A prediction may take longer than a tenth of the time.
        if times.is_empty() { all(&runs[runs.len() - 1].1) } else { stage("", times).p50 }
    };
    [median(&|at| at <= END * seconds), median(&|at| at >= (1.0 - END) * seconds)]
}

fn text(report: &Report) -> String {
    let unknown = || "not known".to_string();
    let Report { picture, ends: [early, late], .. } = report;
    let name = picture.name.as_deref().unwrap_or("a drawn picture");
    let head = [
        ("machine", report.machine.clone().unwrap_or_else(unknown)),
        ("processor", format!("{}, {} cores", report.instruction_set, report.cores)),
        ("before", report.before.to_string()),
        ("after", report.after.to_string()),
        (
            "model",
            format!(
                "{}, {} million multiply-adds",
                printable(&report.model),
                report.multiply_adds / 1_000_000
            ),
        ),
        (
            "arithmetic",
            format!(
                "{}, {} thread{}",
                report.arithmetic,
                report.threads,
                if report.threads == 1 { "" } else { "s" }
            ),
        ),
        ("picture", format!("{}, {} x {}", printable(name), picture.width, picture.height)),
        ("load", format!("{:.1} ms, first answer {:.1} ms later", report.load, report.first)),
        ("memory", report.peak_memory_mib.map_or_else(unknown, |mib| format!("{mib:.0} MiB at most"))),
    ];
    let head: Vec<String> = head.iter().map(|(what, text)| format!("{what:<11} {text}")).collect();
    let heads = ["stage", "least", "p50", "p95", "p99", "ms"].map(String::from);
    let number = |ms: f64| format!("{ms:.2}");
    let row = |stage: &Stage| {
        let Stage { name, least, p50, p95, p99 } = stage;
        [(*name).to_string(), number(*least), number(*p50), number(*p95), number(*p99), String::new()]
    };
    let rows: Vec<_> = std::iter::once(heads).chain(report.stages.iter().map(row)).collect();
    let processor = report.processor.map_or_else(unknown, |ms| format!("{ms:.2} ms"));
    format!(
        "{}\n\n{}\n{} pictures in {:.1} s; processor time a picture {processor}; median in the first tenth of the time \
         {early:.2} ms, in the last {late:.2} ms\n",
        head.join("\n"),
        table(&rows),
        report.pictures,
        report.seconds
    )
}

fn milliseconds(time: Duration) -> f64 {
    1000.0 * time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let Stage { least, p50, p95, p99, .. } = stage("run", (1..=100).rev().map(f64::from).collect());
        assert_eq!(bits([least, p50, p95, p99]), bits([1.0, 50.0, 95.0, 99.0]));
        let Stage { least, p50, p95, p99, .. } = stage("run", vec![7.0]);
        assert_eq!(bits([least, p50, p95, p99]), bits([7.0; 4]));
    }

    fn bits<const N: usize>(values: [f64; N]) -> [u64; N] {
        values.map(f64::to_bits)
    }

    #[test]
    fn ends_are_those_of_the_time() {
        let run = |at: f64, run: f64| (at, Stages { run, ..Stages::default() });
        let runs: Vec<_> = (0..100).map(|second| run(f64::from(second), f64::from(second))).collect();
        assert_eq!(bits(ends(&runs, 100.0)), bits([5.0, 94.0]));
        // One that took all the time.
        assert_eq!(bits(ends(&[run(0.0, 3.0)], 3.0)), bits([3.0, 3.0]));
    }

    #[test]
    fn stages_without_a_file_have_no_decode() {
        let runs = [(0.0, Stages { decode: 1.0, resize: 2.0, run: 4.0, cues: 8.0 })];
        let names = |with| stages(&runs, with).iter().map(|stage| stage.name).collect::<Vec<_>>();
        assert_eq!(names(false), ["resize", "run", "cues", "all"]);
        assert_eq!(names(true).len(), 5);
        assert_eq!(stages(&runs, true)[4].p50.to_bits(), 15.0_f64.to_bits());
    }
}
