//! What decides a run's result, apart from the pictures.

use fieldmark::frame::ResizeRule;
use serde::{Deserialize, Serialize};

use crate::batch::{Augment, Sampling};
use crate::dataset::SplitRule;
use crate::mc_loss::{Keep, Weights};
use crate::network::NetworkConfig;
use crate::optim::OptimConfig;

/// Everything that decides a run's result, apart from the pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Decides weights, order, augmentation, masks and dropout.
    pub seed: u64,
    /// How the data set is split where it does not come split.
    pub split: SplitRule,
    /// Backbone, class-aligned layer, head.
    pub network: NetworkConfig,
    /// Input side in pixels.
    pub side: u32,
    /// How a picture becomes the square input, on the board too.
    pub resize: ResizeRule,
    /// Random changes to training pictures.
    pub augment: Augment,
    /// Which pictures an epoch takes.
    pub sampling: Sampling,
    /// The losses.
    pub loss: LossConfig,
    /// The optimiser.
    pub optim: OptimConfig,
    /// Pictures a step; at least 1.
    pub batch: usize,
    /// Passes over the training split.
    pub epochs: usize,
    /// Stop after this many epochs without a better validation accuracy.
    pub patience: Option<usize>,
}

/// The weights of `L = L_CE + mu (L_dis - lambda L_div)` and their schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossConfig {
    /// mu and lambda of the paper.
    pub mc: Weights,
    /// Channels a class that the CWA mask keeps.
    pub keep: Keep,
    /// mu rises linearly from zero over this many epochs.
    pub mu_warm_up_epochs: f64,
    /// Share of the target spread evenly over all classes, in the cross-entropy of the head.
    pub label_smoothing: f64,
}

impl LossConfig {
    /// mu of a step (0-based), with its warm-up.
    pub fn mu_at(&self, step: usize, steps_per_epoch: usize) -> f64 {
        let warm_up = self.mu_warm_up_epochs * steps_per_epoch as f64;
        if warm_up > 0.0 { self.mc.mu * (step as f64 / warm_up).min(1.0) } else { self.mc.mu }
    }
}
