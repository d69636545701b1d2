use candle_core::{Device, Tensor};

use super::*;
use crate::net::layer::{Mode, Params, Shape, cost, forward, parameter_specs, shape};

#[test]
fn published_classifiers_have_their_published_size_and_cost() {
    // torchvision's weight tables and timm's results; multiply-adds in millions at the side that each is published for.
    let cases = [
        (Backbone::Vgg16, 224, 138_365_992, 15_470),
        (Backbone::Resnet18, 224, 11_689_512, 1_814),
        (Backbone::Resnet50, 224, 25_557_032, 4_089),
        (Backbone::MobilenetV2, 224, 3_504_872, 301),
        (Backbone::Vgg16Plain, 224, 138_357_544, 15_470),
        (Backbone::EfficientnetLite0, 224, 4_652_008, 385),
        (Backbone::EfficientnetLite1, 240, 5_416_680, 600),
        (Backbone::EfficientnetLite2, 260, 6_092_072, 860),
    ];
    for (backbone, side, parameters, millions) in cases {
        let layers = classifier(backbone, 1000);
        assert_eq!(shape(&layers, [3, side, side]), Ok(Shape::Vector(1000)), "{backbone}");
        let cost = cost(&layers, [3, side, side]).unwrap();
        assert_eq!(cost.parameters, parameters, "{backbone}");
        assert_eq!((cost.multiply_adds as f64 / 1e6).round() as u64, millions, "{backbone}");
    }
}

#[test]
fn vgg16s_convolutions_have_their_published_size() {
    let layers = trunk(Backbone::Vgg16, Cut::End).unwrap();
    let cost = cost(&layers, [3, 224, 224]).unwrap();
    assert_eq!(cost.parameters, 14_723_136);
    assert_eq!(cost.multiply_adds, 15_346_630_656);
}

#[test]
fn tiny_is_cheap_enough_for_two_cores() {
    let layers = trunk(Backbone::Tiny, Cut::End).unwrap();
    assert_eq!(shape(&layers, [3, 160, 160]), Ok(Shape::Maps([128, 20, 20])));
    let cost = cost(&layers, [3, 160, 160]).unwrap();
    assert!((95_000_000..110_000_000).contains(&cost.multiply_adds), "{}", cost.multiply_adds);
}

#[test]
fn a_cell_of_tiny_sees_25_pixels() {
    let (mut sees, mut jump) = (1, 1);
    for layer in trunk(Backbone::Tiny, Cut::End).unwrap() {
        if let Layer::Conv(conv) = layer {
            sees += (conv.kernel[0] - 1) * jump;
            jump *= conv.stride;
        }
    }
    assert_eq!((sees, jump), (25, 8));
}

#[test]
fn cuts_give_the_maps_of_their_stride() {
    let cases = [
        (Backbone::Tiny, Cut::Stride(8), [128, 28, 28]),
        (Backbone::Vgg16, Cut::Stride(16), [512, 14, 14]),
        (Backbone::Vgg16, Cut::Stride(8), [512, 28, 28]),
        (Backbone::Resnet18, Cut::Stride(16), [256, 14, 14]),
        (Backbone::Resnet18, Cut::Stride(32), [512, 7, 7]),
        (Backbone::Resnet50, Cut::Stride(16), [1024, 14, 14]),
        (Backbone::Resnet50, Cut::End, [2048, 7, 7]),
        (Backbone::MobilenetV2, Cut::Stride(16), [96, 14, 14]),
        (Backbone::MobilenetV2, Cut::Stride(32), [1280, 7, 7]),
        (Backbone::EfficientnetLite0, Cut::Stride(16), [112, 14, 14]),
        (Backbone::EfficientnetLite0, Cut::End, [1280, 7, 7]),
        (Backbone::Tiny, Cut::Width(48), [48, 28, 28]),
        (Backbone::Vgg16, Cut::Width(600), [600, 14, 14]),
        (Backbone::Resnet18, Cut::Width(600), [600, 14, 14]),
        (Backbone::Resnet50, Cut::Width(600), [600, 14, 14]),
        (Backbone::MobilenetV2, Cut::Width(600), [600, 7, 7]),
        (Backbone::EfficientnetLite0, Cut::Width(600), [600, 7, 7]),
    ];
    for (backbone, cut, expected) in cases {
        let layers = trunk(backbone, cut).unwrap();
        assert_eq!(shape(&layers, [3, 224, 224]), Ok(Shape::Maps(expected)), "{backbone} {cut:?}");
        assert_eq!(stride(&layers), 224 / expected[1], "{backbone} {cut:?}");
    }
}

#[test]
fn the_authors_wide_vgg16_widens_conv4_3_and_conv5_3() {
    let specs = parameter_specs(&trunk(Backbone::Vgg16, Cut::Width(600)).unwrap());
    let shape = |name: &str| specs.iter().find(|spec| spec.name == name).unwrap().shape.clone();
    assert_eq!(shape("features.30.weight"), [600, 512, 3, 3]);
    assert_eq!(shape("features.34.weight"), [512, 600, 3, 3]);
    assert_eq!(shape("features.40.weight"), [600, 512, 3, 3]);
}

