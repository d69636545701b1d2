//! The layout of CUB-200-2011: tables of ids beside an `images` folder.
//!
//! `images.txt`, `classes.txt`, `image_class_labels.txt` and `train_test_split.txt` must be there;
//! `bounding_boxes.txt` and `parts/` add where things are; `parts/part_regions.txt` and `field_marks.txt` are the
//! additions of [`crate::data::synth`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::table::{Row, Table};
use super::{Annotation, DatasetError, FieldMarks, Found, PartPoint, Sample, is_below};

/// Reads the layout. The official split is kept; validation is left to the split rule.
///
/// # Errors
/// See [`super::read`].
pub fn read(root: &Path) -> Result<Found, DatasetError> {
    let (class_ids, labels) = numbered_names(root.join("classes.txt"), "a class id and a name")?;
    let labels = without_numbers(labels);
    let parts_table = root.join("parts/parts.txt");
    let (part_ids, parts) = if parts_table.exists() {
        numbered_names(parts_table, "a part id and a name")?
    } else {
        Default::default()
    };
    let classes = classes_of_images(root, &class_ids)?;
    let is_training = training_images(root)?;
    let mut annotations = annotations(root, &part_ids)?;
    let (mut train, mut test) = (Vec::new(), Vec::new());
    let images = Table::read(root.join("images.txt"))?;
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for row in images.rows() {
        let (id, name) = row.id_and_text("an image id and a path")?;
        if !ids.insert(id) || !names.insert(name) {
            return Err(row.error("an id and a path that no line above has"));
        }
        let class = *classes.get(&id).ok_or_else(|| row.error("an image id of image_class_labels.txt"))?;
        let training =
            *is_training.get(&id).ok_or_else(|| row.error("an image id of train_test_split.txt"))?;
        if !is_below(name) {
            return Err(row.error("a path below the images folder"));
        }
        let sample = Sample { path: root.join("images").join(name), class, marks: annotations.remove(&id) };
        if training { &mut train } else { &mut test }.push(sample);
    }
    let field_marks = field_marks(root, &class_ids, &part_ids)?;
    Ok(Found { labels, parts, field_marks, train, validation: None, test: Some(test), skipped: Vec::new() })
}

/// Index of each id, and the names, both in the ids' order.
fn numbered_names(
    path: PathBuf,
    expected: &'static str,
) -> Result<(BTreeMap<usize, usize>, Vec<String>), DatasetError> {
    let table = Table::read(path)?;
    let mut names = BTreeMap::new();
    for row in table.rows() {
        let (id, name) = row.id_and_text(expected)?;
        if names.insert(id, name.to_owned()).is_some() {
            return Err(row.error("an id that no line above has"));
        }
    }
    let ids = names.keys().enumerate().map(|(index, &id)| (id, index)).collect();
    Ok((ids, names.into_values().collect()))
}

/// `001.Black_footed_Albatross` without its number, where every name has one and stays distinct without it: what a
/// person wants to read on a picture.
fn without_numbers(labels: Vec<String>) -> Vec<String> {
    let bare = |label: &String| {
        let (number, name) = label.split_once('.')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && !name.is_empty()).then(|| name.to_owned())
    };
    match labels.iter().map(bare).collect::<Option<Vec<_>>>() {
        Some(names) if names.iter().collect::<BTreeSet<_>>().len() == names.len() => names,
        _ => labels,
    }
}

fn classes_of_images(
    root: &Path,
    class_ids: &BTreeMap<usize, usize>,
) -> Result<BTreeMap<usize, usize>, DatasetError> {
    let table = Table::read(root.join("image_class_labels.txt"))?;
    let of_row = |row: Row<'_>| {
        let [image, class] = row.numbers("an image id and a class id")?;
        let class = class_ids.get(&class).ok_or_else(|| row.error("a class id of classes.txt"))?;
        Ok((image, *class))
    };
    table.rows().map(of_row).collect()
}

fn training_images(root: &Path) -> Result<BTreeMap<usize, bool>, DatasetError> {
    let table = Table::read(root.join("train_test_split.txt"))?;
    let of_row = |row: Row<'_>| match row.numbers("an image id, then 1 (training) or 0 (test)")? {
        [image, 1] => Ok((image, true)),
        [image, 0] => Ok((image, false)),
        _ => Err(row.error("an image id, then 1 (training) or 0 (test)")),
    };
    table.rows().map(of_row).collect()
}

