//! MC-Loss on maps of your own: what the loss takes, and what it does to a layer that learns by it.
//!
//! ```text
//! cargo run --workspace --example mc_loss
//! ```
//!
//! The pictures have 6 x 6 cells with eight features each. Three cells, anywhere, hold the parts of an object: one feature says
//! which part, another one of which of the four classes. A 1x1 convolution makes `xi = 3` channels a class of that. It learns by
//! the mutual-channel loss alone: `L_dis` falls as the channels learn their class, and the coverage (h / xi) rises from about
//! 1/3, where the channels of a class look at the same cell, towards 1, where each looks at a part of its own.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor, Var};
use fieldmark::layout::Layout;
use fieldmark_trainer::net::mc_loss::{Factors, Keep, McLoss, cwa_mask, mc_loss};
use fieldmark_trainer::random::{Stream, stream};
use rand::seq::index::sample;
use rand::{Rng, RngExt};

const CLASSES: usize = 4;
const XI: usize = 3;
const SIDE: usize = 6;
const PARTS: usize = 3;
/// Of a cell: one a class, one a part, and one that is always on.
const FEATURES: usize = CLASSES + PARTS + 1;
const BATCH: usize = 16;
const RATE: f64 = 8.0;

fn main() -> Result<()> {
    for (step, loss) in train(400)?.iter().enumerate().step_by(50) {
        let [discriminality, coverage] = [&loss.discriminality, &loss.coverage].map(Tensor::to_scalar::<f64>);
        println!("step {step:>3}: L_dis {:.3}, coverage {:.2}", discriminality?, coverage?);
    }
    Ok(())
}

/// The loss of every step.
///
/// # Errors
/// candle's.
pub fn train(steps: u64) -> Result<Vec<McLoss>> {
    let layout = Layout::uniform(CLASSES, XI)?;
    let mut rng = stream(Stream::Trial { number: 0 });
    // The convolution's weight: N x FEATURES.
    let first = (0..CLASSES * XI * FEATURES).map(|_| rng.random_range(0.0..0.1)).collect();
    let weight = Var::from_vec(first, (CLASSES * XI, FEATURES), &Device::Cpu)?;
    let mut losses = Vec::new();
    for step in 1..=steps {
        let mut rng = stream(Stream::Trial { number: step });
        let (pictures, labels) = batch(&mut rng)?;
        // [N, FEATURES] x [B, FEATURES, H W] = [B, N, H W]; after the ReLU no map is negative, as the loss requires.
        let maps = weight.as_tensor().unsqueeze(0)?.broadcast_matmul(&pictures)?.relu()?;
        let maps = maps.reshape((BATCH, CLASSES * XI, SIDE, SIDE))?;
        // Drawn anew each step: which channels of a class take part in L_dis.
        let mask = cwa_mask(&layout, Keep::Half, DType::F64, &mut rng)?;
        let loss = mc_loss(&maps, &labels, &layout, &mask, Factors::paper(1.0, 0.6))?;
        let gradients = loss.total.backward()?;
        let gradient = gradients.get(&weight).context("the weight is not on the graph")?;
        weight.set(&(weight.as_tensor() - (gradient * RATE)?)?)?;
        losses.push(loss);
    }
    Ok(losses)
}

/// Pictures, `[B, FEATURES, H W]`, and their classes, `[B]`.
fn batch(rng: &mut impl Rng) -> Result<(Tensor, Tensor)> {
    let cells = SIDE * SIDE;
    let mut pictures = vec![0.0; BATCH * FEATURES * cells];
    let labels: Vec<u32> = (0..BATCH as u32).map(|picture| picture % CLASSES as u32).collect();
    for (picture, &class) in pictures.chunks_exact_mut(FEATURES * cells).zip(&labels) {
        picture[(FEATURES - 1) * cells..].fill(1.0);
        for (part, cell) in sample(rng, cells, PARTS).into_iter().enumerate() {
            picture[class as usize * cells + cell] = 1.0;
            picture[(CLASSES + part) * cells + cell] = 1.0;
        }
    }
    let pictures = Tensor::from_vec(pictures, (BATCH, FEATURES, cells), &Device::Cpu)?;
    Ok((pictures, Tensor::new(labels, &Device::Cpu)?))
}
