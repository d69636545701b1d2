//! Promises across crates, one module a promise.
//!
//! - `mc_loss`: the loss and its gradients are the paper's, to `PyTorch`'s last digits.
//! - `ops`: every differentiable operation is `PyTorch`'s, forward and backward.
//! - `stock_candle`: what candle gets wrong, and why `ops` exists; fails when an upgrade mends it.
//!
//! `golden` reads the committed numbers of `tests/golden/`, each beside the script that made it.

mod golden;

mod mc_loss;
mod ops;
mod stock_candle;
