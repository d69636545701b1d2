//! What a run measures of itself, a line an epoch.

use serde::{Deserialize, Serialize};

use crate::run::records::{EpochMetrics, SCHEMA};

/// An epoch and what it reached on the validation split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// 0-based.
    pub epoch: usize,
    /// Share of the validation pictures answered rightly, 0..=1.
    pub accuracy: f64,
    /// Mean cross-entropy on them.
    pub cross_entropy: f64,
}

/// Sums over the pictures of an epoch; divided by `pictures` they are its means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Pictures seen.
    pub pictures: usize,
    /// Of them answered rightly, as augmented.
    pub correct: usize,
    /// Cross-entropy of the head.
    pub cross_entropy: f64,
    /// `L_dis`.
    pub discriminality: f64,
    /// `L_div` of the paper: the mean of h.
    pub diversity: f64,
    /// Class mean of h/xi.
    pub coverage: f64,
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
    /// Training pictures a second of wall time.
    pub images_per_second: f64,
}

impl EpochSums {
    /// The mean of a sum over the pictures so far.
    fn mean(&self, sum: f64) -> f64 {
        sum / self.pictures.max(1) as f64
    }

    /// The epoch's record.
    pub fn metrics(&self, validation: Best, pace: Pace) -> EpochMetrics {
        EpochMetrics {
            schema: SCHEMA,
            epoch: validation.epoch,
            step: pace.step,
            rate: pace.rate,
            mu: pace.mu,
            cross_entropy: self.mean(self.cross_entropy),
            discriminality: self.mean(self.discriminality),
            diversity: self.mean(self.diversity),
            coverage: self.mean(self.coverage),
            train_accuracy: self.mean(self.correct as f64),
            validation_accuracy: validation.accuracy,
            validation_cross_entropy: validation.cross_entropy,
            images_per_second: pace.images_per_second,
            peak_memory_mib: peak_memory_mib(),
        }
    }

    /// What the progress bar says in the middle of an epoch.
    pub fn message(&self) -> String {
        let loss = self.mean(self.cross_entropy);
        format!("loss {loss:.3}, {:.1} % right", 100.0 * self.mean(self.correct as f64))
    }
}

impl EpochMetrics {
    /// The epoch in one line for a person.
    pub fn line(&self, epochs: usize) -> String {
        format!(
            "epoch {:>3}/{epochs}  CE {:.3}  L_dis {:.3}  coverage {:.2}  train {:5.1} %  validation {:5.1} %  {:.0} pictures/s",
            self.epoch + 1,
            self.cross_entropy,
            self.discriminality,
            self.coverage,
            100.0 * self.train_accuracy,
            100.0 * self.validation_accuracy,
            self.images_per_second,
        )
    }
}

/// The largest resident memory of this process so far in MiB, where the system says (Linux).
pub fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
