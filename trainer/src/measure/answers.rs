//! What a network says of pictures, each exactly as the board would see it: logits, and the maps' own scores.

use candle_core::{DType, Device, Tensor};
use fieldmark::layout::Layout;
use fieldmark::model::Input;
use fieldmark::unknown::evidence;
use ndarray::{Array3, Array4, Axis};

use crate::data::dataset::Sample;
use crate::data::picture::{ReadError, seen, stacked};
use crate::net::device::Fault;
use crate::net::layer::Mode;
use crate::net::network::Network;

/// Pictures that go through the network at a time.
pub(crate) const BATCH: usize = 16;

/// What a network says of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The class that the picture shows; any number where it is none of the network's.
    pub class: usize,
    /// `c` logits of the head.
    pub logits: Vec<f32>,
    /// `c` scores that the maps give by themselves, the logits of `L_dis`: see [`evidence`].
    pub evidence: Vec<f32>,
}

/// Why a network says nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// A picture cannot be read.
    #[error(transparent)]
    Picture(#[from] ReadError),
    /// A tensor operation failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(candle_core::Error),
    /// The GPU failed, or its memory is full.
    #[error(transparent)]
    Gpu(#[from] Fault),
}

impl From<candle_core::Error> for AnswerError {
    fn from(error: candle_core::Error) -> AnswerError {
        Fault::of(&error.to_string()).map_or(AnswerError::Tensor(error), AnswerError::Gpu)
    }
}

/// What `network`, which takes `to`, says of `samples`, in their order.
///
/// # Errors
/// [`AnswerError`].
pub fn answers(network: &Network, samples: &[&Sample], to: Input) -> Result<Vec<Answered>, AnswerError> {
    let mut all = Vec::with_capacity(samples.len());
    for samples in samples.chunks(BATCH) {
        let images = stacked(&seen(samples, to)?)?.to_device(&network.device())?;
        let output = network.forward(&images, &mut Mode::Eval)?;
        let logits = output.logits.to_vec2::<f32>()?;
        let maps = maps_of_each(&output.maps)?;
        let answered = |((sample, logits), maps): ((&&Sample, _), &Array3<f32>)| {
            answered(sample.class, logits, maps, &network.layout)
        };
        all.extend(samples.iter().zip(logits).zip(&maps).map(answered));
    }
    Ok(all)
}

/// What was said of a picture of `class`, with these `c` logits and `[N, H, W]` maps.
pub(crate) fn answered(class: usize, logits: Vec<f32>, maps: &Array3<f32>, layout: &Layout) -> Answered {
    Answered { class, logits, evidence: evidence(maps.view(), layout) }
}

/// The maps of each picture, `[N, H, W]`, of a batch's `B x N x H x W`.
pub(crate) fn maps_of_each(maps: &Tensor) -> candle_core::Result<Vec<Array3<f32>>> {
    let shape = maps.dims4()?;
    let values = maps.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
    let maps = Array4::from_shape_vec(shape, values);
    let maps = maps.map_err(|error| candle_core::Error::Msg(error.to_string()))?;
    Ok(maps.axis_iter(Axis(0)).map(|maps| maps.to_owned()).collect())
}
