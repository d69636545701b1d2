//! Starts programs of others, and says what it starts: what the trainer's program and the project's chores share.
//!
//! [`process`] runs commands, [`wheel`] takes files out of packages of Python's registry, [`elf`] asks `readelf` whether a
//! program starts on a board, [`hash`] is what `sha256sum` prints.

pub mod elf;
pub mod hash;
pub mod process;
pub mod wheel;
