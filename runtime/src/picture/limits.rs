//! What a picture may cost, and why there is none.

use std::io;

use thiserror::Error;

use crate::frame::{FrameError, MAX_SIDE};

/// What a picture may cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Width times height.
    pub pixels: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

impl Default for Limits {
    /// 64 million pixels, 256 MiB.
    fn default() -> Limits {
        Limits { pixels: 64_000_000, bytes: 256 << 20 }
    }
}

/// Why there is no picture. The messages do not name the file: who opened it does.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PictureError {
    /// The operating system does not give the bytes.
    #[error("cannot be read ({0}); check that it exists and may be read")]
    Read(#[from] io::Error),
    /// A folder.
    #[error("is a folder, expected a JPEG or PNG file; name the pictures in it")]
    Folder,
    /// A pipe, socket or device: reading it could block for ever or never end.
    #[error("is a {kind}, expected a regular file; save the picture to a file first")]
    NotAFile {
        /// What it is.
        kind: &'static str,
    },
    /// No bytes.
    #[error("is empty (0 bytes), expected a JPEG or PNG picture; copy it again from its source")]
    Empty,
    /// More bytes than [`Limits::bytes`].
    #[error("has {actual} bytes, the limit is {limit}; save it smaller")]
    TooManyBytes {
        /// The file's size, or how much of it had been read.
        actual: u64,
        /// The limit.
        limit: u64,
    },
    /// Another kind of file.
    #[error("is {found}, expected a JPEG or PNG picture; save it as one of these")]
    NotAPicture {
        /// What it looks like.
        found: String,
    },
    /// More pixels than [`Limits::pixels`], or a side above [`MAX_SIDE`].
    #[error("is {width} x {height} pixels, the limit is {limit} pixels and {MAX_SIDE} a side; scale it down")]
    TooManyPixels {
        /// Width in the header.
        width: u32,
        /// Height in the header.
        height: u32,
        /// The limit on width times height.
        limit: u64,
    },
    /// The file ends before the picture does.
    #[error("ends in the middle of the {kind} picture ({bytes} bytes); copy it again from its source")]
    Truncated {
        /// JPEG or PNG.
        kind: &'static str,
        /// The file's size.
        bytes: usize,
    },
    /// The decoder gave up.
    #[error("is a damaged or unusual {kind} ({reason}); open it in an image program and save it again")]
    Damaged {
        /// JPEG or PNG.
        kind: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// The decoded pixels are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl PictureError {
    /// The picture was refused for its size alone.
    pub fn is_limit(&self) -> bool {
        matches!(self, PictureError::TooManyBytes { .. } | PictureError::TooManyPixels { .. })
    }
}

/// What a decoder's words mean.
pub(super) fn refusal(reason: &str, kind: &'static str, bytes: &[u8]) -> PictureError {
    if reason.to_lowercase().contains("unexpected end") {
        return truncated(kind, bytes);
    }
    let reason = reason.lines().next().unwrap_or_default().to_string();
    PictureError::Damaged { kind, reason }
}

pub(super) fn truncated(kind: &'static str, bytes: &[u8]) -> PictureError {
    let bytes = bytes.len();
    PictureError::Truncated { kind, bytes }
}

pub(super) fn check_pixels(width: u32, height: u32, limits: &Limits) -> Result<(), PictureError> {
    let limit = limits.pixels;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limit || width.max(height) > MAX_SIDE {
        return Err(PictureError::TooManyPixels { width, height, limit });
    }
    Ok(())
}

pub(super) fn check_bytes(actual: u64, limits: &Limits) -> Result<(), PictureError> {
    let limit = limits.bytes;
    if actual > limit {
        return Err(PictureError::TooManyBytes { actual, limit });
    }
    Ok(())
}
