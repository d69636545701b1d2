//! Gradient descent over all parameters in one launch.

use candle_core::{DType, Result, Tensor, bail};

use super::super::update::Update;
use super::launch::{Arg, Grid, SGD, count, launch};
use super::memory::{address_of, cuda};

/// Values that a block takes.
const CHUNK: usize = 16 * 1024;

/// One step of every update; sizes were checked.
pub(in super::super) fn sgd_steps(updates: &[Update]) -> Result<()> {
    let Some(first) = updates.first() else { return Ok(()) };
    let is_alike = |update: &Update| {
        (update.step.momentum, update.step.nesterov) == (first.step.momentum, first.step.nesterov)
    };
    if !updates.iter().all(is_alike) {
        bail!("sgd_steps: momentum differs between parameters");
    }
    let device = cuda(first.param)?;
    // Kept until the launch: a gradient that was strided is a copy.
    let gradients: Vec<Tensor> =
        updates.iter().map(|update| update.gradient.contiguous()).collect::<Result<_>>()?;
    let (mut table, mut starts) = (Vec::new(), Vec::new());
    for (index, (update, gradient)) in updates.iter().zip(&gradients).enumerate() {
        if [update.param.dtype(), update.velocity.dtype(), gradient.dtype()] != [DType::F32; 3] {
            bail!("sgd_steps: a gradient is {:?}, expected F32 on a GPU as all parameters", gradient.dtype());
        }
        let length = count("sgd_steps", update.param.elem_count())? as usize;
        let bits = |value: f64| u64::from((value as f32).to_bits());
        // The kernel's structure: three addresses, a length, two f32.
        table.extend([
            address_of(update.param)?,
            address_of(update.velocity)?,
            address_of(gradient)?,
            length as u64,
            bits(update.step.rate) | bits(update.step.weight_decay) << 32,
        ]);
        let pairs = (0..length.div_ceil(CHUNK)).map(|chunk| index as u64 | (chunk as u64) << 32);
        starts.extend(pairs);
    }
    let (blocks, offset) = (count("sgd_steps", starts.len())?, 8 * table.len() as u64);
    table.append(&mut starts);
    // One copy a step. candle has no u64.
    let table = table.into_iter().map(u64::cast_signed).collect::<Vec<i64>>();
    let table = Tensor::new(table, first.param.device())?;
    let address = address_of(&table)?;
    // Nesterov's term is zero without, so that one kernel serves both.
    let momentum = first.step.momentum as f32;
    let (ahead, along) = if first.step.nesterov { (momentum, 1.0) } else { (1.0, 0.0) };
    let args = [
        Arg::Address(address),
        Arg::Address(address + offset),
        Arg::Count(CHUNK as u32),
        Arg::Float(momentum),
        Arg::Float(ahead),
        Arg::Float(along),
    ];
    launch(&device, &SGD, "sgd", Grid { blocks: [blocks, 1, 1], threads: [256, 1], shared: 0 }, &args)
}
