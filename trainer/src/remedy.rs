//! What to do when the system refuses a file.

use std::io::{Error, ErrorKind};

/// The end of a message about a file that could not be read or written.
pub fn remedy(act: &str, error: &Error) -> &'static str {
    match error.kind() {
        // Of its text, not of the disk.
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
            "it is damaged; put a whole one in its place, or make it anew"
        }
        _ if act != "write" => "check that it is there and may be read",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "make room; the last checkpoint is whole, and the same command goes on from it"
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "make it writable for the same command to go on, or choose another --out"
        }
        ErrorKind::NotFound => "its folder is gone; put it back for the same command to go on, or train anew",
        _ => "mend it; the last checkpoint is whole, and the same command goes on from it",
    }
}
