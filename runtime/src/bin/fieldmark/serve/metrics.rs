//! What has been done so far, as Prometheus reads it (text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use fieldmark::engine::{Prediction, Stages};
use hyper::StatusCode;

/// Upper ends, in seconds, of the groups that pictures are counted in by their time.
const ENDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counts since the program began.
#[derive(Default)]
pub struct Metrics {
    answers: Mutex<BTreeMap<u16, u64>>,
    pictures: Mutex<Pictures>,
    /// Pictures that were handed to a thread, and those that one is through with, named or not.
    begun: AtomicU64,
    done: AtomicU64,
    reloads: [AtomicU64; 2],
}

/// Pictures that were named.
#[derive(Clone, Copy, Default)]
struct Pictures {
    count: u64,
    unknown: u64,
    /// Sums.
    ms: Stages,
    /// At most as long as the end with the same number.
    within: [u64; ENDS.len()],
}

impl Metrics {
    /// Counts an answer.
    pub fn count(&self, status: StatusCode) {
        *lock(&self.answers).entry(status.as_u16()).or_default() += 1;
    }

    /// Counts a picture that is handed to a thread.
    pub fn count_begun(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    /// Counts a picture that a thread is through with.
    pub fn count_done(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// Pictures that threads have got, and those that they are through with.
    pub fn progress(&self) -> [u64; 2] {
        // In this order: what ends in between was begun.
        let done = self.done.load(Relaxed);
        [self.begun.load(Relaxed), done]
    }

    /// Counts a picture that was named.
    pub fn count_picture(&self, prediction: &Prediction) {
        let Stages { decode, resize, run, cues } = prediction.ms;
        let seconds = (decode + resize + run + cues) / 1000.0;
        let mut pictures = lock(&self.pictures);
        pictures.count += 1;
        pictures.unknown += u64::from(prediction.unknown.is_some());
        let ms = &mut pictures.ms;
        *ms = Stages {
            decode: ms.decode + decode,
            resize: ms.resize + resize,
            run: ms.run + run,
            cues: ms.cues + cues,
        };
        for (within, end) in pictures.within.iter_mut().zip(ENDS) {
            *within += u64::from(seconds <= end);
        }
    }

    /// Counts an attempt to load the model again.
    pub fn count_reload(&self, loaded: bool) {
        self.reloads[usize::from(loaded)].fetch_add(1, Relaxed);
    }
}

fn lock<T>(counts: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How it is now.
pub struct Present {
    /// Places for pictures.
    pub all_places: usize,
    /// Those that are taken.
    pub taken: usize,
    /// Of the model in use.
    pub labels_sha256: String,
}

/// Rows of one name.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// What comes after the name, and the value.
    rows: Vec<(String, f64)>,
}

/// All counts, in text.
pub fn text(metrics: &Metrics, now: &Present) -> String {
    let mut out = String::new();
    for Metric { name, kind, help, rows } in counted(metrics).into_iter().chain(present(now)) {
        let _ = writeln!(out, "# HELP fieldmark_{name} {help}\n# TYPE fieldmark_{name} {kind}");
        for (suffix, value) in rows {
            let _ = writeln!(out, "fieldmark_{name}{suffix} {value}");
        }
    }
    out
}

fn plain(value: u64) -> Vec<(String, f64)> {
    vec![(String::new(), value as f64)]
}

/// One row for each value of a label.
fn labelled<V: Display>(label: &str, rows: impl IntoIterator<Item = (V, f64)>) -> Vec<(String, f64)> {
    rows.into_iter().map(|(name, value)| (format!("{{{label}=\"{name}\"}}"), value)).collect()
}

/// What has happened since the program began.
fn counted(metrics: &Metrics) -> [Metric; 5] {
    let answers = lock(&metrics.answers).clone();
    let answers = labelled("code", answers.into_iter().map(|(code, count)| (code, count as f64)));
    let pictures = *lock(&metrics.pictures);
    let Stages { decode, resize, run, cues } = pictures.ms;
    let stages = [("decode", decode), ("resize", resize), ("run", run), ("cues", cues)];
    let stages = labelled("stage", stages.map(|(stage, ms)| (stage, ms / 1000.0)));
    let reloads = ["refused", "loaded"].into_iter().zip(&metrics.reloads);
    let reloads = labelled("outcome", reloads.map(|(outcome, count)| (outcome, count.load(Relaxed) as f64)));
    [
        Metric {
            name: "answers_total",
            kind: "counter",
            help: "HTTP requests answered, by status.",
            rows: answers,
        },
        Metric {
            name: "stage_seconds_total",
            kind: "counter",
            help: "Time spent on pictures, by stage.",
            rows: stages,
        },
        Metric {
            name: "picture_seconds",
            kind: "histogram",
            help: "Time from a picture's bytes to its record.",
            rows: histogram(&pictures),
        },
        Metric {
            name: "unknown_total",
            kind: "counter",
            help: "Pictures better called unknown.",
            rows: plain(pictures.unknown),
        },
        Metric {
            name: "reloads_total",
            kind: "counter",
            help: "Attempts to load the model again.",
            rows: reloads,
        },
    ]
}

fn histogram(pictures: &Pictures) -> Vec<(String, f64)> {
    let Stages { decode, resize, run, cues } = pictures.ms;
    let ends = ENDS.map(|end| end.to_string()).into_iter().chain(["+Inf".to_string()]);
    let counts = pictures.within.into_iter().chain([pictures.count]);
    let bucket = |(end, count)| (format!("_bucket{{le=\"{end}\"}}"), count as f64);
    let mut rows: Vec<_> = ends.zip(counts).map(bucket).collect();
    rows.push(("_sum".to_string(), (decode + resize + run + cues) / 1000.0));
    rows.push(("_count".to_string(), pictures.count as f64));
    rows
}

fn present(now: &Present) -> [Metric; 3] {
    let Present { all_places, taken, labels_sha256: labels } = now;
    let version = env!("CARGO_PKG_VERSION");
    let info = format!("{{version=\"{version}\",labels_sha256=\"{labels}\"}}");
    [
        Metric {
            name: "places",
            kind: "gauge",
            help: "Pictures that may be sent, wait or be named at a time.",
            rows: plain(*all_places as u64),
        },
        Metric {
            name: "places_taken",
            kind: "gauge",
            help: "Pictures that are sent, wait or are named now.",
            rows: plain(*taken as u64),
        },
        Metric {
            name: "info",
            kind: "gauge",
            help: "The program, and the model's classes.",
            rows: vec![(info, 1.0)],
        },
    ]
}
