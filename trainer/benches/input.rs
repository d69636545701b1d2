//! The input pipeline against the clock: what `cargo xtask bench input` runs.
//!
//! It writes photo-like JPEG files of 500 x 400 pixels, quality 90, about 66 kB, into a temporary folder (or takes
//! those of `--folder`), and tells pictures per CPU-second of one thread for each stage and for all of them together.
//! At least 1,200 a second decoded and augmented is the aim; what was tried is in `NOTES-input.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use fieldmark::frame::{Frame, ResizeRule, resize};
use fieldmark::picture::{Limits, decode_picture, read_picture};
use fieldmark_trainer::data::batch::{Augment, Batches, Pictures, Plan};
use fieldmark_trainer::data::dataset::Sample;
use fieldmark_trainer::net::ops::keep_freed_memory;
use fieldmark_trainer::random::{Stream, stream};
use image::ImageEncoder;
use image::codecs::jpeg::JpegEncoder;
use rand::RngExt;

#[derive(Parser)]
struct Args {
    /// Pixels of the network's input side
    #[arg(long, default_value_t = 224)]
    side: u32,
    /// Pictures a round
    #[arg(long, default_value_t = 64)]
    pictures: usize,
    /// Rounds; the median is told
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds a stage takes a round at least
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// JPEG files of one's own instead
    #[arg(long)]
    folder: Option<PathBuf>,
    /// As `cargo bench` passes it; nothing to choose from
    #[arg(long, hide = true)]
    bench: bool,
}

const WIDTH: u32 = 500;
const HEIGHT: u32 = 400;

fn main() -> Result<()> {
    keep_freed_memory();
    let args = Args::parse();
    ensure!(args.pictures > 0 && args.rounds > 0, "--pictures and --rounds must be 1 or more");
    let drawn = tempfile::tempdir()?;
    let files = match &args.folder {
        Some(folder) => jpegs(folder, args.pictures)?,
        None => (0..args.pictures)
            .map(|number| photo(drawn.path(), number as u64))
            .collect::<Result<Vec<PathBuf>>>()?,
    };
    let bytes: Vec<Vec<u8>> = files.iter().map(fs::read).collect::<std::io::Result<_>>()?;
    let mean = bytes.iter().map(Vec::len).sum::<usize>() / bytes.len();
    println!("{} JPEG files of {mean} bytes on average; input side {}", files.len(), args.side);
    let stages = stages(&args, &files, bytes)?;
    let mut rates = vec![Vec::new(); stages.len()];
    // Round by round, not stage by stage: what else the machine does then slows all alike.
    for _ in 0..args.rounds {
        for ((_, work), rates) in stages.iter().zip(&mut rates) {
            rates.push(rate(&args, work.as_ref())?);
        }
    }
    println!("pictures a CPU-second, median (lowest, highest) of {} rounds", args.rounds);
    for ((name, _), mut rates) in stages.into_iter().zip(rates) {
        rates.sort_by(f64::total_cmp);
        let (low, high) = (rates[0], rates[rates.len() - 1]);
        println!("{name:<34} {:>7.0} ({low:.0}, {high:.0})", rates[rates.len() / 2]);
    }
    Ok(())
}

/// What is done with each of a round's pictures.
type Work = Box<dyn Fn() -> Result<()>>;

fn stages(args: &Args, files: &[PathBuf], bytes: Vec<Vec<u8>>) -> Result<Vec<(&'static str, Work)>> {
    let limits = Limits::default();
    let decoded: Vec<Frame> =
        bytes.iter().map(|bytes| decode_picture(bytes, &limits)).collect::<Result<_, _>>()?;
    let paths = files.to_vec();
    let of = |path: &PathBuf| Sample { path: path.clone(), class: 0, marks: None };
    let samples: Vec<Sample> = files.iter().map(of).collect();
    let (side, half_more) = (args.side, args.side + args.side / 2);
    let epoch = |cache: usize| {
        let (pictures, samples) = (Arc::new(Pictures::new(side, ResizeRule::Squash, cache)), samples.clone());
        move || batches(&pictures, &samples)
    };
    let decode = move || bytes.iter().try_for_each(|bytes| decode_picture(bytes, &limits).map(|_| ()));
    let read = move || paths.iter().try_for_each(|path| read_picture(path, &limits).map(|_| ()));
    let scale = move || {
        for frame in &decoded {
            let width = frame.width() * half_more / frame.height();
            std::hint::black_box(resize(frame, frame.region(), width.max(1), half_more));
        }
        Ok(())
    };
    Ok(vec![
        ("decode, from memory", Box::new(move || Ok(decode()?))),
        ("read and decode", Box::new(move || Ok(read()?))),
        ("scale to one and a half inputs", Box::new(scale)),
        ("augment and stack, from the cache", Box::new(epoch(usize::MAX))),
        ("all of it, batches from files", Box::new(epoch(0))),
    ])
}

