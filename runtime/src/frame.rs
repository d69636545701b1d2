//! Frames: checked RGB pictures, and how they become a network's input.
//!
//! The trainer and the board use these same functions, so a network never sees a picture resized in
//! another way than in training.

mod pattern;
mod resample;

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use ndarray::Array4;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use pattern::pattern;
pub use resample::resize;

/// The longest side a frame may have, in pixels.
pub const MAX_SIDE: u32 = 1 << 16;

/// What [`ResizeRule::Pad`] fills with: a grey near the mean of photographs.
const PAD_GREY: u8 = 114;

/// An RGB picture: 8 bits a channel, interleaved, rows from the top; sides of 1 to [`MAX_SIDE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    scale: u32,
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A side is 0 or above [`MAX_SIDE`].
    #[error("a frame of {width} x {height} pixels: each side must be 1 to {MAX_SIDE}")]
    Side {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
    },
    /// The bytes are not `3 * width * height`.
    #[error("a frame of {width} x {height} RGB pixels needs {expected} bytes, got {actual}")]
    Length {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
        /// Bytes that the size needs.
        expected: u64,
        /// Bytes given.
        actual: u64,
    },
}

impl Frame {
    /// A frame of `width * height` pixels, `pixels` being `3 * width * height` bytes R, G, B, R, ...
    ///
    /// # Errors
    /// A side outside 1 to [`MAX_SIDE`], or another number of bytes.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Frame, FrameError> {
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(FrameError::Side { width, height });
        }
        let expected = 3 * u64::from(width) * u64::from(height);
        let actual = pixels.len() as u64;
        if expected != actual {
            return Err(FrameError::Length { width, height, expected, actual });
        }
        Ok(Frame { width, height, pixels, scale: 1 })
    }

    /// The same pixels, each of them `scale` of the picture's across and down.
    #[must_use]
    pub fn at_scale(self, scale: u32) -> Frame {
        Frame { scale: scale.max(1), ..self }
    }

    /// Pixels of the picture, across and down, that one pixel of the frame stands for: 1 unless it was decoded more coarsely.
    pub fn scale(&self) -> u32 {
        self.scale
    }

    /// Width and height of the picture, in its own pixels.
    pub fn picture_size(&self) -> [u32; 2] {
        [self.width, self.height].map(|side| side.saturating_mul(self.scale))
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The `3 * width * height` bytes.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes themselves, to be used again.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The red, green, and blue of one pixel.
    ///
    /// # Panics
    /// Panics outside the frame.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        assert!(x < self.width && y < self.height, "pixel {x}, {y}");
        let at = 3 * (y as usize * self.width as usize + x as usize);
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// The frame mirrored left to right.
    #[must_use]
    pub fn flipped(&self) -> Frame {
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for row in self.pixels.chunks_exact(3 * self.width as usize) {
            for pixel in row.rchunks_exact(3) {
                pixels.extend_from_slice(pixel);
            }
        }
        Frame { pixels, ..*self }
    }

    /// The part of the frame that is all of it.
    pub fn region(&self) -> Region {
        Region { x: 0.0, y: 0.0, width: self.width as f32, height: self.height as f32 }
    }
}

/// A rectangle of a picture, in pixels from its top left corner; fractions are meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// The left edge.
    pub x: f32,
    /// The top edge.
    pub y: f32,
    /// Width; above 0.
    pub width: f32,
    /// Height; above 0.
    pub height: f32,
}

impl Region {
    /// The same rectangle, in pixels that are `scale` of these.
    fn at_scale(self, scale: u32) -> Region {
        let scale = scale as f32;
        let Region { x, y, width, height } = self;
        Region { x: x / scale, y: y / scale, width: width / scale, height: height / scale }
    }
}

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
    seen: Region,
    /// Where in the input it is drawn: left, top, width, height.
    drawn: [u32; 4],
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

/// The network's input picture, `side * side`, and the way back to the pixels of `frame`'s picture.
///
/// # Panics
/// Panics if `side` is not 1 to [`MAX_SIDE`].
pub fn network_frame(frame: &Frame, rule: ResizeRule, side: u32) -> (Frame, View) {
    let [width, height] = frame.picture_size();
    let view = View::new(width, height, rule, side);
    let [left, top, width, height] = view.drawn;
    let drawn = resize(frame, view.seen.at_scale(frame.scale), width, height);
    if (width, height) == (side, side) {
        return (drawn, view);
    }
    let row = 3 * side as usize;
    let mut pixels = vec![PAD_GREY; row * side as usize];
    let rows = pixels.chunks_exact_mut(row).skip(top as usize);
    for (target, source) in rows.zip(drawn.pixels.chunks_exact(3 * width as usize)) {
        let start = 3 * left as usize;
        target[start..start + source.len()].copy_from_slice(source);
    }
    let padded = Frame { width: side, height: side, pixels, scale: 1 };
    (padded, view)
}

