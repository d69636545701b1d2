//! Whether a picture shows none of the classes: four scores, each higher where a class is known.
//!
//! A network names one of its classes whatever it is shown. The model file says which score tells strangers, with a
//! threshold, and a picture below it is better called unknown. By default that is the likeness to
//! [`Sketches`] of the classes; the others need no more than logits and maps, and take its place where there are no
//! features at hand.

use alloc::vec::Vec;
use core::fmt;

use ndarray::ArrayView3;
use serde::{Deserialize, Serialize};

use crate::head::{ccmp, mean, softmax, top_k};
use crate::layout::Layout;
use crate::sketches::Sketches;

/// What tells strangers from the model's classes. `c` logits `l_i`, temperature `T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// [`energy`]: `ln sum exp(l_i)`, without the temperature; any number.
    Energy,
    /// The first answer's probability, `max softmax(l / T)`; 0..=1.
    Probability,
    /// [`agreement`] of the head with the maps' own scores; 0..=1.
    Agreement,
    /// [`Sketches::likeness`] of the picture's features to the first answer's class; -1..=1.
    Likeness,
}

/// What scores read of a picture.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// `c` logits.
    pub logits: &'a [f32],
    /// `c` values, the [`evidence`] of its maps; read by [`Score::Agreement`] alone.
    pub evidence: &'a [f32],
    /// `K` values, the means of the backbone's last maps; read by [`Score::Likeness`] alone.
    pub features: &'a [f32],
}

/// Below which score a picture is better called unknown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejection {
    /// Which score.
    pub score: Score,
    /// A score below this is unknown; in the score's unit.
    pub threshold: f32,
    /// The share of validation pictures, all of known classes, that reach the threshold; 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<f32>,
}

/// Why a picture is better called unknown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Unknown {
    /// Which score.
    pub score: Score,
    /// The picture's.
    pub value: f32,
    /// What it should have reached.
    pub threshold: f32,
    /// In words.
    pub reason: Reason,
}

/// Why a picture is better called unknown, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Reason {
    /// No class's likeness reaches the threshold.
    #[serde(rename = "far from everything learnt")]
    Far,
    /// Another class's likeness reaches it.
    #[serde(rename = "more like another class than the one answered")]
    LikeAnother,
    /// The first answer is not probable.
    #[serde(rename = "no class stands out")]
    Unsure,
    /// All logits are low.
    #[serde(rename = "little of any class")]
    Little,
    /// The maps would answer otherwise.
    #[serde(rename = "head and maps disagree")]
    Disagreement,
}

impl Score {
    /// All of them.
    pub const ALL: [Score; 4] = [Score::Likeness, Score::Probability, Score::Energy, Score::Agreement];

    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Score::Energy => "energy",
            Score::Probability => "probability",
            Score::Agreement => "agreement",
            Score::Likeness => "likeness",
        }
    }

    /// The score of a picture at the model's `temperature`, above 0. The likeness is not a number without `sketches`.
    pub fn of(self, said: Said<'_>, temperature: f32, sketches: Option<&Sketches>) -> f32 {
        let Said { logits, evidence, features } = said;
        match self {
            Score::Energy => energy(logits),
            Score::Probability => softmax(logits, temperature).into_iter().fold(0.0, f32::max),
            Score::Agreement => agreement(logits, evidence, temperature),
            Score::Likeness => match (sketches, top_k(logits, 1).first()) {
                (Some(sketches), Some(&class)) => sketches.likeness(features, class),
                _ => f32::NAN,
            },
        }
    }

    fn reason(self) -> Reason {
        match self {
            Score::Energy => Reason::Little,
            Score::Probability => Reason::Unsure,
            Score::Agreement => Reason::Disagreement,
            Score::Likeness => Reason::Far,
        }
    }
}

impl Rejection {
    /// The rule of sketches.
    pub fn by(sketches: &Sketches) -> Rejection {
        let &Sketches { threshold, kept, .. } = sketches;
        Rejection { score: Score::Likeness, threshold, kept }
    }

