//! Pooling with the gradients candle gets wrong or lacks: any kernel, stride, odd sizes.
#![allow(unsafe_code)] // Results are written by parallel tasks before anyone reads them.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::simd::widest;
use super::storage::{Real, by_float, check_floats, fresh, on_cuda, picture_dims, stored, values, written};
use super::tape::apply1;
use super::window::{Phases, SLACK, Window, fill_phases};

/// The largest value under a square window; padding is smaller than any value.
///
/// `x`: `[B, C, H, W]`, f32 or f64; `padding`: top, left, bottom, right; result: `[B, C, H', W']`
/// with `H' = floor((H + top + bottom - kernel) / stride) + 1`. The gradient goes to the first
/// maximum in reading order. A NaN under the window is its maximum.
///
/// # Errors
/// Other ranks or types, empty tensors, a kernel larger than the padded picture, padding not
/// smaller than the kernel (some window would see nothing), a kernel or stride of zero.
pub fn max_pool(x: &Tensor, kernel: usize, stride: usize, padding: [usize; 4]) -> Result<Tensor> {
    let window = checked_window("max_pool", x, kernel, stride, padding)?;
    if padding.iter().any(|side| *side >= kernel) {
        bail!("max_pool: padding {padding:?} must be smaller than the kernel {kernel} on every side");
    }
    on_cuda!(x, super::cuda::max_pool(x, window));
    let winners = OnceLock::new();
    apply1(&x.contiguous()?, MaxPool { window, winners })
}

/// The mean under a square window that never leaves the picture.
///
/// `x`: `[B, C, H, W]`, f32 or f64; result: `[B, C, H', W']` with `H' = floor((H - kernel) /
/// stride) + 1`.
///
/// # Errors
/// Other ranks or types, empty tensors, a kernel larger than the picture, a kernel or stride of
/// zero.
pub fn avg_pool(x: &Tensor, kernel: usize, stride: usize) -> Result<Tensor> {
    let window = checked_window("avg_pool", x, kernel, stride, [0; 4])?;
    on_cuda!(x, super::cuda::avg_pool(x, window));
    apply1(&x.contiguous()?, AvgPool { window })
}

/// Global average pooling: the mean of every map.
///
/// `x`: `[B, C, H, W]`, f32 or f64; result: `[B, C]`, on a GPU f32 whatever `x` is.
///
/// # Errors
/// Other ranks or types, empty tensors.
pub fn gap(x: &Tensor) -> Result<Tensor> {
    let [_, _, height, width] = picture_dims("gap", x)?;
    check_floats("gap", &[x])?;
    on_cuda!(x, super::cuda::gap(x));
    let area = height * width;
    apply1(&x.contiguous()?, Gap { area })
}

fn checked_window(
    name: &str,
    x: &Tensor,
    kernel: usize,
    stride: usize,
    padding: [usize; 4],
) -> Result<Window> {
    let [_, _, height, width] = picture_dims(name, x)?;
    check_floats(name, &[x])?;
    Window::new(name, [height, width], [kernel; 2], stride, padding)
}

impl Window {
    /// The input rows (axis 0) or columns (axis 1) under the window at a position.
    fn under(&self, axis: usize, position: usize) -> Range<usize> {
        let start = position * self.stride;
        let before = self.padding[axis];
        let end = (start + self.kernel[axis]).saturating_sub(before);
        start.saturating_sub(before)..end.min(self.input[axis])
    }

    /// The shape of `x` with planes of the output's size.
    fn output_shape(&self, x: &Layout) -> Shape {
        let [height, width] = self.output;
        Shape::from((x.dims()[0], x.dims()[1], height, width))
    }
}

struct MaxPool {
    window: Window,
    /// Which kernel tap found every output's maximum; left by the forward pass.
    winners: OnceLock<Vec<u32>>,
}

