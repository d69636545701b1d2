//! Batch normalisation of a training step, with the activation behind it in the same pass.
#![allow(unsafe_code)] // A channel's planes are written by one task, but do not lie side by side.

use std::mem::MaybeUninit;
use std::sync::{Arc, OnceLock};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::activation::{Activation, clamped, passed};
use super::norm_output::BatchNormOutput;
use super::simd::widest;
use super::storage::{
    Pieces, Real, by_float, check_floats, fresh, on_cuda, picture_dims, stored, values, written,
};
use super::sums::Sums;
use super::tape::{apply3, tracks};

/// Batch normalisation by the batch's own statistics, then the activation (Ioffe and Szegedy 2015):
/// `y = act(gamma (x - mean) / sqrt(var + eps) + beta)`.
///
/// `x`: `[B, C, H, W]`; `gamma`, `beta`: `[C]`; all f32 or all f64.
///
/// # Errors
/// Other ranks or types, empty tensors, one value a channel (its variance is not defined).
pub fn batch_norm_train(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    act: Activation,
) -> Result<BatchNormOutput> {
    let [batch, channels, height, width] = picture_dims("batch_norm_train", x)?;
    check_floats("batch_norm_train", &[x, gamma, beta])?;
    check_channels("batch_norm_train", x, &[("gamma", gamma), ("beta", beta)])?;
    let count = batch * height * width;
    if count == 1 {
        bail!(
            "batch_norm_train: {:?} has one value a channel, whose variance is not defined; use \
             larger batches or pictures, and drop a last batch of one",
            x.dims()
        );
    }
    on_cuda!(x, super::cuda::batch_norm_train(x, gamma, beta, eps, act));
    let op = BatchNorm { batch, channels, area: height * width, eps, act, statistics: Arc::default() };
    let statistics = op.statistics.clone();
    let y = apply3([&x.contiguous()?, &gamma.contiguous()?, &beta.contiguous()?], op)?;
    let Some(Statistics { mean, var, .. }) = statistics.get() else {
        bail!("batch_norm_train left no statistics");
    };
    let correction = count as f64 / (count - 1) as f64;
    let var_unbiased: Vec<f64> = var.iter().map(|var| var * correction).collect();
    let tensor = |values: &[f64]| Tensor::from_slice(values, channels, x.device())?.to_dtype(x.dtype());
    Ok(BatchNormOutput { y, mean: tensor(mean)?, var: tensor(var)?, var_unbiased: tensor(&var_unbiased)? })
}

/// Refuses parameters that are not one value for each channel of `x`.
pub(super) fn check_channels(name: &str, x: &Tensor, parameters: &[(&str, &Tensor)]) -> Result<()> {
    let channels = x.dims()[1];
    for (parameter, tensor) in parameters {
        if tensor.dims() != [channels] {
            bail!(
                "{name}: {parameter} is {:?}, expected [{channels}] as the input {:?} has channels",
                tensor.dims(),
                x.dims()
            );
        }
    }
    Ok(())
}

/// A batch's own statistics, one value a channel.
struct Statistics {
    mean: Vec<f64>,
    /// Biased.
    var: Vec<f64>,
}

struct BatchNorm {
    batch: usize,
    channels: usize,
    area: usize,
    eps: f64,
    act: Activation,
    /// Left by the forward pass.
    statistics: Arc<OnceLock<Statistics>>,
}

impl BatchNorm {
    /// Where a channel's planes start.
    fn planes(&self, channel: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let (channels, area) = (self.channels, self.area);
        (0..self.batch).map(move |picture| (picture * channels + channel) * area)
    }

    fn count(&self) -> f64 {
        (self.batch * self.area) as f64
    }

    /// `1 / sqrt(var + eps)`.
    fn inverse_deviation(&self, var: f64) -> f64 {
        1.0 / (var + self.eps).sqrt()
    }

    /// Scale and shift that normalise a channel: `y = act(scale x + shift)`.
    fn line<T: Real>(&self, mean: f64, var: f64, gamma: T, beta: T) -> (T, T) {
        let scale = gamma.to_f64() * self.inverse_deviation(var);
        (T::from_f64(scale), T::from_f64(beta.to_f64() - mean * scale))
    }

    fn forward<T: Real>(&self, x: &[T], gamma: &[T], beta: &[T]) -> Vec<T> {
        let mut y = fresh(x.len());
        let planes = Pieces::of(&mut y, self.area);
        let (mean, var) = (0..self.channels)
            .into_par_iter()
            .map(|channel| {
                let (mean, var) = moments(x, self, channel);
                let line = self.line(mean, var, gamma[channel], beta[channel]);
                write_line(x, &planes, self, channel, line);
                (mean, var)
            })
            .unzip();
        // A second run of the same operation would find the same statistics.
        let _ = self.statistics.set(Statistics { mean, var });
        // SAFETY: the tasks wrote all channels' planes.
        unsafe { written(y) }
    }

