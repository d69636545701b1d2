//! Pictures inside the report: small JPEGs as data URIs, and how much room they may take.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fieldmark::frame::{Frame, Region, resize};
use fieldmark::picture::{Limits, read_picture};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use indicatif::ProgressBar;
use rayon::prelude::*;

use super::ReportError;
use super::survey::{SIGHTS, Survey};
use crate::data::picture::ReadError;

/// Bytes that all crops may take: a page that a browser still opens at once.
pub const CROPS_BYTES: usize = 16 << 20;

/// Side of a crop in pixels.
pub const CROP_SIDE: u32 = 88;

/// Crops in one report, unless it has more channels: with many, fewer crops each.
const CROPS: usize = 3200;

/// How good JPEGs are, 1 to 100.
const QUALITY: u8 = 76;

/// A cue's box is shown with as much again around it: a mark cannot be named without what it is on.
const CONTEXT: f32 = 1.5;

/// The least side of a crop, as a share of the picture's shorter side.
const LEAST: f32 = 0.2;

/// The gallery's crops.
#[derive(Clone, Debug, Default)]
pub struct Crops {
    /// For each channel, strongest first, data URI and picture.
    pub of_channel: Vec<Vec<(String, PathBuf)>>,
    /// Crops that were left out, as the file would have become too large.
    pub left_out: usize,
}

/// The crops of the survey's strongest cues, at most `bytes` of them together.
///
/// # Errors
/// A picture that cannot be read.
pub fn crops(survey: &Survey, bytes: usize, bar: &ProgressBar) -> Result<Crops, ReportError> {
    let each = (CROPS / survey.channels.len().max(1)).clamp(1, SIGHTS);
    // Decoded once, however many channels look at it.
    let mut of_picture: BTreeMap<&Path, Vec<(usize, usize)>> = BTreeMap::new();
    for (channel, record) in survey.channels.iter().enumerate() {
        for (rank, sight) in record.sights.iter().enumerate().take(each) {
            of_picture.entry(&sight.path).or_default().push((rank, channel));
        }
    }
    bar.inc_length(of_picture.len() as u64);
    let cut = |(path, places): (&Path, Vec<(usize, usize)>)| {
        let picture = picture(path)?;
        let crop = |(rank, channel): (usize, usize)| {
            let region = around(survey.channels[channel].sights[rank].bounds, &picture);
            ((rank, channel), data_uri(&resize(&picture, region, CROP_SIDE, CROP_SIDE)))
        };
        let crops: Vec<_> = places.into_iter().map(crop).collect();
        bar.inc(1);
        Ok(crops)
    };
    let pictures: Vec<_> = of_picture.into_iter().collect();
    let cut: Result<Vec<Vec<_>>, ReportError> = pictures.into_par_iter().map(cut).collect();
    let mut cut: Vec<((usize, usize), String)> = cut?.into_iter().flatten().collect();
    // Every channel's strongest first, so that what does not fit is missed least.
    cut.sort_unstable();
    let mut crops = Crops { of_channel: vec![Vec::new(); survey.channels.len()], left_out: 0 };
    let mut room = bytes;
    for ((rank, channel), uri) in cut {
        if uri.len() > room {
            crops.left_out += 1;
            continue;
        }
        room -= uri.len();
        crops.of_channel[channel].push((uri, survey.channels[channel].sights[rank].path.clone()));
    }
    Ok(crops)
}

/// The picture in a file.
///
/// # Errors
/// One that cannot be read.
pub fn picture(path: &Path) -> Result<Frame, ReportError> {
    let picture = read_picture(path, &Limits::default());
    Ok(picture.map_err(|source| ReadError { path: path.to_owned(), source })?)
}

/// The square around a cue's box, inside the picture.
fn around([x0, y0, x1, y1]: [f32; 4], picture: &Frame) -> Region {
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let shorter = width.min(height);
    let side = (CONTEXT * (x1 - x0).max(y1 - y0)).clamp(LEAST * shorter, shorter);
    let start = |low: f32, high: f32, length: f32| ((low + high - side) / 2.0).clamp(0.0, length - side);
    Region { x: start(x0, x1, width), y: start(y0, y1, height), width: side, height: side }
}

