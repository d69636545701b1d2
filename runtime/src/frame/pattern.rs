//! Self-test pictures.

use alloc::vec::Vec;

use super::rgb::{Frame, MAX_SIDE};

/// Blobs in a pattern.
const BLOBS: usize = 12;

/// A picture that every processor draws alike, byte for byte, from a number: soft coloured blobs over
/// a plain colour, with some noise. A model's self-test carries such seeds instead of pictures.
///
/// Only integer arithmetic is used. `seed` is any number; the picture is `side * side`.
///
/// # Panics
/// Panics if `side` is not 1 to [`MAX_SIDE`].
pub fn pattern(seed: u64, side: u32) -> Frame {
    assert!((1..=MAX_SIDE).contains(&side), "pattern of side {side}");
    let mut random = SplitMix(seed);
    let ground = random.colour();
    let blobs: [Blob; BLOBS] = core::array::from_fn(|_| Blob::random(&mut random, side));
    let mut pixels = Vec::with_capacity(3 * side as usize * side as usize);
    for y in 0..i64::from(side) {
        for x in 0..i64::from(side) {
            let mut colour = ground;
            for blob in &blobs {
                blob.paint(&mut colour, x, y);
            }
            let noise = random.next();
            for (channel, value) in colour.iter().enumerate() {
                let noise = (noise >> (16 * channel)) as i64 % 32 - 16;
                pixels.push((value + noise).clamp(0, 255) as u8);
            }
        }
    }
    Frame { width: side, height: side, pixels, scale: 1 }
}

/// A disc that fades towards its rim.
struct Blob {
    x: i64,
    y: i64,
    radius_squared: i64,
    colour: [i64; 3],
}

impl Blob {
    fn random(random: &mut SplitMix, side: u32) -> Blob {
        let side = u64::from(side);
        let x = random.below(side) as i64;
        let y = random.below(side) as i64;
        // From a sixteenth to five sixteenths of the side.
        let radius = (1 + side / 16 + random.below(side / 4 + 1)) as i64;
        Blob { x, y, radius_squared: radius * radius, colour: random.colour() }
    }

    fn paint(&self, colour: &mut [i64; 3], x: i64, y: i64) {
        let distance_squared = (x - self.x) * (x - self.x) + (y - self.y) * (y - self.y);
        let inside = self.radius_squared - distance_squared;
        if inside <= 0 {
            return;
        }
        // 0 at the rim to 256 at the centre.
        let cover = inside * 256 / self.radius_squared;
        for (value, own) in colour.iter_mut().zip(self.colour) {
            *value += (own - *value) * cover / 256;
        }
    }
}

/// The `SplitMix64` generator (Steele, Lea, Flood 2014): one state word, no bad seed.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// 0 to `limit - 1`; the bias of the remainder does not matter here.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn colour(&mut self) -> [i64; 3] {
        let word = self.next();
        [word, word >> 8, word >> 16].map(|bits| (bits & 0xff) as i64)
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::digits::hexadecimal;

    #[test]
    fn pattern_gives_the_same_bytes_everywhere() {
        let hash = Sha256::digest(pattern(7, 64).pixels());
        assert_eq!(hexadecimal(&hash), "0487ab32f13e25a033c6e7affb94da8a7821b14d2a67421a81d74b121b2e042a");
    }

    #[test]
    fn patterns_of_different_seeds_differ_and_use_the_range() {
        for (a, b) in [(0, 1), (1, 2), (u64::MAX, 0)] {
            let (a, b) = (pattern(a, 96), pattern(b, 96));
            let unequal = a.pixels().iter().zip(b.pixels()).filter(|(a, b)| a != b);
            assert!(unequal.count() > a.pixels().len() / 2);
            let (low, high) = (a.pixels().iter().min(), a.pixels().iter().max());
            assert!(low < Some(&80) && high > Some(&175), "{low:?} {high:?}");
        }
    }

    #[test]
    fn neighbours_are_alike_apart_from_the_noise() {
        let frame = pattern(3, 224);
        let row = |y| (0..223).map(move |x| (x, y));
        let differences = (0..224)
            .flat_map(row)
            .map(|(x, y)| u64::from(frame.pixel(x, y)[1].abs_diff(frame.pixel(x + 1, y)[1])));
        let mean = differences.sum::<u64>() / (223 * 224);
        assert!((3..=16).contains(&mean), "{mean}");
    }

    #[test]
    fn every_side_can_be_drawn() {
        for side in [1, 2, 3, 15, 17] {
            assert_eq!(pattern(5, side).pixels().len(), (3 * side * side) as usize);
        }
    }
}
