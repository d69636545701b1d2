//! Random changes to training pictures.

use fieldmark::frame::{Frame, Region, ResizeRule, View, input, network_frame, resize};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// What outside the picture is filled with when it is shifted: the grey of [`ResizeRule::Pad`].
const GREY: f32 = 114.0;

/// Random changes to a training picture. Field marks can be colours and edges: keep the changes smaller than the
/// difference between look-alikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// Which part of the picture is seen.
    pub crop: Crop,
    /// How often it is mirrored, 0..=1.
    pub flip: f64,
    /// Brightness is scaled by up to this share more or less, 0..1.
    pub brightness: f32,
    /// So is the distance from the picture's mean grey.
    pub contrast: f32,
    /// So is the distance of each pixel's colour from its own grey.
    pub saturation: f32,
}

/// Which part of a picture is seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Crop {
    /// As on the board.
    Whole,
    /// A random part, resized to the input: the random resized crop.
    Part {
        /// Smallest and largest area, as a share of what the board sees.
        area: [f32; 2],
        /// Smallest and largest width over height, relative to what the board sees.
        ratio: [f32; 2],
    },
    /// What the board sees, moved by up to this share of the side each way: pad-and-crop.
    Shifted {
        /// Share of the side, 0..1.
        by: f32,
    },
}

impl Default for Augment {
    fn default() -> Augment {
        Augment {
            crop: Crop::Part { area: [0.6, 1.0], ratio: [0.85, 1.18] },
            flip: 0.5,
            brightness: 0.2,
            contrast: 0.2,
            saturation: 0.2,
        }
    }
}

/// The planes `3 x side x side` of a frame that already has the network's side; 0..=255.
pub fn planes(frame: &Frame) -> Vec<f32> {
    input(frame).into_raw_vec_and_offset().0
}

/// The planes `3 x side x side` of a picture after random changes; 0..=255.
///
/// Every call draws as many random numbers, whatever the picture: its changes depend on the stream alone.
pub fn augmented(
    frame: &Frame,
    rule: ResizeRule,
    side: u32,
    change: &Augment,
    rng: &mut impl Rng,
) -> Vec<f32> {
    let [u, v, w, z] = [0; 4].map(|_: u32| rng.random::<f32>());
    let is_flipped = rng.random_bool(change.flip.clamp(0.0, 1.0));
    let [brightness, contrast, saturation] = [change.brightness, change.contrast, change.saturation]
        .map(|by| 1.0 + by * (2.0 * rng.random::<f32>() - 1.0));
    let seen = match change.crop {
        Crop::Part { area, ratio } => {
            part(frame, rule, side, between(area, u), log_between(ratio, v), [w, z])
        }
        Crop::Whole | Crop::Shifted { .. } => network_frame(frame, rule, side).0,
    };
    let mut planes = planes(&seen);
    if is_flipped {
        planes.chunks_exact_mut(side as usize).for_each(<[f32]>::reverse);
    }
    if let Crop::Shifted { by } = change.crop {
        let [x, y] = [u, v].map(|u| ((2.0 * u - 1.0) * by * side as f32).round() as isize);
        planes = shifted(&planes, side as usize, x, y);
    }
    jitter(&mut planes, brightness, contrast, saturation);
    planes
}

fn between([low, high]: [f32; 2], u: f32) -> f32 {
    low + (high - low) * u
}

/// Ratios are drawn so that twice as wide is as likely as half as wide.
fn log_between([low, high]: [f32; 2], u: f32) -> f32 {
    between([low.ln(), high.ln()], u).exp()
}

