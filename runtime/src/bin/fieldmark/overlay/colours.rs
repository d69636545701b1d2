//! The colours of marks.

use embedded_graphics::pixelcolor::{Rgb888, RgbColor, WebColors};

/// Told apart by colour-blind eyes too (after Okabe and Ito): sky blue, yellow, green, purple, blue, white.
const COLOURS: [Rgb888; 6] = [
    Rgb888::new(86, 180, 233),
    Rgb888::new(240, 228, 66),
    Rgb888::new(0, 178, 128),
    Rgb888::new(224, 130, 180),
    Rgb888::new(60, 120, 230),
    Rgb888::WHITE,
];

/// Behind everything that is drawn, so that it shows on any ground.
pub const DARK: Rgb888 = Rgb888::CSS_BLACK;

/// The colour of the mark with this number, 1 or above.
pub fn colour(number: usize) -> Rgb888 {
    COLOURS[(number - 1) % COLOURS.len()]
}
