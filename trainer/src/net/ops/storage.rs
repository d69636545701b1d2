//! The floats under a tensor: reading them, making new ones, and scratch space.
#![allow(unsafe_code)] // Results are written by parallel tasks before anyone reads them.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};

/// f32, in which networks are trained, or f64, in which their gradients are checked.
pub(super) trait Real: WithDType {
    const NEG_INFINITY: Self;
    const INFINITY: Self;

    /// All floats of a storage, for writing.
    fn storage_mut(storage: &mut CpuStorage) -> Result<&mut [Self]>;

    /// Runs `run` on `len` floats of any value that this thread keeps for the next call.
    fn with_scratch<R>(len: usize, run: impl FnOnce(&mut [Self]) -> R) -> R;
}

macro_rules! real {
    ($float:ident, $variant:ident) => {
        impl Real for $float {
            const NEG_INFINITY: $float = $float::NEG_INFINITY;
            const INFINITY: $float = $float::INFINITY;

            fn storage_mut(storage: &mut CpuStorage) -> Result<&mut [$float]> {
                match storage {
                    CpuStorage::$variant(values) => Ok(values),
                    other => bail!("the tensor is {:?}, expected {:?}", other.dtype(), Self::DTYPE),
                }
            }

            fn with_scratch<R>(len: usize, run: impl FnOnce(&mut [$float]) -> R) -> R {
                thread_local!(static KEPT: Cell<Vec<$float>> = const { Cell::new(Vec::new()) });
                // Taken rather than borrowed: a nested call finds none and makes its own.
                let mut kept = KEPT.take();
                if kept.len() < len {
                    kept.resize(len, 0.0);
                }
                let result = run(&mut kept[..len]);
                KEPT.set(kept);
                result
            }
        }
    };
}

real!(f32, F32);
real!(f64, F64);

/// Runs an expression with `$float` standing for the type of the given [`DType`], which was checked
/// to be a [`Real`] one.
macro_rules! by_float {
    ($dtype:expr, $float:ident => $run:expr) => {
        match $dtype {
            candle_core::DType::F64 => {
                type $float = f64;
                $run
            }
            _ => {
                type $float = f32;
                $run
            }
        }
    };
}

pub(super) use by_float;

/// Hands an operation over to the GPU's own where its input lies there.
macro_rules! on_cuda {
    ($x:expr, $run:expr) => {
        #[cfg(feature = "cuda")]
        if $x.device().is_cuda() {
            return $run;
        }
    };
}

pub(super) use on_cuda;

/// Refuses tensors that are not all f32 or all f64. Those on a GPU have rules of their own, checked there.
pub(super) fn check_floats(name: &str, tensors: &[&Tensor]) -> Result<()> {
    if tensors[0].device().is_cuda() {
        return Ok(());
    }
    let dtype = tensors[0].dtype();
    if !matches!(dtype, DType::F32 | DType::F64) {
        bail!("{name}: the input is {dtype:?}, expected F32 or F64; convert it with to_dtype");
    }
    for other in &tensors[1..] {
        if other.dtype() != dtype {
            bail!(
                "{name}: the input is {dtype:?} but a parameter is {:?}; convert one of them",
                other.dtype()
            );
        }
    }
    Ok(())
}

/// The four sizes of a picture tensor, none of them zero.
pub(super) fn picture_dims(name: &str, x: &Tensor) -> Result<[usize; 4]> {
    let &[b, c, h, w] = x.dims() else {
        bail!("{name}: the input is {:?}, expected [B, C, H, W]", x.dims());
    };
    if b * c * h * w == 0 {
        bail!("{name}: the input is empty: {:?}", x.dims());
    }
    Ok([b, c, h, w])
}

/// The values of a contiguous tensor in main memory.
pub(super) fn values<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("an operation was handed a strided tensor; call contiguous() on it");
    };
    Ok(&T::cpu_storage_as_slice(storage)?[start..end])
}

/// The values of a contiguous tensor in main memory, for writing.
pub(super) fn values_mut<'a, T: Real>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("an operation was handed a strided tensor to write to; make it from a contiguous one");
    };
    Ok(&mut T::storage_mut(storage)?[start..end])
}

/// As [`values`], for the tensors a backward pass is handed.
pub(super) fn stored<'a, T: Real>(storage: &'a Storage, layout: &Layout) -> Result<&'a [T]> {
    match storage {
        Storage::Cpu(storage) => values(storage, layout),
        _ => bail!("this operation has no backward pass for this device; move the tensors to the CPU"),
    }
}

/// Floats a task of an elementwise pass takes: enough to be worth a task, few enough for a core's cache.
pub(super) const CHUNK: usize = 16 * 1024;

/// Room for `len` results.
pub(super) fn fresh<T>(len: usize) -> Box<[MaybeUninit<T>]> {
    Box::new_uninit_slice(len)
}

/// Has the C library keep freed memory for the next allocation; call it once, before training.
///
/// A step allocates and frees the same large tensors as the one before. By default each goes back
/// to the system and comes again page by page, which can take longer than the arithmetic. Does
/// nothing with other C libraries than GNU's.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        const TRIM_THRESHOLD: i32 = -1;
        const TOP_PAD: i32 = -2;
        const MMAP_THRESHOLD: i32 = -3;
        // SAFETY: mallopt only sets the allocator's own limits, from any thread.
        unsafe {
            // Older versions take no threshold above 32 MiB, and setting any other limit would freeze it at 128 KiB.
            if mallopt(MMAP_THRESHOLD, 1 << 30) == 0 && mallopt(MMAP_THRESHOLD, 32 << 20) == 0 {
                return;
            }
            mallopt(TRIM_THRESHOLD, i32::MAX);
            mallopt(TOP_PAD, 64 << 20);
        }
    }
}

/// The results, all written.
///
/// # Safety
/// Every element has been written.
pub(super) unsafe fn written<T>(results: Box<[MaybeUninit<T>]>) -> Vec<T> {
    // SAFETY: the caller's promise.
    unsafe { results.assume_init() }.into_vec()
}

/// Writes a copy of `from` into results of the same length.
#[inline(always)]
pub(super) fn write_copy<T: Copy>(into: &mut [MaybeUninit<T>], from: &[T]) {
    assert_eq!(into.len(), from.len());
    for (into, from) in into.iter_mut().zip(from) {
        into.write(*from);
    }
}

/// A slice cut into equal pieces that parallel tasks take by index, for results whose pieces of one
/// task do not lie side by side (a channel's planes over the batch).
pub(super) struct Pieces<'a, T> {
    start: *mut T,
    piece: usize,
    count: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a piece is reached only through `Pieces::take`, whose caller promises to be the only one.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

impl<'a, T> Pieces<'a, T> {
    /// `slice` cut into pieces of `piece` elements.
    pub(super) fn of(slice: &'a mut [T], piece: usize) -> Pieces<'a, T> {
        Pieces { start: slice.as_mut_ptr(), piece, count: slice.len() / piece, slice: PhantomData }
    }

    /// Where the piece at `index` starts, for writes to it and those after it.
    pub(super) fn start_of(&self, index: usize) -> *mut T {
        assert!(index < self.count);
        // SAFETY: in bounds by the assertion.
        unsafe { self.start.add(index * self.piece) }
    }

    /// The piece at `index`.
    ///
    /// # Safety
    /// Nobody else holds this piece.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn take(&self, index: usize) -> &mut [T] {
        assert!(index < self.count);
        // SAFETY: in bounds by the assertion, unshared by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(index * self.piece), self.piece) }
    }
}
