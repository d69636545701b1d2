//! What each class looks like to the backbone, from training and validation pictures, and how far from it a picture may
//! be. The test split takes no part. `trainer/EXPERIMENTS.md` says what else was tried.

use fieldmark::model::Input;
use fieldmark::sketches::{Sketch, Sketches};

use crate::data::dataset::{Sample, spread};
use crate::measure::answers::{AnswerError, Answered, answers};
use crate::net::network::Network;

/// Training pictures of a class that its sketch is made of, at most.
const PER_CLASS: usize = 30;

/// How much farther than its own pictures a picture of a class may be. Photos of other shops are up to so much farther.
const REACH: f64 = 1.5;

/// What storing sketches in 8 bits may take from a likeness: less than this.
const ROUNDED: f64 = 1e-3;

/// What `network`, which takes `to`, says of the training pictures that sketches are made of.
///
/// # Errors
/// [`AnswerError`].
pub fn learnt(network: &Network, train: &[Sample], to: Input) -> Result<Vec<Answered>, AnswerError> {
    let of_class = |class: usize| {
        let samples: Vec<&Sample> = train.iter().filter(|sample| sample.class == class).collect();
        spread(&samples, PER_CLASS)
    };
    let chosen: Vec<&Sample> = (0..network.layout.classes()).flat_map(of_class).collect();
    answers(network, &chosen, to)
}

/// The sketches of `classes` classes, of known `pictures`, and the threshold: each picture is held against the mean of the
/// others of its class, and a picture may be 1.5 times as far (1 less the likeness) as the share `usual` of these are. `None`
/// where no class has two pictures.
pub fn sketches<'a>(
    pictures: impl Iterator<Item = &'a Answered>,
    classes: usize,
    usual: f64,
) -> Option<Sketches> {
    let pictures: Vec<(usize, Vec<f64>)> =
        pictures.map(|one| (one.class, one.features.iter().copied().map(f64::from).collect())).collect();
    let count = pictures.first()?.1.len();
    let mut sums = vec![vec![0.0; count]; classes];
    let mut sizes = vec![0.0; classes];
    for (class, features) in &pictures {
        add(&mut sums[*class], features);
        sizes[*class] += 1.0;
    }
    let weights = weights(&pictures, &sums, &sizes);
    let mut distances: Vec<f64> = Vec::new();
    for (class, features) in pictures.iter().filter(|(class, _)| sizes[*class] > 1.0) {
        let count = sizes[*class] - 1.0;
        let others = sums[*class].iter().zip(features).map(|(sum, own)| (sum - own) / count);
        let others: Vec<f64> = others.collect();
        distances.push(1.0 - alike(&weights, features, &others));
    }
    distances.retain(|distance| distance.is_finite());
    distances.sort_by(f64::total_cmp);
    let last = distances.len().checked_sub(1)?;
    let usual = distances[((usual * distances.len() as f64) as usize).min(last)];
    // To six digits, downwards.
    let threshold = ((1.0 - REACH * usual - ROUNDED) * 1e6).floor() / 1e6;
    let weights = Sketches::stored(&weights.iter().map(|weight| *weight as f32).collect::<Vec<_>>());
    let weighed = |(sum, size): (&Vec<f64>, &f64)| -> Vec<f32> {
        let mean = sum.iter().map(|sum| (sum / size.max(1.0)) as f32);
        mean.zip(&weights).map(|(mean, &weight)| mean * f32::from(weight)).collect()
    };
    let weighed: Vec<Vec<f32>> = sums.iter().zip(&sizes).map(weighed).collect();
    let scale = Sketches::scale_of(&weighed);
    let classes = weighed.iter().map(|class| Sketch::of(class, scale)).collect();
    Some(Sketches { weights, scale, classes, threshold: threshold.max(-1.0) as f32, kept: None })
}

fn add(sum: &mut [f64], features: &[f64]) {
    sum.iter_mut().zip(features).for_each(|(sum, feature)| *sum += feature);
}

