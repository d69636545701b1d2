use std::collections::BTreeMap;

use ndarray::Array3;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::net::layer::ParamKind;
use crate::net::layer::tests::{close, flat, uniform};

const GROUP_HEADS: [HeadKind; 2] = [HeadKind::GroupMax, HeadKind::GroupMean];

/// Group sizes: equal, unequal in two runs, unequal in more.
const SIZES: [&[usize]; 3] = [&[2, 2, 2], &[2, 2, 3], &[1, 4, 2, 2]];

fn pictures(side: usize) -> Tensor {
    uniform(7, &[2, 3, side, side], 0.0, 255.0)
}

fn config(backbone: Backbone, class_layer: ClassLayer) -> NetworkConfig {
    NetworkConfig { backbone, convention: None, class_layer, xi: 3, head: HeadKind::GroupMean, dropout: 0.0 }
}

/// A network of one convolution, for pictures of side 9 and maps of side 5.
fn small(kind: HeadKind, sizes: &[usize]) -> Network {
    let layout = Layout::from_sizes(sizes).unwrap();
    let trunk = vec![
        Layer::Normalise { mean: [127.5; 3], std: [127.5; 3] },
        Layer::Conv(conv("conv", 3, layout.channels(), 3, 2, Padding::Explicit(1))),
        Layer::Relu,
    ];
    let head = head_layers(kind, &layout, 0.0).unwrap();
    assemble(trunk, head, layout, kind, 9, 1).unwrap()
}

/// [`small`], whose head has random weights and biases.
fn small_with_random_head(kind: HeadKind, sizes: &[usize]) -> Network {
    let network = small(kind, sizes);
    for (seed, spec) in (20..).zip(parameter_specs(&network.head)) {
        let values = uniform(seed, &spec.shape, -2.0, 2.0);
        network.params.get(&spec.name).unwrap().set(&values).unwrap();
    }
    network
}

fn eval(network: &Network, images: &Tensor) -> Output {
    network.forward(images, &mut Mode::Eval).unwrap()
}

/// Each picture's maps as the board holds them.
fn board_maps(maps: &Tensor) -> Vec<Array3<f32>> {
    let (batch, channels, height, width) = maps.dims4().unwrap();
    let of =
        |index| Array3::from_shape_vec((channels, height, width), flat(&maps.get(index).unwrap())).unwrap();
    (0..batch).map(of).collect()
}

#[test]
fn each_class_layer_gives_maps_of_its_width_and_stride() {
    let cases = [
        (Backbone::Tiny, ClassLayer::Project { stride: 8 }, 4, [12, 4, 4]),
        (Backbone::Tiny, ClassLayer::Project { stride: 4 }, 4, [12, 8, 8]),
        (Backbone::Tiny, ClassLayer::Hypercolumn { stride: 4 }, 4, [12, 8, 8]),
        (Backbone::Tiny, ClassLayer::Native, 4, [12, 4, 4]),
        (Backbone::Tiny, ClassLayer::Allot, 5, [128, 4, 4]),
        (Backbone::Resnet18, ClassLayer::Project { stride: 8 }, 4, [12, 4, 4]),
        (Backbone::Resnet18, ClassLayer::Project { stride: 16 }, 4, [12, 2, 2]),
        (Backbone::Resnet18, ClassLayer::Hypercolumn { stride: 16 }, 4, [12, 2, 2]),
        (Backbone::Resnet18, ClassLayer::Native, 4, [12, 2, 2]),
        (Backbone::Resnet18, ClassLayer::Allot, 7, [512, 1, 1]),
    ];
    for (backbone, class_layer, classes, [channels, height, width]) in cases {
        let network = build(&config(backbone, class_layer), classes, 32, 1).unwrap();
        let Output { maps, logits } = eval(&network, &pictures(32));
        assert_eq!(maps.dims(), [2, channels, height, width], "{backbone} {class_layer:?}");
        assert_eq!(logits.dims(), [2, classes], "{backbone} {class_layer:?}");
        assert_eq!(network.map_stride(), 32 / height, "{backbone} {class_layer:?}");
        assert_eq!(network.layout, Layout::allot(classes, channels).unwrap(), "{backbone} {class_layer:?}");
        assert!(flat(&maps).iter().all(|value| *value >= 0.0), "{backbone} {class_layer:?}");
        assert!(flat(&maps).iter().any(|value| *value > 0.0), "{backbone} {class_layer:?}");
    }
}

