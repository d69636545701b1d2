//! Rectifiers and additions.

use candle_core::{Result, Tensor, bail};

use super::super::activation::Activation;
use super::super::tape::{Arrived, Backward, Input};
use super::launch::{Arg, Grid, POINTWISE, count, launch, suffix, width};
use super::memory::{Fresh, address_of, cuda, map_type, maps, shown};

/// `act(x)` of a tensor of any shape.
pub(in super::super) fn rectified(name: &'static str, x: &Tensor, act: Activation) -> Result<Tensor> {
    let dtype = map_type(name, x)?;
    let input = in_memory_order(x)?;
    let y = Fresh::new(x, input.values.shape(), dtype)?;
    apply("rectify", &[address_of(&input.values)?, y.address()?], &input.values, act)?;
    let backward = Masked { name, act, is_tracked: [input.is_tracked(), false] };
    shown_as(x, y.join(&[&input], backward)?)
}

/// `act(a + b)` of tensors of equal shape.
pub(in super::super) fn add(name: &'static str, a: &Tensor, b: &Tensor, act: Activation) -> Result<Tensor> {
    let dtype = map_type(name, a)?;
    if b.dtype() != dtype {
        bail!("{name}: the terms are {dtype:?} and {:?}; convert one of them", b.dtype());
    }
    let (left, right) = (in_memory_order(a)?, in_memory_order(b)?);
    let y = Fresh::new(a, left.values.shape(), dtype)?;
    let addresses = [address_of(&left.values)?, address_of(&right.values)?, y.address()?];
    apply("add", &addresses, &left.values, act)?;
    let backward = Masked { name, act, is_tracked: [left.is_tracked(), right.is_tracked()] };
    shown_as(a, y.join(&[&left, &right], backward)?)
}

/// Maps channels last, other tensors as they are.
fn in_memory_order(x: &Tensor) -> Result<Input> {
    if x.rank() == 4 { maps(x) } else { Input::of(x) }
}

fn shown_as(x: &Tensor, y: Tensor) -> Result<Tensor> {
    if x.rank() == 4 { shown(&y) } else { Ok(y) }
}

/// Runs a kernel over all values of tensors of one size; `like` is one of them.
fn apply(kernel: &str, addresses: &[u64], like: &Tensor, act: Activation) -> Result<()> {
    let (dtype, values) = (like.dtype(), like.elem_count());
    let width = width(dtype, values, addresses);
    let packs = count(kernel, values)? / width;
    let (low, high) = act.bounds::<f32>();
    let mut args: Vec<Arg> = addresses.iter().copied().map(Arg::Address).collect();
    args.extend([Arg::Count(packs), Arg::Float(low), Arg::Float(high)]);
    let name = format!("{kernel}_{}_{width}", suffix(dtype));
    launch(&cuda(like)?, &POINTWISE, &name, Grid::looping_over(packs), &args)
}

/// The way back of an activation, alone or after a sum.
struct Masked {
    name: &'static str,
    act: Activation,
    is_tracked: [bool; 2],
}

impl Backward for Masked {
    fn name(&self) -> &'static str {
        self.name
    }

    fn keeps_result(&self) -> bool {
        self.act != Activation::None
    }

    fn gradients(&self, y: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let gradient = match (self.act, y) {
            (Activation::None, _) => dy.clone(),
            (_, Some(y)) => {
                let dx = Fresh::new(dy, dy.shape(), dy.dtype())?;
                let addresses = [address_of(y)?, address_of(dy)?, dx.address()?];
                apply("masked", &addresses, dy, self.act)?;
                dx.tensor()
            }
            (_, None) => bail!("{}: the result was not kept", self.name),
        };
        let [da, db] = self.is_tracked.map(|is_tracked| is_tracked.then(|| gradient.clone()));
        Ok([da, db, None])
    }
}
