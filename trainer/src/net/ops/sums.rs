//! Sums over planes that are fast, close to exact and the same on every processor.

use super::storage::Real;

/// Lanes in which sums are kept, whatever the processor's own vectors.
const LANES: usize = 16;
/// Values after which lanes of their own type are emptied into f64.
const FULL: usize = 8192;

/// `N` sums over the same pairs of values.
pub(super) struct Sums<T, const N: usize> {
    lanes: [[T; LANES]; N],
    held: usize,
    totals: [f64; N],
}

impl<T: Real, const N: usize> Sums<T, N> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Sums { lanes: [[T::zero(); LANES]; N], held: 0, totals: [0.0; N] }
    }

    /// Adds the terms that `terms` makes of every pair.
    #[inline(always)]
    pub(super) fn add(&mut self, x: &[T], dy: &[T], terms: impl Fn(T, T) -> [T; N]) {
        self.held += x.len();
        // Small maps are mostly remainder: halves of a vector are worth their own loop.
        let (x, dy) = self.add_chunks::<LANES>(x, dy, &terms);
        let (x, dy) = self.add_chunks::<{ LANES / 2 }>(x, dy, &terms);
        self.add_chunks::<1>(x, dy, &terms);
        if self.held >= FULL {
            self.empty();
        }
    }

    /// Adds as many whole chunks as there are; returns what is left.
    #[inline(always)]
    fn add_chunks<'a, const L: usize>(
        &mut self,
        x: &'a [T],
        dy: &'a [T],
        terms: &impl Fn(T, T) -> [T; N],
    ) -> (&'a [T], &'a [T]) {
        let mut lanes = self.lanes;
        let (x, x_rest) = x.as_chunks::<L>();
        let (dy, dy_rest) = dy.as_chunks::<L>();
        for (x, dy) in x.iter().zip(dy) {
            for lane in 0..L {
                for (lanes, term) in lanes.iter_mut().zip(terms(x[lane], dy[lane])) {
                    lanes[lane] += term;
                }
            }
        }
        self.lanes = lanes;
        (x_rest, dy_rest)
    }

    #[inline(always)]
    fn empty(&mut self) {
        for (total, lanes) in self.totals.iter_mut().zip(&mut self.lanes) {
            *total += lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
            *lanes = [T::zero(); LANES];
        }
        self.held = 0;
    }

    #[inline(always)]
    pub(super) fn totals(mut self) -> [f64; N] {
        self.empty();
        self.totals
    }
}
