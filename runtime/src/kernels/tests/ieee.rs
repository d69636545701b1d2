//! What is not a number, infinities, and inputs that begin anywhere.

use super::*;
use crate::kernels::simd::{Portable, Simd};

/// Whether two results are the same kind of number, and close where they are finite.
fn is_alike(ours: f32, exact: f64) -> bool {
    if exact.is_finite() {
        (f64::from(ours) - exact).abs() <= 1e-3 * exact.abs().max(1.0)
    } else {
        ours.is_nan() == exact.is_nan() && (exact.is_nan() || f64::from(ours).to_bits() == exact.to_bits())
    }
}

/// Inputs with one value replaced in turn, at a place that is drawn.
fn with_odd_values(draw: &mut Draw, x: &[f32]) -> [Vec<f32>; 3] {
    let at = draw.next() as usize % x.len();
    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|odd| {
        let mut x = x.to_vec();
        x[at] = odd;
        x
    })
}

#[test]
fn odd_values_reach_what_the_window_sees_and_nothing_else() {
    for isa in available() {
        let mut draw = Draw(31);
        for case in 0..60 {
            let (size, convolution) = draw_convolution(&mut draw);
            let x = draw.floats(size.iter().product());
            let odd = with_odd_values(&mut draw, &x);
            // By Winograd's tiles; see below.
            if !convolution.depthwise && convolution.kernel == [3, 3] && size[0] >= 16 {
                continue;
            }
            let x = &odd[case % 3];
            let exact = reference(x, size, &convolution, None);
            let ours = convolved(isa, (Storage::Single, 1), (x, size), &convolution, None);
            let same = ours.iter().zip(&exact).all(|(ours, exact)| is_alike(*ours, *exact));
            assert!(same, "{isa}, case {case}: {size:?} by {:?}", convolution.kernel);
        }
    }
}

/// Winograd's sums run over a tile: within it, what is not a number may spread, and infinity become it.
#[test]
fn odd_values_do_not_get_lost_in_winograds_tiles_nor_leave_them() {
    let (channels, outputs, side) = (24, 33, 17);
    for isa in available() {
        let mut draw = Draw(37);
        for _ in 0..8 {
            let convolution =
                Convolution { clamp: OPEN, ..square(&mut draw, channels, outputs, [side, side]) };
            let x = draw.floats(channels * side * side);
            for x in with_odd_values(&mut draw, &x) {
                let at = x.iter().position(|x| !x.is_finite()).expect("one is odd") % (side * side);
                let exact = reference(&x, [channels, side, side], &convolution, None);
                let ours =
                    convolved(isa, (Storage::Single, 1), (&x, [channels, side, side]), &convolution, None);
                for (i, (ours, exact)) in ours.iter().zip(&exact).enumerate() {
                    let (y, x0) = (i % (side * side) / side, i % side);
                    let away = (y.abs_diff(at / side)).max(x0.abs_diff(at % side));
                    let right = is_alike(*ours, *exact) || (away <= 5 && ours.is_nan());
                    assert!(right, "{isa}: {ours} for {exact}, {away} pixels away");
                }
            }
        }
    }
}

#[test]
fn odd_values_go_through_sums_scales_and_means() {
    let window = Convolution {
        kernel: [2, 2],
        output: [1, 1],
        stride: [2, 2],
        dilation: [1, 1],
        before: [0, 0],
        weights: Vec::new().into(),
        bias: Vec::new(),
        depthwise: true,
        clamp: OPEN,
    };
    for isa in available() {
        for (odd, mean, sum) in [
            (f32::NAN, f32::NAN, f32::NAN),
            (f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY, 6.0),
        ] {
            let x = [1.0, odd, 2.0, 3.0];
            let mut builder = Builder::new(isa, Storage::Single, 1);
            let value = builder.input([1, 2, 2]);
            let pooled = builder.pool(value, &window, Reduction::Mean);
            builder.output(pooled);
            let same = |ours: f32, expected: f32| {
                ours.to_bits() == expected.to_bits() || (ours.is_nan() && expected.is_nan())
            };
            assert!(same(outcome(&builder.finish(), &Alone, &[&x], 1)[0], mean), "{isa}: mean of {odd}");
            let mut builder = Builder::new(isa, Storage::Single, 1);
            let (value, other) = (builder.input([1, 2, 2]), builder.input([1, 2, 2]));
            let added = builder.affine(value, Some(other), &[-2.0], &[1.0], [f32::NEG_INFINITY, 6.0]);
            builder.output(added);
            let ours = outcome(&builder.finish(), &Alone, &[&x, &[0.5; 4]], 4);
            assert!(same(ours[1], sum), "{isa}: {} for {odd}", ours[1]);
            assert_eq!(ours[..1], [-2.0], "{isa}");
            assert_eq!(ours[2..], [-4.0, -6.0], "{isa}");
        }
    }
}

#[test]
fn inputs_and_outputs_may_begin_anywhere() {
    let floats = Draw(41).floats(3 * 40 * 36 + 16);
    let bytes: Vec<u8> = (0..3 * 40 * 36 + 64).map(|i| (i * 41 % 253) as u8).collect();
    for isa in available() {
        let (network, len) = small(isa, 1);
        let mut arena = network.arena();
        for first in [0, 1, 2, 3, 7] {
            let run = |source: Source<'_>, arena: &mut Arena| {
                let mut out = vec![0.0; len + first];
                network.run(arena, &Alone, &[source], &mut [&mut out[first..]]);
                out[first..].to_vec()
            };
            let apart = floats[first..][..3 * 40 * 36].to_vec();
            let expected = outcome(&network, &Alone, &[&apart], len);
            assert_eq!(run(Source::Planes(&floats[first..][..3 * 40 * 36]), &mut arena), expected, "{isa}");
            let bytes = &bytes[first..][..3 * 40 * 36];
            let mut expected = vec![0.0; len];
            let apart = bytes.to_vec();
            network.run(&mut arena, &Alone, &[Source::Bytes(&apart)], &mut [&mut expected]);
            assert_eq!(run(Source::Bytes(bytes), &mut arena), expected, "{isa}");
        }
    }
}

#[test]
fn portable_vectors_widen_every_finite_16_bit_number_exactly() {
    for bits in (0..=u16::MAX).filter(|bits| half::f16::from_bits(*bits).is_finite()) {
        // Safety: the array is as long as a vector, and this one needs no instruction set.
        let widened = unsafe { Portable::load_halves([bits; Portable::LANES].as_ptr()) };
        let expected = half::f16::from_bits(bits).to_f32().to_bits();
        assert!(widened.iter().all(|value| value.to_bits() == expected), "{bits:#06x}: {widened:?}");
    }
}
