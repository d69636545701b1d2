//! Frames: checked RGB pictures, and how they become a network's input.
//!
//! The trainer and the board use these same functions, so a network never sees a picture resized in
//! another way than in training.

mod pattern;
mod resample;
mod rgb;
mod view;

use alloc::vec;

use ndarray::Array4;

pub use pattern::pattern;
pub use resample::resize;
pub use rgb::{Frame, FrameError, MAX_SIDE, Region};
pub use view::{NoResizeRule, ResizeRule, View, coarsest_scale};

/// What [`ResizeRule::Pad`] fills with: a grey near the mean of photographs.
const PAD_GREY: u8 = 114;

/// The network's input picture, `side * side`, and the way back to the pixels of `frame`'s picture.
///
/// # Panics
/// Panics if `side` is not 1 to [`MAX_SIDE`].
pub fn network_frame(frame: &Frame, rule: ResizeRule, side: u32) -> (Frame, View) {
    let [width, height] = frame.picture_size();
    let view = View::new(width, height, rule, side);
    let [left, top, width, height] = view.drawn;
    let drawn = resize(frame, view.seen.at_scale(frame.scale), width, height);
    if (width, height) == (side, side) {
        return (drawn, view);
    }
    let row = 3 * side as usize;
    let mut pixels = vec![PAD_GREY; row * side as usize];
    let rows = pixels.chunks_exact_mut(row).skip(top as usize);
    for (target, source) in rows.zip(drawn.pixels.chunks_exact(3 * width as usize)) {
        let start = 3 * left as usize;
        target[start..start + source.len()].copy_from_slice(source);
    }
    let padded = Frame { width: side, height: side, pixels, scale: 1 };
    (padded, view)
}

