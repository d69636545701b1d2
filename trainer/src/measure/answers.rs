//! What a network says of pictures, each exactly as the board would see it: logits, and the maps' own scores.

use candle_core::{Device, Tensor};
use fieldmark::cues::{PartCue, part_cues};
use fieldmark::head::Head;
use fieldmark::layout::Layout;
use fieldmark::model::Input;
use fieldmark::unknown::{Said, evidence};
use ndarray::Array3;

use crate::data::dataset::Sample;
use crate::data::picture::{ReadError, Seen, seen, stacked};
use crate::net::device::Fault;
use crate::net::layer::{Mode, forward};
use crate::net::network::{Network, Output, maps_of_each};
use crate::net::ops::gap;

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
    /// The means of the backbone's last maps, `K` values.
    pub features: Vec<f32>,
}

impl Answered {
    /// As scores for unknowns read it.
    pub fn said(&self) -> Said<'_> {
        Said { logits: &self.logits, evidence: &self.evidence, features: &self.features }
    }
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

/// What a network makes of one picture.
pub(crate) struct Look<'a> {
    /// The picture.
    pub sample: &'a Sample,
    /// As the network gets it.
    pub seen: Seen,
    /// `c` logits of the head.
    pub logits: Vec<f32>,
    /// `N x H x W`.
    pub maps: Array3<f32>,
    /// `K` means of the backbone's last maps.
    pub features: Vec<f32>,
}

/// What a network makes of pictures that went through it together.
pub(crate) struct Batch<'a> {
    /// `B x N x H x W`, where the network computes.
    pub maps: Tensor,
    /// Of each of the `B` pictures.
    pub looks: Vec<Look<'a>>,
}

/// What `network`, which takes `to`, makes of `samples`, in their order, batch by batch.
pub(crate) fn batches<'a>(
    network: &'a Network,
    samples: &'a [&'a Sample],
    to: Input,
) -> impl Iterator<Item = Result<Batch<'a>, AnswerError>> {
    samples.chunks(BATCH).map(move |samples| batch(network, samples, to))
}

fn batch<'a>(network: &Network, samples: &'a [&'a Sample], to: Input) -> Result<Batch<'a>, AnswerError> {
    let seen = seen(samples, to)?;
    let (features, output) = featured(network, &stacked(&seen)?.to_device(&network.device())?)?;
    let (logits, maps) = (output.logits.to_vec2::<f32>()?, maps_of_each(&output.maps)?);
    let each = samples.iter().zip(seen).zip(logits.into_iter().zip(maps)).zip(features.to_vec2::<f32>()?);
    let looks = each.map(|(((sample, seen), (logits, maps)), features)| Look {
        sample,
        seen,
        logits,
        maps,
        features,
    });
    Ok(Batch { maps: output.maps, looks: looks.collect() })
}

/// In evaluation, the means of the backbone's last maps, `B x K` in f32 in main memory (of two levels, the coarser one's), and
/// what [`Network::forward`] gives, in one pass.
pub(crate) fn featured(network: &Network, images: &Tensor) -> candle_core::Result<(Tensor, Output)> {
    let below = network.backbone_maps(images)?;
    let above = &network.trunk[network.backbone_depth()..];
    let maps = forward(above, &network.params, &below, &mut Mode::Eval)?;
    let logits = forward(&network.head, &network.params, &maps, &mut Mode::Eval)?;
    let means = gap(&below)?.to_device(&Device::Cpu)?;
    let features = match network.last_channels() {
        Some(last) => means.narrow(1, means.dim(1)? - last, last)?,
        None => means,
    };
    Ok((features, Output { maps, logits }))
}

impl Look<'_> {
    /// What was said of the picture under this `layout` of the maps.
    pub(crate) fn answered(self, layout: &Layout) -> Answered {
        let evidence = evidence(self.maps.view(), layout);
        Answered { class: self.sample.class, logits: self.logits, evidence, features: self.features }
    }

    /// The part cues of `class`, strongest share first, as the board finds them.
    pub(crate) fn cues(&self, layout: &Layout, head: &Head, class: usize) -> Vec<PartCue> {
        part_cues(self.maps.view(), layout, head, class, &self.seen.view, self.seen.frame.width())
    }
}

/// What `network`, which takes `to`, says of `samples`, in their order.
///
/// # Errors
/// [`AnswerError`].
pub fn answers(network: &Network, samples: &[&Sample], to: Input) -> Result<Vec<Answered>, AnswerError> {
    let mut all = Vec::with_capacity(samples.len());
    for batch in batches(network, samples, to) {
        all.extend(batch?.looks.into_iter().map(|look| look.answered(&network.layout)));
    }
    Ok(all)
}
