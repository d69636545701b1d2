//! Stochastic gradient descent with momentum: schedules, parameter groups, state.

use std::f64::consts::PI;

use candle_core::{Result, Tensor, Var};

use crate::net::layer::{ParamKind, Params, is_head};
use crate::net::ops::{Gradients, SgdStep, Update, sgd_steps};
use crate::run::checkpoint::Velocities;
use crate::run::config::{OptimConfig, Schedule};

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
    pub velocities: Velocities,
}

impl Sgd {
    /// An optimiser that has made no step.
    pub fn new(config: OptimConfig) -> Sgd {
        Sgd { config, velocities: Velocities::new() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::network::{Norms, build};
    use crate::run::recipe::Recipe;

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
