//! Deletion and insertion: what becomes of the class's score when a region is covered, or all but a region.
//!
//! A covered pixel gets the mean colour of the picture. Blur, the other choice, would leave most of a coloured mark where it
//! was; black or grey would be brighter or darker than anything around it. Any filling makes edges that no picture has:
//! that is why random regions are squares and not single pixels, with edges of about the same length.

use candle_core::{Device, Tensor};
use fieldmark::head::softmax;
use rand_chacha::ChaCha8Rng;

use super::observe::{Observed, Observer, peak};
use crate::measure::region::{Canvas, mean_colour, without};
use crate::run::records::{ByRegion, ClassScore, Coverings, Curve, Square};

/// Inputs that go through the network at a time.
const BATCH: usize = 16;

/// Shares of the picture at which the curves are measured.
const AREAS: [f64; 9] = [0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0];

/// Random regions a picture, for the curves.
const RANDOM_REGIONS: usize = 2;

/// Shares of the picture that a single square covers. A mark of the drawn birds covers 4 %.
const SQUARES: [f64; 3] = [0.02, 0.05, 0.1];

/// Random squares a picture, of each area.
const RANDOM_SQUARES: usize = 8;

/// The size of the squares that random regions are made of.
const RANDOM_SQUARE: f64 = 0.05;

/// Sums over pictures.
#[derive(Default)]
pub struct CoveringSums {
    pictures: usize,
    deletion: ByRegion<[ClassScore; AREAS.len()]>,
    insertion: ByRegion<[ClassScore; AREAS.len()]>,
    squares: ByRegion<[ClassScore; SQUARES.len()]>,
}

/// A picture as the network gets it, and what is asked of it.
pub struct Covered<'a> {
    /// `3 x S x S`, 0..=255.
    pub planes: &'a [f32],
    /// The pixels of it that show the picture.
    pub canvas: Canvas,
    /// Whose score is looked at.
    pub class: usize,
}

impl CoveringSums {
    /// Adds a picture, as `observed` whole from its class; `rng` draws the random regions.
    ///
    /// # Errors
    /// candle's.
    pub fn add(
        &mut self,
        observer: &Observer,
        picture: &Covered,
        observed: &Observed,
        rng: &mut ChaCha8Rng,
    ) -> candle_core::Result<()> {
        let canvas = &picture.canvas;
        let whole = score(&observed.logits, picture.class);
        let all: Vec<u32> = canvas.pixels().collect();
        let nothing = picture.scores(observer, &[&all])?[0];
        let most = AREAS[AREAS.len() - 2];
        let orders = ByRegion {
            cue: vec![canvas.by_value(&observed.evidence)],
            grad_cam: vec![canvas.by_value(&observed.grad_cam)],
            random: (0..RANDOM_REGIONS).map(|_| canvas.by_chance(RANDOM_SQUARE, most, rng)).collect(),
        };
        let sums = self.deletion.each_mut().into_iter().zip(self.insertion.each_mut());
        for ((deletion, insertion), orders) in sums.zip(orders.each()) {
            let weight = 1.0 / orders.len() as f64;
            for order in orders {
                let (first, rest): (Vec<_>, Vec<_>) =
                    AREAS.iter().map(|&area| order.split_at(canvas.count(area).min(order.len()))).unzip();
                let inner = 1..AREAS.len() - 1;
                let without = picture.scores(observer, &first[inner.clone()])?;
                let with = picture.scores(observer, &rest[inner])?;
                add(deletion, [&[whole], without.as_slice(), &[nothing]].concat(), weight);
                add(insertion, [&[nothing], with.as_slice(), &[whole]].concat(), weight);
            }
        }
        self.add_squares(observer, picture, observed, whole, rng)?;
        self.pictures += 1;
        Ok(())
    }

