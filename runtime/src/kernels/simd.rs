//! Vectors of floats: one trait, and one type for each instruction set.

/// A piece of code that is compiled once for each instruction set.
pub(super) trait Kernel {
    /// Does the work. Has to be `#[inline(always)]`, or it is compiled for the baseline processor.
    ///
    /// # Safety
    /// The kernel's own contract about its pointers.
    unsafe fn run<S: Simd>(self);
}

/// Vectors of [`Simd::LANES`] floats.
///
/// # Safety of all functions
/// The processor has the instruction set; pointers are good for `LANES` floats and need no alignment.
pub(super) trait Simd: Copy {
    /// Floats in a vector.
    const LANES: usize;
    /// Pixels of a dense tile that is 1, 2, 3, .. vectors wide: as many as leave the accumulators, the weights and
    /// one value of the picture in registers.
    const TILES: &'static [usize];
    /// Values of a pixel that a dense tile takes at once.
    const STEP: usize;
    /// Tiles of two vectors are [`neon32`](super::neon32)'s.
    #[cfg(neon32)]
    const NEON32: bool = false;
    type V: Copy;
    /// [`Simd::STEP`] values of a pixel.
    type X: Copy;

    unsafe fn load(at: *const f32) -> Self::V;
    /// Widens 16-bit floats, finite ones, given by their bits.
    unsafe fn load_halves(at: *const u16) -> Self::V;
    unsafe fn store(at: *mut f32, v: Self::V);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// From a pointer that is good for `STEP` floats.
    unsafe fn values(at: *const f32) -> Self::X;
    /// One value, as the first of so many.
    unsafe fn value(at: *const f32) -> Self::X;
    /// `w * x[lane] + c`.
    unsafe fn fma_value(w: Self::V, x: Self::X, lane: usize, c: Self::V) -> Self::V;
    /// The larger one; what is not a number in `v` stays.
    unsafe fn at_least(v: Self::V, low: Self::V) -> Self::V;
    /// The smaller one; what is not a number in `v` stays.
    unsafe fn at_most(v: Self::V, high: Self::V) -> Self::V;
    /// Asks for the cache line at an address that need not be anybody's.
    unsafe fn prefetch(at: *const f32);
    /// Runs the kernel with the instruction set switched on.
    unsafe fn enter<K: Kernel>(kernel: K);
}

