//! Part cues: where each channel of a class looks, and what that adds to the class's logit.
//!
//! After training with MC-Loss every channel of a class's group fires at one compact part, so a
//! channel's peak is a place in the picture and its share of the logit says what the place counts for.
//! No gradient is taken: the maps themselves are the evidence, as in the paper's figures.

use alloc::vec::Vec;

use ndarray::{ArrayView2, ArrayView3, Axis};
use serde::Serialize;

use crate::frame::View;
use crate::head::{Head, largest_first};
use crate::layout::Layout;

mod region;

use region::Region;

/// Where one channel of a class looks, or several channels that look at the same place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartCue {
    /// The channel's index within its class, 0 to `xi - 1`.
    pub part: usize,
    /// The channel's index in the maps, 0 to `N - 1`.
    pub channel: usize,
    /// Other channels of the class that look at the same place, in channel order; `share` counts them.
    pub merged: Vec<usize>,
    /// The peak's column, in picture pixels from the left edge.
    pub x: f32,
    /// The peak's row, in picture pixels from the top edge.
    pub y: f32,
    /// What surrounds the peak at half its height or more: `[left, top, right, bottom]` in picture pixels.
    #[serde(rename = "box")]
    pub bounds: [f32; 4],
    /// The map's value at the peak cell, in the map's own unit; 0 if dead.
    pub strength: f32,
    /// What the channel, with those merged into it, adds to the class's logit; all shares together are not the whole
    /// logit where the head is linear.
    pub share: f32,
    /// More than a quarter of the map is at half the peak's height or more: the channel looks at no one place, and its peak
    /// says little.
    pub spread: bool,
    /// The channel is nowhere above 0, so it looks at nothing: position and bounds are 0.
    pub dead: bool,
}

impl PartCue {
    /// The number that people are shown, 1 to `xi`: the same channel of a class has the same number in every picture.
    pub fn number(&self) -> usize {
        self.part + 1
    }

    /// It speaks for the class: it is not dead, and its share is above 0.
    pub fn speaks(&self) -> bool {
        !self.dead && self.share > 0.0
    }

    /// It [speaks](PartCue::speaks) for the class from one place: it is not spread.
    pub fn is_mark(&self) -> bool {
        self.speaks() && !self.spread
    }
}

/// The part cues of `class`, strongest share first.
///
/// `maps` are `[N, H, W]` of one picture, of which cell `(row, column)` covers the input pixels
/// `column * side / W` to `(column + 1) * side / W` across and likewise down; `view` leads from the
/// `side * side` input to the picture. There is one cue a channel, except that channels that look at the same
/// place are one cue: the highest peak's, with the shares added. Two channels do if they have the same peak cell, or if
/// neither is spread and one's peak lies in the other's region. So the shares of all cues sum to
/// the shares of the class. For the group heads that plus the bias is the class's logit to the rounding of 32-bit
/// floats; for the linear head it is not, as other classes' channels add to the logit, too (see [`Head::shares`]).
///
/// A channel's *region* is the 4-connected cells around its peak whose values are at least half of it. The bounds are the
/// region's, ending where the values between the cells' centres fall below that half. The peak is refined below a cell by
/// the parabola through it and its two neighbours on each axis (not at the map's border). Values that are not finite count
/// as 0 here.
///
/// # Panics
/// As [`Head::shares`]: panics if `class` is none of the layout's, or if `maps` or the head's weights
/// have other than `layout.channels()` channels.
pub fn part_cues(
    maps: ArrayView3<'_, f32>,
    layout: &Layout,
    head: &Head,
    class: usize,
    view: &View,
    side: u32,
) -> Vec<PartCue> {
    let shares = head.shares(maps, layout, class);
    let first = layout.group(class).start;
    let mut found: Vec<Found> = Vec::with_capacity(shares.len());
    for (part, &share) in shares.iter().enumerate() {
        let channel = first + part;
        let finite = |&value: &f32| if value.is_finite() { value } else { 0.0 };
        let map = maps.index_axis(Axis(0), channel).map(finite);
        let peak = peak_cell(map.view());
        let mut cue = PartCue {
            part,
            channel,
            merged: Vec::new(),
            x: 0.0,
            y: 0.0,
            bounds: [0.0; 4],
            strength: 0.0,
            share,
            spread: false,
            dead: peak.is_none(),
        };
        let place = peak.map(|peak| (peak, Region::around(map.view(), peak)));
        if let Some((peak, region)) = &place {
            locate(&mut cue, map.view(), *peak, region, view, side);
        }
        found.push(Found { cue, place });
    }
    let mut cues = merged_where_coincident(found);
    cues.sort_by(|a, b| largest_first(a.share, b.share).then(a.part.cmp(&b.part)));
    cues
}

