//! Floats that begin on a cache line.

use alloc::vec::Vec;

/// A cache line, and a vector of AVX-512.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Floats of a line.
pub(super) const LINE: usize = 16;

/// A buffer of whole cache lines.
pub(super) struct Floats(Vec<Line>);

impl core::fmt::Debug for Floats {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} floats", self.0.len() * LINE)
    }
}

impl Floats {
    /// At least `len` zeros.
    pub(super) fn zeros(len: usize) -> Floats {
        Floats(alloc::vec![Line([0.0; LINE]); len.div_ceil(LINE)])
    }

    /// The values, and zeros up to `len`.
    pub(super) fn padded(values: &[f32], len: usize) -> Floats {
        let mut floats = Floats::zeros(len);
        floats.as_mut_slice()[..values.len()].copy_from_slice(values);
        floats
    }

    pub(super) fn as_ptr(&self) -> *const f32 {
        self.0.as_ptr().cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        // Safety: a line is sixteen floats and nothing else.
        unsafe { core::slice::from_raw_parts_mut(self.as_mut_ptr(), self.0.len() * LINE) }
    }
}
