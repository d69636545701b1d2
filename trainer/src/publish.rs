//! What leaves the house: the board's model file, the report for a person, the curves for TensorBoard.
//!
//! [`export`] writes the model, [`report`] the page, [`tensorboard`] the event file.
//!
//! May use: everything but [`training`](crate::training).

pub mod export;
pub mod report;
pub mod tensorboard;
