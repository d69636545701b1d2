//! A run: what decides it, and the folder that holds all it leaves.
//!
//! [`config`] (also from a [file](config::file)) and [`recipe`] decide a run, [`folder`] is where it stands, [`checkpoint`] its state, [`metrics`] its lines.
//!
//! May use: [`data`](crate::data) and [`net`](crate::net).

pub mod checkpoint;
pub mod config;
pub mod folder;
pub mod metrics;
pub mod recipe;
