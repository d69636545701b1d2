//! A line a channel: batch normalisation with running statistics, or a convolution's bias.
#![allow(unsafe_code)] // Results are written by parallel tasks before anyone reads them.

use std::mem::MaybeUninit;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use super::activation::{Activation, clamped, passed};
use super::norm::check_channels;
use super::simd::widest;
use super::storage::{Real, by_float, check_floats, fresh, on_cuda, picture_dims, stored, values, written};
use super::sums::Sums;
use super::tape::{apply3, tracks};

/// `y = act(scale x + shift)` with one scale and one shift a channel.
///
/// `x`: `[B, C, H, W]`; `scale`, `shift`: `[C]`; all f32 or all f64; result: as `x`. All three have
/// gradients, those that the graph does not track at no cost.
///
/// # Errors
/// Other ranks or types, empty tensors.
pub fn scale_shift(x: &Tensor, scale: &Tensor, shift: &Tensor, act: Activation) -> Result<Tensor> {
    let [batch, channels, height, width] = picture_dims("scale_shift", x)?;
    check_floats("scale_shift", &[x, scale, shift])?;
    check_channels("scale_shift", x, &[("scale", scale), ("shift", shift)])?;
    on_cuda!(x, super::cuda::scale_shift(x, scale, shift, act));
    let op = ScaleShift { batch, channels, area: height * width, act };
    apply3([&x.contiguous()?, &scale.contiguous()?, &shift.contiguous()?], op)
}

struct ScaleShift {
    batch: usize,
    channels: usize,
    area: usize,
    act: Activation,
}

/// Gradients of x, scale and shift.
type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl ScaleShift {
    fn forward<T: Real>(&self, x: &[T], scale: &[T], shift: &[T]) -> Vec<T> {
        let mut y = fresh(x.len());
        let planes = y.par_chunks_mut(self.area).zip(x.par_chunks(self.area));
        planes.enumerate().for_each(|(index, (y, x))| {
            let channel = index % self.channels;
            write_line(x, y, (scale[channel], shift[channel]), self.act.bounds());
        });
        // SAFETY: the tasks wrote all planes.
        unsafe { written(y) }
    }

    fn backward<T: Real>(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        dy: &Tensor,
    ) -> Result<Gradients> {
        let dy = dy.contiguous()?;
        let need_sums = tracks(scale) || tracks(shift);
        let (dx, sums) = {
            let (x_storage, x_layout) = x.storage_and_layout();
            let (scale_storage, scale_layout) = scale.storage_and_layout();
            let (shift_storage, shift_layout) = shift.storage_and_layout();
            let (dy_storage, dy_layout) = dy.storage_and_layout();
            let values = stored::<T>(&x_storage, x_layout)?;
            let scale = stored::<T>(&scale_storage, scale_layout)?;
            let shift = stored::<T>(&shift_storage, shift_layout)?;
            let dy = stored::<T>(&dy_storage, dy_layout)?;
            let dx = tracks(x).then(|| self.input_gradient(values, scale, shift, dy));
            let sums = need_sums.then(|| self.parameter_gradients(values, scale, shift, dy));
            (dx, sums)
        };
        let (dscale, dshift) = sums.unzip();
        let tensor = |values: Option<Vec<T>>, like: &Tensor| {
            values
                .filter(|_| tracks(like))
                .map(|values| Tensor::from_vec(values, like.shape(), like.device()))
                .transpose()
        };
        Ok((tensor(dx, x)?, tensor(dscale, scale)?, tensor(dshift, shift)?))
    }

    fn input_gradient<T: Real>(&self, x: &[T], scale: &[T], shift: &[T], dy: &[T]) -> Vec<T> {
        let mut dx = fresh(x.len());
        dx.par_chunks_mut(self.area)
            .zip(x.par_chunks(self.area).zip(dy.par_chunks(self.area)))
            .enumerate()
            .for_each(|(index, (dx, (x, dy)))| {
                let channel = index % self.channels;
                let line = (scale[channel], shift[channel]);
                write_gradient(x, dy, dx, line, self.act.bounds());
            });
        // SAFETY: the tasks wrote all planes.
        unsafe { written(dx) }
    }

    fn parameter_gradients<T: Real>(&self, x: &[T], scale: &[T], shift: &[T], dy: &[T]) -> (Vec<T>, Vec<T>) {
        (0..self.channels)
            .into_par_iter()
            .map(|channel| {
                let line = (scale[channel], shift[channel]);
                let planes = (0..self.batch).map(|picture| picture * self.channels + channel);
                let starts = planes.map(|plane| plane * self.area);
                let [dscale, dshift] = gradient_sums(x, dy, starts, self.area, line, self.act.bounds());
                (T::from_f64(dscale), T::from_f64(dshift))
            })
            .unzip()
    }
}

