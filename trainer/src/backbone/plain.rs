//! Plain stacks of 3x3 convolutions: our own small network, and VGG-16.

use super::{EPS, conv, imagenet, norm, pool};
use crate::layer::{Conv, Layer, Padding};

/// Width and stride of each 3x3 convolution.
const TINY: [(usize, usize); 8] = [(24, 2), (48, 2), (48, 1), (96, 2), (96, 1), (128, 1), (128, 1), (192, 2)];

/// Dense 3x3 convolutions, which small processors run at full speed. Given a width it ends at stride 8, the
/// eighth convolution left out: a mark of a small picture is lost at 16.
pub(super) fn tiny(width: Option<usize>) -> Vec<Vec<Layer>> {
    let mut plan = TINY.to_vec();
    if let Some(width) = width {
        plan.pop();
        plan.last_mut().expect("seven convolutions are left").0 = width;
    }
    let mut blocks = vec![vec![Layer::Normalise { mean: [127.5; 3], std: [127.5; 3] }]];
    let mut inputs = 3;
    for (index, (outputs, stride)) in plan.into_iter().enumerate() {
        let conv = conv(&format!("conv{}", index + 1), inputs, outputs, 3, stride, Padding::Explicit(1));
        blocks.push(vec![Layer::Conv(conv), norm(&format!("bn{}", index + 1), outputs, EPS), Layer::Relu]);
        inputs = outputs;
    }
    blocks
}

pub(super) fn vgg16(width: Option<usize>) -> Vec<Vec<Layer>> {
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
            let norm = norm(&format!("features.{}", index + 1), outputs, EPS);
            blocks.push(vec![Layer::Conv(Conv { bias: true, ..conv }), norm, Layer::Relu]);
            (index, inputs) = (index + 3, outputs);
        }
    }
    blocks
}
