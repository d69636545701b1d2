//! Results for people: plain lines, aligned.

use std::fmt::Write;

use fieldmark::engine::Answer;
use fieldmark::{PartCue, Unknown};

use crate::marks::{Mark, Marks, Rest};
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

/// One picture's result: a line with the answers, and below it, where so many `marks` are to be shown, the record's cues.
pub fn picture(record: &Record, widths: Widths, marks: Option<usize>) -> String {
    let input = printable(&record.input);
    let mut text = match &record.unknown {
        Some(unknown) => stranger(&input, unknown, &record.top, widths),
        None => answers(&input, &record.top, widths),
    };
    if let Some((cues, most)) = record.cues.as_deref().zip(marks) {
        text.push_str(&mark_table(&Marks::of(cues, most)));
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

fn mark_table(marks: &Marks) -> String {
    let heads = ["mark", "x", "y", "box", "share", "of all", ""].map(String::from);
    let mut rows = vec![heads];
    for Mark { cue, fraction } in &marks.shown {
        let [x, y, size] = place(cue);
        let share = format!("{:+.3}", cue.share);
        rows.push([cue.number().to_string(), x, y, size, share, percent(*fraction), merged(cue)]);
    }
    let mut text = if marks.shown.is_empty() { "no mark speaks for it\n".to_string() } else { table(&rows) };
    for (what, Rest { count, share }) in [("weaker marks", marks.weaker), ("from no one place", marks.spread)]
    {
        if count > 0 {
            let _ = writeln!(text, "{what}: {count}, {share:+.3}");
        }
    }
    let indented = text.replace('\n', "\n    ");
    format!("    {}\n", indented.trim_end())
}

/// Column, row, and width and height of the box.
fn place(cue: &PartCue) -> [String; 3] {
    let [left, top, right, bottom] = cue.bounds;
    let size = format!("{:.0} x {:.0}", right - left, bottom - top);
    [format!("{:.0}", cue.x), format!("{:.0}", cue.y), size]
}

/// The class's other marks that look at the same place, by their numbers.
fn merged(cue: &PartCue) -> String {
    let first = cue.channel - cue.part;
    let others: Vec<_> = cue.merged.iter().map(|channel| (channel - first + 1).to_string()).collect();
    if others.is_empty() { String::new() } else { format!("with {} at the same place", others.join(" and ")) }
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
        assert_eq!(picture(&record(), widths, Some(3)), line);
    }

    #[test]
    fn a_stranger_is_called_unknown_before_what_it_resembles() {
        let record = Record { unknown: Some(UNKNOWN), ..record() };
        let line = "a.jpg   unknown (little of any class: energy 3.000 below 4.000); nearest: Robin 93.1 %, Wren 4.0 %, Blue_tit 2.9 %\n";
        assert_eq!(picture(&record, Widths { input: 6, label: 8 }, Some(3)), line);
    }

    #[test]
    fn cues_follow_indented() {
        let mut merged = cue(21, 312.4, 88.0, 3.0);
        merged.cue.merged = vec![22, 23];
        (merged.cue.part, merged.cue.channel) = (1, 21);
        let mut flat = cue(25, 3.0, 3.0, 0.5);
        flat.cue.spread = true;
        let cues =
            vec![merged, cue(24, 40.0, 101.0, 1.0), flat, cue(26, 9.0, 9.0, 0.5), cue(27, 0.0, 0.0, 0.0)];
        let mut record = Record { cues: Some(cues), ..record() };
        let widths = Widths { input: 5, label: 5 };
        let expected = "
    mark    x    y      box   share  of all
       2  312   88  20 x 20  +3.000  60.0 %  with 3 and 4 at the same place
      25   40  101  20 x 20  +1.000  20.0 %
    weaker marks: 1, +0.500
    from no one place: 1, +0.500\n";
        let text = picture(&record, widths, Some(2));
        assert_eq!(text.split_once('\n').unwrap().1, &expected[1..]);
        assert_eq!(picture(&record, widths, None).lines().count(), 1);
        record.cues = Some(vec![cue(25, 0.0, 0.0, 0.0)]);
        assert!(picture(&record, widths, Some(3)).ends_with("\n    no mark speaks for it\n"));
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
