//! Class folders, plain or below split folders.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{DatasetError, Found, Sample, Skipped};

/// How deep folders inside a class folder are followed; links may run in circles.
const MAX_DEPTH: usize = 8;

/// A class's name and the files in its folder.
type Classes = BTreeMap<String, Vec<PathBuf>>;

/// The folders that stand for splits.
#[derive(Default)]
struct SplitFolders {
    train: Option<PathBuf>,
    validation: Option<PathBuf>,
    test: Option<PathBuf>,
}

/// Reads class folders below `root`, or below its `train`, `val`, `valid`, `validation`, `test`.
///
/// # Errors
/// See [`super::read`].
pub fn read(root: &Path) -> Result<Found, DatasetError> {
    let mut skipped = Vec::new();
    let (folders, files) = entries(root, &mut skipped)?;
    let (splits, others) = split_folders(&folders, &mut skipped)?;
    let Some(train) = splits.train else {
        skip_all(&mut skipped, files, "it lies beside the class folders: it has no class");
        refuse_hidden_splits(root, &folders)?;
        let classes = classes_of(folders, &mut skipped)?;
        return Ok(found(classes, None, None, skipped));
    };
    skip_all(&mut skipped, files, "it lies beside the split folders");
    skip_all(&mut skipped, others, "it is neither train, val nor test");
    let classes = classes_below(&train, &mut skipped)?;
    let mut held_out = |folder: Option<PathBuf>| {
        let Some(folder) = folder else {
            return Ok(None);
        };
        let held_out = classes_below(&folder, &mut skipped)?;
        refuse_untrained(&folder, &classes, &held_out)?;
        Ok(Some(held_out))
    };
    let (validation, test) = (held_out(splits.validation)?, held_out(splits.test)?);
    Ok(found(classes, validation, test, skipped))
}

/// Class indices come from the training classes' names alone, whatever the other splits lack.
fn found(
    classes: Classes,
    validation: Option<Classes>,
    test: Option<Classes>,
    skipped: Vec<Skipped>,
) -> Found {
    let labels: Vec<String> = classes.keys().cloned().collect();
    let samples = |classes: Classes| {
        let numbered =
            classes.into_iter().filter_map(|(name, files)| Some((labels.binary_search(&name).ok()?, files)));
        let of_class = |(class, files): (usize, Vec<PathBuf>)| {
            files.into_iter().map(move |path| Sample { path, class, marks: None })
        };
        numbered.flat_map(of_class).collect::<Vec<_>>()
    };
    Found {
        train: samples(classes),
        validation: validation.map(samples),
        test: test.map(samples),
        labels,
        parts: Vec::new(),
        field_marks: Vec::new(),
        skipped,
    }
}

/// The split folders among `folders`, and the rest. A folder `train` that holds pictures itself is a class.
fn split_folders(
    folders: &[PathBuf],
    skipped: &mut Vec<Skipped>,
) -> Result<(SplitFolders, Vec<PathBuf>), DatasetError> {
    let mut splits = SplitFolders::default();
    let mut others = Vec::new();
    for folder in folders {
        let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let place = match name.as_str() {
            "train" | "training" | "training_set" => &mut splits.train,
            "val" | "valid" | "validation" | "validation_set" => &mut splits.validation,
            "test" | "testing" | "test_set" => &mut splits.test,
            _ => {
                others.push(folder.clone());
                continue;
            }
        };
        match place {
            Some(_) => skipped.push(Skipped {
                path: folder.clone(),
                reason: "a second folder for the same split".to_owned(),
            }),
            None => *place = Some(folder.clone()),
        }
    }
    if let Some(train) = &splits.train
        && entries(train, &mut Vec::new())?.0.is_empty()
    {
        splits.train = None;
    }
    Ok((splits, others))
}

/// Two folders that both hold the same class folders are splits under names that are not known, not two classes.
fn refuse_hidden_splits(root: &Path, folders: &[PathBuf]) -> Result<(), DatasetError> {
    let mut seen: BTreeMap<Vec<OsString>, &PathBuf> = BTreeMap::new();
    for folder in folders {
        let (inner, files) = entries(folder, &mut Vec::new())?;
        if !files.is_empty() || inner.len() < 2 {
            continue;
        }
        let mut names: Vec<OsString> =
            inner.iter().filter_map(|path| path.file_name().map(OsString::from)).collect();
        names.sort();
        if let Some(first) = seen.insert(names, folder) {
            let [first, second] = [first, folder].map(|path| {
                path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            });
            return Err(DatasetError::HiddenSplits { path: root.to_owned(), first, second });
        }
    }
    Ok(())
}

fn skip_all(skipped: &mut Vec<Skipped>, paths: Vec<PathBuf>, reason: &str) {
    skipped.extend(paths.into_iter().map(|path| Skipped { path, reason: reason.to_owned() }));
}

