//! `eval --predictions`: a CSV file (RFC 4180) with a row a picture.

use std::path::Path;

use csv_core::{WriteResult, Writer};
use fieldmark::head::{softmax, top_k};
use fieldmark_trainer::measure::answers::Answered;
use fieldmark_trainer::measure::calibration::Fitted;

/// The columns before those of the classes.
const COLUMNS: [&str; 5] = ["picture", "label", "answer", "probability", "unknown"];

/// Rows so far.
pub struct Predictions {
    /// The file's content.
    pub csv: Vec<u8>,
    labels: Vec<String>,
}

/// One picture, and what the network says of it.
pub struct Row<'a> {
    /// The file.
    pub path: &'a Path,
    /// What it shows.
    pub label: &'a str,
    /// The network's answer.
    pub answered: &'a Answered,
    /// Temperature and threshold.
    pub fitted: &'a Fitted,
}

impl Predictions {
    /// The head line alone. `labels`: the network's, a column each.
    pub fn new(labels: &[String]) -> Predictions {
        let mut predictions = Predictions { csv: Vec::new(), labels: labels.to_vec() };
        let columns = COLUMNS.into_iter().chain(labels.iter().map(String::as_str));
        predictions.line(&columns.map(str::to_owned).collect::<Vec<_>>());
        predictions
    }

    /// A picture's row: probabilities are at the fitted temperature; `unknown` is empty where there is no threshold.
    pub fn add(&mut self, row: &Row) {
        let Row { path, label, answered, fitted } = row;
        let probabilities = softmax(&answered.logits, fitted.temperature);
        let first = top_k(&answered.logits, 1)[0];
        let unknown = fitted.is_unknown(answered).map_or("", |unknown| if unknown { "yes" } else { "no" });
        let digits = |probability: &f32| format!("{probability:.6}");
        let mut cells = vec![
            path.display().to_string(),
            (*label).to_owned(),
            self.labels[first].clone(),
            digits(&probabilities[first]),
            unknown.to_owned(),
        ];
        cells.extend(probabilities.iter().map(digits));
        self.line(&cells);
    }

    fn line(&mut self, cells: &[String]) {
        let mut writer = Writer::new();
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                self.put(|out| writer.delimiter(out));
            }
            let mut left = cell.as_bytes();
            self.put(|out| {
                let (result, read, written) = writer.field(left, out);
                left = &left[read..];
                (result, written)
            });
        }
        self.put(|out| writer.terminator(out));
    }

    /// Lets `write` write until it has nothing left.
    fn put(&mut self, mut write: impl FnMut(&mut [u8]) -> (WriteResult, usize)) {
        let mut buffer = [0; 256];
        loop {
            let (result, written) = write(&mut buffer);
            self.csv.extend_from_slice(&buffer[..written]);
            if matches!(result, WriteResult::InputEmpty) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fieldmark::unknown::{Rejection, Score};

    use super::*;

    #[test]
    fn a_row_has_the_answer_and_every_probability_and_quotes_what_needs_it() {
        let labels = ["big, red".to_owned(), "\"x\"".to_owned(), "y".to_owned()];
        let mut predictions = Predictions::new(&labels);
        let rule = Rejection { score: Score::Probability, threshold: 0.6, kept: None };
        let answered = |logits: [f32; 3]| Answered {
            class: 0,
            logits: logits.to_vec(),
            evidence: vec![0.0; 3],
            features: vec![],
        };
        // 2 ln 3 at temperature 2: 3 parts of 5.
        let (sure, even) = (answered([0.0, 2.0 * 3.0_f32.ln(), 0.0]), answered([0.0; 3]));
        let long = format!("a/{}.jpg", "b".repeat(300));
        for (path, answered, rejection) in [
            ("a/1.jpg", &sure, None),
            (&long, &sure, Some(Rejection { threshold: 0.5, ..rule })),
            ("2", &even, Some(rule)),
        ] {
            let fitted = &Fitted { temperature: 2.0, rejection, sketches: None };
            predictions.add(&Row { path: Path::new(path), label: "y", answered, fitted });
        }
        let expected = format!(
            "picture,label,answer,probability,unknown,\"big, red\",\"\"\"x\"\"\",y\n\
             a/1.jpg,y,\"\"\"x\"\"\",0.600000,,0.200000,0.600000,0.200000\n\
             {long},y,\"\"\"x\"\"\",0.600000,no,0.200000,0.600000,0.200000\n\
             2,y,\"big, red\",0.333333,yes,0.333333,0.333333,0.333333\n"
        );
        assert_eq!(String::from_utf8(predictions.csv).unwrap(), expected);
    }
}
