//! One step of stochastic gradient descent, in place and in one pass over memory.

use std::sync::Mutex;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

use super::simd::widest;
use super::storage::{CHUNK, Real, by_float, check_floats, values, values_mut};
use super::update::{SgdStep, Update};

/// `g' = g + weight_decay p; v = momentum v + g'; p -= rate (g' + momentum v if nesterov, else v)`.
///
/// `param`, `velocity`, `grad`: equal shapes, all f32 or all f64. A velocity of zeros makes the
/// first step torch's, `v = g'`.
///
/// # Errors
/// Shapes or types differ, or two of the tensors share memory.
pub fn sgd_step(param: &Var, velocity: &Var, grad: &Tensor, step: SgdStep) -> Result<()> {
    sgd_steps(&[Update { param, velocity, gradient: grad, step }])
}

fn check(param: &Var, velocity: &Var, grad: &Tensor) -> Result<()> {
    check_floats("sgd_step", &[param, velocity, grad])?;
    if param.dims() != velocity.dims() || param.dims() != grad.dims() {
        bail!(
            "sgd_step: parameter {:?}, velocity {:?} and gradient {:?} must have equal shapes",
            param.dims(),
            velocity.dims(),
            grad.dims()
        );
    }
    // Both are locked at once on the CPU: the same lock twice would never open.
    if address(param) == address(velocity) {
        bail!("sgd_step: the parameter and its velocity share memory; give the velocity its own");
    }
    Ok(())
}

fn step_of(param: &Var, velocity: &Var, grad: &Tensor, step: SgdStep) -> Result<()> {
    let step = Step { velocity: velocity.as_tensor(), step };
    param.inplace_op2(&grad.contiguous()?, &step)
}

/// [`sgd_step`] of many parameters; on a GPU all at once, there with one momentum for all.
///
/// # Errors
/// As [`sgd_step`].
pub fn sgd_steps(updates: &[Update]) -> Result<()> {
    for Update { param, velocity, gradient, .. } in updates {
        check(param, velocity, gradient)?;
    }
    #[cfg(feature = "cuda")]
    if updates.iter().any(|update| update.param.device().is_cuda()) {
        return super::cuda::sgd_steps(updates);
    }
    updates.iter().try_for_each(|update| step_of(update.param, update.velocity, update.gradient, update.step))
}

/// Where a tensor's storage lies.
fn address(tensor: &Tensor) -> *const candle_core::Storage {
    &raw const *tensor.storage_and_layout().0
}

/// Has the parameter in hand; the velocity joins through [`Written`], since candle hands out only
/// one tensor for writing at a time.
struct Step<'a> {
    velocity: &'a Tensor,
    step: SgdStep,
}

impl InplaceOp2 for Step<'_> {
    fn name(&self) -> &'static str {
        "sgd_step"
    }

    fn cpu_fwd(
        &self,
        param: &mut CpuStorage,
        param_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<()> {
        by_float!(grad.dtype(), T => {
            let update = Written::<T> {
                param: Mutex::new(values_mut(param, param_layout)?),
                grad: values(grad, grad_layout)?,
                step: self.step,
            };
            self.velocity.inplace_op1(&update)
        })
    }
}

struct Written<'a, T> {
    param: Mutex<&'a mut [T]>,
    grad: &'a [T],
    step: SgdStep,
}

impl<T: Real> InplaceOp1 for Written<'_, T> {
    fn name(&self) -> &'static str {
        "sgd_step"
    }

    fn cpu_fwd(&self, velocity: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Ok(mut param) = self.param.lock() else {
            bail!("sgd_step: an earlier step failed half-way");
        };
        values_mut::<T>(velocity, layout)?
            .par_chunks_mut(CHUNK)
            .zip(param.par_chunks_mut(CHUNK).zip(self.grad.par_chunks(CHUNK)))
            .for_each(|(velocity, (param, grad))| update(param, velocity, grad, &self.step));
        Ok(())
    }
}

widest! {
    fn update<T>(param: &mut [T], velocity: &mut [T], grad: &[T], step: &SgdStep) {
        let numbers = [step.rate, step.momentum, step.weight_decay];
        let [rate, momentum, decay] = numbers.map(T::from_f64);
        // Nesterov's term is zero without, so that one loop serves both.
        let (ahead, along) = if step.nesterov { (momentum, T::one()) } else { (T::one(), T::zero()) };
        for ((param, velocity), grad) in param.iter_mut().zip(velocity).zip(grad) {
            let grad = *grad + decay * *param;
            *velocity = momentum * *velocity + grad;
            *param -= rate * (along * grad + ahead * *velocity);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::reference::{close, flat, random};
    use super::*;

    const STEP: SgdStep = SgdStep { rate: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.01 };

    fn zeros(like: &Tensor) -> Var {
        Var::from_tensor(&like.zeros_like().unwrap()).unwrap()
    }

    #[test]
    fn three_steps_follow_the_formulae_of_torch() {
        for nesterov in [false, true] {
            let step = SgdStep { nesterov, ..STEP };
            let param = Var::from_tensor(&random(1, &[3, 5])).unwrap();
            let velocity = zeros(&param);
            let mut expected = flat(&param);
            let mut speeds = vec![0.0; 15];
            for turn in 0..3 {
                let grad = random(10 + turn, &[3, 5]);
                sgd_step(&param, &velocity, &grad, step).unwrap();
                for ((p, v), g) in expected.iter_mut().zip(&mut speeds).zip(flat(&grad)) {
                    let g = g + 0.01 * *p;
                    *v = if turn == 0 { g } else { 0.9 * *v + g };
                    *p -= 0.1 * if nesterov { g + 0.9 * *v } else { *v };
                }
                close(&flat(&param), &expected, 1e-14);
                close(&flat(&velocity), &speeds, 1e-14);
            }
        }
    }

    #[test]
    fn a_strided_gradient_is_taken_in_its_own_order() {
        let grad = random(2, &[4, 3]).transpose(0, 1).unwrap();
        let param = Var::zeros((3, 4), DType::F64, &Device::Cpu).unwrap();
        let step = SgdStep { rate: 1.0, momentum: 0.0, ..STEP };
        sgd_step(&param, &zeros(&param), &grad, step).unwrap();
        close(&flat(&param), &flat(&grad.neg().unwrap()), 0.0);
    }

    #[test]
    fn shared_memory_and_wrong_shapes_are_errors() {
        let param = Var::from_tensor(&random(1, &[2, 3])).unwrap();
        let message =
            |velocity: &Var, grad: &Tensor| sgd_step(&param, velocity, grad, STEP).unwrap_err().to_string();
        assert!(message(&param, &random(2, &[2, 3])).contains("share memory"));
        assert!(message(&zeros(&param), &random(2, &[3, 2])).contains("equal shapes"));
        let single = random(2, &[2, 3]).to_dtype(DType::F32).unwrap();
        assert!(message(&zeros(&param), &single).contains("F32"));
    }
}
