//! How much of the evidence lies outside of the object's box.

use fieldmark::frame::View;
use ndarray::Array2;

use super::observe::Observed;
use crate::data::dataset::Sample;
use crate::measure::pointing::target::{Target, targets};
use crate::run::records::{Background, ClassBackground};

/// A sum of shares and how many they are.
#[derive(Clone, Copy, Debug, Default)]
struct Shares {
    sum: f64,
    count: usize,
}

/// Sums over pictures.
pub struct BackgroundSums {
    evidence: Shares,
    grad_cam: Shares,
    cues: Shares,
    picture: Shares,
    classes: Vec<Shares>,
}

impl Shares {
    fn add(&mut self, share: Option<f64>) {
        self.sum += share.unwrap_or(0.0);
        self.count += usize::from(share.is_some());
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl BackgroundSums {
    /// Nothing yet.
    pub fn new(classes: usize) -> BackgroundSums {
        let none = Shares::default();
        BackgroundSums {
            evidence: none,
            grad_cam: none,
            cues: none,
            picture: none,
            classes: vec![none; classes],
        }
    }

    /// Adds a right answer, if its box is known: `size` is the picture's, `view` leads to it from an input of `side`.
    pub fn add(&mut self, sample: &Sample, size: [u32; 2], (view, side): (&View, u32), observed: &Observed) {
        let Some(object) = targets(sample, &[]).object else { return };
        let evidence = outside(&observed.evidence, &object, view, side);
        self.evidence.add(evidence);
        self.classes[sample.class].add(evidence);
        self.grad_cam.add(outside(&observed.grad_cam, &object, view, side));
        self.picture.add(Some(1.0 - object.covered(size)));
        for cue in observed.cues.iter().filter(|cue| cue.speaks()) {
            let (x, y) = view.to_picture(cue.x, cue.y);
            self.cues.add(Some(f64::from(u8::from(!object.holds(x, y)))));
        }
    }

    /// The means, where a box was known.
    pub fn means(&self, labels: &[String]) -> Option<Background> {
        let class = |(label, shares): (&String, &Shares)| ClassBackground {
            label: label.clone(),
            pictures: shares.count,
            evidence: shares.mean(),
        };
        Some(Background {
            pictures: self.picture.count,
            picture: self.picture.mean()?,
            evidence: self.evidence.mean().unwrap_or(0.0),
            grad_cam: self.grad_cam.mean().unwrap_or(0.0),
            cues: self.cues.mean().unwrap_or(0.0),
            classes: labels.iter().zip(&self.classes).map(class).collect(),
        })
    }
}

/// The share of what is above 0 in a map over the whole input that lies outside of the object; none where nothing is.
fn outside(map: &Array2<f32>, object: &Target, view: &View, side: u32) -> Option<f64> {
    let (height, width) = map.dim();
    let (mut all, mut out) = (0.0_f64, 0.0_f64);
    for ((row, column), &value) in map.indexed_iter() {
        let [x, y] = [(column, width), (row, height)]
            .map(|(cell, cells)| (cell as f32 + 0.5) * side as f32 / cells as f32);
        let (x, y) = view.to_picture(x, y);
        let value = f64::from(value.max(0.0));
        all += value;
        out += if object.holds(x, y) { 0.0 } else { value };
    }
    (all > 0.0).then(|| out / all)
}

#[cfg(test)]
mod tests {
    use fieldmark::frame::ResizeRule;
    use ndarray::array;

    use super::*;

    #[test]
    fn the_share_outside_is_by_the_middles_of_cells_in_the_picture() {
        // Cells of 20 x 40 pixels of an 80 x 80 picture, seen through an input of 16.
        let view = View::new(80, 80, ResizeRule::Squash, 16);
        let map = array![[1.0, 2.0, 0.0, -5.0], [4.0, 0.0, 0.0, 1.0]];
        for (bounds, expected) in [
            ([0.0, 0.0, 80.0, 80.0], 0.0),
            ([0.0, 0.0, 40.0, 40.0], 5.0 / 8.0),
            ([11.0, 0.0, 80.0, 80.0], 5.0 / 8.0),
            ([60.0, 0.0, 80.0, 40.0], 1.0),
        ] {
            assert_eq!(outside(&map, &Target::Box(bounds), &view, 16), Some(expected), "{bounds:?}");
        }
        assert_eq!(outside(&array![[0.0, -1.0]], &Target::Box([0.0; 4]), &view, 16), None);
    }
}
