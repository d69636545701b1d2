//! Why a folder is no data set.

use std::io;
use std::path::PathBuf;

use super::{MatError, Skipped};

/// Why a folder is no data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The system cannot read a file or folder.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Read {
        /// File or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Fewer than two classes.
    #[error(
        "{} has {actual} class folder(s) with pictures, but a classifier needs at least 2; make one folder per class, with its \
         JPEG or PNG pictures inside", path.display()
    )]
    Classes {
        /// The folder.
        path: PathBuf,
        /// Classes found.
        actual: usize,
    },
    /// Classes without a single readable training picture.
    #[error(
        "no readable training picture for {}: put JPEG or PNG pictures into each, or remove the class{}",
        listed(names), first_reason(reason.as_ref())
    )]
    EmptyClass {
        /// The classes.
        names: Vec<String>,
        /// Why the first file met there is not used.
        reason: Option<Skipped>,
    },
    /// Two class names that differ only by case or spaces at the ends.
    #[error("the classes {first:?} and {second:?} differ only by case or outer spaces: rename or merge them")]
    Collision {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// Held-out classes without training pictures.
    #[error("{} has classes that train does not have: {}; rename them as in train, or add training pictures", path.display(), names.join(", "))]
    Untrained {
        /// The split's folder.
        path: PathBuf,
        /// The classes.
        names: Vec<String>,
    },
    /// Folders that look like splits, under names that are not known as such.
    #[error(
        "{} has the folders {first:?} and {second:?} with the same class folders in each: if they are splits, call \
         them train, val and test", path.display()
    )]
    HiddenSplits {
        /// The data set's folder.
        path: PathBuf,
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A folder's or file's name is not Unicode.
    #[error("the name {} is not valid Unicode: rename it", path.display())]
    Name {
        /// The folder or file.
        path: PathBuf,
    },
    /// A file that is no list.
    #[error(
        "{} is a file, expected a folder of pictures or a list of them that ends in .csv: name one of these",
        path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
    },
    /// Two lists in one folder.
    #[error("{} and {} are both lists of pictures: name one of them", first.display(), second.display())]
    Lists {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A published set's lists are there, its pictures are not.
    #[error("the pictures are not in {}: unpack {archive} there", path.display())]
    Missing {
        /// The folder that they belong into.
        path: PathBuf,
        /// What brings them.
        archive: &'static str,
    },
    /// A MATLAB file cannot be read.
    #[error("{}: {source}", path.display())]
    Mat {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MatError,
    },
    /// An entry of a file without lines does not say what it should.
    #[error("{}: {place}: expected {expected}; correct it, or copy the file again from its source", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The variable, its entry counted from 1, its field.
        place: String,
        /// What should stand there, and what does.
        expected: String,
    },
    /// A line of a list or table does not say what it should.
    #[error(
        "{}:{line}: expected {expected}, got {actual:?}; correct the line, or copy the file again from its source",
        path.display()
    )]
    Table {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        actual: String,
    },
    /// Shares that leave nothing, or make no sense.
    #[error("validation {validation} and test {test}: each must be at least 0, together below 1")]
    Shares {
        /// Share asked for.
        validation: f64,
        /// Share asked for.
        test: f64,
    },
    /// The grouping character leaves nothing to split.
    #[error(
        "grouping by {by:?} puts all {pictures} pictures into {groups} group(s), a split needs at least 3: choose another character, or none"
    )]
    Groups {
        /// The character.
        by: char,
        /// Pictures.
        pictures: usize,
        /// Groups.
        groups: usize,
    },
}

/// Names, not more than can be read.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more classes", names[..SHOWN].join(", ")),
    }
}

fn first_reason(reason: Option<&Skipped>) -> String {
    reason.map_or_else(String::new, |skipped| format!(" ({}: {})", skipped.path.display(), skipped.reason))
}
