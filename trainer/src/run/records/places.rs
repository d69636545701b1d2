//! Whether marks go by the picture or by a place: the part of `eval.json` on where channels have their peaks.

use serde::{Deserialize, Serialize};

/// Where the channels of the right class have their peaks, over right answers. `places` in `eval.json`.
///
/// A channel's peak is the cell of its map with the highest value, the first of equal ones; a channel that is nowhere
/// above 0 has none. Coverage alone does not say whether a class's channels see different parts: channels that always
/// have their peak in the same corner have a high coverage, too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Places {
    /// Right answers that were looked at.
    pub pictures: usize,
    /// Peaks in them.
    pub peaks: usize,
    /// Share of the channels that have no peak, 0..=1.
    pub dead: f64,
    /// Share of the peaks that are in one of the four corner cells, 0..=1.
    pub corner: f64,
    /// What `corner` would be if every cell were as likely.
    pub corner_by_chance: f64,
    /// Share of the peaks that are where the same channel has its peak on a plain grey picture, 0..=1.
    pub blank: f64,
    /// What `blank` would be if every cell were as likely.
    pub blank_by_chance: f64,
    /// Share of the channels whose peak is in one and the same cell in at least half of their class's right answers,
    /// 0..=1. Of the classes with five right answers or more; none without such a class.
    pub parked: Option<f64>,
    /// What peaks do when the picture is moved, where that was looked at.
    pub moved: Option<MovedPeaks>,
}

/// What the peaks of [`Places`] do when the picture is moved by one cell to the left, right, top and bottom; the
/// picture's mean colour moves in. A peak that leaves the maps is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovedPeaks {
    /// Right answers that were moved.
    pub pictures: usize,
    /// Peaks judged.
    pub peaks: usize,
    /// Share of them that move with the picture, 0..=1.
    pub follows: f64,
    /// Share of them that stay in their cell, 0..=1.
    pub stays: f64,
}
