//! The tiles of a product: where their pixels, their weights and their results lie.

use core::ops::Range;

/// The most pixels of a tile.
pub(super) const MOST_PIXELS: usize = 12;

/// Pixels one after the other, `apart` floats from one to the next.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) x: *const f32,
    pub(super) apart: usize,
}

/// Where the pixels of tiles are read.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// One after the other.
    Line(Line),
    /// Those of a single tile, tap by tap.
    Table(&'a [[*const f32; MOST_PIXELS]]),
}

impl Rows<'_> {
    pub(super) fn taps(&self) -> usize {
        if let Rows::Table(table) = self { table.len() } else { 1 }
    }

    /// Pixel `i` of the tile that begins with pixel `at` and has `rows` of them, of which the last is read for those behind it.
    ///
    /// # Safety
    /// There is such a tap.
    #[inline(always)]
    pub(super) unsafe fn pixel(&self, tap: usize, at: usize, i: usize, rows: usize) -> *const f32 {
        match *self {
            // Safety: the caller's promise; a tile has fewer pixels than a row of the table.
            Rows::Table(table) => unsafe { *table.get_unchecked(tap).get_unchecked(i) },
            Rows::Line(Line { x, apart }) => x.wrapping_add((at + i.min(rows - 1)) * apart),
        }
    }
}

/// Tiles of one column block, one below the other.
pub(super) struct Tiles<'a> {
    pub(super) rows: Rows<'a>,
    /// Input channels of a tap.
    pub(super) depth: usize,
    pub(super) weights: *const f32,
    /// Where the block's weights begin, in numbers.
    pub(super) offset: usize,
    pub(super) bias: *const f32,
    pub(super) residual: *const f32,
    pub(super) out: *mut f32,
    pub(super) stride: usize,
    pub(super) pixels: Range<usize>,
    pub(super) low: f32,
    pub(super) high: f32,
}
