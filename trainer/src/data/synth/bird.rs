//! Drawing a bird, part by part, from the back to the front.

use rand::{Rng, RngExt};
use tiny_skia::{Mask, Pixmap, Point, Transform};

use super::head::{EYE, draw_head};
use super::paint::{arc, colour, curve, darker, fill, inside, layer, polygon, stroke};
use super::pose::{HIP, Pose};
use super::species::{Breast, Part, Plumage, Rgb, Species, TailShape};

/// A part's place in the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartPlace {
    /// Which part.
    pub part: Part,
    /// Centre, pixels.
    pub x: f32,
    /// Centre, pixels.
    pub y: f32,
    /// The circle that holds the part's mark, pixels.
    pub radius: f32,
}

/// A `side * side` layer with the bird alone.
pub fn bird(species: &Species, plumage: &Plumage, pose: &Pose, side: u32, rng: &mut impl Rng) -> Pixmap {
    let mut target = layer(side);
    draw_leg(&mut target, plumage.legs, pose, 0);
    draw_tail(&mut target, species, plumage.tail, pose);
    draw_body(&mut target, species, plumage, pose, rng);
    draw_leg(&mut target, plumage.legs, pose, 1);
    draw_wing(&mut target, species, plumage.wing, pose);
    draw_head(&mut target, species, plumage, pose.head);
    target
}

/// Where a species' parts are in a pose.
pub fn part_places(species: &Species, pose: &Pose) -> Vec<PartPlace> {
    let tail_middle = tail_length(species.tail) * 0.62;
    Part::ALL
        .into_iter()
        .map(|part| {
            let head_unit = 0.56 * pose.unit;
            let (map, at, radius) = match part {
                Part::Crown => (pose.head, (-0.05, -0.6), 0.92 * head_unit),
                Part::Eye => (pose.head, (0.02, EYE.1), 0.9 * head_unit),
                Part::Bill => (pose.head, (1.5, 0.2), 0.86 * head_unit),
                Part::Throat => (pose.head, (0.5, 0.8), 0.62 * head_unit),
                Part::Breast => (pose.body, (0.76, 0.25), 0.48 * pose.unit),
                Part::Wing => (pose.wing, (-0.58, 0.07), 0.46 * pose.unit),
                Part::Tail => (pose.tail, (-tail_middle, 0.0), 0.62 * pose.unit),
                Part::Belly => (pose.body, (-0.1, 0.42), 0.3 * pose.unit),
                Part::Back => (pose.body, (-0.1, -0.5), 0.3 * pose.unit),
                Part::Legs => (pose.body, (HIP.0, HIP.1 + 0.2), 0.3 * pose.unit),
            };
            let mut point = Point::from_xy(at.0, at.1);
            map.map_point(&mut point);
            PartPlace { part, x: point.x, y: point.y, radius }
        })
        .collect()
}

fn draw_leg(target: &mut Pixmap, legs: Rgb, pose: &Pose, which: usize) {
    let mut hip = Point::from_xy(HIP.0 + [-0.1, 0.16][which], HIP.1 - 0.15);
    pose.body.map_point(&mut hip);
    let foot = pose.feet[which];
    let rgb = if which == 0 { darker(legs, 0.25) } else { legs };
    let pen = colour(rgb, 1.0);
    let leg = polygon(&[(hip.x, hip.y), (foot.x, foot.y)]);
    stroke(target, &leg, pen, 0.09 * pose.unit, Transform::identity(), None);
    let facing = pose.body.sx.signum();
    for toe in [0.26, 0.14, -0.12] {
        let end = (foot.x + facing * toe * pose.unit, foot.y + 0.07 * pose.unit);
        let toe = polygon(&[(foot.x, foot.y), end]);
        stroke(target, &toe, pen, 0.065 * pose.unit, Transform::identity(), None);
    }
}

fn tail_length(shape: TailShape) -> f32 {
    match shape {
        TailShape::Square => 1.08,
        TailShape::Forked => 1.42,
        TailShape::Fan => 1.02,
    }
}

