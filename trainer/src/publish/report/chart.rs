//! Charts as inline SVG. All colours are the style sheet's, so that they follow light and dark; every chart says in
//! words what it shows.

use std::fmt::Write;

use maud::{Markup, html};

/// Size in SVG units, which are pixels where the page has room for two charts side by side.
const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 190.0;
/// The plotted area.
const LEFT: f64 = 50.0;
const RIGHT: f64 = 330.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 152.0;

/// Points up to which each can be pointed at.
const POINTED: usize = 120;

/// One line of a chart.
pub struct Line {
    /// What it is.
    pub name: &'static str,
    /// A value an epoch; what is not finite leaves a gap.
    pub values: Vec<f64>,
}

/// Values over a run's epochs.
pub struct Curves {
    /// What they are of.
    pub title: &'static str,
    /// What the values are, with their unit.
    pub unit: &'static str,
    /// The lines.
    pub lines: Vec<Line>,
    /// Bounds that are shown even where no value comes near.
    pub bounds: [Option<f64>; 2],
    /// The epoch to mark, 0-based.
    pub best: Option<usize>,
}

/// A number as SVG writes it: hundredths of a pixel are plenty.
pub fn at(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Where a value is on an axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// The values at both ends.
    pub values: [f64; 2],
    /// Where these are.
    pub places: [f64; 2],
}

impl Axis {
    /// Where `value` is.
    pub fn place(&self, value: f64) -> f64 {
        let ([low, high], [start, end]) = (self.values, self.places);
        let range = if high > low { high - low } else { 1.0 };
        start + (value - low) / range * (end - start)
    }
}

/// Round values from below `low` to above `high`, about `count` steps of 1, 2, 2.5 or 5 times a power of ten.
pub fn ticks(low: f64, high: f64, count: f64) -> Vec<f64> {
    let range = if high > low { high - low } else { low.abs().max(1.0) * 0.1 };
    let rough = range / count;
    let power = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 2.5, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(power);
    let (first, last) = ((low / step + 1e-9).floor() as i64, (high / step - 1e-9).ceil() as i64);
    (first..=last.max(first + 1)).map(|index| index as f64 * step).collect()
}

/// A tick with no more digits than the step needs.
fn tick_text(tick: f64, step: f64) -> String {
    if step < 1e-3 && tick != 0.0 {
        return format!("{tick:.0e}");
    }
    let is_whole = |digits: &usize| {
        let steps = step * 10_f64.powi(*digits as i32);
        (steps - steps.round()).abs() < 1e-6
    };
    let digits = (0..4).find(is_whole).unwrap_or(4);
    format!("{tick:.digits$}")
}

