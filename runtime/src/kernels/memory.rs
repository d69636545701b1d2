//! Floats that begin on a cache line.

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
#[cfg(feature = "std")]
use alloc::collections::TryReserveError;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// A cache line, and a vector of AVX-512.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Floats of a line.
pub(super) const LINE: usize = 16;

/// A large page of most processors. In tests every buffer is alone, so that a guard can stand at both of its ends.
const LARGE_PAGE: usize = if cfg!(test) { size_of::<Line>() } else { 2 << 20 };

/// Memory that is taken from the system at once, so that small buffers lie in large pages, too.
const SLAB_BYTES: usize = if cfg!(test) { 1 } else { 16 << 20 };

/// Memory in large pages, where the system has them: reading weights is slowed by looking up small ones.
struct Slab {
    at: NonNull<Line>,
    layout: Layout,
}

// Safety: it is memory, and its parts have one owner each.
unsafe impl Send for Slab {}
// Safety: see above.
unsafe impl Sync for Slab {}

impl Slab {
    /// At least so many bytes, of which nothing is written yet.
    fn new(bytes: usize) -> Slab {
        let bytes = bytes.max(1).next_multiple_of(LARGE_PAGE);
        let layout = Layout::from_size_align(bytes, LARGE_PAGE).expect("a size that fits into memory");
        // Safety: the size is not zero.
        let memory = unsafe { alloc(layout) };
        let Some(at) = NonNull::new(memory.cast()) else { handle_alloc_error(layout) };
        #[cfg(feature = "std")]
        in_large_pages(memory, bytes);
        Slab { at, layout }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // Safety: allocated by `new` with this layout.
        unsafe { dealloc(self.at.as_ptr().cast(), self.layout) }
    }
}

/// Where buffers that stay are gathered.
#[derive(Default)]
pub(super) struct Pool {
    slab: Option<Arc<Slab>>,
    /// Lines of it that are taken.
    used: usize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} floats", self.used * LINE)
    }
}

impl Pool {
    /// At least `len` zeros.
    pub(super) fn zeros(&mut self, len: usize) -> Floats {
        let lines = len.div_ceil(LINE);
        let fits = |slab: &&Arc<Slab>| (self.used + lines) * size_of::<Line>() <= slab.layout.size();
        let slab = if let Some(slab) = self.slab.as_ref().filter(fits) {
            Arc::clone(slab)
        } else {
            self.used = 0;
            Arc::new(Slab::new(SLAB_BYTES.max(lines * size_of::<Line>())))
        };
        // Safety: these lines of the slab are nobody's yet.
        let floats = unsafe { Floats::part(&slab, self.used, lines) };
        self.used += lines;
        self.slab = Some(slab);
        floats
    }
}

/// A buffer of whole cache lines.
pub(super) struct Floats(Memory);

enum Memory {
    Alone(Vec<Line>),
    Part { at: NonNull<Line>, lines: usize, _slab: Arc<Slab> },
}

// Safety: the lines of a part are its own.
unsafe impl Send for Memory {}
// Safety: see above.
unsafe impl Sync for Memory {}

impl fmt::Debug for Floats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} floats", self.len())
    }
}

impl Floats {
    /// At least `len` zeros.
    pub(super) fn zeros(len: usize) -> Floats {
        Floats(Memory::Alone(alloc::vec![Line([0.0; LINE]); len.div_ceil(LINE)]))
    }

    /// The same, many of them, in memory of their own.
    pub(super) fn many(len: usize) -> Floats {
        let lines = len.div_ceil(LINE);
        let slab = Arc::new(Slab::new(lines * size_of::<Line>()));
        // Safety: all of the slab is this buffer's.
        unsafe { Floats::part(&slab, 0, lines) }
    }