impl MaxPool {
    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        let window = &self.window;
        let (area, positions) = (window.area(), window.positions());
        let len = x.len() / area * positions;
        let (mut y, mut winners) = (fresh(len), vec![0; len]);
        let phases = Phases::of(window, 0..window.output[0]);
        let offsets = phases.offsets();
        let run = phases.run();
        y.par_chunks_mut(positions)
            .zip(winners.par_chunks_mut(positions))
            .zip(x.par_chunks(area))
            .for_each_init(
                || vec![0; run],
                |taps, ((y, winners), x)| {
                    let room = [phases.len() + SLACK, run];
                    T::with_scratch(room.iter().sum(), |scratch| {
                        let (plane, maxima) = scratch.split_at_mut(room[0]);
                        fill_phases(&phases, x, T::NEG_INFINITY, plane);
                        find_maxima(plane, &offsets, maxima, taps);
                        phases.take_rows(maxima, y, |y, value| {
                            y.write(value);
                        });
                        phases.take_rows(taps, winners, |winner, tap| *winner = tap);
                    });
                },
            );
        // A second run of the same operation would find the same winners.
        let _ = self.winners.set(winners);
        // SAFETY: the tasks wrote all planes.
        unsafe { written(y) }
    }

    fn backward<T: Real>(&self, dy: &[T], len: usize) -> Result<Vec<T>> {
        let Some(winners) = self.winners.get() else {
            bail!("max_pool: backward before forward");
        };
        let positions = self.window.positions();
        let mut dx = vec![T::zero(); len];
        dx.par_chunks_mut(self.window.area())
            .zip(winners.par_chunks(positions).zip(dy.par_chunks(positions)))
            .for_each(|(dx, (winners, dy))| self.add_to_winners(dx, winners, dy));
        Ok(dx)
    }

    fn add_to_winners<T: Real>(&self, dx: &mut [T], winners: &[u32], dy: &[T]) {
        let Window { input, kernel, stride, padding, output } = self.window;
        let [top, left, ..] = padding;
        let rows = winners.chunks_exact(output[1]).zip(dy.chunks_exact(output[1]));
        for (row, (winners, dy)) in rows.enumerate() {
            for (column, (winner, dy)) in winners.iter().zip(dy).enumerate() {
                let tap = *winner as usize;
                // Padding wins only against negative infinity: then the first pixel stands for it.
                let line = (row * stride + tap / kernel[1]).saturating_sub(top);
                let pixel = (column * stride + tap % kernel[1]).saturating_sub(left);
                dx[line * input[1] + pixel] += *dy;
            }
        }
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = by_float!(x.dtype(), T => {
            T::to_cpu_storage_owned(self.forward(values::<T>(x, layout)?))
        });
        Ok((y, self.window.output_shape(layout)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        by_float!(x.dtype(), T => gradient_of(x, dy, |dy: &[T]| self.backward(dy, x.elem_count())))
    }
}

widest! {
    /// The first maximum under every window of a run, and the tap that found it.
    fn find_maxima<T>(plane: &[T], offsets: &[usize], maxima: &mut [T], taps: &mut [u32]) {
        maxima.copy_from_slice(&plane[offsets[0]..][..maxima.len()]);
        taps.fill(0);
        for (tap, offset) in offsets.iter().enumerate().skip(1) {
            let under = &plane[*offset..];
            for ((maximum, winner), value) in maxima.iter_mut().zip(&mut *taps).zip(under) {
                // Not a mere maximum: NaN wins, and stays.
                #[allow(clippy::eq_op)]
                let wins = *value > *maximum || *value != *value;
                *maximum = if wins { *value } else { *maximum };
                *winner = if wins { tap as u32 } else { *winner };
            }
        }
    }
}

struct AvgPool {
    window: Window,
}

impl AvgPool {
    fn share<T: Real>(&self) -> T {
        T::from_f64(1.0 / self.window.taps() as f64)
    }

    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        let window = &self.window;
        let (area, positions) = (window.area(), window.positions());
        let mut y = fresh(x.len() / area * positions);
        y.par_chunks_mut(positions)
            .zip(x.par_chunks(area))
            .for_each(|(y, x)| write_means(window, x, self.share(), y));
        // SAFETY: the tasks wrote all planes.
        unsafe { written(y) }
    }

    fn backward<T: Real>(&self, dy: &[T], len: usize) -> Vec<T> {
        let window = &self.window;
        let mut dx = vec![T::zero(); len];
        dx.par_chunks_mut(window.area())
            .zip(dy.par_chunks(window.positions()))
            .for_each(|(dx, dy)| spread_shares(window, dy, self.share(), dx));
        dx
    }
}

