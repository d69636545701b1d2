//! A list of pictures: a CSV file whose header names its columns.
//!
//! `path` (below the list's folder, `/` or the system's divider) and `label` must be there; `split` (`train`, `val` or
//! `test`) and a box, `x`, `y`, `w`, `h` in pixels from the top left corner, may be. Cells of a box may be empty, all four
//! or none. Classes are the labels in byte order. Other columns are not used, and reported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Annotation, DatasetError, Found, Sample, Skipped, is_below};

/// What a list in a data set's folder is called.
pub const NAMES: [&str; 2] = ["pictures.csv", "dataset.csv"];

const COLUMNS: [&str; 7] = ["path", "label", "split", "x", "y", "w", "h"];
const BOX: [&str; 4] = ["x", "y", "w", "h"];

/// The list in the folder `root`, if there is one.
///
/// # Errors
/// More than one.
pub fn in_folder(root: &Path) -> Result<Option<PathBuf>, DatasetError> {
    let lists: Vec<PathBuf> =
        NAMES.iter().map(|name| root.join(name)).filter(|path| path.is_file()).collect();
    match &lists[..] {
        [_, second, ..] => Err(DatasetError::Lists { first: lists[0].clone(), second: second.clone() }),
        _ => Ok(lists.into_iter().next()),
    }
}

/// Where each column of a list stands.
struct Header<'a> {
    path: &'a Path,
    columns: BTreeMap<String, usize>,
}

/// One line under the header.
struct Row<'a> {
    header: &'a Header<'a>,
    record: Record,
}

/// A line's cells.
struct Record {
    line: usize,
    cells: Vec<String>,
}

impl Record {
    fn error(&self, path: &Path, expected: &'static str) -> DatasetError {
        let actual = self.cells.join(",");
        DatasetError::Table { path: path.to_owned(), line: self.line, expected, actual }
    }
}

impl Row<'_> {
    fn error(&self, expected: &'static str) -> DatasetError {
        self.record.error(self.header.path, expected)
    }

    /// The cell in this column; `None` where the list has no such column.
    fn cell(&self, column: &str) -> Option<&str> {
        self.header.columns.get(column).map(|&at| self.record.cells[at].as_str())
    }

    /// Left, top, right, bottom.
    fn bounds(&self) -> Result<Option<[f32; 4]>, DatasetError> {
        const EXPECTED: &str = "a box x, y, w, h in pixels, w and h above 0, or four empty cells";
        let cells = BOX.map(|column| self.cell(column).unwrap_or_default());
        if cells.iter().all(|cell| cell.is_empty()) {
            return Ok(None);
        }
        let numbers = cells.map(|cell| cell.parse::<f32>().ok().filter(|number| number.is_finite()));
        match numbers {
            [Some(x), Some(y), Some(w), Some(h)] if w > 0.0 && h > 0.0 => Ok(Some([x, y, x + w, y + h])),
            _ => Err(self.error(EXPECTED)),
        }
    }
}

/// The splits that a list may name.
#[derive(Default)]
struct Splits {
    train: Vec<Sample>,
    validation: Vec<Sample>,
    test: Vec<Sample>,
}

/// Reads the list in the file `path`. The splits that it names are kept, the others left to the split rule.
///
/// # Errors
/// See [`super::read`].
pub fn read(path: &Path) -> Result<Found, DatasetError> {
    let mut records = records(path)?.into_iter();
    let first = records.next().unwrap_or_else(|| Record { line: 1, cells: Vec::new() });
    let header = header(path, &first)?;
    let mut rows = Vec::new();
    for record in records {
        if record.cells.len() != first.cells.len() {
            return Err(record.error(path, "as many cells as the header has"));
        }
        rows.push(Row { header: &header, record });
    }
    let label = |row: &Row<'_>| row.cell("label").unwrap_or_default().to_owned();
    let labels: Vec<String> = rows.iter().map(label).collect::<BTreeSet<_>>().into_iter().collect();
    let mut splits = Splits::default();
    let mut names = BTreeSet::new();
    let folder = path.parent().unwrap_or(Path::new(""));
    for row in &rows {
        let name = row.cell("path").unwrap_or_default();
        if !is_below(name) {
            return Err(row.error("a path below the list's folder, from there, without .."));
        }
        if !names.insert(name) {
            return Err(row.error("a path that no line above has"));
        }
        let label = row.cell("label").unwrap_or_default();
        let class = labels.binary_search_by(|known| known.as_str().cmp(label));
        let class = class.ok().filter(|_| !label.is_empty()).ok_or_else(|| row.error("a label"))?;
        let marks = row.bounds()?.map(|bounds| Annotation { bounds: Some(bounds), parts: Vec::new() });
        split(&mut splits, row)?.push(Sample { path: folder.join(name), class, marks });
    }
    let given = |samples: Vec<Sample>| (!samples.is_empty()).then_some(samples);
    Ok(Found {
        labels,
        train: splits.train,
        validation: given(splits.validation),
        test: given(splits.test),
        skipped: unused(&header),
        ..Found::default()
    })
}

