//! Whether a picture shows none of the classes: three scores, each higher where a class is known.
//!
//! A network names one of its classes whatever it is shown. Which score tells strangers best is measured
//! by the trainer, on runs that had to do without some classes; the model file carries that score with a
//! [`Rejection`] threshold, and a picture below it is better called unknown.

use alloc::vec::Vec;
use core::fmt;

use ndarray::ArrayView3;
use serde::{Deserialize, Serialize};

use crate::head::{ccmp, mean, softmax};
use crate::layout::Layout;

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
}

impl Score {
    /// All of them.
    pub const ALL: [Score; 3] = [Score::Energy, Score::Probability, Score::Agreement];

    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Score::Energy => "energy",
            Score::Probability => "probability",
            Score::Agreement => "agreement",
        }
    }

    /// The score of a picture with these `c` logits and this [`evidence`] of its maps (`c` values, read by
    /// [`Score::Agreement`] alone) at the model's `temperature`, above 0.
    pub fn of(self, logits: &[f32], evidence: &[f32], temperature: f32) -> f32 {
        match self {
            Score::Energy => energy(logits),
            Score::Probability => softmax(logits, temperature).into_iter().fold(0.0, f32::max),
            Score::Agreement => agreement(logits, evidence, temperature),
        }
    }
}

impl Rejection {
    /// Why a picture with these `c` logits and `[N, H, W]` maps is better called unknown; `None` if it reaches
    /// the threshold. A score that is not a number does not.
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
        let value = score.of(logits, &evidence, temperature);
        (value.is_nan() || value < threshold).then_some(Unknown { score, value, threshold })
    }
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

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.3} below {:.3}", self.score, self.value, self.threshold)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use ndarray::{Array3, array};

    use super::*;

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
    fn what_is_not_a_number_is_unknown() {
        let layout = Layout::uniform(2, 1).unwrap();
        let rule = Rejection { score: Score::Energy, threshold: f32::MIN, kept: None };
        let doubt = rule.doubt(&[f32::NAN, f32::NAN], Array3::zeros((2, 1, 1)).view(), &layout, 1.0);
        assert!(doubt.is_some());
    }

    #[test]
    fn the_reason_and_the_names_are_stable() {
        let unknown = Unknown { score: Score::Energy, value: 3.1, threshold: 4.0 };
        assert_eq!(unknown.to_string(), "energy 3.100 below 4.000");
        for score in Score::ALL {
            assert_eq!(serde_json::to_string(&score).unwrap(), alloc::format!("\"{score}\""));
        }
    }
}
