//! What decides a run's result, apart from the pictures.

use fieldmark::frame::ResizeRule;
use fieldmark::model::{Input, MAX_INPUT_SIDE};
use serde::{Deserialize, Serialize};

use crate::data::batch::{Augment, Crop, Sampling};
use crate::data::dataset::SplitRule;
use crate::net::device::Precision;
use crate::net::mc_loss::{Factors, Keep};
use crate::net::network::{ClassLayer, NetworkConfig, Norms};
use crate::net::weights::Start;

/// Everything that decides a run's result, apart from the pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Decides weights, order, augmentation, masks and dropout.
    pub seed: u64,
    /// How the data set is split where it does not come split.
    pub split: SplitRule,
    /// Backbone, class-aligned layer, head.
    pub network: NetworkConfig,
    /// The weights that the backbone begins with; `None`: random ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<Start>,
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
    /// Of the maps between layers.
    pub precision: Precision,
}

/// The factors of `L = L_CE + mu (L_dis - lambda L_div)` and their schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossConfig {
    /// mu and lambda of the paper, and whose diversity it is.
    pub mc: Factors,
    /// Which layers learn by the diversity.
    #[serde(default)]
    pub diversity_reach: Reach,
    /// Channels a class that the CWA mask keeps.
    pub keep: Keep,
    /// mu rises linearly from zero over this many epochs.
    pub mu_warm_up_epochs: f64,
    /// Share of the target spread evenly over all classes, in the cross-entropy of the head.
    pub label_smoothing: f64,
}

/// Which layers learn by the diversity term of MC-Loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Reach {
    /// All, as in the paper
    #[default]
    Network,
    /// The class-aligned layer alone: not in the paper. A backbone that learns by it learns to tell the place in the picture
    ClassLayer,
}

/// Everything the optimiser is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimConfig {
    /// Peak learning rate of the backbone.
    pub rate: f64,
    /// The class-aligned layer and the head learn this many times faster than the backbone.
    pub head_factor: f64,
    /// For this many epochs at the start only they learn, so that what they do not know yet does not spoil pretrained
    /// weights.
    pub head_first_epochs: f64,
    /// What the backbone's batch normalisations do.
    pub norms: Norms,
    /// Momentum in 0..1.
    pub momentum: f64,
    /// Nesterov's form of momentum.
    pub nesterov: bool,
    /// L2 decay of weights; scales, shifts and biases are not decayed.
    pub weight_decay: f64,
    /// Linear rise of the rate over this many epochs.
    pub warm_up_epochs: f64,
    /// The fall after it.
    pub schedule: Schedule,
    /// Decay a step of the running average of weights that is evaluated, in 0..1; 0: the weights themselves are.
    pub average: f64,
}

/// How the learning rate falls after the warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Half a cosine from the full rate to zero at the last step.
    Cosine,
    /// Times `factor` when each of `at` (shares of the run in 0..1) has passed.
    Step {
        /// Shares of the run, rising.
        at: Vec<f64>,
        /// What the rate is multiplied by at each.
        factor: f64,
    },
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {actual}, expected {expected}")]
pub struct ConfigError {
    /// The setting's name in `config.json`, its sections before it: `optim.rate`.
    pub what: &'static str,
    /// Its range.
    pub expected: String,
    /// Its value.
    pub actual: String,
}

impl Config {
    /// How a picture becomes the network's input.
    pub fn input(&self) -> Input {
        Input { side: self.side, resize: self.resize }
    }

