//! A model file's description of itself: the JSON object in `metadata_props["fieldmark"]`.
//!
//! Everything that a board needs beside the graph stands in it, so that a model file is one file. A
//! [`Description`] that [`Description::from_json`] returned has passed [`Description::check`]: its
//! counts agree with each other and its numbers are usable. Fields that this version does not know are
//! ignored, so a schema may grow; another schema number means that known fields changed.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ndarray::ArrayView3;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::digits::hexadecimal;
use crate::frame::ResizeRule;
use crate::head::{Head, HeadKind};
use crate::layout::Layout;
use crate::sketches::Sketches;
use crate::unknown::{Rejection, Score, Unknown, doubt_by};

/// The description's schema number that this version reads and writes.
pub const SCHEMA: u32 = 1;

/// The key of the description in the ONNX file's `metadata_props`.
pub const METADATA_KEY: &str = "fieldmark";

/// The largest input side, in pixels: about 50 million input values, far above any such network.
pub const MAX_INPUT_SIDE: u32 = 4096;

/// What a model file says about itself. `c` labels, `N` channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `c` labels in class order: distinct, not empty, without control characters.
    pub labels: Vec<String>,
    /// [`labels_sha256`] of `labels`.
    pub labels_sha256: String,
    /// Which of the `N` channels belong to which class; in JSON the group offsets.
    #[serde(rename = "groups")]
    pub layout: Layout,
    /// How logits are made of maps: `N` weights, `c` biases.
    pub head: Head,
    /// What the network takes.
    pub input: Input,
    /// Input pixels from one cell of the maps to the next; at least 1.
    pub map_stride: u32,
    /// What logits are divided by before the softmax, so that probabilities are calibrated; above 0.
    pub temperature: f32,
    /// Where decisions change.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// What each class looks like to the backbone, by which strangers are told; needs the graph's output `features`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketches: Option<Sketches>,
    /// The training run: configuration, data set hash, metrics, program version. For people and tools;
    /// the runtime does not read it.
    #[serde(default)]
    pub training: serde_json::Value,
    /// Pictures that any processor can draw, with the logits that the trainer got.
    #[serde(default)]
    pub self_test: Vec<SelfTest>,
}

/// What the network takes: one square RGB picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Width and height, in pixels; 1 to [`MAX_INPUT_SIDE`].
    pub side: u32,
    /// How a picture of another shape becomes a square.
    pub resize: ResizeRule,
}

/// Where decisions change, by logits and maps alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// An answer whose probability is below this is better called unknown; 0..=1. What files of before
    /// [`Thresholds::rejection`] have in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<f32>,
    /// Below which score a picture is better called unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
}

impl Thresholds {
    /// The rule that holds: [`Thresholds::rejection`], or what an older file has in its place. `None`: no
    /// picture is called unknown.
    pub fn rule(&self) -> Option<Rejection> {
        let probability = |threshold| Rejection { score: Score::Probability, threshold, kept: None };
        self.rejection.or(self.unknown.map(probability))
    }
}

/// One self-test: the trainer's logits for [`pattern`](crate::frame::pattern)`(seed, input.side)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfTest {
    /// The pattern's seed.
    pub seed: u64,
    /// `c` logits.
    pub logits: Vec<f32>,
}

/// Why a description cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// Not JSON, or a field is missing or of another type.
    #[error("the model's description is not readable; export the model again")]
    Json(#[from] serde_json::Error),
    /// Another schema.
    #[error(
        "the model's description has schema {actual}, this program reads schema {expected}; use the \
         program version that exported it, or export it again"
    )]
    Schema {
        /// [`SCHEMA`].
        expected: u32,
        /// The file's schema.
        actual: u32,
    },
    /// A label that cannot be one.
    #[error("label {index} ({label:?}) {problem}; correct the class name and export again")]
    Label {
        /// The label's class.
        index: usize,
        /// The label.
        label: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The labels are not those that were exported.
    #[error(
        "the labels hash to {actual}, the description says {expected}; labels were edited or \
         reordered after export, export the model again"
    )]
    Hash {
        /// The hash in the description.
        expected: String,
        /// The hash of its labels.
        actual: String,
    },
    /// Two lists that belong together differ in length.
    #[error("{what}: expected {expected}, got {actual}; export the model again")]
    Count {
        /// Which list.
        what: String,
        /// Its length as the layout or the labels have it.
        expected: usize,
        /// Its length.
        actual: usize,
    },
    /// A number is outside its range.
    #[error("{what} is {actual}, expected {expected}; export the model again")]
    Value {
        /// Which number.
        what: String,
        /// The range.
        expected: String,
        /// The number.
        actual: String,
    },
}

