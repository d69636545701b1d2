//! Tiles whose products are taken in 16 bits, for processors with `FEAT_FP16` (Cortex-A76 and later): twice as many a cycle.
//!
//! Pixels are rounded as they are read, eight channels at once. [`APART`] products are added up in 16 bits, and these sums in
//! 32, so that no sum loses more than so few products do. Weights come in pairs of vectors ([`super::dense::Packed`]).

use core::arch::aarch64::*;
use core::ptr;

use super::tiles::Tiles;

/// Products that are added up in 16 bits.
const APART: usize = 64;

/// Input channels that are read at once.
const STEP: usize = 8;

/// Pixels of a tile that is 1, 2, .. pairs of vectors wide: as many as leave 16-bit sums, weights and pixels in registers.
pub(super) const TILES: [usize; 4] = [8, 8, 5, 5];

/// The processor multiplies 16-bit floats. Without `std` what the program was compiled for.
pub(super) fn is_available() -> bool {
    #[cfg(feature = "std")]
    let available = std::arch::is_aarch64_feature_detected!("fp16");
    #[cfg(not(feature = "std"))]
    let available = cfg!(target_feature = "fp16");
    available
}

/// Makes `tiles` of `height` pixels by `vectors`, of which `live` are written.
///
/// # Safety
/// As [`Tiles::dispatch`]; the processor has `FEAT_FP16`, weights are 16-bit floats in pairs of vectors.
pub(super) unsafe fn dispatch(tiles: &Tiles<'_>, height: usize, vectors: usize, live: usize) {
    macro_rules! enter {
        ($pairs:literal: $($height:literal)*) => {
            match height {
                $($height => unsafe { all::<$height, $pairs>(tiles, live) },)*
                _ => unreachable!("a tile of {height} pixels"),
            }
        };
    }
    match vectors {
        2 => enter!(1: 1 2 3 4 5 6 7 8),
        4 => enter!(2: 1 2 3 4 5 6 7 8),
        6 => enter!(3: 1 2 3 4 5),
        8 => enter!(4: 1 2 3 4 5),
        _ => unreachable!("a tile of {vectors} vectors"),
    }
}

/// Tiles of `M` pixels by `NP` pairs of vectors.
#[inline(never)]
#[target_feature(enable = "neon,fp16")]
unsafe fn all<const M: usize, const NP: usize>(tiles: &Tiles<'_>, live: usize) {
    for at in tiles.pixels.clone().step_by(M) {
        // Safety: the caller's promise.
        unsafe { tile::<M, NP>(tiles, at, M.min(tiles.pixels.end - at), live) }
    }
}

/// The tile that begins with pixel `at`. Of its `M` pixels `rows` are written; the others read the last of them again.
#[inline]
#[target_feature(enable = "neon,fp16")]
unsafe fn tile<const M: usize, const NP: usize>(tiles: &Tiles<'_>, at: usize, rows: usize, live: usize) {
    // Safety: the promise of `dispatch`; the arrays are of the tile's own size.
    unsafe {
        let mut sums = [[[vdupq_n_f32(0.0); 2]; NP]; M];
        let mut weights = tiles.weights.cast::<u16>().add(tiles.offset);
        for tap in 0..tiles.rows.taps() {
            let mut pixels = [ptr::null::<f32>(); M];
            for (i, pixel) in pixels.iter_mut().enumerate() {
                *pixel = tiles.rows.pixel(tap, at, i, rows);
            }
            let mut k = 0;
            while k < tiles.depth {
                let end = tiles.depth.min(k + APART);
                let mut apart = [[vreinterpretq_f16_u16(vdupq_n_u16(0)); NP]; M];
                // A macro, since a lane has to be a constant.
                macro_rules! row {
                    ($lane:literal, $x:ident) => {
                        let mut w = [vreinterpretq_f16_u16(vdupq_n_u16(0)); NP];
                        for (j, w) in w.iter_mut().enumerate() {
                            *w = vreinterpretq_f16_u16(vld1q_u16(weights.add(STEP * j)));
                        }
                        for i in 0..M {
                            for j in 0..NP {
                                apart[i][j] = vfmaq_laneq_f16::<$lane>(apart[i][j], w[j], $x[i]);
                            }
                        }
                        weights = weights.add(STEP * NP);
                    };
                }
                while k + STEP <= end {
                    let mut x = [vreinterpretq_f16_u16(vdupq_n_u16(0)); M];
                    for (x, pixel) in x.iter_mut().zip(pixels) {
                        let low = vcvt_f16_f32(vld1q_f32(pixel.add(k)));
                        *x = vcvt_high_f16_f32(low, vld1q_f32(pixel.add(k + 4)));
                    }
                    row!(0, x);
                    row!(1, x);
                    row!(2, x);
                    row!(3, x);
                    row!(4, x);
                    row!(5, x);
                    row!(6, x);
                    row!(7, x);
                    k += STEP;
                }
                while k < end {
                    let mut x = [vreinterpretq_f16_u16(vdupq_n_u16(0)); M];
                    for (x, pixel) in x.iter_mut().zip(pixels) {
                        let value = vcvt_f16_f32(vld1q_dup_f32(pixel.add(k)));
                        *x = vcombine_f16(value, value);
                    }
                    row!(0, x);
                    k += 1;
                }
                for i in 0..M {
                    for j in 0..NP {
                        let [low, high] = sums[i][j];
                        sums[i][j] = [
                            vaddq_f32(low, vcvt_f32_f16(vget_low_f16(apart[i][j]))),
                            vaddq_f32(high, vcvt_high_f32_f16(apart[i][j])),
                        ];
                    }
                }
            }
        }
        let (low, high) = (vdupq_n_f32(tiles.low), vdupq_n_f32(tiles.high));
        for (i, sums) in sums.iter().enumerate().take(rows) {
            for (j, sum) in sums.as_flattened().iter().enumerate().take(live) {
                let to = (at + i) * tiles.stride + 4 * j;
                let mut sum = vaddq_f32(*sum, vld1q_f32(tiles.bias.add(4 * j)));
                if !tiles.residual.is_null() {
                    sum = vaddq_f32(sum, vld1q_f32(tiles.residual.add(to)));
                }
                vst1q_f32(tiles.out.wrapping_add(to), vminq_f32(high, vmaxq_f32(low, sum)));
            }
        }
    }
}