impl CustomOp3 for ScaleShift {
    fn name(&self) -> &'static str {
        "scale_shift"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
        shift: &CpuStorage,
        shift_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = by_float!(x.dtype(), T => {
            let x = values::<T>(x, x_layout)?;
            let scale = values::<T>(scale, scale_layout)?;
            let shift = values::<T>(shift, shift_layout)?;
            T::to_cpu_storage_owned(self.forward(x, scale, shift))
        });
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, scale: &Tensor, shift: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Gradients> {
        by_float!(x.dtype(), T => self.backward::<T>(x, scale, shift, dy))
    }
}

widest! {
    fn write_line<T>(x: &[T], y: &mut [MaybeUninit<T>], line: (T, T), bounds: (T, T)) {
        let (scale, shift) = line;
        for (y, x) in y.iter_mut().zip(x) {
            y.write(clamped(*x * scale + shift, bounds));
        }
    }
}

widest! {
    fn write_gradient<T>(
        x: &[T],
        dy: &[T],
        dx: &mut [MaybeUninit<T>],
        line: (T, T),
        bounds: (T, T),
    ) {
        let (scale, shift) = line;
        for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
            dx.write(scale * passed(*dy, *x * scale + shift, bounds));
        }
    }
}

widest! {
    /// `sum dz x` and `sum dz` of a channel, `dz` being the gradient before the activation.
    fn gradient_sums<T>(
        x: &[T],
        dy: &[T],
        starts: impl Iterator<Item = usize>,
        area: usize,
        line: (T, T),
        bounds: (T, T),
    ) -> [f64; 2] {
        let (scale, shift) = line;
        let mut sums = Sums::new();
        for start in starts {
            sums.add(&x[start..start + area], &dy[start..start + area], |x, dy| {
                let dz = passed(dy, x * scale + shift, bounds);
                [dz * x, dz]
            });
        }
        sums.totals()
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{check_gradients, close, flat, random};
    use super::*;

    #[test]
    fn output_is_a_clamped_line_a_channel() {
        let x = (random(1, &[2, 3, 5, 5]) * 5.0).unwrap();
        let (scale, shift) = (random(2, &[3]), random(3, &[3]));
        let y = scale_shift(&x, &scale, &shift, Activation::Relu).unwrap();
        let (scale, shift) = (flat(&scale), flat(&shift));
        let expected: Vec<f64> = flat(&x)
            .iter()
            .enumerate()
            .map(|(index, x)| (x * scale[index / 25 % 3] + shift[index / 25 % 3]).max(0.0))
            .collect();
        close(&flat(&y), &expected, 1e-14);
    }

    #[test]
    fn all_three_gradients_agree_with_differences() {
        for act in [Activation::None, Activation::Relu, Activation::Relu6] {
            let x = (random(4, &[2, 3, 5, 7]) * 5.0).unwrap();
            let parameters = [x, random(5, &[3]), random(6, &[3])];
            check_gradients(&parameters, |x| scale_shift(&x[0], &x[1], &x[2], act));
        }
    }

    #[test]
    fn parameters_of_another_length_are_an_error() {
        let (x, three, two) = (random(1, &[1, 3, 2, 2]), random(1, &[3]), random(1, &[2]));
        let error = scale_shift(&x, &three, &two, Activation::None).unwrap_err();
        assert!(error.to_string().contains("shift is [2], expected [3]"), "{error}");
    }
}
