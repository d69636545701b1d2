//! The way back through a network's trunk, without candle's graph.
//!
//! Candle starts every gradient from zeros and adds what arrives into a new tensor, two passes over memory
//! and two allocations for each edge of the graph, and keeps every activation until the whole graph is
//! dropped. A tape hands each gradient on as it is, adds in place where two arrive, and lets go of an
//! activation as soon as nothing needs it.
//!
//! While a thread records, operations of this folder write themselves down instead of joining candle's
//! graph; their forward and backward passes are the same ones.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, InplaceOp2, Layout, Result, Tensor, TensorId, bail,
};
use rayon::prelude::*;

mod kept;

#[cfg(feature = "cuda")]
pub(super) use kept::{Backward, Input, join, note_view};

use super::simd::widest;
use super::storage::{CHUNK, by_float, values, values_mut};

thread_local! {
    static RECORDING: RefCell<Option<Tape>> = const { RefCell::new(None) };
    /// What the tape that is being gone back wants gradients of.
    static WANTED: RefCell<HashSet<TensorId>> = RefCell::default();
}

/// The operations of one pass, in their order.
#[derive(Default)]
pub struct Tape {
    entries: Vec<Entry>,
    /// Results that depend on a variable.
    tracked: HashSet<TensorId>,
    /// The recording's input, and results that depend on it alone.
    constant: HashSet<TensorId>,
    /// Maps that show, channels first, a result that lies channels last, and that result.
    views: HashMap<TensorId, TensorId>,
}

struct Entry {
    operation: Operation,
    result: TensorId,
    /// The result, if the way back needs it.
    output: Option<Tensor>,
}

enum Operation {
    One(Tensor, Box<dyn CustomOp1>),
    Two([Tensor; 2], Box<dyn CustomOp2>),
    Three([Tensor; 3], Box<dyn CustomOp3>),
    /// One that keeps what it needs itself; what its inputs were, if they have gradients. GPUs alone have such.
    #[cfg_attr(not(any(test, feature = "cuda")), allow(dead_code))]
    Kept([Option<TensorId>; 3], Box<dyn kept::Backward>),
}

/// Gradients of an operation's inputs, in their order, where one is wanted.
pub(super) type Arrived = [Option<Tensor>; 3];

/// Gradients by what they are gradients of.
#[derive(Default)]
pub struct Gradients(HashMap<TensorId, Tensor>);

/// Runs `run`, which is made of this folder's operations on `x` and variables, and records it.
///
/// The result is no part of candle's graph; [`Tape::backward`] takes its gradient.
///
/// # Errors
/// Those of `run`; an input or operand that comes from elsewhere, whose gradient would be lost; a recording within
/// another.
pub fn record(x: &Tensor, run: impl FnOnce() -> Result<Tensor>) -> Result<(Tensor, Tape)> {
    let tape = Tape { constant: HashSet::from([x.id()]), ..Tape::default() };
    if RECORDING.with_borrow(Option::is_some) {
        bail!("this thread records already");
    }
    if x.track_op() && !x.is_variable() {
        return lost(x, "the input");
    }
    RECORDING.set(Some(tape));
    let result = run();
    let tape = RECORDING.take().unwrap_or_default();
    let y = result?;
    tape.check(&y, "the result")?;
    Ok((y, tape))
}

/// Whether a gradient of `x` is asked for: by candle's graph, or by the tape.
pub(super) fn tracks(x: &Tensor) -> bool {
    x.track_op() || WANTED.with_borrow(|wanted| wanted.contains(&x.id()))
}

/// `op` on `x`, recorded or on candle's graph.
pub(super) fn apply1(x: &Tensor, op: impl CustomOp1 + Send + Sync + 'static) -> Result<Tensor> {
    if !RECORDING.with_borrow(Option::is_some) {
        return x.apply_op1(op);
    }
    let y = x.apply_op1_no_bwd(&op)?;
    write_down(Operation::One(x.clone(), Box::new(op)), y)
}

