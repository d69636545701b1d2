//! Cross-channel max pooling (CCMP): the strongest of a class's maps, with or without the CWA mask.
//!
//! Candle's `max(dim)` hands the full gradient to every tied element, and after a `ReLU` most of the
//! elements of a group tie at zero. Here the first maximum takes it. Work is split by picture and
//! class, never within one, so results do not depend on the number of threads.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout as Strides, Result, Shape, Tensor, WithDType, bail};
use fieldmark::layout::Layout;
use rayon::prelude::*;

use super::storage::{Real, by_float, check_floats, on_cuda, picture_dims, stored, values};
use super::tape::apply1;

/// Marks a pixel whose maximum is a masked channel's zero: nobody receives its gradient.
const NOBODY: u32 = u32::MAX;

/// Cross-channel max pooling: the largest of a class's maps at every pixel.
///
/// `x`: `[B, N, H, W]`, f32 or f64; result: `[B, c, H, W]`. The gradient goes to the first maximum of
/// a group. A NaN in a group is its maximum.
///
/// # Errors
/// `x` is not of rank 4, not f32 or f64, empty, or has not the layout's `N` channels.
pub fn ccmp(x: &Tensor, layout: &Layout) -> Result<Tensor> {
    apply("ccmp", x, layout, vec![true; layout.channels()])
}

/// [`ccmp`] of the masked maps, `max_j M_j F_j` (CWA, then CCMP), in one pass.
///
/// `x`: `[B, N, H, W]`, f32 or f64, nowhere negative; `mask`: `[1, N, 1, 1]` of zeros and ones, shared
/// over the batch; result: `[B, c, H, W]`. A masked channel receives no gradient, and neither does
/// anyone at a pixel where its zero is the group's first maximum.
///
/// # Errors
/// As [`ccmp`]; a mask of another shape or with other values; a negative value in a group that the
/// mask thins: its zero would beat it, so that masking would not drop a channel but rectify the rest. On a GPU, where
/// nobody waits to be told, such a pixel becomes NaN.
pub fn masked_ccmp(x: &Tensor, mask: &Tensor, layout: &Layout) -> Result<Tensor> {
    apply("masked ccmp", x, layout, kept(mask, layout)?)
}

fn apply(name: &'static str, x: &Tensor, layout: &Layout, kept: Vec<bool>) -> Result<Tensor> {
    let dims = map_dims(name, x, layout)?;
    on_cuda!(x, super::cuda::ccmp(name, x, layout, &kept));
    let op = Ccmp { layout: layout.clone(), dims, kept, winners: OnceLock::new() };
    apply1(&x.contiguous()?, op)
}

/// The four sizes of maps that fit the layout, none of them zero.
pub(super) fn map_dims(name: &str, x: &Tensor, layout: &Layout) -> Result<[usize; 4]> {
    let dims = picture_dims(name, x)?;
    check_floats(name, &[x])?;
    if dims[1] != layout.channels() {
        bail!(
            "{name}: the maps have {} channels, but the layout's {} classes own {}",
            dims[1],
            layout.classes(),
            layout.channels()
        );
    }
    Ok(dims)
}

/// Which of the `N` channels the mask keeps.
fn kept(mask: &Tensor, layout: &Layout) -> Result<Vec<bool>> {
    let expected = [1, layout.channels(), 1, 1];
    if mask.dims() != expected {
        bail!(
            "the CWA mask is {:?}, expected {expected:?}: draw it with cwa_mask from the layout of \
             the maps",
            mask.dims()
        );
    }
    let values = mask.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
    let kept = |(channel, &value): (usize, &f32)| match value {
        0.0 => Ok(false),
        1.0 => Ok(true),
        _ => bail!(
            "the CWA mask is {value} at channel {channel}, expected 0 or 1: kept channels are not \
             rescaled"
        ),
    };
    values.iter().enumerate().map(kept).collect()
}

struct Ccmp {
    layout: Layout,
    dims: [usize; 4],
    kept: Vec<bool>,
    /// Index within its group of every pixel's maximum, `[B, c, H, W]`; left by the forward pass.
    winners: OnceLock<Vec<u32>>,
}

