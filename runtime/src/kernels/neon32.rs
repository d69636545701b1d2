//! Tiles for 32-bit ARM with NEON. Rust has no stable intrinsics there, and its compiler makes no vectors of floats by
//! itself, as these take numbers below the normal ones for zero.

use core::arch::asm;

use super::tiles::Tiles;

/// Pixels of a tile.
pub(super) const PIXELS: usize = 4;

/// Floats of a pixel of a tile: two vectors.
const WIDTH: usize = 8;

/// Makes `tiles`, each two vectors wide, whatever the last one's height.
///
/// # Safety
/// As [`Tiles::dispatch`]; weights are 32-bit floats in blocks of two vectors.
pub(super) unsafe fn all(tiles: &Tiles<'_>) {
    for at in tiles.pixels.clone().step_by(PIXELS) {
        // Safety: the caller's promise.
        unsafe { tile(tiles, at, PIXELS.min(tiles.pixels.end - at)) }
    }
}

/// The tile that begins with pixel `at`. Of its pixels `rows` are written; the others read the last of them again.
unsafe fn tile(tiles: &Tiles<'_>, at: usize, rows: usize) {
    // Safety: the promise of `all`.
    unsafe {
        let bias = tiles.bias.cast::<[f32; WIDTH]>().read_unaligned();
        let mut sums = [bias; PIXELS];
        let mut weights = tiles.weights.add(tiles.offset);
        for tap in 0..tiles.rows.taps() {
            let pixels = [0, 1, 2, 3].map(|i| tiles.rows.pixel(tap, at, i.min(rows - 1), rows));
            weights = add(&mut sums, pixels, weights, tiles.depth);
        }
        for (i, sums) in sums.iter().enumerate().take(rows) {
            let to = (at + i) * tiles.stride;
            for (j, sum) in sums.iter().enumerate() {
                let residual = if tiles.residual.is_null() { 0.0 } else { *tiles.residual.add(to + j) };
                let sum = sum + residual;
                let sum = if sum < tiles.low { tiles.low } else { sum };
                *tiles.out.wrapping_add(to + j) = if sum > tiles.high { tiles.high } else { sum };
            }
        }
    }
}

/// Adds the products of `depth` channels of each pixel with their rows of weights; where the next row is.
///
/// Sums are in `q8` to `q15`, four channels of the pixels in `q0` to `q3`, two rows of weights in `q4` to `q7`.
///
/// # Safety
/// Pixels are good for `depth` floats, weights for `depth` rows.
unsafe fn add(
    sums: &mut [[f32; WIDTH]; PIXELS],
    pixels: [*const f32; PIXELS],
    mut weights: *const f32,
    depth: usize,
) -> *const f32 {
    // Safety: the caller's promise; what is written besides the registers named are the sums.
    unsafe {
        asm!(
                "vldmia {sums}, {{d16-d31}}",
                "cmp {fours}, #0",
                "beq 3f",
                "2:",
                "vld1.32 {{d0-d1}}, [{x0}]!",
                "vld1.32 {{d2-d3}}, [{x1}]!",
                "vld1.32 {{d4-d5}}, [{x2}]!",
                "vld1.32 {{d6-d7}}, [{x3}]!",
                "vld1.32 {{d8-d11}}, [{weights}]!",
                "vld1.32 {{d12-d15}}, [{weights}]!",
                "vmla.f32 q8, q4, d0[0]",
                "vmla.f32 q9, q5, d0[0]",
                "vmla.f32 q10, q4, d2[0]",
                "vmla.f32 q11, q5, d2[0]",
                "vmla.f32 q12, q4, d4[0]",
                "vmla.f32 q13, q5, d4[0]",
                "vmla.f32 q14, q4, d6[0]",
                "vmla.f32 q15, q5, d6[0]",
                "vmla.f32 q8, q6, d0[1]",
                "vmla.f32 q9, q7, d0[1]",
                "vmla.f32 q10, q6, d2[1]",
                "vmla.f32 q11, q7, d2[1]",
                "vmla.f32 q12, q6, d4[1]",
                "vmla.f32 q13, q7, d4[1]",
                "vmla.f32 q14, q6, d6[1]",
                "vmla.f32 q15, q7, d6[1]",
                "vld1.32 {{d8-d11}}, [{weights}]!",
                "vld1.32 {{d12-d15}}, [{weights}]!",
                "vmla.f32 q8, q4, d1[0]",
                "vmla.f32 q9, q5, d1[0]",
                "vmla.f32 q10, q4, d3[0]",
                "vmla.f32 q11, q5, d3[0]",
                "vmla.f32 q12, q4, d5[0]",
                "vmla.f32 q13, q5, d5[0]",
                "vmla.f32 q14, q4, d7[0]",
                "vmla.f32 q15, q5, d7[0]",
                "vmla.f32 q8, q6, d1[1]",
                "vmla.f32 q9, q7, d1[1]",
                "vmla.f32 q10, q6, d3[1]",
                "vmla.f32 q11, q7, d3[1]",
                "vmla.f32 q12, q6, d5[1]",
                "vmla.f32 q13, q7, d5[1]",
                "vmla.f32 q14, q6, d7[1]",
                "vmla.f32 q15, q7, d7[1]",
                "subs {fours}, {fours}, #1",
                "bne 2b",
                "3:",
                "cmp {rest}, #0",
                "beq 5f",
                "4:",
                "vld1.32 {{d0[]}}, [{x0}]!",
                "vld1.32 {{d2[]}}, [{x1}]!",
                "vld1.32 {{d4[]}}, [{x2}]!",
                "vld1.32 {{d6[]}}, [{x3}]!",
                "vld1.32 {{d8-d11}}, [{weights}]!",
                "vmla.f32 q8, q4, d0[0]",
                "vmla.f32 q9, q5, d0[0]",
                "vmla.f32 q10, q4, d2[0]",
                "vmla.f32 q11, q5, d2[0]",
                "vmla.f32 q12, q4, d4[0]",
                "vmla.f32 q13, q5, d4[0]",
                "vmla.f32 q14, q4, d6[0]",
                "vmla.f32 q15, q5, d6[0]",
                "subs {rest}, {rest}, #1",
                "bne 4b",
                "5:",
                "vstmia {sums}, {{d16-d31}}",
                sums = in(reg) sums.as_mut_ptr(),
                weights = inout(reg) weights,
                fours = inout(reg) depth / 4 => _,
                rest = inout(reg) depth % 4 => _,
                x0 = inout(reg) pixels[0] => _,
                x1 = inout(reg) pixels[1] => _,
                x2 = inout(reg) pixels[2] => _,
                x3 = inout(reg) pixels[3] => _,
                out("q0") _, out("q1") _, out("q2") _, out("q3") _,
                out("q4") _, out("q5") _, out("q6") _, out("q7") _,
                out("q8") _, out("q9") _, out("q10") _, out("q11") _,
                out("q12") _, out("q13") _, out("q14") _, out("q15") _,
                options(nostack),
        );
    }
    weights
}
