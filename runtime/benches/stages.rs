//! The stages of a prediction apart, and every kernel on numbers below the normal ones: what `cargo xtask bench stages`
//! runs, with the model in `FIELDMARK_MODEL`. What it found is in `NOTES.md`.

use std::env;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use criterion::{Bencher, Criterion};
use fieldmark::engine::{Engine, Options};
use fieldmark::kernels::{Alone, Builder, Convolution, Isa, Network, Reduction, Source, Storage, Value};
use fieldmark::picture::{Limits, decode_picture, decode_picture_for};
use fieldmark::{Frame, Region, network_frame, part_cues, pattern, resize, softmax, top_k};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
#[cfg(unix)]
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<()> {
    let model = env::var_os("FIELDMARK_MODEL");
    let model = model.context("FIELDMARK_MODEL names no model; `cargo xtask bench stages` does")?;
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    stages(&mut criterion, Path::new(&model))?;
    subnormal(&mut criterion);
    criterion.final_summary();
    Ok(())
}

/// Of a camera's picture of 12 megapixels.
fn stages(criterion: &mut Criterion, model: &Path) -> Result<()> {
    let engine = Engine::load(model, Options { threads: 1, ..Options::default() })?;
    let description = engine.description();
    let input = description.input;
    let file = jpeg(4000, 3000)?;
    let limits = Limits::default();
    let picture = decode_picture_for(&file, &limits, input)?;
    let (frame, view) = network_frame(&picture, input.resize, input.side);
    let output = engine.run(&frame)?;
    let mut group = criterion.benchmark_group("stages");
    group.bench_function("decode in full", |b| timed(b, || decode_picture(&file, &limits)));
    group.bench_function("decode", |b| timed(b, || decode_picture_for(&file, &limits, input)));
    group.bench_function("resize", |b| timed(b, || network_frame(&picture, input.resize, input.side)));
    group.bench_function("run", |b| timed(b, || engine.run(&frame)));
    group.bench_function("cues", |b| {
        timed(b, || {
            let logits = black_box(&output.logits);
            let probabilities = softmax(logits, description.temperature);
            let first = top_k(logits, 5)[0];
            let (layout, head) = (&description.layout, &description.head);
            (probabilities, part_cues(output.maps.view(), layout, head, first, &view, input.side))
        });
    });
    group.finish();
    Ok(())
}

/// A drawn picture as a camera writes it.
fn jpeg(width: u32, height: u32) -> Result<Vec<u8>> {
    let drawn = pattern(1, 512);
    let picture: Frame =
        resize(&drawn, Region { x: 0.0, y: 64.0, width: 512.0, height: 384.0 }, width, height);
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    encoder.write_image(picture.pixels(), width, height, ExtendedColorType::Rgb8)?;
    Ok(bytes)
}

/// What a kernel is measured on: the largest input, and what is added to every sum.
const NUMBERS: [(&str, f32, f32); 3] =
    [("normal", 1.0, 0.5), ("subnormal inputs", 1e-39, 0.5), ("subnormal sums", 1e-39, 0.0)];

fn subnormal(criterion: &mut Criterion) {
    for (kernel, size, build) in KERNELS {
        let mut group = criterion.benchmark_group(kernel);
        for (numbers, largest, bias) in NUMBERS {
            let mut builder = Builder::new(Isa::best(), Storage::Single, 1);
            let input = builder.input(size);
            let output = build(&mut builder, input, bias);
            let values = builder.size(output).iter().product();
            builder.output(output);
            let (network, x) = (builder.finish(), noise(size.iter().product(), largest));
            group.bench_function(numbers, |b| runs(b, &network, &x, values));
        }
        group.finish();
    }
}

fn runs(b: &mut Bencher<'_>, network: &Network, x: &[f32], values: usize) {
    let (mut arena, mut out) = (network.arena(), vec![0.0; values]);
    timed(b, || network.run(&mut arena, &Alone, &[Source::Planes(x)], &mut [&mut out]));
}

/// By processor time, which a busy machine leaves alone.
fn timed<T>(b: &mut Bencher<'_>, mut work: impl FnMut() -> T) {
    b.iter_custom(|times| {
        let before = processor_time();
        for _ in 0..times {
            black_box(work());
        }
        processor_time().saturating_sub(before)
    });
}

#[cfg(unix)]
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Windows is not asked for it: by the clock.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

type Build = fn(&mut Builder, Value, f32) -> Value;

const KERNELS: [(&str, [usize; 3], Build); 8] = [
    ("dense 1 x 1", [112, 14, 14], |b, x, bias| {
        b.convolve(x, &convolution(b.size(x), 320, 1, 1, bias), None)
    }),
    ("dense 3 x 3 at 2", [64, 28, 28], |b, x, bias| {
        b.convolve(x, &convolution(b.size(x), 64, 3, 2, bias), None)
    }),
    ("first from 3", [3, 112, 112], |b, x, bias| {
        b.convolve(x, &convolution(b.size(x), 32, 3, 2, bias), None)
    }),
    ("winograd", [64, 28, 28], |b, x, bias| b.convolve(x, &convolution(b.size(x), 64, 3, 1, bias), None)),
    ("depthwise 3 x 3", [240, 28, 28], |b, x, bias| b.convolve(x, &depthwise(b.size(x), 3, bias), None)),
    ("separable", [24, 56, 56], |b, x, bias| {
        let x = b.convolve(x, &convolution(b.size(x), 144, 1, 1, bias), None);
        let x = b.convolve(x, &depthwise(b.size(x), 3, bias), None);
        b.convolve(x, &convolution(b.size(x), 24, 1, 1, bias), None)
    }),
    ("mean", [64, 28, 28], |b, x, _| b.pool(x, &convolution(b.size(x), 0, 3, 2, 0.0), Reduction::Mean)),
    ("affine", [64, 28, 28], |b, x, bias| {
        let channels = b.size(x)[0];
        b.affine(x, None, &vec![0.5; channels], &vec![bias; channels], [0.0, f32::INFINITY])
    }),
];

/// Square windows, and as many zeros around as leave the size to the stride.
fn convolution(
    [channels, height, width]: [usize; 3],
    outputs: usize,
    kernel: usize,
    stride: usize,
    bias: f32,
) -> Convolution<'static> {
    Convolution {
        kernel: [kernel; 2],
        output: [height.div_ceil(stride), width.div_ceil(stride)],
        stride: [stride; 2],
        dilation: [1, 1],
        before: [(kernel - 1) / 2; 2],
        weights: noise(outputs * channels * kernel * kernel, 1.0).into(),
        bias: vec![bias; outputs],
        depthwise: false,
        clamp: [0.0, f32::INFINITY],
    }
}

fn depthwise(size: [usize; 3], kernel: usize, bias: f32) -> Convolution<'static> {
    let [channels, ..] = size;
    let weights = noise(channels * kernel * kernel, 1.0);
    Convolution { weights: weights.into(), depthwise: true, ..convolution(size, channels, kernel, 1, bias) }
}

/// `len` numbers between `-largest` and `largest`, none of them zero.
fn noise(len: usize, largest: f32) -> Vec<f32> {
    let byte = |at: usize| ((at as u64 * 2_654_435_761) >> 13) as u8;
    (0..len).map(|at| (f32::from(byte(at)) - 127.5) / 127.5 * largest).collect()
}
