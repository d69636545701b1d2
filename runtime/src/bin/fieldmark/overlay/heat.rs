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
    let side = side as f32;
    let seen = view.region();
    let (centre_x, centre_y) = (seen.x + seen.width / 2.0, seen.y + seen.height / 2.0);
    let across = |x: f32| Some(view.to_input(x, centre_y)?.0 / side);
    let down = |y: f32| Some(view.to_input(centre_x, y)?.1 / side);
    let columns = taps(across, canvas.width(), size.0, map.ncols());
    let rows = taps(down, canvas.height(), size.1, map.nrows());
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

/// A cell, its neighbour, and how much the neighbour counts.
type Tap = (usize, usize, f32);

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

    #[test]
    fn values_between_cells_are_between_their_values() {
        let map = array![[0.0, 4.0], [8.0, 12.0]];
        let taps: Vec<Tap> = taps(|x| Some(x / 8.0), 8, 8, 2).into_iter().flatten().collect();
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
