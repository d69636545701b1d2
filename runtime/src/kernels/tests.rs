#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod guard;
mod ieee;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const OPEN: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// Numbers from a seed (Marsaglia's xorshift64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn of(&mut self, choices: &[usize]) -> usize {
        choices[self.next() as usize % choices.len()]
    }

    fn upto(&mut self, most: usize) -> usize {
        1 + self.next() as usize % most
    }

    fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.next() % 2001) as f32 / 1000.0 - 1.0).collect()
    }
}

/// Any convolution, and its input's size.
fn draw_convolution(draw: &mut Draw) -> ([usize; 3], Convolution<'static>) {
    let depthwise = draw.upto(3) == 1;
    let kernel = match draw.upto(4) {
        1 => [1, 1],
        2 => [3, 3],
        3 => [5, 5],
        _ => [draw.upto(7), draw.upto(7)],
    };
    let step = draw.upto(2);
    let stride = if draw.upto(4) == 1 { [draw.upto(3), draw.upto(3)] } else { [step, step] };
    let dilation = if draw.upto(4) == 1 { [draw.upto(2), draw.upto(3)] } else { [1, 1] };
    let reach = [0, 1].map(|i| (kernel[i] - 1) * dilation[i] + 1);
    let before = [0, 1].map(|i| draw.next() as usize % reach[i]);
    let after = [0, 1].map(|i| draw.next() as usize % reach[i]);
    let least = [0, 1].map(|i| reach[i].saturating_sub(before[i] + after[i]).max(1));
    let size = [0, 1].map(|i| least[i] + draw.next() as usize % 20);
    let output = [0, 1].map(|i| (size[i] + before[i] + after[i] - reach[i]) / stride[i] + 1);
    let channels = draw.of(&[1, 3, 4, 7, 16, 17, 24, 33, 64]);
    let outputs = if depthwise { channels } else { draw.of(&[1, 5, 16, 31, 40, 64, 80, 100, 144]) };
    let inputs = if depthwise { 1 } else { channels };
    let weights = draw.floats(outputs * inputs * kernel[0] * kernel[1]).into();
    let bias = draw.floats(outputs);
    let clamp = match draw.upto(3) {
        1 => OPEN,
        2 => [0.0, 6.0],
        _ => [-0.5, 0.25],
    };
    let convolution =
        Convolution { kernel, output, stride, dilation, before, weights, bias, depthwise, clamp };
    ([channels, size[0], size[1]], convolution)
}

/// What a convolution is, in f64.
fn reference(
    x: &[f32],
    [channels, height, width]: [usize; 3],
    c: &Convolution<'_>,
    r: Option<&[f32]>,
) -> Vec<f64> {
    let mut out = Vec::new();
    for (channel, bias) in c.bias.iter().enumerate() {
        for place in 0..c.output[0] * c.output[1] {
            let (y, x0) = (place / c.output[1], place % c.output[1]);
            let mut sum = f64::from(*bias);
            let inputs = if c.depthwise { channel..channel + 1 } else { 0..channels };
            let per = inputs.len();
            for (i, input) in inputs.enumerate() {
                for tap in 0..c.kernel[0] * c.kernel[1] {
                    let (ky, kx) = (tap / c.kernel[1], tap % c.kernel[1]);
                    let row = (y * c.stride[0] + ky * c.dilation[0]).wrapping_sub(c.before[0]);
                    let column = (x0 * c.stride[1] + kx * c.dilation[1]).wrapping_sub(c.before[1]);
                    if row < height && column < width {
                        let weight = c.weights[(channel * per + i) * c.kernel[0] * c.kernel[1] + tap];
                        sum += f64::from(weight) * f64::from(x[(input * height + row) * width + column]);
                    }
                }
            }
            sum += r.map_or(0.0, |r| f64::from(r[channel * c.output[0] * c.output[1] + place]));
            out.push(sum.clamp(f64::from(c.clamp[0]), f64::from(c.clamp[1])));
        }
    }
    out
}

/// The one output of a network of one step or more.
fn outcome(network: &Network, team: &dyn Team, inputs: &[&[f32]], len: usize) -> Vec<f32> {
    let inputs: Vec<_> = inputs.iter().map(|values| Source::Planes(values)).collect();
    let mut out = vec![f32::NAN; len];
    network.run(&mut network.arena(), team, &inputs, &mut [&mut out]);
    out
}