/// Boxes and part points by image id.
fn annotations(
    root: &Path,
    part_ids: &BTreeMap<usize, usize>,
) -> Result<BTreeMap<usize, Annotation>, DatasetError> {
    let mut annotations: BTreeMap<usize, Annotation> = BTreeMap::new();
    let boxes = Table::read_if_there(root.join("bounding_boxes.txt"))?;
    for row in boxes.rows() {
        let [id, x, y, width, height] = row.numbers::<f32, 5>("an image id, x, y, width, height")?;
        annotations.entry(id as usize).or_default().bounds = Some([x, y, x + width, y + height]);
    }
    let radii = radii(root)?;
    let points = Table::read_if_there(root.join("parts/part_locs.txt"))?;
    for row in points.rows() {
        let [image, part, x, y, visible] =
            row.numbers::<f32, 5>("an image id, a part id, x, y, 1 (visible) or 0")?;
        let key = (image as usize, part as usize);
        let part = *part_ids.get(&key.1).ok_or_else(|| row.error("a part id of parts.txt"))?;
        if visible != 0.0 {
            let radius = radii.get(&key).copied();
            annotations.entry(key.0).or_default().parts.push(PartPoint { part, x, y, radius });
        }
    }
    Ok(annotations)
}

/// Radius by image and part id.
fn radii(root: &Path) -> Result<BTreeMap<(usize, usize), f32>, DatasetError> {
    let table = Table::read_if_there(root.join("parts/part_regions.txt"))?;
    let of_row = |row: Row<'_>| {
        let [image, part, radius] = row.numbers::<f32, 3>("an image id, a part id, a radius")?;
        Ok(((image as usize, part as usize), radius))
    };
    table.rows().map(of_row).collect()
}

