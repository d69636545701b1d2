//! A run: what decides it, and the folder that holds all it leaves.
//!
//! [`config`] and [`recipe`] decide a run, [`config_file`] reads a person's file over them. [`folder`] is where it stands
//! ([`lock`]: one program at a time), [`checkpoint`] its state, [`records`] what is written there and read back, [`metrics`] an
//! epoch's sums.
//!
//! May use: [`data`](crate::data) and [`net`](crate::net).

pub mod checkpoint;
pub mod config;
pub mod config_file;
pub mod error;
pub mod folder;
pub mod lock;
pub mod metrics;
pub mod places;
pub mod recipe;
pub mod records;