fn refuse_untrained(folder: &Path, trained: &Classes, held_out: &Classes) -> Result<(), DatasetError> {
    let untrained = held_out.iter().filter(|(name, files)| !files.is_empty() && !trained.contains_key(*name));
    let names: Vec<String> = untrained.map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(DatasetError::Untrained { path: folder.to_owned(), names })
}

fn classes_below(split: &Path, skipped: &mut Vec<Skipped>) -> Result<Classes, DatasetError> {
    let (folders, files) = entries(split, skipped)?;
    skip_all(skipped, files, "it lies beside the class folders: it has no class");
    classes_of(folders, skipped)
}

fn classes_of(folders: Vec<PathBuf>, skipped: &mut Vec<Skipped>) -> Result<Classes, DatasetError> {
    let mut classes = Classes::new();
    for folder in folders {
        let name = folder.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| DatasetError::Name { path: folder.clone() })?.to_owned();
        let mut files = Vec::new();
        collect(&folder, 0, &mut files, skipped)?;
        files.sort();
        classes.insert(name, files);
    }
    Ok(classes)
}

/// The files in `folder` and in the folders inside it.
fn collect(
    folder: &Path,
    depth: usize,
    into: &mut Vec<PathBuf>,
    skipped: &mut Vec<Skipped>,
) -> Result<(), DatasetError> {
    let (folders, files) = entries(folder, skipped)?;
    into.extend(files);
    for inner in folders {
        if depth == MAX_DEPTH {
            skipped.push(Skipped {
                path: inner,
                reason: format!("folders inside a class are followed {MAX_DEPTH} deep"),
            });
        } else {
            collect(&inner, depth + 1, into, skipped)?;
        }
    }
    Ok(())
}