    fn add_squares(
        &mut self,
        observer: &Observer,
        picture: &Covered,
        observed: &Observed,
        whole: ClassScore,
        rng: &mut ChaCha8Rng,
    ) -> candle_core::Result<()> {
        let canvas = &picture.canvas;
        // What looks nowhere covers nothing.
        let around = |point: Option<[f32; 2]>| {
            let square = |area| point.map_or(Vec::new(), |point| canvas.square_around(point, area));
            vec![SQUARES.map(square)]
        };
        let squares = ByRegion {
            cue: around(observed.cue()),
            grad_cam: around(peak(&observed.grad_cam, canvas.side as u32)),
            random: (0..RANDOM_SQUARES)
                .map(|_| SQUARES.map(|area| canvas.random_square(area, rng)))
                .collect(),
        };
        for (sums, squares) in self.squares.each_mut().into_iter().zip(squares.each()) {
            let weight = 1.0 / squares.len() as f64;
            let regions: Vec<&[u32]> = squares.iter().flatten().map(Vec::as_slice).collect();
            for scores in picture.scores(observer, &regions)?.chunks_exact(SQUARES.len()) {
                add(sums, [whole; SQUARES.len()].to_vec(), weight);
                add(sums, scores.to_vec(), -weight);
            }
        }
        Ok(())
    }

    /// The means, where there was a picture.
    pub fn means(&self) -> Option<Coverings> {
        let mean = |sum: &ClassScore| ClassScore {
            logit: sum.logit / self.pictures as f64,
            probability: sum.probability / self.pictures as f64,
        };
        let curve = |sums: &[ClassScore; AREAS.len()]| {
            let scores: Vec<ClassScore> = sums.iter().map(mean).collect();
            Curve { area_under: area_under(&scores), scores }
        };
        let square =
            |(index, &area): (usize, &f64)| square(area, self.squares.map(|sums| mean(&sums[index])));
        (self.pictures > 0).then(|| Coverings {
            areas: AREAS.into(),
            deletion: self.deletion.map(curve),
            insertion: self.insertion.map(curve),
            squares: SQUARES.iter().enumerate().map(square).collect(),
        })
    }
}

impl Covered<'_> {
    /// The class's score without each of the regions.
    fn scores(&self, observer: &Observer, regions: &[&[u32]]) -> candle_core::Result<Vec<ClassScore>> {
        let fill = mean_colour(self.planes, &self.canvas);
        let side = self.canvas.side;
        let mut scores = Vec::with_capacity(regions.len());
        for regions in regions.chunks(BATCH) {
            let inputs: Vec<f32> =
                regions.iter().flat_map(|region| without(self.planes, region, fill)).collect();
            let images = Tensor::from_vec(inputs, (regions.len(), 3, side, side), &Device::Cpu)?;
            let logits = observer.logits(&images)?;
            scores.extend(logits.iter().map(|logits| score(logits, self.class)));
        }
        Ok(scores)
    }
}

fn score(logits: &[f32], class: usize) -> ClassScore {
    ClassScore { logit: f64::from(logits[class]), probability: f64::from(softmax(logits, 1.0)[class]) }
}

fn add<const N: usize>(sums: &mut [ClassScore; N], scores: Vec<ClassScore>, weight: f64) {
    for (sum, score) in sums.iter_mut().zip(scores) {
        sum.logit += weight * score.logit;
        sum.probability += weight * score.probability;
    }
}

/// Under the probability, by trapezia over [`AREAS`].
fn area_under(scores: &[ClassScore]) -> f64 {
    let pieces = AREAS.windows(2).zip(scores.windows(2));
    pieces.map(|(at, of)| (at[1] - at[0]) * f64::midpoint(of[0].probability, of[1].probability)).sum()
}

fn square(area: f64, drop: ByRegion<ClassScore>) -> Square {
    let ratio = |cue: f64, random: f64| (random > 0.0).then(|| cue / random);
    Square {
        area,
        logit_ratio: ratio(drop.cue.logit, drop.random.logit),
        probability_ratio: ratio(drop.cue.probability, drop.random.probability),
        drop,
    }
}
