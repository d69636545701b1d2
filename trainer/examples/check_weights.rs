//! Whether EfficientNet-Lite0's published weights name photos as their publishers' code does, with the normalisation and the padding that
//! their file carries and with no others: what `cargo xtask check-weights` runs.
//!
//! `check_weights WEIGHTS PHOTOS GOLDEN`: a file of EfficientNet-Lite0, a folder of photos, and `tests/golden/photos.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use fieldmark::frame::{Frame, ResizeRule, input, network_frame};
use fieldmark::head::{softmax, top_k};
use fieldmark::picture::{Limits, read_picture};
use fieldmark_trainer::net::backbone::{Backbone, Convention, classifier, conventional};
use fieldmark_trainer::net::layer::{Layer, Mode, Params, forward, parameter_specs};
use fieldmark_trainer::net::weights;
use serde::Deserialize;

/// A probability may differ by this much from the reference's, whose decoder rounds differently: pixels that are off by
/// one at random move probabilities by up to 0.04.
const TOLERANCE: f32 = 0.05;

/// Of the shorter side, in hundredths; the first is the reference's. Each is seen as it is and mirrored.
const SQUARES: [u8; 5] = [100, 90, 80, 70, 60];

/// The input's side that they were trained for.
const SIDE: u32 = 224;

const BACKBONE: Backbone = Backbone::EfficientnetLite0;

/// What a photo shows, ImageNet's classes for it, and the likeliest classes of the largest centred square with
/// the probabilities that the reference gives them.
#[derive(Deserialize)]
struct Photo {
    shows: String,
    classes: Vec<usize>,
    answers: BTreeMap<usize, f32>,
}

/// How a network did.
struct Score {
    /// Photos of which the likeliest class is right.
    right: usize,
    /// The largest difference of a probability from the reference's.
    off: f32,
    /// The mean of `-ln` of the right classes' probability over all views of all photos.
    cross_entropy: f32,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, folder, golden] = arguments.as_slice() else {
        bail!(
            "expected WEIGHTS, PHOTOS and GOLDEN, got {arguments:?}; `cargo xtask check-weights` passes them"
        );
    };
    let photos: BTreeMap<String, Photo> = serde_json::from_str(&fs::read_to_string(golden)?)?;
    let views = views(Path::new(folder), &photos)?;
    let pretrained = weights::read(Path::new(file), BACKBONE, None)?;
    let [own, padding, normalisation] = networks(pretrained.origin.convention)?;
    let params = Params::init(&parameter_specs(&own), 0, &Device::Cpu)?;
    pretrained.load(&params, &BTreeSet::new())?;
    let score = |name: &str, layers: &[Layer]| -> Result<Score> {
        let Score { right, off, cross_entropy } = score(layers, &params, &views, &photos)?;
        println!(
            "{name}: {right} of {} right, probabilities off by at most {off:.3}, cross-entropy {cross_entropy:.3}",
            photos.len()
        );
        Ok(Score { right, off, cross_entropy })
    };
    let own = score("as the file says", &own)?;
    let is_good = own.right == photos.len() && own.off <= TOLERANCE;
    ensure!(is_good, "the answers are not those of the weights' own code");
    for (name, layers) in [("zeros on every side", padding), ("ImageNet's mean and deviation", normalisation)]
    {
        let other = score(name, &layers)?;
        let is_told = other.off > TOLERANCE && other.cross_entropy > own.cross_entropy;
        ensure!(is_told, "{name}: the photos do not tell that it is wrong");
    }
    Ok(())
}

/// The classifier as the weights expect it, with the other padding, and with the other normalisation.
fn networks(convention: Convention) -> Result<[Vec<Layer>; 3]> {
    let layers = classifier(BACKBONE, 1000);
    let own = conventional(layers.clone(), BACKBONE, convention)?;
    let other = conventional(layers, BACKBONE, Convention::Imagenet)?;
    // The first layer normalises.
    let joined = |first: &[Layer], rest: &[Layer]| [&first[..1], &rest[1..]].concat();
    Ok([own.clone(), joined(&own, &other), joined(&other, &own)])
}

/// The views of each photo, `2 * SQUARES` each, in the order of `photos`.
fn views(folder: &Path, photos: &BTreeMap<String, Photo>) -> Result<Vec<Vec<Frame>>> {
    let views = |file: &String| {
        let picture = read_picture(&folder.join(file), &Limits::default()).with_context(|| file.clone())?;
        let view = |percent| {
            let (frame, _) = network_frame(&picture, ResizeRule::Centre(percent), SIDE);
            [frame.clone(), frame.flipped()]
        };
        Ok(SQUARES.into_iter().flat_map(view).collect())
    };
    photos.keys().map(views).collect()
}

fn score(
    layers: &[Layer],
    params: &Params,
    views: &[Vec<Frame>],
    photos: &BTreeMap<String, Photo>,
) -> Result<Score> {
    let mut score = Score { right: 0, off: 0.0, cross_entropy: 0.0 };
    for ((file, photo), views) in photos.iter().zip(views) {
        let answers = probabilities(layers, params, views)?;
        let whole = &answers[0];
        let first = top_k(whole, 1)[0];
        if photo.classes.contains(&first) {
            score.right += 1;
        } else {
            println!("  {file} shows {}, not class {first}", photo.shows);
        }
        let off = photo.answers.iter().map(|(&class, probability)| (whole[class] - probability).abs());
        score.off = off.fold(score.off, f32::max);
        let surprise =
            |answer: &Vec<f32>| -photo.classes.iter().map(|&class| answer[class]).sum::<f32>().ln();
        let mean = answers.iter().map(surprise).sum::<f32>() / answers.len() as f32;
        score.cross_entropy += mean / photos.len() as f32;
    }
    Ok(score)
}

/// Of every class, for each view.
fn probabilities(layers: &[Layer], params: &Params, views: &[Frame]) -> Result<Vec<Vec<f32>>> {
    let planes = views.iter().map(|frame| {
        Tensor::from_vec(
            input(frame).into_raw_vec_and_offset().0,
            (1, 3, frame.height() as usize, frame.width() as usize),
            &Device::Cpu,
        )
    });
    let images = Tensor::cat(&planes.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
    let logits: Vec<Vec<f32>> = forward(layers, params, &images, &mut Mode::Eval)?.to_vec2()?;
    Ok(logits.iter().map(|logits| softmax(logits, 1.0)).collect())
}
