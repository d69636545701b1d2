//! The mutual-channel loss against independent implementations of the paper's formulas.

use candle_core::{DType, Device, Tensor, Var};
use fieldmark::layout::Layout;
use fieldmark_trainer::net::mc_loss::{Factors, discriminality, diversity, mc_loss};

use crate::golden::{Golden, assert_close, numbers, test_device, test_types};

fn scalar(tensor: &Tensor) -> f64 {
    numbers(tensor)[0]
}

/// Norm of the gradient over all maps, and over where they are positive.
fn norms_of_gradient(loss: &Tensor, maps: &Var) -> [f64; 2] {
    let gradients = loss.backward().unwrap();
    let gradient = numbers(gradients.get(maps).unwrap());
    let squares = |lowest: f64| {
        let lit = numbers(maps).into_iter().zip(&gradient);
        lit.filter(|(v, _)| *v > lowest).map(|(_, g)| g * g).sum()
    };
    [-1.0, 0.0].map(|lowest| f64::sqrt(squares(lowest)))
}

/// `relu(1.5 sin(.37 idx + .11) + .4 cos(1.3 k))`, `idx = ((b N + k) 3 + y) 3 + x`; shape `[2, N, 3, 3]`.
fn formula_maps(channels: usize) -> Var {
    let value = |idx: usize| {
        let k = (idx / 9) % channels;
        let v = 1.5 * (0.37 * idx as f64 + 0.11).sin() + 0.4 * (1.3 * k as f64).cos();
        v.max(0.0)
    };
    let values: Vec<f64> = (0..2 * channels * 9).map(value).collect();
    Var::from_vec(values, (2, channels, 3, 3), &Device::Cpu).unwrap()
}

/// Numbers of the formula maps. The norms are of the gradient that goes to the first maximum; the
/// second of each pair counts only what the `ReLU` before the maps lets through.
struct Vector {
    sizes: &'static [usize],
    mask: &'static [f64],
    discriminality: f64,
    diversity: f64,
    coverage: f64,
    norm_of_discriminality: [f64; 2],
    norm_of_diversity: [f64; 2],
}

const VECTORS: [Vector; 2] = [
    Vector {
        sizes: &[3, 3],
        mask: &[1., 0., 1., 0., 1., 1.],
        discriminality: 0.590_231_200,
        diversity: 1.485_753_300,
        coverage: 0.495_251_100,
        norm_of_discriminality: [0.148_787_520, 0.143_891_658],
        norm_of_diversity: [0.142_088_642, 0.128_052_356],
    },
    Vector {
        sizes: &[2, 2, 3],
        mask: &[1., 0., 0., 1., 1., 1., 0.],
        discriminality: 1.202_480_936,
        diversity: 1.411_645_230,
        coverage: 0.618_399_184,
        norm_of_discriminality: [0.170_953_459, 0.167_987_211],
        norm_of_diversity: [0.101_495_421, 0.086_157_295],
    },
];

#[test]
fn losses_of_the_formula_maps_are_known_to_nine_digits() {
    for vector in &VECTORS {
        let layout = Layout::from_sizes(vector.sizes).unwrap();
        let maps = formula_maps(layout.channels());
        let labels = Tensor::new(&[0_u32, 1], &Device::Cpu).unwrap();
        let mask = Tensor::new(vector.mask, &Device::Cpu).unwrap();
        let mask = mask.reshape((1, layout.channels(), 1, 1)).unwrap();
        let weights = Factors::paper(1.0, 1.0);
        let loss = mc_loss(&maps, &labels, &layout, &mask, weights).unwrap();
        let dis = norms_of_gradient(&loss.discriminality, &maps);
        let div = norms_of_gradient(&loss.diversity, &maps);
        for (what, actual, expected) in [
            ("L_dis", scalar(&loss.discriminality), vector.discriminality),
            ("L_div", scalar(&loss.diversity), vector.diversity),
            ("mean h/xi", scalar(&loss.coverage), vector.coverage),
            ("|dL_dis|", dis[0], vector.norm_of_discriminality[0]),
            ("|dL_dis| past the ReLU", dis[1], vector.norm_of_discriminality[1]),
            ("|dL_div|", div[0], vector.norm_of_diversity[0]),
            ("|dL_div| past the ReLU", div[1], vector.norm_of_diversity[1]),
        ] {
            let error = (actual - expected).abs();
            assert!(error < 2e-9, "{what} of {:?}: {actual}, not {expected}", vector.sizes);
        }
    }
}

#[test]
fn class_logits_of_the_formula_maps_are_known_to_nine_digits() {
    let layout = Layout::uniform(2, 3).unwrap();
    let mask = Tensor::new(VECTORS[0].mask, &Device::Cpu).unwrap();
    let masked = formula_maps(6).broadcast_mul(&mask.reshape((1, 6, 1, 1)).unwrap());
    let strongest = fieldmark_trainer::net::mc_loss::ccmp(&masked.unwrap(), &layout).unwrap();
    let g = numbers(&strongest.mean((2, 3)).unwrap());
    let expected = [1.301_876_692_1, 1.276_612_026_2, 0.938_916_646_9, 1.372_004_882_7];
    for (g, expected) in g.into_iter().zip(expected) {
        assert!((g - expected).abs() < 1e-9, "{g}, not {expected}");
    }
}

#[test]
fn pytorch_agrees_on_the_losses_and_their_gradients() {
    let golden = Golden::mc_loss();
    for case in golden.cases("") {
        for &dtype in test_types() {
            let tolerance = if dtype == DType::F64 { 1e-12 } else { 1e-5 };
            let layout = Layout::from_sizes(&case.indices("sizes")).unwrap();
            let maps = case.var("maps", dtype);
            let labels = &case.stored("labels").to_device(test_device()).unwrap();
            let mask = case.tensor("mask", dtype);
            let mask = mask.reshape((1, layout.channels(), 1, 1)).unwrap();
            let weights = case.numbers("weights");
            let weights = Factors::paper(weights[0], weights[1]);
            let loss = mc_loss(&maps, labels, &layout, &mask, weights).unwrap();
            let alone = discriminality(&maps, labels, &layout, &mask).unwrap();
            let spread = diversity(&maps, &layout).unwrap();
            for (key, actual) in [
                ("discriminality", &loss.discriminality),
                ("discriminality", &alone),
                ("diversity", &loss.diversity),
                ("diversity", &spread),
                ("total", &loss.total),
            ] {
                let what = format!("{} {key} {dtype:?}", case.name);
                let actual_1 = actual.reshape(1).unwrap();
                assert_close(&what, &actual_1, case.stored(key), tolerance);
                let gradients = actual.backward().unwrap();
                let gradient = gradients.get(&maps).unwrap();
                let expected = case.stored(&format!("d{key}"));
                assert_close(&format!("gradient of {what}"), gradient, expected, tolerance);
            }
            let coverage = loss.coverage.reshape(1).unwrap();
            assert_close("coverage", &coverage, case.stored("coverage"), tolerance);
        }
    }
}

#[path = "../../trainer/examples/mc_loss.rs"]
#[allow(dead_code, unreachable_pub, reason = "its `main` is for people")]
mod example;

#[test]
fn the_examples_channels_learn_their_class_and_part() {
    let losses = example::train(400).unwrap();
    let [first, last] = [&losses[0], &losses[losses.len() - 1]];
    let of = |loss: &Tensor| scalar(loss);
    assert!(of(&first.discriminality) > 1.3 && of(&first.coverage) < 0.4);
    assert!(of(&last.discriminality) < 0.6 && of(&last.coverage) > 0.9);
}
