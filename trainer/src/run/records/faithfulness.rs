//! The part of `eval.json` on the faithfulness of cues.

use serde::{Deserialize, Serialize};

use super::CueRates;

/// How faithful a network's cues are. `faithfulness` in `eval.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Faithfulness {
    /// Pictures looked at, spread evenly over the test split.
    pub pictures: usize,
    /// Of them answered rightly: the only ones measured.
    pub right: usize,
    /// Where the strongest cue and Grad-CAM's peak lie, where something is annotated.
    pub pointing: Option<CueRates>,
    /// What covering takes from the class's score; none without a right answer.
    pub coverings: Option<Coverings>,
    /// Evidence outside of the object's box, where boxes are known.
    pub background: Option<Background>,
    /// Cues of mirrored and shifted pictures; none without a right answer.
    pub stability: Option<Stability>,
}

/// Score of the picture's class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Logit.
    pub logit: f64,
    /// Probability, 0..=1.
    pub probability: f64,
}

/// One of three by which regions are chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByRegion<T> {
    /// By the class's cues.
    pub cue: T,
    /// By Grad-CAM of the same network.
    pub grad_cam: T,
    /// By chance.
    pub random: T,
}

impl<T> ByRegion<T> {
    /// Cue, Grad-CAM, random.
    pub fn each(&self) -> [&T; 3] {
        [&self.cue, &self.grad_cam, &self.random]
    }

    pub(crate) fn each_mut(&mut self) -> [&mut T; 3] {
        [&mut self.cue, &mut self.grad_cam, &mut self.random]
    }

    pub(crate) fn map<U>(&self, of: impl Fn(&T) -> U) -> ByRegion<U> {
        ByRegion { cue: of(&self.cue), grad_cam: of(&self.grad_cam), random: of(&self.random) }
    }
}

/// A curve over shares of the picture (Petsiuk et al. 2018, RISE, section 4.2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Mean score of the pictures' classes at each share.
    pub scores: Vec<ClassScore>,
    /// The area under the curve of the probability by the share, 0..=1, by trapezia.
    pub area_under: f64,
}

/// What a covered square takes from the class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Square {
    /// The square's share of the picture.
    pub area: f64,
    /// By how much the class's score falls; mean over pictures. A square around the strongest cue, around Grad-CAM's
    /// peak, and anywhere in the picture.
    pub drop: ByRegion<ClassScore>,
    /// The cue's drop of the logit over the random square's; none where that is not above 0.
    pub logit_ratio: Option<f64>,
    /// The same of the probability.
    pub probability_ratio: Option<f64>,
}

/// Deletion and insertion over right answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverings {
    /// Shares of the picture, 0 to 1, of the curves.
    pub areas: Vec<f64>,
    /// The region with the most evidence (cue: `evidence`, enlarged) is covered first: the
    /// faster the probability falls, the smaller the area under the curve, the better. Random regions are seeded squares
    /// of a twentieth of the picture, added until the share is reached.
    pub deletion: ByRegion<Curve>,
    /// Nothing but the region with the most evidence is shown: the larger the area, the better.
    pub insertion: ByRegion<Curve>,
    /// One square covered.
    pub squares: Vec<Square>,
}

/// Shares outside of the object's box, over right answers whose box is known, each 0..=1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Background {
    /// Pictures with a box.
    pub pictures: usize,
    /// Of the class's positive evidence; mean over pictures. A cell counts where its middle is.
    pub evidence: f64,
    /// Of Grad-CAM; mean over the pictures in which it is anywhere above 0.
    pub grad_cam: f64,
    /// Of the part cues that add to the class's logit, all pictures together.
    pub cues: f64,
    /// Of the picture itself: what evidence spread evenly would have.
    pub picture: f64,
    /// Of the evidence, class by class.
    pub classes: Vec<ClassBackground>,
}

/// One class's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassBackground {
    /// The class.
    pub label: String,
    /// Its right answers with a box.
    pub pictures: usize,
    /// Share of its evidence outside of the box; mean over its pictures, none without one.
    pub evidence: Option<f64>,
}

/// Cues of changed pictures, over right answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// Mirrored left to right.
    pub mirrored: Moved,
    /// Moved by a fifteenth of the side to the left, right, top and bottom; the mean colour moves in.
    pub shifted: Moved,
}

/// What a change of the picture changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Changed pictures.
    pub pictures: usize,
    /// Share of them whose answer stays, 0..=1.
    pub same_answer: f64,
    /// The strongest cue of the picture's class.
    pub cue: Distance,
    /// Grad-CAM's peak of that class.
    pub grad_cam: Distance,
}

/// From where a point should be to where it is, as shares of the input's side; 0..=sqrt(2). A picture whose point leaves
/// the input with the shift is not judged, nor one without a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// Changed pictures judged.
    pub pictures: usize,
    /// Mean distance.
    pub mean: f64,
    /// Median distance.
    pub median: f64,
    /// Share of points within a twentieth of the side, 0..=1.
    pub near: f64,
}
