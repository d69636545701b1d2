//! What of `eval.json` a model's description carries.

use serde::Serialize;

use super::{Calibration, CueRates, Evaluation, FittedOn, HeadAndMaps, Places, Reliability, UnknownResult};

/// An [`Evaluation`] without what is long (lists by class and bin, faithfulness) and without the example, which is a path
/// on this machine. `training.test` in a model's description.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationSummary<'a> {
    schema: u32,
    weights: &'a str,
    epoch: Option<usize>,
    pictures: usize,
    top1: f64,
    top1_interval: [f64; 2],
    top5: f64,
    cross_entropy: f64,
    coverage: f64,
    places: Option<Places>,
    calibration: CalibrationSummary,
    unknown: Option<&'a UnknownResult>,
    evidence: HeadAndMaps,
    cues: Option<CueRates>,
}

/// A [`Calibration`] without bins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct CalibrationSummary {
    temperature: f32,
    fitted_on: FittedOn,
    before: ReliabilitySummary,
    after: ReliabilitySummary,
}

/// A [`Reliability`] without bins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct ReliabilitySummary {
    ece: f64,
    chance: f64,
    cross_entropy: f64,
}

impl Evaluation {
    /// What a model's description carries of it.
    pub fn summary(&self) -> EvaluationSummary<'_> {
        // Every field by name, so that a new one has to be put on one side.
        let Evaluation {
            schema,
            weights,
            epoch,
            pictures,
            top1,
            top1_interval,
            top5,
            cross_entropy,
            coverage,
            places,
            classes: _,
            confusion_matrix: _,
            confusions: _,
            calibration,
            unknown,
            evidence,
            cues,
            faithfulness: _,
            example: _,
        } = self;
        EvaluationSummary {
            schema: *schema,
            weights,
            epoch: *epoch,
            pictures: *pictures,
            top1: *top1,
            top1_interval: *top1_interval,
            top5: *top5,
            cross_entropy: *cross_entropy,
            coverage: *coverage,
            places: *places,
            calibration: calibration.summary(),
            unknown: unknown.as_ref(),
            evidence: *evidence,
            cues: *cues,
        }
    }
}

impl Calibration {
    fn summary(&self) -> CalibrationSummary {
        let Calibration { temperature, fitted_on, before, after } = self;
        let [before, after] = [before, after].map(|Reliability { ece, chance, cross_entropy, bins: _ }| {
            ReliabilitySummary { ece: *ece, chance: *chance, cross_entropy: *cross_entropy }
        });
        CalibrationSummary { temperature: *temperature, fitted_on: *fitted_on, before, after }
    }
}