fn field_marks(
    root: &Path,
    class_ids: &BTreeMap<usize, usize>,
    part_ids: &BTreeMap<usize, usize>,
) -> Result<Vec<FieldMarks>, DatasetError> {
    const EXPECTED: &str = "two class ids, then part ids";
    let table = Table::read_if_there(root.join("field_marks.txt"))?;
    let of_row = |row: Row<'_>| {
        let ids: Result<Vec<usize>, _> = row.text.split_whitespace().map(str::parse).collect();
        let ids = ids.map_err(|_| row.error(EXPECTED))?;
        let [a, b, parts @ ..] = &ids[..] else {
            return Err(row.error(EXPECTED));
        };
        let index = |ids: &BTreeMap<usize, usize>, id: &usize| {
            ids.get(id).copied().ok_or_else(|| row.error(EXPECTED))
        };
        let parts: Result<Vec<usize>, _> = parts.iter().map(|part| index(part_ids, part)).collect();
        Ok(FieldMarks { classes: [index(class_ids, a)?, index(class_ids, b)?], parts: parts? })
    };
    table.rows().map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{DatasetError, SplitRule, read};
    use super::*;
    use crate::data::synth::{Part, SynthConfig, draw_dataset};

    const CONFIG: SynthConfig =
        SynthConfig { classes: 4, per_class_train: 6, per_class_test: 2, side: 96, seed: 1 };

    fn drawn() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        draw_dataset(root.path(), &CONFIG).unwrap();
        root
    }

    fn rule() -> SplitRule {
        SplitRule { validation: 0.34, ..SplitRule::default() }
    }

    fn edit(root: &tempfile::TempDir, table: &str, change: impl Fn(String) -> String) {
        let path = root.path().join(table);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, change(text)).unwrap();
    }

    #[test]
    fn drawn_birds_come_back_with_split_boxes_parts_and_marks() {
        let root = drawn();
        let dataset = read(root.path(), &rule()).unwrap();
        assert_eq!(dataset.labels[..2], ["Amber_crowned_Warbler", "Plum_crowned_Warbler"]);
        assert_eq!(dataset.parts, Part::ALL.map(Part::name));
        assert_eq!([dataset.train.len(), dataset.validation.len(), dataset.test.len()], [16, 8, 8]);
        assert!(dataset.test.iter().all(|sample| {
            let name = dataset.name(&sample.path);
            name.starts_with(&format!("images/{:03}.{}/", sample.class + 1, dataset.labels[sample.class]))
                && (name.ends_with("7.jpg") || name.ends_with("8.jpg"))
        }));
        assert_eq!(dataset.field_marks[0], FieldMarks { classes: [0, 1], parts: vec![Part::Crown as usize] });
        assert_eq!(dataset.field_marks[1], FieldMarks { classes: [2, 3], parts: vec![Part::Eye as usize] });
        for sample in dataset.train.iter().chain(&dataset.test) {
            let marks = sample.marks.as_ref().unwrap();
            let [x0, y0, x1, y1] = marks.bounds.unwrap();
            assert!(0.0 <= x0 && x0 < x1 && x1 <= 96.0 && 0.0 <= y0 && y0 < y1 && y1 <= 96.0);
            assert!(marks.parts.iter().all(|point| point.radius.is_some_and(|radius| radius > 3.0)));
            assert!(
                marks
                    .parts
                    .iter()
                    .all(|point| (0.0..=96.0).contains(&point.x) && (0.0..=96.0).contains(&point.y))
            );
            assert!(marks.parts.len() > 4);
        }
    }

    #[test]
    fn parts_and_boxes_may_be_absent() {
        let root = drawn();
        std::fs::remove_dir_all(root.path().join("parts")).unwrap();
        std::fs::remove_file(root.path().join("field_marks.txt")).unwrap();
        std::fs::remove_file(root.path().join("bounding_boxes.txt")).unwrap();
        let dataset = read(root.path(), &rule()).unwrap();
        assert!(dataset.parts.is_empty() && dataset.train.iter().all(|sample| sample.marks.is_none()));
    }

    #[test]
    fn covered_parts_are_left_out() {
        let root = drawn();
        edit(&root, "parts/part_locs.txt", |text| text.replace(" 1\n", " 0\n"));
        let dataset = read(root.path(), &rule()).unwrap();
        assert!(dataset.train.iter().all(|sample| sample.marks.as_ref().unwrap().parts.is_empty()));
    }

    #[test]
    fn damaged_tables_are_refused_with_file_and_line() {
        for (table, from, to) in [
            ("image_class_labels.txt", "3 1\n", "3 99\n"),
            ("image_class_labels.txt", "3 1\n", ""),
            ("train_test_split.txt", "3 1\n", "3 yes\n"),
            ("classes.txt", "2 002", "1 002"),
            ("images.txt", "3 001.", "3 ../001."),
            ("parts/part_locs.txt", "3 2 ", "3 77 "),
            ("bounding_boxes.txt", "3 ", "three "),
        ] {
            let root = drawn();
            edit(&root, table, |text| text.replacen(&format!("\n{from}"), &format!("\n{to}"), 1));
            match read(root.path(), &rule()) {
                Err(DatasetError::Table { line, .. }) => {
                    assert!((2..30).contains(&line), "{table} {line}");
                }
                other => panic!("{table}: {:?}", other.map(|dataset| dataset.labels)),
            }
        }
    }

    #[test]
    fn numbers_stay_where_names_need_them() {
        let labels = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        for (given, expected) in [
            (["001.Wren", "002.Robin"], ["Wren", "Robin"]),
            (["001.Wren", "002.Wren"], ["001.Wren", "002.Wren"]),
            (["001.Wren", "Robin"], ["001.Wren", "Robin"]),
            (["1.", "2.Robin"], ["1.", "2.Robin"]),
        ] {
            assert_eq!(without_numbers(labels(&given)), labels(&expected));
        }
    }

    #[test]
    fn a_missing_picture_is_reported_and_the_rest_is_read() {
        let root = drawn();
        let gone = root.path().join("images/001.Amber_crowned_Warbler/Amber_crowned_Warbler_0002.jpg");
        std::fs::remove_file(&gone).unwrap();
        let dataset = read(root.path(), &rule()).unwrap();
        assert_eq!(dataset.skipped.len(), 1);
        assert_eq!(dataset.skipped[0].path, gone);
        assert_eq!(dataset.train.len() + dataset.validation.len(), 23);
    }
}
