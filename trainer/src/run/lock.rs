//! A run's folder belongs to one program at a time.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::data::dataset::Dataset;
use crate::run::error::{FolderError, in_file};
use crate::run::folder::{LOCK, place, refuse_taken};

/// Makes the run's folder, or takes an old one, for this program alone as long as the file is held.
///
/// # Errors
/// [`FolderError`]: a folder of somebody's other files or among the pictures, or another program in it.
pub fn claim(run: &Path, dataset: &Dataset) -> Result<File, FolderError> {
    refuse_taken(run)?;
    if place(run).starts_with(place(&dataset.root)) {
        return Err(FolderError::AmongPictures { path: run.to_owned() });
    }
    fs::create_dir_all(run).map_err(in_file("write", run))?;
    let path = run.join(LOCK);
    let lock = File::options().create(true).append(true).open(&path).map_err(in_file("write", &path))?;
    // Some file systems have no locks; a run there is as safe as its user is careful.
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return Err(FolderError::Busy { path: run.to_owned() });
    }
    Ok(lock)
}
