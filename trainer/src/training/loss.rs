//! The losses of one batch, and the figures that are logged of it.

use candle_core::{D, DType, Tensor};
use candle_nn::ops::log_softmax;
use rand_chacha::ChaCha8Rng;

use crate::net::mc_loss::{Factors, cwa_mask, mc_loss};
use crate::net::network::{Learning, Network, Pass};
use crate::net::ops::Gradients;
use crate::run::config::{LossConfig, Reach};
use crate::run::metrics::EpochSums;

/// The losses of one batch: what to differentiate, and what to log.
pub struct Losses {
    pass: Pass,
    /// `L_CE + mu (L_dis - lambda L_div)`, a scalar on the graph; without the diversity where `above` is that.
    total: Tensor,
    /// `- mu lambda L_div`, if the backbone does not learn by it.
    above: Option<Tensor>,
    /// [`Figures`] as one tensor, where the network is.
    figures: Tensor,
}

/// What to log of a batch.
pub(super) struct Figures {
    pub(super) cross_entropy: f64,
    pub(super) discriminality: f64,
    pub(super) diversity: f64,
    pub(super) coverage: f64,
    pub(super) correct: usize,
}

/// `L_CE + mu (L_dis - lambda L_div)` of the network in training on one batch.
///
/// `images`: `B x 3 x S x S`, 0..=255; `labels`: `[B]`, u32; `mu` in place of the configured one, which may
/// still be rising; `learning`: what the backbone does; `rng` draws dropout and the CWA mask.
///
/// # Errors
/// Tensors that do not fit the network.
pub fn losses(
    network: &Network,
    images: &Tensor,
    labels: &Tensor,
    config: &LossConfig,
    mu: f64,
    learning: Learning,
    rng: &mut ChaCha8Rng,
) -> candle_core::Result<Losses> {
    let pass = network.pass(images, learning, rng)?;
    let output = &pass.output;
    let cross_entropy = cross_entropy(&output.logits, labels, config.label_smoothing)?;
    // With mu = 0 the terms are still measured, on maps cut off from the gradient.
    let maps = if mu > 0.0 { output.maps.clone() } else { output.maps.detach() };
    let mask = cwa_mask(&network.layout, config.keep, maps.dtype(), rng)?;
    let mc = mc_loss(&maps, labels, &network.layout, &mask, Factors { mu, ..config.mc })?;
    let (total, above) = match config.diversity_reach {
        _ if mu <= 0.0 => (cross_entropy.clone(), None),
        Reach::Network => ((&cross_entropy + &mc.total)?, None),
        Reach::ClassLayer => {
            let diversity = (&mc.diversity * (-mu * config.mc.lambda))?;
            ((&cross_entropy + (&mc.discriminality * mu)?)?, Some(diversity))
        }
    };
    let correct = correct(&output.logits, labels)?.to_dtype(cross_entropy.dtype())?;
    let figures = [&cross_entropy, &mc.discriminality, &mc.diversity, &mc.coverage, &correct];
    let figures = Tensor::stack(&figures.map(Tensor::detach), 0)?;
    Ok(Losses { pass, total, above, figures })
}

/// Mean over the batch of the cross-entropy of `logits` (`B x c`) with targets smoothed by `smoothing`.
pub(super) fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> candle_core::Result<Tensor> {
    let log_p = log_softmax(logits, D::Minus1)?;
    let right = log_p.gather(&labels.unsqueeze(1)?, 1)?.mean_all()?;
    if smoothing == 0.0 {
        return right.neg();
    }
    let even = log_p.mean_all()?;
    (right * (smoothing - 1.0))? - (even * smoothing)?
}

/// How many rows of `logits` are largest at their label, a u32.
pub(super) fn correct(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
    logits.argmax(D::Minus1)?.eq(labels)?.to_dtype(DType::U32)?.sum_all()
}

pub(super) fn scalar(tensor: &Tensor) -> candle_core::Result<f64> {
    tensor.to_dtype(DType::F64)?.to_scalar::<f64>()
}

impl Losses {
    /// What to log, to be read once the step is queued.
    pub(super) fn figures(&self) -> Tensor {
        self.figures.clone()
    }

    /// The gradients of the total for all of the network's weights.
    ///
    /// # Errors
    /// candle's.
    pub fn backward(self, network: &Network) -> candle_core::Result<Gradients> {
        self.pass.backward(&self.total, self.above.as_ref(), network)
    }
}

impl Figures {
    pub(super) fn read(figures: &Tensor) -> candle_core::Result<Figures> {
        let figures = figures.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let &[cross_entropy, discriminality, diversity, coverage, correct] = figures.as_slice() else {
            candle_core::bail!("{} figures of a step, expected 5", figures.len());
        };
        Ok(Figures { cross_entropy, discriminality, diversity, coverage, correct: correct as usize })
    }

    pub(super) fn add_to(&self, sums: &mut EpochSums, pictures: usize) {
        sums.pictures += pictures;
        sums.correct += self.correct;
        let of_all = |mean: f64| mean * pictures as f64;
        sums.cross_entropy += of_all(self.cross_entropy);
        sums.discriminality += of_all(self.discriminality);
        sums.diversity += of_all(self.diversity);
        sums.coverage += of_all(self.coverage);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn smoothed_cross_entropy_is_the_mix_of_target_and_uniform() {
        let logits = Tensor::new(&[[1.0f64, 2.0, 4.0], [0.5, 0.0, -1.0]], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[2u32, 1], &Device::Cpu).unwrap();
        // -log softmax by hand: log(sum exp) minus each logit.
        let rows = [[1.0f64, 2.0, 4.0], [0.5, 0.0, -1.0]].map(|row| {
            let sum: f64 = row.iter().map(|v| v.exp()).sum();
            row.map(|v| sum.ln() - v)
        });
        let hard = f64::midpoint(rows[0][2], rows[1][1]);
        let even = rows.iter().flatten().sum::<f64>() / 6.0;
        for smoothing in [0.0, 0.1] {
            let got = scalar(&cross_entropy(&logits, &labels, smoothing).unwrap()).unwrap();
            assert!((got - ((1.0 - smoothing) * hard + smoothing * even)).abs() < 1e-12);
        }
    }
}