/// A part of the picture of `area` times what the board sees; `at`, 0..1 each, says where.
fn part(frame: &Frame, rule: ResizeRule, side: u32, area: f32, ratio: f32, at: [f32; 2]) -> Frame {
    if rule == ResizeRule::Pad {
        // The board sees the grey too, so the part is taken of the padded picture.
        let whole = frame.width().max(frame.height());
        let padded = network_frame(frame, rule, whole).0;
        return part(&padded, ResizeRule::Crop, side, area, ratio, at);
    }
    let seen = View::new(frame.width(), frame.height(), rule, side).region();
    let (across, down) = (frame.width() as f32, frame.height() as f32);
    let width = (seen.width * (area * ratio).sqrt()).clamp(1.0, across);
    let height = (seen.height * (area / ratio).sqrt()).clamp(1.0, down);
    let region = Region { x: (across - width) * at[0], y: (down - height) * at[1], width, height };
    resize(frame, region, side, side)
}

/// `planes` moved by `x`, `y` pixels, grey where nothing moves in.
fn shifted(planes: &[f32], side: usize, x: isize, y: isize) -> Vec<f32> {
    let from = |at: usize, by: isize| at.checked_add_signed(-by).filter(|&at| at < side);
    let mut moved = vec![GREY; planes.len()];
    for (row, target) in moved.chunks_exact_mut(side).enumerate() {
        let (plane, line) = (row / side, row % side);
        let Some(line) = from(line, y) else { continue };
        for (column, value) in target.iter_mut().enumerate() {
            if let Some(column) = from(column, x) {
                *value = planes[(plane * side + line) * side + column];
            }
        }
    }
    moved
}

/// Scales brightness, then distances from the mean grey, then colours' distances from their own grey.
fn jitter(planes: &mut [f32], brightness: f32, contrast: f32, saturation: f32) {
    let cells = planes.len() / 3;
    let (red, rest) = planes.split_at_mut(cells);
    let (green, blue) = rest.split_at_mut(cells);
    let mean = (total(red, green, blue) / cells as f64) as f32 * brightness;
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let lit = [*red, *green, *blue].map(|value| (value * brightness - mean) * contrast + mean);
        let own = grey(lit[0], lit[1], lit[2]);
        let [r, g, b] = lit.map(|value| ((value - own) * saturation + own).clamp(0.0, 255.0));
        (*red, *green, *blue) = (r, g, b);
    }
}

