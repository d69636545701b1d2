//! Labelled pictures in a folder, and which of them are for training, choosing, and testing.
//!
//! A `Layout` is recognised by the files that it has: a list of pictures, one of four published sets, split folders
//! (`train`, and `val` or `validation`, and `test`, each with class folders), or plain class folders. Classes are matched
//! by name, never by position, and nothing of the user's is changed.

mod aircraft;
mod cars;
mod cub;
mod error;
mod flowers;
mod folder;
mod list;
mod mat;
mod mat_error;
mod split;
mod table;
mod without;

use std::path::{Component, Path, PathBuf};

use fieldmark::digits::hexadecimal;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use error::DatasetError;
pub use mat_error::MatError;
pub use split::{GroupBy, GroupingFault, SplitRule, source};

/// One picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// Index into [`Dataset::labels`].
    pub class: usize,
    /// What is known about where things are in it.
    pub marks: Option<Annotation>,
}

/// Where the object and its parts are in a picture, pixels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotation {
    /// Left, top, right, bottom of the object.
    pub bounds: Option<[f32; 4]>,
    /// The parts that can be seen.
    pub parts: Vec<PartPoint>,
}

/// A part that can be seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartPoint {
    /// Index into [`Dataset::parts`].
    pub part: usize,
    /// Pixels from the left.
    pub x: f32,
    /// Pixels from the top.
    pub y: f32,
    /// The circle that holds the part, pixels, where the data set says so.
    pub radius: Option<f32>,
}

/// Two classes and the parts that tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMarks {
    /// The classes.
    pub classes: [usize; 2],
    /// Indices into [`Dataset::parts`].
    pub parts: Vec<usize>,
}

/// A file or folder that is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What is not used.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// The pictures of a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The folder that has all of them.
    pub root: PathBuf,
    /// What was read: `root`, or a list in it.
    pub source: PathBuf,
    /// Class names: the class folders' names in byte order, or those of the set's own list in its order.
    pub labels: Vec<String>,
    /// Names of annotated parts; empty where nothing is annotated.
    pub parts: Vec<String>,
    /// What tells look-alikes apart, where the data set says so.
    pub field_marks: Vec<FieldMarks>,
    /// Pictures to learn from.
    pub train: Vec<Sample>,
    /// Pictures to choose the best epoch by.
    pub validation: Vec<Sample>,
    /// Pictures for the final figure.
    pub test: Vec<Sample>,
    /// What was found and not used.
    pub skipped: Vec<Skipped>,
    /// SHA-256, in hex, over labels, and names, classes and sizes in bytes of all pictures.
    pub hash: String,
}

/// At most `count` of the samples, at least one, evenly over their order: over classes, where these follow each other.
pub fn spread<'a>(samples: &[&'a Sample], count: usize) -> Vec<&'a Sample> {
    let count = count.clamp(1, samples.len().max(1)).min(samples.len());
    (0..count).map(|index| samples[index * samples.len() / count]).collect()
}

/// How pictures and their classes are written down. Each has its reader, which says more.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Layout {
    /// A CSV file.
    List(PathBuf),
    /// CUB-200-2011.
    Cub,
    /// FGVC-Aircraft; the folder of its lists.
    Aircraft(PathBuf),
    /// Stanford Cars.
    Cars,
    /// Oxford Flowers 102.
    Flowers,
    /// Class folders, plain or below split folders.
    Folders,
}

/// What a layout's reader found, before anything is split. A split that is `None` is not given by the layout.
#[derive(Default)]
struct Found {
    labels: Vec<String>,
    parts: Vec<String>,
    field_marks: Vec<FieldMarks>,
    train: Vec<Sample>,
    validation: Option<Vec<Sample>>,
    test: Option<Vec<Sample>>,
    skipped: Vec<Skipped>,
}

/// A class without a single readable training picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmptyClass {
    /// Its name.
    pub label: String,
    /// Its training files, none of which is a picture that can be read.
    pub files: Vec<Skipped>,
}

