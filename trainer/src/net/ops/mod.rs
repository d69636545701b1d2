//! Differentiable operations that candle lacks, gets wrong or does slowly, for f32 and f64; with the feature `cuda`
//! also on GPUs, for f32 and bf16.
//!
//! Each is a candle custom operation with its own forward and backward pass: one pass over memory
//! where candle makes several, gradients as `PyTorch` defines them (0 at a kink, the first of equal
//! maxima), clear errors instead of panics. f64 exists so that gradients can be checked against
//! central differences. No result depends on the number of threads: sums are cut by sizes alone.

// Bodies of loops must join the loop they are compiled for; see `simd`.
#![allow(clippy::inline_always)]

mod activation;
mod beside;
mod ccmp;
mod columns;
mod conv;
mod coverage;
#[cfg(feature = "cuda")]
mod cuda;
mod dense;
mod depthwise;
mod geometry;
mod levels;
mod norm;
mod norm_output;
mod pointwise;
mod pool;
mod product;
mod running;
mod scale_shift;
mod sgd;
mod simd;
mod storage;
mod sums;
mod tape;
mod update;
mod weight_gradient;
mod window;
mod winograd;

#[cfg(test)]
mod reference;

pub use activation::Activation;
pub use beside::beside;
pub use ccmp::{ccmp, masked_ccmp};
pub use conv::conv2d;
pub use coverage::coverage;
#[cfg(feature = "cuda")]
pub use cuda::{Upload, Uploads, allow_tf32, open_gpu, peak_gpu_bytes};
pub use geometry::ConvGeometry;
pub use norm::batch_norm_train;
pub use norm_output::BatchNormOutput;
pub use pointwise::{add, add_relu, relu, relu6};
pub use pool::{avg_pool, gap, max_pool};
pub use running::move_running;
pub use scale_shift::scale_shift;
pub use sgd::{sgd_step, sgd_steps};
pub use storage::keep_freed_memory;
pub use tape::{Gradients, Tape, record};
pub use update::{SgdStep, Update};
pub use window::same_padding;
