//! Drawing the head: a unit circle, its bill along x.

use tiny_skia::{Path, Pixmap, Transform};

use super::paint::{arc, circle, colour, curve, darker, fill, inside, mixed, stroke};
use super::species::{BillShape, Plumage, Species};

/// The eye in the head's measure.
pub const EYE: (f32, f32) = (0.3, -0.14);

/// The head over what is painted.
pub fn draw_head(target: &mut Pixmap, species: &Species, plumage: &Plumage, head: Transform) {
    draw_bill(target, species, plumage, head);
    let skull = circle(0.0, 0.0, 1.0);
    fill(target, &skull, colour(plumage.head, 1.0), head, None);
    let clip = inside(target, &skull, head);
    let marks = [
        (species.crown, cap()),
        (species.throat, circle(0.62, 0.86, 0.58)),
        (species.eye_stripe, eye_stripe()),
    ];
    for (rgb, outline) in marks {
        if let Some(rgb) = rgb {
            fill(target, &outline, colour(rgb, 1.0), head, Some(&clip));
        }
    }
    draw_eye(target, species, plumage, head);
}

/// The crown, down to above the eye.
fn cap() -> Path {
    curve(
        (1.1, -0.34),
        &[
            [(0.5, -0.36), (0.0, -0.42), (-0.5, -0.3)],
            [(-0.8, -0.2), (-1.0, -0.05), (-1.1, 0.05)],
            [(-1.3, -1.3), (1.3, -1.3), (1.1, -0.34)],
        ],
    )
}

/// From the bill through the eye to the nape.
fn eye_stripe() -> Path {
    curve(
        (1.1, 0.0),
        &[
            [(0.7, -0.3), (0.4, -0.44), (0.1, -0.42)],
            [(-0.3, -0.4), (-0.7, -0.3), (-1.1, -0.16)],
            [(-0.8, 0.2), (-0.4, 0.18), (0.1, 0.16)],
            [(0.5, 0.14), (0.8, 0.2), (1.1, 0.26)],
        ],
    )
}

fn draw_eye(target: &mut Pixmap, species: &Species, plumage: &Plumage, head: Transform) {
    let ring = if species.eye_stripe.is_some() {
        [120, 104, 70]
    } else {
        mixed(plumage.head, [236, 230, 214], 0.45)
    };
    fill(target, &circle(EYE.0, EYE.1, 0.235), colour(ring, 1.0), head, None);
    fill(target, &circle(EYE.0, EYE.1, 0.185), colour([22, 16, 14], 1.0), head, None);
    fill(target, &circle(EYE.0 + 0.06, EYE.1 - 0.07, 0.065), colour([255, 255, 255], 0.95), head, None);
}

fn draw_bill(target: &mut Pixmap, species: &Species, plumage: &Plumage, head: Transform) {
    let (outline, gape) = bill(species.bill);
    let rgb = species.bill_colour.unwrap_or(plumage.bill);
    fill(target, &outline, colour(rgb, 1.0), head, None);
    stroke(target, &gape, colour(darker(rgb, 0.5), 0.8), 0.05, head, None);
}

/// A bill's outline, and the line where it opens.
fn bill(shape: BillShape) -> (Path, Path) {
    match shape {
        BillShape::Straight => (
            curve(
                (0.8, -0.2),
                &[
                    [(1.2, -0.16), (1.6, 0.0), (1.86, 0.16)],
                    [(1.6, 0.28), (1.2, 0.36), (0.8, 0.36)],
                    [(0.7, 0.2), (0.7, 0.0), (0.8, -0.2)],
                ],
            ),
            arc((0.85, 0.1), (1.3, 0.12), (1.84, 0.16)),
        ),
        BillShape::Cone => (
            curve(
                (0.74, -0.4),
                &[
                    [(1.15, -0.36), (1.45, -0.1), (1.56, 0.2)],
                    [(1.4, 0.36), (1.1, 0.52), (0.74, 0.56)],
                    [(0.6, 0.3), (0.6, -0.1), (0.74, -0.4)],
                ],
            ),
            arc((0.8, 0.14), (1.2, 0.1), (1.54, 0.2)),
        ),
        BillShape::Sickle => (
            curve(
                (0.8, -0.16),
                &[
                    [(1.5, -0.26), (2.2, 0.0), (2.5, 0.62)],
                    [(2.1, 0.26), (1.5, 0.12), (0.84, 0.24)],
                    [(0.76, 0.1), (0.76, 0.0), (0.8, -0.16)],
                ],
            ),
            arc((0.85, 0.04), (1.7, -0.06), (2.4, 0.5)),
        ),
    }
}