/// The network of one convolution; with `residual` it has an input of the result's size.
fn network_of(
    isa: Isa,
    storage: Storage,
    threads: usize,
    size: [usize; 3],
    convolution: &Convolution<'_>,
    residual: bool,
) -> Network {
    let mut builder = Builder::new(isa, storage, threads);
    let value = builder.input(size);
    let [height, width] = convolution.output;
    let residual = residual.then(|| builder.input([convolution.bias.len(), height, width]));
    let value = builder.convolve(value, convolution, residual);
    builder.output(value);
    builder.finish()
}

/// What it gives.
fn convolved(
    isa: Isa,
    (storage, threads): (Storage, usize),
    (x, size): (&[f32], [usize; 3]),
    convolution: &Convolution<'_>,
    residual: Option<&[f32]>,
) -> Vec<f32> {
    let network = network_of(isa, storage, threads, size, convolution, residual.is_some());
    let inputs: Vec<&[f32]> = [Some(x), residual].into_iter().flatten().collect();
    outcome(&network, &Alone, &inputs, convolution.bias.len() * convolution.output.iter().product::<usize>())
}

fn is_close(ours: &[f32], exact: &[f64], tolerance: f64) -> bool {
    ours.len() == exact.len()
        && ours.iter().zip(exact).all(|(a, e)| (f64::from(*a) - e).abs() <= tolerance * e.abs().max(1.0))
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

#[test]
fn a_convolution_is_what_its_definition_says_with_every_instruction_set() {
    for isa in available() {
        let mut draw = Draw(7);
        for case in 0..250 {
            let (size, convolution) = draw_convolution(&mut draw);
            let [outputs, height, width] =
                [convolution.bias.len(), convolution.output[0], convolution.output[1]];
            let x = draw.floats(size.iter().product());
            let residual = (draw.upto(2) == 1).then(|| draw.floats(outputs * height * width));
            let threads = draw.upto(3);
            let kept = (Storage::Single, threads);
            let ours = convolved(isa, kept, (&x, size), &convolution, residual.as_deref());
            let exact = reference(&x, size, &convolution, residual.as_deref());
            assert!(
                is_close(&ours, &exact, 2e-5 * (size[0] as f64).sqrt()),
                "{isa}, case {case}: {size:?} by {:?} at {:?}, dilated {:?}, depthwise {}",
                convolution.kernel,
                convolution.stride,
                convolution.dilation,
                convolution.depthwise
            );
        }
    }
}

/// A convolution that goes by Winograd's tiles: 3 x 3 over many channels.
fn square(draw: &mut Draw, channels: usize, outputs: usize, side: [usize; 2]) -> Convolution<'static> {
    Convolution {
        kernel: [3, 3],
        output: side,
        stride: [1, 1],
        dilation: [1, 1],
        before: [1, 1],
        weights: draw.floats(outputs * channels * 9).into(),
        bias: draw.floats(outputs),
        depthwise: false,
        clamp: [0.0, f32::INFINITY],
    }
}

#[test]
fn winograds_tiles_give_the_convolution_at_every_edge() {
    let mut draw = Draw(3);
    for isa in available() {
        for side in [[13, 15], [14, 14], [16, 17], [28, 12]] {
            for (channels, outputs) in [(16, 16), (24, 40), (70, 33)] {
                let convolution = square(&mut draw, channels, outputs, side);
                let x = draw.floats(channels * side[0] * side[1]);
                let size = [channels, side[0], side[1]];
                for threads in [1, 2] {
                    let ours = convolved(isa, (Storage::Single, threads), (&x, size), &convolution, None);
                    let exact = reference(&x, size, &convolution, None);
                    assert!(is_close(&ours, &exact, 2e-4), "{isa}: {channels} to {outputs}, {side:?}");
                }
            }
        }
    }
}

