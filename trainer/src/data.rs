//! The pictures: which there are, which split each is in, and how they reach the network.
//!
//! [`dataset`] reads and splits, [`synth`] draws, [`lint`] warns, [`picture`] prepares one as the board does, [`batch`] many as
//! training wants them.
//!
//! May use: [`net`](crate::net) for tensors on a device; nothing of a run.

pub mod batch;
pub mod dataset;
pub mod lint;
pub mod picture;
pub mod synth;
