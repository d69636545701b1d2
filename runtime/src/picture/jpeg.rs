//! JPEG files: their outline, and their pixels.
//!
//! The decoder fills what is missing of a cut file with grey and says nothing, and it reads the whole
//! header before it tells the size; so both are looked up here first.
//!
//! The decoder is used directly: through the `image` crate every file is copied and its header decoded three
//! times. A picture that is much larger than the network's input is decoded at a fraction of its size by another one,
//! which can do that; what that one does not take, this one does, in full.

use image::metadata::Orientation;
use jpeg_decoder::PixelFormat;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::limits::{Limits, PictureError, check_pixels, refusal};
use crate::frame::{Frame, coarsest_scale};
use crate::model::Input;

/// How every JPEG file starts.
pub(super) const START: &[u8] = b"\xff\xd8\xff";

/// What can be said without decoding.
pub(super) struct Outline {
    /// Width and height in the frame header.
    pub(super) size: Option<(u32, u32)>,
    /// The end-of-image marker was found where one belongs. What follows it does not count: cameras
    /// append previews and clips.
    pub(super) complete: bool,
}

/// A decoded file.
pub(super) struct Jpeg {
    /// The pixels as they are stored.
    pub(super) frame: Frame,
    /// How to turn them.
    pub(super) orientation: Orientation,
}

/// The picture of a whole file, whatever its colours, as RGB; as coarsely as a network's input allows.
pub(super) fn decoded(bytes: &[u8], limits: &Limits, to: Option<Input>) -> Result<Jpeg, PictureError> {
    let refused = |error: DecodeErrors| refusal(&error.to_string(), "JPEG", bytes);
    // Not strict: cameras and programs write files with small faults, and whether a file is whole has been seen.
    // The decoder's own limits on sides would refuse what ours let pass.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(refused)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32);
    check_pixels(width, height, limits)?;
    // Damaged EXIF data costs the orientation, not the picture.
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let scale = to.map_or(1, |to| coarsest_scale(width, height, to.resize, to.side));
    if let Some(frame) = coarse(bytes, [width, height], scale) {
        return Ok(Jpeg { frame, orientation });
    }
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    decoder.decode_into(&mut pixels).map_err(refused)?;
    let frame = Frame::new(width, height, pixels)?;
    Ok(Jpeg { frame, orientation })
}

/// The picture at a `scale` above 1, if the decoder takes the file and its colours.
fn coarse(bytes: &[u8], size: [u32; 2], scale: u32) -> Option<Frame> {
    if scale == 1 {
        return None;
    }
    let [width, height] = size.map(|side| side / scale);
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    let got = decoder.scale(width.try_into().ok()?, height.try_into().ok()?).ok()?;
    if [u32::from(got.0), u32::from(got.1)] != [width, height] {
        return None;
    }
    let pixels = match decoder.info()?.pixel_format {
        PixelFormat::RGB24 => decoder.decode().ok()?,
        PixelFormat::L8 => decoder.decode().ok()?.into_iter().flat_map(|grey| [grey; 3]).collect(),
        PixelFormat::L16 | PixelFormat::CMYK32 => return None,
    };
    Some(Frame::new(width, height, pixels).ok()?.at_scale(scale))
}

/// Walks from marker to marker.
pub(super) fn outline(bytes: &[u8]) -> Outline {
    let mut outline = Outline { size: None, complete: false };
    let mut at = 2;
    while let Some((marker, body)) = next_marker(bytes, at) {
        match marker {
            END => {
                outline.complete = true;
                return outline;
            }
            // Markers without a segment.
            0x01 | 0xd0..=0xd8 => at = body,
            _ => {
                let Some(length) = big_endian(bytes, body) else {
                    return outline;
                };
                if is_frame_header(marker) && outline.size.is_none() {
                    let height = big_endian(bytes, body + 3);
                    let width = big_endian(bytes, body + 5);
                    outline.size = width.zip(height);
                }
                at = body + (length as usize).max(2);
            }
        }
    }
    outline
}

const END: u8 = 0xd9;

/// The next marker at or after `at`, and where its segment starts. Skips entropy-coded data, in which
/// `ff 00` is a value, and fill bytes.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += find_ff(bytes.get(at..)?)? + 1;
        match *bytes.get(at)? {
            0x00 | 0xff => {}
            marker => return Some((marker, at + 1)),
        }
    }
}

/// Where the first `ff` is. Most bytes of a file are searched here, so it goes by blocks, which vector units compare
/// at once.
fn find_ff(bytes: &[u8]) -> Option<usize> {
    let is_ff = |byte: &u8| *byte == 0xff;
    let without = |block: &&[u8]| !block.iter().fold(false, |any, byte| any | is_ff(byte));
    let start = 32 * bytes.chunks_exact(32).take_while(without).count();
    bytes[start..].iter().position(is_ff).map(|found| start + found)
}

fn is_frame_header(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

fn big_endian(bytes: &[u8], at: usize) -> Option<u32> {
    let pair = bytes.get(at..at + 2)?;
    Some(u32::from(pair[0]) << 8 | u32::from(pair[1]))
}
