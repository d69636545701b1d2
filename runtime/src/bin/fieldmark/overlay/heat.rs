//! The class's heat map over the picture, translucent, only where it is high.

use embedded_graphics::pixelcolor::Rgb888;
use fieldmark::View;
use ndarray::Array2;

use super::canvas::Canvas;

/// Below this part of the map's maximum the picture is left as it is.
const LOWEST: f32 = 1.0 / 3.0;

/// At the maximum; what is below must still be recognised.
const OPACITY: f32 = 0.45;

/// Mixes `map`, `[H, W]` over the network's `side * side` input, into `canvas`, which shows all of a picture
/// of `size`. Parts of the picture that the network did not see stay as they are.
pub fn draw(canvas: &mut Canvas, map: &Array2<f32>, view: &View, side: u32, size: (u32, u32)) {
    let highest = map.iter().copied().fold(0.0, f32::max);
    if highest <= 0.0 {
        return;
    }
    let seen = view.region();
    let across = Axis::of(|x| view.to_picture(x, 0.0).0, side, [seen.x, seen.x + seen.width]);
    let down = Axis::of(|y| view.to_picture(0.0, y).1, side, [seen.y, seen.y + seen.height]);
    let columns = taps(&across, canvas.width(), size.0, map.ncols());
    let rows = taps(&down, canvas.height(), size.1, map.nrows());
    for (y, row) in rows.iter().enumerate() {
        for (x, column) in columns.iter().enumerate() {
            if let (Some(row), Some(column)) = (row, column) {
                let (colour, opacity) = warmth(value(map, *row, *column) / highest);
                canvas.blend(x as i32, y as i32, colour, opacity);
            }
        }
    }
}

/// Colour and opacity of a value, 0..=1: from a clear yellow to a deeper red.
fn warmth(value: f32) -> (Rgb888, f32) {
    let above = ((value - LOWEST) / (1.0 - LOWEST)).clamp(0.0, 1.0);
    (Rgb888::new(255, (200.0 - 170.0 * above) as u8, 0), OPACITY * above.sqrt())
}

/// One axis of a [`View`], turned round.
struct Axis {
    /// The first and last point of the input that show the picture; beyond is padding.
    input: [f32; 2],
    /// The picture's points there; beyond is what the network did not see.
    picture: [f32; 2],
    /// The input's side.
    side: f32,
}

impl Axis {
    /// The axis on which `to_picture` leads from the input to the picture and clamps in the padding, the
    /// `picture` range being seen. Padding ends at whole input pixels.
    fn of(to_picture: impl Fn(f32) -> f32, side: u32, picture: [f32; 2]) -> Axis {
        // Half of what an input pixel covers at least: differences below it are rounding.
        let slack = 0.5 * (picture[1] - picture[0]) / side as f32;
        let points = || (0..=side).map(|point| point as f32);
        let start = points().rev().find(|&point| to_picture(point) < picture[0] + slack);
        let end = points().find(|&point| to_picture(point) > picture[1] - slack);
        Axis { input: [start.unwrap_or(0.0), end.unwrap_or(side as f32)], picture, side: side as f32 }
    }

    /// The input point at which a picture point is seen, as a part of the input's side.
    fn to_input(&self, picture: f32) -> Option<f32> {
        let [first, last] = self.picture;
        let part = (picture - first) / (last - first);
        let [start, end] = self.input;
        (0.0..=1.0).contains(&part).then(|| (start + part * (end - start)) / self.side)
    }
}

/// A cell, its neighbour, and how much the neighbour counts.
type Tap = (usize, usize, f32);

/// For each of `pixels` that show an axis of the picture, the `cells` of the map there.
fn taps(axis: &Axis, pixels: u32, picture: u32, cells: usize) -> Vec<Option<Tap>> {
    let tap = |pixel: u32| {
        let point = (pixel as f32 + 0.5) * picture as f32 / pixels as f32;
        // A cell's value stands at its centre.
        let at = (axis.to_input(point)? * cells as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
        let cell = at as usize;
        Some((cell, (cell + 1).min(cells - 1), at.fract()))
    };
    (0..pixels).map(tap).collect()
}

fn value(map: &Array2<f32>, row: Tap, column: Tap) -> f32 {
    let (left, right, across) = column;
    let along = |row: usize| map[[row, left]] + across * (map[[row, right]] - map[[row, left]]);
    let (upper, lower, down) = row;
    along(upper) + down * (along(lower) - along(upper))
}

#[cfg(test)]
mod tests {
    use embedded_graphics::pixelcolor::RgbColor;
    use fieldmark::ResizeRule;
    use ndarray::array;

    use super::*;

    fn axes(width: u32, height: u32, rule: ResizeRule, side: u32) -> [Axis; 2] {
        let view = View::new(width, height, rule, side);
        let seen = view.region();
        [
            Axis::of(|x| view.to_picture(x, 0.0).0, side, [seen.x, seen.x + seen.width]),
            Axis::of(|y| view.to_picture(0.0, y).1, side, [seen.y, seen.y + seen.height]),
        ]
    }

    #[test]
    fn turning_a_view_round_inverts_it() {
        for (width, height) in [(640, 480), (480, 641), (150, 150), (4000, 37), (1, 900)] {
            for rule in [ResizeRule::Squash, ResizeRule::Crop, ResizeRule::Pad] {
                let view = View::new(width, height, rule, 224);
                let seen = view.region();
                let [across, down] = axes(width, height, rule, 224);
                for part in [0.001, 0.3, 0.5, 0.999] {
                    let (x, y) = (seen.x + part * seen.width, seen.y + part * seen.height);
                    let input = (across.to_input(x).unwrap(), down.to_input(y).unwrap());
                    let back = view.to_picture(224.0 * input.0, 224.0 * input.1);
                    let off = (back.0 - x).abs().max((back.1 - y).abs());
                    assert!(off < 1e-3 * width.max(height) as f32, "{width} x {height} {rule:?}: {off}");
                }
            }
        }
    }

    #[test]
    fn what_was_cropped_away_has_no_heat() {
        let [across, down] = axes(300, 100, ResizeRule::Crop, 224);
        assert_eq!((across.to_input(99.0), across.to_input(201.0)), (None, None));
        assert_eq!((across.to_input(150.0), down.to_input(50.0)), (Some(0.5), Some(0.5)));
    }

    #[test]
    fn values_between_cells_are_between_their_values() {
        let map = array![[0.0, 4.0], [8.0, 12.0]];
        let [across, _] = axes(8, 8, ResizeRule::Squash, 16);
        let taps: Vec<Tap> = taps(&across, 8, 8, 2).into_iter().flatten().collect();
        let seen: Vec<f32> = taps.iter().map(|&column| value(&map, (0, 1, 0.5), column)).collect();
        assert_eq!(seen, [4.0, 4.0, 4.5, 5.5, 6.5, 7.5, 8.0, 8.0]);
    }

    #[test]
    fn heat_is_warm_where_the_map_is_high_and_absent_below_a_third() {
        let (_, cold) = warmth(0.33);
        let (hot, opacity) = warmth(1.0);
        assert_eq!((cold, opacity), (0.0, OPACITY));
        assert!(hot.r() > 200 && hot.b() == 0);
        let mut canvas = Canvas::new(4, 4, Rgb888::BLACK);
        let view = View::new(4, 4, ResizeRule::Squash, 8);
        draw(&mut canvas, &Array2::zeros((2, 2)), &view, 8, (4, 4));
        assert_eq!(canvas.to_png().unwrap(), Canvas::new(4, 4, Rgb888::BLACK).to_png().unwrap());
    }
}
