//! Maps of two strides as one, made of candle's own copies: a small part of a network.

use candle_core::{Result, Tensor, bail};

use super::super::levels::Levels;
use super::super::tape::{Arrived, Backward};
use super::memory::{Fresh, map_type, maps, shown};

/// The channels of `x`, and after them those of `deep`, each value repeated over the cells that it covers.
pub(in super::super) fn beside(x: &Tensor, deep: &Tensor, levels: Levels) -> Result<Tensor> {
    let dtype = map_type("beside", x)?;
    if deep.dtype() != dtype {
        bail!("beside: the maps are {dtype:?} and {:?}; convert one of them", deep.dtype());
    }
    let (x, deep) = (maps(x)?, maps(deep)?);
    let Levels { batch, channels: [_, coarse], cells: [rows, columns], factor: [down, across] } = levels;
    let repeated = deep
        .values
        .detach()
        .reshape(&[batch, rows, 1, columns, 1, coarse][..])?
        .broadcast_as(&[batch, rows, down, columns, across, coarse][..])?
        .contiguous()?
        .reshape((batch, rows * down, columns * across, coarse))?;
    let both = Tensor::cat(&[&x.values.detach(), &repeated], 3)?.contiguous()?;
    let backward = Beside { levels, is_tracked: [x.is_tracked(), deep.is_tracked()] };
    shown(&Fresh::copied(&both)?.join(&[&x, &deep], backward)?)
}

struct Beside {
    levels: Levels,
    is_tracked: [bool; 2],
}

impl Backward for Beside {
    fn name(&self) -> &'static str {
        "beside"
    }

    /// `dy` lies as `[B, H, W, C + K]`.
    fn gradients(&self, _: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let Levels { batch, channels: [fine, coarse], cells: [rows, columns], factor: [down, across] } =
            self.levels;
        let dx = self.is_tracked[0].then(|| dy.narrow(3, 0, fine)?.contiguous());
        let ddeep = self.is_tracked[1].then(|| {
            dy.narrow(3, fine, coarse)?
                .contiguous()?
                .reshape(&[batch, rows, down, columns, across, coarse][..])?
                .sum((2, 4))?
                .contiguous()
        });
        Ok([dx.transpose()?, ddeep.transpose()?, None])
    }
}
