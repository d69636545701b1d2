//! What to do when the system refuses a file.

use std::io::{Error, ErrorKind};

/// The end of a message about a run's file that could not be read or written.
pub fn remedy(act: &str, error: &Error) -> String {
    let remedy = file_remedy(act, error);
    match (act, error.kind()) {
        ("write", ErrorKind::NotFound) => {
            "its folder is gone; put it back and the same command resumes the run, or train again".to_owned()
        }
        ("write", _) => {
            format!("{remedy}; the last checkpoint is whole, and the same command resumes from it")
        }
        _ => remedy.to_owned(),
    }
}

/// The end of a message about any file that could not be read or written.
pub fn file_remedy(act: &str, error: &Error) -> &'static str {
    match error.kind() {
        // Of its text, not of the disk.
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
            "it is damaged; replace it by a whole one, or make it again"
        }
        _ if act != "write" => "check that it exists and may be read",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => "make room",
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "make it writable, or choose another folder"
        }
        ErrorKind::NotFound => "its folder does not exist; create it",
        _ => "check the disk",
    }
}
