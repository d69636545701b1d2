//! One record a picture.

use fieldmark::engine::{Answer, LabelledCue, Prediction, Stages};
use fieldmark::{Frame, Unknown};
use serde::Serialize;

/// The number of the record's schema: it grows by fields, and changes its number when a field changes.
pub const SCHEMA: u32 = 1;

/// What a picture shows.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The input, as found.
    pub input: String,
    /// Width of the picture as seen, in pixels.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// The likeliest classes, likeliest first.
    pub top: Vec<Answer>,
    /// The marks of the first answer, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cues: Option<Vec<LabelledCue>>,
    /// Why the picture is better called unknown than by any of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<Unknown>,
    /// Milliseconds each stage took.
    pub ms: Stages,
}

/// The record of a prediction, with the `top` likeliest classes.
pub fn record(input: String, frame: &Frame, prediction: Prediction, top: usize, cues: bool) -> Record {
    let mut answers = prediction.top;
    answers.truncate(top);
    let [width, height] = frame.picture_size();
    Record {
        schema: SCHEMA,
        input,
        width,
        height,
        top: answers,
        cues: cues.then_some(prediction.cues),
        unknown: prediction.unknown,
        ms: rounded(prediction.ms),
    }
}

/// To microseconds: further digits are noise.
fn rounded(ms: Stages) -> Stages {
    let round = |ms: f64| (1000.0 * ms).round() / 1000.0;
    let Stages { decode, resize, run, cues } = ms;
    Stages { decode: round(decode), resize: round(resize), run: round(run), cues: round(cues) }
}

#[cfg(test)]
pub mod tests {
    use fieldmark::{Reason, Score};

    use super::*;

    /// Half of the classes' usual energy.
    pub const UNKNOWN: Unknown =
        Unknown { score: Score::Energy, value: 3.0, threshold: 4.0, reason: Reason::Little };

    /// Robin, before Wren and Blue tit.
    pub fn record() -> Record {
        let answer = |label: &str, index, logit, probability| Answer {
            label: label.to_string(),
            index,
            logit,
            probability,
        };
        Record {
            schema: SCHEMA,
            input: "a.jpg".to_string(),
            width: 640,
            height: 480,
            top: vec![
                answer("Robin", 7, 9.1, 0.931),
                answer("Wren", 0, 6.0, 0.04),
                answer("Blue_tit", 2, 5.5, 0.029),
            ],
            cues: None,
            unknown: None,
            ms: Stages { decode: 3.1, resize: 0.6, run: 12.0, cues: 0.1 },
        }
    }
}