    fn backward<T: Real>(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let Some(statistics) = self.statistics.get() else {
            bail!("batch_norm_train: backward before forward");
        };
        let dy = dy.contiguous()?;
        let (dx, dgamma, dbeta) = {
            let (x_storage, x_layout) = x.storage_and_layout();
            let (gamma_storage, gamma_layout) = gamma.storage_and_layout();
            let (beta_storage, beta_layout) = beta.storage_and_layout();
            let (dy_storage, dy_layout) = dy.storage_and_layout();
            let x = stored::<T>(&x_storage, x_layout)?;
            let gamma = stored::<T>(&gamma_storage, gamma_layout)?;
            let beta = stored::<T>(&beta_storage, beta_layout)?;
            let dy = stored::<T>(&dy_storage, dy_layout)?;
            let mut dx = fresh(x.len());
            let planes = Pieces::of(&mut dx, self.area);
            let (dgamma, dbeta): (Vec<T>, Vec<T>) = (0..self.channels)
                .into_par_iter()
                .map(|channel| {
                    let (mean, var) = (statistics.mean[channel], statistics.var[channel]);
                    let line = self.line(mean, var, gamma[channel], beta[channel]);
                    let [sum, product] = gradient_sums(x, dy, self, channel, line, mean);
                    let inverse = self.inverse_deviation(var);
                    let slope = product * inverse * inverse / self.count();
                    let terms = [sum / self.count(), mean, slope].map(T::from_f64);
                    write_gradient(x, dy, &planes, self, channel, line, terms);
                    (T::from_f64(product * inverse), T::from_f64(sum))
                })
                .unzip();
            // SAFETY: the tasks wrote all channels' planes.
            (unsafe { written(dx) }, dgamma, dbeta)
        };
        Ok([
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(dgamma, gamma.shape(), x.device())?),
            Some(Tensor::from_vec(dbeta, beta.shape(), x.device())?),
        ])
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm_train"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        beta: &CpuStorage,
        beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = by_float!(x.dtype(), T => {
            let x = values::<T>(x, x_layout)?;
            let gamma = values::<T>(gamma, gamma_layout)?;
            let beta = values::<T>(beta, beta_layout)?;
            T::to_cpu_storage_owned(self.forward(x, gamma, beta))
        });
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dgamma, dbeta] = by_float!(x.dtype(), T => self.backward::<T>(x, gamma, beta, dy))?;
        Ok((dx.filter(|_| tracks(x)), dgamma.filter(|_| tracks(gamma)), dbeta.filter(|_| tracks(beta))))
    }
}

widest! {
    /// Mean and biased variance of a channel, in two passes: squares of values far from zero would
    /// cancel in one.
    fn moments<T>(x: &[T], norm: &BatchNorm, channel: usize) -> (f64, f64) {
        let mut sums = Sums::new();
        for start in norm.planes(channel) {
            let x = &x[start..start + norm.area];
            sums.add(x, x, |x, _| [x]);
        }
        let mean = sums.totals()[0] / norm.count();
        let (centre, mut squares) = (T::from_f64(mean), Sums::new());
        for start in norm.planes(channel) {
            let x = &x[start..start + norm.area];
            squares.add(x, x, |x, _| [(x - centre) * (x - centre)]);
        }
        (mean, squares.totals()[0] / norm.count())
    }
}

widest! {
    /// `y = act(scale x + shift)` for a channel.
    fn write_line<T>(
        x: &[T],
        y: &Pieces<MaybeUninit<T>>,
        norm: &BatchNorm,
        channel: usize,
        line: (T, T),
    ) {
        let ((scale, shift), bounds) = (line, norm.act.bounds::<T>());
        for start in norm.planes(channel) {
            // SAFETY: the caller's task alone has this channel.
            let y = unsafe { y.take(start / norm.area) };
            for (y, x) in y.iter_mut().zip(&x[start..start + norm.area]) {
                y.write(clamped(*x * scale + shift, bounds));
            }
        }
    }
}

widest! {
    /// `sum dz` and `sum dz (x - mean)` of a channel, `dz` being the gradient before the
    /// activation.
    fn gradient_sums<T>(
        x: &[T],
        dy: &[T],
        norm: &BatchNorm,
        channel: usize,
        line: (T, T),
        mean: f64,
    ) -> [f64; 2] {
        let ((scale, shift), bounds) = (line, norm.act.bounds::<T>());
        let centre = T::from_f64(mean);
        let mut sums = Sums::new();
        for start in norm.planes(channel) {
            let x = &x[start..start + norm.area];
            let dy = &dy[start..start + norm.area];
            sums.add(x, dy, |x, dy| {
                // The same expression as forward gives the same bits, so the mask needs no output.
                let dz = passed(dy, x * scale + shift, bounds);
                [dz, dz * (x - centre)]
            });
        }
        sums.totals()
    }
}

