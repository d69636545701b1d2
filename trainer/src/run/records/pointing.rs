//! The part of `eval.json` on where cues point.

use serde::{Deserialize, Serialize};

/// The pointing game (Zhang et al. 2018, Excitation Backprop, section 4.1): how often a point lies on something, all in
/// 0..=1: the strongest cue's, beside what Grad-CAM, chance and the picture's centre reach. Their tolerance of 15 pixels
/// around an object is not given: what is pointed at has a size of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Pictures that could be judged.
    pub pictures: usize,
    /// The strongest cue.
    pub strongest_cue: f64,
    /// Any cue that adds to the class's logit.
    pub any_cue: f64,
    /// Grad-CAM's peak, where it was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_cam: Option<f64>,
    /// A point anywhere in the picture: the share of the picture that it covers.
    pub random_point: f64,
    /// The picture's centre.
    pub centre: f64,
}

/// Where the cues of right answers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CueRates {
    /// On the mark, for look-alikes that differ by one mark; pictures in which it can be seen.
    pub one_mark: Option<Rates>,
    /// On one of the marks, for all look-alikes; pictures in which one can be seen.
    pub marks: Option<Rates>,
    /// On any annotated part: within a tenth of the box's longer side of its point.
    pub parts: Option<Rates>,
    /// Inside the object's box.
    pub object: Option<Rates>,
}
