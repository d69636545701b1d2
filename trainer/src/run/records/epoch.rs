//! `metrics.jsonl`.

use serde::{Deserialize, Serialize};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Version of this record: 1.
    pub schema: u32,
    /// 0-based.
    pub epoch: usize,
    /// Steps done since the run began.
    pub step: usize,
    /// The backbone's learning rate at the epoch's last step.
    pub rate: f64,
    /// mu at the epoch's last step.
    pub mu: f64,
    /// Mean cross-entropy of the head over the epoch's pictures.
    pub cross_entropy: f64,
    /// Mean `L_dis`.
    pub discriminality: f64,
    /// Mean `L_div` of the paper, in 1..=xi.
    pub diversity: f64,
    /// Class mean of h/xi, in 1/xi..=1.
    pub coverage: f64,
    /// On the augmented training pictures, 0..=1.
    pub train_accuracy: f64,
    /// On the validation split, 0..=1.
    pub validation_accuracy: f64,
    /// On the validation split.
    pub validation_cross_entropy: f64,
    /// Training pictures a second of wall time, validation not counted.
    pub images_per_second: f64,
    /// The process's largest resident memory so far, MiB; `None` where the system does not say.
    pub peak_memory_mib: Option<f64>,
}