/// Implements [`Simd`] by intrinsics that all have the same form.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! simd {
    ($(#[$doc:meta])* $name:ident, $features:literal, $v:ty, $lanes:literal, $tiles:expr,
     $load:ident $store:ident $splat:ident $add:ident $sub:ident $mul:ident,
     $load_halves:expr, $step:literal $x:ty, $values:expr, $value:expr, $fma_value:expr, $fma:expr, $at_least:expr, $at_most:expr, $prefetch:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(in crate::kernels) struct $name;

        // Safety of all blocks below: what the trait demands of its callers.
        impl Simd for $name {
            const LANES: usize = $lanes;
            const TILES: &'static [usize] = &$tiles;
            const STEP: usize = $step;
            type V = $v;
            type X = $x;

            #[inline(always)]
            unsafe fn load(at: *const f32) -> $v {
                unsafe { $load(at) }
            }
            #[inline(always)]
            unsafe fn load_halves(at: *const u16) -> $v {
                unsafe { $load_halves(at) }
            }
            #[inline(always)]
            unsafe fn store(at: *mut f32, v: $v) {
                unsafe { $store(at, v) }
            }
            #[inline(always)]
            unsafe fn splat(x: f32) -> $v {
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn add(a: $v, b: $v) -> $v {
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            unsafe fn sub(a: $v, b: $v) -> $v {
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            unsafe fn mul(a: $v, b: $v) -> $v {
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            unsafe fn fma(a: $v, b: $v, c: $v) -> $v {
                unsafe { $fma(a, b, c) }
            }
            #[inline(always)]
            unsafe fn values(at: *const f32) -> $x {
                unsafe { $values(at) }
            }
            #[inline(always)]
            unsafe fn value(at: *const f32) -> $x {
                unsafe { $value(at) }
            }
            #[inline(always)]
            unsafe fn fma_value(w: $v, x: $x, lane: usize, c: $v) -> $v {
                unsafe { $fma_value(w, x, lane, c) }
            }
            #[inline(always)]
            unsafe fn at_least(v: $v, low: $v) -> $v {
                unsafe { $at_least(low, v) }
            }
            #[inline(always)]
            unsafe fn at_most(v: $v, high: $v) -> $v {
                unsafe { $at_most(high, v) }
            }
            #[inline(always)]
            unsafe fn prefetch(at: *const f32) {
                #[allow(unused_unsafe, reason = "not every processor's is unsafe")]
                unsafe {
                    $prefetch(at)
                }
            }
            #[inline(never)]
            #[target_feature(enable = $features)]
            unsafe fn enter<K: Kernel>(kernel: K) {
                unsafe { kernel.run::<$name>() }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{Kernel, Simd};

    // The minimum and maximum of x86 give their second operand where one is not a number.
    simd!(
        /// 16 floats, 32 registers.
        Avx512, "avx512f,avx2,fma,f16c", __m512, 16, [12, 12],
        _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps,
        |at: *const u16| _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())),
        1 __m512, |at: *const f32| _mm512_set1_ps(*at), |at: *const f32| _mm512_set1_ps(*at),
        |w, x, _, c| _mm512_fmadd_ps(w, x, c),
        _mm512_fmadd_ps, _mm512_max_ps, _mm512_min_ps, |at: *const f32| _mm_prefetch::<_MM_HINT_T0>(at.cast())
    );
    simd!(
        /// 8 floats, 16 registers.
        Avx2, "avx2,fma,f16c", __m256, 8, [12, 6],
        _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps,
        |at: *const u16| _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
        1 __m256, |at: *const f32| _mm256_set1_ps(*at), |at: *const f32| _mm256_set1_ps(*at),
        |w, x, _, c| _mm256_fmadd_ps(w, x, c),
        _mm256_fmadd_ps, _mm256_max_ps, _mm256_min_ps, |at: *const f32| _mm_prefetch::<_MM_HINT_T0>(at.cast())
    );
}
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod arm {
    use core::arch::aarch64::*;

    use super::{Kernel, Simd};

    /// Multiplies by a lane without moving it anywhere first. The lane is known when this is compiled.
    #[inline(always)]
    unsafe fn by_lane(w: float32x4_t, x: float32x4_t, lane: usize, c: float32x4_t) -> float32x4_t {
        unsafe {
            match lane {
                0 => vfmaq_laneq_f32::<0>(c, w, x),
                1 => vfmaq_laneq_f32::<1>(c, w, x),
                2 => vfmaq_laneq_f32::<2>(c, w, x),
                _ => vfmaq_laneq_f32::<3>(c, w, x),
            }
        }
    }

    simd!(
        /// 4 floats, 32 registers.
        Neon, "neon", float32x4_t, 4, [12, 8, 6, 4],
        vld1q_f32 vst1q_f32 vdupq_n_f32 vaddq_f32 vsubq_f32 vmulq_f32,
        |at| vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at))),
        4 float32x4_t, vld1q_f32, |at| vld1q_dup_f32(at), by_lane,
        |a, b, c| vfmaq_f32(c, a, b), vmaxq_f32, vminq_f32, |_| ()
    );
}
#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;

/// 4 floats in whatever the compiler makes of them; with `NEON` dense tiles by [`neon32`](super::neon32).
#[derive(Clone, Copy)]
pub(super) struct Floats4<const NEON: bool>;

pub(super) type Portable = Floats4<false>;

#[cfg(neon32)]
pub(super) type Neon = Floats4<true>;

/// 32-bit ARM has no more than 32 registers for single floats.
const PORTABLE_TILES: [usize; 2] = if cfg!(target_arch = "arm") { [4, 2] } else { [8, 4] };

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; 4] {
    [f(0), f(1), f(2), f(3)]
}

// Safety of all blocks below: what the trait demands of its callers.
impl<const NEON: bool> Simd for Floats4<NEON> {
    const LANES: usize = 4;
    const TILES: &'static [usize] = if NEON { &[4, 4] } else { &PORTABLE_TILES };
    #[cfg(neon32)]
    const NEON32: bool = NEON;
    const STEP: usize = 1;
    type V = [f32; 4];
    type X = f32;

    #[inline(always)]
    unsafe fn load(at: *const f32) -> [f32; 4] {
        unsafe { at.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_halves(at: *const u16) -> [f32; 4] {
        let bits = unsafe { at.cast::<[u16; 4]>().read_unaligned() };
        // Exponent and fraction move to where f32 has them, and the exponent's bias is mended. Numbers below the normal
        // ones of 16 bits get the exponent of the least of those first, which is then taken off again: no step sees a
        // number below f32's own, which ARM's vectors take for zero, and other units for an exception.
        let least = f32::from_bits(113 << 23);
        let magnitude = |i: usize| {
            let moved = u32::from(bits[i] & 0x7fff) << 13;
            let normal = f32::from_bits(moved + (112 << 23));
            if bits[i] & 0x7c00 == 0 { f32::from_bits(moved + (113 << 23)) - least } else { normal }
        };
        each(|i| f32::from_bits(magnitude(i).to_bits() | u32::from(bits[i] & 0x8000) << 16))
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, v: [f32; 4]) {
        unsafe { at.cast::<[f32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn values(at: *const f32) -> f32 {
        unsafe { *at }
    }
    #[inline(always)]
    unsafe fn value(at: *const f32) -> f32 {
        unsafe { *at }
    }
    #[inline(always)]
    unsafe fn fma_value(w: [f32; 4], x: f32, _lane: usize, c: [f32; 4]) -> [f32; 4] {
        each(|i| w[i] * x + c[i])
    }
    #[inline(always)]
    unsafe fn at_least(v: [f32; 4], low: [f32; 4]) -> [f32; 4] {
        each(|i| if v[i] < low[i] { low[i] } else { v[i] })
    }
    #[inline(always)]
    unsafe fn at_most(v: [f32; 4], high: [f32; 4]) -> [f32; 4] {
        each(|i| if v[i] > high[i] { high[i] } else { v[i] })
    }
    #[inline(always)]
    unsafe fn prefetch(_at: *const f32) {}
    #[inline(never)]
    unsafe fn enter<K: Kernel>(kernel: K) {
        unsafe { kernel.run::<Self>() }
    }
}
