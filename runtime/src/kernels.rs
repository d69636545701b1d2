//! The convolution kernels: a network of fused steps over activations that lie pixel by pixel.
//!
//! Everything here is `no_std` with `alloc` but [`Threads`]. ARCHITECTURE.md has the drawing of who calls whom.
//!
//! - **Layout**: a pixel's channels lie side by side (NHWC), filled up to whole vectors, so that no kernel has a tail.
//! - **Algorithm once, instruction set many times**: kernels are generic over vectors, and compiled once for each of
//!   [`Isa`]. [`Builder::new`] is told which one; weights are packed for it.
//! - **Fused**: a convolution adds bias and residual and clamps before it stores.
//! - **Planned**: all buffers lie in one [`Arena`]; a run allocates nothing.
//! - **Shared**: a step's tasks do not depend on each other, and no sum is split: any number of threads gives the
//!   same bits.
#![allow(unsafe_code, reason = "vectors and buffers by pointer; each block says why it is sound")]
#![allow(clippy::inline_always, reason = "what is not inlined is compiled for the baseline processor")]
#![allow(clippy::wildcard_imports, reason = "intrinsics")]
#![allow(clippy::enum_glob_use, reason = "the orderings of atomics")]

mod dense;
mod depthwise;
#[cfg(target_arch = "aarch64")]
mod halves;
mod isa;
mod memory;
#[cfg(neon32)]
mod neon32;
mod network;
mod separable;
mod simd;
mod simple;
mod team;
#[cfg(test)]
mod tests;
#[cfg(feature = "std")]
mod threads;
mod tiles;
mod window;
mod winograd;

pub use dense::Storage;
pub use isa::Isa;
#[cfg(feature = "std")]
pub use memory::{reserve, return_freed};
pub use network::{Arena, Builder, Convolution, Network, Value};
pub use simple::{Reduction, Source};
pub use team::{Alone, Team};
#[cfg(feature = "std")]
pub use threads::Threads;
pub use window::Shape;
