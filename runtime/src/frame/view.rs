//! How a picture of any shape is seen through a network's square input.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::rgb::Region;

/// How a picture of any shape becomes the network's square input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ResizeRule {
    /// The whole picture, each axis scaled on its own: nothing is lost, shapes are distorted.
    Squash,
    /// The largest centred square: shapes stay, the ends of the longer side are lost.
    Crop,
    /// The centred square of this many hundredths, 1 to 100, of the shorter side: what networks that learned from random
    /// parts of pictures expect, in which things are larger than in whole ones. ImageNet's are measured at 87 or 88.
    Centre(u8),
    /// The whole picture scaled equally until its longer side fits, centred on grey (114): shapes and
    /// content stay, some of the input is spent on grey.
    Pad,
}

/// A text that names no rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no resize rule {0:?}; there are squash, crop, pad, and centre-1 to centre-100")]
pub struct NoResizeRule(String);

impl FromStr for ResizeRule {
    type Err = NoResizeRule;

    fn from_str(name: &str) -> Result<ResizeRule, NoResizeRule> {
        let percent = name.strip_prefix("centre-").and_then(|percent| percent.parse().ok());
        match (name, percent) {
            ("squash", _) => Ok(ResizeRule::Squash),
            ("crop", _) => Ok(ResizeRule::Crop),
            ("pad", _) => Ok(ResizeRule::Pad),
            (_, Some(percent @ 1..=100)) => Ok(ResizeRule::Centre(percent)),
            _ => Err(NoResizeRule(name.into())),
        }
    }
}

impl fmt::Display for ResizeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResizeRule::Squash => f.write_str("squash"),
            ResizeRule::Crop => f.write_str("crop"),
            ResizeRule::Centre(percent) => write!(f, "centre-{percent}"),
            ResizeRule::Pad => f.write_str("pad"),
        }
    }
}

impl TryFrom<String> for ResizeRule {
    type Error = NoResizeRule;

    fn try_from(name: String) -> Result<ResizeRule, NoResizeRule> {
        name.parse()
    }
}

impl From<ResizeRule> for String {
    fn from(rule: ResizeRule) -> String {
        rule.to_string()
    }
}

/// Maps the pixels of a network's input back to the picture it was made of.
///
/// Both count continuously from the top left corner: pixel `i` spans `i` to `i + 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// The part of the picture that is seen.
    pub(super) seen: Region,
    /// Where in the input it is drawn: left, top, width, height.
    pub(super) drawn: [u32; 4],
    /// The picture's size.
    picture: [u32; 2],
}

impl View {
    /// The view of a `width * height` picture through a `side * side` input. Sides of 0 count as 1.
    pub fn new(width: u32, height: u32, rule: ResizeRule, side: u32) -> View {
        let (width, height, side) = (width.max(1), height.max(1), side.max(1));
        let shorter = width.min(height) as f32;
        let (seen_width, seen_height) = match rule {
            ResizeRule::Crop => (shorter, shorter),
            ResizeRule::Centre(percent) => {
                let square = shorter * f32::from(percent.clamp(1, 100)) / 100.0;
                (square, square)
            }
            ResizeRule::Squash | ResizeRule::Pad => (width as f32, height as f32),
        };
        let (drawn_width, drawn_height) = match rule {
            ResizeRule::Squash | ResizeRule::Crop | ResizeRule::Centre(_) => (side, side),
            ResizeRule::Pad => {
                (scaled(width, side, width.max(height)), scaled(height, side, width.max(height)))
            }
        };
        let seen = Region {
            x: (width as f32 - seen_width) / 2.0,
            y: (height as f32 - seen_height) / 2.0,
            width: seen_width,
            height: seen_height,
        };
        let (left, top) = ((side - drawn_width) / 2, (side - drawn_height) / 2);
        View { seen, drawn: [left, top, drawn_width, drawn_height], picture: [width, height] }
    }

    /// The picture point seen at the input point `x`, `y`. Points in the padding, or outside the
    /// input, go to the nearest edge of the picture.
    pub fn to_picture(&self, x: f32, y: f32) -> (f32, f32) {
        let [left, top, width, height] = self.drawn.map(|pixels| pixels as f32);
        let [picture_width, picture_height] = self.picture.map(|pixels| pixels as f32);
        let x = self.seen.x + (x - left) * (self.seen.width / width);
        let y = self.seen.y + (y - top) * (self.seen.height / height);
        (x.clamp(0.0, picture_width), y.clamp(0.0, picture_height))
    }

    /// The input point at which the picture point `x`, `y` is seen; `None` where the input shows nothing of it.
    pub fn to_input(&self, x: f32, y: f32) -> Option<(f32, f32)> {
        let Region { x: first, y: top, width, height } = self.seen;
        let (across, down) = ((x - first) / width, (y - top) / height);
        let inside = 0.0..=1.0;
        let [left, upper, drawn_width, drawn_height] = self.drawn.map(|pixels| pixels as f32);
        (inside.contains(&across) && inside.contains(&down))
            .then_some((left + across * drawn_width, upper + down * drawn_height))
    }

    /// The part of the picture that the input shows.
    pub fn region(&self) -> Region {
        self.seen
    }
}

/// `length * side / longest`, rounded, at least 1.
fn scaled(length: u32, side: u32, longest: u32) -> u32 {
    let (length, side, longest) = (u64::from(length), u64::from(side), u64::from(longest));
    ((length * side + longest / 2) / longest).max(1) as u32
}

/// How coarsely a `width * height` picture may be decoded for a `side * side` input: 1, 2, 4 or 8 pixels a pixel, by which
/// both sides can be divided. What the input shows keeps twice its pixels each way, so that resizing has the last word.
pub fn coarsest_scale(width: u32, height: u32, rule: ResizeRule, side: u32) -> u32 {
    let View { seen, drawn: [_, _, across, down], .. } = View::new(width, height, rule, side);
    let suits = |&scale: &u32| {
        let twice = 2.0 * scale as f32;
        let fine = seen.width >= twice * across as f32 && seen.height >= twice * down as f32;
        fine && width.is_multiple_of(scale) && height.is_multiple_of(scale)
    };
    // Eight pixels are a block of JPEG.
    [8, 4, 2].into_iter().find(suits).unwrap_or(1)
}
