//! What has been done so far, as Prometheus reads it (text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use fieldmark::engine::{Prediction, Stages};
use hyper::StatusCode;

use super::Service;

/// Upper ends, in seconds, of the groups that pictures are counted in by their time.
const ENDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counts since the program began.
#[derive(Default)]
pub struct Metrics {
    answers: Mutex<BTreeMap<u16, u64>>,
    pictures: Mutex<Pictures>,
    /// Pictures that a thread is through with, named or not.
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

    /// Counts a picture that a thread is through with.
    pub fn count_done(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// Pictures that threads are through with.
    pub fn done(&self) -> u64 {
        self.done.load(Relaxed)
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

/// All counts, in text.
pub fn text(service: &Service) -> String {
    let Metrics { answers, pictures, reloads, .. } = &service.metrics;
    let mut out = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, rows: &[(String, f64)]| {
        let _ = writeln!(out, "# HELP fieldmark_{name} {help}\n# TYPE fieldmark_{name} {kind}");
        for (suffix, value) in rows {
            let _ = writeln!(out, "fieldmark_{name}{suffix} {value}");
        }
    };
    let plain = |value: u64| [(String::new(), value as f64)];
    let rows: Vec<_> =
        lock(answers).iter().map(|(code, &count)| (format!("{{code=\"{code}\"}}"), count as f64)).collect();
    metric("answers_total", "counter", "Requests answered, by HTTP status.", &rows);

    let pictures = *lock(pictures);
    let Stages { decode, resize, run, cues } = pictures.ms;
    let stages = [("decode", decode), ("resize", resize), ("run", run), ("cues", cues)];
    let rows = stages.map(|(stage, ms)| (format!("{{stage=\"{stage}\"}}"), ms / 1000.0));
    metric("stage_seconds_total", "counter", "Time spent on pictures, by stage.", &rows);
    let ends = ENDS.map(|end| end.to_string()).into_iter().chain(["+Inf".to_string()]);
    let counts = pictures.within.into_iter().chain([pictures.count]);
    let bucket = |(end, count)| (format!("_bucket{{le=\"{end}\"}}"), count as f64);
    let mut rows: Vec<_> = ends.zip(counts).map(bucket).collect();
    rows.push(("_sum".to_string(), (decode + resize + run + cues) / 1000.0));
    rows.push(("_count".to_string(), pictures.count as f64));
    metric("picture_seconds", "histogram", "Time from a picture's bytes to its record.", &rows);
    metric("unknown_total", "counter", "Pictures better called unknown.", &plain(pictures.unknown));

    let taken = service.all_places - service.places.available_permits();
    metric(
        "places",
        "gauge",
        "Pictures that may be sent, wait or be named at a time.",
        &plain(service.all_places as u64),
    );
    metric("places_taken", "gauge", "Pictures that are sent, wait or are named now.", &plain(taken as u64));
    let rows = ["refused", "loaded"].into_iter().zip(reloads);
    let rows: Vec<_> = rows
        .map(|(outcome, count)| (format!("{{outcome=\"{outcome}\"}}"), count.load(Relaxed) as f64))
        .collect();
    metric("reloads_total", "counter", "Attempts to load the model again.", &rows);
    let loaded = service.model.current();
    let labels = &loaded.engine.description().labels_sha256;
    let version = env!("CARGO_PKG_VERSION");
    let info = format!("{{version=\"{version}\",labels_sha256=\"{labels}\"}}");
    metric("info", "gauge", "The program, and the model's classes.", &[(info, 1.0)]);
    out
}
