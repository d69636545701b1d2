use candle_core::{DType, Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Padding::{Explicit, Same};
use super::Shape::{Maps, Vector};
use super::*;
use crate::net::backbone::{conv, norm};

/// Reproducible values, uniform between two bounds.
pub(crate) fn uniform(seed: u64, shape: &[usize], low: f32, high: f32) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(low..high)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn random(seed: u64, shape: &[usize]) -> Tensor {
    uniform(seed, shape, -1.0, 1.0)
}

/// Two pictures of 6 channels, with an odd height and an even width.
fn pictures() -> Tensor {
    random(1, &[2, 6, 7, 8])
}

pub(crate) fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Equal within 1e-4 of the larger of 1 and the largest expected magnitude.
#[track_caller]
pub(crate) fn close(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len());
    let scale = expected.iter().fold(1.0, |scale: f32, value| scale.max(value.abs()));
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        assert!((actual - expected).abs() <= 1e-4 * scale, "at {index}: {actual}, expected {expected}");
    }
}

fn first_params(layers: &[Layer], seed: u64) -> Params {
    Params::init(&parameter_specs(layers), seed, &Device::Cpu).unwrap()
}

/// Parameters without a 0 or 1 that would hide a mistake; variances are above 0.
fn random_params(layers: &[Layer]) -> Params {
    let params = first_params(layers, 1);
    for (seed, spec) in (100..).zip(parameter_specs(layers)) {
        let values = random(seed, &spec.shape);
        let values =
            if spec.kind == ParamKind::RunningVar { (values.abs().unwrap() + 0.5).unwrap() } else { values };
        params.get(&spec.name).unwrap().set(&values).unwrap();
    }
    params
}

fn values_of(params: &Params, name: &str) -> Vec<f32> {
    flat(params.get(name).unwrap())
}

fn eval(layers: &[Layer], params: &Params, x: &Tensor) -> Tensor {
    forward(layers, params, x, &mut Mode::Eval).unwrap()
}

fn train(layers: &[Layer], params: &Params, x: &Tensor, seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    forward(layers, params, x, &mut Mode::Train(&mut rng)).unwrap()
}

fn max_pool(kernel: usize, stride: usize, padding: Padding) -> Layer {
    Layer::MaxPool(Pool { kernel, stride, padding })
}

fn groups(sizes: &[usize]) -> Layout {
    Layout::from_sizes(sizes).unwrap()
}

fn group_linear(sizes: &[usize]) -> Layer {
    Layer::GroupLinear(GroupLinear { name: "group".into(), layout: groups(sizes), first_weight: 0.5 })
}

fn linear(inputs: usize, outputs: usize) -> Layer {
    Layer::Linear(Linear { name: "linear".into(), inputs, outputs })
}

/// A residual whose branches both have parameters, from 6 to 6 channels.
fn residual() -> Layer {
    let inner = Conv { bias: true, ..conv("body.2", 8, 6, 1, 1, Explicit(0)) };
    Layer::Residual {
        body: vec![
            Layer::Conv(conv("body.0", 6, 8, 3, 1, Explicit(1))),
            norm("body.1", 8, 1e-5),
            Layer::Relu,
            Layer::Conv(inner),
            norm("body.3", 6, 1e-5),
        ],
        shortcut: vec![Layer::Conv(conv("shortcut.0", 6, 6, 1, 1, Explicit(0))), norm("shortcut.1", 6, 1e-5)],
    }
}

/// Maps of 6 channels beside those of half as many cells, of 5.
fn two_levels() -> Layer {
    let body =
        vec![Layer::Conv(conv("deep.0", 6, 5, 3, 2, Explicit(1))), norm("deep.1", 5, 1e-5), Layer::Relu];
    Layer::Beside { body }
}