/// The folders and the files in `folder`, by name; clutter goes to `skipped`.
fn entries(folder: &Path, skipped: &mut Vec<Skipped>) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DatasetError> {
    let unreadable = |source| DatasetError::Read { path: folder.to_owned(), source };
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if let Some(reason) = clutter(&path) {
            skipped.push(Skipped { path, reason: reason.to_owned() });
        } else if path.is_dir() {
            folders.push(path);
        } else {
            files.push(path);
        }
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

/// Why a name is never a class or a picture: what editors, notebooks and file managers leave behind.
fn clutter(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy();
    match &*name {
        ".ipynb_checkpoints" => Some("left by a notebook"),
        "Thumbs.db"
        | "desktop.ini"
        | ".DS_Store"
        | "__MACOSX"
        | "@eaDir"
        | "$RECYCLE.BIN"
        | "System Volume Information" => Some("left by a file manager"),
        "lost+found" => Some("left by the file system"),
        name if name.starts_with('.') => Some("hidden"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Dataset, DatasetError, SplitRule, read};

    /// A JPEG picture of one colour in each of `files`.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::from_pixel(8, 6, image::Rgb([90, 120, 40])).save(path).unwrap();
        }
        root
    }

    fn plain(root: &tempfile::TempDir) -> Result<Dataset, DatasetError> {
        read(root.path(), &SplitRule { seed: 0, validation: 0.0, test: 0.0, group: None })
    }

    fn reason(dataset: &Dataset, name: &str) -> String {
        let of = dataset.skipped.iter().find(|skipped| dataset.name(&skipped.path) == name);
        of.unwrap_or_else(|| panic!("{name} is not reported: {:?}", dataset.skipped)).reason.clone()
    }

    #[test]
    fn labels_are_folder_names_in_byte_order() {
        let root = tree(&["wren/1.jpg", "Robin/1.jpg", "émeu/1.png", "auk/1.jpg", "auk/deep/er/2.jpg"]);
        let dataset = plain(&root).unwrap();
        assert_eq!(dataset.labels, ["Robin", "auk", "wren", "émeu"]);
        let names: Vec<_> =
            dataset.train.iter().map(|sample| (dataset.name(&sample.path), sample.class)).collect();
        let expected = [
            ("Robin/1.jpg", 0),
            ("auk/1.jpg", 1),
            ("auk/deep/er/2.jpg", 1),
            ("wren/1.jpg", 2),
            ("émeu/1.png", 3),
        ];
        assert_eq!(names, expected.map(|(name, class)| (name.to_owned(), class)));
        assert!(dataset.skipped.is_empty());
    }

    #[test]
    fn a_class_missing_in_a_held_out_split_shifts_no_label() {
        let root = tree(&[
            "train/a/1.jpg",
            "train/b/1.jpg",
            "train/c/1.jpg",
            "val/c/1.jpg",
            "test/b/1.jpg",
            "test/c/1.jpg",
        ]);
        fs::create_dir_all(root.path().join("val/a")).unwrap();
        let dataset = plain(&root).unwrap();
        assert_eq!(dataset.labels, ["a", "b", "c"]);
        assert_eq!(dataset.validation.iter().map(|sample| sample.class).collect::<Vec<_>>(), [2]);
        assert_eq!(dataset.test.iter().map(|sample| sample.class).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_class_that_only_a_held_out_split_has_is_refused_by_name() {
        let root = tree(&["train/a/1.jpg", "train/b/1.jpg", "valid/a/1.jpg", "valid/owl/1.jpg"]);
        let error = plain(&root).unwrap_err().to_string();
        assert!(error.contains("owl") && error.contains("valid"), "{error}");
    }

    #[test]
    fn clutter_is_no_class_and_is_said() {
        let root = tree(&[
            "a/1.jpg",
            "b/1.jpg",
            ".ipynb_checkpoints/1.jpg",
            "__MACOSX/1.jpg",
            ".cache/1.jpg",
            "b/.hidden.jpg",
        ]);
        fs::write(root.path().join("a/Thumbs.db"), "x").unwrap();
        fs::write(root.path().join("LICENSE"), "x").unwrap();
        let dataset = plain(&root).unwrap();
        assert_eq!(dataset.labels, ["a", "b"]);
        assert_eq!(dataset.train.len(), 2);
        assert_eq!(reason(&dataset, ".ipynb_checkpoints"), "left by a notebook");
        assert_eq!(reason(&dataset, "__MACOSX"), "left by a file manager");
        assert_eq!(reason(&dataset, "a/Thumbs.db"), "left by a file manager");
        assert_eq!(reason(&dataset, ".cache"), "hidden");
        assert_eq!(reason(&dataset, "b/.hidden.jpg"), "hidden");
        assert!(reason(&dataset, "LICENSE").contains("no class"));
    }

    #[test]
    fn files_that_are_no_pictures_are_skipped_with_their_reason() {
        let root = tree(&["a/1.jpg", "b/1.jpg", "b/fine.png"]);
        let write = |name: &str, bytes: &[u8]| fs::write(root.path().join(name), bytes).unwrap();
        write("a/text.jpg", b"I am a text file renamed.");
        write("a/empty.jpg", b"");
        write("a/cut.jpg", &fs::read(root.path().join("a/1.jpg")).unwrap()[..20]);
        fs::rename(root.path().join("b/fine.png"), root.path().join("b/fine.jpg")).unwrap();
        let dataset = plain(&root).unwrap();
        assert_eq!(dataset.train.len(), 3, "a PNG named .jpg is a picture");
        assert_eq!(reason(&dataset, "a/text.jpg"), "not a JPEG or PNG picture");
        assert_eq!(reason(&dataset, "a/empty.jpg"), "an empty file");
        assert!(reason(&dataset, "a/cut.jpg").starts_with("damaged"));
    }

    #[test]
    fn classes_without_readable_pictures_are_refused_by_name() {
        let root = tree(&["a/1.jpg", "b/1.jpg"]);
        fs::create_dir(root.path().join("void")).unwrap();
        assert!(plain(&root).unwrap_err().to_string().contains("void"));
        fs::write(root.path().join("void/notes.txt"), "text").unwrap();
        let error = plain(&root).unwrap_err().to_string();
        assert!(error.contains("void") && error.contains("notes.txt: not a JPEG or PNG"), "{error}");
    }

    #[test]
    fn names_that_differ_by_case_only_are_refused() {
        for (first, second) in [("Robin", "robin"), ("GROSS", "groß"), ("wren", "wren "), ("ÉMEU", "émeu")]
        {
            let root = tree(&[&format!("{first}/1.jpg"), &format!("{second}/1.jpg")]);
            assert!(matches!(plain(&root), Err(DatasetError::Collision { .. })), "{first} {second}");
        }
    }

    #[test]
    fn a_class_may_be_called_train() {
        let root = tree(&["train/1.jpg", "tram/1.jpg", "test/1.jpg"]);
        assert_eq!(plain(&root).unwrap().labels, ["test", "train", "tram"]);
    }

    #[test]
    fn folders_that_are_no_data_set_are_refused() {
        let root = tree(&["only/1.jpg"]);
        assert!(matches!(plain(&root), Err(DatasetError::Classes { actual: 1, .. })));
        let nowhere = read(&root.path().join("nowhere"), &SplitRule::default());
        assert!(nowhere.unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn the_hash_knows_names_sizes_and_labels_but_not_where_the_folder_is() {
        let files = ["a/1.jpg", "a/2.jpg", "b/1.jpg"];
        let (root, copy) = (tree(&files), tree(&files));
        let hash = |root: &tempfile::TempDir| plain(root).unwrap().hash;
        let before = hash(&root);
        assert_eq!(before.len(), 64);
        assert_eq!(before, hash(&copy));
        let split = read(root.path(), &SplitRule { seed: 5, test: 0.4, ..SplitRule::default() }).unwrap();
        assert_eq!(before, split.hash, "a data set is the same however it is split");
        fs::rename(root.path().join("a/2.jpg"), root.path().join("b/2.jpg")).unwrap();
        assert_ne!(before, hash(&root));
        image::RgbImage::from_fn(30, 30, |x, y| image::Rgb([x as u8, y as u8, 9]))
            .save(copy.path().join("a/1.jpg"))
            .unwrap();
        assert_ne!(before, hash(&copy));
    }
}