#[test]
fn hypercolumns_need_coarser_maps_whose_cells_fit() {
    let refusal = |backbone, stride, side| {
        build(&config(backbone, ClassLayer::Hypercolumn { stride }), 4, side, 1).unwrap_err().to_string()
    };
    assert!(refusal(Backbone::Tiny, 8, 32).contains("no maps coarser than those of stride 8"));
    assert!(refusal(Backbone::Tiny, 5, 32).contains("no maps of stride 5"));
    // 13 cells beside 7.
    let message = refusal(Backbone::EfficientnetLite0, 16, 208);
    assert!(
        message.contains("13 x 13 cells beside maps of 7 x 7") && message.contains("multiple"),
        "{message}"
    );
}

#[test]
fn channels_that_do_not_divide_are_shared_out_with_the_larger_groups_last() {
    let network = build(&config(Backbone::Resnet18, ClassLayer::Allot), 7, 32, 1).unwrap();
    assert_eq!(network.layout, Layout::from_sizes(&[73, 73, 73, 73, 73, 73, 74]).unwrap());
}

#[test]
fn a_native_layer_is_the_backbones_last_convolution_at_classes_times_xi() {
    let network = build(&config(Backbone::Tiny, ClassLayer::Native), 4, 32, 1).unwrap();
    assert_eq!(network.layout, Layout::uniform(4, 3).unwrap());
    assert_eq!(network.params.get("conv7.weight").unwrap().dims(), [12, 128, 1, 1]);
    assert!(network.params.get("class_aligned.conv.weight").is_err());
}

#[test]
fn every_head_makes_one_logit_a_class_of_every_layout() {
    for kind in [HeadKind::GroupMax, HeadKind::GroupMean, HeadKind::Linear] {
        for sizes in SIZES {
            let network = small(kind, sizes);
            let output = eval(&network, &pictures(9));
            assert_eq!(output.maps.dims(), [2, network.layout.channels(), 5, 5], "{kind:?} {sizes:?}");
            assert_eq!(output.logits.dims(), [2, sizes.len()], "{kind:?} {sizes:?}");
        }
    }
}

#[test]
fn maps_are_nowhere_negative_in_training() {
    let network = build(&config(Backbone::Tiny, ClassLayer::Project { stride: 8 }), 4, 32, 1).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let output = network.forward(&pictures(32), &mut Mode::Train(&mut rng)).unwrap();
    assert!(flat(&output.maps).iter().all(|value| *value >= 0.0));
    assert!(flat(&output.maps).iter().any(|value| *value > 0.0));
}

#[test]
fn a_pass_has_the_gradients_of_candles_graph() {
    let project = ClassLayer::Project { stride: 8 };
    for (backbone, class_layer) in [
        (Backbone::Tiny, project),
        (Backbone::Resnet18, project),
        (Backbone::MobilenetV2, project),
        (Backbone::MobilenetV2, ClassLayer::Hypercolumn { stride: 8 }),
    ] {
        let network = build(&config(backbone, class_layer), 4, 32, 1).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let on_the_graph = network.forward(&pictures(32), &mut Mode::Train(&mut rng)).unwrap();
        let expected = loss(&on_the_graph).backward().unwrap();
        let pass = network.pass(&pictures(32), Learning::Whole(Norms::Learn), &mut rng).unwrap();
        let loss = loss(&pass.output);
        let gradients = pass.backward(&loss, None, &network).unwrap();
        for (name, weight) in &network.params.weights {
            let [actual, expected] = [gradients.get(&weight.var), expected.get(&weight.var)];
            assert_eq!(flat(actual.unwrap()), flat(expected.unwrap()), "{backbone}: {name}");
        }
    }
}

#[test]
fn what_is_learnt_above_the_backbone_leaves_the_backbone_alone() {
    for class_layer in [ClassLayer::Project { stride: 8 }, ClassLayer::Hypercolumn { stride: 4 }] {
        check_above(&build(&config(Backbone::Tiny, class_layer), 4, 32, 1).unwrap());
    }
}

