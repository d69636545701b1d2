//! A picture with the marks of its best answer drawn in, and a legend below it.
//!
//! Nothing of the legend covers the picture, and the picture keeps its own colours. A mark is told by its number and its
//! colour, the same in both.

mod canvas;
mod colours;
mod contour;
mod legend;
mod picture;

use std::collections::{BTreeMap, BTreeSet};

use embedded_graphics::prelude::OriginDimensions;
use fieldmark::engine::Prediction;
use fieldmark::{Description, Frame, resize};
use image::ImageResult;

use crate::marks::Marks;
use canvas::Canvas;
use contour::Cells;

/// The file name for each picture's overlay, by its stem: `robin.marks.png`, and `robin-2.marks.png` for
/// the second of that stem. File systems that take `Robin` and `robin` for one are reckoned with.
pub fn overlay_names(stems: impl Iterator<Item = String>) -> Vec<String> {
    let (mut taken, mut last) = (BTreeSet::new(), BTreeMap::new());
    let mut name = |stem: String| {
        if taken.insert(stem.to_lowercase()) {
            return format!("{stem}.marks.png");
        }
        let number: &mut usize = last.entry(stem.to_lowercase()).or_insert(1);
        loop {
            *number += 1;
            let name = format!("{stem}-{number}");
            if taken.insert(name.to_lowercase()) {
                return format!("{name}.marks.png");
            }
        }
    };
    stems.map(&mut name).collect()
}

/// The overlay as a PNG file's bytes, with at most `most` marks. `prediction` is of `frame`, and has its cues and a runner-up.
///
/// # Errors
/// Those of the PNG encoder.
pub fn overlay_png(
    frame: &Frame,
    prediction: &Prediction,
    description: &Description,
    most: usize,
) -> ImageResult<Vec<u8>> {
    overlay(frame, prediction, description, most).to_png()
}

fn overlay(frame: &Frame, prediction: &Prediction, description: &Description, most: usize) -> Canvas {
    let (width, height) = shown_size(frame.width(), frame.height());
    let mut picture = Canvas::of(&resize(frame, frame.region(), width, height));
    let marks = Marks::of(&prediction.cues, most);
    let zoom = if width.min(height) >= 900 { 2 } else { 1 };
    let maps = prediction.maps.view();
    let (cells, size) = ((maps.dim().1, maps.dim().2), (frame.width(), frame.height()));
    let cells = Cells::of(&prediction.view, description.input.side, cells, size, picture.size());
    let scale = (width as f32 / frame.width() as f32, height as f32 / frame.height() as f32);
    picture::draw(&mut picture, &marks.shown, &maps, &cells, scale, zoom);
    legend::below(&picture, &legend::rows(prediction, &marks), zoom)
}

/// The size at which a picture is shown: its shorter side at least 480 pixels, its longer at most 1600,
/// which counts more.
fn shown_size(width: u32, height: u32) -> (u32, u32) {
    let (shorter, longer) = (width.min(height) as f32, width.max(height) as f32);
    let scale = (480.0 / shorter).max(1.0).min(1600.0 / longer);
    let scaled = |side: u32| ((side as f32 * scale).round() as u32).max(1);
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use embedded_graphics::pixelcolor::RgbColor;
    use fieldmark::engine::{Answer, Stages};
    use fieldmark::model::{Input, SCHEMA, Thresholds, labels_sha256};
    use fieldmark::{Head, HeadKind, Layout, ResizeRule, View};
    use ndarray::Array3;
    use serde_json::Value;

    use super::colours::colour;
    use super::*;
    use crate::marks::tests::cue;

    const SIDE: u32 = 224;

    /// Two classes with a channel each.
    fn description() -> Description {
        let labels = ["Robin", "Blue_tit"].map(String::from).to_vec();
        Description {
            schema: SCHEMA,
            labels_sha256: labels_sha256(&labels),
            labels,
            layout: Layout::uniform(2, 1).unwrap(),
            head: Head { kind: HeadKind::GroupMean, weight: vec![1.0; 2], bias: vec![0.0; 2] },
            input: Input { side: SIDE, resize: ResizeRule::Squash },
            map_stride: 32,
            temperature: 1.0,
            thresholds: Thresholds::default(),
            sketches: None,
            training: Value::Null,
            self_test: Vec::new(),
        }
    }

    /// A Robin in a `width * height` picture, of which this cell of the map is high.
    fn prediction(width: u32, height: u32, cell: Option<[usize; 3]>) -> Prediction {
        let answer = |label: &str, index| Answer { label: label.into(), index, logit: 1.0, probability: 0.5 };
        let mut maps = Array3::zeros((2, 7, 7));
        if let Some(cell) = cell {
            maps[cell] = 1.0;
        }
        Prediction {
            top: vec![answer("Robin", 0), answer("Blue_tit", 1)],
            unknown: None,
            cues: Vec::new(),
            maps,
            view: View::new(width, height, ResizeRule::Squash, SIDE),
            ms: Stages::default(),
        }
    }

    fn is_grey(pixel: [u8; 3]) -> bool {
        pixel == [90; 3]
    }

    #[test]
    fn the_legend_lies_below_the_picture() {
        let frame = Frame::new(700, 490, vec![90; 3 * 700 * 490]).unwrap();
        let drawn = overlay(&frame, &prediction(700, 490, None), &description(), 3);
        assert!(drawn.width() == 700 && drawn.height() > 490);
        for (x, y) in [(0, 0), (350, 245), (699, 489)] {
            assert!(is_grey(drawn.pixel(x, y)), "{x}, {y}");
        }
        assert!((0..700).all(|x| !is_grey(drawn.pixel(x, 490))));
    }

    #[test]
    fn a_mark_is_lined_in_its_colour_and_all_else_keeps_its_own() {
        let frame = Frame::new(700, 490, vec![90; 3 * 700 * 490]).unwrap();
        // Cells are 100 x 70 pixels; column 5, row 1 is centred on 550, 105.
        let mut prediction = prediction(700, 490, Some([0, 1, 5]));
        prediction.cues = vec![cue(0, 550.0, 105.0, 1.0)];
        let drawn = overlay(&frame, &prediction, &description(), 3);
        let first = [colour(1).r(), colour(1).g(), colour(1).b()];
        for (x, y) in [(500, 105), (599, 105), (550, 70), (550, 139)] {
            assert_eq!(drawn.pixel(x, y), first, "{x}, {y}");
        }
        assert!(
            [(520, 105), (550, 180), (450, 105), (100, 100)].iter().all(|&(x, y)| is_grey(drawn.pixel(x, y)))
        );
        let without = overlay(&frame, &prediction, &description(), 0);
        assert!((0..700).all(|x| is_grey(without.pixel(x, 105))));
    }

    #[test]
    fn pictures_are_shown_neither_tiny_nor_huge() {
        for (size, shown) in [
            ((150, 150), (480, 480)),
            ((640, 480), (640, 480)),
            ((320, 240), (640, 480)),
            ((1000, 1200), (1000, 1200)),
            ((4000, 3000), (1600, 1200)),
            ((100, 1000), (160, 1600)),
            ((1, 60_000), (1, 1600)),
        ] {
            assert_eq!(shown_size(size.0, size.1), shown, "{size:?}");
        }
    }

    #[test]
    fn no_two_overlays_share_a_name() {
        let stems = ["a", "b", "A", "a", "a-2"].map(String::from);
        let names = overlay_names(stems.into_iter());
        let expected = ["a", "b", "A-2", "a-3", "a-2-2"].map(|name| format!("{name}.marks.png"));
        assert_eq!(names, expected);
    }
}