    /// Why a picture with these `c` logits and `[N, H, W]` maps is better called unknown; `None` if it reaches
    /// the threshold. A score that is not a number does not, and a likeness is none here: see [`doubt_by`].
    ///
    /// # Panics
    /// Panics if `maps` has other than `layout.channels()` channels.
    pub fn doubt(
        &self,
        logits: &[f32],
        maps: ArrayView3<'_, f32>,
        layout: &Layout,
        temperature: f32,
    ) -> Option<Unknown> {
        let evidence = if self.score == Score::Agreement { evidence(maps, layout) } else { Vec::new() };
        let &Rejection { score, threshold, .. } = self;
        let value = score.of(Said { logits, evidence: &evidence, features: &[] }, temperature, None);
        let reason = score.reason();
        (value.is_nan() || value < threshold).then_some(Unknown { score, value, threshold, reason })
    }
}

/// Why a picture with these `c` logits and `K` features is better called unknown by `sketches`; `None` if it is near
/// enough to the class that is answered. A feature that is not a number is not.
pub fn doubt_by(sketches: &Sketches, logits: &[f32], features: &[f32]) -> Option<Unknown> {
    let class = *top_k(logits, 1).first()?;
    let threshold = sketches.threshold;
    let value = sketches.likeness(features, class);
    if value >= threshold {
        return None;
    }
    let is_near = sketches.likenesses(features).iter().any(|&other| other >= threshold);
    let reason = if is_near { Reason::LikeAnother } else { Reason::Far };
    Some(Unknown { score: Score::Likeness, value, threshold, reason })
}

/// The logarithm of the sum of `exp(l_i)`: large where any logit is (Liu et al., "Energy-based
/// Out-of-distribution Detection", 2020, there with the sign turned). Negative infinity without a logit.
pub fn energy(logits: &[f32]) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !highest.is_finite() {
        return highest;
    }
    let sum: f32 = logits.iter().map(|logit| libm::expf(logit - highest)).sum();
    highest + libm::logf(sum)
}

/// The maps' own `c` scores, `g(F_i)` of `L_dis`: the mean over the map of the maximum of the class's
/// channels. `maps` are `[N, H, W]`.
///
/// # Panics
/// Panics if `maps` has other than `layout.channels()` channels.
pub fn evidence(maps: ArrayView3<'_, f32>, layout: &Layout) -> Vec<f32> {
    (0..layout.classes()).map(|class| mean(ccmp(maps, layout, class).view())).collect()
}

