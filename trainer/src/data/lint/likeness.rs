//! Whether two pictures are nearly the same: another size, compression, brightness, or a moment later.
//!
//! Three views must agree. `waves` is the hash of the 8 x 8 lowest cosines of the picture in grey, each against
//! their median (Zauner 2010, "pHash"); `steps` says where it gets brighter to the right, on 8 x 8 places; `colours` are
//! 16 x 16 pixels. The limits were chosen on photographs, by looking at the pairs: among 2,936 of groceries they find 18,
//! all the same thing at the same place a moment later; among 1,291 cut-out coins 48, some 45 of them the same coin.
//! Either hash alone takes hundreds of different coins for one. Copies that were halved, compressed with quality 40, made
//! a fifth brighter, or lost 1 % at each edge differ by less at 95 % and more; mirrored ones are not found.

use std::f32::consts::PI;

use fieldmark::frame::{Frame, resize};
use rayon::prelude::*;

/// Bits of 63 in which `waves` may differ.
const WAVES: u32 = 6;

/// Bits of 64 in which `steps` may differ.
const STEPS: u32 = 10;

/// Mean difference of `colours` that may be, of 255, once both are as bright as [`BRIGHT`].
const COLOURS: f32 = 12.0;

/// Root mean square of `colours`, when two are compared.
const BRIGHT: f32 = 128.0;

/// Least range of `colours` that is a picture of something.
const BLANK: u8 = 8;

/// Side of the grey picture that the cosines are taken of.
const WAVE_SIDE: usize = 32;

/// Side of `colours`.
const SIDE: u32 = 16;

/// What a picture looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Likeness {
    waves: u64,
    steps: u64,
    colours: Vec<u8>,
}

/// What `frame` looks like, whatever its size.
pub fn likeness(frame: &Frame) -> Likeness {
    let small = resize(frame, frame.region(), WAVE_SIDE as u32, WAVE_SIDE as u32);
    let colours = resize(frame, frame.region(), SIDE, SIDE).into_pixels();
    Likeness { waves: waves(&greys(&small)), steps: steps(frame), colours }
}

impl Likeness {
    /// Whether there is next to nothing to see.
    pub fn is_blank(&self) -> bool {
        let range = |channel: usize| {
            let values = || self.colours.iter().skip(channel).step_by(3);
            values().max().zip(values().min()).map_or(0, |(max, min)| max - min)
        };
        (0..3).all(|channel| range(channel) < BLANK)
    }

    /// Whether both show nearly the same.
    pub fn is_alike(&self, other: &Likeness) -> bool {
        (self.waves ^ other.waves).count_ones() <= WAVES
            && (self.steps ^ other.steps).count_ones() <= STEPS
            && difference(&self.colours, &other.colours) <= COLOURS
    }
}

fn greys(frame: &Frame) -> Vec<f32> {
    let grey = |pixel: &[u8; 3]| {
        let [red, green, blue] = pixel.map(f32::from);
        0.299 * red + 0.587 * green + 0.114 * blue
    };
    frame.pixels().as_chunks().0.iter().map(grey).collect()
}

/// A bit for each cosine that is above the median of all but the mean.
fn waves(greys: &[f32]) -> u64 {
    let wave = |count: usize, at: usize| (PI * (at as f32 + 0.5) * count as f32 / WAVE_SIDE as f32).cos();
    let waves: Vec<[f32; WAVE_SIDE]> =
        (0..8).map(|count| std::array::from_fn(|at| wave(count, at))).collect();
    let dot =
        |wave: &[f32; WAVE_SIDE], values: &[f32]| wave.iter().zip(values).map(|(a, b)| a * b).sum::<f32>();
    let mut strengths = Vec::with_capacity(64);
    for across in &waves {
        let column: Vec<f32> = greys.chunks(WAVE_SIDE).map(|row| dot(across, row)).collect();
        strengths.extend(waves.iter().map(|down| dot(down, &column)));
    }
    let mut sorted = strengths[1..].to_vec();
    sorted.sort_by(f32::total_cmp);
    let median = sorted[sorted.len() / 2];
    strengths[1..].iter().fold(0, |bits, &strength| bits << 1 | u64::from(strength > median))
}

