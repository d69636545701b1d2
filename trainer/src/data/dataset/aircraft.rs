//! FGVC-Aircraft (Maji et al. 2013), by variant: `images/`, `variants.txt`, `images_variant_train.txt`, `_val`, `_test`
//! and `images_box.txt`, in the folder itself or in its `data`.
//!
//! The pictures carry a strip of 20 pixels with the photographer's name at the lower edge. It is not cut off here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::table::Table;
use super::{Annotation, DatasetError, Found, Sample, folder_of_pictures, is_below};

const TRAIN: &str = "images_variant_train.txt";

/// The folder with the lists, if `root` has them.
pub fn lists(root: &Path) -> Option<PathBuf> {
    [root.to_owned(), root.join("data")].into_iter().find(|folder| folder.join(TRAIN).is_file())
}

/// Reads the layout in the folder of its lists. The official splits are kept.
///
/// # Errors
/// See [`super::read`].
pub fn read(folder: &Path) -> Result<Found, DatasetError> {
    let images = folder_of_pictures(folder, "images", "the data set's archive")?;
    let variants = Table::read(folder.join("variants.txt"))?;
    let labels: Vec<String> = variants.rows().map(|row| row.text.to_owned()).collect();
    let classes = labels.iter().enumerate().map(|(class, label)| (label.as_str(), class)).collect();
    let boxes = boxes(folder)?;
    let mut seen = BTreeSet::new();
    let mut split = |name: &str| {
        let path = folder.join(name);
        if !path.exists() {
            return Ok(None);
        }
        pictures(&Table::read(path)?, &images, &classes, &boxes, &mut seen).map(Some)
    };
    let train = split(TRAIN)?.unwrap_or_default();
    let validation = split("images_variant_val.txt")?;
    let test = split("images_variant_test.txt")?;
    Ok(Found { labels, train, validation, test, ..Found::default() })
}

/// The pictures of one list; `seen` has those of the lists before.
fn pictures(
    list: &Table,
    images: &Path,
    classes: &BTreeMap<&str, usize>,
    boxes: &BTreeMap<String, [f32; 4]>,
    seen: &mut BTreeSet<String>,
) -> Result<Vec<Sample>, DatasetError> {
    let mut samples = Vec::new();
    for row in list.rows() {
        const EXPECTED: &str = "a picture's number and a variant of variants.txt";
        let (id, variant) = row.text.split_once(' ').ok_or_else(|| row.error(EXPECTED))?;
        let class = *classes.get(variant.trim()).ok_or_else(|| row.error(EXPECTED))?;
        if !is_below(id) {
            return Err(row.error("a picture in the folder images"));
        }
        if !seen.insert(id.to_owned()) {
            return Err(row.error("a picture that no line above and no other split has"));
        }
        let marks = boxes.get(id).map(|&bounds| Annotation { bounds: Some(bounds), parts: Vec::new() });
        samples.push(Sample { path: images.join(format!("{id}.jpg")), class, marks });
    }
    Ok(samples)
}

/// Left, top, right, bottom by picture.
fn boxes(folder: &Path) -> Result<BTreeMap<String, [f32; 4]>, DatasetError> {
    let table = Table::read_if_there(folder.join("images_box.txt"))?;
    let mut boxes = BTreeMap::new();
    for row in table.rows() {
        let [_, left, top, right, bottom] =
            row.numbers::<f32, 5>("a picture's number, xmin, ymin, xmax, ymax")?;
        let id = row.text.split_whitespace().next().unwrap_or_default();
        // The first pixel is 1, 1, and the last one is inside.
        boxes.insert(id.to_owned(), [left - 1.0, top - 1.0, right, bottom]);
    }
    Ok(boxes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Dataset, DatasetError, SplitRule, read};
    use super::*;

    /// The archive's form: lists in `data`, two variants, a picture for each line.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        fs::create_dir_all(data.join("images")).unwrap();
        let write = |name: &str, text: &str| fs::write(data.join(name), text).unwrap();
        write("variants.txt", "F/A-18\nDash 8-100\n");
        write(TRAIN, "0034309 Dash 8-100\n1025794 F/A-18\n");
        write("images_variant_val.txt", "0056978 F/A-18\n");
        write("images_variant_test.txt", "0034310 Dash 8-100\n");
        write("images_variant_trainval.txt", "0034309 Dash 8-100\n");
        write("images_box.txt", "0034309 3 2 8 6\n");
        for id in ["0034309", "1025794", "0056978", "0034310"] {
            let path = data.join("images").join(id).with_extension("jpg");
            image::RgbImage::from_pixel(10, 8, image::Rgb([90, 120, 40])).save(path).unwrap();
        }
        root
    }

    fn kept(root: &Path) -> Result<Dataset, DatasetError> {
        read(root, &SplitRule::default())
    }

    #[test]
    fn variants_splits_and_boxes_are_those_of_the_lists() {
        let root = tree();
        for root in [root.path().to_owned(), root.path().join("data")] {
            let dataset = kept(&root).unwrap();
            assert_eq!(dataset.labels, ["F/A-18", "Dash 8-100"]);
            let classes = |samples: &[Sample]| samples.iter().map(|sample| sample.class).collect::<Vec<_>>();
            assert_eq!(classes(&dataset.train), [1, 0]);
            assert_eq!(classes(&dataset.validation), [0]);
            assert_eq!(classes(&dataset.test), [1]);
            assert!(dataset.name(&dataset.train[0].path).ends_with("images/0034309.jpg"));
            assert_eq!(dataset.train[0].marks.as_ref().unwrap().bounds, Some([2.0, 1.0, 8.0, 6.0]));
            assert!(dataset.train[1].marks.is_none() && dataset.skipped.is_empty());
        }
    }

    #[test]
    fn wrong_lines_are_refused_with_file_and_line() {
        for (list, text, line, expected) in [
            (TRAIN, "0034309 Dash 8-100\n1025794 F-16\n", 2, "a variant of variants.txt"),
            (TRAIN, "0034309\n", 1, "a variant of variants.txt"),
            (TRAIN, "../x F/A-18\n", 1, "in the folder images"),
            ("images_variant_test.txt", "0034310 F/A-18\n1025794 F/A-18\n", 2, "no other split"),
            ("images_box.txt", "\n0034309 3 2 8\n", 2, "xmin, ymin, xmax, ymax"),
        ] {
            let root = tree();
            fs::write(root.path().join("data").join(list), text).unwrap();
            let error = kept(root.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("{list}:{line}: ")) && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_missing_split_is_left_to_the_rule() {
        let root = tree();
        fs::remove_file(root.path().join("data/images_variant_val.txt")).unwrap();
        let dataset = kept(root.path()).unwrap();
        assert_eq!((dataset.train.len(), dataset.validation.len(), dataset.test.len()), (2, 0, 1));
    }
}
