//! Why a MATLAB file cannot be read.

/// A file, and what it inflates to, bytes. The largest of the known lists has 2 MB.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// Why a file is no list of a known data set.
#[derive(Debug, thiserror::Error)]
pub enum MatError {
    /// Another kind of file, or another byte order or version of it.
    #[error(
        "expected a MATLAB file of level 5, got {actual}; copy it again from its source, or in MATLAB save it with -v7"
    )]
    Kind {
        /// What it looks like.
        actual: String,
    },
    /// More bytes than a list of pictures has.
    #[error("expected at most {MAX_BYTES} bytes, inflated, got more; copy it again from its source")]
    Size,
    /// The file's bytes do not fit together.
    #[error("damaged at byte {at}: expected {expected}; copy it again from its source")]
    Damaged {
        /// Place in the file, or in the compressed part.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
}