/// A small network with everything in it: border, residuals, a value used twice, pools.
fn small(isa: Isa, threads: usize) -> (Network, usize) {
    let mut draw = Draw(11);
    let mut builder = Builder::new(isa, Storage::Single, threads);
    let image = builder.input([3, 40, 36]);
    let image = builder.affine(image, None, &[0.5, 0.25, 2.0], &[0.0, -0.5, 1.0], OPEN);
    let stem = Convolution {
        kernel: [3, 3],
        output: [20, 18],
        stride: [2, 2],
        dilation: [1, 1],
        before: [0, 0],
        weights: draw.floats(24 * 27).into(),
        bias: draw.floats(24),
        depthwise: false,
        clamp: [0.0, 6.0],
    };
    let x = builder.convolve(image, &stem, None);
    let y = builder.convolve(x, &square(&mut draw, 24, 24, [20, 18]), Some(x));
    let depthwise = Convolution {
        depthwise: true,
        weights: draw.floats(24 * 9).into(),
        ..square(&mut draw, 24, 24, [20, 18])
    };
    let z = builder.convolve(y, &depthwise, None);
    let z = builder.affine(z, Some(y), &[0.1; 24], &[0.0; 24], OPEN);
    let half = Convolution { output: [10, 9], stride: [2, 2], ..stem };
    let z = builder.pool(z, &half, Reduction::Max);
    builder.output(z);
    (builder.finish(), 24 * 90)
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for isa in available() {
        let image = Draw(5).floats(3 * 40 * 36);
        let (network, len) = small(isa, 1);
        let expected = outcome(&network, &Alone, &[&image], len);
        assert!(expected.iter().all(|value| value.is_finite()));
        for threads in [2, 3, 5] {
            let team = Threads::new(threads).expect("threads");
            let (network, _) = small(isa, threads);
            for _ in 0..20 {
                assert_eq!(outcome(&network, &team, &[&image], len), expected, "{isa}, {threads}");
            }
        }
    }
}

#[test]
fn instruction_sets_agree() {
    let image = Draw(5).floats(3 * 40 * 36);
    let (portable, len) = small(Isa::Portable, 1);
    let exact: Vec<f64> = outcome(&portable, &Alone, &[&image], len).into_iter().map(f64::from).collect();
    for isa in available() {
        let (network, _) = small(isa, 1);
        assert!(is_close(&outcome(&network, &Alone, &[&image], len), &exact, 1e-4), "{isa}");
    }
}

#[test]
fn bytes_are_read_as_the_planes_of_the_same_numbers() {
    let bytes: Vec<u8> = (0..40 * 36 * 3).map(|i| (i * 37 % 251) as u8).collect();
    let planes: Vec<f32> = (0..3).flat_map(|c| bytes.chunks_exact(3).map(move |p| f32::from(p[c]))).collect();
    let (network, len) = small(Isa::best(), 1);
    let mut out = vec![0.0; len];
    network.run(&mut network.arena(), &Alone, &[Source::Bytes(&bytes)], &mut [&mut out]);
    assert_eq!(out, outcome(&network, &Alone, &[&planes], len));
}

#[test]
fn means_count_padding_or_not() {
    let window = Convolution {
        kernel: [2, 2],
        output: [2, 2],
        stride: [2, 2],
        dilation: [1, 1],
        before: [1, 1],
        weights: Vec::new().into(),
        bias: Vec::new(),
        depthwise: true,
        clamp: OPEN,
    };
    let x = [4.0, 8.0, 2.0, 6.0];
    let pooled = |reduction| {
        let mut builder = Builder::new(Isa::best(), Storage::Single, 1);
        let value = builder.input([1, 2, 2]);
        let value = builder.pool(value, &window, reduction);
        builder.output(value);
        outcome(&builder.finish(), &Alone, &[&x], 4)
    };
    assert_eq!(pooled(Reduction::Mean), [4.0, 8.0, 2.0, 6.0]);
    assert_eq!(pooled(Reduction::MeanWithPadding), [1.0, 2.0, 0.5, 1.5]);
    assert_eq!(pooled(Reduction::Max), [4.0, 8.0, 2.0, 6.0]);
}

#[test]
fn upsampling_repeats_every_pixel() {
    for (isa, factor) in available().flat_map(|isa| [[2, 2], [1, 3], [4, 1]].map(|factor| (isa, factor))) {
        let [channels, height, width] = [19, 3, 5];
        let x = Draw(7).floats(channels * height * width);
        let mut builder = Builder::new(isa, Storage::Single, 1);
        let value = builder.input([channels, height, width]);
        let value = builder.upsample(value, factor);
        assert_eq!(builder.size(value), [channels, height * factor[0], width * factor[1]]);
        builder.output(value);
        let out = outcome(&builder.finish(), &Alone, &[&x], x.len() * factor[0] * factor[1]);
        let (rows, columns) = (height * factor[0], width * factor[1]);
        let expected = (0..out.len()).map(|at| {
            let (channel, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
            x[(channel * height + row / factor[0]) * width + column / factor[1]]
        });
        assert!(out.iter().copied().eq(expected), "{isa}, {factor:?}");
    }
}

#[test]
fn what_is_not_a_number_goes_through_the_clamp() {
    let convolution = Convolution {
        kernel: [1, 1],
        output: [1, 4],
        stride: [1, 1],
        dilation: [1, 1],
        before: [0, 0],
        weights: vec![1.0].into(),
        bias: vec![0.0],
        depthwise: false,
        clamp: [0.0, f32::INFINITY],
    };
    for isa in available() {
        let mut builder = Builder::new(isa, Storage::Single, 1);
        let value = builder.input([1, 1, 4]);
        let value = builder.convolve(value, &convolution, None);
        builder.output(value);
        let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-41];
        let out = outcome(&builder.finish(), &Alone, &[&x], 4);
        assert!(out[0].is_nan(), "{isa}");
        assert_eq!(out[1..3], [f32::INFINITY, 0.0], "{isa}");
    }
}

