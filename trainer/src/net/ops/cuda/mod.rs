//! The operations on NVIDIA GPUs: cuDNN for dense convolutions, kernels of our own for the rest.
//!
//! Maps have candle's shape `[B, C, H, W]` but lie channels last in memory, `[B, H, W, C]`, as tensor cores want
//! them: a result is handed out as a transposed view, and the next operation takes the transposition back, so that
//! nothing is copied between operations of ours. A map in candle's own order is turned once, on its way in.
//!
//! Maps are f32 or bf16, parameters, statistics and losses f32, sums f32 within a thread and f64 across. Nothing is
//! added atomically and no algorithm of cuDNN is taken that does: two equal runs give equal bits. Nothing here waits
//! for the GPU.
#![allow(unsafe_code)] // Kernels and cuDNN are foreign functions that write through addresses.

mod beside;
mod conv;
mod cudnn;
mod depthwise;
mod filter;
mod groups;
mod launch;
mod memory;
mod norm;
mod pointwise;
mod pool;
mod sgd;
mod upload;

pub use cudnn::allow_tf32;
pub use memory::{open_gpu, peak_gpu_bytes};
pub use upload::{Upload, Uploads};

pub(super) use beside::beside;
pub(super) use conv::conv2d;
pub(super) use groups::{ccmp, coverage};
pub(super) use norm::{batch_norm_train, move_running, scale_shift};
pub(super) use pointwise::{add, rectified};
pub(super) use pool::{avg_pool, gap, max_pool};
pub(super) use sgd::sgd_steps;