/// An epoch of batches made by one thread.
fn batches(pictures: &Arc<Pictures>, samples: &[Sample]) -> Result<()> {
    let order: Vec<usize> = (0..samples.len()).collect();
    let augment = Some(Augment::default());
    let plan = Plan { seed: 0, epoch: 0, size: 16, first: 0, augment, threads: 1 };
    Ok(Batches::start(pictures, samples, &order, plan).try_for_each(|batch| batch.map(|_| ()))?)
}

/// Pictures a CPU-second.
fn rate(args: &Args, work: &dyn Fn() -> Result<()>) -> Result<f64> {
    work()?;
    let (clock, before, mut done) = (Instant::now(), cpu_seconds()?, 0);
    while clock.elapsed().as_secs_f64() < args.seconds {
        work()?;
        done += args.pictures;
    }
    Ok(done as f64 / (cpu_seconds()? - before))
}

/// CPU time of this process: user and system, all threads, also those that have ended. Only Linux says it here.
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("this bench needs Linux's /proc")?;
    // The name before it may hold blanks, but ends with the last bracket.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}

fn jpegs(folder: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "jpg" || ending == "jpeg"));
    files.sort();
    ensure!(!files.is_empty(), "{} holds no .jpg file; name a folder that does", folder.display());
    Ok(files.into_iter().cycle().take(count).collect())
}

/// Writes a picture whose detail falls off with its fineness as a photo's does.
fn photo(folder: &Path, seed: u64) -> Result<PathBuf> {
    let mut pixels = vec![128.0_f32; (3 * WIDTH * HEIGHT) as usize];
    for (octave, cell) in [160_u32, 80, 40, 20, 10, 5, 2].into_iter().enumerate() {
        add_blobs(&mut pixels, cell, &mut stream(Stream::Trial { number: 100 * seed + octave as u64 }));
    }
    let mut rng = stream(Stream::Trial { number: 100 * seed + 99 });
    for pixel in pixels.chunks_exact_mut(3) {
        let grain = GRAIN * (rng.random::<f32>() - 0.5);
        for value in pixel {
            *value += grain;
        }
    }
    let bytes: Vec<u8> = pixels.iter().map(|value| value.clamp(0.0, 255.0) as u8).collect();
    let mut jpeg = Vec::new();
    let color = image::ExtendedColorType::Rgb8;
    JpegEncoder::new_with_quality(&mut jpeg, 90).write_image(&bytes, WIDTH, HEIGHT, color)?;
    let path = folder.join(format!("{seed}.jpg"));
    fs::write(&path, jpeg)?;
    Ok(path)
}

/// The sensor's noise; with it a file has about 66 kB.
const GRAIN: f32 = 24.0;

/// Adds random values on a grid of `cell` pixels, blended in between, weaker the finer; colours differ less than light.
fn add_blobs(pixels: &mut [f32], cell: u32, rng: &mut impl rand::Rng) {
    let (columns, rows) = (WIDTH / cell + 2, HEIGHT / cell + 2);
    let strength = 3.5 * (cell as f32).sqrt();
    let grid: Vec<[f32; 3]> = (0..columns * rows)
        .map(|_| {
            let light = rng.random::<f32>() - 0.5;
            [0; 3].map(|_: u32| strength * (light + 0.4 * (rng.random::<f32>() - 0.5)))
        })
        .collect();
    for (at, pixel) in (0_u32..).zip(pixels.chunks_exact_mut(3)) {
        let (x, y) = (at % WIDTH, at / WIDTH);
        let (right, down) = ((x % cell) as f32 / cell as f32, (y % cell) as f32 / cell as f32);
        let corner = (y / cell * columns + x / cell) as usize;
        let below = corner + columns as usize;
        for (channel, value) in pixel.iter_mut().enumerate() {
            let [a, b, c, d] = [corner, corner + 1, below, below + 1].map(|at| grid[at][channel]);
            *value += (a * (1.0 - right) + b * right) * (1.0 - down) + (c * (1.0 - right) + d * right) * down;
        }
    }
}