#[test]
fn a_team_does_every_task_once() {
    for members in [1, 2, 4] {
        let team = Threads::new(members).expect("threads");
        for tasks in [0, 1, 2, 7, 300] {
            let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            team.share(tasks, &|member, task| {
                assert!(member < members);
                counts[task].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }
}

#[test]
fn two_callers_of_a_team_do_not_wait_for_each_other() {
    let team = Threads::new(2).expect("threads");
    let done = Mutex::new(0);
    let work = |_, _| *done.lock().expect("no panic") += 1;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..50).for_each(|_| team.share(10, &work)));
        }
    });
    assert_eq!(*done.lock().expect("no panic"), 1500);
}

#[test]
fn a_panic_in_a_task_reaches_the_caller_and_the_team_goes_on() {
    let team = Threads::new(3).expect("threads");
    let attempt = std::panic::AssertUnwindSafe(|| {
        team.share(9, &|_, task| assert_ne!(task, 5, "on purpose"));
    });
    assert!(std::panic::catch_unwind(attempt).is_err());
    let sum = AtomicUsize::new(0);
    team.share(9, &|_, task| {
        sum.fetch_add(task, Ordering::Relaxed);
    });
    assert_eq!(sum.into_inner(), 36);
}

/// A separable convolution of `channels`: what expands them ninefold, the depthwise part, what makes `channels` of them again.
fn separable(
    draw: &mut Draw,
    channels: usize,
    [height, width]: [usize; 2],
    (kernel, stride, before): (usize, usize, usize),
) -> [Convolution<'static>; 3] {
    let reach = |side: usize| (side + 2 * before - kernel) / stride + 1;
    let wide = 9 * channels;
    let small = [reach(height), reach(width)];
    let point = |output| Convolution { kernel: [1, 1], before: [0, 0], ..square(&mut Draw(1), 0, 0, output) };
    [
        Convolution {
            weights: draw.floats(wide * channels).into(),
            bias: draw.floats(wide),
            clamp: [0.0, 6.0],
            ..point([height, width])
        },
        Convolution {
            kernel: [kernel; 2],
            output: small,
            stride: [stride; 2],
            before: [before; 2],
            weights: draw.floats(wide * kernel * kernel).into(),
            depthwise: true,
            ..square(draw, 0, wide, small)
        },
        Convolution {
            weights: draw.floats(channels * wide).into(),
            bias: draw.floats(channels),
            ..point(small)
        },
    ]
}

/// Adds the convolutions, the last with `residual`.
fn convolve_all(
    builder: &mut Builder,
    value: Value,
    convolutions: &[&Convolution<'_>],
    residual: Option<Value>,
) -> Value {
    let (last, others) = convolutions.split_last().unwrap();
    let value = others.iter().fold(value, |value, next| builder.convolve(value, next, None));
    builder.convolve(value, last, residual)
}

/// Which parts a separable convolution has besides the depthwise one: what expands, what projects.
const PARTS: [[bool; 2]; 3] = [[true, false], [false, true], [true, true]];

/// Those parts, in order.
fn parts<'a>(
    [expand, depthwise, project]: &'a [Convolution<'a>; 3],
    [expands, projects]: [bool; 2],
) -> Vec<&'a Convolution<'a>> {
    let parts = [expands.then_some(expand), Some(depthwise), projects.then_some(project)];
    parts.into_iter().flatten().collect()
}

