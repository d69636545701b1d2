//! Files that are whole or absent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes `bytes` under `path` so that a reader, a full disk or a power cut never meets half a file: into a
/// temporary file beside it, synced, renamed over `path`, and the folder synced too.
///
/// A link is followed: the file it leads to is replaced, not the link.
///
/// # Errors
/// The operating system's, and a `path` that is a folder, pipe or device; with nothing left behind and an earlier
/// `path` untouched.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let resolved = if path.is_symlink() { fs::canonicalize(path)? } else { path.to_owned() };
    let path = resolved.as_path();
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "something that is no regular file is there",
        ));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.part", std::process::id()));
    let beside = folder.join(beside);
    // Opened before anything is changed: a rename lives in the folder, which has to be synced too.
    #[cfg(unix)]
    let opened = File::open(folder)?;
    let written = write_synced(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    // Not every file system lets a folder be synced; the file is in place all the same.
    #[cfg(unix)]
    let _ = opened.sync_all();
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_leftovers() {
        let folder = std::env::temp_dir().join(format!("fieldmark-file-{}", std::process::id()));
        fs::create_dir_all(folder.join("taken/inside")).unwrap();
        let path = folder.join("kept");
        write_whole(&path, b"first").unwrap();
        write_whole(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert!(write_whole(&folder.join("taken"), b"a folder is in the way").is_err());
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["kept", "taken"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
