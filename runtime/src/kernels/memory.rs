//! Floats that begin on a cache line.

use alloc::vec::Vec;

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

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

    /// The values as 16-bit floats, two in the place of one; `None` if one of them is not finite as such.
    pub(super) fn halves(values: &[f32]) -> Option<Floats> {
        let mut floats = Floats::zeros(values.len().div_ceil(2));
        let halves = floats.as_mut_halves()[..values.len()].reinterpret_cast_mut::<f16>();
        halves.convert_from_f32_slice(values);
        if !halves.iter().all(|half| half.is_finite()) {
            return None;
        }
        Some(floats)
    }

    pub(super) fn len(&self) -> usize {
        LINE * self.0.len()
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

    fn as_mut_halves(&mut self) -> &mut [u16] {
        // Safety: a float is two of them; any bits are a number.
        unsafe { core::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), 2 * LINE * self.0.len()) }
    }
}