/// How far head and maps say the same, 0..=1: the sum over the classes of the smaller of their two
/// probabilities, the head's at its `temperature`, the maps' as `L_dis` trains them, without one.
pub fn agreement(logits: &[f32], evidence: &[f32], temperature: f32) -> f32 {
    let (head, maps) = (softmax(logits, temperature), softmax(evidence, 1.0));
    head.iter().zip(&maps).map(|(head, maps)| head.min(*maps)).sum()
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unknown { score, value, threshold, reason } = self;
        write!(f, "{reason}: {score} {value:.3} below {threshold:.3}")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use ndarray::{Array3, array};

    use super::*;
    use crate::sketches::Sketch;

    fn close(a: f32, b: f32) -> bool {
        (a - b).abs() <= 1e-5
    }

    #[test]
    fn energy_cases() {
        let inf = f32::INFINITY;
        let cases: [(&[f32], f32); 6] = [
            (&[], -inf),
            (&[2.5], 2.5),
            (&[1.0, 1.0, 1.0, 1.0], 1.0 + 4.0_f32.ln()),
            (&[0.0, 3.0_f32.ln()], 4.0_f32.ln()),
            (&[1e30, -1e30], 1e30),
            (&[-inf, -inf], -inf),
        ];
        for (logits, expected) in cases {
            let actual = energy(logits);
            assert!(
                actual.to_bits() == expected.to_bits() || close(actual, expected),
                "{logits:?}: {actual}"
            );
        }
    }

    #[test]
    fn evidence_is_the_mean_of_the_strongest_own_channel() {
        let layout = Layout::from_sizes(&[1, 2]).unwrap();
        let maps = array![[[1.0, 3.0]], [[0.0, 6.0]], [[4.0, 5.0]]];
        assert_eq!(evidence(maps.view(), &layout), [2.0, 5.0]);
    }

    #[test]
    fn agreement_is_one_of_equals_and_what_two_answers_share_otherwise() {
        let (third, far) = (3.0_f32.ln(), 50.0);
        assert!(close(agreement(&[0.0, third], &[0.0, third], 1.0), 1.0));
        assert!(close(agreement(&[0.0, 2.0 * third], &[0.0, third], 2.0), 1.0));
        // 1/4 and 3/4 against 3/4 and 1/4.
        assert!(close(agreement(&[0.0, third], &[third, 0.0], 1.0), 0.5));
        assert!(close(agreement(&[far, 0.0], &[0.0, far], 1.0), 0.0));
    }

    #[test]
    fn a_picture_is_unknown_below_the_threshold_of_its_score_alone() {
        let layout = Layout::uniform(2, 1).unwrap();
        let maps = array![[[0.0]], [[3.0_f32.ln()]]];
        let logits = [0.0, 3.0_f32.ln()];
        for (score, value) in
            [(Score::Energy, 4.0_f32.ln()), (Score::Probability, 0.75), (Score::Agreement, 1.0)]
        {
            let doubt = |threshold| {
                let rule = Rejection { score, threshold, kept: None };
                rule.doubt(&logits, maps.view(), &layout, 1.0)
            };
            assert_eq!(doubt(value - 0.01), None);
            let unknown = doubt(value + 0.01).unwrap();
            assert!(unknown.score == score && close(unknown.value, value), "{unknown}");
        }
    }

    #[test]
    fn a_picture_unlike_its_class_is_unknown_and_the_reason_says_how() {
        // Two classes, along the first and the second of three features.
        let classes = [[127, 0, 0], [0, 127, 0]].map(|values| Sketch(values.to_vec())).to_vec();
        let scale = 255.0 * 5.0 / 127.0;
        let sketches = Sketches { weights: [255; 3].to_vec(), scale, classes, threshold: 0.75, kept: None };
        let reason = |logits: &[f32], features: &[f32]| {
            doubt_by(&sketches, logits, features).map(|unknown| unknown.reason)
        };
        assert_eq!(reason(&[1.0, 0.0], &[5.0, 1.0, 0.0]), None);
        assert_eq!(reason(&[1.0, 0.0], &[3.0, 4.0, 0.0]), Some(Reason::LikeAnother));
        assert_eq!(reason(&[1.0, 0.0], &[3.0, 3.0, 3.0]), Some(Reason::Far));
        assert_eq!(reason(&[1.0, 0.0], &[f32::NAN; 3]), Some(Reason::Far));
        let unknown = doubt_by(&sketches, &[0.0, 1.0], &[4.0, 3.0, 0.0]).unwrap();
        assert!(close(unknown.value, 0.6) && close(unknown.threshold, 0.75), "{unknown}");
        let said = Said { logits: &[0.0, 1.0], evidence: &[], features: &[4.0, 3.0, 0.0] };
        assert!(close(Score::Likeness.of(said, 1.0, Some(&sketches)), 0.6));
        assert!(Score::Likeness.of(said, 1.0, None).is_nan());
    }

    #[test]
    fn what_is_not_a_number_is_unknown() {
        let layout = Layout::uniform(2, 1).unwrap();
        let rule = Rejection { score: Score::Energy, threshold: f32::MIN, kept: None };
        let doubt = rule.doubt(&[f32::NAN, f32::NAN], Array3::zeros((2, 1, 1)).view(), &layout, 1.0);
        assert!(doubt.is_some());
    }

    #[test]
    fn the_reason_and_the_names_are_stable() {
        let unknown = Unknown { score: Score::Energy, value: 3.1, threshold: 4.0, reason: Reason::Little };
        assert_eq!(unknown.to_string(), "little of any class: energy 3.100 below 4.000");
        let json = r#"{"score":"energy","value":3.1,"threshold":4.0,"reason":"little of any class"}"#;
        assert_eq!(serde_json::to_string(&unknown).unwrap(), json);
        for score in Score::ALL {
            assert_eq!(serde_json::to_string(&score).unwrap(), alloc::format!("\"{score}\""));
        }
    }
}
