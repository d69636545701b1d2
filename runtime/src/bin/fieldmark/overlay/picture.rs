//! The marks in the picture: a line around each, and a numbered disc at its peak.

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Line, PrimitiveStyle};
use embedded_graphics::text::Alignment;
use fieldmark::PartCue;
use ndarray::{ArrayView3, Axis};

use super::canvas::Canvas;
use super::colours::{DARK, colour};
use super::contour::{self, Cells};
use crate::marks::Mark;

/// Radius of a disc, before zoom.
pub const RADIUS: i32 = 12;

/// Draws the marks of `maps`, which lie on the canvas as `cells` says, into the picture, which is shown at `scale` (across,
/// down). Lines come first: a line may cross a disc's place, and the number must stay readable.
pub fn draw(
    canvas: &mut Canvas,
    marks: &[Mark<'_>],
    maps: &ArrayView3<'_, f32>,
    cells: &Cells,
    scale: (f32, f32),
    zoom: u32,
) {
    for Mark { cue, .. } in marks.iter().rev() {
        let map = maps.index_axis(Axis(0), cue.channel);
        let peak = (peak(cue, scale), cue.strength);
        contour::draw(canvas, cells, &map, peak, colour(cue.number()), zoom);
    }
    let mut taken = Vec::with_capacity(marks.len());
    for mark in marks {
        let peak = peak(mark.cue, scale);
        let hidden = is_hidden_by_disc(mark.cue, scale, zoom);
        let place = free_place(peak, hidden, &taken, canvas.size(), zoom as i32);
        taken.push(place);
        if place != peak {
            draw_leader(canvas, peak, place, colour(mark.cue.number()), zoom);
        }
    }
    for (mark, &place) in marks.iter().zip(&taken) {
        draw_disc(canvas, place, mark.cue.number(), zoom);
    }
}

/// A disc at the peak would leave nothing to see of what it points at.
fn is_hidden_by_disc(cue: &PartCue, scale: (f32, f32), zoom: u32) -> bool {
    let [left, top, right, bottom] = cue.bounds;
    let shorter = ((right - left) * scale.0).min((bottom - top) * scale.1);
    shorter < (3 * RADIUS) as f32 * zoom as f32
}

fn peak(cue: &PartCue, scale: (f32, f32)) -> Point {
    Point::new((cue.x * scale.0) as i32, (cue.y * scale.1) as i32)
}

/// From a peak to the disc that had to stand aside.
fn draw_leader(canvas: &mut Canvas, peak: Point, disc: Point, colour: Rgb888, zoom: u32) {
    for (colour, width) in [(DARK, 4 * zoom), (colour, 2 * zoom)] {
        let style = PrimitiveStyle::with_stroke(colour, width);
        let Ok(()) = Line::new(peak, disc).into_styled(style).draw(canvas);
        canvas.disc(peak, (width + zoom) as f32, colour);
    }
}

/// A disc in the mark's colour with its number, as in the picture and in the legend.
pub fn draw_disc(canvas: &mut Canvas, centre: Point, number: usize, zoom: u32) {
    let radius = RADIUS * zoom as i32;
    canvas.disc(centre, radius as f32, DARK);
    canvas.disc(centre, (radius - 2 * zoom as i32) as f32, colour(number));
    canvas.text(&number.to_string(), centre, Alignment::Center, DARK, zoom);
}

/// The peak, moved inside the picture; if it is to be kept clear, or where another disc is, the nearest free
/// place around it.
fn free_place(peak: Point, keep_clear: bool, taken: &[Point], size: Size, zoom: i32) -> Point {
    let radius = RADIUS * zoom;
    let between =
        |at: i32, length: u32| at.min(length as i32 - radius - 1).max(radius.min(length as i32 / 2));
    let inside = |point: Point| Point::new(between(point.x, size.width), between(point.y, size.height));
    let apart = |a: Point, b: Point| (a.x - b.x).pow(2) + (a.y - b.y).pow(2) >= (2 * radius).pow(2);
    let free = |place: &Point| taken.iter().all(|&other| apart(*place, other));
    let around = (1..=3).flat_map(|ring| {
        let directions = [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1)];
        directions.map(|(dx, dy)| peak + Point::new(dx, dy) * (ring * 9 * radius / 4))
    });
    let at_peak = (!keep_clear).then_some(peak);
    at_peak.into_iter().chain(around).map(inside).find(free).unwrap_or(inside(peak))
}

#[cfg(test)]
mod tests {
    use fieldmark::{ResizeRule, View};
    use ndarray::Array3;

    use super::*;
    use crate::marks::Marks;
    use crate::marks::tests::cue;

    const SIZE: Size = Size::new(200, 100);

    #[test]
    fn discs_stand_at_their_peaks_and_inside_the_picture() {
        for (peak, place) in [((50, 50), (50, 50)), ((0, 99), (12, 87)), ((199, 3), (187, 12))] {
            assert_eq!(free_place(peak.into(), false, &[], SIZE, 1), place.into());
        }
        assert_eq!(free_place(Point::new(0, 5), false, &[], Size::new(1, 10), 2), Point::new(0, 5));
    }

    #[test]
    fn discs_at_one_place_stand_side_by_side() {
        let mut taken: Vec<Point> = Vec::new();
        for _ in 0..6 {
            taken.push(free_place(Point::new(100, 50), false, &taken, SIZE, 1));
        }
        for (at, a) in taken.iter().enumerate() {
            for b in &taken[..at] {
                assert!((a.x - b.x).pow(2) + (a.y - b.y).pow(2) >= (2 * RADIUS).pow(2), "{taken:?}");
            }
        }
    }

    #[test]
    fn marks_stay_inside_the_tiniest_picture() {
        let cues = [cue(0, 1.0, 1.0, 2.0), cue(1, 0.0, 900.0, 1.0)];
        let mut canvas = Canvas::new(1, 5, Rgb888::WHITE);
        let cells = Cells::of(&View::new(1, 5, ResizeRule::Squash, 8), 8, (2, 2), (1, 5), canvas.size());
        let maps = Array3::from_elem((2, 2, 2), 1.0);
        draw(&mut canvas, &Marks::of(&cues, 3).shown, &maps.view(), &cells, (1.0, 1.0), 2);
        assert_eq!((canvas.width(), canvas.height()), (1, 5));
    }
}
