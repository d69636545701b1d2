//! Why a folder is no data set.

use std::io;
use std::path::PathBuf;

use super::Skipped;

/// Why a folder is no data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The system cannot read a file or folder.
    #[error("cannot read {}: {source}; check the path and who may read it", path.display())]
    Read {
        /// File or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Fewer than two classes.
    #[error(
        "{} has {actual} class folder(s) with pictures, a classifier needs at least 2: make one folder a class, with its \
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
        names.join(", "), first_reason(reason.as_ref())
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
    #[error("{} has classes that train has not: {}; rename them as in train, or add training pictures", path.display(), names.join(", "))]
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
    /// A line of a CUB table does not say what it should.
    #[error("{}:{line}: expected {expected}, got {actual:?}", path.display())]
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

fn first_reason(reason: Option<&Skipped>) -> String {
    reason.map_or_else(String::new, |skipped| format!(" ({}: {})", skipped.path.display(), skipped.reason))
}
