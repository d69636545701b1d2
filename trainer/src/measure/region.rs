//! Regions of an input, as pixels in the order in which they are taken away or given back.

use fieldmark::frame::View;
use ndarray::Array2;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The pixels of an `S x S` input that show the picture: all of them, but for padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canvas {
    /// `S`.
    pub side: usize,
    /// First column that shows the picture.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Canvas {
    /// That of an input of `side` under `view`.
    pub fn of(view: &View, side: u32) -> Canvas {
        let seen = view.region();
        let corner = |x: f32, y: f32| view.to_input(x, y).unwrap_or((0.0, 0.0));
        let (left, top) = corner(seen.x, seen.y);
        let (right, bottom) = corner(seen.x + seen.width, seen.y + seen.height);
        let [left, top, right, bottom] = [left, top, right, bottom].map(|at| at.round() as usize);
        let (width, height) = (right.saturating_sub(left).max(1), bottom.saturating_sub(top).max(1));
        Canvas { side: side as usize, left, top, width, height }
    }

    /// Its pixels, as indices `row * S + column`, row by row.
    pub fn pixels(&self) -> impl Iterator<Item = u32> {
        let Canvas { side, left, top, width, height } = *self;
        (top..top + height).flat_map(move |row| (left..left + width).map(move |at| (row * side + at) as u32))
    }

    /// How many pixels are the share `area` of it, 0..=1.
    pub fn count(&self, area: f64) -> usize {
        (area * (self.width * self.height) as f64).round() as usize
    }

    /// Width and height of the square that has the share `area` of it; a side that is longer than the canvas is cut.
    fn square_size(&self, area: f64) -> [usize; 2] {
        let side = (area * (self.width * self.height) as f64).sqrt().round().max(1.0) as usize;
        [side.min(self.width), side.min(self.height)]
    }

    /// The square of this area around a point of the input, moved inwards where it would stick out.
    pub fn square_around(&self, [x, y]: [f32; 2], area: f64) -> Vec<u32> {
        let [width, height] = self.square_size(area);
        let start = |at: f32, first: usize, size: usize, square: usize| {
            let start = (at - first as f32 - square as f32 / 2.0).round().max(0.0) as usize;
            start.min(size - square)
        };
        let column = start(x, self.left, self.width, width);
        let row = start(y, self.top, self.height, height);
        self.square_at([column, row], [width, height])
    }

    /// The square of this area somewhere inside, every place being as likely.
    pub fn random_square(&self, area: f64, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let [width, height] = self.square_size(area);
        let column = rng.random_range(0..=self.width - width);
        let row = rng.random_range(0..=self.height - height);
        self.square_at([column, row], [width, height])
    }

    fn square_at(&self, [column, row]: [usize; 2], [width, height]: [usize; 2]) -> Vec<u32> {
        let (left, top) = (self.left + column, self.top + row);
        Canvas { left, top, width, height, ..*self }.pixels().collect()
    }

    /// Its pixels by random squares of the share `area` of it, one after another until they cover the share `until` of
    /// it; then the rest.
    pub fn by_chance(&self, area: f64, until: f64, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let mut is_taken = vec![false; self.side * self.side];
        let mut order = Vec::with_capacity(self.width * self.height);
        while order.len() < self.count(until) {
            for pixel in self.random_square(area, rng) {
                if !std::mem::replace(&mut is_taken[pixel as usize], true) {
                    order.push(pixel);
                }
            }
        }
        order.extend(self.pixels().filter(|&pixel| !is_taken[pixel as usize]));
        order
    }

    /// Its pixels by descending value of a map that covers the whole input. Of equal values, such as a map's zeros, those
    /// nearer to the map's peak come first, so that a region grows around it.
    pub fn by_value(&self, map: &Array2<f32>) -> Vec<u32> {
        let values = upsampled(map, self.side);
        let mut order: Vec<u32> = self.pixels().collect();
        let peak = order
            .iter()
            .copied()
            .reduce(|best, pixel| if values[pixel as usize] > values[best as usize] { pixel } else { best });
        let place = |pixel: u32| (pixel as usize / self.side, pixel as usize % self.side);
        let (row, column) = place(peak.unwrap_or(0));
        let distance = |pixel: u32| {
            let (y, x) = place(pixel);
            y.abs_diff(row).pow(2) + x.abs_diff(column).pow(2)
        };
        order.sort_by(|&a, &b| {
            values[b as usize]
                .total_cmp(&values[a as usize])
                .then_with(|| (distance(a), a).cmp(&(distance(b), b)))
        });
        order
    }
}

/// The map's values at the `side * side` pixels that it covers: linear between the middles of cells.
pub fn upsampled(map: &Array2<f32>, side: usize) -> Vec<f32> {
    let (height, width) = map.dim();
    let (rows, columns) = (between(side, height), between(side, width));
    let mut values = Vec::with_capacity(side * side);
    for &(row, below, down) in &rows {
        for &(column, right, across) in &columns {
            let line = |row: usize| map[[row, column]] * (1.0 - across) + map[[row, right]] * across;
            values.push(line(row) * (1.0 - down) + line(below) * down);
        }
    }
    values
}

