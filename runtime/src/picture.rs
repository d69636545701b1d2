//! Pictures from files: size limits, EXIF orientation, every pixel format to RGB.
//!
//! A picture is what a stranger hands in, so nothing is believed: the file's kind is read from its
//! first bytes and never from its name, its size from the header before any pixel is decoded, and
//! whether it is whole before it is taken for one.

mod jpeg;
mod limits;

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, RgbImage};

pub use limits::{Limits, PictureError};

use crate::frame::Frame;
#[cfg(doc)]
use crate::frame::coarsest_scale;
use crate::model::Input;
use limits::{check_bytes, check_pixels, refusal, truncated};

/// The picture in a file, upright and RGB.
///
/// # Errors
/// All of [`decode_picture`]'s, and a path that is not a readable regular file within the limits.
pub fn read_picture(path: &Path, limits: &Limits) -> Result<Frame, PictureError> {
    decode_picture(&read_file(path, limits)?, limits)
}

/// As [`read_picture`], no finer than a network needs it: see [`decode_picture_for`].
///
/// # Errors
/// As [`read_picture`].
pub fn read_picture_for(path: &Path, limits: &Limits, to: Input) -> Result<Frame, PictureError> {
    decode_picture_for(&read_file(path, limits)?, limits, to)
}

/// All bytes of a picture's file.
///
/// # Errors
/// A path that is not a readable regular file within the limits.
pub fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, PictureError> {
    // Before opening: opening a pipe without a writer would wait for one.
    check_regular(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    check_regular(&metadata)?;
    check_bytes(metadata.len(), limits)?;
    read_at_most(file, limits, metadata.len())
}

/// All bytes of a stream of unknown length.
///
/// # Errors
/// Those of reading, and more bytes than the limit.
pub fn read_limited(stream: impl Read, limits: &Limits) -> Result<Vec<u8>, PictureError> {
    read_at_most(stream, limits, 0)
}

/// As [`read_limited`], with room for `expected` bytes from the start.
fn read_at_most(stream: impl Read, limits: &Limits, expected: u64) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::with_capacity(expected as usize);
    stream.take(limits.bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    check_bytes(bytes.len() as u64, limits)?;
    Ok(bytes)
}

/// The picture in a JPEG or PNG file's bytes, upright as EXIF says, RGB; transparency is laid over white.
///
/// # Errors
/// Bytes that are not a whole JPEG or PNG picture within the limits.
pub fn decode_picture(bytes: &[u8], limits: &Limits) -> Result<Frame, PictureError> {
    decoded(bytes, limits, None)
}

/// As [`decode_picture`], for a network's input: of a large JPEG, as cameras make them, only as much is decoded as
/// [`coarsest_scale`] says, which takes half of the time. The frame has [`Frame::scale`] then. The trainer reads
/// pictures so, too.
///
/// # Errors
/// As [`decode_picture`].
pub fn decode_picture_for(bytes: &[u8], limits: &Limits, to: Input) -> Result<Frame, PictureError> {
    decoded(bytes, limits, Some(to))
}

fn decoded(bytes: &[u8], limits: &Limits, to: Option<Input>) -> Result<Frame, PictureError> {
    check_bytes(bytes.len() as u64, limits)?;
    if bytes.is_empty() {
        return Err(PictureError::Empty);
    }
    if bytes.starts_with(jpeg::START) {
        let outline = jpeg::outline(bytes);
        if let Some((width, height)) = outline.size {
            check_pixels(width, height, limits)?;
        }
        if !outline.complete {
            return Err(truncated("JPEG", bytes));
        }
        let jpeg = jpeg::decoded(bytes, limits, to)?;
        upright(jpeg.frame, jpeg.orientation)
    } else if bytes.starts_with(PNG_START) {
        if let Some((width, height)) = png_size(bytes) {
            check_pixels(width, height, limits)?;
        }
        let decoder = PngDecoder::with_limits(Cursor::new(bytes), decoder_limits(limits));
        decoded_png(decoder, bytes, limits)
    } else {
        let found = likeness(bytes);
        Err(PictureError::NotAPicture { found })
    }
}

const PNG_START: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Width and height in a PNG's first chunk.
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.get(12..24)?.strip_prefix(b"IHDR")?;
    let side = |at: usize| header[at..at + 4].try_into().map(u32::from_be_bytes).ok();
    Some((side(0)?, side(4)?))
}

fn decoded_png<D: ImageDecoder>(
    decoder: Result<D, ImageError>,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Frame, PictureError> {
    let refused = |error| png_refusal(&error, bytes);
    let mut decoder = decoder.map_err(refused)?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height, limits)?;
    decoder.set_limits(decoder_limits(limits)).map_err(refused)?;
    // Damaged EXIF data costs the orientation, not the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(refused)?;
    upright(Frame::new(width, height, rgb_pixels(picture))?, orientation)
}

fn upright(frame: Frame, orientation: Orientation) -> Result<Frame, PictureError> {
    if orientation == Orientation::NoTransforms {
        return Ok(frame);
    }
    let (width, height, scale) = (frame.width(), frame.height(), frame.scale());
    // A frame has the bytes that its size needs.
    let mut picture =
        RgbImage::from_raw(width, height, frame.into_pixels()).map(DynamicImage::from).unwrap_or_default();
    picture.apply_orientation(orientation);
    Ok(Frame::new(picture.width(), picture.height(), picture.into_rgb8().into_raw())?.at_scale(scale))
}

fn rgb_pixels(picture: DynamicImage) -> Vec<u8> {
    if !picture.color().has_alpha() {
        return picture.into_rgb8().into_raw();
    }
    let over_white = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let pixels = picture.into_rgba8().into_raw();
    // Exactly as much room: caches count a frame's bytes.
    let mut opaque = Vec::with_capacity(pixels.len() / 4 * 3);
    for p in pixels.chunks_exact(4) {
        opaque.extend([p[0], p[1], p[2]].map(|value| over_white(value, p[3])));
    }
    opaque
}

/// What the decoder may take: 16 bits for each of four channels, and as much again for itself.
fn decoder_limits(limits: &Limits) -> image::Limits {
    let mut decoder = image::Limits::default();
    decoder.max_alloc = Some(limits.pixels.saturating_mul(16).max(1 << 20));
    decoder
}

fn png_refusal(error: &ImageError, bytes: &[u8]) -> PictureError {
    // Some decoders wrap the end of the file into an error of their own.
    let early = matches!(error, ImageError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof);
    if early { truncated("PNG", bytes) } else { refusal(&error.to_string(), "PNG", bytes) }
}

fn check_regular(metadata: &fs::Metadata) -> Result<(), PictureError> {
    if metadata.is_file() {
        return Ok(());
    }
    if metadata.is_dir() {
        return Err(PictureError::Folder);
    }
    let kind = special_kind(metadata.file_type());
    Err(PictureError::NotAFile { kind })
}

#[cfg(unix)]
fn special_kind(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "pipe"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(not(unix))]
fn special_kind(_: fs::FileType) -> &'static str {
    "special file"
}

/// What bytes that are no picture look like, for a person.
fn likeness(bytes: &[u8]) -> String {
    if let Ok(format) = image::guess_format(bytes) {
        return format!("a {} picture", format.to_mime_type().trim_start_matches("image/"));
    }
    let start = &bytes[..bytes.len().min(16)];
    let text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if start.iter().all(text) {
        return format!("text (it starts with {:?})", String::from_utf8_lossy(start));
    }
    format!("no picture (it starts with the bytes {start:02x?})")
}

#[cfg(test)]
mod tests;