impl CustomOp1 for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = by_float!(x.dtype(), T => {
            T::to_cpu_storage_owned(self.forward(values::<T>(x, layout)?))
        });
        Ok((y, self.window.output_shape(layout)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        by_float!(x.dtype(), T => {
            gradient_of(x, dy, |dy: &[T]| Ok(self.backward(dy, x.elem_count())))
        })
    }
}

fn write_means<T: Real>(window: &Window, x: &[T], share: T, y: &mut [MaybeUninit<T>]) {
    for (row, y) in y.chunks_exact_mut(window.output[1]).enumerate() {
        for (column, y) in y.iter_mut().enumerate() {
            let mut sum = T::zero();
            for line in window.under(0, row) {
                let under = window.under(1, column);
                for value in &x[line * window.input[1]..][under] {
                    sum += *value;
                }
            }
            y.write(sum * share);
        }
    }
}

fn spread_shares<T: Real>(window: &Window, dy: &[T], share: T, dx: &mut [T]) {
    for (row, dy) in dy.chunks_exact(window.output[1]).enumerate() {
        for (column, dy) in dy.iter().enumerate() {
            for line in window.under(0, row) {
                let under = window.under(1, column);
                for dx in &mut dx[line * window.input[1]..][under] {
                    *dx += *dy * share;
                }
            }
        }
    }
}

struct Gap {
    area: usize,
}

impl CustomOp1 for Gap {
    fn name(&self) -> &'static str {
        "gap"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = by_float!(x.dtype(), T => {
            let planes = values::<T>(x, layout)?.par_chunks(self.area);
            T::to_cpu_storage_owned(planes.map(mean).collect())
        });
        Ok((y, Shape::from((layout.dims()[0], layout.dims()[1]))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        by_float!(x.dtype(), T => gradient_of(x, dy, |dy: &[T]| {
            let share = T::from_f64(1.0 / self.area as f64);
            let mut dx = fresh(x.elem_count());
            dx.par_chunks_mut(self.area)
                .zip(dy)
                .for_each(|(dx, dy)| dx.fill(MaybeUninit::new(*dy * share)));
            // SAFETY: the tasks wrote all planes.
            Ok(unsafe { written(dx) })
        }))
    }
}

/// Mean of a plane, in lanes of its own type.
fn mean<T: Real>(plane: &[T]) -> T {
    let mut lanes = [T::zero(); 16];
    for values in plane.chunks(lanes.len()) {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += *value;
        }
    }
    let sum: f64 = lanes.into_iter().map(WithDType::to_f64).sum();
    T::from_f64(sum / plane.len() as f64)
}