/// Reads the data set in the folder `path`, or the list `path`; `rule` makes the splits that it does not come with.
///
/// Files that cannot be pictures are in [`Dataset::skipped`], each with its reason.
///
/// # Errors
/// [`DatasetError`]: an unreadable folder, fewer than two classes, a class without training pictures, names that
/// collide, classes that only held-out splits have, tables that do not parse, a rule that cannot be followed.
pub fn read(path: &Path, rule: &SplitRule) -> Result<Dataset, DatasetError> {
    let (found, empty) = checked(path, rule)?;
    if let Some(first) = empty.first() {
        let reason = first.files.first().cloned();
        return Err(DatasetError::EmptyClass {
            names: empty.into_iter().map(|class| class.label).collect(),
            reason,
        });
    }
    refuse_one_class(path, &found)?;
    if found.test.is_none() && rule.test > 0.0 || found.validation.is_none() && rule.validation > 0.0 {
        split::refuse_few_groups(&found.train, rule)?;
    }
    Ok(in_splits(path, found, rule))
}

/// As [`read`], but what only a training has to refuse is left to the caller: classes without training pictures, which
/// are not in the data set, and a grouping that makes no split.
///
/// # Errors
/// The others of [`read`].
pub fn read_leniently(path: &Path, rule: &SplitRule) -> Result<(Dataset, Vec<EmptyClass>), DatasetError> {
    let (found, empty) = checked(path, rule)?;
    refuse_one_class(path, &found)?;
    let place = |class: &EmptyClass| found.labels.iter().position(|label| *label == class.label);
    let places: Vec<usize> = empty.iter().filter_map(place).collect();
    Ok((in_splits(path, found, rule).without(&places), empty))
}

/// Labelled pictures to measure a network on, of its own classes and of others.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// Those of the network's classes; [`Sample::class`] is an index into its labels.
    pub known: Vec<Sample>,
    /// Those of other classes; [`Sample::class`] is the number of the network's labels plus an index into
    /// [`Labelled::other_labels`].
    pub strangers: Vec<Sample>,
    /// The other classes.
    pub other_labels: Vec<String>,
    /// What was found and not used.
    pub skipped: Vec<Skipped>,
}

/// All labelled pictures in the folder `path`, or of the list `path`, whatever its splits, for a network with these
/// `labels`. Classes are matched by name; one is enough.
///
/// # Errors
/// [`DatasetError`]: an unreadable folder, names that collide, tables that do not parse.
pub fn labelled(path: &Path, labels: &[String]) -> Result<Labelled, DatasetError> {
    let (found, _) = checked(path, &SplitRule::default())?;
    let is_known = |label: &&String| labels.contains(label);
    let other_labels: Vec<String> = found.labels.iter().filter(|label| !is_known(label)).cloned().collect();
    let place = |label: &String| {
        let other = || other_labels.iter().position(|other| other == label).map(|at| labels.len() + at);
        labels.iter().position(|known| known == label).or_else(other)
    };
    let places: Vec<Option<usize>> = found.labels.iter().map(place).collect();
    let held_out = [found.validation, found.test].into_iter().flatten().flatten();
    let samples = found.train.into_iter().chain(held_out).filter_map(|sample| {
        // Parts are those of another data set.
        Some(Sample { class: places[sample.class]?, marks: None, ..sample })
    });
    let (known, strangers) = samples.partition(|sample| sample.class < labels.len());
    Ok(Labelled { known, strangers, other_labels, skipped: found.skipped })
}

/// The pictures that can be read, and the classes without one to learn from.
fn checked(path: &Path, rule: &SplitRule) -> Result<(Found, Vec<EmptyClass>), DatasetError> {
    rule.check()?;
    let mut found = found(path, &layout(path)?)?;
    let unreadable = take_unreadable(&mut found);
    refuse_unwritable_names(path, &found)?;
    refuse_collisions(&found.labels)?;
    let empty = empty_classes(&found, &unreadable);
    Ok((found, empty))
}