/// As [`apply1`], on two tensors.
pub(super) fn apply2(x: [&Tensor; 2], op: impl CustomOp2 + Send + Sync + 'static) -> Result<Tensor> {
    if !RECORDING.with_borrow(Option::is_some) {
        return x[0].apply_op2(x[1], op);
    }
    let y = x[0].apply_op2_no_bwd(x[1], &op)?;
    write_down(Operation::Two(x.map(Tensor::clone), Box::new(op)), y)
}

/// As [`apply1`], on three tensors.
pub(super) fn apply3(x: [&Tensor; 3], op: impl CustomOp3 + Send + Sync + 'static) -> Result<Tensor> {
    if !RECORDING.with_borrow(Option::is_some) {
        return x[0].apply_op3(x[1], x[2], op);
    }
    let y = x[0].apply_op3_no_bwd(x[1], x[2], &op)?;
    write_down(Operation::Three(x.map(Tensor::clone), Box::new(op)), y)
}

fn write_down(operation: Operation, output: Tensor) -> Result<Tensor> {
    RECORDING.with_borrow_mut(|tape| {
        let Some(tape) = tape else { bail!("{} was not recorded", operation.name()) };
        let inputs = operation.inputs();
        for (index, x) in inputs.iter().enumerate() {
            if !may_be_constant(x, index, inputs.len()) {
                tape.check(x, operation.name())?;
            }
        }
        if inputs.iter().any(|x| x.is_variable() || tape.tracked.contains(&x.id())) {
            tape.tracked.insert(output.id());
            tape.entries.push(Entry { operation, result: output.id(), output: Some(output.clone()) });
        } else {
            tape.constant.insert(output.id());
        }
        Ok(output)
    })
}

/// Beside the first operand, what candle does not track either is a constant: a bias's scale of ones.
fn may_be_constant(x: &Tensor, index: usize, operands: usize) -> bool {
    index > 0 && operands > 2 && !x.track_op()
}

fn lost<T>(x: &Tensor, name: &str) -> Result<T> {
    bail!("{name}: {:?} was made by no recorded operation, so its gradient would be lost", x.dims())
}

impl Tape {
    /// Refuses a tensor of candle's graph, or one that this tape has never seen.
    fn check(&self, x: &Tensor, name: &str) -> Result<()> {
        if x.is_variable() || self.tracked.contains(&x.id()) || self.constant.contains(&x.id()) {
            return Ok(());
        }
        lost(x, name)
    }

    /// Gradients of all variables, from the gradient `dy` of the recording's result `y`. The tape's activations
    /// are freed on the way.
    ///
    /// # Errors
    /// A gradient of another shape or type than the result; those of the operations.
    pub fn backward(self, y: &Tensor, dy: Tensor) -> Result<Gradients> {
        let (y, dy) = self.as_it_lies(y, dy)?;
        wanting(self.tracked, || way_back(self.entries.into_iter(), y, dy))
    }

    /// Gradients of the variables that come after the result `floor` alone, as [`Tape::backward`] gives those of all. The
    /// activations stay, for another way back.
    ///
    /// # Errors
    /// As [`Tape::backward`]; a `floor` that was not recorded.
    pub fn backward_to(&self, floor: TensorId, y: &Tensor, dy: Tensor) -> Result<Gradients> {
        let floor = self.views.get(&floor).copied().unwrap_or(floor);
        let Some(at) = self.entries.iter().position(|entry| entry.result == floor) else {
            bail!("the way back ends at a tensor that was not recorded");
        };
        let (y, dy) = self.as_it_lies(y, dy)?;
        let mut gradients = wanting(self.tracked.clone(), || way_back(self.entries[at + 1..].iter(), y, dy))?;
        gradients.0.remove(&floor);
        Ok(gradients)
    }

    /// The result whose view `y` is, or itself, and the gradient in the same order.
    fn as_it_lies(&self, y: &Tensor, dy: Tensor) -> Result<(TensorId, Tensor)> {
        if dy.dims() != y.dims() || dy.dtype() != y.dtype() {
            let (is, expected) = ((dy.dims(), dy.dtype()), (y.dims(), y.dtype()));
            bail!("the gradient is {is:?}, expected {expected:?} as the recording's result");
        }
        Ok(match self.views.get(&y.id()) {
            Some(result) => (*result, dy.permute((0, 2, 3, 1))?.contiguous()?),
            None => (y.id(), dy),
        })
    }
}

