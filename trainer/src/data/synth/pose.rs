//! How a bird stands in its picture: the maps from its own measures to pixels.

use rand::{Rng, RngExt};
use tiny_skia::{Point, Transform};

/// The head's centre in the bird's own measures.
const HEAD: (f32, f32) = (0.98, -0.52);

/// The head's radius over half the body's length.
const HEAD_RADIUS: f32 = 0.56;

/// Where the legs leave the body.
pub const HIP: (f32, f32) = (-0.02, 0.5);

/// Placement of a bird. Its own measures: half the body is 1 long, x runs to the front, y down.
#[derive(Clone, Copy, Debug)]
pub struct Pose {
    /// Bird to pixels.
    pub body: Transform,
    /// Head, a unit circle whose bill points along x, to pixels.
    pub head: Transform,
    /// Tail, its root at 0 and its length along negative x, to pixels.
    pub tail: Transform,
    /// Folded wing, its shoulder at 0, to pixels.
    pub wing: Transform,
    /// Pixels a unit.
    pub unit: f32,
    /// Where both feet stand, pixels.
    pub feet: [Point; 2],
}

/// What chance decides about a pose, before the bird is put into the picture.
struct Stance {
    facing: f32,
    foreshortening: f32,
    body_angle: f32,
    looks_back: bool,
    head_angle: f32,
    tail_angle: f32,
    wing_angle: f32,
    leg: f32,
}

fn stance(rng: &mut impl Rng) -> Stance {
    Stance {
        facing: if rng.random_bool(0.5) { 1.0 } else { -1.0 },
        foreshortening: rng.random_range(0.84..1.0),
        body_angle: rng.random_range(2.0..42.0),
        looks_back: rng.random_bool(0.15),
        head_angle: rng.random_range(-16.0..14.0),
        tail_angle: rng.random_range(-26.0..16.0),
        wing_angle: rng.random_range(-9.0..7.0),
        leg: rng.random_range(0.32..0.55),
    }
}

/// The pose with one unit being one pixel and the body's centre at 0.
fn unit_pose(stance: &Stance, plumpness: f32) -> Pose {
    let body = Transform::from_scale(stance.facing * stance.foreshortening, 1.0)
        .pre_rotate(-stance.body_angle)
        .pre_scale(1.0, plumpness);
    let look = if stance.looks_back { -1.0 } else { 1.0 };
    // The eyes stay near the horizon whatever the body does; plumpness is undone, heads stay round.
    let level = stance.body_angle * if stance.looks_back { 1.0 } else { 0.75 };
    let head = body
        .pre_translate(HEAD.0, HEAD.1)
        .pre_scale(1.0, 1.0 / plumpness)
        .pre_rotate(level + stance.head_angle)
        .pre_scale(look * HEAD_RADIUS, HEAD_RADIUS);
    let tail = body.pre_translate(-0.82, 0.0).pre_scale(1.0, 1.0 / plumpness).pre_rotate(stance.tail_angle);
    let wing = body.pre_translate(0.52, -0.22).pre_rotate(stance.wing_angle);
    let foot = |spread: f32| {
        let mut hip = Point::from_xy(HIP.0 + spread, HIP.1);
        body.map_point(&mut hip);
        Point::from_xy(hip.x, hip.y + stance.leg)
    };
    Pose { body, head, tail, wing, unit: 1.0, feet: [foot(-0.1), foot(0.16)] }
}

/// Points that enclose any species: bill tips, tail ends, crest, feet, back, belly.
fn extremes(pose: &Pose) -> Vec<Point> {
    let mut points = Vec::from(pose.feet);
    let body = [(0.2, -0.75), (0.2, 0.66), (-0.6, 0.5), (0.8, 0.6)].map(|at| (&pose.body, at));
    let head = [(2.5, 0.5), (0.0, -1.0), (-1.1, -1.4), (0.0, 1.0), (-1.0, 0.0), (1.0, 0.0)]
        .map(|at| (&pose.head, at));
    let tail = [(-1.45, -0.4), (-1.45, 0.4)].map(|at| (&pose.tail, at));
    for (map, (x, y)) in body.into_iter().chain(head).chain(tail) {
        let mut point = Point::from_xy(x, y);
        map.map_point(&mut point);
        points.push(point);
    }
    points
}

/// A random pose that leaves the whole bird inside a square picture of `side` pixels.
pub fn pose(side: u32, plumpness: f32, rng: &mut impl Rng) -> Pose {
    let side = side as f32;
    let pose = unit_pose(&stance(rng), plumpness);
    let points = extremes(&pose);
    let range = |values: &mut dyn Iterator<Item = f32>| {
        values.fold((f32::MAX, f32::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (left, right) = range(&mut points.iter().map(|point| point.x));
    let (top, bottom) = range(&mut points.iter().map(|point| point.y));
    let unit = side * rng.random_range(0.74..0.95) / (right - left).max(bottom - top);
    let mut shift = |low: f32, high: f32| {
        let margin = 0.02 * side;
        rng.random_range(margin - low * unit..=(side - margin - high * unit).max(margin - low * unit))
    };
    let (x, y) = (shift(left, right), shift(top, bottom));
    let place = |map: Transform| map.post_scale(unit, unit).post_translate(x, y);
    Pose {
        body: place(pose.body),
        head: place(pose.head),
        tail: place(pose.tail),
        wing: place(pose.wing),
        unit,
        feet: pose.feet.map(|foot| Point::from_xy(foot.x * unit + x, foot.y * unit + y)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, stream};

    #[test]
    fn every_pose_keeps_the_bird_inside_the_picture() {
        for seed in 0..500 {
            let pose = pose(160, 1.0, &mut stream(Stream::Trial { number: seed }));
            for point in extremes(&pose) {
                assert!(
                    (0.0..=160.0).contains(&point.x) && (0.0..=160.0).contains(&point.y),
                    "{seed}: {point:?}"
                );
            }
        }
    }

    #[test]
    fn birds_face_both_ways() {
        let right = (0..200)
            .filter(|&seed| pose(160, 1.0, &mut stream(Stream::Trial { number: seed })).body.sx > 0.0)
            .count();
        assert!((70..130).contains(&right), "{right}");
    }
}