/// One over the spread of each feature within the classes, with the mean spread of all features added (as squares), so that a
/// feature that never varied does not count beyond measure.
fn weights(pictures: &[(usize, Vec<f64>)], sums: &[Vec<f64>], sizes: &[f64]) -> Vec<f64> {
    let mut squares = vec![0.0; sums[0].len()];
    for (class, features) in pictures {
        for ((square, feature), sum) in squares.iter_mut().zip(features).zip(&sums[*class]) {
            *square += (feature - sum / sizes[*class]).powi(2) / pictures.len() as f64;
        }
    }
    let mean = squares.iter().map(|square: &f64| square.sqrt()).sum::<f64>() / squares.len() as f64;
    let floor = if mean > 0.0 { mean } else { 1.0 };
    squares.iter().map(|square| 1.0 / (square + floor * floor).sqrt()).collect()
}

/// As [`Sketches::likeness`].
fn alike(weights: &[f64], a: &[f64], b: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| {
        a.iter().zip(b).zip(weights).map(|((a, b), weight)| a * b * weight * weight).sum::<f64>()
    };
    let squares = product(a, a) + product(b, b);
    if squares == 0.0 { 0.0 } else { 2.0 * product(a, b) / squares }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(class: usize, features: [f32; 3]) -> Answered {
        Answered { class, logits: vec![0.0; 2], evidence: Vec::new(), features: features.to_vec() }
    }

    #[test]
    fn a_sketch_is_the_mean_and_the_threshold_half_again_as_far_as_the_pictures_are() {
        // Two pictures of each class.
        let pictures = [
            picture(0, [1.0, 0.0, 0.0]),
            picture(0, [0.8, 0.6, 0.0]),
            picture(1, [0.0, 1.0, 0.0]),
            picture(1, [0.0, 0.8, 0.6]),
        ];
        let sketches = sketches(pictures.iter(), 2, 0.95).unwrap();
        // Mean squares of what the three features differ by from their class's mean; the mean of the roots is 0.16886.
        let expected = [0.005_f64, 0.05, 0.045].map(|square| 1.0 / (square + 0.16886 * 0.16886).sqrt());
        assert_eq!(sketches.weights, expected.map(|weight| (255.0 * weight / expected[0]).round() as u8));
        // (0.9, 0.3, 0) times the weights; 127 is the largest.
        let ratio = 0.3 * expected[1] / (0.9 * expected[0]);
        assert_eq!(sketches.classes[0].0, [127, (127.0 * ratio).round() as u8, 0]);
        let far = pictures.iter().map(|one| {
            let other = pictures.iter().find(|other| other.class == one.class && *other != one).unwrap();
            let [a, b] =
                [one, other].map(|one| one.features.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
            1.0 - alike(&expected, &a, &b)
        });
        let farthest = far.fold(0.0, f64::max);
        assert!(
            (f64::from(sketches.threshold) - (0.999 - 1.5 * farthest)).abs() < 1e-4,
            "{}",
            sketches.threshold
        );
    }

    #[test]
    fn single_pictures_and_equal_ones_make_no_panic() {
        assert_eq!(sketches([].iter(), 2, 0.95), None);
        assert_eq!(sketches([picture(0, [1.0; 3]), picture(1, [2.0; 3])].iter(), 2, 0.95), None);
        let equal = [picture(1, [1.0, 2.0, 0.0]), picture(1, [1.0, 2.0, 0.0])];
        let found = sketches(equal.iter(), 2, 0.95).unwrap();
        assert!((found.threshold - 0.999).abs() < 1e-5, "{}", found.threshold);
        assert!(found.likeness(&equal[0].features, 1) > found.threshold);
        assert_eq!((&found.classes[0].0, &found.classes[1].0), (&vec![0; 3], &vec![64, 127, 0]));
        let zero = [picture(0, [0.0; 3]), picture(0, [0.0; 3])];
        assert_eq!(sketches(zero.iter(), 1, 0.95).unwrap().classes[0].0, [0; 3]);
        let none = [picture(0, [f32::NAN; 3]), picture(0, [f32::NAN; 3])];
        assert_eq!(sketches(none.iter(), 1, 0.95), None);
    }
}
