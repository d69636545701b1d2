//! What tract calls of `rustfft`, by the definition.
//!
//! tract links a library of fast Fourier transforms for two operators that no Fieldmark network has, and that the
//! engine's check refuses. It was a twentieth of the boards' program. A sum says the same in a page.

use std::f64::consts::TAU;
use std::marker::PhantomData;
use std::sync::Arc;

use num_complex::Complex;
use num_traits::{FromPrimitive, Signed, Zero};

pub use {num_complex, num_traits};

/// `f32` and `f64`.
pub trait FftNum: Copy + FromPrimitive + Signed + Sync + Send + std::fmt::Debug + 'static {}

impl<T: Copy + FromPrimitive + Signed + Sync + Send + std::fmt::Debug + 'static> FftNum for T {}

/// The sign of the exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FftDirection {
    /// Negative.
    Forward,
    /// Positive; divided by nothing.
    Inverse,
}

/// Makes transforms.
#[derive(Debug, Default)]
pub struct FftPlanner<T>(PhantomData<T>);

impl<T: FftNum> FftPlanner<T> {
    /// One.
    pub fn new() -> FftPlanner<T> {
        FftPlanner(PhantomData)
    }

    /// The transform of `len` values.
    pub fn plan_fft(&mut self, len: usize, direction: FftDirection) -> Arc<Fft<T>> {
        let sign = if direction == FftDirection::Forward { -1.0 } else { 1.0 };
        let root = |at: usize| {
            let (im, re) = (sign * TAU * at as f64 / len as f64).sin_cos();
            let number = |value| T::from_f64(value).unwrap_or_else(T::zero);
            Complex::new(number(re), number(im))
        };
        Arc::new(Fft { roots: (0..len).map(root).collect() })
    }

    /// The same, forward.
    pub fn plan_fft_forward(&mut self, len: usize) -> Arc<Fft<T>> {
        self.plan_fft(len, FftDirection::Forward)
    }
}

/// A discrete Fourier transform.
#[derive(Debug)]
pub struct Fft<T> {
    /// The powers of the first root of unity.
    roots: Vec<Complex<T>>,
}

impl<T: FftNum> Fft<T> {
    /// Transforms each `len` values in place: `X[k] = sum of x[n] w^(k n)`.
    pub fn process(&self, buffer: &mut [Complex<T>]) {
        let len = self.roots.len().max(1);
        for part in buffer.chunks_exact_mut(len) {
            let term = |k: usize, n: usize| part[n] * self.roots[k * n % len];
            let sum = |k| (0..len).fold(Complex::zero(), |sum, n| sum + term(k, n));
            let transformed: Vec<_> = (0..len).map(sum).collect();
            part.copy_from_slice(&transformed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_has_one_frequency_and_comes_back() {
        let wave: Vec<_> =
            (0..12).map(|n| Complex::new((TAU * 3.0 * f64::from(n) / 12.0).cos(), 0.0)).collect();
        let mut values = wave.clone();
        FftPlanner::new().plan_fft_forward(12).process(&mut values);
        for (k, value) in values.iter().enumerate() {
            let expected = if k == 3 || k == 9 { 6.0 } else { 0.0 };
            assert!((value - expected).norm() < 1e-12, "{k}: {value}");
        }
        FftPlanner::new().plan_fft(12, FftDirection::Inverse).process(&mut values);
        assert!(values.iter().zip(wave).all(|(value, wave)| (value / 12.0 - wave).norm() < 1e-12));
    }
}