fn split<'a>(splits: &'a mut Splits, row: &Row<'_>) -> Result<&'a mut Vec<Sample>, DatasetError> {
    match row.cell("split").map(str::to_lowercase).as_deref() {
        None | Some("train" | "training") => Ok(&mut splits.train),
        Some("val" | "valid" | "validation") => Ok(&mut splits.validation),
        Some("test" | "testing") => Ok(&mut splits.test),
        Some(_) => Err(row.error("a split: train, val or test")),
    }
}

fn header<'a>(path: &'a Path, record: &Record) -> Result<Header<'a>, DatasetError> {
    let error = |expected| record.error(path, expected);
    let mut columns = BTreeMap::new();
    for (at, name) in record.cells.iter().enumerate() {
        if columns.insert(name.to_lowercase(), at).is_some() {
            return Err(error("each column once"));
        }
    }
    if !["path", "label"].iter().all(|name| columns.contains_key(*name)) {
        return Err(error("a header with the columns path and label, divided by commas"));
    }
    let box_columns = BOX.iter().filter(|name| columns.contains_key(**name)).count();
    if box_columns != 0 && box_columns != BOX.len() {
        return Err(error("all of the columns x, y, w and h, or none"));
    }
    Ok(Header { path, columns })
}

/// A misspelt column would be missed silently.
fn unused(header: &Header<'_>) -> Vec<Skipped> {
    let others = header.columns.keys().filter(|name| !COLUMNS.contains(&name.as_str()));
    let names: Vec<&str> = others.map(String::as_str).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let reason = format!("its columns {}: known are {}", names.join(", "), COLUMNS.join(", "));
    vec![Skipped { path: header.path.to_owned(), reason }]
}