#[test]
fn the_inferred_shape_is_that_of_the_forward_pass() {
    let input = [6, 7, 8];
    let dense = conv("conv", 6, 4, 3, 1, Explicit(0));
    let halving = Layer::Residual {
        body: vec![Layer::Conv(conv("body", 6, 8, 3, 2, Explicit(1))), norm("bn", 8, 1e-5)],
        shortcut: vec![Layer::Conv(conv("shortcut", 6, 8, 1, 2, Explicit(0)))],
    };
    let around = Layer::Residual {
        body: vec![Layer::Conv(conv("body", 6, 6, 3, 1, Explicit(1))), Layer::Relu6],
        shortcut: Vec::new(),
    };
    let cases = [
        ([3, 7, 8], vec![Layer::Normalise { mean: [1.0; 3], std: [2.0; 3] }], Maps([3, 7, 8])),
        (input, vec![Layer::Conv(dense.clone())], Maps([4, 5, 6])),
        (input, vec![Layer::Conv(Conv { kernel: [3, 1], ..dense.clone() })], Maps([4, 5, 8])),
        (input, vec![Layer::Conv(Conv { groups: 2, bias: true, ..dense })], Maps([4, 5, 6])),
        (input, vec![Layer::Conv(conv("conv", 6, 4, 3, 2, Explicit(1))), Layer::Relu], Maps([4, 4, 4])),
        (input, vec![Layer::Conv(Conv { groups: 6, ..conv("conv", 6, 6, 3, 2, Same) })], Maps([6, 4, 4])),
        (input, vec![Layer::Conv(Conv { groups: 6, ..conv("conv", 6, 12, 3, 1, Same) })], Maps([12, 7, 8])),
        (input, vec![Layer::Conv(conv("conv", 6, 4, 5, 3, Same))], Maps([4, 3, 3])),
        (input, vec![Layer::Conv(conv("conv", 6, 4, 1, 2, Same))], Maps([4, 4, 4])),
        (input, vec![norm("bn", 6, 1e-5), Layer::Relu6, Layer::Dropout { p: 0.5 }], Maps(input)),
        (input, vec![max_pool(3, 2, Explicit(1))], Maps([6, 4, 4])),
        (input, vec![max_pool(3, 2, Same)], Maps([6, 4, 4])),
        (input, vec![max_pool(2, 2, Explicit(0))], Maps([6, 3, 4])),
        (input, vec![Layer::AvgPool { kernel: 2, stride: 2 }], Maps([6, 3, 4])),
        (input, vec![Layer::AvgPool { kernel: 3, stride: 1 }], Maps([6, 5, 6])),
        (input, vec![around], Maps(input)),
        (input, vec![halving, Layer::Relu], Maps([8, 4, 4])),
        (input, vec![residual()], Maps(input)),
        ([6, 4, 8], vec![two_levels()], Maps([11, 4, 8])),
        ([6, 4, 8], vec![two_levels(), Layer::Conv(conv("conv", 11, 4, 1, 1, Explicit(0)))], Maps([4, 4, 8])),
        (input, vec![Layer::Ccmp { layout: groups(&[2, 2, 2]) }], Maps([3, 7, 8])),
        (input, vec![Layer::Ccmp { layout: groups(&[1, 3, 1, 1]) }], Maps([4, 7, 8])),
        (input, vec![Layer::GlobalPool, Layer::Dropout { p: 0.5 }], Vector(6)),
        (input, vec![Layer::GlobalPool, group_linear(&[3, 3])], Vector(2)),
        (input, vec![Layer::GlobalPool, group_linear(&[1, 3, 1, 1])], Vector(4)),
        (input, vec![Layer::GlobalPool, linear(6, 5)], Vector(5)),
    ];
    for (input, layers, expected) in cases {
        assert_eq!(shape(&layers, input), Ok(expected), "{layers:?}");
        let [channels, height, width] = input;
        let x = random(1, &[2, channels, height, width]);
        let params = random_params(&layers);
        let expected = match expected {
            Maps([channels, height, width]) => vec![2, channels, height, width],
            Vector(values) => vec![2, values],
        };
        for y in [eval(&layers, &params, &x), train(&layers, &params, &x, 1)] {
            assert_eq!(y.dims(), expected, "{layers:?}");
        }
    }
}

#[test]
fn same_padding_puts_the_odd_zero_below_and_right() {
    assert_eq!(Same.around([7, 8], [3, 3], 2), [1, 0, 1, 1]);
    assert_eq!(Same.around([7, 8], [5, 1], 2), [2, 0, 2, 0]);
    assert_eq!(Explicit(2).around([7, 8], [3, 3], 2), [2; 4]);
}

/// Channels of rows of values, for each picture.
fn unstacked(x: &Tensor) -> Vec<Vec<Vec<Vec<f32>>>> {
    (0..x.dims()[0]).map(|index| x.get(index).unwrap().to_vec3().unwrap()).collect()
}

/// The value at padded coordinates, if it is not padding; `before` counts zeros above and left.
fn pixel(map: &[Vec<f32>], [row, column]: [usize; 2], before: [usize; 2]) -> Option<f32> {
    map.get(row.checked_sub(before[0])?)?.get(column.checked_sub(before[1])?).copied()
}

