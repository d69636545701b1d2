//! A network whose evidence is one coloured patch in a corner, so that every measure has a closed form.

use std::path::Path;

use candle_core::{Device, Tensor};
use fieldmark::frame::ResizeRule;
use fieldmark::head::{Head, HeadKind};
use fieldmark::layout::Layout;
use ndarray::Array3;
use rand::RngExt;

use super::observe::evidence_map;
use super::*;
use crate::data::dataset::{Annotation, FieldMarks, PartPoint};
use crate::net::backbone::{Backbone, conv};
use crate::net::layer::tests::{flat, uniform};
use crate::net::layer::{Conv, Layer, Padding};
use crate::net::network::{ClassLayer, NetworkConfig, assemble, build, head_layers};
use crate::run::records::Stability;

const SIDE: u32 = 12;

/// Above the threshold of the network: the patch's middle, and the eight pixels around it.
const MIDDLE: f32 = 0.5;
const AROUND: f32 = 200.0 / 255.0 - 0.5;

/// Each channel's weight in the logit.
const WEIGHT: f32 = 96.0;

/// Two channels a class: red (class 0) or blue (class 1) above green by more than a half.
fn network() -> Network {
    let layout = Layout::uniform(2, 2).unwrap();
    let conv =
        Conv { bias: true, ..conv("class_aligned.conv", 3, layout.channels(), 1, 1, Padding::Explicit(0)) };
    let trunk = vec![Layer::Normalise { mean: [0.0; 3], std: [255.0; 3] }, Layer::Conv(conv), Layer::Relu];
    let head = head_layers(HeadKind::GroupMean, &layout, 0.0).unwrap();
    let network = assemble(trunk, head, layout, HeadKind::GroupMean, SIDE, 1).unwrap();
    let (red, blue) = ([1.0, -1.0, 0.0], [0.0, -1.0, 1.0]);
    for (name, values) in [
        ("class_aligned.conv.weight", [red, red, blue, blue].concat()),
        ("class_aligned.conv.bias", vec![-0.5; 4]),
        ("head.weight", vec![WEIGHT; 4]),
        ("head.bias", vec![0.0; 2]),
    ] {
        let var = network.params.get(name).unwrap();
        var.set(&Tensor::from_vec(values, var.dims(), var.device()).unwrap()).unwrap();
    }
    network
}

/// Grey, with a patch of 3 x 3 pixels in a corner: red top left for class 0, blue bottom right for class 1.
fn draw(path: &Path, class: usize, with_patch: bool) {
    let corner = if class == 0 { 0 } else { SIDE - 3 };
    let picture = image::RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let (Some(x), Some(y)) = (x.checked_sub(corner), y.checked_sub(corner)) else {
            return image::Rgb([128; 3]);
        };
        if !with_patch || x > 2 || y > 2 {
            return image::Rgb([128; 3]);
        }
        let value = if (x, y) == (1, 1) { 255 } else { 200 };
        image::Rgb(if class == 0 { [value, 0, 0] } else { [0, 0, value] })
    });
    picture.save(path).unwrap();
}

/// One picture a class, and one without a patch, labelled 1, which the network takes for 0.
fn dataset(folder: &Path) -> Dataset {
    let sample = |name: &str, class: usize, with_patch: bool| {
        let path = folder.join(name);
        draw(&path, class, with_patch);
        let corner = if class == 0 { 0.0 } else { SIDE as f32 - 4.0 };
        let middle = if class == 0 { 1.5 } else { 10.5 };
        let part = PartPoint { part: 0, x: middle, y: middle, radius: Some(1.0) };
        let bounds = [corner, corner, corner + 4.0, corner + 4.0];
        Sample { path, class, marks: Some(Annotation { bounds: Some(bounds), parts: vec![part] }) }
    };
    let test = vec![sample("red.png", 0, true), sample("blue.png", 1, true), sample("grey.png", 1, false)];
    Dataset {
        root: folder.to_owned(),
        source: folder.to_owned(),
        labels: vec!["red".into(), "blue".into()],
        parts: vec!["patch".into()],
        field_marks: vec![FieldMarks { classes: [0, 1], parts: vec![0] }],
        train: Vec::new(),
        validation: Vec::new(),
        test,
        skipped: Vec::new(),
        hash: String::new(),
    }
}

fn measured_on(network: &Network, to: Input, dataset: &Dataset) -> Faithfulness {
    measured(network, to, dataset, 100, &ProgressBar::hidden()).unwrap()
}

fn figures() -> Faithfulness {
    let folder = tempfile::tempdir().unwrap();
    let to = Input { side: SIDE, resize: ResizeRule::Squash };
    measured_on(&network(), to, &dataset(folder.path()))
}

#[track_caller]
fn near(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-4, "{actual}, expected {expected}");
}