/// A chart of values over epochs.
pub fn curves(chart: &Curves) -> Markup {
    let finite: Vec<f64> =
        chart.lines.iter().flat_map(|line| &line.values).copied().filter(|value| value.is_finite()).collect();
    let bound = |pick: fn(f64, f64) -> f64, end: Option<f64>| finite.iter().copied().chain(end).reduce(pick);
    let (Some(low), Some(high)) = (bound(f64::min, chart.bounds[0]), bound(f64::max, chart.bounds[1])) else {
        return html! {};
    };
    let marks = ticks(low, high, 4.0);
    let step = marks[1] - marks[0];
    let down = Axis { values: [marks[0], marks[marks.len() - 1]], places: [BOTTOM, TOP] };
    let epochs = chart.lines.iter().map(|line| line.values.len()).max().unwrap_or(1);
    let across = Axis { values: [1.0, epochs.max(2) as f64], places: [LEFT + 4.0, RIGHT - 4.0] };
    let (middle_x, middle_y) = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
    html! {
        figure.chart {
            figcaption {
                strong { (chart.title) }
                @if chart.lines.len() > 1 {
                    span.keys { @for (index, line) in chart.lines.iter().enumerate() {
                        span class={ "key key-" (index) } { (line.name) }
                    } }
                }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(in_words(chart)) {
                @for &mark in &marks {
                    @let y = at(down.place(mark));
                    line.grid x1=(LEFT) x2=(RIGHT) y1=(y) y2=(y) {}
                    text.tick x=(LEFT - 6.0) y=(at(down.place(mark) + 3.5)) text-anchor="end" {
                        (tick_text(mark, step))
                    }
                }
                @for epoch in epoch_ticks(epochs) {
                    text.tick x=(at(across.place(epoch))) y=(BOTTOM + 15.0) text-anchor="middle" { (epoch) }
                }
                text.axis x=(middle_x) y=(HEIGHT - 6.0) text-anchor="middle" { "epoch" }
                text.axis x="10" y=(middle_y) text-anchor="middle"
                    transform={ "rotate(-90 10 " (middle_y) ")" } { (chart.unit) }
                @if let Some(best) = chart.best {
                    @let x = at(across.place(best as f64 + 1.0));
                    line.best x1=(x) x2=(x) y1=(TOP) y2=(BOTTOM) {
                        title { "best epoch, " (best + 1) }
                    }
                }
                @for (index, line) in chart.lines.iter().enumerate() {
                    path class={ "line line-" (index) } d=(path(&line.values, across, down)) {}
                    (points(line, index, across, down))
                }
            }
        }
    }
}

/// Where the epochs' axis is labelled.
fn epoch_ticks(epochs: usize) -> Vec<f64> {
    if epochs <= 1 {
        return vec![1.0];
    }
    let inside = |tick: &f64| *tick >= 1.0 && *tick <= epochs as f64 && tick.fract() == 0.0;
    let mut marks: Vec<f64> = ticks(0.0, epochs as f64, 5.0).into_iter().filter(inside).collect();
    if marks.first().is_none_or(|&first| first > 2.0) {
        marks.insert(0, 1.0);
    }
    marks
}

fn path(values: &[f64], across: Axis, down: Axis) -> String {
    let mut path = String::new();
    let mut is_drawing = false;
    for (epoch, &value) in values.iter().enumerate() {
        if value.is_finite() {
            let (x, y) = (at(across.place(epoch as f64 + 1.0)), at(down.place(value)));
            let _ = write!(path, "{}{x} {y}", if is_drawing { 'L' } else { 'M' });
        }
        is_drawing = value.is_finite();
    }
    path
}

/// The values' points, which say their value when pointed at.
fn points(line: &Line, index: usize, across: Axis, down: Axis) -> Markup {
    let finite = line.values.iter().enumerate().filter(|(_, value)| value.is_finite());
    html! {
        @if line.values.len() <= POINTED {
            @for (epoch, &value) in finite {
                circle class={ "point point-" (index) } cx=(at(across.place(epoch as f64 + 1.0)))
                    cy=(at(down.place(value))) r=(if line.values.len() <= 15 { "2.5" } else { "1.2" }) {
                    title { (line.name) ", epoch " (epoch + 1) ": " (super::words::value(value)) }
                }
            }
        }
    }
}

/// What a chart shows, for those who do not see it.
fn in_words(chart: &Curves) -> String {
    let mut words = format!("{} ({}) over the epochs.", chart.title, chart.unit);
    for line in &chart.lines {
        if let (Some(first), Some(last)) = (line.values.first(), line.values.last()) {
            let [first, last] = [first, last].map(|&end| super::words::value(end));
            let _ = write!(words, " {}: from {first} to {last}.", line.name);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let cases: [(f64, f64, &[f64]); 4] = [
            (0.0, 1.0, &[0.0, 0.25, 0.5, 0.75, 1.0]),
            (0.13, 2.77, &[0.0, 1.0, 2.0, 3.0]),
            (1.0, 3.0, &[1.0, 1.5, 2.0, 2.5, 3.0]),
            (0.0, 100.0, &[0.0, 25.0, 50.0, 75.0, 100.0]),
        ];
        for (low, high, expected) in cases {
            let found = ticks(low, high, 4.0);
            let is_close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
            assert!(found.len() == expected.len() && found.iter().zip(expected).all(is_close), "{found:?}");
        }
        assert!(ticks(2.0, 2.0, 4.0).len() >= 2, "equal values still have a range");
        assert!(ticks(-3.0, -3.0, 4.0).len() >= 2);
    }

    #[test]
    fn ticks_show_the_digits_of_their_step() {
        assert_eq!(tick_text(0.5, 0.5), "0.5");
        assert_eq!(tick_text(20.0, 10.0), "20");
        assert_eq!(tick_text(0.75, 0.25), "0.75");
        assert_eq!(tick_text(25.0, 25.0), "25");
        assert_eq!(tick_text(0.02, 0.01), "0.02");
    }

    #[test]
    fn a_value_that_is_not_finite_leaves_a_gap() {
        let axis = Axis { values: [0.0, 4.0], places: [0.0, 40.0] };
        let down = Axis { values: [0.0, 1.0], places: [10.0, 0.0] };
        assert_eq!(path(&[0.0, 1.0, f64::NAN, 1.0], axis, down), "M10 10L20 0M40 0");
    }

    #[test]
    fn one_epoch_and_no_value_are_charts_too() {
        let chart = |values: Vec<f64>| Curves {
            title: "a",
            unit: "b",
            lines: vec![Line { name: "c", values }],
            bounds: [None, None],
            best: Some(0),
        };
        assert!(curves(&chart(vec![0.5])).into_string().contains("circle"));
        assert!(curves(&chart(vec![f64::NAN])).into_string().is_empty());
        assert!(curves(&chart(Vec::new())).into_string().is_empty());
    }
}
