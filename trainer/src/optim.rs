//! Stochastic gradient descent with momentum: schedules, parameter groups, state.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use candle_core::{Result, Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::layer::{ParamKind, Params};
use crate::ops::{Gradients, SgdStep, Update, sgd_steps};

/// How the learning rate falls after the warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

/// Everything the optimiser is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimConfig {
    /// Peak learning rate of the backbone.
    pub rate: f64,
    /// The class-aligned layer and the head learn this many times faster than the backbone.
    pub head_factor: f64,
    /// For this many epochs at the start only they learn, so that what they do not know yet does not spoil pretrained
    /// weights.
    #[serde(default)]
    pub head_first_epochs: f64,
    /// What the backbone's batch normalisations do.
    #[serde(default)]
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
    #[serde(default)]
    pub average: f64,
}

/// What the backbone's batch normalisations do in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norms {
    /// They normalise by each batch's own statistics, and learn.
    #[default]
    Learn,
    /// They keep the statistics, scales and shifts that came with pretrained weights: those are of more places than a
    /// small photo set was taken in.
    Keep,
}

/// The learning rates of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Of the backbone; 0 while it waits.
    pub backbone: f64,
    /// Of class-aligned layer and head.
    pub head: f64,
}

/// The learning rates of `step` (0-based) in a run of `steps` with `steps_per_epoch` each epoch.
pub fn rates(config: &OptimConfig, step: usize, steps: usize, steps_per_epoch: usize) -> Rates {
    let rate = rate(config, step, steps, steps_per_epoch);
    let waits = (step as f64) < config.head_first_epochs * steps_per_epoch as f64;
    Rates { backbone: if waits { 0.0 } else { rate }, head: rate * config.head_factor }
}

fn rate(config: &OptimConfig, step: usize, steps: usize, steps_per_epoch: usize) -> f64 {
    let warm_up = config.warm_up_epochs * steps_per_epoch as f64;
    let at = step as f64;
    if at < warm_up {
        return config.rate * (at + 1.0) / (warm_up + 1.0);
    }
    let gone = (at - warm_up) / (steps as f64 - warm_up).max(1.0);
    match &config.schedule {
        Schedule::Cosine => config.rate * 0.5 * (1.0 + (PI * gone.min(1.0)).cos()),
        Schedule::Step { at: shares, factor } => {
            let passed = shares.iter().filter(|share| at / steps as f64 >= **share).count();
            config.rate * factor.powi(passed as i32)
        }
    }
}

/// Stochastic gradient descent with one velocity a parameter.
pub struct Sgd {
    config: OptimConfig,
    /// Running sum of gradients, by parameter name; absent until the first step.
    pub velocities: BTreeMap<String, Var>,
}

impl Sgd {
    /// An optimiser that has made no step.
    pub fn new(config: OptimConfig) -> Sgd {
        Sgd { config, velocities: BTreeMap::new() }
    }

    /// One step in place over every weight of `params` that has a gradient and a rate above 0.
    ///
    /// # Errors
    /// candle's, if a gradient does not fit its parameter.
    pub fn step(&mut self, params: &Params, gradients: &Gradients, rates: Rates) -> Result<()> {
        let mut learning = Vec::new();
        for (name, weight) in &params.weights {
            if !self.velocities.contains_key(name) {
                // v = mu * 0 + g: the first step of torch.optim.SGD. Weights that wait have one, too: a checkpoint of
                // all weights is a whole one.
                let zero = Var::from_tensor(&Tensor::zeros_like(weight.var.as_tensor())?)?;
                self.velocities.insert(name.clone(), zero);
            }
            let Some(gradient) = gradients.get(weight.var.as_tensor()) else { continue };
            let rate = if is_head(name) { rates.head } else { rates.backbone };
            if rate > 0.0 {
                learning.push((name, weight, gradient, rate));
            }
        }
        let updates = learning.into_iter().map(|(name, weight, gradient, rate)| Update {
            param: &weight.var,
            velocity: &self.velocities[name],
            gradient,
            step: self.numbers(weight.kind, rate),
        });
        sgd_steps(&updates.collect::<Vec<_>>())
    }

    /// What a step does with one parameter.
    fn numbers(&self, kind: ParamKind, rate: f64) -> SgdStep {
        SgdStep {
            rate,
            momentum: self.config.momentum,
            nesterov: self.config.nesterov,
            weight_decay: match kind {
                ParamKind::Weight => self.config.weight_decay,
                _ => 0.0,
            },
        }
    }
}

/// Whether a parameter belongs to the class-aligned layer or the head, which start untrained.
pub fn is_head(name: &str) -> bool {
    name.starts_with("class_aligned.") || name.starts_with("head.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::build;
    use crate::recipe::Recipe;

    fn config(schedule: Schedule) -> OptimConfig {
        OptimConfig {
            rate: 0.4,
            head_factor: 10.0,
            head_first_epochs: 0.0,
            norms: Norms::Learn,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            warm_up_epochs: 2.0,
            schedule,
            average: 0.0,
        }
    }

    #[test]
    fn cosine_rises_to_the_peak_and_ends_near_zero() {
        let config = config(Schedule::Cosine);
        let rates: Vec<f64> = (0..100).map(|step| rate(&config, step, 100, 10)).collect();
        assert!(rates[..20].windows(2).all(|pair| pair[0] < pair[1]));
        assert!((rates[20] - 0.4).abs() < 1e-12);
        assert!(rates[20..].windows(2).all(|pair| pair[0] > pair[1]));
        assert!(rates[99] < 1e-3);
    }

    #[test]
    fn weights_that_wait_have_a_velocity_too() {
        let network = build(&Recipe::Scratch.config().network, 2, 32, 0).unwrap();
        let mut sgd = Sgd::new(config(Schedule::Cosine));
        sgd.step(&network.params, &Gradients::default(), Rates { backbone: 0.0, head: 0.1 }).unwrap();
        assert!(sgd.velocities.keys().eq(network.params.weights.keys()));
    }

    #[test]
    fn the_backbone_waits_while_the_head_learns() {
        let config = OptimConfig { head_first_epochs: 1.5, ..config(Schedule::Cosine) };
        for step in 0..40 {
            let rates = rates(&config, step, 40, 10);
            assert!(rates.head > 0.0);
            let expected = if step < 15 { 0.0 } else { rates.head / 10.0 };
            assert!((rates.backbone - expected).abs() < 1e-12, "step {step}");
        }
    }

    #[test]
    fn steps_divide_the_rate_where_the_paper_does() {
        let paper = OptimConfig {
            warm_up_epochs: 0.0,
            ..config(Schedule::Step { at: vec![0.5, 0.75], factor: 0.1 })
        };
        for (epoch, expected) in [(0, 0.4), (149, 0.4), (150, 0.04), (224, 0.04), (225, 0.004)] {
            assert!((rate(&paper, epoch, 300, 1) - expected).abs() < 1e-9, "epoch {epoch}");
        }
    }
}
