//! Weights in the order that kernels take them, and maps with zeros around them.

use candle_core::{DType, Result, Tensor};

use super::launch::{Arg, FILTER, Grid, count, launch, suffix};
use super::memory::{Fresh, address_of, cuda};

/// Weights `[K, C, taps]` in f32 as `[K, taps, C]` in `dtype`; `shape` is `[K, C, taps]`.
pub(super) fn filter(weight: &Tensor, [outputs, channels, taps]: [usize; 3], dtype: DType) -> Result<Tensor> {
    let filter = Fresh::new(weight, (outputs, taps, channels), dtype)?;
    let addresses = [address_of(weight)?, filter.address()?];
    reorder("filter_in", addresses, weight, [channels, taps], dtype)?;
    Ok(filter.tensor())
}

/// A gradient `[K, taps, C]` as that of weights of the shape of `weight`, `[K, C, taps]` in f32.
pub(super) fn weight_gradient(
    filter: &Tensor,
    weight: &[usize],
    [channels, taps]: [usize; 2],
) -> Result<Tensor> {
    let gradient = Fresh::new(filter, weight, DType::F32)?;
    let addresses = [address_of(filter)?, gradient.address()?];
    reorder("filter_out", addresses, filter, [channels, taps], filter.dtype())?;
    Ok(gradient.tensor())
}

fn reorder(
    kernel: &str,
    addresses: [u64; 2],
    like: &Tensor,
    [channels, taps]: [usize; 2],
    dtype: DType,
) -> Result<()> {
    let values = count(kernel, like.elem_count())?;
    let [from, to] = addresses.map(Arg::Address);
    let args = [from, to, Arg::Count(channels as u32), Arg::Count(taps as u32), Arg::Count(values)];
    let name = format!("{kernel}_{}", suffix(dtype));
    launch(&cuda(like)?, &FILTER, &name, Grid::over(values), &args)
}

/// Maps that lie as `[B, H, W, C]`, moved down by `top` and right by `left` (negative: cut off) into maps of the given
/// height and width with zeros elsewhere.
pub(super) fn placed(x: &Tensor, [height, width]: [usize; 2], top: i32, left: i32) -> Result<Tensor> {
    let (batch, rows, columns, channels) = x.dims4()?;
    let y = Fresh::new(x, (batch, height, width, channels), x.dtype())?;
    let values = count("padding", batch * height * width * channels)?;
    let args = [
        Arg::Address(address_of(x)?),
        Arg::Address(y.address()?),
        Arg::Count(channels as u32),
        Arg::Count(rows as u32),
        Arg::Count(columns as u32),
        Arg::Count(height as u32),
        Arg::Count(width as u32),
        Arg::Signed(top),
        Arg::Signed(left),
        Arg::Count(values),
    ];
    launch(&cuda(x)?, &FILTER, &format!("place_{}", suffix(x.dtype())), Grid::over(values), &args)?;
    Ok(y.tensor())
}