#[test]
fn cue_and_grad_cam_point_at_the_patch_and_wrong_answers_are_left_out() {
    let figures = figures();
    assert_eq!((figures.pictures, figures.right), (3, 2));
    let pointing = figures.pointing.unwrap();
    for rates in [pointing.one_mark, pointing.marks, pointing.parts, pointing.object] {
        let rates = rates.unwrap();
        assert_eq!((rates.pictures, rates.strongest_cue, rates.grad_cam), (2, 1.0, Some(1.0)));
        near(rates.centre, 0.0);
    }
    near(pointing.object.unwrap().random_point, 16.0 / 144.0);
}

#[test]
fn covering_the_patch_takes_the_logit_away_pixel_by_pixel() {
    let coverings = figures().coverings.unwrap();
    let logit =
        |middles: f32, arounds: f32| f64::from(2.0 * WEIGHT * (middles * MIDDLE + arounds * AROUND) / 144.0);
    let whole = logit(1.0, 8.0);
    // 2, 5 and 10 % of 144 pixels are 3, 7 and 14.
    let deleted = [whole, logit(0.0, 6.0), logit(0.0, 2.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let inserted = [0.0, logit(1.0, 2.0), logit(1.0, 6.0), whole, whole, whole, whole, whole, whole];
    for (curves, expected) in [(&coverings.deletion, deleted), (&coverings.insertion, inserted)] {
        for curve in [&curves.cue, &curves.grad_cam] {
            for (score, expected) in curve.scores.iter().zip(expected) {
                near(score.logit, expected);
                near(score.probability, 1.0 / (1.0 + (-expected).exp()));
            }
        }
        assert_eq!(curves.random.scores[0], curves.cue.scores[0]);
        assert_eq!(curves.random.scores[8], curves.cue.scores[8]);
    }
    assert!(coverings.deletion.cue.area_under < coverings.deletion.random.area_under - 0.05);
    assert!(coverings.insertion.cue.area_under > coverings.insertion.random.area_under + 0.05);
    // A square of 3 x 3 pixels around the peak is the patch; at a random place it covers 0.36 pixels of it on average.
    let square = &coverings.squares[1];
    near(square.drop.cue.logit, whole);
    near(square.drop.grad_cam.logit, whole);
    assert!(square.drop.random.logit < whole / 3.0 && square.logit_ratio.is_none_or(|ratio| ratio > 3.0));
}

#[test]
fn the_area_under_a_curve_is_by_trapezia() {
    let coverings = figures().coverings.unwrap();
    let curve = &coverings.deletion.cue;
    let p: Vec<f64> = curve.scores.iter().map(|score| score.probability).collect();
    let mut expected = 0.0;
    for (index, (from, to)) in
        [(0.0, 0.02), (0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.5), (0.5, 0.75), (0.75, 1.0)]
            .into_iter()
            .enumerate()
    {
        expected += (to - from) * (p[index] + p[index + 1]) / 2.0;
    }
    near(curve.area_under, expected);
}

#[test]
fn no_evidence_lies_outside_of_the_box_around_the_patch() {
    let background = figures().background.unwrap();
    assert_eq!((background.pictures, background.evidence, background.cues), (2, 0.0, 0.0));
    near(background.grad_cam, 0.0);
    near(background.picture, 128.0 / 144.0);
    assert_eq!(background.classes.iter().map(|class| class.pictures).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn the_cue_moves_with_the_patch() {
    let Stability { mirrored, shifted } = figures().stability.unwrap();
    assert_eq!((mirrored.pictures, shifted.pictures), (2, 8));
    for moved in [mirrored, shifted] {
        assert_eq!((moved.same_answer, moved.cue.near, moved.grad_cam.near), (1.0, 1.0, 1.0));
        near(moved.cue.mean, 0.0);
        assert_eq!(moved.cue.pictures, moved.pictures);
    }
}

#[test]
fn what_needs_no_annotation_is_measured_without_any() {
    let folder = tempfile::tempdir().unwrap();
    let mut dataset = dataset(folder.path());
    dataset.test.iter_mut().for_each(|sample| sample.marks = None);
    let to = Input { side: SIDE, resize: ResizeRule::Squash };
    let bare = measured_on(&network(), to, &dataset);
    assert_eq!((&bare.pointing, &bare.background), (&None, &None));
    let figures = figures();
    assert_eq!((&bare.coverings, &bare.stability), (&figures.coverings, &figures.stability));
    let table = table(&bare);
    assert!(table.contains("area under") && !table.contains("object"), "{table}");
}

#[test]
fn without_a_right_answer_there_are_no_figures() {
    let folder = tempfile::tempdir().unwrap();
    let mut dataset = dataset(folder.path());
    dataset.test.remove(0);
    dataset.test.remove(0);
    let to = Input { side: SIDE, resize: ResizeRule::Squash };
    let none = measured_on(&network(), to, &dataset);
    assert_eq!((none.right, &none.pointing, &none.coverings), (0, &None, &None));
    assert_eq!((&none.background, &none.stability), (&None, &None));
}

#[test]
fn grad_cam_weighs_the_backbones_maps_by_the_mean_gradient() {
    let network = network();
    let observer = Observer::new(&network, SIDE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let to = Input { side: SIDE, resize: ResizeRule::Squash };
    let pictures = seen(&[&dataset.test[0]], to).unwrap();
    let images = stacked(&pictures).unwrap();
    // Red counts for class 0 in nine of 144 cells, with the weight of two channels; green against it as much.
    let weight = 2.0 * WEIGHT / 144.0 * 9.0 / 144.0;
    let of_own = &observer.observe(&images, &[0]).unwrap()[0].grad_cam;
    near(of_own[[1, 1]].into(), weight.into());
    near(of_own[[0, 2]].into(), f64::from(weight) * 200.0 / 255.0);
    near(of_own[[6, 6]].into(), 0.0);
    // No channel of class 1 fires, so nothing depends on anything.
    assert!(observer.observe(&images, &[1]).unwrap()[0].grad_cam.iter().all(|&value| value == 0.0));
}

#[test]
fn on_native_maps_grad_cam_is_the_positive_evidence() {
    let config = NetworkConfig {
        backbone: Backbone::Tiny,
        convention: None,
        class_layer: ClassLayer::Native,
        xi: 3,
        head: HeadKind::GroupMean,
        dropout: 0.0,
    };
    let network = build(&config, 4, 64, 1).unwrap();
    let weights = Tensor::from_vec([1.0_f32, -0.5, 0.5].repeat(4), 12, &Device::Cpu);
    network.params.get("head.weight").unwrap().set(&weights.unwrap()).unwrap();
    let observer = Observer::new(&network, 64).unwrap();
    let images = uniform(7, &[2, 3, 64, 64], 0.0, 255.0);
    let observed = observer.observe(&images, &[1, 3]).unwrap();
    let logits = flat(&network.forward(&images, &mut crate::net::layer::Mode::Eval).unwrap().logits);
    for (index, observed) in observed.iter().enumerate() {
        assert_eq!(observed.logits, logits[4 * index..4 * index + 4]);
        assert!(observed.grad_cam.iter().any(|&value| value > 0.0));
        for (cam, evidence) in observed.grad_cam.iter().zip(&observed.evidence) {
            near((cam * 64.0).into(), evidence.max(0.0).into());
        }
    }
}

#[test]
fn the_mean_of_the_evidence_is_the_sum_of_shares_for_every_head() {
    let layout = Layout::from_sizes(&[2, 3]).unwrap();
    let values = flat(&uniform(3, &[5 * 4 * 6], 0.0, 2.0));
    let maps = Array3::from_shape_vec((5, 4, 6), values).unwrap();
    for (kind, weight) in [
        (HeadKind::GroupMean, vec![1.0, -2.0, 0.5, 3.0, 1.5]),
        (HeadKind::Linear, vec![1.0, -2.0, 0.5, 3.0, 1.5]),
        (HeadKind::GroupMax, vec![2.0, 2.0, -3.0, -3.0, -3.0]),
    ] {
        let head = Head { kind, weight, bias: vec![0.0; 2] };
        for class in 0..2 {
            let mean = evidence_map(&maps, &layout, &head, class).mean().unwrap();
            let shares: f32 = head.shares(maps.view(), &layout, class).iter().sum();
            near(mean.into(), shares.into());
        }
    }
}

#[test]
fn figures_do_not_depend_on_the_number_of_threads() {
    let config = NetworkConfig {
        backbone: Backbone::Tiny,
        convention: None,
        class_layer: ClassLayer::Project { stride: 8 },
        xi: 2,
        head: HeadKind::GroupMean,
        dropout: 0.0,
    };
    let network = build(&config, 2, 32, 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut dataset = dataset(folder.path());
    let mut rng = stream(Stream::Trial { number: 1 });
    for sample in &dataset.test {
        let noise = image::RgbImage::from_fn(40, 40, |_, _| image::Rgb([0; 3].map(|_: u8| rng.random())));
        noise.save(&sample.path).unwrap();
    }
    dataset
        .test
        .extend(dataset.test.clone().into_iter().map(|sample| Sample { class: 1 - sample.class, ..sample }));
    let to = Input { side: 32, resize: ResizeRule::Pad };
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| measured_on(&network, to, &dataset))
    };
    let one = on(1);
    assert_eq!(one.right, 3);
    assert_eq!(on(3), one);
}