    /// Zeros in lines of a slab.
    ///
    /// # Safety
    /// They are inside of it, and nobody else's.
    unsafe fn part(slab: &Arc<Slab>, first: usize, lines: usize) -> Floats {
        // Safety: the caller's promise.
        let at = unsafe { slab.at.add(first) };
        // Safety: as above; zeros are floats.
        unsafe { at.write_bytes(0, lines) };
        Floats(Memory::Part { at, lines, _slab: Arc::clone(slab) })
    }

    /// The values, and zeros up to `len`.
    pub(super) fn padded(values: &[f32], len: usize) -> Floats {
        let mut floats = Floats::zeros(len);
        floats.as_mut_slice()[..values.len()].copy_from_slice(values);
        floats
    }

    /// The values as 16-bit floats, two in the place of one; `None` if one of them is not finite as such.
    pub(super) fn halves(values: &[f32], pool: &mut Pool) -> Option<Floats> {
        if !are_halves(values) {
            return None;
        }
        let mut floats = pool.zeros(values.len().div_ceil(2));
        let halves = floats.as_mut_halves()[..values.len()].reinterpret_cast_mut::<f16>();
        halves.convert_from_f32_slice(values);
        Some(floats)
    }

    pub(super) fn len(&self) -> usize {
        LINE * match &self.0 {
            Memory::Alone(lines) => lines.len(),
            Memory::Part { lines, .. } => *lines,
        }
    }

    pub(super) fn as_ptr(&self) -> *const f32 {
        match &self.0 {
            Memory::Alone(lines) => lines.as_ptr().cast(),
            Memory::Part { at, .. } => at.as_ptr().cast(),
        }
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        match &mut self.0 {
            Memory::Alone(lines) => lines.as_mut_ptr().cast(),
            Memory::Part { at, .. } => at.as_ptr().cast(),
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        // Safety: a line is sixteen floats and nothing else.
        unsafe { core::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len()) }
    }

    fn as_mut_halves(&mut self) -> &mut [u16] {
        // Safety: a float is two of them; any bits are a number.
        unsafe { core::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), 2 * self.len()) }
    }
}

/// All of them are finite as 16-bit floats: what would be rounded up to the next power of two after 65504 is not.
pub(super) fn are_halves(values: &[f32]) -> bool {
    values.iter().all(|value| value.abs() < 65520.0)
}

/// A weight, or 0 where it is below the normal numbers, as those of dead channels in published weights are: x86 takes a
/// hundred times as long for each of them, and no sum of others would show it.
pub(super) fn normal(weight: f32) -> f32 {
    if weight.abs() < f32::MIN_POSITIVE { 0.0 } else { weight }
}

/// Asks for large pages for the whole ones among so many bytes of allocated memory, before they are written: they are cleared
/// and found sooner.
#[cfg(feature = "std")]
fn in_large_pages(memory: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        let before = memory.align_offset(LARGE_PAGE);
        let whole = bytes.saturating_sub(before) / LARGE_PAGE * LARGE_PAGE;
        // Safety: advice about memory of our own; a system that does not take it changes nothing.
        let _ = unsafe {
            rustix::mm::madvise(memory.wrapping_add(before).cast(), whole, rustix::mm::Advice::LinuxHugepage)
        };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (memory, bytes);
}

/// Room for so many bytes, in large pages where the system has them.
///
/// # Errors
/// There is no memory for `bytes`.
#[cfg(feature = "std")]
pub fn reserve(buffer: &mut Vec<u8>, bytes: usize) -> Result<(), TryReserveError> {
    buffer.try_reserve_exact(bytes)?;
    in_large_pages(buffer.as_mut_ptr(), buffer.capacity());
    Ok(())
}

/// Gives freed memory back to the system where the allocator would keep it: glibc's keeps what lies between buffers that
/// are in use, as much as a whole model's weights after loading.
#[cfg(feature = "std")]
pub fn return_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> i32;
        }
        // Safety: it takes any number and touches no memory in use.
        unsafe { malloc_trim(0) };
    }
}
