//! The legend below the picture: the answer, what each mark counts for, the runner-up.

use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::Alignment;
use fieldmark::engine::{Answer, Prediction};

use super::canvas::{Canvas, LETTER};
use super::colours::colour;
use super::picture::{RADIUS, draw_disc};
use crate::marks::{Marks, Rest};
use crate::text::percent;

const GROUND: Rgb888 = Rgb888::new(28, 30, 34);
const TRACK: Rgb888 = Rgb888::new(58, 61, 68);
const QUIET: Rgb888 = Rgb888::new(178, 182, 190);
const WARNING: Rgb888 = Rgb888::new(255, 190, 92);

/// Narrower legends cannot hold their text. Before zoom, as all lengths here.
const NARROWEST: u32 = 480;
const MARGIN: u32 = 14;

/// One row of the legend.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// The best answer: label, probability.
    Answer(String, String),
    /// The answer is below the model's threshold.
    Doubt,
    /// A mark's number, its bar's length as part of the longest, and its share.
    Mark(usize, f32, String),
    /// Anything else: on the left, on the right.
    Note(String, String),
}

impl Row {
    fn height(&self) -> u32 {
        match self {
            Row::Answer(..) => 52,
            Row::Mark(..) => 32,
            Row::Doubt | Row::Note(..) => 28,
        }
    }
}

/// The rows for a prediction with these marks.
pub fn rows(prediction: &Prediction, marks: &Marks<'_>) -> Vec<Row> {
    let named = |answer: &Answer| (answer.label.clone(), percent(answer.probability));
    let mut rows = Vec::new();
    if let Some((label, sure)) = prediction.top.first().map(named) {
        rows.push(Row::Answer(label, sure));
    }
    if prediction.unknown.is_some() {
        rows.push(Row::Doubt);
    }
    let strongest = marks.shown.first().map_or(1.0, |mark| mark.cue.share);
    for mark in &marks.shown {
        let share = mark.cue.share;
        rows.push(Row::Mark(mark.cue.number(), share / strongest, format!("{share:+.2}")));
    }
    if marks.shown.is_empty() {
        rows.push(Row::Note("no mark speaks for it".to_string(), String::new()));
    }
    for (what, Rest { count, share }) in [("weaker marks", marks.weaker), ("from no one place", marks.spread)]
    {
        if count > 0 {
            rows.push(Row::Note(format!("{what}: {count}"), format!("{share:+.2}")));
        }
    }
    if let Some((label, sure)) = prediction.top.get(1).map(named) {
        rows.push(Row::Note(format!("then {label}"), sure));
    }
    rows
}

/// The picture, and the rows below it.
pub fn below(picture: &Canvas, rows: &[Row], zoom: u32) -> Canvas {
    let width = picture.width().max(NARROWEST * zoom);
    let height = zoom * (2 * MARGIN + rows.iter().map(Row::height).sum::<u32>());
    let mut canvas = Canvas::new(width, picture.height() + height, GROUND);
    canvas.place_at_top(picture, (width - picture.width()) / 2);
    let mut top = picture.height() + MARGIN * zoom;
    for row in rows {
        let middle = (top + zoom * row.height() / 2) as i32;
        draw_row(&mut canvas, row, middle, zoom);
        top += zoom * row.height();
    }
    canvas
}

fn draw_row(canvas: &mut Canvas, row: &Row, middle: i32, zoom: u32) {
    match row {
        Row::Answer(label, sure) => draw_pair(canvas, [label, sure], Rgb888::WHITE, middle, zoom, 2 * zoom),
        Row::Doubt => draw_pair(canvas, ["better called unknown", ""], WARNING, middle, zoom, zoom),
        Row::Note(left, right) => draw_pair(canvas, [left, right], QUIET, middle, zoom, zoom),
        Row::Mark(number, length, share) => {
            draw_pair(canvas, ["", share], Rgb888::WHITE, middle, zoom, zoom);
            draw_disc(canvas, Point::new(((MARGIN + RADIUS as u32) * zoom) as i32, middle), *number, zoom);
            draw_bar(canvas, *length, colour(*number), middle, zoom);
        }
    }
}

/// A text at the left edge, shortened if it must be, and one at the right edge. Letters are `large` where
/// that shortens nothing.
fn draw_pair(
    canvas: &mut Canvas,
    [left, right]: [&str; 2],
    colour: Rgb888,
    middle: i32,
    zoom: u32,
    large: u32,
) {
    let (margin, width) = (MARGIN * zoom, canvas.width());
    let room = |size: u32| {
        let letters = (width - 2 * margin) / (LETTER.0 * size);
        (letters as usize).saturating_sub(right.chars().count() + 1)
    };
    let size = if left.chars().count() <= room(large) { large } else { zoom };
    let at = |x: u32| Point::new(x as i32, middle);
    canvas.text(&shortened(left, room(size)), at(margin), Alignment::Left, colour, size);
    // Right-aligned text ends on its point, not before it.
    canvas.text(right, at(width - margin - 1), Alignment::Right, colour, size);
}

fn shortened(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_string();
    }
    let kept: String = text.chars().take(letters.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

/// A bar on its track, between the disc and the share.
fn draw_bar(canvas: &mut Canvas, length: f32, colour: Rgb888, middle: i32, zoom: u32) {
    let (left, right) = ((MARGIN + 2 * RADIUS as u32 + 10) * zoom, (MARGIN + 8 * LETTER.0) * zoom);
    let (track, thickness) = (canvas.width() - left - right, 12 * zoom);
    let corner = Point::new(left as i32, middle - thickness as i32 / 2);
    for (length, colour) in [(1.0, TRACK), (length, colour)] {
        let size = Size::new((track as f32 * length).round().max(1.0) as u32, thickness);
        let Ok(()) = canvas.fill_solid(&Rectangle::new(corner, size), colour);
    }
}