/// A channel's cue, and its peak with the region around it, unless it is dead.
struct Found {
    cue: PartCue,
    place: Option<(Cell, Region)>,
}

impl Found {
    fn looks_where(&self, other: &Found) -> bool {
        let (Some((peak, region)), Some((other_peak, other_region))) = (&self.place, &other.place) else {
            return false;
        };
        let is_compact = !self.cue.spread && !other.cue.spread;
        peak == other_peak || is_compact && (region.holds(*other_peak) || other_region.holds(*peak))
    }
}

/// Row and column in a map.
type Cell = (usize, usize);

/// The highest cell above 0, the first on ties.
fn peak_cell(map: ArrayView2<'_, f32>) -> Option<Cell> {
    let (mut peak, mut highest) = (None, 0.0);
    for (cell, &value) in map.indexed_iter() {
        if value > highest {
            (peak, highest) = (Some(cell), value);
        }
    }
    peak
}

/// Fills in where in the picture the map's peak is, how high, and how wide.
fn locate(cue: &mut PartCue, map: ArrayView2<'_, f32>, peak: Cell, region: &Region, view: &View, side: u32) {
    let (height, width) = map.dim();
    let (row, column) = peak;
    let to_picture = |column: f32, row: f32| {
        let (cell_width, cell_height) = (side as f32 / width as f32, side as f32 / height as f32);
        view.to_picture(column * cell_width, row * cell_height)
    };
    let at = |row: usize, column: usize| map.get((row, column)).copied();
    let across =
        vertex(column.checked_sub(1).and_then(|before| at(row, before)), map[peak], at(row, column + 1));
    let down =
        vertex(row.checked_sub(1).and_then(|before| at(before, column)), map[peak], at(row + 1, column));
    (cue.x, cue.y) = to_picture(column as f32 + 0.5 + across, row as f32 + 0.5 + down);
    let [left, top, right, bottom] = region.bounds;
    let ((x0, y0), (x1, y1)) = (to_picture(left, top), to_picture(right, bottom));
    cue.bounds = [x0, y0, x1, y1];
    cue.spread = region.is_spread();
    cue.strength = map[peak];
}

/// Where the parabola through a peak and its neighbours is highest, in cells from the peak: -0.5..=0.5,
/// as no neighbour is higher. 0 without both neighbours.
fn vertex(before: Option<f32>, peak: f32, after: Option<f32>) -> f32 {
    let (Some(before), Some(after)) = (before, after) else {
        return 0.0;
    };
    // In f64, as differences of large f32 can overflow.
    let (before, peak, after) = (f64::from(before), f64::from(peak), f64::from(after));
    let bend = 2.0 * peak - before - after;
    if bend > 0.0 { (0.5 * (after - before) / bend) as f32 } else { 0.0 }
}