widest! {
    /// `dx = scale (dz - offset - slope (x - mean))` for a channel, where `offset` is the mean of
    /// `dz` and `slope` is that of `dz (x - mean)` by the variance.
    fn write_gradient<T>(
        x: &[T],
        dy: &[T],
        dx: &Pieces<MaybeUninit<T>>,
        norm: &BatchNorm,
        channel: usize,
        line: (T, T),
        terms: [T; 3],
    ) {
        let [offset, mean, slope] = terms;
        let ((scale, shift), bounds) = (line, norm.act.bounds::<T>());
        for start in norm.planes(channel) {
            // SAFETY: the caller's task alone has this channel.
            let dx = unsafe { dx.take(start / norm.area) };
            let x = &x[start..start + norm.area];
            let dy = &dy[start..start + norm.area];
            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                let dz = passed(*dy, *x * scale + shift, bounds);
                dx.write(scale * (dz - offset - slope * (*x - mean)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::reference::{check_gradients, close, flat, random};
    use super::*;

    fn parameters(channels: usize) -> (Tensor, Tensor) {
        let gamma = (random(7, &[channels]) + 1.5).unwrap();
        (gamma, random(8, &[channels]))
    }

    #[test]
    fn output_and_statistics_agree_with_the_definition() {
        let shape = [3, 4, 5, 7];
        let x = (random(1, &shape) * 3.0).unwrap();
        let (gamma, beta) = parameters(4);
        let out = batch_norm_train(&x, &gamma, &beta, 1e-5, Activation::Relu6).unwrap();
        let (values, area, count) = (flat(&x), 35, 105.0);
        let (gamma, beta) = (flat(&gamma), flat(&beta));
        for channel in 0..4 {
            let mine: Vec<usize> = (0..values.len()).filter(|index| index / area % 4 == channel).collect();
            let mean = mine.iter().map(|index| values[*index]).sum::<f64>() / count;
            let squares: f64 = mine.iter().map(|index| (values[*index] - mean).powi(2)).sum();
            close(&[flat(&out.mean)[channel]], &[mean], 1e-12);
            close(&[flat(&out.var)[channel]], &[squares / count], 1e-12);
            close(&[flat(&out.var_unbiased)[channel]], &[squares / (count - 1.0)], 1e-12);
            for index in mine {
                let normal = (values[index] - mean) / (squares / count + 1e-5).sqrt();
                let expected = (normal * gamma[channel] + beta[channel]).clamp(0.0, 6.0);
                close(&[flat(&out.y)[index]], &[expected], 1e-12);
            }
        }
    }

    #[test]
    fn gradients_agree_with_differences_for_every_activation() {
        for act in [Activation::None, Activation::Relu, Activation::Relu6] {
            for shape in [[2, 3, 4, 5], [5, 2, 1, 1], [1, 3, 5, 7]] {
                let (gamma, beta) = parameters(shape[1]);
                let x = (random(2, &shape) * 2.0).unwrap();
                check_gradients(&[x, gamma, beta], |x| {
                    Ok(batch_norm_train(&x[0], &x[1], &x[2], 1e-3, act)?.y)
                });
            }
        }
    }

    #[test]
    fn values_far_from_zero_keep_their_variance_in_f32() {
        let x = (random(3, &[4, 2, 16, 16]) + 3000.0).unwrap();
        let exact = flat(&batch_norm_of(&x).var);
        let single = flat(&batch_norm_of(&x.to_dtype(DType::F32).unwrap()).var);
        close(&single, &exact, 1e-3);
    }

    fn batch_norm_of(x: &Tensor) -> BatchNormOutput {
        let ones = Tensor::ones(2, x.dtype(), &Device::Cpu).unwrap();
        batch_norm_train(x, &ones, &ones, 1e-5, Activation::None).unwrap()
    }

    #[test]
    fn statistics_carry_no_gradient() {
        let x = candle_core::Var::from_tensor(&random(4, &[2, 2, 3, 3])).unwrap();
        let out = batch_norm_of(&x);
        assert!(out.y.track_op());
        assert!(!out.mean.track_op() && !out.var.track_op() && !out.var_unbiased.track_op());
    }

    #[test]
    fn wrong_shapes_and_single_values_are_errors() {
        let (gamma, beta) = parameters(3);
        let run = |shape: &[usize]| {
            let out = batch_norm_train(&random(1, shape), &gamma, &beta, 1e-5, Activation::None);
            out.err().map(|error| error.to_string())
        };
        assert!(run(&[2, 4, 3, 3]).unwrap().contains("gamma is [3], expected [4]"));
        assert!(run(&[1, 3, 1, 1]).unwrap().contains("one value a channel"));
        assert!(run(&[2, 3]).unwrap().contains("expected [B, C, H, W]"));
        assert!(run(&[0, 3, 2, 2]).unwrap().contains("empty"));
        assert!(run(&[2, 3, 1, 1]).is_none());
    }
}
