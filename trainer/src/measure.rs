//! Measuring a trained run: what it answers, how far that can be believed, and whether the cues are its reasons.
//!
//! [`answers`] asks the network, [`sketches`] say what classes look like to the backbone, [`calibration`] fits temperature and
//! threshold, [`eval`] measures the test split, `pointing` asks where cues lie, [`faithfulness`] covers them, [`unknown`] compares scores for strangers, [`doubts`] says where figures
//! are not to be relied on.
//!
//! May use: [`run`](crate::run), [`data`](crate::data), [`net`](crate::net); it trains nothing.

pub mod answers;
pub mod calibration;
pub mod doubts;
pub mod eval;
pub mod faithfulness;
mod moved;
pub(crate) mod places;
pub(crate) mod pointing;
mod region;
pub mod sketches;
pub mod unknown;
