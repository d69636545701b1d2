//! `metrics.jsonl`.

use serde::{Deserialize, Serialize};

use crate::run::metrics::{Best, EpochSums, peak_memory_mib};
use crate::run::records::{Places, SCHEMA};

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
    /// Where the channels of the validation split's right answers have their peaks; none without a right answer. Pictures are
    /// not moved for it.
    pub places: Option<Places>,
    /// On the augmented training pictures, 0..=1.
    pub train_accuracy: f64,
    /// On the validation split, 0..=1.
    pub validation_accuracy: f64,
    /// On the validation split.
    pub validation_cross_entropy: f64,
    /// Training pictures a second of wall time, validation not counted; `None` where an epoch was resumed after its last step.
    pub images_per_second: Option<f64>,
    /// The process's largest resident memory so far, MiB; `None` where the system does not say.
    pub peak_memory_mib: Option<f64>,
}

/// Where the schedules stand at the end of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Steps done since the run began.
    pub step: usize,
    /// The backbone's learning rate.
    pub rate: f64,
    /// mu.
    pub mu: f64,
    /// Training pictures a second of wall time; `None` where no step was left.
    pub images_per_second: Option<f64>,
}

impl EpochMetrics {
    /// The record of an epoch that has ended.
    pub fn of(sums: &EpochSums, validation: Best, places: Option<Places>, pace: Pace) -> EpochMetrics {
        EpochMetrics {
            schema: SCHEMA,
            epoch: validation.epoch,
            step: pace.step,
            rate: pace.rate,
            mu: pace.mu,
            cross_entropy: sums.mean(sums.cross_entropy),
            discriminality: sums.mean(sums.discriminality),
            diversity: sums.mean(sums.diversity),
            coverage: sums.mean(sums.coverage),
            places,
            train_accuracy: sums.mean(sums.correct as f64),
            validation_accuracy: validation.accuracy,
            validation_cross_entropy: validation.cross_entropy,
            images_per_second: pace.images_per_second,
            peak_memory_mib: peak_memory_mib(),
        }
    }

    /// The epoch in one line for a person.
    pub fn line(&self, epochs: usize) -> String {
        let speed = self.images_per_second.map_or(String::new(), |speed| format!("  {speed:.0} pictures/s"));
        format!(
            "epoch {:>3}/{epochs}  CE {:.3}  L_dis {:.3}  coverage {:.2}  train {:5.1} %  validation {:5.1} %{speed}",
            self.epoch + 1,
            self.cross_entropy,
            self.discriminality,
            self.coverage,
            100.0 * self.train_accuracy,
            100.0 * self.validation_accuracy,
        )
    }
}
