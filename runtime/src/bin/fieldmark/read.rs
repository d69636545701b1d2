//! From an input to a frame: pictures, and raw tensors that hold one.

use std::io;

use fieldmark::Frame;
use fieldmark::frame::FrameError;
use fieldmark::model;
use fieldmark::picture::{Limits, PictureError, decode_picture, decode_picture_for, read_file, read_limited};
use fieldmark::raw::{self, RawError};
use thiserror::Error;

use crate::inputs::Input;

/// Why an input gives no frame. The messages do not name the input: who asked for it does.
#[derive(Debug, Error)]
pub enum ReadError {
    /// What was typed leads to no picture.
    #[error("{0}")]
    Missing(String),
    /// No picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// Bytes that begin as a raw tensor does and do not go on as one.
    #[error("{0}; write it again")]
    Raw(RawError),
    /// A raw tensor of another shape.
    #[error("is a raw tensor {shape:?}, expected a picture's planes [3, H, W]; write it again")]
    Shape {
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A raw tensor with values that are no colours.
    #[error("is a raw tensor with value {value}, expected whole numbers 0 to 255; write it again")]
    Value {
        /// The first such value.
        value: f32,
    },
    /// A raw tensor whose sides are too long.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl ReadError {
    /// The input was refused for its size alone.
    pub fn is_limit(&self) -> bool {
        match self {
            ReadError::Picture(error) => error.is_limit(),
            ReadError::Frame(FrameError::Side { .. }) => true,
            _ => false,
        }
    }
}

/// The bytes of an input.
///
/// # Errors
/// [`ReadError`]: everything but a file within the limits.
pub fn read(input: &Input) -> Result<Vec<u8>, ReadError> {
    let limits = Limits::default();
    match input {
        Input::Missing { reason, .. } => Err(ReadError::Missing(reason.clone())),
        Input::Stdin => Ok(read_limited(io::stdin().lock(), &limits)?),
        Input::File(path) => Ok(read_file(path, &limits)?),
    }
}

/// The frame that an input's bytes hold: in full, or no finer than a network needs it.
///
/// # Errors
/// [`ReadError`]: everything but a whole picture within the limits.
pub fn decode(bytes: &[u8], limits: &Limits, to: Option<model::Input>) -> Result<Frame, ReadError> {
    match to {
        _ if bytes.starts_with(&raw::MAGIC) => raw_frame(bytes),
        None => Ok(decode_picture(bytes, limits)?),
        Some(to) => Ok(decode_picture_for(bytes, limits, to)?),
    }
}

/// The frame in a raw tensor `[3, H, W]` of red, green and blue, whole numbers 0..=255.
fn raw_frame(bytes: &[u8]) -> Result<Frame, ReadError> {
    let planes = raw::raw_tensor(bytes).map_err(ReadError::Raw)?;
    let &[3, height, width] = planes.shape() else {
        return Err(ReadError::Shape { shape: planes.shape().to_vec() });
    };
    let colour = |value: f32| (0.0..=255.0).contains(&value) && value.fract() == 0.0;
    if let Some(&value) = planes.iter().find(|&&value| !colour(value)) {
        return Err(ReadError::Value { value });
    }
    let values = planes.iter().map(|&value| value as u8).collect::<Vec<_>>();
    let cells = width * height;
    let pixels = (0..cells).flat_map(|at| [values[at], values[at + cells], values[at + 2 * cells]]);
    Ok(Frame::new(width as u32, height as u32, pixels.collect())?)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;

    fn raw(planes: &Array3<f32>) -> Vec<u8> {
        raw::raw_bytes(planes.view(), raw::NumberType::F32).unwrap()
    }

    fn refusal(bytes: &[u8]) -> String {
        decode(bytes, &Limits::default(), None).unwrap_err().to_string()
    }

    #[test]
    fn a_raw_tensor_of_three_planes_is_a_frame() {
        let planes = array![[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 255.0]]];
        let frame = decode(&raw(&planes), &Limits::default(), None).unwrap();
        assert_eq!(frame, Frame::new(2, 1, vec![1, 3, 5, 2, 4, 255]).unwrap());
    }

    #[test]
    fn other_raw_tensors_are_refused_with_what_they_are() {
        let whole = raw(&Array3::zeros((3, 2, 2)));
        assert!(refusal(&whole[..whole.len() - 1]).contains("the file was cut"));
        assert!(refusal(&raw(&Array3::zeros((4, 2, 2)))).contains("[4, 2, 2], expected"));
        for value in [0.5, -1.0, 256.0, f32::NAN] {
            let error = refusal(&raw(&Array3::from_elem((3, 2, 2), value)));
            assert!(error.contains(&format!("value {value}, expected")), "{error}");
        }
        let wide = raw(&Array3::zeros((3, 1, 70_000)));
        assert!(refusal(&wide).contains("70000 x 1"));
    }

    #[test]
    fn only_refusals_for_size_are_limits() {
        let many = PictureError::TooManyBytes { actual: 2, limit: 1 };
        assert!(ReadError::from(many).is_limit());
        assert!(!ReadError::from(PictureError::Empty).is_limit());
        assert!(!ReadError::Missing("matches no file".to_string()).is_limit());
    }
}
