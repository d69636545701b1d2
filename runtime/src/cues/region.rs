//! The region of a map around its peak: the cells that are at least half as high, and where it ends between cells.

use alloc::vec;
use alloc::vec::Vec;

use ndarray::ArrayView2;

use super::Cell;

/// The 4-connected cells around a peak whose values are at least half of it.
pub(super) struct Region {
    /// In rows, for every cell of the map whether it belongs.
    cells: Vec<bool>,
    /// Columns of the map.
    width: usize,
    /// How many belong.
    count: usize,
    /// Left, top, right, bottom, in cells from the map's left and upper edge.
    pub bounds: [f32; 4],
}

impl Region {
    /// The region around `peak`, a cell of `map` that is above 0 and nowhere exceeded.
    pub(super) fn around(map: ArrayView2<'_, f32>, peak: Cell) -> Region {
        let (height, width) = map.dim();
        let level = map[peak] / 2.0;
        let (row, column) = (peak.0 as f32, peak.1 as f32);
        let bounds = [column, row, column + 1.0, row + 1.0];
        let mut region = Region { cells: vec![false; height * width], width, count: 0, bounds };
        let mut open = vec![peak];
        region.cells[peak.0 * width + peak.1] = true;
        while let Some(cell) = open.pop() {
            region.count += 1;
            region.extend_to(map, cell, level);
            for next in neighbours(cell) {
                let belongs = map.get(next).is_some_and(|&value| value >= level);
                if belongs && !region.holds(next) {
                    region.cells[next.0 * width + next.1] = true;
                    open.push(next);
                }
            }
        }
        region
    }

    /// Whether a cell of the map belongs.
    pub(super) fn holds(&self, (row, column): Cell) -> bool {
        self.cells[row * self.width + column]
    }

    /// It covers more than a quarter of the map: the map is too flat to name a place.
    pub(super) fn is_spread(&self) -> bool {
        4 * self.count > self.cells.len()
    }

    /// Moves the bounds out to where, beside this cell, the values between the cells' centres fall below the level.
    fn extend_to(&mut self, map: ArrayView2<'_, f32>, cell: Cell, level: f32) {
        let [up, down, left, right] = neighbours(cell).map(|next| reach(map, cell, next, level));
        let (row, column) = (cell.0 as f32 + 0.5, cell.1 as f32 + 0.5);
        let [x0, y0, x1, y1] = self.bounds;
        self.bounds = [x0.min(column - left), y0.min(row - up), x1.max(column + right), y1.max(row + down)];
    }
}

/// Above, below, left and right. Beyond the first row or column the index wraps to one that no map has.
fn neighbours((row, column): Cell) -> [Cell; 4] {
    [(row.wrapping_sub(1), column), (row + 1, column), (row, column.wrapping_sub(1)), (row, column + 1)]
}

/// How far from the centre of `cell` towards `next` the straight line between their values stays at the level or above, in
/// cells; as far as the cell's edge at the map's border and towards a cell that is high enough, too.
fn reach(map: ArrayView2<'_, f32>, cell: Cell, next: Cell, level: f32) -> f32 {
    let (here, Some(&there)) = (map[cell], map.get(next)) else { return 0.5 };
    // In f64, as differences of large f32 can overflow.
    let (here, there, level) = (f64::from(here), f64::from(there), f64::from(level));
    if there >= level { 0.5 } else { ((here - level) / (here - there)) as f32 }
}
