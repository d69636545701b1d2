//! Whether the channels of right answers go by the picture or by a place: moves pictures for [`PlaceCount`].

use candle_core::{Device, Tensor};
use fieldmark::frame::input;
use fieldmark::model::Input;
use ndarray::Array3;

use crate::data::dataset::{Sample, spread};
use crate::data::picture::{Seen, seen};
use crate::measure::answers::{AnswerError, BATCH};
use crate::measure::moved::{Change, changed};
use crate::measure::region::{Canvas, mean_colour};
use crate::net::layer::Mode;
use crate::net::network::{Network, maps_of_each};
use crate::run::places::PlaceCount;

/// Right answers that are moved, at most: each costs five passes of the network.
const PICTURES: usize = 200;

/// By how many cells, downwards and to the right.
const STEPS: [[isize; 2]; 4] = [[0, -1], [0, 1], [-1, 0], [1, 0]];

/// Adds to `count` what becomes of the peaks of `right` answers when their pictures are moved by a cell.
///
/// # Errors
/// [`AnswerError`].
pub(crate) fn add_moved(
    count: &mut PlaceCount,
    network: &Network,
    right: &[&Sample],
    to: Input,
) -> Result<(), AnswerError> {
    // Decoded on all cores, some at a time.
    for samples in spread(right, PICTURES).chunks(BATCH) {
        for (sample, picture) in samples.iter().zip(seen(samples, to)?) {
            let maps = still_and_moved(network, &picture, to.side)?;
            let moved: Vec<_> = STEPS.into_iter().zip(&maps[1..]).collect();
            count.add_moved(sample.class, &maps[0], &moved);
        }
    }
    Ok(())
}

/// The maps of a picture, and of the picture moved by each of [`STEPS`].
fn still_and_moved(network: &Network, picture: &Seen, side: u32) -> candle_core::Result<Vec<Array3<f32>>> {
    let planes = input(&picture.frame).into_raw_vec_and_offset().0;
    let fill = mean_colour(&planes, &Canvas::of(&picture.view, side));
    let (side, cell) = (side as usize, network.map_stride() as isize);
    let shifted = STEPS.map(|[down, right]| Change::Shifted(cell * right, cell * down));
    let moved = shifted.into_iter().flat_map(|change| changed(&planes, side, change, fill));
    let inputs: Vec<f32> = planes.iter().copied().chain(moved).collect();
    let images = Tensor::from_vec(inputs, (1 + STEPS.len(), 3, side, side), &Device::Cpu)?;
    maps_of_each(&network.forward(&images.to_device(&network.device())?, &mut Mode::Eval)?.maps)
}
