//! Stanford Cars (Krause et al. 2013), in either of the two forms in which it is passed on.
//!
//! With the devkit: `cars_train/`, `cars_test/`, and, in `devkit/` or beside them, `cars_meta.mat`, `cars_train_annos.mat`
//! and `cars_test_annos_withlabels.mat`; without the last the test pictures have no labels and are not used. In one
//! piece: `car_ims/` and `cars_annos.mat`. (The copy in class folders below `train` and `test` needs no reader of
//! its own.)

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::mat::{MatFile, Value};
use super::{Annotation, DatasetError, Found, Sample, Skipped, folder_of_pictures, is_below};

const META: &str = "cars_meta.mat";
const TRAIN: &str = "cars_train_annos.mat";
const TEST: &str = "cars_test_annos_withlabels.mat";
const WHOLE: &str = "cars_annos.mat";

/// Whether `root` has one of the lists.
pub fn is_there(root: &Path) -> bool {
    [META, TRAIN, WHOLE].iter().any(|name| place(root, name).is_file())
}

/// Where a list is, or should be.
fn place(root: &Path, name: &str) -> PathBuf {
    let beside = root.join(name);
    if beside.exists() { beside } else { root.join("devkit").join(name) }
}

/// Reads the layout. The official split is kept; validation is left to the split rule.
///
/// # Errors
/// See [`super::read`].
pub fn read(root: &Path) -> Result<Found, DatasetError> {
    if root.join(WHOLE).is_file() && !place(root, TRAIN).is_file() {
        return read_whole(root);
    }
    let labels = MatFile::read(&place(root, META))?.texts("class_names")?;
    let train = annotated(&MatFile::read(&place(root, TRAIN))?, labels.len(), "fname")?;
    let folder = folder_of_pictures(root, "cars_train", "cars_train.tgz")?;
    let train = train.into_iter().map(|car| car.sample(&folder)).collect();
    let mut skipped = Vec::new();
    let with_labels = place(root, TEST);
    let test = if with_labels.is_file() {
        let test = annotated(&MatFile::read(&with_labels)?, labels.len(), "fname")?;
        let folder = folder_of_pictures(root, "cars_test", "cars_test.tgz")?;
        Some(test.into_iter().map(|car| car.sample(&folder)).collect())
    } else {
        let reason = format!("the test pictures have no labels without {TEST}: put it beside {TRAIN}");
        skipped.push(Skipped { path: root.join("cars_test"), reason });
        None
    };
    Ok(Found { labels, train, test, skipped, ..Found::default() })
}

fn read_whole(root: &Path) -> Result<Found, DatasetError> {
    let file = MatFile::read(&root.join(WHOLE))?;
    let labels = file.texts("class_names")?;
    folder_of_pictures(root, "car_ims", "car_ims.tgz")?;
    let cars = annotated(&file, labels.len(), "relative_im_path")?;
    let (test, train): (Vec<Car>, Vec<Car>) = cars.into_iter().partition(|car| car.is_test);
    let samples = |cars: Vec<Car>| cars.into_iter().map(|car| car.sample(root)).collect();
    Ok(Found { labels, train: samples(train), test: Some(samples(test)), ..Found::default() })
}

/// One annotation.
struct Car {
    name: String,
    class: usize,
    bounds: [f32; 4],
    is_test: bool,
}

impl Car {
    fn sample(self, folder: &Path) -> Sample {
        let marks = Annotation { bounds: Some(self.bounds), parts: Vec::new() };
        Sample { path: folder.join(self.name), class: self.class, marks: Some(marks) }
    }
}

