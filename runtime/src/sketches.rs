//! What pictures of each class look like to the backbone, in a few kilobytes a class, and how far a picture is from it.
//!
//! A picture's *features* are the means of the backbone's last maps, one value a channel. A class's sketch is the mean
//! of its pictures' features. The [`likeness`](Sketches::likeness) of a picture and a class is twice their product by the
//! sum of their squares, each feature weighed by how little it varies within a class: the cosine, less where one is longer
//! than the other.

use alloc::string::String;
use alloc::vec::Vec;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digits::{bytes, hexadecimal};

/// The sketches of `c` classes, of `K` features each; `2 K` characters a class in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sketches {
    /// `K` weights of the features, as shares of 255.
    #[serde(serialize_with = "to_digits", deserialize_with = "from_digits")]
    pub weights: Vec<u8>,
    /// What 1 of a sketch's values is in weighed features; above 0.
    pub scale: f32,
    /// `c` sketches of `K` values.
    pub classes: Vec<Sketch>,
    /// A likeness to the answer's class below this is unknown; -1..=1.
    pub threshold: f32,
    /// The share of validation pictures, all of known classes, that reach the threshold; 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<f32>,
}

/// What a class looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sketch(
    /// `K` weighed features, in two's complement.
    #[serde(serialize_with = "to_digits", deserialize_with = "from_digits")]
    pub Vec<u8>,
);

impl Sketch {
    /// Of `K` weighed features, a value for each `scale`; values that are not finite are left out.
    pub fn of(weighed: &[f32], scale: f32) -> Sketch {
        let rounded = |value: &f32| (libm::roundf(value / scale).clamp(-127.0, 127.0) as i8).cast_unsigned();
        Sketch(weighed.iter().map(rounded).collect())
    }

    fn values(&self) -> impl Iterator<Item = f32> {
        self.0.iter().map(|value| f32::from(value.cast_signed()))
    }
}

impl Sketches {
    /// The scale at which the largest of all classes' weighed features is 127.
    pub fn scale_of(weighed: &[Vec<f32>]) -> f32 {
        let largest = weighed.iter().flatten().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        let scale = largest / 127.0;
        if scale.is_normal() { scale } else { 1.0 }
    }

    /// Weights as they are stored, of `K` weights above 0: shares of the largest.
    pub fn stored(weights: &[f32]) -> Vec<u8> {
        let largest = weights.iter().copied().fold(0.0, f32::max);
        weights.iter().map(|weight| libm::roundf(255.0 * weight / largest) as u8).collect()
    }

    /// `K` features times their weights.
    pub fn weighed(&self, features: &[f32]) -> Vec<f32> {
        features.iter().zip(&self.weights).map(|(feature, weight)| feature * f32::from(*weight)).collect()
    }

    /// How alike a picture of these `K` features and the class `class` are, -1..=1. 0 where both are all zero; not a
    /// number where a feature is none.
    ///
    /// # Panics
    /// Panics if there is no such class.
    pub fn likeness(&self, features: &[f32], class: usize) -> f32 {
        alike(&self.weighed(features), &self.classes[class], self.scale)
    }

    /// [`Sketches::likeness`] of a picture of these `K` features to every class, `c` values.
    pub fn likenesses(&self, features: &[f32]) -> Vec<f32> {
        let weighed = self.weighed(features);
        self.classes.iter().map(|class| alike(&weighed, class, self.scale)).collect()
    }
}

fn alike(weighed: &[f32], sketch: &Sketch, scale: f32) -> f32 {
    let (mut product, mut squares) = (0.0, 0.0);
    for (a, b) in weighed.iter().zip(sketch.values()) {
        let b = scale * b;
        product += a * b;
        squares += a * a + b * b;
    }
    if squares == 0.0 { 0.0 } else { 2.0 * product / squares }
}

fn to_digits<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hexadecimal(bytes))
}

fn from_digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let digits = String::deserialize(deserializer)?;
    bytes(&digits).ok_or_else(|| D::Error::custom("a sketch is not pairs of hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// Two classes, at 5 along the first and the second of three features; the third weighs a half.
    fn sketches() -> Sketches {
        let weighed = [[1275.0, 0.0, 0.0], [0.0, 1275.0, 0.0]].map(|class| class.to_vec());
        let scale = Sketches::scale_of(&weighed);
        Sketches {
            weights: Sketches::stored(&[2.0, 2.0, 1.0]),
            scale,
            classes: weighed.iter().map(|class| Sketch::of(class, scale)).collect(),
            threshold: 0.75,
            kept: Some(0.5),
        }
    }

    fn close(a: f32, b: f32) -> bool {
        (a - b).abs() < 1e-2
    }

    #[test]
    fn a_likeness_is_twice_the_product_by_the_squares() {
        let sketches = sketches();
        assert_eq!(sketches.weights, [255, 255, 128]);
        assert_eq!(Sketch::of(&[0.5, -1.0, 0.25, 9.0, f32::NAN], 1.0 / 64.0).0, [32, 0xc0, 16, 127, 0]);
        for (features, first, second) in [
            ([5.0, 0.0, 0.0], 1.0, 0.0),
            ([3.0, 4.0, 0.0], 0.6, 0.8),
            ([-5.0, 0.0, 0.0], -1.0, 0.0),
            // Twice as long: 2 * 10 * 5 by 100 + 25.
            ([10.0, 0.0, 0.0], 0.8, 0.0),
            // The third counts half: 9 and 16.
            ([3.0, 0.0, 8.0], 0.6, 0.0),
            ([0.0, 0.0, 0.0], 0.0, 0.0),
        ] {
            let found = [0, 1].map(|class| sketches.likeness(&features, class));
            assert!(close(found[0], first) && close(found[1], second), "{features:?}: {found:?}");
            assert_eq!(sketches.likenesses(&features), found);
        }
    }

    #[test]
    fn reading_inverts_writing() {
        let sketches = Sketches { scale: 0.5, ..sketches() };
        let json = serde_json::to_string(&sketches).unwrap();
        let expected =
            r#"{"weights":"ffff80","scale":0.5,"classes":["7f0000","007f00"],"threshold":0.75,"kept":0.5}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Sketches>(&json).unwrap(), sketches);
        assert!(serde_json::from_str::<Sketches>(&json.replace("7f0000", "7f000")).is_err());
    }

    #[test]
    fn what_has_no_size_has_a_scale_of_one() {
        for value in [0.0, f32::NAN, f32::INFINITY, 1e-45] {
            assert!((Sketches::scale_of(&[vec![value]]) - 1.0).abs() < f32::EPSILON, "{value}");
        }
    }
}