fn draw_tail(target: &mut Pixmap, species: &Species, rgb: Rgb, pose: &Pose) {
    let length = tail_length(species.tail);
    let (outline, half) = match species.tail {
        TailShape::Square => {
            (polygon(&[(0.2, -0.18), (-length, -0.2), (-length - 0.04, 0.2), (0.2, 0.18)]), 0.2)
        }
        TailShape::Forked => {
            let points = [(0.2, -0.18), (-length, -0.52), (-0.5, 0.0), (-length, 0.52), (0.2, 0.18)];
            (polygon(&points), 0.3)
        }
        TailShape::Fan => {
            let end = [(-length - 0.14, -0.4), (-length - 0.14, 0.4), (-0.84 * length, 0.6)];
            let root = [(-0.3, 0.22), (0.0, 0.18), (0.2, 0.18)];
            let top = [(0.0, -0.18), (-0.3, -0.22), (-0.84 * length, -0.6)];
            (curve((0.2, -0.18), &[top, end, root]), 0.48)
        }
    };
    fill(target, &outline, colour(rgb, 1.0), pose.tail, None);
    let clip = inside(target, &outline, pose.tail);
    for share in [-0.5, 0.0, 0.5] {
        let feather = polygon(&[(0.0, 0.1 * share), (-length, half * 1.3 * share)]);
        stroke(target, &feather, colour(darker(rgb, 0.45), 0.7), 0.035, pose.tail, Some(&clip));
    }
    if let Some(band) = species.tail_band {
        let band_outline = polygon(&[(-0.62, -0.6), (-0.9, -0.6), (-0.9, 0.6), (-0.62, 0.6)]);
        fill(target, &band_outline, colour(band, 1.0), pose.tail, Some(&clip));
    }
}

fn draw_body(target: &mut Pixmap, species: &Species, plumage: &Plumage, pose: &Pose, rng: &mut impl Rng) {
    let outline = curve(
        (0.72, -0.62),
        &[
            [(0.2, -0.72), (-0.45, -0.58), (-1.0, -0.16)],
            [(-1.08, -0.06), (-1.08, 0.08), (-0.96, 0.16)],
            [(-0.62, 0.46), (-0.3, 0.6), (0.16, 0.61)],
            [(0.72, 0.62), (1.16, 0.3), (1.3, -0.4)],
        ],
    );
    fill(target, &outline, colour(plumage.back, 1.0), pose.body, None);
    let clip = inside(target, &outline, pose.body);
    let under = curve(
        (1.6, -0.42),
        &[
            [(0.9, -0.2), (0.5, 0.02), (0.2, 0.08)],
            [(-0.3, 0.18), (-0.7, 0.12), (-1.3, 0.06)],
            [(-1.3, 0.9), (1.6, 0.9), (1.6, -0.42)],
        ],
    );
    fill(target, &under, colour(plumage.belly, 1.0), pose.body, Some(&clip));
    draw_shadow(target, pose, &clip);
    if let Breast::Streaks(rgb) = species.breast {
        draw_streaks(target, rgb, pose, &clip, rng);
    }
}

/// Roundness: the under side darkens towards its edge.
fn draw_shadow(target: &mut Pixmap, pose: &Pose, clip: &Mask) {
    for (depth, alpha) in [(0.5, 0.06), (0.58, 0.08)] {
        let rim = arc((-1.2, depth - 0.3), (-0.2, depth + 0.24), (1.0, depth + 0.02));
        stroke(target, &rim, colour([30, 26, 40], alpha), 0.22, pose.body, Some(clip));
    }
}

fn draw_streaks(target: &mut Pixmap, rgb: Rgb, pose: &Pose, clip: &Mask, rng: &mut impl Rng) {
    for row in 0..4 {
        for column in 0..3 {
            let shift = if row % 2 == 0 { 0.0 } else { 0.11 };
            let x = 1.12 - 0.21 * row as f32 - 0.03 * column as f32 + rng.random_range(-0.025..0.025);
            let y = -0.02 + 0.2 * column as f32 + shift + rng.random_range(-0.02..0.02);
            let streak = polygon(&[(x, y), (x - 0.1, y + 0.09)]);
            stroke(target, &streak, colour(rgb, 1.0), 0.1, pose.body, Some(clip));
        }
    }
}

fn draw_wing(target: &mut Pixmap, species: &Species, rgb: Rgb, pose: &Pose) {
    let outline = curve(
        (0.08, -0.1),
        &[
            [(-0.3, -0.34), (-0.95, -0.26), (-1.72, 0.22)],
            [(-1.3, 0.34), (-0.75, 0.5), (-0.3, 0.42)],
            [(0.05, 0.36), (0.2, 0.1), (0.08, -0.1)],
        ],
    );
    fill(target, &outline, colour(rgb, 1.0), pose.wing, None);
    let clip = inside(target, &outline, pose.wing);
    let line = colour(darker(rgb, 0.5), 0.75);
    for (start, end) in
        [((-0.62, 0.36), (-1.7, 0.24)), ((-0.66, 0.2), (-1.66, 0.17)), ((-0.66, 0.04), (-1.5, 0.08))]
    {
        stroke(target, &arc(start, (-1.1, start.1 + 0.02), end), line, 0.035, pose.wing, Some(&clip));
    }
    stroke(target, &outline, colour(darker(rgb, 0.6), 0.5), 0.03, pose.wing, None);
    if let Some(bars) = species.wing_bars {
        for x in [-0.36, -0.72] {
            let bar = arc((x - 0.1, -0.5), (x + 0.16, 0.05), (x - 0.02, 0.6));
            stroke(target, &bar, colour(bars, 1.0), 0.14, pose.wing, Some(&clip));
        }
    }
}