/// A frame as a network takes it: `[1, 3, H, W]` planes red, green, blue; values 0..=255, whole.
pub fn input(frame: &Frame) -> Array4<f32> {
    let (height, width) = (frame.height as usize, frame.width as usize);
    let mut planes = Array4::zeros([1, 3, height, width]);
    let cells = height * width;
    if let Some(values) = planes.as_slice_mut() {
        let (red, rest) = values.split_at_mut(cells);
        let (green, blue) = rest.split_at_mut(cells);
        let pixels = frame.pixels.chunks_exact(3);
        for (((pixel, red), green), blue) in pixels.zip(red).zip(green).zip(blue) {
            (*red, *green, *blue) = (f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]));
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_sizes_and_lengths_are_refused() {
        for (width, height) in [(0, 5), (5, 0), (MAX_SIDE + 1, 1), (1, u32::MAX)] {
            let error = Frame::new(width, height, Vec::new()).unwrap_err();
            assert_eq!(error, FrameError::Side { width, height });
        }
        for length in [0, 17, 19] {
            let expected = FrameError::Length { width: 2, height: 3, expected: 18, actual: length as u64 };
            assert_eq!(Frame::new(2, 3, vec![0; length]), Err(expected));
        }
        // 3 * 2^32 bytes: must not wrap to a small number on any machine.
        assert!(Frame::new(MAX_SIDE, MAX_SIDE, Vec::new()).is_err());
        assert!(Frame::new(2, 3, vec![0; 18]).is_ok());
    }

    #[test]
    fn flipping_mirrors_columns_and_is_its_own_inverse() {
        let frame = Frame::new(3, 2, (0..18).collect()).unwrap();
        let flipped = frame.flipped();
        assert_eq!(flipped.pixel(0, 1), frame.pixel(2, 1));
        assert_eq!(flipped.pixel(1, 0), frame.pixel(1, 0));
        assert_eq!(flipped.flipped(), frame);
    }

    #[test]
    fn to_input_inverts_to_picture() {
        for (width, height) in [(640, 480), (480, 641), (150, 150), (4000, 37), (1, 900)] {
            for rule in [ResizeRule::Squash, ResizeRule::Crop, ResizeRule::Centre(70), ResizeRule::Pad] {
                let view = View::new(width, height, rule, 224);
                let seen = view.region();
                for part in [0.001, 0.3, 0.5, 0.999] {
                    let (x, y) = (seen.x + part * seen.width, seen.y + part * seen.height);
                    let input = view.to_input(x, y).unwrap();
                    let back = view.to_picture(input.0, input.1);
                    let off = (back.0 - x).abs().max((back.1 - y).abs());
                    assert!(off < 1e-4 * width.max(height) as f32, "{width} x {height} {rule:?}: {off}");
                }
            }
        }
        let view = View::new(300, 100, ResizeRule::Crop, 224);
        assert_eq!((view.to_input(99.0, 50.0), view.to_input(201.0, 50.0)), (None, None));
        assert_eq!(view.to_input(150.0, 50.0), Some((112.0, 112.0)));
    }

    #[test]
    fn views_lead_back_to_picture_pixels() {
        use ResizeRule::{Centre, Crop, Pad, Squash};
        // Picture size, rule, input side, input point, picture point.
        for (size, rule, side, input, picture) in [
            ((448, 448), Squash, 224, (0.0, 224.0), (0.0, 448.0)),
            ((640, 480), Squash, 160, (40.0, 80.0), (160.0, 240.0)),
            ((640, 480), Crop, 240, (0.0, 0.0), (80.0, 0.0)),
            ((640, 480), Crop, 240, (120.0, 120.0), (320.0, 240.0)),
            ((641, 480), Crop, 240, (240.0, 240.0), (560.5, 480.0)),
            ((300, 500), Crop, 100, (50.0, 0.0), (150.0, 100.0)),
            ((640, 400), Centre(50), 100, (0.0, 0.0), (220.0, 100.0)),
            ((640, 400), Centre(50), 100, (50.0, 100.0), (320.0, 300.0)),
            ((640, 400), Centre(100), 100, (0.0, 0.0), (120.0, 0.0)),
            ((640, 320), Pad, 160, (0.0, 40.0), (0.0, 0.0)),
            ((640, 320), Pad, 160, (160.0, 120.0), (640.0, 320.0)),
            ((640, 320), Pad, 160, (80.0, 10.0), (320.0, 0.0)),
            ((320, 640), Pad, 160, (150.0, 80.0), (320.0, 320.0)),
            ((1, 60_000), Pad, 224, (111.5, 0.0), (0.5, 0.0)),
        ] {
            let view = View::new(size.0, size.1, rule, side);
            let actual = view.to_picture(input.0, input.1);
            assert_eq!(actual, picture, "{size:?} {rule:?} {input:?}");
        }
    }

    #[test]
    fn padding_is_grey_and_the_picture_is_centred() {
        let frame = Frame::new(8, 4, vec![200; 96]).unwrap();
        let (padded, view) = network_frame(&frame, ResizeRule::Pad, 16);
        assert_eq!((padded.width(), padded.height()), (16, 16));
        for y in 0..16 {
            let expected = if (4..12).contains(&y) { 200 } else { PAD_GREY };
            assert_eq!(padded.pixel(0, y), [expected; 3], "row {y}");
            assert_eq!(padded.pixel(15, y), [expected; 3], "row {y}");
        }
        assert_eq!(view.to_picture(16.0, 12.0), (8.0, 4.0));
    }

    #[test]
    fn crop_keeps_the_centre_and_squash_keeps_all() {
        let columns = (0..12).flat_map(|_| (0..20).flat_map(|x| [10 * x; 3]));
        let frame = Frame::new(20, 12, columns.collect()).unwrap();
        let (cropped, _) = network_frame(&frame, ResizeRule::Crop, 12);
        assert_eq!(cropped.pixel(0, 0), [40; 3]);
        assert_eq!(cropped.pixel(11, 11), [150; 3]);
        let (squashed, _) = network_frame(&frame, ResizeRule::Squash, 10);
        assert_eq!(squashed.pixel(5, 9), [105; 3]);
    }

    #[test]
    fn the_coarsest_scale_keeps_twice_the_input_and_whole_pixels() {
        use ResizeRule::{Centre, Crop, Pad, Squash};
        for (size, rule, side, scale) in [
            ((4000, 3000), Squash, 224, 4),
            ((4032, 3024), Centre(88), 160, 8),
            ((4032, 3024), Centre(88), 224, 4),
            ((4032, 3024), Crop, 448, 2),
            ((3000, 4000), Pad, 224, 8),
            ((4004, 3004), Squash, 64, 4),
            ((4001, 3000), Squash, 64, 1),
            ((448, 448), Squash, 224, 1),
            ((896, 896), Squash, 224, 2),
            ((896, 894), Squash, 224, 1),
            ((65_536, 8), Pad, 224, 4),
        ] {
            assert_eq!(coarsest_scale(size.0, size.1, rule, side), scale, "{size:?} {rule} {side}");
        }
    }

    #[test]
    fn a_frame_at_a_scale_makes_the_picture_s_view() {
        let frame = Frame::new(20, 12, vec![50; 720]).unwrap().at_scale(4);
        assert_eq!(frame.picture_size(), [80, 48]);
        for rule in [ResizeRule::Squash, ResizeRule::Crop, ResizeRule::Centre(70), ResizeRule::Pad] {
            let (_, view) = network_frame(&frame, rule, 6);
            assert_eq!(view, View::new(80, 48, rule, 6), "{rule}");
        }
    }

    #[test]
    fn input_is_planes_of_whole_numbers() {
        let frame = Frame::new(3, 2, (0..18).collect()).unwrap();
        let planes = input(&frame);
        assert_eq!(planes.shape(), [1, 3, 2, 3]);
        for y in 0..2_u32 {
            for x in 0..3_u32 {
                for (channel, value) in frame.pixel(x, y).into_iter().enumerate() {
                    let actual = planes[[0, channel, y as usize, x as usize]];
                    assert!((actual - f32::from(value)).abs() < f32::EPSILON);
                }
            }
        }
    }

    #[test]
    fn resize_rules_have_stable_names() {
        use ResizeRule::{Centre, Crop, Pad, Squash};
        for (rule, name) in [
            (Squash, "squash"),
            (Crop, "crop"),
            (Pad, "pad"),
            (Centre(1), "centre-1"),
            (Centre(88), "centre-88"),
        ] {
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{name}\""));
            assert_eq!(name.parse(), Ok(rule));
        }
        for name in ["", "Crop", "centre", "centre-0", "centre-101", "centre-300", "centre--5"] {
            assert!(name.parse::<ResizeRule>().is_err(), "{name}");
            assert!(serde_json::from_str::<ResizeRule>(&format!("\"{name}\"")).is_err(), "{name}");
        }
    }
}