/// What a convolution makes of one picture, by its definition; `size` is the height and width that come out.
fn convolution(
    conv: &Conv,
    params: &Params,
    picture: &[Vec<Vec<f32>>],
    before: [usize; 2],
    size: [usize; 2],
) -> Vec<f32> {
    let weight = values_of(params, &format!("{}.weight", conv.name));
    let bias =
        if conv.bias { values_of(params, &format!("{}.bias", conv.name)) } else { vec![0.0; conv.outputs] };
    let [rows, columns] = conv.kernel;
    let mut values = Vec::new();
    for (output, kernel) in weight.chunks_exact(weight.len() / conv.outputs).enumerate() {
        let first = output / (conv.outputs / conv.groups) * (conv.inputs / conv.groups);
        for at in 0..size[0] * size[1] {
            let (down, across) = (at / size[1] * conv.stride, at % size[1] * conv.stride);
            let product = |(tap, weight): (usize, &f32)| {
                let map = &picture[first + tap / (rows * columns)];
                let under = [down + tap / columns % rows, across + tap % columns];
                weight * pixel(map, under, before).unwrap_or(0.0)
            };
            let sum: f32 = kernel.iter().enumerate().map(product).sum();
            values.push(sum + bias[output]);
        }
    }
    values
}

#[test]
fn a_convolution_agrees_with_its_definition() {
    // Zeros above and left by TensorFlow's rule for SAME; height and width that come out of 7 x 8.
    let cases = [
        (conv("conv", 6, 4, 3, 1, Explicit(1)), [1, 1], [7, 8]),
        (Conv { groups: 2, bias: true, ..conv("conv", 6, 4, 3, 2, Explicit(1)) }, [1, 1], [4, 4]),
        (Conv { groups: 3, ..conv("conv", 6, 9, 5, 2, Same) }, [2, 1], [4, 4]),
        (Conv { groups: 6, ..conv("conv", 6, 6, 3, 2, Same) }, [1, 0], [4, 4]),
        (Conv { groups: 6, bias: true, ..conv("conv", 6, 12, 3, 1, Same) }, [1, 1], [7, 8]),
        (Conv { kernel: [1, 3], ..conv("conv", 6, 4, 3, 1, Explicit(0)) }, [0, 0], [7, 6]),
    ];
    let x = pictures();
    for (conv, before, size) in cases {
        let layers = [Layer::Conv(conv.clone())];
        let params = random_params(&layers);
        let expected: Vec<f32> = unstacked(&x)
            .iter()
            .flat_map(|picture| convolution(&conv, &params, picture, before, size))
            .collect();
        close(&flat(&eval(&layers, &params, &x)), &expected);
    }
}

/// `run` of each value's channel and the value.
fn by_channel(x: &Tensor, run: impl Fn(usize, f32) -> f32) -> Vec<f32> {
    let (_, channels, height, width) = x.dims4().unwrap();
    let channel = |index: usize| index / (height * width) % channels;
    flat(x).iter().enumerate().map(|(index, value)| run(channel(index), *value)).collect()
}

#[test]
fn normalisation_takes_each_colour_by_its_own_mean_and_deviation() {
    let (mean, std) = ([120.0, 110.0, 100.0], [60.0, 50.0, 40.0]);
    let x = (random(1, &[2, 3, 4, 5]) * 128.0).unwrap();
    let y = eval(&[Layer::Normalise { mean, std }], &Params::default(), &x);
    close(&flat(&y), &by_channel(&x, |colour, value| (value - mean[colour]) / std[colour]));
}

#[test]
fn batch_normalisation_evaluates_by_the_running_statistics() {
    let layers = [norm("bn", 6, 1e-3)];
    let params = random_params(&layers);
    let part = |part: &str| values_of(&params, &format!("bn.{part}"));
    let (gamma, beta) = (part("weight"), part("bias"));
    let (mean, var) = (part("running_mean"), part("running_var"));
    let x = pictures();
    let expected = by_channel(&x, |channel, value| {
        (value - mean[channel]) / (var[channel] + 1e-3).sqrt() * gamma[channel] + beta[channel]
    });
    close(&flat(&eval(&layers, &params, &x)), &expected);
}

