//! Why a run folder cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::data::dataset::DatasetError;
use crate::net::network::NetworkError;
use crate::remedy::remedy;
use crate::run::checkpoint::CheckpointError;

/// Why a run folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file of the folder cannot be read or written.
    #[error("cannot {act} {}: {source}; {}", path.display(), remedy(act, source))]
    File {
        /// "read" or "write".
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder holds another run.
    #[error(
        "{} holds a run with other {what}; choose another folder, or delete this one to start again",
        path.display()
    )]
    OtherRun {
        /// The run folder.
        path: PathBuf,
        /// "settings", with the first that differs, or "pictures, or another split of them".
        what: String,
    },
    /// The folder is used for something else.
    #[error(
        "{} holds {}, which no run of this program wrote; choose a new folder",
        path.display(),
        file.display()
    )]
    Taken {
        /// The folder.
        path: PathBuf,
        /// The first foreign file in it.
        file: PathBuf,
    },
    /// The folder is no run's, but one in it is.
    #[error("{} is not the folder of a run; the run is in {}: name that folder", path.display(), run.display())]
    Outer {
        /// The folder.
        path: PathBuf,
        /// The run's folder in it.
        run: PathBuf,
    },
    /// The folder lies among the pictures.
    #[error("{} lies inside the pictures' folder, where it would count as a class; choose a folder elsewhere", path.display())]
    AmongPictures {
        /// The run folder.
        path: PathBuf,
    },
    /// Another program trains in the folder.
    #[error("another program is training in {}; wait for it, or choose another folder", path.display())]
    Busy {
        /// The run folder.
        path: PathBuf,
    },
    /// The pictures are not those of the run.
    #[error(
        "the pictures in {} are not those that the run was trained on, or are split differently (hash {actual}, \
         expected {expected}); name the folder that holds them, unchanged",
        path.display()
    )]
    OtherPictures {
        /// The data set's folder.
        path: PathBuf,
        /// The run's data set hash.
        expected: String,
        /// The folder's.
        actual: String,
    },
    /// A record is no JSON.
    #[error("{} is not complete JSON: {source}; it is damaged: replace it by a whole one, or make it again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        source: serde_json::Error,
    },
    /// A record has another form than this version's.
    #[error("{} is not of this version of the program ({reason}); make it again, or delete it", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Its checkpoint is missing, broken or does not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The pictures cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Its network cannot be built.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// A [`FolderError::File`] of this file.
pub(crate) fn in_file(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::File { act, path, source }
}