/// The annotations of a file, which name the picture in the field `name`.
fn annotated(file: &MatFile, classes: usize, name: &str) -> Result<Vec<Car>, DatasetError> {
    let mut names = std::collections::BTreeSet::new();
    let car = |(index, record): (usize, &BTreeMap<String, Value>)| {
        let place = |field: &str| format!("annotations({}).{field}", index + 1);
        let picture = match record.get(name) {
            Some(Value::Text(text)) if is_below(text) => text.clone(),
            _ => return Err(file.error(place(name), "a path below the data set's folder")),
        };
        if !names.insert(picture.clone()) {
            return Err(file.error(place(name), format!("a picture that no entry above has, got {picture}")));
        }
        let number = |field: &str| match record.get(field) {
            Some(Value::Numbers(numbers)) if numbers.len() == 1 => Ok(numbers[0]),
            _ => Err(file.error(place(field), "one number")),
        };
        let class = number("class")?;
        if !(1.0..=classes as f64).contains(&class) {
            return Err(file.error(place("class"), format!("a class of 1 to {classes}, got {class}")));
        }
        // MATLAB counts pixels from 1, and the last one is inside.
        let bounds =
            [number("bbox_x1")? - 1.0, number("bbox_y1")? - 1.0, number("bbox_x2")?, number("bbox_y2")?];
        let is_test = record.contains_key("test") && number("test")? != 0.0;
        Ok(Car {
            name: picture,
            class: class as usize - 1,
            bounds: bounds.map(|pixels| pixels as f32),
            is_test,
        })
    };
    file.records("annotations")?.iter().enumerate().map(car).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::mat::written;
    use super::super::{Dataset, DatasetError, SplitRule, read};
    use super::*;

    const BOX: [&str; 4] = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"];

    /// A list of pictures with their classes, as the devkit's files are.
    fn list(name: &str, cars: &[(&str, u16)]) -> Vec<u8> {
        let fields = [&BOX[..], &["class", name]].concat();
        let values = cars.iter().flat_map(|&(picture, class)| {
            let numbers = [3, 2, 8, 6, class].map(|number| written::numbers("", &[number]));
            numbers.into_iter().chain([written::text("", picture)])
        });
        written::file(&[written::records("annotations", &fields, &values.collect::<Vec<_>>())])
    }

    fn names() -> Vec<u8> {
        let names = ["Ram C/V Cargo Van 2012", "AM General Hummer SUV 2000"];
        written::cells("class_names", &names.map(|name| written::text("", name)))
    }

    fn picture(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(10, 8, image::Rgb([90, 120, 40])).save(path).unwrap();
    }

    /// Three training and two test pictures with the devkit; what the folder of pictures is called is free.
    fn devkit(train: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in ["1.jpg", "2.jpg", "3.jpg"] {
            picture(&root.path().join(train).join(name));
        }
        for name in ["1.jpg", "2.jpg"] {
            picture(&root.path().join("cars_test").join(name));
        }
        let devkit = root.path().join("devkit");
        fs::create_dir(&devkit).unwrap();
        fs::write(devkit.join(META), written::file(&[names()])).unwrap();
        fs::write(devkit.join(TRAIN), list("fname", &[("1.jpg", 2), ("2.jpg", 1), ("3.jpg", 2)])).unwrap();
        fs::write(devkit.join(TEST), list("fname", &[("1.jpg", 1), ("2.jpg", 2)])).unwrap();
        root
    }

    fn kept(root: &tempfile::TempDir) -> Result<Dataset, DatasetError> {
        read(root.path(), &SplitRule { validation: 0.0, ..SplitRule::default() })
    }

    fn classes(samples: &[Sample]) -> Vec<usize> {
        samples.iter().map(|sample| sample.class).collect()
    }

    #[test]
    fn the_devkit_gives_names_splits_and_boxes() {
        for train in ["cars_train", "cars_train/cars_train"] {
            let root = devkit(train);
            let dataset = kept(&root).unwrap();
            assert_eq!(dataset.labels, ["Ram C/V Cargo Van 2012", "AM General Hummer SUV 2000"]);
            assert_eq!((classes(&dataset.train), classes(&dataset.test)), (vec![1, 0, 1], vec![0, 1]));
            assert_eq!(dataset.train[1].path, root.path().join(train).join("2.jpg"));
            assert_eq!(dataset.train[0].marks.as_ref().unwrap().bounds, Some([2.0, 1.0, 8.0, 6.0]));
        }
    }

    #[test]
    fn the_list_may_lie_beside_and_test_pictures_without_labels_are_not_used() {
        let root = devkit("cars_train");
        let beside = root.path().join(TEST);
        fs::rename(root.path().join("devkit").join(TEST), &beside).unwrap();
        assert_eq!(kept(&root).unwrap().test.len(), 2);
        fs::remove_file(beside).unwrap();
        let dataset = kept(&root).unwrap();
        assert!(dataset.skipped[0].reason.contains(TEST), "{:?}", dataset.skipped);
        assert_eq!(dataset.train.len() + dataset.test.len(), 3, "a test split is held out of the rest");
    }

    #[test]
    fn all_in_one_list_is_the_same() {
        let root = tempfile::tempdir().unwrap();
        let fields = [&["relative_im_path"], &BOX[..], &["class", "test"]].concat();
        let values = (1..=5).flat_map(|number: u16| {
            let name = format!("car_ims/{number:06}.jpg");
            picture(&root.path().join(&name));
            let numbers = [3, 2, 8, 6, 1 + number % 2, u16::from(number > 3)];
            [written::text("", &name)]
                .into_iter()
                .chain(numbers.map(|number| written::numbers("", &[number])))
        });
        let cars = written::records("annotations", &fields, &values.collect::<Vec<_>>());
        fs::write(root.path().join(WHOLE), written::file(&[cars, names()])).unwrap();
        let dataset = kept(&root).unwrap();
        assert_eq!((classes(&dataset.train), classes(&dataset.test)), (vec![1, 0, 1], vec![0, 1]));
    }

    #[test]
    fn wrong_entries_are_refused_with_file_and_place() {
        for (cars, place) in [
            (&[("1.jpg", 1), ("2.jpg", 3)], "annotations(2).class"),
            (&[("1.jpg", 0), ("2.jpg", 1)], "annotations(1).class"),
            (&[("1.jpg", 1), ("../2.jpg", 1)], "annotations(2).fname"),
            (&[("1.jpg", 1), ("1.jpg", 2)], "annotations(2).fname"),
        ] {
            let root = devkit("cars_train");
            fs::write(root.path().join("devkit").join(TRAIN), list("fname", cars)).unwrap();
            let error = kept(&root).unwrap_err().to_string();
            assert!(error.contains(TRAIN) && error.contains(place), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = devkit("cars_train");
        fs::remove_file(root.path().join("devkit").join(META)).unwrap();
        assert!(kept(&root).unwrap_err().to_string().contains(META));
        let root = devkit("elsewhere");
        assert!(kept(&root).unwrap_err().to_string().contains("unpack cars_train.tgz"));
        let root = devkit("cars_train");
        fs::write(root.path().join("cars_train/2.jpg"), "").unwrap();
        let error = kept(&root).unwrap_err().to_string();
        assert!(error.contains("Ram C/V") && error.contains("2.jpg: an empty file"), "{error}");
    }
}
