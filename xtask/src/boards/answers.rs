//! What `fieldmark predict` says on two processors, and how far the two are apart.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Between logits of any two processors in f32.
const LOGITS: f64 = 1e-4;

/// Pixels between their cues.
const PIXELS: f64 = 0.1;

/// What was said of a picture.
#[derive(Debug)]
pub struct Answer {
    /// The picture.
    pub input: String,
    /// Width and height, as decoded.
    size: [u64; 2],
    /// Likeliest first.
    labels: Vec<String>,
    logits: BTreeMap<String, f64>,
    /// Of each part of the likeliest class: x and y.
    cues: BTreeMap<u64, [f64; 2]>,
}

impl Answer {
    /// The likeliest class.
    pub fn first(&self) -> &str {
        self.labels.first().map_or("", String::as_str)
    }
}

/// Records of JSON lines.
///
/// # Errors
/// A line that is no record of a picture.
pub fn answers(lines: &str) -> Result<Vec<Answer>> {
    let answer = |line: &str| {
        let record: Value = serde_json::from_str(line).ok()?;
        let number = |value: &Value, key: &str| value[key].as_f64();
        let mut labels = Vec::new();
        let mut logits = BTreeMap::new();
        for class in record["top"].as_array()? {
            let label = class["label"].as_str()?.to_owned();
            logits.insert(label.clone(), number(class, "logit")?);
            labels.push(label);
        }
        let mut cues = BTreeMap::new();
        for cue in record["cues"].as_array()? {
            cues.insert(cue["part"].as_u64()?, [number(cue, "x")?, number(cue, "y")?]);
        }
        let size = [record["width"].as_u64()?, record["height"].as_u64()?];
        Some(Answer { input: record["input"].as_str()?.to_owned(), size, labels, logits, cues })
    };
    lines.lines().map(|line| answer(line).with_context(|| format!("no answer: {line}"))).collect()
}

/// The furthest that two processors' answers are apart.
#[derive(Debug, Default, PartialEq)]
pub struct Difference {
    logits: f64,
    pixels: f64,
    /// Where each was found.
    at: [String; 2],
}

/// How far answers to the same pictures are apart.
///
/// # Errors
/// Other pictures, sizes, classes or parts.
pub fn difference(board: &[Answer], host: &[Answer]) -> Result<Difference> {
    let mut furthest = Difference::default();
    ensure!(board.len() == host.len(), "{} answers, {} here", board.len(), host.len());
    for (board, host) in board.iter().zip(host) {
        let input = &board.input;
        ensure!(
            *input == host.input && board.size == host.size,
            "{input}: {:?}, {:?} here",
            board.size,
            host.size
        );
        ensure!(board.logits.len() == host.logits.len(), "{input}: other classes");
        for (label, logit) in &board.logits {
            let other =
                host.logits.get(label).with_context(|| format!("{input}: {label} is no class here"))?;
            furthest.logits(distance([*logit, 0.0], [*other, 0.0]), input);
        }
        if board.first() == host.first() {
            ensure!(board.cues.len() == host.cues.len(), "{input}: other parts");
            for (part, cue) in &board.cues {
                let other = host.cues.get(part).with_context(|| format!("{input}: no part {part} here"))?;
                furthest.pixels(distance(*cue, *other), input);
            }
        }
    }
    Ok(furthest)
}

/// What is not a number is infinitely far from everything.
fn distance(one: [f64; 2], other: [f64; 2]) -> f64 {
    let distance = (one[0] - other[0]).hypot(one[1] - other[1]);
    if distance.is_nan() { f64::INFINITY } else { distance }
}

impl Difference {
    fn logits(&mut self, distance: f64, input: &str) {
        if distance > self.logits {
            (self.logits, self.at[0]) = (distance, input.to_owned());
        }
    }

    fn pixels(&mut self, distance: f64, input: &str) {
        if distance > self.pixels {
            (self.pixels, self.at[1]) = (distance, input.to_owned());
        }
    }

    /// Refuses what rounding does not explain.
    ///
    /// # Errors
    /// The picture, what was found and what is allowed.
    pub fn is_small(&self) -> Result<()> {
        let Difference { logits, pixels, at: [logits_at, pixels_at] } = self;
        ensure!(
            *logits <= LOGITS,
            "{logits_at}: a logit is {logits:.1e} from the one here, allowed are {LOGITS:.0e}"
        );
        ensure!(
            *pixels <= PIXELS,
            "{pixels_at}: a cue is {pixels:.2} pixels from the one here, allowed are {PIXELS}"
        );
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "logits within {:.1e}, cues within {:.3} pixels", self.logits, self.pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(logit: f64, x: f64) -> Vec<Answer> {
        let record = serde_json::json!({
            "input": "a.jpg", "width": 64, "height": 48,
            "top": [{"label": "Robin", "logit": logit}, {"label": "Wren", "logit": -1.5}],
            "cues": [{"part": 0, "x": x, "y": 8.0}],
        });
        answers(&record.to_string()).unwrap()
    }

    #[test]
    fn answers_that_rounding_explains_pass() {
        let difference = difference(&said(2.000_05, 10.0), &said(2.0, 10.05)).unwrap();
        assert_eq!(difference.to_string(), "logits within 5.0e-5, cues within 0.050 pixels");
        difference.is_small().unwrap();
    }

    #[test]
    fn answers_that_differ_are_named() {
        for (board, expected) in [
            (said(2.001, 10.0), "a.jpg: a logit is 1.0e-3 from the one here, allowed are 1e-4"),
            (said(2.0, 10.5), "a.jpg: a cue is 0.50 pixels from the one here, allowed are 0.1"),
        ] {
            let found = difference(&board, &said(2.0, 10.0)).unwrap();
            assert_eq!(found.is_small().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_picture_that_failed_is_no_answer() {
        let error = answers(r#"{"schema":1,"input":"a.jpg","error":"cut"}"#).unwrap_err();
        assert!(error.to_string().starts_with("no answer: "), "{error}");
    }
}
