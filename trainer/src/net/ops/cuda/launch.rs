//! Starting kernels.

use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg};
use candle_core::{CudaDevice, DType, Result, bail};

/// Kernels compiled to one file.
pub(super) struct Module {
    pub name: &'static str,
    pub ptx: &'static str,
}

macro_rules! module {
    ($constant:ident, $name:literal) => {
        pub(super) const $constant: Module = Module {
            name: concat!("fieldmark_", $name),
            ptx: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx")),
        };
    };
}

module!(DEPTHWISE, "depthwise");
module!(FILTER, "filter");
module!(GROUPS, "groups");
module!(NORM, "norm");
module!(POINTWISE, "pointwise");
module!(POOL, "pool");
module!(SGD, "sgd");

/// A kernel's argument.
#[derive(Clone, Copy)]
pub(super) enum Arg {
    Address(u64),
    Count(u32),
    Signed(i32),
    Float(f32),
    Double(f64),
    /// A structure of nine sizes.
    Nine([u32; 9]),
    /// A structure of ten sizes.
    Ten([u32; 10]),
}

/// How many blocks of how many threads, and the bytes of memory that each block shares.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub blocks: [u32; 3],
    pub threads: [u32; 2],
    pub shared: u32,
}

/// Threads of a block where each makes one value.
const THREADS: u32 = 256;

impl Grid {
    /// A thread for each of `count` values.
    pub(super) fn over(count: u32) -> Grid {
        Grid { blocks: [count.div_ceil(THREADS), 1, 1], threads: [THREADS, 1], shared: 0 }
    }

    /// As [`Grid::over`], with as many blocks at most as keep a GPU busy; the kernel loops.
    pub(super) fn looping_over(count: u32) -> Grid {
        Grid { blocks: [count.div_ceil(THREADS).min(4096), 1, 1], ..Grid::over(count) }
    }
}

/// Queues a kernel behind all that was queued before.
pub(super) fn launch(
    device: &CudaDevice,
    module: &Module,
    kernel: &str,
    grid: Grid,
    args: &[Arg],
) -> Result<()> {
    let function = device.get_or_load_custom_func(kernel, module.name, module.ptx)?;
    let mut builder = function.builder();
    for arg in args {
        match arg {
            Arg::Address(value) => builder.arg(value),
            Arg::Count(value) => builder.arg(value),
            Arg::Signed(value) => builder.arg(value),
            Arg::Float(value) => builder.arg(value),
            Arg::Double(value) => builder.arg(value),
            Arg::Nine(values) => builder.arg(values),
            Arg::Ten(values) => builder.arg(values),
        };
    }
    let [x, y, z] = grid.blocks;
    let [across, down] = grid.threads;
    let config =
        LaunchConfig { grid_dim: (x, y, z), block_dim: (across, down, 1), shared_mem_bytes: grid.shared };
    // SAFETY: each caller passes what the kernel's parameters are, of tensors as large as its sizes say.
    unsafe { builder.launch(config) }?;
    Ok(())
}

/// The end of a kernel's name for maps of a type.
pub(super) fn suffix(dtype: DType) -> &'static str {
    if dtype == DType::BF16 { "bf16" } else { "f32" }
}

/// Values that a thread moves at once: 16 bytes where `along` values lie in a row and every address allows it.
pub(super) fn width(dtype: DType, along: usize, addresses: &[u64]) -> u32 {
    let most = 16 / dtype.size_in_bytes();
    let is_aligned = addresses.iter().all(|address| address.is_multiple_of(16));
    if along.is_multiple_of(most) && is_aligned { most as u32 } else { 1 }
}

/// A number of values that kernels can count.
pub(super) fn count(name: &str, values: usize) -> Result<u32> {
    match i32::try_from(values) {
        Ok(values) => Ok(values as u32),
        Err(_) => bail!("{name}: {values} values at once are too many for the GPU; choose a smaller batch"),
    }
}
