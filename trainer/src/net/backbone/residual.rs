//! ResNet-18 and ResNet-50.

use super::{EPS, conv, imagenet, norm, pool};
use crate::net::layer::{Layer, Padding};

/// The two residual units of He et al. 2016.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Unit {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, and 1x1 to four times as many channels.
    Bottleneck,
}

pub(super) fn resnet(unit: Unit, repeats: [usize; 4], width: Option<usize>) -> Vec<Vec<Layer>> {
    let expansion = if unit == Unit::Basic { 1 } else { 4 };
    let stem = Layer::Conv(conv("conv1", 3, 64, 7, 2, Padding::Explicit(3)));
    let mut blocks = vec![vec![imagenet(), stem, norm("bn1", 64, EPS), Layer::Relu], vec![pool(3, 2, 1)]];
    let mut inputs = 64;
    for (stage, repeat) in repeats.into_iter().enumerate() {
        let (planes, stride) = match (stage, width) {
            (3, Some(width)) => (width / expansion, 1),
            (0, _) => (64, 1),
            _ => (64 << stage, 2),
        };
        for index in 0..repeat {
            let name = format!("layer{}.{index}", stage + 1);
            let stride = if index == 0 { stride } else { 1 };
            let body = match unit {
                Unit::Basic => basic(&name, inputs, planes, stride),
                Unit::Bottleneck => bottleneck(&name, inputs, planes, stride),
            };
            let outputs = planes * expansion;
            let shortcut = if stride == 1 && inputs == outputs {
                Vec::new()
            } else {
                let project =
                    conv(&format!("{name}.downsample.0"), inputs, outputs, 1, stride, Padding::Explicit(0));
                vec![Layer::Conv(project), norm(&format!("{name}.downsample.1"), outputs, EPS)]
            };
            blocks.push(vec![Layer::Residual { body, shortcut }, Layer::Relu]);
            inputs = outputs;
        }
    }
    blocks
}

fn basic(name: &str, inputs: usize, planes: usize, stride: usize) -> Vec<Layer> {
    let conv = |part: u8, inputs, stride| {
        Layer::Conv(conv(&format!("{name}.conv{part}"), inputs, planes, 3, stride, Padding::Explicit(1)))
    };
    let norm = |part: u8| norm(&format!("{name}.bn{part}"), planes, EPS);
    vec![conv(1, inputs, stride), norm(1), Layer::Relu, conv(2, planes, 1), norm(2)]
}

fn bottleneck(name: &str, inputs: usize, planes: usize, stride: usize) -> Vec<Layer> {
    let conv = |part: u8, inputs, outputs, kernel, stride| {
        let padding = Padding::Explicit(kernel / 2);
        Layer::Conv(conv(&format!("{name}.conv{part}"), inputs, outputs, kernel, stride, padding))
    };
    let norm = |part: u8, channels| norm(&format!("{name}.bn{part}"), channels, EPS);
    vec![
        conv(1, inputs, planes, 1, 1),
        norm(1, planes),
        Layer::Relu,
        conv(2, planes, planes, 3, stride),
        norm(2, planes),
        Layer::Relu,
        conv(3, planes, 4 * planes, 1, 1),
        norm(3, 4 * planes),
    ]
}
