//! How time and memory of the board's engine grow: what `cargo xtask bench growth` runs. What it found is in
//! `runtime/benches/NOTES.md`.
//!
//! Networks are EfficientNet-Lite0 with first weights, for more and more classes of three channels and for larger and
//! larger pictures. Each is measured in a process of its own (`growth --model FILE`), beside the one 1 x 1 convolution
//! that its class-aligned layer is.

#[path = "../../runtime/benches/process/mod.rs"]
mod process;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{env, fs, thread};

use anyhow::{Result, ensure};
use clap::Parser;
use fieldmark::engine::{Engine, Options};
use fieldmark::frame::{Frame, ResizeRule, pattern};
use fieldmark::head::HeadKind;
use fieldmark::kernels::{Alone, Builder, Convolution, Isa, Source, Storage};
use fieldmark_trainer::data::dataset::{self, Dataset, SplitRule};
use fieldmark_trainer::data::synth::{SynthConfig, draw_dataset};
use fieldmark_trainer::measure::unknown::DEFAULT_SCORE;
use fieldmark_trainer::net::backbone::Backbone;
use fieldmark_trainer::net::network::{ClassLayer, NetworkConfig};
use fieldmark_trainer::publish::export::{WeightType, export};
use fieldmark_trainer::run::config::Config;
use fieldmark_trainer::run::folder::{Trained, untrained};
use fieldmark_trainer::run::recipe::Recipe;
use process::{cpu_milliseconds, memory_bytes};
use serde::{Deserialize, Serialize};

#[derive(Parser)]
struct Args {
    /// Numbers of classes, at the middle one of the sides
    #[arg(long, value_delimiter = ',', default_values_t = [10, 200, 1000, 10_000])]
    classes: Vec<usize>,
    /// Sides of the picture, with 200 classes
    #[arg(long, value_delimiter = ',', default_values_t = [128, 224, 320, 448])]
    sides: Vec<u32>,
    /// Pictures at a time, each on a thread, with 200 classes
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    pictures: Vec<usize>,
    /// Runs of each
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Measure this one model and print a line of JSON
    #[arg(long, hide = true)]
    model: Option<PathBuf>,
    /// As `cargo bench` passes it; nothing to choose from
    #[arg(long, hide = true)]
    bench: bool,
}

const SIDE: u32 = 224;
const CLASSES: usize = 200;
const XI: usize = 3;
/// Channels below the class-aligned layer.
const BELOW: usize = 1280;