/// For each pixel of an axis, the cells whose middles it is between, and how near it is to the second, 0..1.
fn between(side: usize, cells: usize) -> Vec<(usize, usize, f32)> {
    let last = cells - 1;
    let of = |pixel: usize| {
        let at = ((pixel as f32 + 0.5) * cells as f32 / side as f32 - 0.5).clamp(0.0, last as f32);
        let cell = at.floor() as usize;
        (cell, (cell + 1).min(last), at - cell as f32)
    };
    (0..side).map(of).collect()
}

/// The mean colour of a picture's planes `3 x S x S`, over the canvas.
pub fn mean_colour(planes: &[f32], canvas: &Canvas) -> [f32; 3] {
    let cells = canvas.side * canvas.side;
    [0, 1, 2].map(|colour| {
        let plane = &planes[colour * cells..(colour + 1) * cells];
        let total: f64 = canvas.pixels().map(|pixel| f64::from(plane[pixel as usize])).sum();
        (total / (canvas.width * canvas.height) as f64) as f32
    })
}

/// `planes`, `3 x S x S`, with `pixels` of the colour `fill`.
pub fn without(planes: &[f32], pixels: &[u32], fill: [f32; 3]) -> Vec<f32> {
    let mut planes = planes.to_vec();
    let cells = planes.len() / 3;
    for (plane, value) in planes.chunks_exact_mut(cells).zip(fill) {
        for &pixel in pixels {
            plane[pixel as usize] = value;
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use fieldmark::frame::ResizeRule;
    use ndarray::array;

    use super::*;
    use crate::random::{Stream, stream};

    const WHOLE: Canvas = Canvas { side: 10, left: 0, top: 0, width: 10, height: 10 };

    #[test]
    fn the_canvas_is_the_input_without_its_padding() {
        for (rule, expected) in [
            (ResizeRule::Squash, Canvas { side: 16, left: 0, top: 0, width: 16, height: 16 }),
            (ResizeRule::Crop, Canvas { side: 16, left: 0, top: 0, width: 16, height: 16 }),
            (ResizeRule::Pad, Canvas { side: 16, left: 0, top: 4, width: 16, height: 8 }),
        ] {
            assert_eq!(Canvas::of(&View::new(80, 40, rule, 16), 16), expected, "{rule:?}");
        }
    }

    #[test]
    fn squares_have_their_area_wherever_they_are() {
        let mut rng = stream(Stream::Trial { number: 1 });
        for point in [[5.0, 5.0], [0.0, 0.0], [10.0, 3.0]] {
            assert_eq!(WHOLE.square_around(point, 0.09).len(), 9, "{point:?}");
            assert_eq!(WHOLE.random_square(0.09, &mut rng).len(), 9);
        }
        assert_eq!(WHOLE.square_around([5.0, 5.0], 0.04), [44, 45, 54, 55]);
        assert_eq!(WHOLE.square_around([0.0, 10.0], 0.04), [80, 81, 90, 91]);
        let flat = Canvas { top: 4, height: 2, ..WHOLE };
        assert_eq!(flat.square_around([5.0, 5.0], 0.45).len(), 6);
    }

    #[test]
    fn chance_takes_squares_first_and_each_pixel_of_the_canvas_once() {
        let canvas = Canvas { left: 2, width: 6, ..WHOLE };
        for until in [0.1, 0.5, 1.0] {
            let mut order = canvas.by_chance(0.15, until, &mut stream(Stream::Trial { number: 2 }));
            // A square of 3 x 3 pixels.
            assert_eq!([order[1] - order[0], order[3] - order[0], order[8] - order[0]], [1, 10, 22]);
            order.sort_unstable();
            assert_eq!(order, canvas.pixels().collect::<Vec<_>>(), "{until}");
        }
    }

    #[test]
    fn pixels_are_taken_by_value_and_then_from_the_peak_outwards() {
        let mut map = Array2::zeros((10, 10));
        map[[2, 3]] = 2.0;
        map[[7, 7]] = 1.0;
        let order = WHOLE.by_value(&map);
        assert_eq!(order[..2], [23, 77]);
        assert_eq!(order[2..6], [13, 22, 24, 33]);
        assert_eq!(order.len(), 100);
    }

    #[test]
    fn upsampling_is_linear_between_middles_of_cells_and_flat_beyond() {
        let map = array![[0.0, 4.0]];
        assert_eq!(upsampled(&map, 4)[..4], [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(upsampled(&array![[1.5]], 3), [1.5; 9]);
    }

    #[test]
    fn filling_takes_the_canvas_own_colour_and_leaves_the_rest() {
        let canvas = Canvas { side: 2, left: 0, top: 0, width: 2, height: 1 };
        let planes: Vec<f32> = (0..12).map(|value| value as f32).collect();
        let fill = mean_colour(&planes, &canvas);
        assert_eq!(fill[..], [0.5, 4.5, 8.5]);
        let filled = without(&planes, &[1, 2], fill);
        assert_eq!(filled, [0.0, 0.5, 0.5, 3.0, 4.0, 4.5, 4.5, 7.0, 8.0, 8.5, 8.5, 11.0]);
    }
}