/// What `run` gives while gradients of `tensors` are asked for.
fn wanting<T>(tensors: HashSet<TensorId>, run: impl FnOnce() -> T) -> T {
    let before = WANTED.replace(tensors);
    let result = run();
    WANTED.set(before);
    result
}

/// `E`: an [`Entry`], which is then freed as soon as it is passed, or a reference to one.
fn way_back<E: Borrow<Entry>>(
    entries: impl DoubleEndedIterator<Item = E>,
    y: TensorId,
    dy: Tensor,
) -> Result<Gradients> {
    let mut gradients = Gradients::default();
    gradients.add_own(y, dy, false)?;
    for entry in entries.rev() {
        let entry = entry.borrow();
        let Some(dy) = gradients.0.remove(&entry.result) else { continue };
        let arrived = entry.operation.backward(entry.output.as_ref(), &dy)?;
        // A sum hands one tensor to both terms: nobody may add to it in place.
        let [a, b, _] = &arrived;
        let is_shared = a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| same_memory(a, b))
            || arrived.iter().flatten().any(|dx| same_memory(dx, &dy))
            || dy.device().is_cuda();
        drop(dy);
        for (x, dx) in entry.operation.input_ids().into_iter().zip(arrived) {
            if let (Some(x), Some(dx)) = (x, dx) {
                gradients.add_own(x, dx, !is_shared)?;
            }
        }
    }
    Ok(gradients)
}

impl Operation {
    fn name(&self) -> &'static str {
        match self {
            Operation::One(_, op) => op.name(),
            Operation::Two(_, op) => op.name(),
            Operation::Three(_, op) => op.name(),
            Operation::Kept(_, op) => op.name(),
        }
    }

    fn inputs(&self) -> &[Tensor] {
        match self {
            Operation::One(x, _) => std::slice::from_ref(x),
            Operation::Two(x, _) => x,
            Operation::Three(x, _) => x,
            Operation::Kept(..) => &[],
        }
    }

    fn input_ids(&self) -> [Option<TensorId>; 3] {
        if let Operation::Kept(ids, _) = self {
            return *ids;
        }
        let inputs = self.inputs();
        [0, 1, 2].map(|index| inputs.get(index).map(Tensor::id))
    }

    /// The gradient of each input, where one is wanted.
    fn backward(&self, y: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let y = match (self, y) {
            (Operation::Kept(_, op), y) => return op.gradients(y, &dy.contiguous()?),
            (_, Some(y)) => y,
            (_, None) => bail!("{}: the result was not kept", self.name()),
        };
        Ok(match self {
            Operation::Kept(..) => Arrived::default(),
            Operation::One(x, op) => [op.bwd(x, y, dy)?, None, None],
            Operation::Two([a, b], op) => {
                let (da, db) = op.bwd(a, b, y, dy)?;
                [da, db, None]
            }
            Operation::Three([a, b, c], op) => op.bwd(a, b, c, y, dy)?.into(),
        })
    }
}

impl Gradients {
    /// The gradient of a variable, if it has one.
    pub fn get(&self, x: &Tensor) -> Option<&Tensor> {
        self.0.get(&x.id())
    }

    /// Adds `dx` to the gradient of `x`.
    ///
    /// # Errors
    /// Another shape or type than what was there.
    pub fn add(&mut self, x: &Tensor, dx: Tensor) -> Result<()> {
        self.add_own(x.id(), dx, false)
    }

    /// Adds each of `others`.
    ///
    /// # Errors
    /// As [`Gradients::add`].
    pub fn add_all(&mut self, others: Gradients) -> Result<()> {
        others.0.into_iter().try_for_each(|(x, dx)| self.add_own(x, dx, false))
    }

