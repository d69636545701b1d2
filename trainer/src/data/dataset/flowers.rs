//! Oxford Flowers 102 (Nilsback and Zisserman 2008): `jpg/image_00001.jpg` and on, `imagelabels.mat`, `setid.mat`.
//!
//! The set itself has numbers for classes. Where `cat_to_name.json`, which often comes with it, lies beside, it names
//! them; elsewhere a class is called by its number.

use std::collections::BTreeMap;
use std::path::Path;

use super::mat::MatFile;
use super::{DatasetError, Found, Sample, folder_of_pictures};

const LABELS: &str = "imagelabels.mat";
const SPLITS: &str = "setid.mat";
const NAMES: &str = "cat_to_name.json";

/// Whether `root` has one of the lists.
pub fn is_there(root: &Path) -> bool {
    [LABELS, SPLITS].iter().any(|name| root.join(name).is_file())
}

/// Reads the layout. The official splits are kept.
///
/// # Errors
/// See [`super::read`].
pub fn read(root: &Path) -> Result<Found, DatasetError> {
    let folder = folder_of_pictures(root, "jpg", "102flowers.tgz")?;
    let file = MatFile::read(&root.join(LABELS))?;
    let classes = file.numbers("labels")?;
    let greatest = classes.iter().copied().fold(0.0, f64::max);
    if let Some(index) = classes.iter().position(|class| class.fract() != 0.0 || !(1.0..=1e6).contains(class))
    {
        let actual = classes[index];
        return Err(
            file.error(format!("labels({})", index + 1), format!("a class of 1 or more, got {actual}"))
        );
    }
    let splits = MatFile::read(&root.join(SPLITS))?;
    let mut seen = vec![false; classes.len()];
    let mut pictures = |name: &str| {
        let sample = |(index, &number): (usize, &f64)| {
            let place = || format!("{name}({})", index + 1);
            let at = number as usize;
            if number.fract() != 0.0 || !(1..=classes.len()).contains(&at) {
                let expected = format!("a picture of 1 to {}, got {number}", classes.len());
                return Err(splits.error(place(), expected));
            }
            if std::mem::replace(&mut seen[at - 1], true) {
                return Err(
                    splits.error(place(), format!("a picture that stands nowhere else, got {number}"))
                );
            }
            let path = folder.join(format!("image_{at:05}.jpg"));
            Ok(Sample { path, class: classes[at - 1] as usize - 1, marks: None })
        };
        splits.numbers(name)?.iter().enumerate().map(sample).collect::<Result<Vec<_>, _>>()
    };
    let (train, validation, test) = (pictures("trnid")?, pictures("valid")?, pictures("tstid")?);
    let labels = labels(root, greatest as usize)?;
    Ok(Found { labels, train, validation: Some(validation), test: Some(test), ..Found::default() })
}

fn labels(root: &Path, classes: usize) -> Result<Vec<String>, DatasetError> {
    let path = root.join(NAMES);
    if !path.exists() {
        return Ok((1..=classes).map(|class| format!("{class:03}")).collect());
    }
    let text =
        std::fs::read_to_string(&path).map_err(|source| DatasetError::Read { path: path.clone(), source })?;
    let names: BTreeMap<String, String> =
        serde_json::from_str(&text).map_err(|error| DatasetError::Table {
            path: path.clone(),
            line: error.line(),
            expected: "an object of class numbers and names",
            actual: error.to_string(),
        })?;
    let name = |class: usize| {
        names.get(&class.to_string()).cloned().ok_or_else(|| DatasetError::Entry {
            path: path.clone(),
            place: format!("{class:?}"),
            expected: "a name for each class of imagelabels.mat".to_owned(),
        })
    };
    (1..=classes).map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::mat::written;
    use super::super::{Dataset, DatasetError, SplitRule, read};
    use super::*;

    fn splits(train: &[u16], validation: &[u16], test: &[u16]) -> Vec<u8> {
        let named = [("trnid", train), ("valid", validation), ("tstid", test)];
        written::file(&named.map(|(name, pictures)| written::numbers(name, pictures)))
    }

    /// Six pictures of three classes.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("jpg")).unwrap();
        for number in 1..=6 {
            let path = root.path().join(format!("jpg/image_{number:05}.jpg"));
            image::RgbImage::from_pixel(10, 8, image::Rgb([90, 120, 40])).save(path).unwrap();
        }
        let labels = written::numbers("labels", &[3, 1, 2, 3, 1, 2]);
        fs::write(root.path().join(LABELS), written::file(&[labels])).unwrap();
        fs::write(root.path().join(SPLITS), splits(&[6, 1, 2], &[3], &[4, 5])).unwrap();
        root
    }

    fn kept(root: &tempfile::TempDir) -> Result<Dataset, DatasetError> {
        read(root.path(), &SplitRule::default())
    }

    #[test]
    fn numbers_become_pictures_classes_and_splits() {
        let root = tree();
        let dataset = kept(&root).unwrap();
        assert_eq!(dataset.labels, ["001", "002", "003"]);
        let list = |samples: &[Sample]| {
            let pair = |sample: &Sample| (dataset.name(&sample.path), sample.class);
            samples.iter().map(pair).collect::<Vec<_>>()
        };
        let named = |pairs: &[(u32, usize)]| {
            pairs
                .iter()
                .map(|&(number, class)| (format!("jpg/image_{number:05}.jpg"), class))
                .collect::<Vec<_>>()
        };
        assert_eq!(list(&dataset.train), named(&[(6, 1), (1, 2), (2, 0)]));
        assert_eq!(list(&dataset.validation), named(&[(3, 1)]));
        assert_eq!(list(&dataset.test), named(&[(4, 2), (5, 0)]));
    }

    #[test]
    fn names_come_from_the_file_beside() {
        let root = tree();
        let names = |text: &str| {
            fs::write(root.path().join(NAMES), text).unwrap();
            kept(&root).map(|dataset| dataset.labels)
        };
        let three = r#"{"2": "sweet pea", "1": "pink primrose", "3": "monkshood"}"#;
        assert_eq!(names(three).unwrap(), ["pink primrose", "sweet pea", "monkshood"]);
        let error = names(r#"{"2": "sweet pea", "1": "pink primrose"}"#).unwrap_err().to_string();
        assert!(error.contains(NAMES) && error.contains(": 3: "), "{error}");
        let error = names("{\n oops").unwrap_err().to_string();
        assert!(error.contains("cat_to_name.json:2: "), "{error}");
    }

    #[test]
    fn wrong_numbers_are_refused_with_file_and_place() {
        for (train, place) in [(&[6, 1, 7], "trnid(3)"), (&[0, 1, 2], "trnid(1)"), (&[6, 6, 2], "trnid(2)")] {
            let root = tree();
            fs::write(root.path().join(SPLITS), splits(train, &[3], &[4, 5])).unwrap();
            let error = kept(&root).unwrap_err().to_string();
            assert!(error.contains(SPLITS) && error.contains(place), "{error}");
        }
        let root = tree();
        let labels = written::numbers("labels", &[3, 0, 2, 3, 1, 2]);
        fs::write(root.path().join(LABELS), written::file(&[labels])).unwrap();
        assert!(kept(&root).unwrap_err().to_string().contains("labels(2)"));
        fs::write(root.path().join(LABELS), b"not a MATLAB file").unwrap();
        assert!(kept(&root).unwrap_err().to_string().contains("level 5"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = tree();
        fs::rename(root.path().join("jpg"), root.path().join("jpeg")).unwrap();
        assert!(kept(&root).unwrap_err().to_string().contains("unpack 102flowers.tgz"));
    }
}
