//! How much of its possible spread a class's group covers: the diversity term of MC-Loss in one pass.
//!
//! `candle_nn::ops::softmax_last_dim` has no gradient at all, and candle's `max(dim)` a wrong one where
//! channels agree. The forward pass here leaves the slope, so the backward pass only scales it.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout as Strides, Result, Shape, Tensor, WithDType, bail};
use fieldmark::layout::Layout;
use rayon::prelude::*;

use super::ccmp::{first_maximum, groups_mut, map_dims};
use super::storage::{Real, by_float, on_cuda, stored, values};
use super::tape::apply1;

/// Share of its possible spread that a class's group covers: `h / xi`, in `1/xi ..= 1`.
///
/// `x`: `[B, N, H, W]`, f32 or f64; result: `[B, c]`, on a GPU f32 whatever `x` is. Every channel is made a distribution over space,
/// `p_jk = exp(F_jk) / sum_k' exp(F_jk')`, and `h = sum_k max_j p_jk` is 1 where the channels of a
/// group agree and `xi` where their peaks are disjoint. The gradient goes to the first maximum.
///
/// # Errors
/// `x` is not of rank 4, not f32 or f64, empty, or has not the layout's `N` channels.
pub fn coverage(x: &Tensor, layout: &Layout) -> Result<Tensor> {
    let dims = map_dims("coverage", x, layout)?;
    on_cuda!(x, super::cuda::coverage(x, layout));
    let op = Coverage {
        layout: layout.clone(),
        batch: dims[0],
        pixels: dims[2] * dims[3],
        slope: OnceLock::new(),
    };
    apply1(&x.contiguous()?, op)
}

struct Coverage {
    layout: Layout,
    batch: usize,
    pixels: usize,
    /// `d (h/xi) / dF` of every class over its own maps, `[B, N, H, W]`; left by the forward pass.
    slope: OnceLock<CpuStorage>,
}

impl CustomOp1 for Coverage {
    fn name(&self) -> &'static str {
        "coverage"
    }

    fn cpu_fwd(&self, x: &CpuStorage, strides: &Strides) -> Result<(CpuStorage, Shape)> {
        let coverage = by_float!(x.dtype(), T => {
            T::to_cpu_storage_owned(self.forward::<T>(values(x, strides)?))
        });
        Ok((coverage, Shape::from((self.batch, self.layout.classes()))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        by_float!(x.dtype(), T => self.backward::<T>(x, dy).map(Some))
    }
}

impl Coverage {
    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        let mut slope = x.to_vec();
        let mut coverage = vec![T::zero(); self.batch * self.layout.classes()];
        groups_mut(&mut slope, &self.layout, self.pixels).into_par_iter().zip(&mut coverage).for_each_init(
            || (vec![T::zero(); self.pixels], vec![0; self.pixels]),
            |(maxima, winners), (maps, coverage)| {
                *coverage = covered(maps, maxima, winners);
            },
        );
        // An operation runs forward once; a second run would find the same slope.
        let _ = self.slope.set(T::to_cpu_storage_owned(slope));
        coverage
    }

    fn backward<T: Real>(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let Some(slope) = self.slope.get() else {
            bail!("coverage: backward ran before forward");
        };
        let mut dx = slope.as_slice::<T>()?.to_vec();
        let dy = dy.contiguous()?;
        let (storage, strides) = dy.storage_and_layout();
        groups_mut(&mut dx, &self.layout, self.pixels)
            .into_par_iter()
            .zip(stored::<T>(&storage, strides)?)
            .for_each(|(dx, &dy)| {
                for dx in dx {
                    *dx *= dy;
                }
            });
        Tensor::from_vec(dx, x.shape(), x.device())
    }
}

/// `h / xi` of one group's maps, `[xi, H W]`, which become its slope, `d (h/xi) / dF`.
///
/// With `won_j` the mass of channel `j` at the pixels it wins and `lost_j` the rest of its mass,
/// `h = sum_j won_j` and `dh/dF_jk = p_jk lost_j` where `j` wins `k`, `-p_jk won_j` elsewhere.
fn covered<T: Real>(maps: &mut [T], maxima: &mut [T], winners: &mut [u32]) -> T {
    let pixels = maxima.len();
    let xi = maps.len() / pixels;
    maps.chunks_exact_mut(pixels).for_each(softmax);
    first_maximum(maps, &vec![true; xi], maxima, winners);
    let mut h = 0.0;
    for (j, p) in maps.chunks_exact_mut(pixels).enumerate() {
        // Both are summed: 1 - won would leave rounding alone where a lone peak has all the mass.
        let (mut won, mut lost) = (0.0, 0.0);
        for (p, &winner) in p.iter().zip(&*winners) {
            let mass = if winner == j as u32 { &mut won } else { &mut lost };
            *mass += p.to_f64();
        }
        h += won;
        let (win, lose) = (T::from_f64(lost / xi as f64), T::from_f64(-won / xi as f64));
        for (p, &winner) in p.iter_mut().zip(&*winners) {
            *p *= if winner == j as u32 { win } else { lose };
        }
    }
    T::from_f64(h / xi as f64)
}

/// One channel made a distribution over space; its maximum is taken off first, so nothing overflows.
fn softmax<T: Real>(channel: &mut [T]) {
    let peak = channel.iter().fold(channel[0], |peak, &v| if v > peak { v } else { peak });
    let mut sum = 0.0;
    for v in channel.iter_mut() {
        let e = (*v - peak).to_f64().exp();
        sum += e;
        *v = T::from_f64(e);
    }
    let scale = T::from_f64(1.0 / sum);
    for v in channel {
        *v *= scale;
    }
}