/// What the process of one model says; milliseconds are processor time, the median of all runs.
#[derive(Serialize, Deserialize)]
struct Measured {
    load_ms: f64,
    run_ms: f64,
    convolution_ms: f64,
    /// A picture, where as many are run at once as were asked for.
    at_a_time_ms: f64,
    multiply_adds: u64,
    file_bytes: u64,
    /// The most memory it had, above the empty process.
    peak_bytes: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(
        args.rounds > 0 && args.pictures.iter().all(|&n| n > 0),
        "--rounds and --pictures must be 1 or more"
    );
    if let Some(model) = &args.model {
        println!("{}", serde_json::to_string(&measured(model, &args)?)?);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let birds = folder.path().join("birds");
    let config = SynthConfig { classes: 4, per_class_train: 4, per_class_test: 1, side: 64, seed: 1 };
    draw_dataset(&birds, &config)?;
    let dataset = dataset::read(&birds, &SplitRule::default())?;
    let child =
        |classes, side, pictures| child(folder.path(), &dataset, classes, side, pictures, args.rounds);
    println!(
        "| classes | file MB | load ms | run ms | above {} classes | that 1 x 1 convolution, above | memory MB |",
        args.classes[0]
    );
    println!("|---|---|---|---|---|---|---|");
    let mut first: Option<Measured> = None;
    for &classes in &args.classes {
        let m = child(classes, SIDE, 1)?;
        let (run, convolution) =
            first.as_ref().map_or((m.run_ms, m.convolution_ms), |f| (f.run_ms, f.convolution_ms));
        println!(
            "| {classes} | {:.1} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} |",
            m.file_bytes as f64 * 1e-6,
            m.load_ms,
            m.run_ms,
            m.run_ms - run,
            m.convolution_ms - convolution,
            m.peak_bytes as f64 * 1e-6
        );
        first.get_or_insert(m);
    }
    println!(
        "\n| side | million multiply-adds | run ms | ps a multiply-add | memory MB |\n|---|---|---|---|---|"
    );
    for &side in &args.sides {
        let m = child(CLASSES, side, 1)?;
        let million = m.multiply_adds as f64 * 1e-6;
        println!(
            "| {side} | {million:.0} | {:.2} | {:.1} | {:.0} |",
            m.run_ms,
            m.run_ms / million * 1e3,
            m.peak_bytes as f64 * 1e-6
        );
    }
    println!("\n| pictures at a time | ms a picture | memory MB |\n|---|---|---|");
    for &pictures in &args.pictures {
        let m = child(CLASSES, SIDE, pictures)?;
        println!("| {pictures} | {:.2} | {:.0} |", m.at_a_time_ms, m.peak_bytes as f64 * 1e-6);
    }
    Ok(())
}

/// Exports a network and has a process of its own measure it.
fn child(
    folder: &Path,
    dataset: &Dataset,
    classes: usize,
    side: u32,
    pictures: usize,
    rounds: usize,
) -> Result<Measured> {
    let path = folder.join("model.onnx");
    export(&trained(dataset, classes, side)?, &path, WeightType::F32, 1, DEFAULT_SCORE, None)?;
    let mut command = Command::new(env::current_exe()?);
    command.arg("--model").arg(&path).args(["--rounds", &rounds.to_string()]);
    command.args(["--pictures", &pictures.to_string()]);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A run that has not begun: first weights, names for classes that nobody has seen.
fn trained(dataset: &Dataset, classes: usize, side: u32) -> Result<Trained> {
    let network = NetworkConfig {
        backbone: Backbone::EfficientnetLite0,
        convention: None,
        class_layer: ClassLayer::Project { stride: 32 },
        xi: XI,
        head: HeadKind::GroupMean,
        dropout: 0.0,
    };
    let config = Config { network, side, resize: ResizeRule::Squash, ..Recipe::Scratch.config() };
    let mut dataset = dataset.clone();
    dataset.labels.extend((dataset.labels.len()..classes).map(|class| format!("class {class}")));
    Ok(untrained(dataset, config)?)
}

fn measured(model: &Path, args: &Args) -> Result<Measured> {
    let empty_bytes = memory_bytes("VmRSS:")?;
    let started = Instant::now();
    let engine = Engine::load(model, Options { threads: 1, ..Options::default() })?;
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    let frame = pattern(1, engine.description().input.side);
    let run_ms = median(args.rounds, || engine.run(&frame).map(drop))?;
    let at_a_time_ms = at_a_time(&engine, &frame, args.pictures[0], args.rounds)?;
    let peak_bytes = memory_bytes("VmHWM:")? - empty_bytes;
    let convolution_ms =
        convolution_ms(engine.description().layout.channels(), engine.map_size(), args.rounds)?;
    Ok(Measured {
        load_ms,
        run_ms,
        convolution_ms,
        at_a_time_ms,
        multiply_adds: engine.multiply_adds(),
        file_bytes: fs::metadata(model)?.len(),
        peak_bytes,
    })
}

/// Processor time a picture where so many are run at once, a thread each.
fn at_a_time(engine: &Engine, frame: &Frame, pictures: usize, rounds: usize) -> Result<f64> {
    let together = || {
        thread::scope(|scope| {
            let started: Vec<_> = (0..pictures).map(|_| scope.spawn(|| engine.run(frame))).collect();
            started.into_iter().try_for_each(|run| run.join().expect("no panic").map(drop))
        })
    };
    Ok(median(rounds, together)? / pictures as f64)
}

/// The class-aligned layer as one convolution, from maps of the backbone to `channels`.
fn convolution_ms(channels: usize, [height, width]: [usize; 2], rounds: usize) -> Result<f64> {
    let noise =
        |len: usize| (0..len).map(|at| ((at * 37 + 11) % 251) as f32 / 125.0 - 1.0).collect::<Vec<f32>>();
    let convolution = Convolution {
        kernel: [1, 1],
        output: [height, width],
        stride: [1, 1],
        dilation: [1, 1],
        before: [0, 0],
        weights: noise(channels * BELOW).into(),
        bias: vec![0.0; channels],
        depthwise: false,
        clamp: [0.0, f32::INFINITY],
    };
    let mut builder = Builder::new(Isa::best(), Storage::Single, 1);
    let input = builder.input([BELOW, height, width]);
    let output = builder.convolve(input, &convolution, None);
    builder.output(output);
    let network = builder.finish();
    let (mut arena, x) = (network.arena(), noise(BELOW * height * width));
    let mut out = vec![0.0; channels * height * width];
    median::<anyhow::Error>(rounds, || {
        network.run(&mut arena, &Alone, &[Source::Planes(black_box(&x))], &mut [&mut out]);
        Ok(())
    })
}

/// The median processor time of `work` in milliseconds, after two calls that do not count.
fn median<E>(rounds: usize, mut work: impl FnMut() -> Result<(), E>) -> Result<f64>
where
    anyhow::Error: From<E>,
{
    let mut times = Vec::new();
    for round in 0..rounds + 2 {
        let before = cpu_milliseconds();
        work()?;
        if round > 1 {
            times.push(cpu_milliseconds() - before);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
