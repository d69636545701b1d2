//! Operations that keep what their way back needs, and nothing else: neither inputs nor result, unless they say so.
//!
//! They run outside candle and join the tape, or candle's graph where none is recording, with their result.
#![cfg_attr(not(any(test, feature = "cuda")), allow(dead_code))] // GPUs alone have such operations.

use candle_core::{Result, Tensor};

use super::Arrived;

/// A finished operation's way back.
pub(in super::super) trait Backward: Send + Sync + 'static {
    /// The operation.
    fn name(&self) -> &'static str;

    /// Whether the gradients need the result.
    fn keeps_result(&self) -> bool {
        false
    }

    /// Gradients of the inputs from that of the result, which is contiguous, and the result if it was kept.
    fn gradients(&self, y: Option<&Tensor>, dy: &Tensor) -> Result<Arrived>;
}

#[cfg(any(test, feature = "cuda"))]
pub(in super::super) use joining::{Input, join, note_view};

#[cfg(any(test, feature = "cuda"))]
mod joining {
    use std::sync::Mutex;

    use candle_core::op::BackpropOp;
    use candle_core::{
        CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor,
        TensorId, bail,
    };

    use super::super::{Entry, Operation, RECORDING, lost, may_be_constant};
    use super::Backward;

    /// A tensor as an operation takes it.
    #[derive(Clone)]
    pub(in super::super::super) struct Input {
        /// Its values, contiguous.
        pub values: Tensor,
        /// As it was handed over, by which the tape knows it.
        handed: Tensor,
        /// The variable or recorded result that it is, or shows.
        leaf: Option<TensorId>,
    }

    impl Input {
        /// A tensor as it is.
        pub(in super::super::super) fn of(tensor: &Tensor) -> Result<Input> {
            let is_recorded = RECORDING
                .with_borrow(|tape| tape.as_ref().is_some_and(|tape| tape.tracked.contains(&tensor.id())));
            let leaf = (tensor.is_variable() || is_recorded).then(|| tensor.id());
            Ok(Input { values: tensor.contiguous()?, handed: tensor.clone(), leaf })
        }

        /// `values`, in which the maps `shown` lie in memory.
        pub(in super::super::super) fn view(shown: &Tensor, values: Tensor) -> Input {
            let leaf = RECORDING.with_borrow(|tape| tape.as_ref()?.views.get(&shown.id()).copied());
            Input { values, handed: shown.clone(), leaf }
        }

        /// Whether its gradient is wanted.
        pub(in super::super::super) fn is_tracked(&self) -> bool {
            self.leaf.is_some() || self.values.track_op()
        }
    }

    /// Remembers that the maps `view` show `result`.
    pub(in super::super::super) fn note_view(view: &Tensor, result: &Tensor) {
        RECORDING.with_borrow_mut(|tape| {
            let Some(tape) = tape else { return };
            if tape.tracked.contains(&result.id()) {
                tape.tracked.insert(view.id());
                tape.views.insert(view.id(), result.id());
            } else {
                tape.constant.insert(view.id());
            }
        });
    }

    /// The result `y` of an operation on `inputs`, with its way back.
    pub(in super::super::super) fn join(
        inputs: &[&Input],
        y: Storage,
        shape: Shape,
        backward: impl Backward,
    ) -> Result<Tensor> {
        let is_tracked = inputs.iter().any(|input| input.is_tracked());
        if !is_tracked || RECORDING.with_borrow(Option::is_some) {
            let y = Tensor::from_storage(y, shape, BackpropOp::none(), false);
            write_down(inputs, &y, backward, is_tracked)?;
            return Ok(y);
        }
        let op = Done { y: Mutex::new(Some((y, shape))), backward };
        match inputs {
            [a] => a.values.apply_op1(op),
            [a, b] => a.values.apply_op2(&b.values, op),
            [a, b, c] => a.values.apply_op3(&b.values, &c.values, op),
            _ => bail!("{}: {} inputs, expected 1 to 3", op.backward.name(), inputs.len()),
        }
    }