/// The lines that are not blank.
fn records(path: &Path) -> Result<Vec<Record>, DatasetError> {
    let bytes = std::fs::read(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    let lines = |text: &str| text.matches('\n').count();
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let (line, actual) = (1 + lines(&valid), error.utf8_error().to_string());
        DatasetError::Table { path: path.to_owned(), line, expected: "UTF-8 text", actual }
    })?;
    text.push('\n');
    let input = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // Room for the whole file in one cell, or for a cell a comma.
    let mut cells = vec![0; input.len()];
    let mut ends = vec![0; 1 + input.matches(',').count()];
    let (mut reader, mut records, mut at, mut line) = (csv_core::Reader::new(), Vec::new(), 0, 1);
    loop {
        let blank = input.len() - at - input[at..].trim_ascii_start().len();
        line += lines(&input[at..at + blank]);
        at += blank;
        if at == input.len() {
            return Ok(records);
        }
        let (result, read, _, count) = reader.read_record(&input.as_bytes()[at..], &mut cells, &mut ends);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let cell = |(start, &end)| String::from_utf8_lossy(&cells[start..end]).trim().to_owned();
        let record = Record { line, cells: starts.zip(&ends[..count]).map(cell).collect() };
        if !matches!(result, csv_core::ReadRecordResult::Record) {
            return Err(record.error(path, "a closing quote"));
        }
        records.push(record);
        line += lines(&input[at..at + read]);
        at += read;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Dataset, SplitRule, read};
    use super::*;

    /// Pictures in two folders that say nothing about their class, and the list `name`.
    fn tree(name: &str, text: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for number in 1..=6 {
            let path = root.path().join(format!("day {}/{number}.jpg", 1 + number % 2));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::from_pixel(10, 8, image::Rgb([90, 120, 40])).save(path).unwrap();
        }
        fs::write(root.path().join(name), text).unwrap();
        root
    }

    fn kept(path: &Path) -> Result<Dataset, DatasetError> {
        read(path, &SplitRule { validation: 0.0, test: 0.0, ..SplitRule::default() })
    }

    const WHOLE: &str = "\u{feff}Label, path ,split,x,y,w,h,note\r\n\
        wren,day 2/1.jpg,train,1,2,3,4.5,\"dark, blurred\"\r\n\
        robin,day 1/2.jpg,train,,,,,\r\n\
        \r\n\
        \"wren, winter\",day 2/3.jpg,Train,0,0,10,8,\"two\nlines\"\r\n\
        robin,day 1/4.jpg,val,,,,,\r\n\
        wren,day 2/5.jpg,test,,,,,";

    #[test]
    fn columns_are_found_by_name_and_splits_and_boxes_kept() {
        let root = tree("pictures.csv", WHOLE);
        let dataset = kept(root.path()).unwrap();
        assert_eq!(dataset.labels, ["robin", "wren", "wren, winter"]);
        let bounds = |sample: &Sample| sample.marks.as_ref().and_then(|marks| marks.bounds);
        let found: Vec<_> = dataset
            .train
            .iter()
            .map(|sample| (dataset.name(&sample.path), sample.class, bounds(sample)))
            .collect();
        assert_eq!(
            found,
            [
                ("day 2/1.jpg".to_owned(), 1, Some([1.0, 2.0, 4.0, 6.5])),
                ("day 1/2.jpg".to_owned(), 0, None),
                ("day 2/3.jpg".to_owned(), 2, Some([0.0, 0.0, 10.0, 8.0])),
            ]
        );
        assert_eq!([dataset.validation[0].class, dataset.test[0].class], [0, 1]);
        assert!(dataset.skipped[0].reason.contains("note"), "{:?}", dataset.skipped);
    }

    #[test]
    fn without_splits_the_rule_makes_them() {
        let rows = (1..=6).map(|number| format!("day {}/{number}.jpg,{}\n", 1 + number % 2, number / 4));
        let root = tree("dataset.csv", &("path,label\n".to_owned() + &rows.collect::<String>()));
        let dataset = read(root.path(), &SplitRule { test: 0.34, ..SplitRule::default() }).unwrap();
        assert_eq!(dataset.labels, ["0", "1"]);
        assert_eq!([dataset.train.len() + dataset.validation.len(), dataset.test.len()], [4, 2]);
    }

    #[test]
    fn a_list_of_any_name_is_data_and_is_found_again() {
        let root = tree("mine.CSV", "path,label\nday 2/1.jpg,a\nday 1/2.jpg,b\n");
        let list = root.path().join("mine.CSV");
        let dataset = kept(&list).unwrap();
        assert_eq!((dataset.labels.len(), &dataset.root), (2, &root.path().to_owned()));
        let again = kept(&dataset.source).unwrap();
        assert_eq!(again.hash, dataset.hash);
    }

    #[test]
    fn wrong_lines_are_refused_with_file_and_line() {
        for (text, line, expected) in [
            ("", 1, "path and label"),
            ("path;label\na.jpg;a\n", 1, "divided by commas"),
            ("path,label,Path\n", 1, "each column once"),
            ("path,label,x,y,w\n", 1, "x, y, w and h"),
            ("path,label\nday 2/1.jpg,a\nday 1/2.jpg\n", 3, "as many cells"),
            ("path,label\n\n\nday 2/1.jpg,\n", 4, "a label"),
            ("path,label\nday 2/1.jpg,a\nday 2/1.jpg,b\n", 3, "no line above"),
            ("path,label\n../1.jpg,a\n", 2, "below the list's folder"),
            ("path,label\n/tmp/1.jpg,a\n", 2, "below the list's folder"),
            ("path,label,split\nday 2/1.jpg,a,trian\n", 2, "train, val or test"),
            ("path,label,split\nday 2/1.jpg,a,\n", 2, "train, val or test"),
            ("path,label,x,y,w,h\nday 2/1.jpg,a,1,2,0,4\n", 2, "w and h above 0"),
            ("path,label,x,y,w,h\nday 2/1.jpg,a,1,,3,4\n", 2, "four empty cells"),
            ("path,label,x,y,w,h\nday 2/1.jpg,a,NaN,2,3,4\n", 2, "a box"),
            ("path,label\nday 2/1.jpg,\"a\nday 1/2.jpg,b\n", 2, "a closing quote"),
        ] {
            let root = tree("pictures.csv", text);
            let error = kept(root.path()).unwrap_err().to_string();
            let place = format!("pictures.csv:{line}: ");
            assert!(error.contains(&place) && error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let root = tree("pictures.csv", "");
        fs::write(root.path().join("pictures.csv"), b"path,label\nday 2/1.jpg,\xe9\n").unwrap();
        let error = kept(root.path()).unwrap_err().to_string();
        assert!(error.contains("pictures.csv:2: expected UTF-8"), "{error}");
    }

    #[test]
    fn two_lists_and_other_files_are_refused() {
        let root = tree("pictures.csv", WHOLE);
        fs::write(root.path().join("dataset.csv"), WHOLE).unwrap();
        assert!(kept(root.path()).unwrap_err().to_string().contains("both lists"));
        let picture = root.path().join("day 2/1.jpg");
        assert!(kept(&picture).unwrap_err().to_string().contains("ends in .csv"));
    }
}