/// The labels' fingerprint: SHA-256 over each label's UTF-8 bytes followed by a line feed, in lower
/// case hexadecimal. `printf '%s\n' LABEL... | sha256sum` gives the same.
pub fn labels_sha256(labels: &[String]) -> String {
    let mut hash = Sha256::new();
    for label in labels {
        hash.update(label.as_bytes());
        hash.update(b"\n");
    }
    hexadecimal(&hash.finalize())
}

impl Description {
    /// The description as one line of JSON. Numbers that are not finite become `null`, which
    /// [`Description::from_json`] refuses; [`Description::check`] finds them before writing.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("string keys and plain values only")
    }

    /// Reads and checks a description. Memory stays in proportion to `json`.
    ///
    /// # Errors
    /// Text that is not a description, another schema, and all that [`Description::check`] refuses.
    pub fn from_json(json: &str) -> Result<Description, DescriptionError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        // The number first: another schema's fields need not parse.
        check_schema(serde_json::from_str::<Version>(json)?.schema)?;
        let description: Description = serde_json::from_str(json)?;
        description.check()?;
        Ok(description)
    }

    /// The rule by which pictures are called unknown: [`Description::sketches`], or [`Thresholds::rule`]. `None`: none is.
    pub fn rule(&self) -> Option<Rejection> {
        self.sketches.as_ref().map(Rejection::by).or(self.thresholds.rule())
    }

    /// Why a picture with these `c` logits, `[N, H, W]` maps and `K` features is better called unknown; `None` if it is
    /// not. Without the `features`, which may be empty, the rule is that of [`Thresholds`].
    ///
    /// # Panics
    /// Panics if `maps` has other than `N` channels.
    pub fn doubt(&self, logits: &[f32], maps: ArrayView3<'_, f32>, features: &[f32]) -> Option<Unknown> {
        match &self.sketches {
            Some(sketches) if features.len() == sketches.weights.len() => {
                doubt_by(sketches, logits, features)
            }
            _ => self.thresholds.rule()?.doubt(logits, maps, &self.layout, self.temperature),
        }
    }

    /// Checks that labels, hash, layout, head, and self-test agree, and that every number is usable.
    ///
    /// # Errors
    /// The first disagreement, with what was expected and what is there.
    pub fn check(&self) -> Result<(), DescriptionError> {
        check_schema(self.schema)?;
        check_labels(&self.labels)?;
        let actual = labels_sha256(&self.labels);
        if actual != self.labels_sha256 {
            return Err(DescriptionError::Hash { expected: self.labels_sha256.clone(), actual });
        }
        check_count("groups", self.labels.len(), self.layout.classes())?;
        check_head(&self.head, &self.layout)?;
        self.check_numbers()?;
        if let Some(sketches) = &self.sketches {
            check_sketches(sketches, self.labels.len())?;
        }
        for (index, test) in self.self_test.iter().enumerate() {
            let what = format!("logits of self-test {index}");
            check_count(&what, self.labels.len(), test.logits.len())?;
            check_finite(&what, &test.logits)?;
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), DescriptionError> {
        let side = self.input.side;
        if !(1..=MAX_INPUT_SIDE).contains(&side) {
            return Err(value("input side", &format!("1 to {MAX_INPUT_SIDE}"), side));
        }
        if !(1..=side).contains(&self.map_stride) {
            let range = format!("1 to the input side {side}");
            return Err(value("map stride", &range, self.map_stride));
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(value("temperature", "a number above 0", self.temperature));
        }
        match self.thresholds.unknown {
            Some(limit) => check_share("threshold \"unknown\"", limit),
            None => Ok(()),
        }?;
        self.thresholds.rejection.map_or(Ok(()), check_rejection)
    }
}

