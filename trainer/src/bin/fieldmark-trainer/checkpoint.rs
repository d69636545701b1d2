//! Which of a run's two checkpoints a subcommand reads.

use fieldmark_trainer::run::folder;

/// The file's name, by `--last`.
pub fn chosen(last: bool) -> &'static str {
    if last { folder::LAST } else { folder::BEST }
}
