//! Plain stacks of convolutions: our own small network, and VGG-16.

use super::{EPS, conv, imagenet, norm, pool};
use crate::net::layer::{Conv, Layer, Padding};

/// Width, stride and kernel of each convolution.
///
/// A cell of the maps at stride 8 sees 25 x 25 pixels, about a mark of the drawn birds, and no more: a cell that sees more can
/// answer for a mark far from it, and a cue is then true but in the wrong place. The last two mix what a cell has seen.
const TINY: [(usize, usize, usize); 7] =
    [(24, 2, 5), (48, 2, 3), (48, 1, 3), (128, 2, 3), (128, 1, 1), (128, 1, 1), (128, 1, 1)];

/// Dense convolutions, which small processors run at full speed. `width` replaces the last width.
pub(super) fn tiny(width: Option<usize>) -> Vec<Vec<Layer>> {
    let mut plan = TINY;
    plan[TINY.len() - 1].0 = width.unwrap_or(plan[TINY.len() - 1].0);
    let mut blocks = vec![vec![Layer::Normalise { mean: [127.5; 3], std: [127.5; 3] }]];
    let mut inputs = 3;
    for (index, (outputs, stride, kernel)) in plan.into_iter().enumerate() {
        let padding = Padding::Explicit(kernel / 2);
        let conv = conv(&format!("conv{}", index + 1), inputs, outputs, kernel, stride, padding);
        blocks.push(vec![Layer::Conv(conv), norm(&format!("bn{}", index + 1), outputs, EPS), Layer::Relu]);
        inputs = outputs;
    }
    blocks
}

/// With or without batch normalisation: torchvision's `vgg16_bn` and `vgg16`.
pub(super) fn vgg16(width: Option<usize>, has_norm: bool) -> Vec<Vec<Layer>> {
    let stages: [&mut [usize]; 5] =
        [&mut [64, 64], &mut [128, 128], &mut [256, 256, 256], &mut [512, 512, 512], &mut [512, 512, 512]];
    if let Some(width) = width {
        stages[3][2] = width;
        stages[4][2] = width;
    }
    let mut blocks = vec![vec![imagenet()]];
    let (mut index, mut inputs) = (0, 3);
    for (number, stage) in stages.iter().enumerate() {
        if number > 0 {
            blocks.push(vec![pool(2, 2, 0)]);
            index += 1;
        }
        for &outputs in stage.iter() {
            let conv = conv(&format!("features.{index}"), inputs, outputs, 3, 1, Padding::Explicit(1));
            let norm = has_norm.then(|| norm(&format!("features.{}", index + 1), outputs, EPS));
            let conv = Layer::Conv(Conv { bias: true, ..conv });
            blocks.push([conv].into_iter().chain(norm).chain([Layer::Relu]).collect());
            (index, inputs) = (index + if has_norm { 3 } else { 2 }, outputs);
        }
    }
    blocks
}