fn check_rejection(Rejection { score, threshold, kept }: Rejection) -> Result<(), DescriptionError> {
    let what = format!("threshold of the {score}");
    match score {
        Score::Energy => check_finite(&what, &[threshold]),
        Score::Probability | Score::Agreement => check_share(&what, threshold),
        Score::Likeness => check_cosine(&what, threshold),
    }?;
    kept.map_or(Ok(()), |kept| check_share("share of pictures kept", kept))
}

fn check_sketches(sketches: &Sketches, labels: usize) -> Result<(), DescriptionError> {
    check_count("sketches", labels, sketches.classes.len())?;
    for (index, sketch) in sketches.classes.iter().enumerate() {
        check_count(&format!("values of sketch {index}"), sketches.weights.len(), sketch.0.len())?;
    }
    if !(sketches.scale.is_finite() && sketches.scale > 0.0) {
        return Err(value("scale of the sketches", "a number above 0", sketches.scale));
    }
    check_rejection(Rejection::by(sketches))
}

fn check_cosine(what: &str, cosine: f32) -> Result<(), DescriptionError> {
    if (-1.0..=1.0).contains(&cosine) { Ok(()) } else { Err(value(what, "-1 to 1", cosine)) }
}

fn check_share(what: &str, share: f32) -> Result<(), DescriptionError> {
    if (0.0..=1.0).contains(&share) { Ok(()) } else { Err(value(what, "0 to 1", share)) }
}

fn check_schema(actual: u32) -> Result<(), DescriptionError> {
    let expected = SCHEMA;
    if actual == expected { Ok(()) } else { Err(DescriptionError::Schema { expected, actual }) }
}

fn check_labels(labels: &[String]) -> Result<(), DescriptionError> {
    let mut first_use = BTreeMap::new();
    for (index, label) in labels.iter().enumerate() {
        let problem = if label.trim().is_empty() {
            "is empty".to_string()
        } else if label.contains(char::is_control) {
            "contains a control character".to_string()
        } else if let Some(first) = first_use.insert(label.as_str(), index) {
            format!("is also the label of class {first}")
        } else {
            continue;
        };
        let label = label.clone();
        return Err(DescriptionError::Label { index, label, problem });
    }
    Ok(())
}

fn check_head(head: &Head, layout: &Layout) -> Result<(), DescriptionError> {
    check_count("head weights", layout.channels(), head.weight.len())?;
    check_count("head biases", layout.classes(), head.bias.len())?;
    check_finite("head weights", &head.weight)?;
    check_finite("head biases", &head.bias)?;
    if head.kind == HeadKind::GroupMax {
        for class in 0..layout.classes() {
            let weights = &head.weight[layout.group(class)];
            // Bit for bit: the exporter writes one number xi times.
            if let Some(other) = weights.iter().find(|w| w.to_bits() != weights[0].to_bits()) {
                let what = format!("a group-max head weight of class {class}");
                return Err(value(&what, &format!("{} as its first", weights[0]), other));
            }
        }
    }
    Ok(())
}

fn check_count(what: &str, expected: usize, actual: usize) -> Result<(), DescriptionError> {
    if expected == actual {
        return Ok(());
    }
    let what = what.to_string();
    Err(DescriptionError::Count { what, expected, actual })
}

fn check_finite(what: &str, values: &[f32]) -> Result<(), DescriptionError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let what = format!("value {at} of the {what}");
            Err(value(&what, "a finite number", values[at]))
        }
    }
}

