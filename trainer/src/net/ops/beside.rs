//! Maps of two strides as one: the coarser ones repeated to the cells of the finer, channels one after the other.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use super::levels::Levels;
use super::storage::{Real, by_float, check_floats, on_cuda, stored, values};
use super::tape::apply2;

/// `x`, and after its channels those of `deep`, each value repeated over the cells of `x` that it covers.
///
/// `x`: `[B, C, H, W]`, `deep`: `[B, K, h, w]` of the same type, f32 or f64, `h` and `w` dividing `H` and `W`; result:
/// `[B, C + K, H, W]`.
///
/// # Errors
/// Other ranks, types or batches, empty tensors, sides that do not divide.
pub fn beside(x: &Tensor, deep: &Tensor) -> Result<Tensor> {
    let levels = Levels::of(x, deep)?;
    check_floats("beside", &[x, deep])?;
    on_cuda!(x, super::cuda::beside(x, deep, levels));
    apply2([&x.contiguous()?, &deep.contiguous()?], Beside { levels })
}

struct Beside {
    levels: Levels,
}

impl Beside {
    fn forward<T: Real>(&self, x: &[T], deep: &[T]) -> Vec<T> {
        let ([fine, coarse, both], [fine_area, coarse_area]) = (self.levels.values(), self.levels.areas());
        let mut y = vec![T::zero(); self.levels.batch * both];
        y.par_chunks_mut(both).zip(x.par_chunks(fine)).zip(deep.par_chunks(coarse)).for_each(
            |((y, x), deep)| {
                let (own, repeated) = y.split_at_mut(fine);
                own.copy_from_slice(x);
                for (y, deep) in repeated.chunks_exact_mut(fine_area).zip(deep.chunks_exact(coarse_area)) {
                    for (y, cell) in y.iter_mut().zip(self.levels.covering()) {
                        *y = deep[cell];
                    }
                }
            },
        );
        y
    }

    fn backward<T: Real>(&self, dy: &[T]) -> [Vec<T>; 2] {
        let ([fine, coarse, both], [fine_area, coarse_area]) = (self.levels.values(), self.levels.areas());
        let mut dx = vec![T::zero(); self.levels.batch * fine];
        let mut ddeep = vec![T::zero(); self.levels.batch * coarse];
        dx.par_chunks_mut(fine).zip(ddeep.par_chunks_mut(coarse)).zip(dy.par_chunks(both)).for_each(
            |((dx, ddeep), dy)| {
                let (own, repeated) = dy.split_at(fine);
                dx.copy_from_slice(own);
                for (ddeep, dy) in ddeep.chunks_exact_mut(coarse_area).zip(repeated.chunks_exact(fine_area)) {
                    for (dy, cell) in dy.iter().zip(self.levels.covering()) {
                        ddeep[cell] += *dy;
                    }
                }
            },
        );
        [dx, ddeep]
    }
}

impl CustomOp2 for Beside {
    fn name(&self) -> &'static str {
        "beside"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        deep: &CpuStorage,
        deep_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = by_float!(x.dtype(), T => {
            T::to_cpu_storage_owned(self.forward(values::<T>(x, x_layout)?, values::<T>(deep, deep_layout)?))
        });
        let Levels { batch, channels: [fine, coarse], cells, factor } = self.levels;
        Ok((y, Shape::from((batch, fine + coarse, cells[0] * factor[0], cells[1] * factor[1]))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        deep: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (storage, layout) = dy.storage_and_layout();
        by_float!(x.dtype(), T => {
            let [dx, ddeep] = self.backward(stored::<T>(&storage, layout)?);
            let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
            Ok((Some(dx), Some(Tensor::from_vec(ddeep, deep.shape(), x.device())?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{check_gradients, close, flat, random};
    use super::*;

    #[test]
    fn coarser_maps_are_repeated_after_the_finer_channels() {
        for (fine, coarse) in
            [([2, 3, 4, 6], [2, 2, 2, 3]), ([1, 1, 6, 4], [1, 3, 2, 4]), ([2, 2, 3, 5], [2, 1, 3, 5])]
        {
            let (x, deep) = (random(1, &fine), random(2, &coarse));
            let y = beside(&x, &deep).unwrap();
            assert_eq!(y.dims(), [fine[0], fine[1] + coarse[1], fine[2], fine[3]]);
            close(&flat(&y.narrow(1, 0, fine[1]).unwrap()), &flat(&x), 0.0);
            let repeated = y.narrow(1, fine[1], coarse[1]).unwrap();
            let expected = deep.upsample_nearest2d(fine[2], fine[3]).unwrap();
            close(&flat(&repeated), &flat(&expected), 0.0);
            check_gradients(&[x, deep], |x| beside(&x[0], &x[1]));
        }
    }

    #[test]
    fn maps_that_do_not_fit_are_errors() {
        let message = |fine: &[usize], coarse: &[usize]| {
            beside(&random(1, fine), &random(2, coarse)).unwrap_err().to_string()
        };
        assert!(message(&[1, 2, 13, 13], &[1, 2, 7, 7]).contains("sides that divide"));
        assert!(message(&[2, 2, 4, 4], &[1, 2, 2, 2]).contains("one batch"));
        assert!(message(&[2, 2, 4], &[1, 2, 2, 2]).contains("expected [B, C, H, W]"));
    }
}