fn largest(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

/// `reduce` of what lies under each position of a square window, padding left out.
fn pooled(
    x: &Tensor,
    [kernel, stride]: [usize; 2],
    before: [usize; 2],
    [height, width]: [usize; 2],
    reduce: fn(&[f32]) -> f32,
) -> Vec<f32> {
    let mut values = Vec::new();
    for map in unstacked(x).iter().flatten() {
        for at in 0..height * width {
            let (down, across) = (at / width * stride, at % width * stride);
            let under: Vec<f32> = (0..kernel * kernel)
                .filter_map(|tap| pixel(map, [down + tap / kernel, across + tap % kernel], before))
                .collect();
            values.push(reduce(&under));
        }
    }
    values
}

#[test]
fn max_pool_takes_the_largest_value_of_each_window_and_no_padding() {
    // Below zero, so that a zero around the maps would win.
    let x = (pictures() - 5.0).unwrap();
    for (kernel, stride, padding, before, size) in [
        (3, 2, Explicit(1), [1, 1], [4, 4]),
        (3, 2, Same, [1, 0], [4, 4]),
        (2, 2, Explicit(0), [0, 0], [3, 4]),
    ] {
        let y = eval(&[max_pool(kernel, stride, padding)], &Params::default(), &x);
        close(&flat(&y), &pooled(&x, [kernel, stride], before, size, largest));
    }
}

#[test]
fn avg_pool_takes_the_mean_of_each_window() {
    let x = pictures();
    for (kernel, stride, size) in [(2, 2, [3, 4]), (3, 2, [3, 3]), (3, 1, [5, 6])] {
        let y = eval(&[Layer::AvgPool { kernel, stride }], &Params::default(), &x);
        close(&flat(&y), &pooled(&x, [kernel, stride], [0, 0], size, mean));
    }
}

#[test]
fn global_pool_takes_the_mean_of_each_map() {
    let x = pictures();
    let expected: Vec<f32> = flat(&x).chunks(7 * 8).map(mean).collect();
    close(&flat(&eval(&[Layer::GlobalPool], &Params::default(), &x)), &expected);
}

#[test]
fn rectifiers_clip_below_zero_and_at_six() {
    let x = Tensor::new(&[[-1.0_f32, 0.5, 7.0]], &Device::Cpu).unwrap();
    let rectified = |layer: Layer| flat(&eval(&[layer], &Params::default(), &x));
    assert_eq!(rectified(Layer::Relu), vec![0.0, 0.5, 7.0]);
    assert_eq!(rectified(Layer::Relu6), vec![0.0, 0.5, 6.0]);
}

#[test]
fn ccmp_takes_the_largest_of_each_group_at_each_cell() {
    let x = pictures();
    for sizes in [[2, 2, 2], [1, 3, 2]] {
        let layout = groups(&sizes);
        let mut expected = Vec::new();
        for picture in unstacked(&x) {
            for class in 0..3 {
                let maps = &picture[layout.group(class)];
                let at = |cell: usize| maps.iter().map(|map| map[cell / 8][cell % 8]).collect::<Vec<f32>>();
                expected.extend((0..7 * 8).map(|cell| largest(&at(cell))));
            }
        }
        close(&flat(&eval(&[Layer::Ccmp { layout }], &Params::default(), &x)), &expected);
    }
}

#[test]
fn group_linear_sums_each_class_own_values_and_its_bias() {
    let x = random(1, &[2, 6]);
    for sizes in [[2, 2, 2], [1, 3, 2], [2, 1, 3]] {
        let (layout, layers) = (groups(&sizes), [group_linear(&sizes)]);
        let params = random_params(&layers);
        let (weight, bias) = (values_of(&params, "group.weight"), values_of(&params, "group.bias"));
        let mut expected = Vec::new();
        for x in flat(&x).chunks(6) {
            let sum =
                |class: usize| layout.group(class).map(|channel| weight[channel] * x[channel]).sum::<f32>();
            expected.extend((0..3).map(|class: usize| bias[class] + sum(class)));
        }
        close(&flat(&eval(&layers, &params, &x)), &expected);
    }
}

#[test]
fn linear_sums_all_values_and_a_bias() {
    let x = random(1, &[2, 6]);
    let layers = [linear(6, 5)];
    let params = random_params(&layers);
    let (weight, bias) = (values_of(&params, "linear.weight"), values_of(&params, "linear.bias"));
    let mut expected = Vec::new();
    for x in flat(&x).chunks(6) {
        let rows = weight.chunks(6).zip(&bias);
        expected.extend(rows.map(|(row, bias)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>()));
    }
    close(&flat(&eval(&layers, &params, &x)), &expected);
}

#[test]
fn an_activation_in_the_same_pass_is_that_of_a_pass_of_its_own() {
    let plain = conv("conv", 6, 4, 3, 1, Same);
    let firsts = [
        norm("bn", 6, 1e-5),
        Layer::Conv(Conv { bias: true, ..plain.clone() }),
        Layer::Conv(plain),
        residual(),
        Layer::Residual { body: vec![norm("bn", 6, 1e-5)], shortcut: Vec::new() },
    ];
    // Wide enough for values below 0 and above 6.
    let x = (pictures() * 20.0).unwrap();
    for first in firsts {
        for activation in [Layer::Relu, Layer::Relu6] {
            let both = [first.clone(), activation];
            let params = random_params(&both);
            let apart = eval(&both[1..], &params, &eval(&both[..1], &params, &x));
            close(&flat(&eval(&both, &params, &x)), &flat(&apart));
            let apart = train(&both[1..], &params, &train(&both[..1], &params, &x, 1), 1);
            close(&flat(&train(&both, &params, &x, 1)), &flat(&apart));
        }
    }
}

#[test]
fn training_moves_the_running_statistics_by_momentum_and_unbiased_variance() {
    let layers = [
        Layer::BatchNorm(BatchNorm { name: "bn".into(), channels: 6, eps: 1e-5, momentum: 0.25 }),
        Layer::Relu,
    ];
    let params = random_params(&layers);
    let statistics = || (values_of(&params, "bn.running_mean"), values_of(&params, "bn.running_var"));
    let (old_mean, old_var) = statistics();
    let x = pictures();
    let pictures = unstacked(&x);
    let batch =
        |channel: usize| pictures.iter().flat_map(|maps| maps[channel].concat()).collect::<Vec<f32>>();
    train(&layers, &params, &x, 1);
    let mean_after = |channel: usize| 0.75 * old_mean[channel] + 0.25 * mean(&batch(channel));
    let var_after = |channel: usize| {
        let values = batch(channel);
        let squares: f32 = values.iter().map(|value| (value - mean(&values)).powi(2)).sum();
        0.75 * old_var[channel] + 0.25 * squares / (values.len() - 1) as f32
    };
    let (new_mean, new_var) = statistics();
    close(&new_mean, &(0..6).map(mean_after).collect::<Vec<f32>>());
    close(&new_var, &(0..6).map(var_after).collect::<Vec<f32>>());
}

#[test]
fn evaluation_leaves_the_running_statistics() {
    let layers = [norm("bn", 6, 1e-5)];
    let params = random_params(&layers);
    let statistics = || (values_of(&params, "bn.running_mean"), values_of(&params, "bn.running_var"));
    let before = statistics();
    eval(&layers, &params, &pictures());
    assert_eq!(statistics(), before);
}

#[test]
fn training_reaches_every_weight_and_no_running_statistic() {
    let layers = [
        residual(),
        Layer::Relu,
        Layer::Ccmp { layout: groups(&[2, 2, 2]) },
        Layer::GlobalPool,
        group_linear(&[1, 2]),
        linear(2, 4),
    ];
    let params = random_params(&layers);
    let gradients = train(&layers, &params, &pictures(), 1).sum_all().unwrap().backward().unwrap();
    for (name, weight) in &params.weights {
        assert!(gradients.get(&weight.var).is_some(), "{name}");
    }
    for (name, var) in &params.running {
        assert!(gradients.get(var).is_none(), "{name}");
    }
}

#[test]
fn dropout_zeroes_a_share_p_and_scales_the_rest_to_keep_the_mean() {
    let ones = Tensor::ones((1, 4, 50, 50), DType::F32, &Device::Cpu).unwrap();
    let y = flat(&train(&[Layer::Dropout { p: 0.3 }], &Params::default(), &ones, 1));
    let (zeroed, kept): (Vec<f32>, Vec<f32>) = y.iter().partition(|value| value.abs() < 1e-6);
    // Four standard deviations of the share of 10 000 draws.
    assert!((zeroed.len() as f32 / 1e4 - 0.3).abs() < 0.019, "{} of 10000", zeroed.len());
    close(&kept, &vec![1.0 / 0.7; kept.len()]);
}

#[test]
fn dropout_is_decided_by_the_generator() {
    let layers = [Layer::Dropout { p: 0.5 }];
    let dropped = |seed| flat(&train(&layers, &Params::default(), &pictures(), seed));
    assert_eq!(dropped(1), dropped(1));
    assert_ne!(dropped(1), dropped(2));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut next =
        || flat(&forward(&layers, &Params::default(), &pictures(), &mut Mode::Train(&mut rng)).unwrap());
    assert_ne!(next(), next());
}

#[test]
fn dropout_does_nothing_in_evaluation() {
    let y = eval(&[Layer::Dropout { p: 0.5 }], &Params::default(), &pictures());
    assert_eq!(flat(&y), flat(&pictures()));
}

fn has_norm_or_dropout(layers: &[Layer]) -> bool {
    layers.iter().any(|layer| match layer {
        Layer::BatchNorm(_) | Layer::Dropout { .. } => true,
        Layer::Residual { body, shortcut } => has_norm_or_dropout(body) || has_norm_or_dropout(shortcut),
        _ => false,
    })
}

#[test]
fn folded_layers_compute_the_same_without_batch_normalisation_and_dropout() {
    let plain = conv("conv", 6, 6, 3, 2, Same);
    let biased = Conv { bias: true, ..plain.clone() };
    let depthwise = Conv { groups: 6, ..plain.clone() };
    let normed = |conv: Conv| vec![Layer::Conv(conv), norm("bn", 6, 1e-3), Layer::Relu6];
    let head = vec![residual(), Layer::Relu, Layer::GlobalPool, Layer::Dropout { p: 0.5 }, linear(6, 4)];
    let cases = [
        normed(plain.clone()),
        normed(biased),
        normed(depthwise),
        vec![residual()],
        [normed(plain), head].concat(),
    ];
    for layers in cases {
        let params = random_params(&layers);
        let (folded, folded_params) = fold(&layers, &params).unwrap();
        assert!(!has_norm_or_dropout(&folded), "{folded:?}");
        assert!(folded_params.running.is_empty());
        let mut names: Vec<String> = parameter_specs(&folded).into_iter().map(|spec| spec.name).collect();
        names.sort();
        assert_eq!(names, folded_params.weights.keys().cloned().collect::<Vec<String>>());
        let x = pictures();
        close(&flat(&eval(&folded, &folded_params, &x)), &flat(&eval(&layers, &params, &x)));
    }
}

#[test]
fn a_batch_normalisation_that_follows_no_convolution_stays() {
    let layers = [
        norm("first", 6, 1e-5),
        Layer::Conv(conv("conv", 6, 4, 3, 1, Same)),
        Layer::Relu,
        norm("last", 4, 1e-5),
    ];
    let params = random_params(&layers);
    let (folded, folded_params) = fold(&layers, &params).unwrap();
    assert_eq!(folded, layers);
    let x = pictures();
    close(&flat(&eval(&folded, &folded_params, &x)), &flat(&eval(&layers, &params, &x)));
}

#[test]
fn folding_copies() {
    let layers =
        [Layer::Conv(conv("conv", 6, 6, 3, 1, Same)), norm("bn", 6, 1e-5), Layer::GlobalPool, linear(6, 4)];
    let params = random_params(&layers);
    let specs = parameter_specs(&layers);
    let originals = || specs.iter().map(|spec| values_of(&params, &spec.name)).collect::<Vec<Vec<f32>>>();
    let before = originals();
    let (_, folded) = fold(&layers, &params).unwrap();
    for weight in folded.weights.values() {
        weight.var.set(&weight.var.zeros_like().unwrap()).unwrap();
    }
    assert_eq!(originals(), before);
}

#[test]
fn parameters_have_the_names_shapes_and_kinds_of_torchvision() {
    let layers = [
        Layer::Normalise { mean: [0.0; 3], std: [1.0; 3] },
        Layer::Conv(Conv { groups: 2, bias: true, kernel: [1, 3], ..conv("stem", 4, 6, 3, 1, Same) }),
        norm("bn", 6, 1e-5),
        Layer::Residual {
            body: vec![Layer::Conv(conv("body", 6, 6, 3, 1, Same))],
            shortcut: vec![Layer::Conv(conv("shortcut", 6, 6, 1, 1, Same))],
        },
        group_linear(&[1, 3, 2]),
        linear(3, 5),
    ];
    let expected: [(&str, &[usize], ParamKind); 12] = [
        ("stem.weight", &[6, 2, 1, 3], ParamKind::Weight),
        ("stem.bias", &[6], ParamKind::Bias),
        ("bn.weight", &[6], ParamKind::Scale),
        ("bn.bias", &[6], ParamKind::Bias),
        ("bn.running_mean", &[6], ParamKind::RunningMean),
        ("bn.running_var", &[6], ParamKind::RunningVar),
        ("body.weight", &[6, 6, 3, 3], ParamKind::Weight),
        ("shortcut.weight", &[6, 6, 1, 1], ParamKind::Weight),
        ("group.weight", &[6], ParamKind::Scale),
        ("group.bias", &[3], ParamKind::Bias),
        ("linear.weight", &[5, 3], ParamKind::Weight),
        ("linear.bias", &[5], ParamKind::Bias),
    ];
    let specs = parameter_specs(&layers);
    let actual: Vec<(&str, &[usize], ParamKind)> =
        specs.iter().map(|spec| (spec.name.as_str(), spec.shape.as_slice(), spec.kind)).collect();
    assert_eq!(actual, expected);
}

#[test]
fn weights_start_normal_and_all_else_constant() {
    let depthwise = Conv { groups: 8, bias: true, ..conv("depthwise", 8, 8, 3, 1, Same) };
    let layers = [
        Layer::Conv(conv("dense", 3, 8, 3, 1, Same)),
        Layer::Conv(depthwise),
        norm("bn", 8, 1e-5),
        group_linear(&[4, 4]),
        linear(2, 5),
    ];
    // The variance is 2 over the fan-out: kernel taps times a group's outputs.
    let expected = [
        ("dense.weight", Init::Normal((2.0_f64 / 72.0).sqrt())),
        ("depthwise.weight", Init::Normal((2.0_f64 / 9.0).sqrt())),
        ("depthwise.bias", Init::Constant(0.0)),
        ("bn.weight", Init::Constant(1.0)),
        ("bn.bias", Init::Constant(0.0)),
        ("bn.running_mean", Init::Constant(0.0)),
        ("bn.running_var", Init::Constant(1.0)),
        ("group.weight", Init::Constant(0.5)),
        ("group.bias", Init::Constant(0.0)),
        ("linear.weight", Init::Normal(0.01)),
        ("linear.bias", Init::Constant(0.0)),
    ];
    let specs = parameter_specs(&layers);
    let actual: Vec<(&str, Init)> = specs.iter().map(|spec| (spec.name.as_str(), spec.init)).collect();
    assert_eq!(actual, expected);
}

#[test]
fn normal_first_values_have_their_deviation_and_constant_ones_their_value() {
    let layers = [Layer::Conv(conv("conv", 64, 64, 3, 1, Same)), group_linear(&[1, 2])];
    let params = first_params(&layers, 5);
    let values = values_of(&params, "conv.weight");
    let deviation = values.iter().map(|value| value.powi(2)).sum::<f32>() / values.len() as f32;
    let (deviation, expected) = (deviation.sqrt(), (2.0_f32 / 576.0).sqrt());
    assert!((deviation / expected - 1.0).abs() < 0.03, "{deviation}, expected {expected}");
    assert!(mean(&values).abs() < 0.03 * expected, "{}", mean(&values));
    close(&values_of(&params, "group.weight"), &[0.5; 3]);
}

#[test]
fn first_values_are_decided_by_seed_and_name() {
    let layer = |name: &str| Layer::Conv(conv(name, 4, 4, 3, 1, Same));
    let few = first_params(&[layer("a"), layer("b")], 1);
    let many = first_params(&[layer("first"), layer("b"), norm("bn", 4, 1e-5), layer("a")], 1);
    for name in ["a.weight", "b.weight"] {
        assert_eq!(values_of(&few, name), values_of(&many, name), "{name}");
    }
    assert_ne!(values_of(&few, "a.weight"), values_of(&few, "b.weight"));
    let other = first_params(&[layer("a")], 2);
    assert_ne!(values_of(&few, "a.weight"), values_of(&other, "a.weight"));
}

#[test]
fn two_parameters_of_one_name_are_refused() {
    let layer = Layer::Conv(conv("conv", 4, 4, 3, 1, Same));
    let specs = parameter_specs(&[layer.clone(), layer]);
    let error = Params::init(&specs, 1, &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("two parameters are called conv.weight"), "{error}");
    let mut params = first_params(&[norm("bn", 4, 1e-5)], 1);
    let var = params.get("bn.weight").unwrap().clone();
    assert!(params.insert("bn.running_mean", ParamKind::Weight, var).is_err());
}

#[test]
fn a_missing_parameter_is_named() {
    let layers = [Layer::Conv(conv("conv", 6, 4, 3, 1, Same))];
    let error = forward(&layers, &Params::default(), &pictures(), &mut Mode::Eval).unwrap_err().to_string();
    assert!(error.contains("lack conv.weight"), "{error}");
}

#[test]
fn layers_that_do_not_fit_are_named() {
    let layer = |name: &str, inputs, outputs| Layer::Conv(conv(name, inputs, outputs, 3, 1, Explicit(1)));
    let valid = |kernel| Layer::Conv(conv("a", 6, 4, kernel, 1, Explicit(0)));
    let grouped = |groups| Layer::Conv(Conv { groups, ..conv("a", 6, 8, 3, 1, Explicit(1)) });
    let branches = |body| Layer::Residual { body, shortcut: Vec::new() };
    let cases = [
        (vec![layer("a", 6, 4), layer("b", 5, 4)], "the convolution b takes 5 channels, but gets 4"),
        (vec![norm("bn", 4, 1e-5)], "the batch normalisation bn takes 4 channels, but gets 6"),
        (
            vec![Layer::Normalise { mean: [0.0; 3], std: [1.0; 3] }],
            "the normalisation takes 3 channels, but gets 6",
        ),
        (
            vec![Layer::Ccmp { layout: groups(&[1, 2]) }],
            "the cross-channel maximum takes 3 channels, but gets 6",
        ),
        (vec![Layer::GlobalPool, linear(5, 2)], "the linear layer linear takes 5 channels, but gets 6"),
        (
            vec![Layer::GlobalPool, group_linear(&[3, 2])],
            "the grouped linear layer group takes 5 channels, but gets 6",
        ),
        (
            vec![branches(vec![layer("a", 6, 4), layer("inner", 6, 6)])],
            "the convolution inner takes 6 channels, but gets 4",
        ),
        (vec![grouped(4)], "the convolution a has 4 groups, which do not divide 6 channels in and 8 out"),
        (vec![grouped(3)], "the convolution a has 3 groups, which do not divide 6 channels in and 8 out"),
        (vec![grouped(0)], "the convolution a has 0 groups, which do not divide 6 channels in and 8 out"),
        (
            vec![valid(9)],
            "the convolution a has a window larger than its 7 x 8 maps; choose a larger input side",
        ),
        (
            vec![valid(6), Layer::MaxPool(Pool { kernel: 3, stride: 2, padding: Explicit(0) })],
            "a maximum pooling has a window larger than its 2 x 3 maps; choose a larger input side",
        ),
        (
            vec![Layer::AvgPool { kernel: 8, stride: 1 }],
            "an average pooling has a window larger than its 7 x 8 maps; choose a larger input side",
        ),
        (
            vec![branches(vec![layer("a", 6, 4)])],
            "the residual that begins with the convolution a: the body gives Maps([4, 7, 8]), \
             the shortcut Maps([6, 7, 8]); they must be equal",
        ),
        (vec![Layer::GlobalPool, layer("a", 6, 4)], "the convolution a takes maps, but gets Vector(6)"),
        (vec![linear(6, 2)], "the linear layer linear takes a vector, but gets Maps([6, 7, 8])"),
    ];
    for (layers, expected) in cases {
        assert_eq!(shape(&layers, [6, 7, 8]).unwrap_err().to_string(), expected);
        assert_eq!(cost(&layers, [6, 7, 8]).unwrap_err().to_string(), expected);
    }
}

#[test]
fn cost_is_that_of_a_network_counted_by_hand() {
    let layers = [
        Layer::Normalise { mean: [0.0; 3], std: [1.0; 3] },
        // 4 x 4 x 4 values of 27 products each; 108 weights and 4 biases.
        Layer::Conv(Conv { bias: true, ..conv("a", 3, 4, 3, 2, Explicit(1)) }),
        // 4 scales and 4 biases; running statistics are not trained.
        norm("bn", 4, 1e-5),
        Layer::Relu,
        // Depthwise: 4 x 4 x 4 values of 9 products; 36 weights.
        Layer::Conv(Conv { groups: 4, ..conv("b", 4, 4, 3, 1, Explicit(1)) }),
        // Each branch: 6 x 4 x 4 values of 4 products; 24 weights.
        Layer::Residual {
            body: vec![Layer::Conv(conv("c", 4, 6, 1, 1, Explicit(0)))],
            shortcut: vec![Layer::Conv(conv("d", 4, 6, 1, 1, Explicit(0)))],
        },
        Layer::GlobalPool,
        // 6 products; 6 weights and 3 biases.
        group_linear(&[1, 3, 2]),
        // 15 products; 15 weights and 5 biases.
        linear(3, 5),
    ];
    let expected =
        Cost { multiply_adds: 1728 + 576 + 2 * 384 + 6 + 15, parameters: 112 + 8 + 36 + 2 * 24 + 9 + 20 };
    assert_eq!(cost(&layers, [3, 8, 8]), Ok(expected));
}

#[test]
fn a_product_of_two_levels_costs_what_each_does_at_its_own_cells() {
    let layers = [two_levels(), Layer::Conv(conv("conv", 11, 4, 1, 1, Explicit(0)))];
    // 5 x 2 x 4 values of 54 products; then 4 times the 6 x 4 x 8 finer and 5 x 2 x 4 coarser values.
    let multiply_adds = 5 * 8 * 54 + 4 * (6 * 32 + 5 * 8);
    assert_eq!(cost(&layers, [6, 4, 8]).unwrap().multiply_adds, multiply_adds);
    let refusal = shape(&[two_levels()], [6, 5, 8]).unwrap_err().to_string();
    assert!(refusal.contains("maps of 5 x 8 cells beside maps of 3 x 4"), "{refusal}");
}

#[test]
fn stride_is_the_product_along_the_body() {
    let halving = |name: &str| Layer::Conv(conv(name, 6, 6, 3, 2, Explicit(1)));
    let layers = [
        halving("a"),
        Layer::Relu,
        max_pool(3, 2, Explicit(1)),
        Layer::Residual { body: vec![halving("b"), Layer::Relu], shortcut: vec![halving("c")] },
        Layer::AvgPool { kernel: 3, stride: 3 },
    ];
    assert_eq!(stride(&layers), 24);
    assert_eq!(stride(&[Layer::GlobalPool]), 1);
    assert_eq!(stride(&[]), 1);
}
