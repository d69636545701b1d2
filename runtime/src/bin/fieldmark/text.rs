//! Results for people: plain lines, aligned.

use std::fmt::Write;

use fieldmark::engine::{Answer, LabelledCue};
use fieldmark::{PartCue, Unknown};

use crate::marks::marks;
use crate::record::Record;

/// Widths that line up the results of many pictures, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// Of the input's name.
    pub input: usize,
    /// Of the best answer's label.
    pub label: usize,
}

impl Widths {
    /// Beyond this, one long name would push every other line's answer off the screen.
    const WIDEST: usize = 48;

    /// Widths that hold these names and labels.
    pub fn of(inputs: impl Iterator<Item = String>, labels: &[String]) -> Widths {
        let width = |text: &str| text.chars().count().min(Widths::WIDEST);
        let input = inputs.map(|name| width(&name)).max().unwrap_or(0);
        let label = labels.iter().map(|label| width(label)).max().unwrap_or(0);
        Widths { input, label }
    }
}

/// The text without control characters: a file's name may not move the cursor.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A probability or part as `93.1 %`.
pub fn percent(part: f32) -> String {
    format!("{:.1} %", 100.0 * part)
}

/// Rows with their columns lined up: to the right, the last one to the left.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = if at + 1 < N { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell}") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One picture's result: a line with the answers, and below it what the record has besides.
pub fn picture(record: &Record, widths: Widths, with_cues: bool) -> String {
    let input = printable(&record.input);
    let mut text = match &record.unknown {
        Some(unknown) => stranger(&input, unknown, &record.top, widths),
        None => answers(&input, &record.top, widths),
    };
    if let Some(cues) = record.cues.as_deref().filter(|_| with_cues) {
        text.push_str(&cue_table(cues));
    }
    text
}

fn answers(input: &str, top: &[Answer], widths: Widths) -> String {
    let Widths { input: input_width, label: label_width } = widths;
    let Some((best, others)) = top.split_first() else {
        return format!("{input}\n");
    };
    let (label, sure) = (&best.label, percent(best.probability));
    let mut line = format!("{input:<input_width$}  {label:<label_width$}  {sure:>7}");
    for (at, other) in others.iter().enumerate() {
        let before = if at == 0 { "   then " } else { ", " };
        let _ = write!(line, "{before}{} {}", other.label, percent(other.probability));
    }
    line.push('\n');
    line
}

/// The line of a picture that is better called unknown.
fn stranger(input: &str, unknown: &Unknown, top: &[Answer], widths: Widths) -> String {
    let named = |answer: &Answer| format!("{} {}", answer.label, percent(answer.probability));
    let nearest: Vec<String> = top.iter().map(named).collect();
    format!("{input:<width$}  unknown ({unknown}); nearest: {}\n", nearest.join(", "), width = widths.input)
}

fn cue_table(cues: &[LabelledCue]) -> String {
    let heads = ["mark", "x", "y", "box", "share", "of all", "channel"].map(String::from);
    let marks = marks(cues);
    let mut rows = vec![heads];
    for LabelledCue { cue, .. } in cues {
        let mark = marks.iter().find(|mark| std::ptr::eq(mark.cue, cue));
        let number = mark.map_or("-".to_string(), |mark| mark.number.to_string());
        let part = mark.map_or("-".to_string(), |mark| percent(mark.fraction));
        let [x, y, size] = place(cue);
        rows.push([number, x, y, size, format!("{:+.3}", cue.share), part, channels(cue)]);
    }
    let indented = table(&rows).replace('\n', "\n    ");
    format!("    {}\n", indented.trim_end())
}

/// Column, row, and width and height of the box.
fn place(cue: &PartCue) -> [String; 3] {
    if cue.dead {
        return ["-", "-", "-"].map(String::from);
    }
    let [left, top, right, bottom] = cue.bounds;
    let size = format!("{:.0} x {:.0}", right - left, bottom - top);
    [format!("{:.0}", cue.x), format!("{:.0}", cue.y), size]
}

fn channels(cue: &PartCue) -> String {
    let mut text = cue.channel.to_string();
    if cue.dead {
        text.push_str(", dead: fires nowhere");
    }
    if !cue.merged.is_empty() {
        let others: Vec<_> = cue.merged.iter().map(ToString::to_string).collect();
        let _ = write!(text, ", merged with {} at the same place", others.join(" and "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::tests::cue;
    use crate::record::tests::{UNKNOWN, record};

    #[test]
    fn columns_line_up() {
        let rows = [["a", "x"], ["12", "yy"], ["ö", ""]].map(|row| row.map(String::from));
        assert_eq!(table(&rows), " a  x\n12  yy\n ö\n");
    }

    #[test]
    fn a_picture_is_one_line_with_the_runners_up_behind() {
        let widths = Widths { input: 6, label: 8 };
        let line = "a.jpg   Robin      93.1 %   then Wren 4.0 %, Blue_tit 2.9 %\n";
        assert_eq!(picture(&record(), widths, true), line);
    }

    #[test]
    fn a_stranger_is_called_unknown_before_what_it_resembles() {
        let record = Record { unknown: Some(UNKNOWN), ..record() };
        let line =
            "a.jpg   unknown (energy 3.000 below 4.000); nearest: Robin 93.1 %, Wren 4.0 %, Blue_tit 2.9 %\n";
        assert_eq!(picture(&record, Widths { input: 6, label: 8 }, true), line);
    }

    #[test]
    fn cues_follow_indented() {
        let mut merged = cue(21, 312.4, 88.0, 3.0);
        merged.cue.merged = vec![22, 23];
        let cues = vec![merged, cue(24, 40.0, 101.0, 1.0), cue(25, 0.0, 0.0, 0.0)];
        let record = Record { cues: Some(cues), ..record() };
        let widths = Widths { input: 5, label: 5 };
        let expected = "
    mark    x    y      box   share  of all  channel
       1  312   88  20 x 20  +3.000  75.0 %  21, merged with 22 and 23 at the same place
       2   40  101  20 x 20  +1.000  25.0 %  24
       -    -    -        -  +0.000       -  25, dead: fires nowhere\n";
        let text = picture(&record, widths, true);
        assert_eq!(text.split_once('\n').unwrap().1, &expected[1..]);
        assert_eq!(picture(&record, widths, false).lines().count(), 1);
    }

    #[test]
    fn names_may_not_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\n.jpg"), "a?[2Jb?.jpg");
    }

    #[test]
    fn one_long_name_does_not_widen_every_line() {
        let names = ["a.jpg".to_string(), "b".repeat(200)];
        let widths = Widths::of(names.into_iter(), &["Robin".to_string()]);
        assert_eq!(widths, Widths { input: 48, label: 5 });
    }
}
