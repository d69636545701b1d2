//! How records are written: for people, or for programs.

use std::io::{self, Write};

use fieldmark::engine::Answer;
use serde::Serialize;

use crate::args::RecordFormat;
use crate::record::{Record, SCHEMA};
use crate::text::{self, Widths};

/// An input that gave no record.
#[derive(Serialize)]
struct Failed<'a> {
    schema: u32,
    input: &'a str,
    error: &'a str,
}

/// How records are written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The format.
    pub format: RecordFormat,
    /// Text shows so many marks, where it shows any.
    pub marks: Option<usize>,
    /// What text is lined up to.
    pub widths: Widths,
}

/// Writes what comes before all records.
///
/// # Errors
/// Those of writing, as for all functions here.
pub fn write_start(out: &mut impl Write, format: RecordFormat) -> io::Result<()> {
    match format {
        RecordFormat::Text | RecordFormat::Jsonl => Ok(()),
        RecordFormat::Json => write!(out, "["),
        RecordFormat::Csv => writeln!(out, "input,width,height,rank,label,index,logit,probability,unknown"),
    }
}

/// Writes the record of input `at`, or why there is none.
pub fn write_outcome(
    out: &mut impl Write,
    style: Style,
    at: usize,
    input: &str,
    outcome: Result<&Record, &str>,
) -> io::Result<()> {
    let failed = |error| Failed { schema: SCHEMA, input, error };
    match (style.format, outcome) {
        (RecordFormat::Text, Ok(record)) => {
            write!(out, "{}", text::picture(record, style.widths, style.marks))
        }
        (RecordFormat::Csv, Ok(record)) => write!(out, "{}", csv_rows(record)),
        (RecordFormat::Text | RecordFormat::Csv, Err(_)) => Ok(()),
        (RecordFormat::Json, Ok(record)) => write_element(out, at, record),
        (RecordFormat::Json, Err(error)) => write_element(out, at, &failed(error)),
        (RecordFormat::Jsonl, Ok(record)) => write_line(out, record),
        (RecordFormat::Jsonl, Err(error)) => write_line(out, &failed(error)),
    }
}

/// Writes what comes after all records.
pub fn write_end(out: &mut impl Write, format: RecordFormat) -> io::Result<()> {
    match format {
        RecordFormat::Json => writeln!(out, "\n]"),
        RecordFormat::Text | RecordFormat::Jsonl | RecordFormat::Csv => Ok(()),
    }
}

fn write_line(out: &mut impl Write, record: &impl Serialize) -> io::Result<()> {
    writeln!(out, "{}", serde_json::to_string(record)?)
}

/// As an element of a pretty array, so that memory does not grow with the number of pictures.
fn write_element(out: &mut impl Write, at: usize, record: &impl Serialize) -> io::Result<()> {
    let separator = if at == 0 { "\n" } else { ",\n" };
    let json = serde_json::to_string_pretty(record)?;
    write!(out, "{separator}  {}", json.replace('\n', "\n  "))
}

/// One row an answer, likeliest first; the last field is empty unless the picture is better called unknown.
fn csv_rows(record: &Record) -> String {
    let Record { input, width, height, unknown, .. } = record;
    let unknown = unknown.map(|unknown| unknown.to_string()).unwrap_or_default();
    let row = |(answer, rank): (&Answer, u32)| {
        let Answer { label, index, logit, probability } = answer;
        let (input, label) = (csv_field(input), csv_field(label));
        format!("{input},{width},{height},{rank},{label},{index},{logit},{probability},{unknown}\n")
    };
    record.top.iter().zip(1..).map(row).collect()
}

/// A field as RFC 4180 quotes it.
fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::marks::tests::cue;
    use crate::record::tests::{UNKNOWN, record};

    fn written(format: RecordFormat, outcomes: &[Result<&Record, &str>]) -> String {
        let style = Style { format, marks: Some(3), widths: Widths { input: 5, label: 5 } };
        let mut out = Vec::new();
        write_start(&mut out, format).unwrap();
        for (at, outcome) in outcomes.iter().enumerate() {
            write_outcome(&mut out, style, at, "b.jpg", *outcome).unwrap();
        }
        write_end(&mut out, format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_as_documented() {
        let record = Record { cues: Some(vec![cue(21, 312.0, 88.0, 3.5)]), ..record() };
        let line = written(RecordFormat::Jsonl, &[Ok(&record)]);
        let expected = r#"{"schema":1,"input":"a.jpg","width":640,"height":480,"top":[{"label":"Robin","index":7,"logit":9.1,"probability":0.931},"#;
        assert!(line.starts_with(expected), "{line}");
        let json: Value = serde_json::from_str(&line).unwrap();
        let cue = json!({"label": "Robin", "mark": 22, "part": 21, "channel": 21, "merged": [], "x": 312.0, "y": 88.0,
            "box": [302.0, 78.0, 322.0, 98.0], "strength": 3.5, "share": 3.5, "spread": false, "dead": false});
        assert_eq!(json["cues"], json!([cue]));
        assert_eq!(json["ms"], json!({"decode": 3.1, "resize": 0.6, "run": 12.0, "cues": 0.1}));
        assert_eq!(json.get("unknown"), None);
    }

    #[test]
    fn programs_are_told_why_a_picture_is_unknown_beside_its_answers() {
        let record = Record { unknown: Some(UNKNOWN), ..record() };
        let json: Value = serde_json::from_str(&written(RecordFormat::Jsonl, &[Ok(&record)])).unwrap();
        assert_eq!(
            json["unknown"],
            json!({"score": "energy", "value": 3.0, "threshold": 4.0, "reason": "little of any class"})
        );
        assert_eq!(json["top"][0]["label"], "Robin");
        let rows = written(RecordFormat::Csv, &[Ok(&record)]);
        assert!(
            rows.lines().skip(1).all(|row| row.ends_with(",little of any class: energy 3.000 below 4.000")),
            "{rows}"
        );
    }

    #[test]
    fn json_is_one_array_with_failed_inputs_in_it() {
        let record = record();
        let text = written(RecordFormat::Json, &[Ok(&record), Err("is empty")]);
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json[0]["top"][1]["label"], "Wren");
        assert_eq!(json[1], json!({"schema": 1, "input": "b.jpg", "error": "is empty"}));
        assert_eq!(text, format!("{}\n", serde_json::to_string_pretty(&json_in_order(&record)).unwrap()));
    }

    /// What the streamed array must look like.
    fn json_in_order(record: &Record) -> (&Record, Failed<'static>) {
        (record, Failed { schema: 1, input: "b.jpg", error: "is empty" })
    }

    #[test]
    fn csv_has_a_row_an_answer_and_quotes_what_needs_it() {
        let mut record = record();
        record.top.truncate(2);
        record.input = "a, \"b\"\n.jpg".to_string();
        let expected = "input,width,height,rank,label,index,logit,probability,unknown\n\
            \"a, \"\"b\"\"\n.jpg\",640,480,1,Robin,7,9.1,0.931,\n\
            \"a, \"\"b\"\"\n.jpg\",640,480,2,Wren,0,6,0.04,\n";
        assert_eq!(written(RecordFormat::Csv, &[Ok(&record), Err("is empty")]), expected);
    }

    #[test]
    fn text_leaves_failed_inputs_to_stderr() {
        assert_eq!(written(RecordFormat::Text, &[Err("is empty")]), "");
    }
}