/// The whole picture, its longer side at most `side`: data URI, width and height.
pub fn whole(picture: &Frame, side: u32) -> (String, [u32; 2]) {
    let longest = picture.width().max(picture.height());
    let side = side.min(longest);
    let scaled = |length: u32| {
        let pixels = u64::from(length) * u64::from(side) / u64::from(longest);
        (pixels as u32).max(1)
    };
    let size = [scaled(picture.width()), scaled(picture.height())];
    (data_uri(&resize(picture, picture.region(), size[0], size[1])), size)
}

fn data_uri(frame: &Frame) -> String {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    let encoded = encoder.encode(frame.pixels(), frame.width(), frame.height(), ExtendedColorType::Rgb8);
    encoded.expect("a frame has the bytes of its size, and memory takes them");
    format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::super::survey::{ChannelRecord, Sight};
    use super::*;

    fn frame(width: u32, height: u32) -> Frame {
        let pixels = (0..3 * width * height).map(|byte| (byte % 251) as u8).collect();
        Frame::new(width, height, pixels).unwrap()
    }

    #[test]
    fn a_crop_is_a_square_inside_the_picture_that_holds_the_box() {
        let picture = frame(200, 100);
        for bounds in [[0.0, 0.0, 10.0, 10.0], [190.0, 90.0, 200.0, 100.0], [20.0, 30.0, 80.0, 60.0]] {
            let Region { x, y, width, height } = around(bounds, &picture);
            assert!((width - height).abs() < 1e-4 && width >= 20.0);
            assert!(x >= 0.0 && y >= 0.0 && x + width <= 200.0 && y + height <= 100.0, "{bounds:?}");
            assert!(x <= bounds[0] && x + width >= bounds[2] && y <= bounds[1] && y + height >= bounds[3]);
        }
        let Region { width, .. } = around([0.0, 0.0, 200.0, 100.0], &picture);
        assert!((width - 100.0).abs() < 1e-4, "a box as wide as the picture gives its shorter side");
    }

    #[test]
    fn a_whole_picture_keeps_its_shape_and_is_never_enlarged() {
        let (uri, size) = whole(&frame(300, 150), 100);
        assert_eq!(size, [100, 50]);
        assert!(uri.starts_with("data:image/jpeg;base64,/9j/"));
        assert_eq!(whole(&frame(30, 15), 100).1, [30, 15]);
    }

    #[test]
    fn crops_stay_within_their_bytes_and_the_strongest_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        image::RgbImage::from_fn(120, 90, |x, y| image::Rgb([x as u8, y as u8, 9])).save(&path).unwrap();
        let sight = |strength: f32| Sight {
            path: path.clone(),
            bounds: [10.0 * strength, 10.0, 10.0 * strength + 20.0, 40.0],
            strength,
        };
        let channel = ChannelRecord { alive: 3, apart: 3, sights: vec![sight(5.0), sight(4.0), sight(2.0)] };
        let dead = ChannelRecord::default();
        let survey = Survey {
            pictures: vec![3],
            mean_share: Array2::zeros((1, 3)),
            channels: vec![channel.clone(), dead, channel],
            answers: Vec::new(),
        };
        let bar = ProgressBar::hidden();
        let all = crops(&survey, CROPS_BYTES, &bar).unwrap();
        assert_eq!(all.of_channel.iter().map(Vec::len).collect::<Vec<_>>(), [3, 0, 3]);
        let room = all.of_channel.iter().flatten().map(|(uri, _)| uri.len()).max().unwrap() * 2;
        let some = crops(&survey, room, &bar).unwrap();
        assert_eq!(some.of_channel.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);
        assert_eq!(some.left_out, 4);
        assert_eq!(some.of_channel[2][0], all.of_channel[2][0]);
    }
}