/// The gradient of `x` that `run` makes from the values of `dy`.
fn gradient_of<T: Real>(
    x: &Tensor,
    dy: &Tensor,
    run: impl FnOnce(&[T]) -> Result<Vec<T>>,
) -> Result<Option<Tensor>> {
    let dy = dy.contiguous()?;
    let dx = {
        let (storage, layout) = dy.storage_and_layout();
        run(stored(&storage, layout)?)?
    };
    Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::super::reference::{check_gradients, close, flat, random};
    use super::*;

    /// Each output plane from the values under its windows, in reading order.
    fn naive(x: &Tensor, window: &Window, run: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let values = flat(x);
        let mut out = Vec::new();
        for plane in values.chunks(window.area()) {
            for row in 0..window.output[0] {
                for column in 0..window.output[1] {
                    let mut under = Vec::new();
                    for line in window.under(0, row) {
                        under.extend(&plane[line * window.input[1]..][window.under(1, column)]);
                    }
                    out.push(run(&under));
                }
            }
        }
        out
    }

    #[test]
    fn max_pool_and_its_gradient_agree_with_the_definition() {
        for (size, kernel, stride, padding) in [
            ([8, 8], 2, 2, [0; 4]),
            ([7, 7], 2, 2, [0; 4]),
            ([9, 12], 3, 2, [1; 4]),
            ([5, 6], 3, 1, [1, 0, 2, 1]),
            ([4, 7], 2, 3, [0, 1, 1, 0]),
            ([1, 1], 3, 2, [1; 4]),
        ] {
            let x = random(1, &[2, 3, size[0], size[1]]);
            let window = Window::new("test", size, [kernel; 2], stride, padding).unwrap();
            let largest = |under: &[f64]| under.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let y = max_pool(&x, kernel, stride, padding).unwrap();
            assert_eq!(y.dims(), [2, 3, window.output[0], window.output[1]]);
            close(&flat(&y), &naive(&x, &window, largest), 0.0);
            check_gradients(&[x], |x| max_pool(&x[0], kernel, stride, padding));
        }
    }

    #[test]
    fn the_first_of_equal_maxima_takes_the_gradient() {
        let x = Var::zeros((1, 1, 4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let y = max_pool(&x, 2, 2, [0; 4]).unwrap().sum_all().unwrap();
        let gradient = flat(y.backward().unwrap().get(&x).unwrap());
        let expected = [1., 0., 1., 0., 0., 0., 0., 0., 1., 0., 1., 0., 0., 0., 0., 0.];
        close(&gradient, &expected, 0.0);
    }

    #[test]
    fn negative_values_beat_padding() {
        let x = Tensor::full(-5f32, (1, 1, 3, 3), &Device::Cpu).unwrap();
        let y = max_pool(&x, 3, 2, [1; 4]).unwrap();
        close(&flat(&y), &[-5.0; 4], 0.0);
    }

    #[test]
    fn not_a_number_is_a_maximum() {
        let x = Tensor::new(&[[[[1f32, f32::NAN], [7.0, 2.0]]]], &Device::Cpu).unwrap();
        assert!(flat(&max_pool(&x, 2, 2, [0; 4]).unwrap())[0].is_nan());
    }

    #[test]
    fn avg_pool_and_its_gradient_agree_with_the_definition() {
        for (size, kernel, stride) in [([8, 8], 2, 2), ([7, 9], 2, 2), ([9, 7], 3, 2), ([6, 5], 2, 3)] {
            let x = random(2, &[2, 3, size[0], size[1]]);
            let window = Window::new("test", size, [kernel; 2], stride, [0; 4]).unwrap();
            let mean = |under: &[f64]| under.iter().sum::<f64>() / under.len() as f64;
            let y = avg_pool(&x, kernel, stride).unwrap();
            close(&flat(&y), &naive(&x, &window, mean), 1e-14);
            check_gradients(&[x], |x| avg_pool(&x[0], kernel, stride));
        }
    }

    #[test]
    fn gap_is_the_mean_of_every_map() {
        let x = random(3, &[2, 3, 5, 7]);
        let y = gap(&x).unwrap();
        assert_eq!(y.dims(), [2, 3]);
        let expected: Vec<f64> = flat(&x).chunks(35).map(|map| map.iter().sum::<f64>() / 35.0).collect();
        close(&flat(&y), &expected, 1e-14);
        check_gradients(&[x], |x| gap(&x[0]));
    }

    #[test]
    fn impossible_windows_are_errors() {
        let x = random(1, &[1, 1, 3, 3]);
        let message = |result: Result<Tensor>| result.unwrap_err().to_string();
        assert!(message(max_pool(&x, 5, 1, [0; 4])).contains("larger than the padded input"));
        assert!(message(max_pool(&x, 2, 1, [2, 0, 0, 0])).contains("smaller than the kernel"));
        assert!(message(max_pool(&x, 0, 1, [0; 4])).contains("at least 1"));
        assert!(message(avg_pool(&x, 2, 0)).contains("at least 1"));
        assert!(message(avg_pool(&x, 4, 1)).contains("larger than the padded input"));
        assert!(message(gap(&random(1, &[2, 0, 3, 3]))).contains("empty"));
        assert!(message(gap(&random(1, &[2, 3]))).contains("expected [B, C, H, W]"));
    }
}