    /// Puts a result on the tape, if one is recording.
    fn write_down(inputs: &[&Input], y: &Tensor, backward: impl Backward, is_tracked: bool) -> Result<()> {
        RECORDING.with_borrow_mut(|tape| {
            let Some(tape) = tape else { return Ok(()) };
            for (index, input) in inputs.iter().enumerate() {
                let Input { handed, leaf, .. } = input;
                let is_constant = may_be_constant(handed, index, inputs.len());
                if leaf.is_none() && !is_constant && !tape.constant.contains(&handed.id()) {
                    return lost(handed, backward.name());
                }
            }
            if !is_tracked {
                tape.constant.insert(y.id());
                return Ok(());
            }
            let mut leaves = [None; 3];
            for (leaf, input) in leaves.iter_mut().zip(inputs) {
                *leaf = input.leaf;
            }
            let output = backward.keeps_result().then(|| y.clone());
            tape.tracked.insert(y.id());
            let operation = Operation::Kept(leaves, Box::new(backward));
            tape.entries.push(Entry { operation, result: y.id(), output });
            Ok(())
        })
    }

    /// An operation that candle's graph takes in after it was done.
    struct Done<B> {
        y: Mutex<Option<(Storage, Shape)>>,
        backward: B,
    }

    impl<B: Backward> Done<B> {
        fn take(&self) -> Result<(Storage, Shape)> {
            match self.y.lock().ok().and_then(|mut y| y.take()) {
                Some(y) => Ok(y),
                None => bail!("{}: its result was taken before", self.backward.name()),
            }
        }

        fn cpu(&self) -> Result<(CpuStorage, Shape)> {
            match self.take()? {
                (Storage::Cpu(y), shape) => Ok((y, shape)),
                _ => bail!("{}: the result is on another device than the input", self.backward.name()),
            }
        }

        fn cuda(&self) -> Result<(CudaStorage, Shape)> {
            match self.take()? {
                (Storage::Cuda(y), shape) => Ok((y, shape)),
                _ => bail!("{}: the result is on another device than the input", self.backward.name()),
            }
        }
    }

    impl<B: Backward> CustomOp1 for Done<B> {
        fn name(&self) -> &'static str {
            self.backward.name()
        }

        fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
            self.cpu()
        }

        fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
            self.cuda()
        }

        fn bwd(&self, _: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
            let [da, ..] = self.backward.gradients(Some(y), &dy.contiguous()?)?;
            Ok(da)
        }
    }

    impl<B: Backward> CustomOp2 for Done<B> {
        fn name(&self) -> &'static str {
            self.backward.name()
        }

        fn cpu_fwd(
            &self,
            _: &CpuStorage,
            _: &Layout,
            _: &CpuStorage,
            _: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            self.cpu()
        }

        fn cuda_fwd(
            &self,
            _: &CudaStorage,
            _: &Layout,
            _: &CudaStorage,
            _: &Layout,
        ) -> Result<(CudaStorage, Shape)> {
            self.cuda()
        }

        fn bwd(
            &self,
            _: &Tensor,
            _: &Tensor,
            y: &Tensor,
            dy: &Tensor,
        ) -> Result<(Option<Tensor>, Option<Tensor>)> {
            let [da, db, _] = self.backward.gradients(Some(y), &dy.contiguous()?)?;
            Ok((da, db))
        }
    }

    impl<B: Backward> CustomOp3 for Done<B> {
        fn name(&self) -> &'static str {
            self.backward.name()
        }

        fn cpu_fwd(
            &self,
            _: &CpuStorage,
            _: &Layout,
            _: &CpuStorage,
            _: &Layout,
            _: &CpuStorage,
            _: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            self.cpu()
        }

        fn cuda_fwd(
            &self,
            _: &CudaStorage,
            _: &Layout,
            _: &CudaStorage,
            _: &Layout,
            _: &CudaStorage,
            _: &Layout,
        ) -> Result<(CudaStorage, Shape)> {
            self.cuda()
        }

        fn bwd(
            &self,
            _: &Tensor,
            _: &Tensor,
            _: &Tensor,
            y: &Tensor,
            dy: &Tensor,
        ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
            let [da, db, dc] = self.backward.gradients(Some(y), &dy.contiguous()?)?;
            Ok((da, db, dc))
        }
    }
}

#[cfg(test)]
mod tests;