fn refuse_one_class(path: &Path, found: &Found) -> Result<(), DatasetError> {
    let actual = found.labels.len();
    if actual < 2 { Err(DatasetError::Classes { path: path.to_owned(), actual }) } else { Ok(()) }
}

/// The data set, with the splits that it does not come with made.
fn in_splits(path: &Path, mut found: Found, rule: &SplitRule) -> Dataset {
    let root = if path.is_file() { path.parent().unwrap_or(Path::new("")) } else { path };
    let hash = hash(root, &found);
    let (train, classes) = (&mut found.train, found.labels.len());
    let mut held_out = |share, purpose| split::hold_out(train, classes, share, purpose, rule);
    let test = found.test.unwrap_or_else(|| held_out(rule.test, split::Purpose::Test));
    let validation =
        found.validation.unwrap_or_else(|| held_out(rule.validation, split::Purpose::Validation));
    Dataset {
        root: root.to_owned(),
        source: path.to_owned(),
        labels: found.labels,
        parts: found.parts,
        field_marks: found.field_marks,
        train: found.train,
        validation,
        test,
        skipped: found.skipped,
        hash,
    }
}

/// What the files in `path` are; `path` itself may be a list.
fn layout(path: &Path) -> Result<Layout, DatasetError> {
    if path.is_file() {
        let is_list = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        let list = is_list.then(|| Layout::List(path.to_owned()));
        return list.ok_or_else(|| DatasetError::File { path: path.to_owned() });
    }
    if let Some(list) = list::in_folder(path)? {
        return Ok(Layout::List(list));
    }
    Ok(match aircraft::lists(path) {
        Some(folder) => Layout::Aircraft(folder),
        None if path.join("images.txt").is_file() => Layout::Cub,
        None if cars::is_there(path) => Layout::Cars,
        None if flowers::is_there(path) => Layout::Flowers,
        None => Layout::Folders,
    })
}

fn found(path: &Path, layout: &Layout) -> Result<Found, DatasetError> {
    match layout {
        Layout::List(list) => list::read(list),
        Layout::Cub => cub::read(path),
        Layout::Aircraft(folder) => aircraft::read(folder),
        Layout::Cars => cars::read(path),
        Layout::Flowers => flowers::read(path),
        Layout::Folders => folder::read(path),
    }
}

/// The folder `name` in `root`; some archives hold it once more inside itself. `archive` is what brings it.
fn folder_of_pictures(root: &Path, name: &str, archive: &'static str) -> Result<PathBuf, DatasetError> {
    let path = root.join(name);
    let inner = path.join(name);
    match () {
        () if inner.is_dir() => Ok(inner),
        () if path.is_dir() => Ok(path),
        () => Err(DatasetError::Missing { path, archive }),
    }
}

