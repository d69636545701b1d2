//! A running average of the weights, which evaluation sees while training still wanders.
//!
//! Polyak and Juditsky (1992) average all steps alike; here each weighs `decay` times the one after it, and less at the
//! start, when there is little to remember.

use candle_core::{Result, Var};

use crate::net::layer::{Params, Weight};
use crate::net::network::Network;
use crate::net::ops::move_running;

/// A network whose parameters follow another's.
pub struct Average {
    /// As the trained one, with parameters of its own.
    pub network: Network,
    decay: f64,
}

impl Average {
    /// A copy of `network` to follow it; `None` if `decay` is 0.
    ///
    /// # Errors
    /// candle's, when memory runs out.
    pub fn of(network: &Network, decay: f64) -> Result<Option<Average>> {
        if decay == 0.0 {
            return Ok(None);
        }
        let mut copy = network.clone();
        copy.params = copied(&network.params)?;
        Ok(Some(Average { network: copy, decay }))
    }

    /// Moves towards `params` as they are after `step` (0-based).
    ///
    /// # Errors
    /// candle's.
    pub fn follow(&self, params: &Params, step: usize) -> Result<()> {
        let step = step as f64;
        let decay = self.decay.min((1.0 + step) / (10.0 + step));
        let ours = &self.network.params;
        let weights = ours.weights.iter().map(|(name, weight)| (name, &weight.var));
        for (name, average) in weights.chain(&ours.running) {
            move_running(average, &params.get(name)?.detach(), 1.0 - decay)?;
        }
        Ok(())
    }
}

/// The same values in memory of their own.
fn copied(params: &Params) -> Result<Params> {
    let copy = |var: &Var| Var::from_tensor(&var.as_tensor().copy()?.detach());
    let mut copied = Params::default();
    for (name, Weight { var, kind }) in &params.weights {
        copied.weights.insert(name.clone(), Weight { var: copy(var)?, kind: *kind });
    }
    for (name, var) in &params.running {
        copied.running.insert(name.clone(), copy(var)?);
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::network::build;
    use crate::run::recipe::Recipe;

    #[test]
    fn an_average_remembers_little_at_first_and_its_decay_later() {
        let network = build(&Recipe::Scratch.config().network, 2, 32, 0).unwrap();
        assert!(Average::of(&network, 0.0).unwrap().is_none());
        let average = Average::of(&network, 0.9).unwrap().unwrap();
        let bias = &network.params.weights["head.bias"].var;
        let mut expected = 0.0;
        for step in 0..200 {
            let now = f64::from(u8::from(step % 2 == 0));
            bias.set(&(bias.zeros_like().unwrap() + now).unwrap()).unwrap();
            average.follow(&network.params, step).unwrap();
            let decay = f64::min(0.9, (1.0 + step as f64) / (10.0 + step as f64));
            expected = decay * expected + (1.0 - decay) * now;
            let values = average.network.params.weights["head.bias"].var.to_vec1::<f32>().unwrap();
            assert!(values.iter().all(|value| (f64::from(*value) - expected).abs() < 1e-5), "step {step}");
        }
    }
}
