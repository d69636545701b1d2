//! Pictures one by one, exactly as the board sees them, with the way back to their pixels.
//!
//! [`batch`](crate::data::batch) makes the same inputs for training; here each comes with its [`View`], which
//! evaluation and export need.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use fieldmark::frame::{Frame, View, input, network_frame};
use fieldmark::model::Input;
use fieldmark::picture::{Limits, PictureError, read_picture_for};
use rayon::prelude::*;

use crate::data::dataset::Sample;

/// A picture that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the picture {} {source}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// The decoder's reason.
    pub source: PictureError,
}

/// A picture as the network gets it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `S x S`.
    pub frame: Frame,
    /// From the network's input pixels to the picture's.
    pub view: View,
    /// Width and height of the picture itself.
    pub size: [u32; 2],
}

/// The pictures of `samples`, in their order, as a network with the input `to` gets them.
///
/// # Errors
/// The first that cannot be read.
pub fn seen(samples: &[&Sample], to: Input) -> Result<Vec<Seen>, ReadError> {
    let read = |sample: &&Sample| {
        let picture = read_picture_for(&sample.path, &Limits::default(), to)
            .map_err(|source| ReadError { path: sample.path.clone(), source })?;
        let (frame, view) = network_frame(&picture, to.resize, to.side);
        Ok(Seen { frame, view, size: picture.picture_size() })
    };
    samples.par_iter().map(read).collect()
}

/// `B x 3 x S x S`, f32, 0..=255.
///
/// # Errors
/// candle's: no picture, or sides that differ.
pub fn stacked(pictures: &[Seen]) -> candle_core::Result<Tensor> {
    let side = pictures.first().map_or(0, |picture| picture.frame.width() as usize);
    let planes = pictures.iter().flat_map(|picture| input(&picture.frame).into_raw_vec_and_offset().0);
    Tensor::from_vec(planes.collect::<Vec<f32>>(), (pictures.len(), 3, side, side), &Device::Cpu)
}