fn grey(red: f32, green: f32, blue: f32) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// The sum of the pixels' greys. Eight sums side by side instead of one: in double precision each is exact, and so the
/// order does not matter, for the whole numbers 0..=255 of up to 512 x 512 pixels.
fn total(red: &[f32], green: &[f32], blue: &[f32]) -> f64 {
    let ((reds, red), (greens, green)) = (red.as_chunks::<8>(), green.as_chunks::<8>());
    let (blues, blue) = blue.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for ((r, g), b) in reds.iter().zip(greens).zip(blues) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += f64::from(grey(r[lane], g[lane], b[lane]));
        }
    }
    let rest = red.iter().zip(green).zip(blue).map(|((r, g), b)| f64::from(grey(*r, *g, *b)));
    sums.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, stream};

    const STILL: Augment =
        Augment { crop: Crop::Whole, flip: 0.0, brightness: 0.0, contrast: 0.0, saturation: 0.0 };

    /// Red grows to the right, green downwards.
    fn ramp(width: u32, height: u32) -> Frame {
        let pixel = |at: u32| [(at % width * 255 / width) as u8, (at / width * 255 / height) as u8, 128];
        Frame::new(width, height, (0..width * height).flat_map(pixel).collect()).unwrap()
    }

    fn changed(frame: &Frame, rule: ResizeRule, change: &Augment, seed: u64) -> Vec<f32> {
        augmented(frame, rule, 20, change, &mut stream(Stream::Trial { number: seed }))
    }

    #[test]
    fn no_change_is_what_the_board_sees() {
        for rule in [ResizeRule::Squash, ResizeRule::Crop, ResizeRule::Centre(60), ResizeRule::Pad] {
            let frame = ramp(50, 40);
            let board = planes(&network_frame(&frame, rule, 20).0);
            assert_eq!(changed(&frame, rule, &STILL, 1), board, "{rule:?}");
            let largest = Augment { crop: Crop::Part { area: [1.0, 1.0], ratio: [1.0, 1.0] }, ..STILL };
            if rule == ResizeRule::Squash {
                assert_eq!(changed(&frame, rule, &largest, 1), board);
            }
        }
    }

    #[test]
    fn a_certain_flip_mirrors() {
        let frame = ramp(20, 20);
        let flipped = changed(&frame, ResizeRule::Squash, &Augment { flip: 1.0, ..STILL }, 1);
        assert_eq!(flipped, planes(&frame.flipped()));
    }

    #[test]
    fn parts_stay_inside_the_picture_and_have_the_area_asked_for() {
        let frame = ramp(120, 120);
        let quarter = Augment { crop: Crop::Part { area: [0.25, 0.25], ratio: [0.8, 1.25] }, ..STILL };
        for seed in 0..50 {
            let seen = changed(&frame, ResizeRule::Squash, &quarter, seed);
            let across = seen[19] - seen[0];
            let down = seen[400 + 380] - seen[400];
            let area = (across / 242.0) * (down / 242.0);
            assert!((area - 0.25).abs() < 0.03, "{seed}: {across} x {down}");
        }
    }

    #[test]
    fn a_shift_fills_with_grey() {
        let planes: Vec<f32> = [1.0, 2.0, 3.0, 4.0].repeat(3);
        assert_eq!(shifted(&planes, 2, 1, 0)[..4], [GREY, 1.0, GREY, 3.0]);
        assert_eq!(shifted(&planes, 2, 0, -1)[..4], [3.0, 4.0, GREY, GREY]);
        assert_eq!(shifted(&planes, 2, 0, 0), planes);
        let frame = ramp(20, 20);
        let far = Augment { crop: Crop::Shifted { by: 0.4 }, ..STILL };
        assert!((0..20).any(|seed| changed(&frame, ResizeRule::Squash, &far, seed).contains(&GREY)));
    }

    #[test]
    fn jitter_changes_what_it_says() {
        let colours = vec![100.0, 50.0, 60.0, 50.0, 20.0, 50.0];
        let mut brighter = colours.clone();
        jitter(&mut brighter, 1.2, 1.0, 1.0);
        assert!(brighter.iter().zip(&colours).all(|(after, before)| (after - 1.2 * before).abs() < 1e-3));
        let mut grey = colours.clone();
        jitter(&mut grey, 1.0, 1.0, 0.0);
        assert!((grey[0] - grey[2]).abs() < 1e-3 && (grey[0] - grey[4]).abs() < 1e-3);
        let mut flat = colours;
        jitter(&mut flat, 1.0, 0.0, 1.0);
        assert!(flat.iter().all(|value| (value - flat[0]).abs() < 1e-3));
    }

    #[test]
    fn the_total_grey_does_not_depend_on_the_order_of_sums() {
        let mut rng = stream(Stream::Trial { number: 7 });
        let mut plane = || (0..512 * 512 - 3).map(|_| f32::from(rng.random::<u8>())).collect::<Vec<f32>>();
        let (red, green, blue) = (plane(), plane(), plane());
        let greys = red.iter().zip(&green).zip(&blue).map(|((r, g), b)| f64::from(grey(*r, *g, *b)));
        let one_by_one = greys.sum::<f64>();
        assert_eq!(total(&red, &green, &blue).to_bits(), one_by_one.to_bits());
    }

    #[test]
    fn the_setting_survives_json() {
        let augment = Augment { crop: Crop::Shifted { by: 0.1 }, ..Augment::default() };
        let json = serde_json::to_string(&augment).unwrap();
        assert!(json.contains(r#""kind":"shifted""#), "{json}");
        assert_eq!(serde_json::from_str::<Augment>(&json).unwrap(), augment);
    }
}
