//! Everything that is not the bird: what is behind it, under it, and before it.

use rand::{Rng, RngExt};
use tiny_skia::{Pixmap, Transform};

use super::light::blur;
use super::paint::{arc, circle, colour, curve, fill, glow, layer, mixed, stroke};
use super::pose::Pose;
use super::species::Rgb;

/// Where the bird was seen.
#[derive(Clone, Copy, Debug)]
enum Place {
    Sky,
    Foliage,
    Reeds,
    Heath,
}

/// Sky (or far distance), ground, and the colours of the clutter between, a place.
fn palette(place: Place) -> (Rgb, Rgb, [Rgb; 4]) {
    match place {
        Place::Sky => (
            [170, 198, 226],
            [214, 224, 230],
            [[236, 240, 244], [150, 180, 212], [120, 140, 120], [198, 210, 220]],
        ),
        Place::Foliage => {
            ([118, 146, 88], [62, 88, 48], [[84, 120, 54], [146, 168, 92], [48, 70, 40], [172, 186, 120]])
        }
        Place::Reeds => (
            [196, 190, 156],
            [128, 124, 84],
            [[164, 150, 100], [110, 118, 70], [206, 196, 150], [92, 88, 60]],
        ),
        Place::Heath => {
            ([176, 172, 166], [120, 100, 84], [[146, 120, 100], [98, 104, 78], [170, 150, 130], [88, 76, 70]])
        }
    }
}

/// Flowers and berries: colours of the marks appear behind the bird too.
const BLOSSOMS: [Rgb; 6] =
    [[238, 150, 40], [112, 44, 120], [236, 84, 50], [246, 244, 236], [40, 36, 40], [224, 196, 70]];

fn pick<T: Copy>(of: &[T], rng: &mut impl Rng) -> T {
    of[rng.random_range(0..of.len())]
}

/// The picture before the bird is in it: a blurred place, and what the bird stands on.
pub fn backdrop(pose: &Pose, side: u32, rng: &mut impl Rng) -> Pixmap {
    let place = pick(&[Place::Sky, Place::Foliage, Place::Reeds, Place::Heath], rng);
    let mut target = distance(place, side, rng);
    blur(&mut target, rng.random_range(1..4));
    draw_twigs(&mut target, rng);
    blur(&mut target, rng.random_range(1..3));
    if rng.random_bool(0.7) {
        draw_branch(&mut target, pose, rng);
    } else {
        draw_stone(&mut target, pose, rng);
    }
    target
}

fn distance(place: Place, side: u32, rng: &mut impl Rng) -> Pixmap {
    let (top, bottom, clutter) = palette(place);
    let mut target = layer(side);
    let side = side as f32;
    target.fill(colour(mixed(top, bottom, 0.3), 1.0));
    glow(&mut target, 0.5 * side, 0.0, 0.9 * side, 2.0, top, 0.9);
    glow(&mut target, 0.5 * side, side, 0.9 * side, 2.0, bottom, 0.9);
    for _ in 0..rng.random_range(14..30) {
        let (x, y) = (rng.random_range(0.0..side), rng.random_range(0.0..side));
        let radius = side * rng.random_range(0.05..0.26);
        let rgb = pick(&clutter, rng);
        glow(&mut target, x, y, radius, rng.random_range(0.6..1.8), rgb, rng.random_range(0.3..0.8));
    }
    for _ in 0..rng.random_range(0..7) {
        let (x, y) = (rng.random_range(0.0..side), rng.random_range(0.0..side));
        let blossom = circle(x, y, side * rng.random_range(0.012..0.034));
        fill(&mut target, &blossom, colour(pick(&BLOSSOMS, rng), 0.9), Transform::identity(), None);
    }
    if matches!(place, Place::Reeds) {
        draw_stems(&mut target, rng);
    }
    target
}

fn draw_stems(target: &mut Pixmap, rng: &mut impl Rng) {
    let side = target.width() as f32;
    for _ in 0..rng.random_range(8..20) {
        let x = rng.random_range(0.0..side);
        let lean = rng.random_range(-0.2..0.2) * side;
        let stem = arc((x, side), (x, 0.5 * side), (x + lean, rng.random_range(-0.1..0.5) * side));
        let rgb = pick(&palette(Place::Reeds).2, rng);
        stroke(
            target,
            &stem,
            colour(rgb, 0.8),
            side * rng.random_range(0.008..0.02),
            Transform::identity(),
            None,
        );
    }
}

fn bark(rng: &mut impl Rng) -> Rgb {
    mixed([92, 72, 56], [138, 128, 112], rng.random_range(0.0..1.0))
}

fn draw_twigs(target: &mut Pixmap, rng: &mut impl Rng) {
    let side = target.width() as f32;
    for _ in 0..rng.random_range(0..5) {
        let mut end = || (rng.random_range(-0.1..1.1) * side, rng.random_range(-0.1..1.1) * side);
        let twig = arc(end(), end(), end());
        let width = side * rng.random_range(0.008..0.03);
        stroke(target, &twig, colour(bark(rng), 0.85), width, Transform::identity(), None);
    }
}

