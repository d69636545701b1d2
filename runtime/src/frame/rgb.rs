//! A checked RGB picture, and parts of one.

use alloc::vec::Vec;

use thiserror::Error;

/// The longest side a frame may have, in pixels.
pub const MAX_SIDE: u32 = 1 << 16;

/// An RGB picture: 8 bits a channel, interleaved, rows from the top; sides of 1 to [`MAX_SIDE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixels: Vec<u8>,
    pub(super) scale: u32,
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
    pub(super) fn at_scale(self, scale: u32) -> Region {
        let scale = scale as f32;
        let Region { x, y, width, height } = self;
        Region { x: x / scale, y: y / scale, width: width / scale, height: height / scale }
    }
}