fn check_above(network: &Network) {
    let gradients = |factor: Option<f64>, is_above: bool| {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let pass = network.pass(&pictures(32), Learning::Whole(Norms::Learn), &mut rng).unwrap();
        let first = loss(&pass.output);
        let second =
            factor.map(|factor| (pass.output.maps.sqr().unwrap().sum_all().unwrap() * factor).unwrap());
        match (second, is_above) {
            (Some(second), true) => pass.backward(&first, Some(&second), network).unwrap(),
            (Some(second), false) => pass.backward(&(first + second).unwrap(), None, network).unwrap(),
            (None, _) => pass.backward(&first, None, network).unwrap(),
        }
    };
    let [without, with, above] = [(None, false), (Some(0.5), false), (Some(0.5), true)]
        .map(|(factor, is_above)| gradients(factor, is_above));
    for (name, weight) in &network.params.weights {
        let [without, with, above] = [&without, &with, &above].map(|all| flat(all.get(&weight.var).unwrap()));
        let expected = if name.starts_with("class_aligned.") { &with } else { &without };
        let scale = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for (actual, expected) in above.iter().zip(expected) {
            assert!((actual - expected).abs() <= 1e-5 * scale, "{name}: {actual} {expected}");
        }
        assert!(!name.starts_with("class_aligned.") || with != without, "{name}");
    }
}

#[test]
fn what_keeps_still_gets_no_gradient_and_does_not_move() {
    let network = build(&config(Backbone::Tiny, ClassLayer::Project { stride: 8 }), 4, 32, 1).unwrap();
    let is_above = |name: &str| name.starts_with("class_aligned.") || name.starts_with("head.");
    let before = running(&network);
    let mut passes = [Learning::Whole(Norms::Keep), Learning::Head].map(|learning| {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let pass = network.pass(&pictures(32), learning, &mut rng).unwrap();
        let (logits, loss) = (flat(&pass.output.logits), loss(&pass.output));
        (logits, pass.backward(&loss, None, &network).unwrap())
    });
    let [(of_all, all), (of_head, head)] = &mut passes;
    assert_eq!(of_all, of_head);
    for (name, weight) in &network.params.weights {
        let [all, head] = [&*all, &*head].map(|gradients| gradients.get(&weight.var).map(flat));
        let is_norm = matches!(weight.kind, ParamKind::Scale | ParamKind::Bias);
        assert_eq!(all.is_some(), is_above(name) || !is_norm, "{name}");
        assert_eq!(head, all.filter(|_| is_above(name)), "{name}");
    }
    for (name, after) in running(&network) {
        assert_eq!(after != before[&name], is_above(&name), "{name}");
    }
}

/// The running statistics.
fn running(network: &Network) -> BTreeMap<String, Vec<f32>> {
    network.params.running.iter().map(|(name, var)| (name.clone(), flat(var))).collect()
}

/// Of maps and logits both.
fn loss(output: &Output) -> Tensor {
    (output.maps.sqr().unwrap().mean_all().unwrap() + output.logits.sqr().unwrap().sum_all().unwrap())
        .unwrap()
}

#[test]
fn training_reaches_every_weight() {
    for kind in [HeadKind::GroupMax, HeadKind::GroupMean, HeadKind::Linear] {
        let config = NetworkConfig { head: kind, ..config(Backbone::Tiny, ClassLayer::Native) };
        let network = build(&config, 4, 32, 1).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let output = network.forward(&pictures(32), &mut Mode::Train(&mut rng)).unwrap();
        let gradients = output.logits.sum_all().unwrap().backward().unwrap();
        for (name, weight) in &network.params.weights {
            assert!(gradients.get(&weight.var).is_some(), "{kind:?}: {name}");
        }
    }
}

#[test]
fn maps_that_may_be_negative_are_refused_with_the_layer_they_come_from() {
    let layout = Layout::uniform(2, 3).unwrap();
    let layer = |name: &str, inputs| Layer::Conv(conv(name, inputs, 6, 3, 1, Padding::Explicit(1)));
    let residual = Layer::Residual { body: vec![layer("inner", 6)], shortcut: Vec::new() };
    let assembled = |trunk: Vec<Layer>| {
        let head = head_layers(HeadKind::GroupMean, &layout, 0.0).unwrap();
        assemble(trunk, head, layout.clone(), HeadKind::GroupMean, 8, 1)
    };
    let cases = [
        (Vec::new(), "an empty trunk"),
        (vec![layer("conv", 3)], "the convolution conv"),
        (vec![layer("conv", 3), norm("bn", 6, 1e-5)], "the batch normalisation bn"),
        (
            vec![layer("conv", 3), Layer::Relu, residual],
            "the residual that begins with the convolution inner",
        ),
    ];
    for (trunk, last) in cases {
        let error = assembled(trunk).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the class-aligned maps come out of {last}, ")), "{error}");
    }
    assert!(assembled(vec![layer("conv", 3), Layer::Relu6]).is_ok());
}