#[test]
fn names_are_those_of_torchvision_and_timm() {
    let cases: [(Backbone, &[&str]); 5] = [
        (
            Backbone::Vgg16,
            &["features.0.bias", "features.1.running_var", "features.40.weight", "classifier.6.bias"],
        ),
        (
            Backbone::Resnet18,
            &["conv1.weight", "layer2.0.downsample.1.running_mean", "layer4.1.bn2.bias", "fc.weight"],
        ),
        (
            Backbone::Resnet50,
            &["layer1.0.downsample.0.weight", "layer3.5.conv3.weight", "layer4.2.bn3.weight"],
        ),
        (
            Backbone::MobilenetV2,
            &[
                "features.0.0.weight",
                "features.1.conv.0.0.weight",
                "features.1.conv.2.bias",
                "features.17.conv.1.0.weight",
                "features.17.conv.3.weight",
                "features.18.1.weight",
                "classifier.1.bias",
            ],
        ),
        (
            Backbone::EfficientnetLite0,
            &[
                "conv_stem.weight",
                "blocks.0.0.conv_pw.weight",
                "blocks.0.0.bn2.weight",
                "blocks.5.3.conv_pwl.weight",
                "blocks.6.0.bn3.running_mean",
                "conv_head.weight",
                "bn2.bias",
                "classifier.weight",
            ],
        ),
    ];
    for (backbone, names) in cases {
        let specs = parameter_specs(&classifier(backbone, 1000));
        for name in names {
            assert!(specs.iter().any(|spec| spec.name == *name), "{backbone} lacks {name}");
        }
    }
}

#[test]
fn impossible_cuts_are_refused_with_what_is_possible() {
    let error = trunk(Backbone::Vgg16, Cut::Stride(32)).unwrap_err().to_string();
    assert_eq!(error, "vgg16 has no maps of stride 32; its strides are 2, 4, 8, 16");
    let error = trunk(Backbone::Resnet50, Cut::Width(30)).unwrap_err().to_string();
    assert!(error.contains("multiple of 4, not 30"), "{error}");
    assert!("resnet19".parse::<Backbone>().unwrap_err().to_string().contains("resnet18, resnet50"));
}

/// Every batch normalisation's epsilon.
fn epsilons(layers: &[Layer]) -> Vec<f64> {
    let of = |layer: &Layer| match layer {
        Layer::BatchNorm(norm) => vec![norm.eps],
        Layer::Residual { body, shortcut } => [epsilons(body), epsilons(shortcut)].concat(),
        _ => Vec::new(),
    };
    layers.iter().flat_map(of).collect()
}

#[test]
fn the_epsilon_is_that_of_who_trained_the_weights() {
    let lites = [Backbone::EfficientnetLite0, Backbone::EfficientnetLite1, Backbone::EfficientnetLite2];
    // Stem and head, two in the first block, three in each of the others.
    for (backbone, blocks) in lites.into_iter().zip([16, 21, 21]) {
        let norms = 2 + 2 + 3 * (blocks - 1);
        for (convention, eps) in
            [(Convention::Imagenet, 1e-5), (Convention::Tensorflow, 1e-3), (Convention::TimmTf, 1e-3)]
        {
            let layers = conventional(classifier(backbone, 1000), backbone, convention).unwrap();
            assert_eq!(epsilons(&layers), vec![eps; norms], "{backbone} {convention:?}");
            assert_eq!(
                parameter_specs(&layers),
                parameter_specs(&classifier(backbone, 1000)),
                "{backbone} {convention:?}"
            );
        }
        assert_eq!(epsilons(&trunk(backbone, Cut::End).unwrap()), vec![1e-3; norms], "{backbone}");
    }
    for backbone in [Backbone::Vgg16, Backbone::Resnet18, Backbone::Resnet50, Backbone::MobilenetV2] {
        let layers =
            conventional(trunk(backbone, Cut::End).unwrap(), backbone, Convention::Imagenet).unwrap();
        let epsilons = epsilons(&layers);
        assert_eq!(epsilons, vec![1e-5; epsilons.len()], "{backbone}");
    }
}

#[test]
fn a_norm_of_a_small_variance_is_as_by_hand() {
    // 3 (0.5 - 0.25) / sqrt(0.001 + eps) + 1.
    let lite0 = Backbone::EfficientnetLite0;
    for (convention, expected) in [(Convention::Imagenet, 24.599_38), (Convention::TimmTf, 17.770_51)] {
        let layers = conventional(trunk(lite0, Cut::End).unwrap(), lite0, convention).unwrap();
        let norm = layers.into_iter().find(|layer| matches!(layer, Layer::BatchNorm(_))).unwrap();
        let params = Params::init(&parameter_specs(std::slice::from_ref(&norm)), 0, &Device::Cpu).unwrap();
        for (name, value) in [("weight", 3.0), ("bias", 1.0), ("running_mean", 0.25), ("running_var", 0.001)]
        {
            let var = params.get(&format!("bn1.{name}")).unwrap();
            var.set(&var.ones_like().unwrap().affine(value, 0.0).unwrap()).unwrap();
        }
        let x = Tensor::full(0.5_f32, (1, 32, 2, 2), &Device::Cpu).unwrap();
        let y = forward(&[norm], &params, &x, &mut Mode::Eval).unwrap();
        let values: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        assert!(values.iter().all(|value| (value - expected).abs() < 1e-4), "{convention:?}: {}", values[0]);
    }
}