    /// Refuses settings that would fail, or silently mean something else, hours later.
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let (loss, optim, augment) = (&self.loss, &self.optim, &self.augment);
        in_range("side", "1 to 4096", self.side, (1..=MAX_INPUT_SIDE).contains(&self.side))?;
        in_range("batch", "at least 1", self.batch, self.batch >= 1)?;
        in_range("epochs", "at least 1", self.epochs, self.epochs >= 1)?;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        let share = |value: f64| (0.0..=1.0).contains(&value);
        in_range("optim.rate", "above 0", optim.rate, positive(optim.rate))?;
        in_range("optim.head_factor", "above 0", optim.head_factor, positive(optim.head_factor))?;
        in_range(
            "optim.head_first_epochs",
            "at least 0",
            optim.head_first_epochs,
            not_negative(optim.head_first_epochs),
        )?;
        in_range("optim.weight_decay", "at least 0", optim.weight_decay, not_negative(optim.weight_decay))?;
        in_range(
            "optim.warm_up_epochs",
            "at least 0",
            optim.warm_up_epochs,
            not_negative(optim.warm_up_epochs),
        )?;
        in_range("optim.average", "0 to below 1", optim.average, (0.0..1.0).contains(&optim.average))?;
        in_range("optim.momentum", "0 to below 1", optim.momentum, (0.0..1.0).contains(&optim.momentum))?;
        if let Schedule::Step { at, factor } = &optim.schedule {
            in_range("optim.schedule", "a factor above 0 to 1", factor, *factor > 0.0 && share(*factor))?;
            let rise = at.iter().all(|&at| share(at)) && at.is_sorted();
            in_range("optim.schedule", "shares of the run, rising", format!("{at:?}"), rise)?;
        }
        let patience = self.patience.unwrap_or(1);
        in_range("patience", "at least 1", patience, patience >= 1)?;
        in_range("loss.mc.mu", "at least 0", loss.mc.mu, not_negative(loss.mc.mu))?;
        in_range("loss.mc.lambda", "at least 0", loss.mc.lambda, not_negative(loss.mc.lambda))?;
        in_range(
            "loss.mu_warm_up_epochs",
            "at least 0",
            loss.mu_warm_up_epochs,
            not_negative(loss.mu_warm_up_epochs),
        )?;
        in_range("loss.label_smoothing", "0 to 1", loss.label_smoothing, share(loss.label_smoothing))?;
        in_range("augment.flip", "0 to 1", augment.flip, share(augment.flip))?;
        for (what, value) in [
            ("augment.brightness", augment.brightness),
            ("augment.contrast", augment.contrast),
            ("augment.saturation", augment.saturation),
        ] {
            in_range(what, "0 to 1", value, share(f64::from(value)))?;
        }
        match augment.crop {
            Crop::Whole => Ok(()),
            Crop::Part { area: [low, high], ratio: [narrow, wide] } => {
                let rising = |low: f32, high: f32| low > 0.0 && low <= high && high.is_finite();
                let is_area = rising(low, high) && high <= 1.0;
                in_range("augment.crop.area", "above 0 to 1, rising", format!("{low}, {high}"), is_area)?;
                let is_ratio = rising(narrow, wide);
                in_range("augment.crop.ratio", "above 0, rising", format!("{narrow}, {wide}"), is_ratio)
            }
            Crop::Shifted { by } => in_range("augment.crop.by", "0 to 1", by, share(f64::from(by))),
        }?;
        let class_layer = self.network.class_layer;
        let has_class_layer = !matches!(class_layer, ClassLayer::Native | ClassLayer::Allot);
        in_range(
            "loss.diversity_reach",
            "network, where the class-aligned channels are the backbone's own",
            "class-layer",
            has_class_layer || loss.diversity_reach == Reach::Network,
        )?;
        match (loss.keep, class_layer) {
            // With `allot` xi follows from the backbone's width; the mask itself refuses what does not fit.
            (Keep::Half, _) | (Keep::Count(_), ClassLayer::Allot) => Ok(()),
            (Keep::Count(count), _) => {
                let expected = format!("1 to xi ({})", self.network.xi);
                in_range("loss.keep", &expected, count, (1..=self.network.xi).contains(&count))
            }
        }
    }
}

fn in_range(
    what: &'static str,
    expected: &str,
    actual: impl std::fmt::Display,
    is_inside: bool,
) -> Result<(), ConfigError> {
    if is_inside {
        return Ok(());
    }
    Err(ConfigError { what, expected: expected.to_owned(), actual: actual.to_string() })
}

impl LossConfig {
    /// The paper's loss, without a warm-up and without label smoothing.
    pub fn paper(mc: Factors) -> LossConfig {
        LossConfig {
            mc,
            diversity_reach: Reach::Network,
            keep: Keep::Half,
            mu_warm_up_epochs: 0.0,
            label_smoothing: 0.0,
        }
    }

    /// mu of a step (0-based), with its warm-up.
    pub fn mu_at(&self, step: usize, steps_per_epoch: usize) -> f64 {
        let warm_up = self.mu_warm_up_epochs * steps_per_epoch as f64;
        if warm_up > 0.0 { self.mc.mu * (step as f64 / warm_up).min(1.0) } else { self.mc.mu }
    }
}