/// A branch under both feet.
fn draw_branch(target: &mut Pixmap, pose: &Pose, rng: &mut impl Rng) {
    let side = target.width() as f32;
    let [a, b] = pose.feet;
    let (x, y) = (f32::midpoint(a.x, b.x), f32::midpoint(a.y, b.y));
    let slope = if (b.x - a.x).abs() > 1.0 { (b.y - a.y) / (b.x - a.x) } else { 0.0 }.clamp(-0.5, 0.5);
    let width = pose.unit * rng.random_range(0.16..0.34);
    let y = y + 0.5 * width;
    let at = |x_end: f32, bend: f32| (x_end, y + slope * (x_end - x) + bend);
    let bend = side * rng.random_range(-0.03..0.05);
    let branch = arc(at(-0.1 * side, bend), (x, y - 0.5 * bend), at(1.1 * side, bend));
    let rgb = bark(rng);
    stroke(target, &branch, colour(mixed(rgb, [20, 16, 14], 0.35), 1.0), width, Transform::identity(), None);
    let lit = Transform::from_translate(0.0, -0.16 * width);
    stroke(target, &branch, colour(rgb, 1.0), 0.66 * width, lit, None);
    for _ in 0..rng.random_range(0..4) {
        let start = at(rng.random_range(0.0..side), 0.3 * bend);
        let tip =
            (start.0 + side * rng.random_range(-0.15..0.15), start.1 + side * rng.random_range(0.05..0.3));
        let shoot = arc(start, (start.0, tip.1), tip);
        stroke(target, &shoot, colour(rgb, 1.0), 0.3 * width, Transform::identity(), None);
        draw_leaf(target, tip, side * rng.random_range(0.04..0.08), rng);
    }
}

/// A stone, or a tussock of ground, under the feet.
fn draw_stone(target: &mut Pixmap, pose: &Pose, rng: &mut impl Rng) {
    let side = target.width() as f32;
    let [a, b] = pose.feet;
    let (x, y) = (f32::midpoint(a.x, b.x), a.y.max(b.y));
    let half = side * rng.random_range(0.3..0.9);
    let rgb = mixed([126, 120, 112], [96, 100, 66], rng.random_range(0.0..1.0));
    let stone = |lift: f32| {
        curve(
            (x - half, side + 2.0),
            &[
                [(x - 0.8 * half, y + lift), (x - 0.4 * half, y + lift), (x, y + lift)],
                [(x + 0.5 * half, y + lift), (x + 0.8 * half, y + lift), (x + half, side + 2.0)],
                [(x, side + 2.0), (x, side + 2.0), (x - half, side + 2.0)],
            ],
        )
    };
    fill(target, &stone(0.0), colour(mixed(rgb, [255, 250, 240], 0.15), 1.0), Transform::identity(), None);
    fill(target, &stone(0.12 * pose.unit), colour(rgb, 1.0), Transform::identity(), None);
}

fn draw_leaf(target: &mut Pixmap, at: (f32, f32), length: f32, rng: &mut impl Rng) {
    let map = Transform::from_translate(at.0, at.1)
        .pre_rotate(rng.random_range(0.0..360.0))
        .pre_scale(length, length);
    let blade = curve(
        (-1.0, 0.0),
        &[[(-0.4, -0.55), (0.4, -0.5), (1.0, 0.0)], [(0.4, 0.5), (-0.4, 0.55), (-1.0, 0.0)]],
    );
    let rgb = mixed([70, 104, 44], [150, 158, 74], rng.random_range(0.0..1.0));
    fill(target, &blade, colour(rgb, 1.0), map, None);
    let rib = arc((-0.95, 0.0), (0.0, 0.04), (0.95, 0.0));
    stroke(target, &rib, colour(mixed(rgb, [230, 236, 190], 0.35), 0.9), 0.07, map, None);
}

/// Leaves and twigs between the bird and the eye: a transparent layer.
pub fn foreground(pose: &Pose, side: u32, rng: &mut impl Rng) -> Pixmap {
    let mut target = layer(side);
    let (centre_x, centre_y) = (pose.body.tx, pose.body.ty);
    for _ in 0..rng.random_range(0..4) {
        let x = centre_x + pose.unit * rng.random_range(-2.4..2.4);
        let y = centre_y + pose.unit * rng.random_range(-1.3..1.3);
        draw_leaf(&mut target, (x, y), pose.unit * rng.random_range(0.2..0.46), rng);
    }
    if rng.random_bool(0.35) {
        let side = side as f32;
        let x = centre_x + pose.unit * rng.random_range(-2.0..2.0);
        let twig = arc(
            (x + side * rng.random_range(-0.4..0.4), -2.0),
            (x, centre_y),
            (x + side * rng.random_range(-0.4..0.4), side + 2.0),
        );
        stroke(
            &mut target,
            &twig,
            colour(bark(rng), 1.0),
            side * rng.random_range(0.01..0.026),
            Transform::identity(),
            None,
        );
    }
    target
}