fn steps(frame: &Frame) -> u64 {
    let greys = greys(&resize(frame, frame.region(), 9, 8));
    let pairs = greys.chunks(9).flat_map(|row| row.windows(2));
    pairs.fold(0, |bits, pair| bits << 1 | u64::from(pair[0] < pair[1]))
}

/// Mean absolute difference of pictures made equally bright.
fn difference(a: &[u8], b: &[u8]) -> f32 {
    let gain = |values: &[u8]| {
        let squares: u64 = values.iter().map(|&value| u64::from(value) * u64::from(value)).sum();
        BRIGHT / (squares as f32 / values.len() as f32).sqrt().max(1.0)
    };
    let (of_a, of_b) = (gain(a), gain(b));
    let apart = a.iter().zip(b).map(|(&a, &b)| (f32::from(a) * of_a - f32::from(b) * of_b).abs());
    apart.sum::<f32>() / a.len() as f32
}

/// All pairs that are alike, in order, the first place below the second; `None` is like nothing.
pub fn alike(all: &[Option<&Likeness>]) -> Vec<[usize; 2]> {
    let with = |first: usize| {
        let one = all[first];
        let later = all.iter().enumerate().skip(first + 1);
        later.filter_map(move |(second, other)| one?.is_alike((*other)?).then_some([first, second]))
    };
    (0..all.len()).into_par_iter().flat_map_iter(with).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Soft blobs of colour, as photographs have them; `seed` decides where.
    pub fn scene(seed: u32, width: u32, height: u32) -> Frame {
        let blob = |x: f32, y: f32, number: u32| {
            let place = |salt: u32| {
                let mut mixed =
                    seed.wrapping_mul(0x9e37_79b9) ^ (number * 64 + salt).wrapping_mul(0x85eb_ca6b);
                for _ in 0..3 {
                    mixed = (mixed ^ mixed >> 15).wrapping_mul(0x2c1b_3c6d);
                }
                (mixed >> 16) as f32 / 65_536.0
            };
            let (dx, dy) = (x - place(1), y - place(2));
            (-12.0 * (dx * dx + dy * dy)).exp() * 160.0
        };
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| {
            let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
            [0, 1, 2].map(|channel| (blob(x, y, channel) + blob(x, y, channel + 3) + 20.0).min(250.0) as u8)
        });
        Frame::new(width, height, pixels.collect()).unwrap()
    }

    #[test]
    fn another_size_and_brightness_are_alike_and_other_scenes_are_not() {
        let dimmed = |frame: &Frame| {
            let pixels = frame.pixels().iter().map(|&value| (f32::from(value) * 0.75) as u8).collect();
            Frame::new(frame.width(), frame.height(), pixels).unwrap()
        };
        let first = likeness(&scene(1, 200, 150));
        assert!(first.is_alike(&first));
        assert!(first.is_alike(&likeness(&scene(1, 80, 60))), "a smaller copy");
        assert!(first.is_alike(&likeness(&dimmed(&scene(1, 200, 150)))), "a darker copy");
        for seed in 2..40 {
            assert!(!first.is_alike(&likeness(&scene(seed, 200, 150))), "{seed}");
        }
    }

    #[test]
    fn one_colour_is_blank_and_a_scene_is_not() {
        assert!(likeness(&Frame::new(40, 30, vec![120; 3600]).unwrap()).is_blank());
        assert!(!likeness(&scene(3, 40, 30)).is_blank());
    }

    #[test]
    fn pairs_come_in_order_without_the_absent() {
        let (one, other) = (likeness(&scene(1, 60, 60)), likeness(&scene(2, 60, 60)));
        let all = [Some(&one), None, Some(&other), Some(&one), Some(&one)];
        assert_eq!(alike(&all), [[0, 3], [0, 4], [3, 4]]);
    }
}
