//! The line around a mark: where its channel's map falls below half of the peak. Inside and outside the picture keeps its
//! own colours.

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use fieldmark::View;
use ndarray::ArrayView2;

use super::canvas::Canvas;
use super::colours::DARK;

/// Where the cells of the maps lie on a canvas that shows a picture.
pub struct Cells {
    columns: Vec<Option<Tap>>,
    rows: Vec<Option<Tap>>,
}

/// A cell, its neighbour, and how much the neighbour counts.
type Tap = (usize, usize, f32);

impl Cells {
    /// For maps of `cells` (down, across) over the network's `side * side` input, on a canvas of `shown` pixels that shows
    /// all of a picture of `size`. `view` leads from the input to the picture.
    pub fn of(view: &View, side: u32, cells: (usize, usize), size: (u32, u32), shown: Size) -> Cells {
        let side = side as f32;
        let seen = view.region();
        let (centre_x, centre_y) = (seen.x + seen.width / 2.0, seen.y + seen.height / 2.0);
        let across = |x: f32| Some(view.to_input(x, centre_y)?.0 / side);
        let down = |y: f32| Some(view.to_input(centre_x, y)?.1 / side);
        Cells {
            columns: taps(across, shown.width, size.0, cells.1),
            rows: taps(down, shown.height, size.1, cells.0),
        }
    }

    /// The pixels just inside the border of the 4-connected region around `start` whose values are at least `level`. None if
    /// `start` is lower, or outside of what the network sees.
    fn border(&self, map: &ArrayView2<'_, f32>, level: f32, start: Point) -> Vec<Point> {
        let width = self.columns.len();
        let is_high = |Point { x, y }: Point| {
            let tap = |taps: &[Option<Tap>], at: i32| taps.get(usize::try_from(at).ok()?).copied().flatten();
            tap(&self.rows, y)
                .zip(tap(&self.columns, x))
                .is_some_and(|(row, column)| value(map, row, column) >= level)
        };
        if !is_high(start) {
            return Vec::new();
        }
        let index = |Point { x, y }: Point| y as usize * width + x as usize;
        let mut seen = vec![false; width * self.rows.len()];
        seen[index(start)] = true;
        let (mut open, mut border) = (vec![start], Vec::new());
        while let Some(pixel) = open.pop() {
            let neighbours = [(0, -1), (0, 1), (-1, 0), (1, 0)].map(|(x, y)| pixel + Point::new(x, y));
            let inside: Vec<Point> = neighbours.into_iter().filter(|next| is_high(*next)).collect();
            if inside.len() < neighbours.len() {
                border.push(pixel);
            }
            for next in inside {
                if !std::mem::replace(&mut seen[index(next)], true) {
                    open.push(next);
                }
            }
        }
        border
    }
}

/// Draws the line around what is at least half as high as the peak, which is at `peak` on the canvas and `strength` high.
pub fn draw(
    canvas: &mut Canvas,
    cells: &Cells,
    map: &ArrayView2<'_, f32>,
    (peak, strength): (Point, f32),
    colour: Rgb888,
    zoom: u32,
) {
    let border = cells.border(map, strength / 2.0, peak);
    let zoom = zoom as i32;
    for (colour, reach) in [(DARK, 2 * zoom), (colour, zoom)] {
        for &pixel in &border {
            for (x, y) in (-reach..=reach).flat_map(|y| (-reach..=reach).map(move |x| (x, y))) {
                canvas.blend(pixel.x + x, pixel.y + y, colour, 1.0);
            }
        }
    }
}

/// For each of `pixels` that show an axis of the picture, the `cells` of the map there; `to_input` leads from the
/// picture's pixels to a share of the input's side.
fn taps(to_input: impl Fn(f32) -> Option<f32>, pixels: u32, picture: u32, cells: usize) -> Vec<Option<Tap>> {
    let tap = |pixel: u32| {
        let point = (pixel as f32 + 0.5) * picture as f32 / pixels as f32;
        // A cell's value stands at its centre.
        let at = (to_input(point)? * cells as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
        let cell = at as usize;
        Some((cell, (cell + 1).min(cells - 1), at.fract()))
    };
    (0..pixels).map(tap).collect()
}

fn value(map: &ArrayView2<'_, f32>, row: Tap, column: Tap) -> f32 {
    let (left, right, across) = column;
    let along = |row: usize| map[[row, left]] + across * (map[[row, right]] - map[[row, left]]);
    let (upper, lower, down) = row;
    along(upper) + down * (along(lower) - along(upper))
}

#[cfg(test)]
mod tests {
    use fieldmark::ResizeRule;
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn values_between_cells_are_between_their_values() {
        let map = array![[0.0, 4.0], [8.0, 12.0]];
        let taps: Vec<Tap> = taps(|x| Some(x / 8.0), 8, 8, 2).into_iter().flatten().collect();
        let seen: Vec<f32> = taps.iter().map(|&column| value(&map.view(), (0, 1, 0.5), column)).collect();
        assert_eq!(seen, [4.0, 4.0, 4.5, 5.5, 6.5, 7.5, 8.0, 8.0]);
    }

    #[test]
    fn the_border_lies_where_the_map_falls_to_half() {
        // Cells of 10 pixels; a peak in the middle of 5, and another that it is not connected to.
        let mut map = Array2::zeros((5, 5));
        map[[2, 2]] = 4.0;
        map[[0, 0]] = 4.0;
        let view = View::new(50, 50, ResizeRule::Squash, 50);
        let cells = Cells::of(&view, 50, (5, 5), (50, 50), Size::new(50, 50));
        let border = cells.border(&map.view(), 2.0, Point::new(25, 25));
        let extent = |axis: fn(&Point) -> i32| {
            (border.iter().map(axis).min().unwrap(), border.iter().map(axis).max().unwrap())
        };
        // Half of the way to the next cell's centre.
        assert_eq!((extent(|p| p.x), extent(|p| p.y)), ((20, 29), (20, 29)));
        assert!(!border.contains(&Point::new(25, 25)));
        assert_eq!(cells.border(&map.view(), 2.0, Point::new(45, 45)), []);
        assert_eq!(cells.border(&map.view(), 2.0, Point::new(-1, 90)), []);
    }

    #[test]
    fn what_the_network_does_not_see_is_outside() {
        let view = View::new(100, 50, ResizeRule::Crop, 50);
        let cells = Cells::of(&view, 50, (1, 1), (100, 50), Size::new(100, 50));
        let border = cells.border(&array![[3.0]].view(), 1.5, Point::new(50, 25));
        let columns = border.iter().map(|pixel| pixel.x);
        assert_eq!((columns.clone().min(), columns.max()), (Some(25), Some(74)));
    }
}
