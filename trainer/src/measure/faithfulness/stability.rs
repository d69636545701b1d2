//! Whether cues stay where they are when the picture is mirrored or moved.

use candle_core::{Device, Tensor};
use fieldmark::head::top_k;

use super::deletion::Covered;
use super::observe::{Observed, Observer, peak};
use crate::measure::moved::{Change, changed};
use crate::measure::region::mean_colour;
use crate::run::records::{Distance, Moved, Stability};

/// How far a picture is moved, as a share of the side. Not a whole number of cells at the usual strides, as a
/// convolutional network follows those exactly.
const SHIFT: f64 = 1.0 / 15.0;

/// What counts as the same place, as a share of the side.
const NEAR: f64 = 0.05;

/// Distances so far.
#[derive(Default)]
struct Changed {
    pictures: usize,
    same_answer: usize,
    cue: Vec<f64>,
    grad_cam: Vec<f64>,
}

/// What was seen so far.
#[derive(Default)]
pub struct StabilityCount {
    mirrored: Changed,
    shifted: Changed,
}

impl StabilityCount {
    /// Adds a right answer, as `observed` unchanged.
    ///
    /// # Errors
    /// candle's.
    pub fn add(
        &mut self,
        observer: &Observer,
        picture: &Covered,
        observed: &Observed,
    ) -> candle_core::Result<()> {
        let side = picture.canvas.side;
        let by = (SHIFT * side as f64).round().max(1.0) as isize;
        let changes = [
            Change::Mirrored,
            Change::Shifted(-by, 0),
            Change::Shifted(by, 0),
            Change::Shifted(0, -by),
            Change::Shifted(0, by),
        ];
        let fill = mean_colour(picture.planes, &picture.canvas);
        let inputs: Vec<f32> =
            changes.iter().flat_map(|&change| changed(picture.planes, side, change, fill)).collect();
        let images = Tensor::from_vec(inputs, (changes.len(), 3, side, side), &Device::Cpu)?;
        let found = observer.observe(&images, &[picture.class; 5])?;
        let points = |observed: &Observed| [observed.cue(), peak(&observed.grad_cam, side as u32)];
        let [cue, grad_cam] = points(observed);
        for (change, found) in changes.into_iter().zip(&found) {
            let to = if change == Change::Mirrored { &mut self.mirrored } else { &mut self.shifted };
            let [found_cue, found_grad_cam] = points(found);
            to.pictures += 1;
            to.same_answer += usize::from(top_k(&found.logits, 1) == [picture.class]);
            to.cue.extend(distance(cue, found_cue, change, side));
            to.grad_cam.extend(distance(grad_cam, found_grad_cam, change, side));
        }
        Ok(())
    }

    /// The figures, where there was a picture.
    pub fn figures(self) -> Option<Stability> {
        (self.mirrored.pictures > 0)
            .then(|| Stability { mirrored: moved(self.mirrored), shifted: moved(self.shifted) })
    }
}

fn moved(changed: Changed) -> Moved {
    Moved {
        pictures: changed.pictures,
        same_answer: changed.same_answer as f64 / changed.pictures as f64,
        cue: summary(changed.cue),
        grad_cam: summary(changed.grad_cam),
    }
}

fn summary(mut distances: Vec<f64>) -> Distance {
    distances.sort_by(f64::total_cmp);
    let count = distances.len();
    if count == 0 {
        return Distance::default();
    }
    Distance {
        pictures: count,
        mean: distances.iter().sum::<f64>() / count as f64,
        median: f64::midpoint(distances[(count - 1) / 2], distances[count / 2]),
        near: distances.iter().filter(|&&distance| distance <= NEAR).count() as f64 / count as f64,
    }
}

/// How far from where `before` has gone the point is now, as a share of the side.
fn distance(before: Option<[f32; 2]>, now: Option<[f32; 2]>, change: Change, side: usize) -> Option<f64> {
    let ([x, y], now) = (before?, now?);
    let side = side as f32;
    let [x, y] = match change {
        Change::Mirrored => [side - x, y],
        Change::Shifted(right, down) => [x + right as f32, y + down as f32],
    };
    let inside = 0.0..side;
    (inside.contains(&x) && inside.contains(&y)).then(|| f64::from((now[0] - x).hypot(now[1] - y) / side))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANE: [f32; 9] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];

    #[test]
    fn a_change_moves_pixels_and_points_alike() {
        for (change, expected, point) in [
            (Change::Mirrored, [3.0, 2.0, 1.0, 6.0, 5.0, 4.0, 9.0, 8.0, 7.0], [2.5, 1.5]),
            (Change::Shifted(1, 0), [0.0, 1.0, 2.0, 0.0, 4.0, 5.0, 0.0, 7.0, 8.0], [1.5, 1.5]),
            (Change::Shifted(0, -1), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 0.0, 0.0, 0.0], [0.5, 0.5]),
        ] {
            let planes = PLANE.repeat(3);
            let moved = changed(&planes, 3, change, [0.0, 10.0, 20.0]);
            assert_eq!(moved[..9], expected, "{change:?}");
            // The middle of the pixel 4.
            assert_eq!(distance(Some([0.5, 1.5]), Some(point), change, 3), Some(0.0), "{change:?}");
        }
        assert_eq!(
            changed(&PLANE.repeat(3), 3, Change::Shifted(1, 0), [0.0, 10.0, 20.0])[9..11],
            [10.0, 1.0]
        );
    }

    #[test]
    fn a_point_that_leaves_the_input_is_not_judged() {
        let far = |change| distance(Some([2.5, 1.0]), Some([0.5, 1.0]), change, 4);
        assert_eq!(far(Change::Shifted(2, 0)), None);
        assert_eq!(far(Change::Shifted(1, 0)), Some(0.75));
        assert_eq!(distance(None, Some([0.0, 0.0]), Change::Mirrored, 4), None);
    }

    #[test]
    fn distances_are_summed_up() {
        let found = summary(vec![0.3, 0.0, 0.05, 0.25]);
        assert_eq!((found.pictures, found.near), (4, 0.5));
        assert!((found.mean - 0.15).abs() < 1e-12 && (found.median - 0.15).abs() < 1e-12);
        assert_eq!(summary(Vec::new()), Distance::default());
    }
}
