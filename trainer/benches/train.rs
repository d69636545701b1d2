//! Training steps against the clock, one process: what `cargo xtask bench train` runs beside `train.py`.
//!
//! `train --backbone resnet18 --side 96 --threads 1 --steps 4` makes a few steps to warm up, then does
//! `--rounds` rounds of `--steps` steps (with `--on-line`, one for every line on stdin) and prints a JSON
//! line after each: `{"seconds", "cpu_seconds", "images", "peak_bytes"}`, the last of the device's memory. A step is
//! what training does:
//! forward, cross-entropy and MC-Loss, backward, SGD. Pictures are random and stay where they are: decoding
//! is `input.rs`'s business.

use std::fs;
use std::io::stdin;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use candle_nn::loss::cross_entropy;
use clap::Parser;
use fieldmark::head::HeadKind;
use fieldmark_trainer::net::backbone::Backbone;
use fieldmark_trainer::net::device::{self, Kind, Precision};
use fieldmark_trainer::net::mc_loss::Factors;
use fieldmark_trainer::net::network::{self, ClassLayer, Learning, Network, NetworkConfig, Norms};
use fieldmark_trainer::net::ops::keep_freed_memory;
use fieldmark_trainer::random::{Stream, stream};
use fieldmark_trainer::run::config::LossConfig;
use fieldmark_trainer::run::recipe::Recipe;
use fieldmark_trainer::training::loss::losses;
use fieldmark_trainer::training::optim::{Rates, Sgd};
use rand::RngExt;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = Backbone::Resnet18)]
    backbone: Backbone,
    /// Pixels of a picture's side
    #[arg(long, default_value_t = 96)]
    side: u32,
    /// Pictures a step
    #[arg(long, default_value_t = 16)]
    batch: usize,
    #[arg(long, default_value_t = 50)]
    classes: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, value_enum, default_value_t = Kind::Cpu)]
    device: Kind,
    /// Of the maps between layers
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
    /// Cross-entropy alone, to see what MC-Loss costs
    #[arg(long)]
    without_mc: bool,
    /// Steps a round
    #[arg(long, default_value_t = 4)]
    steps: u64,
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// A round for every line on stdin instead
    #[arg(long)]
    on_line: bool,
    /// As `cargo bench` passes it; nothing to choose from
    #[arg(long, hide = true)]
    bench: bool,
}

/// As from random weights: everything learns.
const LEARNING: Learning = Learning::Whole(Norms::Learn);

/// Steps before the first round: memory is taken, threads have started.
const WARM_UP: u64 = 2;

fn main() -> Result<()> {
    keep_freed_memory();
    let args = Args::parse();
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    let mut training = Training::new(&args)?;
    training.steps(WARM_UP)?;
    if args.on_line {
        stdin().lines().try_for_each(|line| {
            line?;
            training.round(&args)
        })
    } else {
        (0..args.rounds).try_for_each(|_| training.round(&args))
    }
}

struct Training {
    device: Device,
    network: Network,
    sgd: Sgd,
    images: Tensor,
    labels: Tensor,
    has_mc: bool,
    done: u64,
}

impl Training {
    fn new(args: &Args) -> Result<Training> {
        let class_layer = ClassLayer::Project { stride: 32 };
        let config = NetworkConfig {
            backbone: args.backbone,
            convention: None,
            class_layer,
            xi: 3,
            head: HeadKind::GroupMean,
            dropout: 0.0,
        };
        let device = device::open(args.device, args.precision)?;
        let network = network::build(&config, args.classes, args.side, 0)?.on(&device, args.precision)?;
        let mut rng = stream(Stream::Trial { number: 0 });
        let (batch, side) = (args.batch, args.side as usize);
        let pixels: Vec<f32> = (0..batch * 3 * side * side).map(|_| rng.random_range(0.0..255.0)).collect();
        let images = Tensor::from_vec(pixels, (batch, 3, side, side), &Device::Cpu)?.to_device(&device)?;
        let labels: Vec<u32> = (0..batch).map(|_| rng.random_range(0..args.classes as u32)).collect();
        let labels = Tensor::new(labels, &device)?;
        let sgd = Sgd::new(Recipe::Scratch.config().optim);
        Ok(Training { device, network, sgd, images, labels, has_mc: !args.without_mc, done: 0 })
    }

    fn steps(&mut self, count: u64) -> Result<()> {
        let mc = Factors::paper(1.0, 0.5);
        let config = LossConfig::paper(mc);
        for _ in 0..count {
            self.done += 1;
            let mut rng = stream(Stream::Trial { number: self.done });
            let gradients = if self.has_mc {
                losses(&self.network, &self.images, &self.labels, &config, mc.mu, LEARNING, &mut rng)?
                    .backward(&self.network)?
            } else {
                let pass = self.network.pass(&self.images, LEARNING, &mut rng)?;
                let loss = cross_entropy(&pass.output.logits, &self.labels)?;
                pass.backward(&loss, None, &self.network)?
            };
            self.sgd.step(&self.network.params, &gradients, Rates { backbone: 0.01, head: 0.01 })?;
        }
        // A GPU was only told what to do.
        self.device.synchronize()?;
        Ok(())
    }

    fn round(&mut self, args: &Args) -> Result<()> {
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        self.steps(args.steps)?;
        let line = serde_json::json!({
            "seconds": started.elapsed().as_secs_f64(),
            "cpu_seconds": cpu_seconds()? - cpu,
            "images": args.steps * args.batch as u64,
            "peak_bytes": device::peak_gpu_bytes(&self.device)?.map_or_else(peak_bytes, Ok)?,
        });
        println!("{line}");
        Ok(())
    }
}

/// Processor time of all threads that live, from Linux's `/proc`.
fn cpu_seconds() -> Result<f64> {
    let mut nanoseconds = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let statistics = fs::read_to_string(task?.path().join("schedstat"))?;
        let running = statistics.split(' ').next().context("an empty schedstat")?;
        nanoseconds += running.parse::<f64>()?;
    }
    Ok(nanoseconds * 1e-9)
}

/// The most memory that the process ever had, from Linux's `/proc`.
fn peak_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmHWM in the status")?;
    Ok(kibibytes.trim().parse::<u64>()? * 1024)
}
