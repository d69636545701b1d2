//! Depthwise convolution: memory-bound, so that one pass of our own beats a library's general path.

use candle_core::{DType, Result, Tensor};

use super::super::geometry::Conv;
use super::filter::filter;
use super::launch::{Arg, DEPTHWISE, Grid, count, launch, suffix, width};
use super::memory::{Fresh, address_of, cuda};

/// Taps of a kernel's row that a thread of the filter gradient holds; `COLUMNS` of the kernel.
const COLUMNS: usize = 5;
/// Blocks that keep a GPU busy.
const BLOCKS: u32 = 2048;

/// `x` lies as `[B, H, W, C]`, `weight` is `[C, 1, kh, kw]` in f32.
pub(super) fn forward(conv: &Conv, x: &Tensor, weight: &Tensor) -> Result<Fresh> {
    let [height, width] = conv.window.output;
    let y = Fresh::new(x, (conv.batch, height, width, conv.outputs), x.dtype())?;
    run(conv, "depthwise", [address_of(x)?, y.address()?], x, weight, conv.window.positions())?;
    Ok(y)
}

pub(super) fn input_gradient(conv: &Conv, weight: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let [height, width] = conv.window.input;
    let dx = Fresh::new(dy, (conv.batch, height, width, conv.inputs), dy.dtype())?;
    run(conv, "depthwise_data", [address_of(dy)?, dx.address()?], dy, weight, conv.window.area())?;
    Ok(dx.tensor())
}

/// Runs a kernel that makes `area` values a map.
fn run(
    conv: &Conv,
    kernel: &str,
    [from, to]: [u64; 2],
    like: &Tensor,
    weight: &Tensor,
    area: usize,
) -> Result<()> {
    let taps = taps_first(conv, weight)?;
    let by_taps = address_of(&taps)?;
    let width = width(like.dtype(), conv.inputs, &[from, to, by_taps]);
    let packs = count(kernel, conv.batch * area * conv.inputs)? / width;
    let args = [
        Arg::Address(from),
        Arg::Address(by_taps),
        Arg::Address(to),
        Arg::Ten(sizes(conv)),
        Arg::Count(packs),
    ];
    let name = format!("{kernel}_{}_{width}", suffix(like.dtype()));
    launch(&cuda(like)?, &DEPTHWISE, &name, Grid::over(packs), &args)
}

/// `[taps, C]` in f32.
fn taps_first(conv: &Conv, weight: &Tensor) -> Result<Tensor> {
    filter(weight, [1, conv.inputs, conv.window.taps()], DType::F32)
}

fn sizes(conv: &Conv) -> [u32; 10] {
    let window = &conv.window;
    [
        window.input[0],
        window.input[1],
        conv.inputs,
        window.kernel[0],
        window.kernel[1],
        window.stride,
        window.padding[0],
        window.padding[1],
        window.output[0],
        window.output[1],
    ]
    .map(|size| size as u32)
}

/// `[C, 1, kh, kw]` in f32.
pub(super) fn weight_gradient(conv: &Conv, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (device, window) = (cuda(x)?, &conv.window);
    let [rows, columns] = window.kernel;
    let positions = count("depthwise", conv.batch * window.positions())?;
    let channels = count("depthwise", conv.inputs)?;
    let (tiles, planes) = (channels.div_ceil(32), (rows * columns.div_ceil(COLUMNS)) as u32);
    // A thread sums 16 positions at least, if there are as many.
    let wanted = positions.div_ceil(8 * 16).min((BLOCKS / (tiles * planes)).max(1));
    let positions_a_part = positions.div_ceil(wanted);
    let parts = positions.div_ceil(positions_a_part);
    let sums = Fresh::new(x, (parts as usize, rows, columns, conv.inputs), DType::F32)?;
    let args = [
        Arg::Address(address_of(x)?),
        Arg::Address(address_of(dy)?),
        Arg::Address(sums.address()?),
        Arg::Ten(sizes(conv)),
        Arg::Count(positions),
        Arg::Count(positions_a_part),
    ];
    let grid = Grid { blocks: [tiles, parts, planes], threads: [32, 8], shared: 0 };
    launch(&device, &DEPTHWISE, &format!("depthwise_filter_{}", suffix(x.dtype())), grid, &args)?;
    let gradient = Fresh::new(x, (conv.outputs, 1, rows, columns), DType::F32)?;
    let taps = window.taps() as u32;
    let args = [
        Arg::Address(sums.address()?),
        Arg::Address(gradient.address()?),
        Arg::Count(parts),
        Arg::Count(channels),
        Arg::Count(taps),
    ];
    launch(&device, &DEPTHWISE, "depthwise_filter_end", Grid::over(channels * taps), &args)?;
    Ok(gradient.tensor())
}