    /// As [`Gradients::add`], in `dx`'s own memory if nobody else has it.
    fn add_own(&mut self, x: TensorId, dx: Tensor, is_own: bool) -> Result<()> {
        let sum = match self.0.remove(&x) {
            None => dx,
            Some(first) if is_own => added(&dx, &first)?,
            Some(first) => (first + dx)?,
        };
        self.0.insert(x, sum);
        Ok(())
    }
}

/// Whether two tensors are one storage: writing to one would change the other.
fn same_memory(a: &Tensor, b: &Tensor) -> bool {
    std::ptr::eq(&raw const *a.storage_and_layout().0, &raw const *b.storage_and_layout().0)
}

/// `sum + term` in the memory of `sum`.
fn added(sum: &Tensor, term: &Tensor) -> Result<Tensor> {
    let (sum, term) = (sum.contiguous()?, term.contiguous()?);
    sum.inplace_op2(&term, &AddInPlace)?;
    Ok(sum)
}

struct AddInPlace;

impl InplaceOp2 for AddInPlace {
    fn name(&self) -> &'static str {
        "add in place"
    }

    fn cpu_fwd(
        &self,
        sum: &mut CpuStorage,
        sum_layout: &Layout,
        term: &CpuStorage,
        layout: &Layout,
    ) -> Result<()> {
        by_float!(term.dtype(), T => {
            let term = values::<T>(term, layout)?;
            values_mut::<T>(sum, sum_layout)?
                .par_chunks_mut(CHUNK)
                .zip(term.par_chunks(CHUNK))
                .for_each(|(sum, term)| add_to(sum, term));
        });
        Ok(())
    }
}

