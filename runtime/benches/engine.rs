//! One network on one picture, again and again: what `cargo xtask bench engine` runs beside `engine.py`.
//!
//! `engine MODEL THREADS` loads the model, runs it a few times and prints a JSON line of what that took and of what
//! the network says: `{"version", "load_ms", "first_ms", "peak_bytes", "program_bytes", "logits", "maps"}`. Memory
//! is that above the empty process. Then it runs the network once for every line on stdin, and prints a JSON line
//! after each: `{"wall_ms", "cpu_ms"}`.

mod process;

use std::env;
use std::fs;
use std::io::stdin;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fieldmark::engine::{Engine, LoadError, Options, Precision};
use fieldmark::frame::Frame;
use process::{cpu_milliseconds, memory_bytes};
use serde_json::json;

/// Runs before the first that is measured: memory is taken, threads have started.
const WARM_UP: usize = 3;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [model, threads] = arguments.as_slice() else {
        bail!("expected MODEL and THREADS, got {arguments:?}; `cargo xtask bench engine` passes them");
    };
    let threads = threads.parse().with_context(|| format!("{threads:?} is no number of threads"))?;
    let empty_bytes = memory_bytes("VmRSS:")?;
    let started = Instant::now();
    let engine = load(Path::new(model), threads)?;
    let load_ms = milliseconds(started);
    let frame = noise(engine.description().input.side)?;
    let started = Instant::now();
    let output = engine.run(&frame)?;
    let first_ms = milliseconds(started);
    for _ in 0..WARM_UP {
        engine.run(&frame)?;
    }
    let ready = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "load_ms": load_ms,
        "first_ms": first_ms,
        "peak_bytes": memory_bytes("VmHWM:")? - empty_bytes,
        "program_bytes": fs::metadata(env::current_exe()?)?.len(),
        "logits": output.logits,
        "maps": output.maps.iter().collect::<Vec<_>>(),
    });
    println!("{ready}");
    for line in stdin().lines() {
        line?;
        let (started, cpu_ms) = (Instant::now(), cpu_milliseconds());
        engine.run(&frame)?;
        println!("{}", json!({"wall_ms": milliseconds(started), "cpu_ms": cpu_milliseconds() - cpu_ms}));
    }
    Ok(())
}

/// The engine, in arithmetic that every peer has.
fn load(model: &Path, threads: usize) -> Result<Engine, LoadError> {
    Engine::load(model, Options { precision: Precision::F32, threads, ..Options::default() })
}

/// A picture that `engine.py` computes in a line, too.
fn noise(side: u32) -> Result<Frame> {
    let bytes = (0..3 * u64::from(side * side)).map(|index| ((index * 2_654_435_761) >> 13) as u8);
    Ok(Frame::new(side, side, bytes.collect())?)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
