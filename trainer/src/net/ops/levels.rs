//! Maps of two strides: their sizes, and which coarser cell covers which finer one.

use candle_core::{Result, Tensor, bail};

use super::storage::picture_dims;

/// Sizes of finer maps and of coarser ones that are repeated over their cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Levels {
    pub(super) batch: usize,
    /// Channels of the finer and of the coarser maps.
    pub(super) channels: [usize; 2],
    /// Height and width of the coarser maps.
    pub(super) cells: [usize; 2],
    /// Finer cells to a coarser one, down and across.
    pub(super) factor: [usize; 2],
}

impl Levels {
    /// Of `x` and `deep`.
    pub(super) fn of(x: &Tensor, deep: &Tensor) -> Result<Levels> {
        let [batch, fine, height, width] = picture_dims("beside", x)?;
        let [deep_batch, coarse, rows, columns] = picture_dims("beside", deep)?;
        if batch != deep_batch || height % rows != 0 || width % columns != 0 {
            let (x, deep) = (x.dims(), deep.dims());
            bail!("beside: the maps are {x:?} and {deep:?}, expected one batch, and sides that divide");
        }
        let factor = [height / rows, width / columns];
        Ok(Levels { batch, channels: [fine, coarse], cells: [rows, columns], factor })
    }

    /// Cells of a finer and of a coarser map.
    pub(super) fn areas(&self) -> [usize; 2] {
        let coarse = self.cells[0] * self.cells[1];
        [coarse * self.factor[0] * self.factor[1], coarse]
    }

    /// Values of a picture's finer maps, coarser maps, and of both side by side.
    pub(super) fn values(&self) -> [usize; 3] {
        let ([fine, coarse], [fine_area, coarse_area]) = (self.channels, self.areas());
        [fine * fine_area, coarse * coarse_area, (fine + coarse) * fine_area]
    }

    /// The coarser cell that covers each finer one, in rows.
    pub(super) fn covering(&self) -> impl Iterator<Item = usize> {
        let ([rows, columns], [down, across]) = (self.cells, self.factor);
        (0..rows * down)
            .flat_map(move |y| (0..columns * across).map(move |x| y / down * columns + x / across))
    }
}