widest! {
    /// `sum += term`.
    pub(super) fn add_to<T>(sum: &mut [T], term: &[T]) {
        for (sum, term) in sum.iter_mut().zip(term) {
            *sum += *term;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::super::reference::{close, flat, random};
    use super::super::{Activation, ConvGeometry, add, add_relu, batch_norm_train, conv2d, gap, max_pool};
    use super::*;

    const SAME: ConvGeometry = ConvGeometry { stride: 1, padding: [1; 4], groups: 1 };

    /// A residual unit whose input is used twice, between a stem and a pooling.
    fn network(x: &Tensor, vars: &[Var]) -> Result<Tensor> {
        let stem = max_pool(&conv2d(x, &vars[0], SAME)?, 2, 2, [0; 4])?;
        let body = conv2d(&stem, &vars[1], SAME)?;
        let body = batch_norm_train(&body, &vars[2], &vars[3], 1e-5, Activation::Relu)?.y;
        gap(&add_relu(&body, &stem)?)
    }

    fn vars() -> Vec<Var> {
        let shapes: [&[usize]; 4] = [&[3, 2, 3, 3], &[3, 3, 3, 3], &[3], &[3]];
        shapes
            .iter()
            .enumerate()
            .map(|(seed, shape)| Var::from_tensor(&random(seed as u64, shape)).unwrap())
            .collect()
    }

    #[test]
    fn gradients_are_those_of_candles_graph() {
        let (x, vars, dy) = (random(9, &[2, 2, 8, 6]), vars(), random(10, &[2, 3]));
        let (y, tape) = record(&x, || network(&x, &vars)).unwrap();
        let on_the_graph = network(&x, &vars).unwrap();
        assert_eq!(flat(&y), flat(&on_the_graph));
        assert!(!y.track_op());
        let gradients = tape.backward(&y, dy.clone()).unwrap();
        let expected = (on_the_graph * dy).unwrap().sum_all().unwrap().backward().unwrap();
        for var in &vars {
            close(&flat(gradients.get(var).unwrap()), &flat(expected.get(var).unwrap()), 1e-13);
        }
        assert!(gradients.get(&x).is_none());
        assert_eq!(gradients.0.len(), vars.len(), "gradients of activations are left over");
    }

    #[test]
    fn a_way_back_to_a_floor_reaches_what_is_above_it_alone_and_can_be_gone_twice() {
        let (x, vars, dy) = (random(9, &[2, 2, 8, 6]), vars(), random(10, &[2, 3, 8, 6]));
        let mut floor = None;
        let (y, tape) = record(&x, || {
            let below = conv2d(&x, &vars[0], SAME)?;
            floor = Some(below.id());
            conv2d(&below, &vars[1], SAME)
        })
        .unwrap();
        let above = tape.backward_to(floor.unwrap(), &y, dy.clone()).unwrap();
        assert_eq!(above.0.len(), 1, "gradients of the floor or of what is below it");
        let of_above = flat(above.get(&vars[1]).unwrap());
        assert!(tape.backward_to(x.id(), &y, dy.clone()).is_err());
        let mut whole = tape.backward(&y, dy).unwrap();
        assert_eq!(of_above, flat(whole.get(&vars[1]).unwrap()));
        assert!(whole.get(&vars[0]).is_some());
        whole.add_all(above).unwrap();
        let twice: Vec<f64> = of_above.iter().map(|value| 2.0 * value).collect();
        assert_eq!(twice, flat(whole.get(&vars[1]).unwrap()));
    }

    #[test]
    fn a_sum_of_a_tensor_with_itself_has_twice_its_gradient() {
        let x = Var::from_tensor(&random(1, &[1, 2, 3, 3]).abs().unwrap()).unwrap();
        let (y, tape) = record(&x, || add_relu(&x, &x)).unwrap();
        let gradients = tape.backward(&y, y.ones_like().unwrap()).unwrap();
        close(&flat(gradients.get(&x).unwrap()), &[2.0; 18], 0.0);
    }

    #[test]
    fn a_sum_with_a_constant_leaves_the_gradient_it_passes_on_alone() {
        let x = random(1, &[1, 2, 3, 3]);
        let [v, w] = [2, 3].map(|seed| Var::from_tensor(&random(seed, &[1, 2, 3, 3])).unwrap());
        // Gone back: y hands one gradient to v and to the sum below; w gets that one and, first, another.
        let run = || add(&add(&add(&x, &w)?, &v)?, &w);
        let (y, tape) = record(&x, run).unwrap();
        let gradients = tape.backward(&y, y.ones_like().unwrap()).unwrap();
        close(&flat(gradients.get(&v).unwrap()), &[1.0; 18], 0.0);
        close(&flat(gradients.get(&w).unwrap()), &[2.0; 18], 0.0);
    }

    #[test]
    fn what_would_lose_a_gradient_is_refused() {
        let (x, vars) = (random(1, &[1, 2, 4, 4]), vars());
        let strange = || conv2d(&(conv2d(&x, &vars[0], SAME)? * 2.0)?, &vars[1], SAME);
        let error = record(&x, strange).err().unwrap().to_string();
        assert!(error.contains("conv2d: [1, 3, 4, 4] was made by no recorded operation"), "{error}");
        let last = || conv2d(&x, &vars[0], SAME)? * 2.0;
        assert!(record(&x, last).err().unwrap().to_string().contains("the result"));
        let nested = || record(&x, || gap(&x)).map(|(y, _)| y);
        assert!(record(&x, nested).err().unwrap().to_string().contains("records already"));
        let doubled = || add_relu(&conv2d(&x, &vars[0], SAME)?, &(conv2d(&x, &vars[0], SAME)? * 2.0)?);
        assert!(record(&x, doubled).err().unwrap().to_string().contains("add_relu"));
        let weight = || conv2d(&x, &(vars[0].as_tensor() * 2.0)?, SAME);
        assert!(record(&x, weight).err().unwrap().to_string().contains("conv2d: [3, 2, 3, 3]"));
        let input = (vars[2].as_tensor() * 2.0).unwrap();
        let error = record(&input, || Ok(input.clone())).err().unwrap().to_string();
        assert!(error.contains("the input: [3] was made by no recorded operation"), "{error}");
        let (y, tape) = record(&x, || conv2d(&x, &vars[0], SAME)).unwrap();
        let error = tape.backward(&y, random(1, &[1, 3, 4, 3])).err().unwrap().to_string();
        assert!(error.contains("expected ([1, 3, 4, 4], F64)"), "{error}");
        // A failed recording leaves nothing behind.
        assert!(conv2d(&x, &vars[0], SAME).unwrap().track_op());
    }
}