/// A frame as a network takes it: `[1, 3, H, W]` planes red, green, blue; values 0..=255, whole.
pub fn input(frame: &Frame) -> Array4<f32> {
    let (height, width) = (frame.height as usize, frame.width as usize);
    let mut planes = Array4::zeros([1, 3, height, width]);
    let cells = height * width;
    if let Some(values) = planes.as_slice_mut() {
        let (red, rest) = values.split_at_mut(cells);
        let (green, blue) = rest.split_at_mut(cells);
        let pixels = frame.pixels.chunks_exact(3);
        for (((pixel, red), green), blue) in pixels.zip(red).zip(green).zip(blue) {
            (*red, *green, *blue) = (f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]));
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_sizes_and_lengths_are_refused() {
        for (width, height) in [(0, 5), (5, 0), (MAX_SIDE + 1, 1), (1, u32::MAX)] {
            let error = Frame::new(width, height, Vec::new()).unwrap_err();
            assert_eq!(error, FrameError::Side { width, height });
        }
        for length in [0, 17, 19] {
            let expected = FrameError::Length { width: 2, height: 3, expected: 18, actual: length as u64 };
            assert_eq!(Frame::new(2, 3, vec![0; length]), Err(expected));
        }
        // 3 * 2^32 bytes: must not wrap to a small number on any machine.
        assert!(Frame::new(MAX_SIDE, MAX_SIDE, Vec::new()).is_err());
        assert!(Frame::new(2, 3, vec![0; 18]).is_ok());
    }

    #[test]
    fn flipping_mirrors_columns_and_is_its_own_inverse() {
        let frame = Frame::new(3, 2, (0..18).collect()).unwrap();
        let flipped = frame.flipped();
        assert_eq!(flipped.pixel(0, 1), frame.pixel(2, 1));
        assert_eq!(flipped.pixel(1, 0), frame.pixel(1, 0));
        assert_eq!(flipped.flipped(), frame);
    }

    #[test]
    fn to_input_inverts_to_picture() {
        for (width, height) in [(640, 480), (480, 641), (150, 150), (4000, 37), (1, 900)] {
            for rule in [ResizeRule::Squash, ResizeRule::Crop, ResizeRule::Centre(70), ResizeRule::Pad] {
                let view = View::new(width, height, rule, 224);
                let seen = view.region();
                for part in [0.001, 0.3, 0.5, 0.999] {
                    let (x, y) = (seen.x + part * seen.width, seen.y + part * seen.height);
                    let input = view.to_input(x, y).unwrap();
                    let back = view.to_picture(input.0, input.1);
                    let off = (back.0 - x).abs().max((back.1 - y).abs());
                    assert!(off < 1e-4 * width.max(height) as f32, "{width} x {height} {rule:?}: {off}");
                }
            }
        }
        let view = View::new(300, 100, ResizeRule::Crop, 224);
        assert_eq!((view.to_input(99.0, 50.0), view.to_input(201.0, 50.0)), (None, None));
        assert_eq!(view.to_input(150.0, 50.0), Some((112.0, 112.0)));
    }

    #[test]
    fn views_lead_back_to_picture_pixels() {
        use ResizeRule::{Centre, Crop, Pad, Squash};
        // Picture size, rule, input side, input point, picture point.
        for (size, rule, side, input, picture) in [
            ((448, 448), Squash, 224, (0.0, 224.0), (0.0, 448.0)),
            ((640, 480), Squash, 160, (40.0, 80.0), (160.0, 240.0)),
            ((640, 480), Crop, 240, (0.0, 0.0), (80.0, 0.0)),
            ((640, 480), Crop, 240, (120.0, 120.0), (320.0, 240.0)),
            ((641, 480), Crop, 240, (240.0, 240.0), (560.5, 480.0)),
            ((300, 500), Crop, 100, (50.0, 0.0), (150.0, 100.0)),
            ((640, 400), Centre(50), 100, (0.0, 0.0), (220.0, 100.0)),
            ((640, 400), Centre(50), 100, (50.0, 100.0), (320.0, 300.0)),
            ((640, 400), Centre(100), 100, (0.0, 0.0), (120.0, 0.0)),
            ((640, 320), Pad, 160, (0.0, 40.0), (0.0, 0.0)),
            ((640, 320), Pad, 160, (160.0, 120.0), (640.0, 320.0)),
            ((640, 320), Pad, 160, (80.0, 10.0), (320.0, 0.0)),
            ((320, 640), Pad, 160, (150.0, 80.0), (320.0, 320.0)),
            ((1, 60_000), Pad, 224, (111.5, 0.0), (0.5, 0.0)),
        ] {
            let view = View::new(size.0, size.1, rule, side);
            let actual = view.to_picture(input.0, input.1);
            assert_eq!(actual, picture, "{size:?} {rule:?} {input:?}");
        }
    }

    #[test]
    fn padding_is_grey_and_the_picture_is_centred() {
        let frame = Frame::new(8, 4, vec![200; 96]).unwrap();
        let (padded, view) = network_frame(&frame, ResizeRule::Pad, 16);
        assert_eq!((padded.width(), padded.height()), (16, 16));
        for y in 0..16 {
            let expected = if (4..12).contains(&y) { 200 } else { PAD_GREY };
            assert_eq!(padded.pixel(0, y), [expected; 3], "row {y}");
            assert_eq!(padded.pixel(15, y), [expected; 3], "row {y}");
        }
        assert_eq!(view.to_picture(16.0, 12.0), (8.0, 4.0));
    }

    #[test]
    fn crop_keeps_the_centre_and_squash_keeps_all() {
        let columns = (0..12).flat_map(|_| (0..20).flat_map(|x| [10 * x; 3]));
        let frame = Frame::new(20, 12, columns.collect()).unwrap();
        let (cropped, _) = network_frame(&frame, ResizeRule::Crop, 12);
        assert_eq!(cropped.pixel(0, 0), [40; 3]);
        assert_eq!(cropped.pixel(11, 11), [150; 3]);
        let (squashed, _) = network_frame(&frame, ResizeRule::Squash, 10);
        assert_eq!(squashed.pixel(5, 9), [105; 3]);
    }

    #[test]
    fn the_coarsest_scale_keeps_twice_the_input_and_whole_pixels() {
        use ResizeRule::{Centre, Crop, Pad, Squash};
        for (size, rule, side, scale) in [
            ((4000, 3000), Squash, 224, 4),
            ((4032, 3024), Centre(88), 160, 8),
            ((4032, 3024), Centre(88), 224, 4),
            ((4032, 3024), Crop, 448, 2),
            ((3000, 4000), Pad, 224, 8),
            ((4004, 3004), Squash, 64, 4),
            ((4001, 3000), Squash, 64, 1),
            ((448, 448), Squash, 224, 1),
            ((896, 896), Squash, 224, 2),
            ((896, 894), Squash, 224, 1),
            ((65_536, 8), Pad, 224, 4),
        ] {
            assert_eq!(coarsest_scale(size.0, size.1, rule, side), scale, "{size:?} {rule} {side}");
        }
    }

    #[test]
    fn a_frame_at_a_scale_makes_the_picture_s_view() {
        let frame = Frame::new(20, 12, vec![50; 720]).unwrap().at_scale(4);
        assert_eq!(frame.picture_size(), [80, 48]);
        for rule in [ResizeRule::Squash, ResizeRule::Crop, ResizeRule::Centre(70), ResizeRule::Pad] {
            let (_, view) = network_frame(&frame, rule, 6);
            assert_eq!(view, View::new(80, 48, rule, 6), "{rule}");
        }
    }

    #[test]
    fn input_is_planes_of_whole_numbers() {
        let frame = Frame::new(3, 2, (0..18).collect()).unwrap();
        let planes = input(&frame);
        assert_eq!(planes.shape(), [1, 3, 2, 3]);
        for y in 0..2_u32 {
            for x in 0..3_u32 {
                for (channel, value) in frame.pixel(x, y).into_iter().enumerate() {
                    let actual = planes[[0, channel, y as usize, x as usize]];
                    assert!((actual - f32::from(value)).abs() < f32::EPSILON);
                }
            }
        }
    }

    #[test]
    fn resize_rules_have_stable_names() {
        use ResizeRule::{Centre, Crop, Pad, Squash};
        for (rule, name) in [
            (Squash, "squash"),
            (Crop, "crop"),
            (Pad, "pad"),
            (Centre(1), "centre-1"),
            (Centre(88), "centre-88"),
        ] {
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{name}\""));
            assert_eq!(name.parse(), Ok(rule));
        }
        for name in ["", "Crop", "centre", "centre-0", "centre-101", "centre-300", "centre--5"] {
            assert!(name.parse::<ResizeRule>().is_err(), "{name}");
            assert!(serde_json::from_str::<ResizeRule>(&format!("\"{name}\"")).is_err(), "{name}");
        }
    }
}