#[test]
fn parts_that_do_not_fit_are_refused_with_what_to_change() {
    let refusal = |backbone, class_layer, classes, side| {
        build(&config(backbone, class_layer), classes, side, 1).unwrap_err().to_string()
    };
    let cases = [
        (
            refusal(Backbone::Vgg16, ClassLayer::Project { stride: 16 }, 4, 8),
            "the network does not fit pictures of side 8: a maximum pooling has a window larger than its 1 x 1 maps",
        ),
        (refusal(Backbone::Tiny, ClassLayer::Project { stride: 32 }, 4, 32), "tiny has no maps of stride 32"),
        (refusal(Backbone::Resnet50, ClassLayer::Native, 5, 32), "a multiple of 4, not 15"),
        (
            refusal(Backbone::Tiny, ClassLayer::Allot, 129, 32),
            "128 channels cannot give each of 129 classes one",
        ),
        (refusal(Backbone::Tiny, ClassLayer::Native, 0, 32), "at least 1 class"),
    ];
    for (error, part) in cases {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn dropout_outside_its_range_is_refused() {
    let layout = Layout::uniform(2, 3).unwrap();
    for kind in [HeadKind::GroupMax, HeadKind::GroupMean, HeadKind::Linear] {
        for p in [-0.1, 1.0, 1.5, f32::NAN, f32::INFINITY] {
            let error = head_layers(kind, &layout, p).unwrap_err();
            assert!(matches!(error, NetworkError::Dropout { .. }), "{error}");
            assert!(error.to_string().contains("probability"), "{error}");
        }
    }
}

#[test]
fn dropout_is_for_heads_that_have_more_than_one_score_a_class() {
    let layout = Layout::uniform(2, 3).unwrap();
    let drops = |kind, p| head_layers(kind, &layout, p).unwrap().contains(&Layer::Dropout { p });
    for kind in [HeadKind::GroupMean, HeadKind::Linear] {
        assert!(drops(kind, 0.5), "{kind:?}");
        assert!(!drops(kind, 0.0), "{kind:?}");
    }
    assert!(!drops(HeadKind::GroupMax, 0.0));
    let config = NetworkConfig {
        head: HeadKind::GroupMax,
        dropout: 0.5,
        ..config(Backbone::Tiny, ClassLayer::Native)
    };
    let error = build(&config, 4, 32, 1).unwrap_err().to_string();
    assert!(error.starts_with("dropout is 0.5; the group-max head"), "{error}");
}

#[test]
fn dropout_leaves_evaluation_and_first_weights_as_they_were() {
    let without = config(Backbone::Tiny, ClassLayer::Native);
    let with = NetworkConfig { dropout: 0.5, ..without.clone() };
    let logits = |config| flat(&eval(&build(config, 4, 32, 1).unwrap(), &pictures(32)).logits);
    assert_eq!(logits(&with), logits(&without));
}

#[test]
fn the_boards_group_heads_make_the_networks_logits() {
    for kind in GROUP_HEADS {
        for sizes in SIZES {
            let network = small_with_random_head(kind, sizes);
            let head = network.head().unwrap();
            let output = eval(&network, &pictures(9));
            let logits: Vec<Vec<f32>> = output.logits.to_vec2().unwrap();
            for (maps, logits) in board_maps(&output.maps).iter().zip(&logits) {
                close(&head.logits(maps.view(), &network.layout).unwrap(), logits);
            }
        }
    }
}

#[test]
fn the_boards_shares_and_bias_sum_to_the_networks_logits() {
    for kind in GROUP_HEADS {
        for sizes in SIZES {
            let network = small_with_random_head(kind, sizes);
            let head = network.head().unwrap();
            let output = eval(&network, &pictures(9));
            let logits: Vec<Vec<f32>> = output.logits.to_vec2().unwrap();
            for (maps, logits) in board_maps(&output.maps).iter().zip(&logits) {
                let share = |class| head.shares(maps.view(), &network.layout, class).iter().sum::<f32>();
                let sums: Vec<f32> = (0..sizes.len()).map(|class| head.bias[class] + share(class)).collect();
                close(&sums, logits);
            }
        }
    }
}

#[test]
fn the_boards_linear_head_has_the_weights_of_each_channels_own_class() {
    for sizes in SIZES {
        let network = small_with_random_head(HeadKind::Linear, sizes);
        let head = network.head().unwrap();
        let matrix: Vec<Vec<f32>> = network.params.get("head.weight").unwrap().to_vec2().unwrap();
        let own: Vec<f32> = (0..network.layout.channels())
            .map(|channel| matrix[network.layout.class_of(channel)][channel])
            .collect();
        assert_eq!(head.weight, own, "{sizes:?}");
        assert_eq!(head.bias, flat(network.params.get("head.bias").unwrap()), "{sizes:?}");
        assert_eq!(head.kind, HeadKind::Linear);
    }
}

/// Which classes' logits change when one channel of the maps grows.
fn changed_by(network: &Network, maps: &Tensor, channel: usize) -> Vec<bool> {
    let channels = network.layout.channels();
    let growth: Vec<f32> = (0..channels).map(|other| if other == channel { 100.0 } else { 0.0 }).collect();
    let growth = Tensor::from_vec(growth, (1, channels, 1, 1), &Device::Cpu).unwrap();
    let logits =
        |maps: &Tensor| flat(&forward(&network.head, &network.params, maps, &mut Mode::Eval).unwrap());
    let (before, after) = (logits(maps), logits(&maps.broadcast_add(&growth).unwrap()));
    before.iter().zip(&after).map(|(before, after)| (before - after).abs() > 1e-4).collect()
}

#[test]
fn a_group_head_scores_a_class_by_its_own_channels_alone() {
    for kind in GROUP_HEADS {
        for sizes in SIZES {
            let network = small_with_random_head(kind, sizes);
            let maps = eval(&network, &pictures(9)).maps.narrow(0, 0, 1).unwrap();
            for channel in 0..network.layout.channels() {
                let owner = network.layout.class_of(channel);
                let expected: Vec<bool> = (0..sizes.len()).map(|class| class == owner).collect();
                assert_eq!(changed_by(&network, &maps, channel), expected, "{kind:?} {sizes:?} {channel}");
            }
        }
    }
}

#[test]
fn the_linear_head_scores_a_class_by_all_channels() {
    let network = small_with_random_head(HeadKind::Linear, &[1, 2]);
    let maps = eval(&network, &pictures(9)).maps.narrow(0, 0, 1).unwrap();
    for channel in 0..3 {
        assert_eq!(changed_by(&network, &maps, channel), vec![true; 2], "{channel}");
    }
}

#[test]
fn a_first_logit_is_the_groups_mean_activation_at_the_first_scale() {
    for (kind, weight) in GROUP_HEADS.into_iter().zip([FIRST_SCALE, FIRST_SCALE / 3.0]) {
        let head = small(kind, &[3, 3]).head().unwrap();
        close(&head.weight, &[weight; 6]);
        close(&head.bias, &[0.0; 2]);
    }
}

#[test]
fn the_seed_decides_the_network() {
    let config = config(Backbone::Tiny, ClassLayer::Project { stride: 8 });
    let network = |seed| build(&config, 4, 32, seed).unwrap();
    let (first, again, other) = (network(1), network(1), network(2));
    for spec in first.specs() {
        let values = |network: &Network| flat(network.params.get(&spec.name).unwrap());
        assert!(values(&first) == values(&again), "{}", spec.name);
        let drawn = spec.kind == ParamKind::Weight;
        assert_eq!(values(&first) != values(&other), drawn, "{}", spec.name);
    }
    let logits = |network: &Network| flat(&eval(network, &pictures(32)).logits);
    assert_eq!(logits(&first), logits(&again));
    assert_ne!(logits(&first), logits(&other));
}

#[test]
fn specs_are_the_parameters_in_the_order_of_the_layers() {
    let network = build(&config(Backbone::Tiny, ClassLayer::Project { stride: 8 }), 4, 32, 1).unwrap();
    let mut names: Vec<String> = network.specs().into_iter().map(|spec| spec.name).collect();
    let first =
        ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "conv2.weight"];
    assert_eq!(&names[..6], first);
    let last = [
        "class_aligned.conv.weight",
        "class_aligned.bn.weight",
        "class_aligned.bn.bias",
        "class_aligned.bn.running_mean",
        "class_aligned.bn.running_var",
        "head.weight",
        "head.bias",
    ];
    assert_eq!(&names[names.len() - 7..], last);
    let mut held: Vec<String> =
        network.params.weights.keys().chain(network.params.running.keys()).cloned().collect();
    names.sort();
    held.sort();
    assert_eq!(names, held);
}
