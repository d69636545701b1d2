//! Training: the loop, and what takes a step.
//!
//! [`train`] is the loop, [`optim`] the optimiser, [`average`] the running average of its steps, [`memory`] refuses what cannot fit.
//!
//! May use: [`run`](crate::run), [`data`](crate::data), [`net`](crate::net).

pub mod average;
mod best;
pub mod loss;
pub mod memory;
pub mod optim;
pub mod train;
