//! What a run measures of itself while it trains: sums over an epoch, and what an epoch reached.

use serde::{Deserialize, Serialize};

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

impl EpochSums {
    /// The mean of a sum over the pictures so far.
    pub(in crate::run) fn mean(&self, sum: f64) -> f64 {
        sum / self.pictures.max(1) as f64
    }

    /// What the progress bar says in the middle of an epoch.
    pub fn message(&self) -> String {
        let loss = self.mean(self.cross_entropy);
        format!("loss {loss:.3}, {:.1} % right", 100.0 * self.mean(self.correct as f64))
    }
}

/// The largest resident memory of this process so far in MiB, where the system says (Linux).
pub fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
