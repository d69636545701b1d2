//! Rectifiers, alone and after an addition. Their gradient is 0 at the kinks, as in `PyTorch`.
#![allow(unsafe_code)] // Results are written by parallel tasks before anyone reads them.

use std::mem::MaybeUninit;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::activation::{Activation, clamped, passed};
use super::simd::widest;
use super::storage::{CHUNK, Real, by_float, check_floats, fresh, on_cuda, stored, values, written};
use super::tape::{apply1, apply2, tracks};

/// `max(x, 0)`; the gradient at 0 is 0.
///
/// `x`: any shape, f32 or f64; result: the same.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    rectified("relu", x, Activation::Relu)
}

/// `min(max(x, 0), 6)`; the gradient at both bounds is 0.
///
/// `x`: any shape, f32 or f64; result: the same.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn relu6(x: &Tensor) -> Result<Tensor> {
    rectified("relu6", x, Activation::Relu6)
}

fn rectified(name: &'static str, x: &Tensor, activation: Activation) -> Result<Tensor> {
    check_floats(name, &[x])?;
    on_cuda!(x, super::cuda::rectified(name, x, activation));
    apply1(&x.contiguous()?, Rectifier { name, activation })
}

/// `max(a + b, 0)`: the end of a residual block, in one pass.
///
/// `a`, `b`: equal shapes, both f32 or both f64; result: the same. The gradient at 0 is 0.
///
/// # Errors
/// Shapes or types differ, or are not f32 or f64.
pub fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    sum("add_relu", a, b, Activation::Relu)
}

/// `a + b`: the end of a residual block without activation.
///
/// `a`, `b`: equal shapes, both f32 or both f64; result: the same.
///
/// # Errors
/// As [`add_relu`].
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    sum("add", a, b, Activation::None)
}

fn sum(name: &'static str, a: &Tensor, b: &Tensor, activation: Activation) -> Result<Tensor> {
    check_floats(name, &[a, b])?;
    if a.dims() != b.dims() {
        bail!("{name}: the terms are {:?} and {:?}, expected equal shapes", a.dims(), b.dims());
    }
    on_cuda!(a, super::cuda::add(name, a, b, activation));
    apply2([&a.contiguous()?, &b.contiguous()?], Sum { name, activation })
}

struct Rectifier {
    name: &'static str,
    activation: Activation,
}

impl CustomOp1 for Rectifier {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = by_float!(x.dtype(), T => {
            let x = values::<T>(x, layout)?;
            let bounds = self.activation.bounds::<T>();
            let mut y = fresh(x.len());
            y.par_chunks_mut(CHUNK)
                .zip(x.par_chunks(CHUNK))
                .for_each(|(y, x)| write_clamped(y, x, bounds));
            // SAFETY: the tasks wrote all chunks.
            T::to_cpu_storage_owned(unsafe { written(y) })
        });
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        by_float!(y.dtype(), T => masked(y, dy, self.activation.bounds::<T>())).map(Some)
    }
}

struct Sum {
    name: &'static str,
    activation: Activation,
}

impl CustomOp2 for Sum {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = by_float!(a.dtype(), T => {
            let (a, b) = (values::<T>(a, a_layout)?, values::<T>(b, b_layout)?);
            let bounds = self.activation.bounds::<T>();
            let mut y = fresh(a.len());
            y.par_chunks_mut(CHUNK)
                .zip(a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)))
                .for_each(|(y, (a, b))| write_sum(y, a, b, bounds));
            // SAFETY: the tasks wrote all chunks.
            T::to_cpu_storage_owned(unsafe { written(y) })
        });
        Ok((y, a_layout.shape().clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = match self.activation {
            Activation::None => dy.clone(),
            act => by_float!(y.dtype(), T => masked(y, dy, act.bounds::<T>()))?,
        };
        Ok((tracks(a).then(|| dx.clone()), tracks(b).then_some(dx)))
    }
}

