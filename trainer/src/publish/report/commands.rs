//! What the report's readers type: this library knows no command line, the program that has one says its own.

/// Commands, and options of `train`, in whole words.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    /// Made this report.
    pub report: String,
    /// Measures the run on its test pictures.
    pub eval: String,
    /// Measures whether answers depend on what the cues show.
    pub faithfulness: String,
    /// Compares the scores for unknown pictures.
    pub unknown: String,
    /// Writes the run's model file.
    pub export: String,
    /// Stores weights in half the bytes.
    pub half: String,
    /// Puts a model file on a board.
    pub deploy: String,
    /// Fetches published weights.
    pub fetch: String,
    /// Lists all that is suspicious about pictures.
    pub lint: String,
    /// Shows the parts by their numbers.
    pub cues: String,
    /// Trains with a test split.
    pub test_split: String,
    /// Trains with splits for validation and test.
    pub splits: String,
    /// Before a number of epochs to train for.
    pub epochs: String,
    /// Changes training pictures more.
    pub changes: String,
    /// Channels a class.
    pub channels: String,
}