fn value(what: &str, expected: &str, actual: impl ToString) -> DescriptionError {
    DescriptionError::Value {
        what: what.to_string(),
        expected: expected.to_string(),
        actual: actual.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use serde_json::{Value, json};

    use super::*;
    use crate::sketches::Sketch;

    fn labels() -> Vec<String> {
        ["Garden Warbler", "Blackcap", "Sedge Warbler"].map(String::from).to_vec()
    }

    fn description() -> Description {
        Description {
            schema: SCHEMA,
            labels: labels(),
            labels_sha256: labels_sha256(&labels()),
            layout: Layout::from_sizes(&[2, 1, 3]).unwrap(),
            head: Head {
                kind: HeadKind::GroupMax,
                weight: [0.1, 0.1, 1.5, 2.0, 2.0, 2.0].to_vec(),
                bias: [0.0, -0.25, 1e-7].to_vec(),
            },
            input: Input { side: 224, resize: ResizeRule::Pad },
            map_stride: 16,
            temperature: 1.25,
            thresholds: Thresholds {
                unknown: Some(0.5),
                rejection: Some(Rejection { score: Score::Energy, threshold: -2.5, kept: Some(0.95) }),
            },
            sketches: Some(Sketches {
                weights: [255, 0].to_vec(),
                scale: 2.0,
                classes: [[127, 1], [0, 0], [0x81, 5]].map(|values| Sketch(values.to_vec())).to_vec(),
                threshold: 0.625,
                kept: Some(1.0),
            }),
            training: json!({"epochs": 30}),
            self_test: [SelfTest { seed: u64::MAX, logits: [0.1, 0.2, -3.4e38].to_vec() }].to_vec(),
        }
    }

    /// The description's JSON with one value replaced.
    fn with(pointer: &str, value: Value) -> String {
        let mut json: Value = serde_json::from_str(&description().to_json()).unwrap();
        *json.pointer_mut(pointer).expect(pointer) = value;
        json.to_string()
    }

    fn refusal(json: &str) -> String {
        Description::from_json(json).unwrap_err().to_string()
    }

    #[test]
    fn reading_inverts_writing() {
        let description = description();
        assert_eq!(Description::from_json(&description.to_json()).unwrap(), description);
    }

    #[test]
    fn the_json_has_the_documented_fields() {
        let json: Value = serde_json::from_str(&description().to_json()).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["groups"], json!([0, 2, 3, 6]));
        assert_eq!(json["head"]["kind"], "group-max");
        assert_eq!(json["input"], json!({"side": 224, "resize": "pad"}));
        assert_eq!(json["thresholds"]["rejection"]["score"], "energy");
        let sketches = json!({"weights": "ff00", "scale": 2.0, "classes": ["7f01", "0000", "8105"], "threshold": 0.625, "kept": 1.0});
        assert_eq!(json["sketches"], sketches);
        assert_eq!(json["self_test"][0]["seed"], u64::MAX);
    }

    #[test]
    fn labels_hash_as_their_lines_do() {
        // printf '%s\n' 'Garden Warbler' Blackcap 'Sedge Warbler' | sha256sum
        let expected = "04620431ee88123183f35870ac13eda928fc251583e3de6988f26653dc28875a";
        assert_eq!(labels_sha256(&labels()), expected);
    }

    #[test]
    fn unknown_fields_are_tolerated_and_optional_ones_may_lack() {
        let mut json: Value = serde_json::from_str(&description().to_json()).unwrap();
        json["brand_new"] = json!({"deep": [1, 2]});
        json["input"]["colour_space"] = json!("srgb");
        for field in ["thresholds", "sketches", "training", "self_test"] {
            json.as_object_mut().unwrap().remove(field);
        }
        let description = Description::from_json(&json.to_string()).unwrap();
        assert_eq!(description.thresholds, Thresholds::default());
        assert_eq!((description.rule(), &description.sketches), (None, &None));
        assert_eq!(description.self_test, []);
    }

    #[test]
    fn a_plain_probability_is_the_rule_where_an_older_file_has_no_other() {
        let older = Thresholds { unknown: Some(0.5), rejection: None };
        let expected = Rejection { score: Score::Probability, threshold: 0.5, kept: None };
        assert_eq!(older.rule(), Some(expected));
        assert_eq!(description().thresholds.rule().unwrap().score, Score::Energy);
        assert_eq!(Thresholds::default().rule(), None);
    }

    #[test]
    fn sketches_are_the_rule_where_features_are_at_hand() {
        let description = description();
        let maps = Array3::zeros((6, 1, 1));
        let score = |features: &[f32]| {
            let unknown = description.doubt(&[0.0, -4.0, -4.0], maps.view(), features);
            unknown.map(|unknown| unknown.score)
        };
        assert_eq!(description.rule().unwrap().score, Score::Likeness);
        assert_eq!(score(&[-1.0, 0.0]), Some(Score::Likeness));
        assert_eq!(score(&[1.0, 5.0]), None);
        // An energy of 0.04 reaches the threshold of -2.5.
        assert_eq!((score(&[]), score(&[1.0])), (None, None));
        let unknown = description.doubt(&[-4.0; 3], maps.view(), &[]).unwrap();
        assert_eq!(unknown.score, Score::Energy);
    }

    #[test]
    fn another_schema_is_refused_before_its_fields_are_read() {
        let error = refusal(r#"{"schema": 2, "labels": "elsewhere"}"#);
        assert!(error.contains("schema 2") && error.contains("reads schema 1"), "{error}");
    }

    #[test]
    fn a_wrong_hash_is_refused_naming_both() {
        let error = refusal(&with("/labels/0", json!("Garden warbler")));
        let mut other = labels();
        other[0] = "Garden warbler".to_string();
        assert!(error.contains(&labels_sha256(&labels())), "{error}");
        assert!(error.contains(&labels_sha256(&other)), "{error}");
    }

    #[test]
    fn disagreements_are_refused_with_what_is_wrong() {
        for (pointer, value, expected) in [
            ("/labels/1", json!(""), "label 1 (\"\") is empty"),
            ("/labels/1", json!(" \t"), "is empty"),
            ("/labels/1", json!("a\nb"), "control character"),
            ("/labels/2", json!("Blackcap"), "is also the label of class 1"),
            ("/groups", json!([0, 3, 6]), "groups: expected 3, got 2"),
            ("/groups", json!([0, 2, 3, 7]), "head weights: expected 7, got 6"),
            ("/head/bias", json!([0.0]), "head biases: expected 3, got 1"),
            ("/head/weight/5", json!(2.5), "weight of class 2 is 2.5, expected 2 as its first"),
            ("/input/side", json!(0), "input side is 0, expected 1 to 4096"),
            ("/input/side", json!(5000), "input side is 5000"),
            ("/map_stride", json!(0), "map stride is 0, expected 1 to the input side 224"),
            ("/map_stride", json!(225), "map stride is 225"),
            ("/temperature", json!(0.0), "temperature is 0, expected a number above 0"),
            ("/temperature", json!(-1.0), "temperature is -1"),
            ("/thresholds/unknown", json!(1.5), "threshold \"unknown\" is 1.5, expected 0 to 1"),
            ("/thresholds/rejection/kept", json!(-0.5), "share of pictures kept is -0.5, expected 0 to 1"),
            (
                "/thresholds/rejection",
                json!({"score": "agreement", "threshold": 2.0}),
                "threshold of the agreement is 2, expected 0 to 1",
            ),
            ("/sketches/classes", json!(["7f01", "7f01"]), "sketches: expected 3, got 2"),
            ("/sketches/classes/1", json!("7f"), "values of sketch 1: expected 2, got 1"),
            ("/sketches/scale", json!(0.0), "scale of the sketches is 0, expected a number above 0"),
            ("/sketches/threshold", json!(1.5), "threshold of the likeness is 1.5, expected -1 to 1"),
            ("/sketches/kept", json!(2.0), "share of pictures kept is 2, expected 0 to 1"),
            ("/self_test/0/logits", json!([1.0]), "logits of self-test 0: expected 3, got 1"),
        ] {
            let error = refusal(&with(pointer, value.clone()));
            assert!(error.contains(expected), "{pointer} {value}: {error}");
        }
    }

    #[test]
    fn text_that_is_no_description_is_refused() {
        let deep = "[".repeat(100_000);
        let decreasing = with("/groups", json!([0, 3, 2, 6]));
        let null = with("/temperature", Value::Null);
        let huge = with("/groups", json!([0, 1, 2, u64::MAX]));
        let infinite = with("/head/bias/1", json!(1e39));
        let sketch = with("/sketches/classes/1", json!("7x01"));
        for json in ["", "{}", "[1]", "{\"schema\":1}", &deep, &decreasing, &null, &huge, &infinite, &sketch]
        {
            let error = Description::from_json(json).unwrap_err();
            assert!(matches!(error, DescriptionError::Json(_)), "{error}");
        }
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_found_before_writing() {
        let mut description = description();
        description.self_test[0].logits[2] = f32::NAN;
        let error = description.check().unwrap_err().to_string();
        assert!(error.contains("value 2 of the logits of self-test 0 is NaN"), "{error}");
        assert!(Description::from_json(&description.to_json()).is_err());
    }
}