/// `dy` where `y` is strictly between the bounds.
fn masked<T: Real>(y: &Tensor, dy: &Tensor, bounds: (T, T)) -> Result<Tensor> {
    let dy = dy.contiguous()?;
    let dx = {
        let (y_storage, y_layout) = y.storage_and_layout();
        let (dy_storage, dy_layout) = dy.storage_and_layout();
        let y = stored::<T>(&y_storage, y_layout)?;
        let dy = stored::<T>(&dy_storage, dy_layout)?;
        assert_eq!(y.len(), dy.len(), "a gradient of another size than its value");
        let mut dx = fresh(y.len());
        dx.par_chunks_mut(CHUNK)
            .zip(y.par_chunks(CHUNK).zip(dy.par_chunks(CHUNK)))
            .for_each(|(dx, (y, dy))| write_passed(dx, dy, y, bounds));
        // SAFETY: the tasks wrote all chunks.
        unsafe { written(dx) }
    };
    Tensor::from_vec(dx, y.shape(), y.device())
}

widest! {
    fn write_clamped<T>(y: &mut [MaybeUninit<T>], x: &[T], bounds: (T, T)) {
        for (y, x) in y.iter_mut().zip(x) {
            y.write(clamped(*x, bounds));
        }
    }
}

widest! {
    fn write_sum<T>(y: &mut [MaybeUninit<T>], a: &[T], b: &[T], bounds: (T, T)) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            y.write(clamped(*a + *b, bounds));
        }
    }
}

widest! {
    fn write_passed<T>(dx: &mut [MaybeUninit<T>], dy: &[T], y: &[T], bounds: (T, T)) {
        for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
            dx.write(passed(*dy, *y, bounds));
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::super::reference::{check_gradients, random};
    use super::*;

    fn var(values: &[f32]) -> Var {
        Var::new(values, &Device::Cpu).unwrap()
    }

    fn gradient(y: &Tensor, x: &Var) -> Vec<f32> {
        let gradients = y.sum_all().unwrap().backward().unwrap();
        gradients.get(x).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_gradient_is_zero_at_the_kinks() {
        let x = var(&[-1.0, 0.0, 0.5, 6.0, 7.0]);
        assert_eq!(gradient(&relu(&x).unwrap(), &x), [0.0, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!(gradient(&relu6(&x).unwrap(), &x), [0.0, 0.0, 1.0, 0.0, 0.0]);
        let y = relu6(&x).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(y, [0.0, 0.0, 0.5, 6.0, 6.0]);
    }

    #[test]
    fn not_a_number_is_not_hidden() {
        let x = var(&[f32::NAN]);
        assert!(relu(&x).unwrap().to_vec1::<f32>().unwrap()[0].is_nan());
        assert!(relu6(&x).unwrap().to_vec1::<f32>().unwrap()[0].is_nan());
    }

    #[test]
    fn add_relu_hands_its_gradient_to_both_terms() {
        let (a, b) = (var(&[1.0, -3.0, 2.0]), var(&[1.0, 1.0, -2.0]));
        let y = add_relu(&a, &b).unwrap();
        assert_eq!(y.to_vec1::<f32>().unwrap(), [2.0, 0.0, 0.0]);
        assert_eq!(gradient(&y, &a), [1.0, 0.0, 0.0]);
        assert_eq!(gradient(&y, &b), [1.0, 0.0, 0.0]);
        let (a, b) = (random(1, &[2, 3, 5, 4]), random(2, &[2, 3, 5, 4]));
        check_gradients(&[a, b], |x| add_relu(&x[0], &x[1]));
    }

    #[test]
    fn a_strided_input_is_rectified_in_its_own_order() {
        let x = random(3, &[4, 5]).transpose(0, 1).unwrap();
        let y = relu(&x).unwrap().to_vec2::<f64>().unwrap();
        let x = x.to_vec2::<f64>().unwrap();
        let expected: Vec<Vec<f64>> =
            x.iter().map(|row| row.iter().map(|value| value.max(0.0)).collect()).collect();
        assert_eq!(y, expected);
    }

    #[test]
    fn wrong_types_and_shapes_are_errors() {
        let whole = Tensor::zeros(3, candle_core::DType::U32, &Device::Cpu).unwrap();
        assert!(relu(&whole).unwrap_err().to_string().contains("U32"));
        let error = add_relu(&random(1, &[2, 3]), &random(1, &[3, 2])).unwrap_err();
        assert!(error.to_string().contains("[2, 3] and [3, 2]"), "{error}");
    }
}