#[test]
fn what_is_around_a_depthwise_convolution_is_the_same_in_one_step() {
    let mut draw = Draw(13);
    let side = [60, 47];
    for isa in available() {
        for window in [(3, 1, 1), (3, 2, 0), (3, 2, 1), (5, 1, 2), (5, 2, 1)] {
            let whole = separable(&mut draw, 8, side, window);
            for [expands, projects] in PARTS {
                let parts = parts(&whole, [expands, projects]);
                let channels = if expands { 8 } else { 72 };
                let x = draw.floats(channels * side[0] * side[1]);
                let halves = window.1 == 2;
                let adds_input = expands && projects && !halves;
                let (mut exact, mut size) = (Vec::new(), [channels, side[0], side[1]]);
                let mut between = x.clone();
                for part in &parts {
                    let residual = (adds_input && std::ptr::eq(*part, &raw const whole[2])).then_some(&x[..]);
                    exact = reference(&between, size, part, residual);
                    between = exact.iter().map(|value| *value as f32).collect();
                    size = [part.bias.len(), part.output[0], part.output[1]];
                }
                for threads in [1, 3] {
                    let mut builder = Builder::new(isa, Storage::Single, threads);
                    let value = builder.input([channels, side[0], side[1]]);
                    let value = convolve_all(&mut builder, value, &parts, adds_input.then_some(value));
                    builder.output(value);
                    let network = builder.finish();
                    // Import and export, and what is left to project where a small result is stored before.
                    let steps = 3 + usize::from(projects && halves);
                    assert_eq!(network.steps(), steps, "{window:?}, {} parts", parts.len());
                    let ours = outcome(&network, &Alone, &[&x], exact.len());
                    assert!(is_close(&ours, &exact, 1e-4), "{isa}: {window:?}, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn weights_kept_in_16_bits_are_the_rounded_weights_exactly() {
    for isa in available() {
        let mut draw = Draw(23);
        for case in 0..60 {
            let (size, mut convolution) = draw_convolution(&mut draw);
            // Some are below the normal numbers of 16 bits, some below all.
            let shrunk = |weight: &mut f32| *weight *= [1.0, 1e-3, 1e-5, 1e-9][draw.upto(4) - 1];
            convolution.weights.to_mut().iter_mut().for_each(shrunk);
            let x = draw.floats(size.iter().product());
            let half = convolved(isa, (Storage::Half, 1), (&x, size), &convolution, None);
            let transforms = convolution.kernel == [3, 3] && convolution.stride == [1, 1];
            for weight in convolution.weights.to_mut().iter_mut().filter(|_| !convolution.depthwise) {
                *weight = half::f16::from_f32(*weight).to_f32();
            }
            let rounded = convolved(isa, (Storage::Single, 1), (&x, size), &convolution, None);
            let tolerance = if transforms { 2e-2 } else { 0.0 };
            let exact: Vec<f64> = rounded.into_iter().map(f64::from).collect();
            assert!(is_close(&half, &exact, tolerance), "{isa}, case {case}");
        }
    }
}

#[test]
fn products_of_16_bits_lose_no_more_than_their_number_explains() {
    for isa in available() {
        let mut draw = Draw(29);
        for case in 0..120 {
            let (size, mut convolution) = draw_convolution(&mut draw);
            for weight in convolution.weights.to_mut() {
                *weight = half::f16::from_f32(*weight).to_f32();
            }
            let x = draw.floats(size.iter().product());
            let len = convolution.bias.len() * convolution.output.iter().product::<usize>();
            let residual = (draw.upto(2) == 1).then(|| draw.floats(len));
            let exact = reference(&x, size, &convolution, residual.as_deref());
            let kept = (Storage::HalfProducts, 2);
            let ours = convolved(isa, kept, (&x, size), &convolution, residual.as_deref());
            // Of values up to 1: thirty-two products make a sum of a few ones, of which 16 bits keep a thousandth.
            let products = convolution.weights.len() / convolution.bias.len();
            assert!(is_close(&ours, &exact, 2e-2 + 2e-3 * (products as f64).sqrt()), "{isa}, case {case}");
        }
    }
}

#[test]
fn weights_below_the_normal_numbers_count_as_zero() {
    let mut draw = Draw(5);
    for depthwise in [false, true] {
        let mut convolution = Convolution { depthwise, ..square(&mut draw, 24, 24, [5, 5]) };
        convolution.weights.to_mut().truncate(if depthwise { 24 * 9 } else { 24 * 24 * 9 });
        let [none, tiny] = [0.0, 1e-39].map(|scale| {
            let weights = convolution.weights.iter().map(|weight| weight * scale);
            let convolution =
                Convolution { weights: weights.collect(), bias: vec![0.0; 24], ..convolution.clone() };
            let mut builder = Builder::new(Isa::best(), Storage::Single, 1);
            let value = builder.input([24, 5, 5]);
            let value = builder.convolve(value, &convolution, None);
            builder.output(value);
            outcome(&builder.finish(), &Alone, &[&vec![1e30; 24 * 25]], 24 * 25)
        });
        assert_eq!(tiny, none, "depthwise {depthwise}");
    }
}