impl CustomOp1 for Ccmp {
    fn name(&self) -> &'static str {
        "ccmp"
    }

    fn cpu_fwd(&self, x: &CpuStorage, strides: &Strides) -> Result<(CpuStorage, Shape)> {
        let [batch, _, height, width] = self.dims;
        let maxima = by_float!(x.dtype(), T => {
            T::to_cpu_storage_owned(self.forward::<T>(values(x, strides)?)?)
        });
        let shape = (batch, self.layout.classes(), height, width);
        Ok((maxima, Shape::from(shape)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        by_float!(x.dtype(), T => self.backward::<T>(x, dy).map(Some))
    }
}

impl Ccmp {
    fn forward<T: Real>(&self, x: &[T]) -> Result<Vec<T>> {
        let [batch, channels, height, width] = self.dims;
        let (pixels, classes) = (height * width, self.layout.classes());
        let mut maxima = vec![T::zero(); batch * classes * pixels];
        let mut winners = vec![0; maxima.len()];
        maxima.par_chunks_mut(pixels).zip(winners.par_chunks_mut(pixels)).enumerate().try_for_each(
            |(i, (maxima, winners))| {
                let (picture, class) = (i / classes, i % classes);
                let group = self.layout.group(class);
                let start = (picture * channels + group.start) * pixels;
                let maps = &x[start..start + group.len() * pixels];
                let kept = &self.kept[group];
                if kept.contains(&false) {
                    refuse_negative(maps, picture, class)?;
                }
                first_maximum(maps, kept, maxima, winners);
                Result::Ok(())
            },
        )?;
        // An operation runs forward once; a second run would find the same winners.
        let _ = self.winners.set(winners);
        Ok(maxima)
    }

    fn backward<T: Real>(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let pixels = self.dims[2] * self.dims[3];
        let Some(winners) = self.winners.get() else {
            bail!("ccmp: backward ran before forward");
        };
        let mut dx = vec![T::zero(); x.elem_count()];
        let dy = dy.contiguous()?;
        let (storage, strides) = dy.storage_and_layout();
        groups_mut(&mut dx, &self.layout, pixels)
            .into_par_iter()
            .zip(winners.par_chunks(pixels))
            .zip(stored::<T>(&storage, strides)?.par_chunks(pixels))
            .for_each(|((dx, winners), dy)| {
                for (j, dx) in dx.chunks_exact_mut(pixels).enumerate() {
                    for ((dx, &winner), &dy) in dx.iter_mut().zip(winners).zip(dy) {
                        *dx = if winner == j as u32 { dy } else { T::zero() };
                    }
                }
            });
        Tensor::from_vec(dx, x.shape(), x.device())
    }
}

/// Maximum over the channels of one group's maps, `[xi, H W]`, and the channel it comes first in.
/// A channel that is not kept counts as zeros, which beat no non-negative channel before it.
pub(super) fn first_maximum<T: Real>(maps: &[T], kept: &[bool], maxima: &mut [T], winners: &mut [u32]) {
    for (j, (channel, &kept)) in maps.chunks_exact(maxima.len()).zip(kept).enumerate() {
        match (j, kept) {
            (0, true) => {
                maxima.copy_from_slice(channel);
                winners.fill(0);
            }
            (0, false) => {
                maxima.fill(T::zero());
                winners.fill(NOBODY);
            }
            (_, true) => {
                for ((max, winner), &v) in maxima.iter_mut().zip(&mut *winners).zip(channel) {
                    let is_nan = v.partial_cmp(&v).is_none();
                    let wins = v > *max || is_nan;
                    *max = if wins { v } else { *max };
                    *winner = if wins { j as u32 } else { *winner };
                }
            }
            (_, false) => {}
        }
    }
}

fn refuse_negative<T: Real>(maps: &[T], picture: usize, class: usize) -> Result<()> {
    if maps.iter().fold(false, |any, &v| any | (v < T::zero())) {
        bail!(
            "masked ccmp: picture {picture} has a negative value in the maps of class {class}; \
             masking by zero drops a channel only after a ReLU"
        );
    }
    Ok(())
}

/// Every picture's groups, `[B][c]`, each `[xi, H W]`.
pub(super) fn groups_mut<'a, T>(mut maps: &'a mut [T], layout: &Layout, pixels: usize) -> Vec<&'a mut [T]> {
    let pictures = maps.len() / (layout.channels() * pixels);
    let mut groups = Vec::with_capacity(pictures * layout.classes());
    for _ in 0..pictures {
        for class in 0..layout.classes() {
            let (group, rest) = maps.split_at_mut(layout.xi(class) * pixels);
            groups.push(group);
            maps = rest;
        }
    }
    groups
}