/// A list names pictures below its folder; anything else would not be found again where the folder has moved.
fn is_below(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

impl Dataset {
    /// A file's name inside the data set, folders divided by `/` on every system.
    pub fn name(&self, file: &Path) -> String {
        name_below(&self.root, file)
    }
}

fn name_below(root: &Path, file: &Path) -> String {
    let below = file.strip_prefix(root).unwrap_or(file);
    let names: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    names.join("/")
}

/// Checks every file's header on all cores; what is no picture goes to `skipped`. Returns those of the training split, with
/// their classes.
fn take_unreadable(found: &mut Found) -> Vec<(usize, Skipped)> {
    let [train, validation, test] = [Some(&mut found.train), found.validation.as_mut(), found.test.as_mut()]
        .map(|samples| {
            let samples = samples?;
            let checked: Vec<Option<String>> =
                samples.par_iter().map(|sample| refusal(&sample.path)).collect();
            let (mut reasons, mut unreadable) = (checked.into_iter(), Vec::new());
            samples.retain(|sample| match reasons.next().flatten() {
                Some(reason) => {
                    unreadable.push((sample.class, Skipped { path: sample.path.clone(), reason }));
                    false
                }
                None => true,
            });
            Some(unreadable)
        });
    let of_training = train.unwrap_or_default();
    let others = [validation, test].into_iter().flatten().flatten();
    found.skipped.extend(others.chain(of_training.iter().cloned()).map(|(_, skipped)| skipped));
    found.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    of_training
}

/// Why a file is no picture, judged by its first bytes; `None` if it may well be one.
fn refusal(path: &Path) -> Option<String> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Some(error.to_string()),
    };
    if !metadata.is_file() {
        return Some("not a regular file".to_owned());
    }
    if metadata.len() == 0 {
        return Some("an empty file".to_owned());
    }
    let reader = match image::ImageReader::open(path) {
        Ok(mut reader) => {
            // A name's ending says nothing: only what the bytes begin with counts.
            reader.clear_format();
            reader.with_guessed_format()
        }
        Err(error) => Err(error),
    };
    let reader = match reader {
        Ok(reader) => reader,
        Err(error) => return Some(error.to_string()),
    };
    match reader.format() {
        Some(image::ImageFormat::Jpeg | image::ImageFormat::Png) => match reader.into_dimensions() {
            Ok((0, _) | (_, 0)) => Some("a picture without pixels".to_owned()),
            Ok(_) => None,
            Err(error) => Some(format!("damaged: {error}")),
        },
        _ => Some("not a JPEG or PNG picture".to_owned()),
    }
}

/// Names go into JSON files, which hold Unicode.
fn refuse_unwritable_names(root: &Path, found: &Found) -> Result<(), DatasetError> {
    let held_out = [found.validation.as_ref(), found.test.as_ref()];
    let samples = held_out.into_iter().flatten().chain([&found.train]).flatten();
    let mut paths = samples.map(|sample| sample.path.as_path()).chain([root]);
    match paths.find(|path| path.to_str().is_none()) {
        Some(path) => Err(DatasetError::Name { path: path.to_owned() }),
        None => Ok(()),
    }
}

/// Letters' case and outer spaces removed: what some file systems and people cannot tell apart.
fn folded(name: &str) -> String {
    name.trim().to_uppercase().to_lowercase()
}

fn refuse_collisions(labels: &[String]) -> Result<(), DatasetError> {
    let mut seen = std::collections::BTreeMap::new();
    for label in labels {
        if let Some(first) = seen.insert(folded(label), label) {
            return Err(DatasetError::Collision { first: first.clone(), second: label.clone() });
        }
    }
    Ok(())
}

fn empty_classes(found: &Found, unreadable: &[(usize, Skipped)]) -> Vec<EmptyClass> {
    let mut pictures = vec![0_usize; found.labels.len()];
    for sample in &found.train {
        pictures[sample.class] += 1;
    }
    let empty = (0..pictures.len()).filter(|&class| pictures[class] == 0);
    let of_class = |class: usize| {
        let files = unreadable.iter().filter(|(of, _)| *of == class).map(|(_, skipped)| skipped.clone());
        EmptyClass { label: found.labels[class].clone(), files: files.collect() }
    };
    empty.map(of_class).collect()
}

/// Over the labels, then each picture's name, class and size, sorted by name.
fn hash(root: &Path, found: &Found) -> String {
    let splits = [Some(&found.train), found.validation.as_ref(), found.test.as_ref()];
    let mut lines: Vec<String> = splits
        .into_iter()
        .flatten()
        .flatten()
        .map(|sample| {
            let bytes = std::fs::metadata(&sample.path).map_or(0, |metadata| metadata.len());
            format!("{}\t{}\t{bytes}\n", name_below(root, &sample.path), sample.class)
        })
        .collect();
    lines.sort_unstable();
    let mut hash = Sha256::new();
    for label in &found.labels {
        hash.update(label);
        hash.update("\n");
    }
    hash.update(lines.concat());
    hexadecimal(&hash.finalize())
}