/// One cue a place, the strongest one's; dead channels stay apart.
fn merged_where_coincident(mut found: Vec<Found>) -> Vec<PartCue> {
    found.sort_by(|Found { cue: a, .. }, Found { cue: b, .. }| {
        largest_first(a.strength, b.strength).then(a.part.cmp(&b.part))
    });
    let mut kept: Vec<Found> = Vec::with_capacity(found.len());
    for found in found {
        // Dead channels are not looked for: there may be very many of them.
        let is_dead = found.cue.dead;
        match kept.iter_mut().find(|stronger| !is_dead && found.looks_where(stronger)) {
            Some(Found { cue: stronger, .. }) => {
                stronger.merged.push(found.cue.channel);
                stronger.share += found.cue.share;
            }
            None => kept.push(found),
        }
    }
    for Found { cue, .. } in &mut kept {
        cue.merged.sort_unstable();
    }
    kept.into_iter().map(|found| found.cue).collect()
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "cell borders are whole numbers, exact in f32")]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::frame::ResizeRule;
    use crate::head::HeadKind;

    /// One class of `xi` channels of 5 x 7 cells, seen 1:1 through an input of 70.
    struct Scene {
        layout: Layout,
        head: Head,
        maps: Array3<f32>,
        view: View,
        side: u32,
    }

    impl Scene {
        fn new(xi: usize, kind: HeadKind) -> Scene {
            Scene {
                layout: Layout::uniform(1, xi).unwrap(),
                head: Head { kind, weight: vec![1.0; xi], bias: vec![0.0] },
                maps: Array3::zeros((xi, 5, 7)),
                view: View::new(70, 70, ResizeRule::Squash, 70),
                side: 70,
            }
        }

        fn cues(&self) -> Vec<PartCue> {
            let maps = self.maps.view();
            part_cues(maps, &self.layout, &self.head, 0, &self.view, self.side)
        }
    }

    fn close(a: f32, b: f32) -> bool {
        (a - b).abs() <= 1e-4
    }

    fn assert_box(cue: &PartCue, expected: [f32; 4]) {
        let is_close = cue.bounds.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-3);
        assert!(is_close, "{:?}, expected {expected:?}", cue.bounds);
    }

    #[test]
    fn the_peak_of_a_parabola_is_found_exactly() {
        for (row, column) in [(2.0, 3.0), (2.3, 2.8), (1.75, 4.49), (2.5, 3.25)] {
            let mut scene = Scene::new(1, HeadKind::GroupMean);
            for ((_, y, x), value) in scene.maps.indexed_iter_mut() {
                let (dy, dx) = (y as f32 - row, x as f32 - column);
                *value = 100.0 - 3.0 * dy * dy - 2.0 * dx * dx;
            }
            let cue = &scene.cues()[0];
            // Cells are 10 wide and 14 high.
            assert!(close(cue.x, (column + 0.5) * 10.0), "{cue:?}");
            assert!(close(cue.y, (row + 0.5) * 14.0), "{cue:?}");
        }
    }

    #[test]
    fn a_peak_at_the_border_is_the_middle_of_its_cell() {
        let mut scene = Scene::new(1, HeadKind::GroupMean);
        scene.maps[[0, 0, 6]] = 4.0;
        scene.maps[[0, 0, 5]] = 3.0;
        scene.maps[[0, 1, 6]] = 3.0;
        let cue = &scene.cues()[0];
        assert_eq!((cue.x, cue.y, cue.strength), (65.0, 7.0, 4.0));
        // Between 3 and 0 the values fall below 2 after a third.
        assert_box(cue, [51.667, 0.0, 70.0, 25.667]);
    }

    #[test]
    fn the_box_is_the_connected_region_of_half_the_peak() {
        let mut scene = Scene::new(1, HeadKind::GroupMean);
        // An arm of exactly half, a cell below half, a diagonal neighbour, and a far second peak.
        for (y, x, value) in [(2, 2, 8.0), (2, 3, 4.0), (2, 4, 4.0), (1, 2, 3.9), (3, 1, 7.0), (0, 6, 8.0)] {
            scene.maps[[0, y, x]] = value;
        }
        // The first of equal peaks in reading order is at (0, 6); lower it to be second.
        scene.maps[[0, 0, 6]] = 7.9;
        // Above the peak from 8 to 3.9; a value of exactly half ends at its centre.
        assert_box(&scene.cues()[0], [20.0, 14.0 * (2.5 - 4.0 / 4.1), 45.0, 42.0]);
        scene.maps[[0, 2, 1]] = 5.0;
        assert_box(&scene.cues()[0], [10.0 * (1.5 - 3.0 / 7.0), 14.0 * (2.5 - 4.0 / 4.1), 45.0, 55.0]);
    }

    #[test]
    fn a_lone_cell_is_its_own_box() {
        let mut scene = Scene::new(1, HeadKind::GroupMax);
        scene.maps[[0, 4, 0]] = 35.0;
        let cue = &scene.cues()[0];
        assert_eq!(cue.bounds, [0.0, 56.0, 10.0, 70.0]);
        assert_eq!((cue.share, cue.strength, cue.dead), (1.0, 35.0, false));
    }

    #[test]
    fn channels_that_are_nowhere_above_zero_are_dead_and_keep_their_share() {
        let mut scene = Scene::new(3, HeadKind::GroupMean);
        scene.maps[[0, 1, 1]] = 3.5;
        scene.maps[[2, 0, 0]] = -7.0;
        let cues = scene.cues();
        let facts: Vec<_> = cues.iter().map(|cue| (cue.part, cue.dead)).collect();
        assert_eq!(facts, [(0, false), (1, true), (2, true)]);
        assert!(close(cues[2].share, -0.2));
        assert_eq!((cues[2].strength, cues[2].bounds), (0.0, [0.0; 4]));
        assert!(cues.iter().all(|cue| cue.merged.is_empty()));
    }

    #[test]
    fn channels_with_the_same_peak_cell_are_one_cue() {
        let mut scene = Scene::new(4, HeadKind::GroupMean);
        scene.head.weight = vec![1.0, 1.0, 5.0, 1.0];
        scene.maps[[0, 1, 1]] = 3.5;
        scene.maps[[1, 1, 1]] = 7.0;
        scene.maps[[2, 3, 3]] = 7.0;
        scene.maps[[3, 1, 1]] = 1.0;
        let cues = scene.cues();
        assert_eq!(cues.len(), 2);
        assert_eq!((cues[0].part, cues[0].merged.len()), (2, 0));
        assert_eq!((cues[1].part, &cues[1].merged), (1, &vec![0, 3]));
        assert!(close(cues[1].share, 11.5 / 35.0));
        assert!(close(cues[1].strength, 7.0));
    }

    #[test]
    fn a_channel_whose_peak_lies_in_anothers_region_is_the_same_cue() {
        let mut scene = Scene::new(3, HeadKind::GroupMean);
        // The second peaks beside the first, which is half as high there; the third's broad region holds the first's peak.
        for (channel, y, x, value) in
            [(0, 2, 2, 8.0), (0, 2, 3, 4.0), (1, 2, 3, 3.0), (2, 2, 4, 2.0), (2, 2, 3, 1.5), (2, 2, 2, 1.0)]
        {
            scene.maps[[channel, y, x]] = value;
        }
        let cues = scene.cues();
        assert_eq!((cues.len(), cues[0].channel, &cues[0].merged), (1, 0, &vec![1, 2]));
        // A cell below half parts them.
        scene.maps[[0, 2, 3]] = 3.9;
        scene.maps[[2, 2, 3]] = 0.9;
        assert_eq!(scene.cues().len(), 3);
    }

    #[test]
    fn a_flat_map_is_spread_and_takes_nobody_in() {
        let mut scene = Scene::new(2, HeadKind::GroupMean);
        // 9 of 35 cells are more than a quarter, 8 are not.
        for cell in 0..9 {
            scene.maps[[0, cell / 7, cell % 7]] = 4.0;
        }
        scene.maps[[1, 0, 3]] = 1.0;
        let cues = scene.cues();
        let facts: Vec<_> = cues.iter().map(|cue| (cue.channel, cue.spread, cue.is_mark())).collect();
        assert_eq!(facts, [(0, true, false), (1, false, true)]);
        scene.maps[[0, 1, 1]] = 1.9;
        let cues = scene.cues();
        assert_eq!((cues.len(), cues[0].spread, cues[0].number()), (1, false, 1));
    }

    #[test]
    fn cues_come_strongest_share_first() {
        let mut scene = Scene::new(3, HeadKind::GroupMean);
        scene.head.weight = vec![-1.0, 2.0, 1.0];
        for channel in 0..3 {
            scene.maps[[channel, channel, channel]] = 5.0;
        }
        let order: Vec<_> = scene.cues().iter().map(|cue| cue.part).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn only_the_channels_of_the_class_are_looked_at() {
        let layout = Layout::from_sizes(&[2, 1]).unwrap();
        let head = Head { kind: HeadKind::GroupMax, weight: vec![1.0; 3], bias: vec![0.0; 2] };
        let mut maps = Array3::zeros((3, 2, 2));
        maps[[0, 0, 0]] = 50.0;
        maps[[2, 1, 1]] = 4.0;
        let view = View::new(2, 2, ResizeRule::Squash, 2);
        let cues = part_cues(maps.view(), &layout, &head, 1, &view, 2);
        assert_eq!(cues.len(), 1);
        assert_eq!((cues[0].part, cues[0].channel), (0, 2));
        assert!(close(cues[0].share, 1.0));
    }

    #[test]
    fn positions_are_in_picture_pixels_under_every_resize_rule() {
        use ResizeRule::{Crop, Pad, Squash};
        // A peak in cell (row 1, column 5) of 7 x 7, i.e. input (165, 45) .. of 210, in 640 x 480.
        for (rule, point, bounds) in [
            (Squash, (502.857, 102.857), [457.143, 68.571, 548.571, 137.143]),
            (Crop, (457.143, 102.857), [422.857, 68.571, 491.429, 137.143]),
            (Pad, (502.857, 57.722), [457.143, 12.152, 548.571, 103.291]),
        ] {
            let mut scene = Scene::new(1, HeadKind::GroupMean);
            scene.maps = Array3::zeros((1, 7, 7));
            scene.maps[[0, 1, 5]] = 1.0;
            scene.view = View::new(640, 480, rule, 210);
            scene.side = 210;
            let cue = &scene.cues()[0];
            assert!((cue.x - point.0).abs() < 0.01, "{rule:?} {cue:?}");
            assert!((cue.y - point.1).abs() < 0.01, "{rule:?} {cue:?}");
            for (a, b) in cue.bounds.iter().zip(bounds) {
                assert!((a - b).abs() < 0.01, "{rule:?} {cue:?}");
            }
        }
    }

    #[test]
    fn shares_of_cues_sum_to_the_logit_and_points_lie_in_their_boxes() {
        let mut state = 5_u64;
        let mut random = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005);
            state = state.wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for case in 0..300 {
            let kind = [HeadKind::GroupMax, HeadKind::GroupMean][case % 2];
            let mut scene = Scene::new(1 + random(6) as usize, kind);
            // Few distinct values, so that ties, dead channels, and coincident peaks come up.
            scene.maps.mapv_inplace(|_| (random(40) as f32 - 35.0).max(0.0));
            let logit = scene.head.logits(scene.maps.view(), &scene.layout).unwrap()[0];
            let cues = scene.cues();
            assert!(close(cues.iter().map(|cue| cue.share).sum(), logit));
            let channels: usize = cues.iter().map(|cue| 1 + cue.merged.len()).sum();
            assert_eq!(channels, scene.layout.channels());
            for cue in cues.iter().filter(|cue| !cue.dead) {
                let [x0, y0, x1, y1] = cue.bounds;
                assert!(x0 <= cue.x && cue.x <= x1 && x1 - x0 >= 9.99, "{cue:?}");
                assert!(y0 <= cue.y && cue.y <= y1 && y1 - y0 >= 13.99, "{cue:?}");
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_do_not_panic_and_are_no_peaks() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut scene = Scene::new(2, HeadKind::GroupMax);
            scene.maps.fill(bad);
            scene.maps[[1, 2, 2]] = 3.0;
            let cues = scene.cues();
            assert_eq!(cues.len(), 2);
            assert!(cues.iter().any(|cue| cue.part == 0 && cue.dead));
            assert!(cues.iter().any(|cue| close(cue.strength, 3.0)));
        }
        let mut scene = Scene::new(1, HeadKind::GroupMean);
        scene.maps.fill(f32::MAX);
        assert!(scene.cues()[0].x.is_finite());
        scene.maps = Array3::zeros((1, 0, 0));
        assert!(scene.cues()[0].dead);
    }

    #[test]
    fn json_calls_the_bounds_box() {
        let json = serde_json::to_value(&Scene::new(1, HeadKind::GroupMax).cues()[0]).unwrap();
        assert!(json.get("box").is_some());
        assert!(json.get("bounds").is_none());
    }
}
