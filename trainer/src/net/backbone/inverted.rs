//! Networks of inverted residuals: MobileNet V2 and EfficientNet-Lite.

use super::{Convention, EPS, TENSORFLOW_EPS, conv, imagenet, norm};
use crate::net::layer::{Conv, Layer, Padding};

/// Expansion, width, repeats, stride of the first, as table 2 of the paper has them.
const MOBILENET_V2: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

pub(super) fn mobilenet_v2(width: Option<usize>) -> Vec<Vec<Layer>> {
    let padding = Padding::Explicit(1);
    let mut stem = vec![imagenet()];
    stem.extend(conv_bn_relu6(["features.0.0", "features.0.1"], conv("", 3, 32, 3, 2, padding), EPS));
    let mut blocks = vec![stem];
    let mut inputs = 32;
    for (expansion, outputs, repeats, stride) in MOBILENET_V2 {
        for index in 0..repeats {
            let unit = InvertedUnit {
                inputs,
                outputs,
                expansion,
                kernel: 3,
                stride: if index == 0 { stride } else { 1 },
                padding,
                eps: EPS,
            };
            let at = format!("features.{}.conv", blocks.len());
            let names: &[[&str; 2]] = match expansion {
                1 => &[["0.0", "0.1"], ["1", "2"]],
                _ => &[["0.0", "0.1"], ["1.0", "1.1"], ["2", "3"]],
            };
            blocks.push(inverted(&at, names, &unit));
            inputs = outputs;
        }
    }
    let last = conv("", inputs, width.unwrap_or(1280), 1, 1, Padding::Explicit(0));
    blocks.push(conv_bn_relu6(["features.18.0", "features.18.1"], last, EPS));
    blocks
}

/// Expansion, kernel, width, repeats, stride of the first; `EfficientNet`-B0's.
const EFFICIENTNET_LITE0: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
];

/// Widths and repeats of Lite0 times `wider` and `deeper`; the Lite family leaves stem and head as they are, and the
/// repeats of the first and last stage. As `TensorFlow` trained them: [`super::conventional`] gives them as others did.
/// `width` replaces the last width.
pub(super) fn efficientnet_lite(wider: f64, deeper: f64, width: Option<usize>) -> Vec<Vec<Layer>> {
    let eps = TENSORFLOW_EPS;
    let mut stem = vec![Convention::Tensorflow.normalisation()];
    stem.extend(conv_bn_relu6(["conv_stem", "bn1"], conv("", 3, 32, 3, 2, Padding::Same), eps));
    let mut blocks = vec![stem];
    let mut inputs = 32;
    let last_stage = EFFICIENTNET_LITE0.len() - 1;
    for (stage, (expansion, kernel, outputs, repeats, stride)) in EFFICIENTNET_LITE0.into_iter().enumerate() {
        let outputs = eights(outputs as f64 * wider);
        let deeper = if stage == 0 || stage == last_stage { 1.0 } else { deeper };
        for index in 0..(repeats as f64 * deeper).ceil() as usize {
            let unit = InvertedUnit {
                inputs,
                outputs,
                expansion,
                kernel,
                stride: if index == 0 { stride } else { 1 },
                padding: Padding::Same,
                eps,
            };
            let names: &[[&str; 2]] = match expansion {
                1 => &[["conv_dw", "bn1"], ["conv_pw", "bn2"]],
                _ => &[["conv_pw", "bn1"], ["conv_dw", "bn2"], ["conv_pwl", "bn3"]],
            };
            blocks.push(inverted(&format!("blocks.{stage}.{index}"), names, &unit));
            inputs = outputs;
        }
    }
    let last = conv("", inputs, width.unwrap_or(1280), 1, 1, Padding::Same);
    blocks.push(conv_bn_relu6(["conv_head", "bn2"], last, eps));
    blocks
}

/// The nearest multiple of 8, but not less than nine tenths of `width`.
fn eights(width: f64) -> usize {
    let nearest = ((width + 4.0) / 8.0).floor().max(1.0) * 8.0;
    if nearest < 0.9 * width { nearest as usize + 8 } else { nearest as usize }
}

/// An inverted residual: 1x1 to `expansion` times the channels, depthwise, 1x1 without activation.
struct InvertedUnit {
    inputs: usize,
    outputs: usize,
    expansion: usize,
    kernel: usize,
    stride: usize,
    padding: Padding,
    eps: f64,
}

/// The unit with a shortcut where shapes allow it; `names` are those of each convolution and its batch
/// normalisation, under `prefix`. Without an expansion the first 1x1 convolution is left out.
fn inverted(prefix: &str, names: &[[&str; 2]], unit: &InvertedUnit) -> Vec<Layer> {
    let InvertedUnit { inputs, outputs, kernel, stride, padding, eps, .. } = *unit;
    let inner = inputs * unit.expansion;
    let mut convs = vec![
        Conv { groups: inner, ..conv("", inner, inner, kernel, stride, padding) },
        conv("", inner, outputs, 1, 1, Padding::Explicit(0)),
    ];
    if unit.expansion > 1 {
        convs.insert(0, conv("", inputs, inner, 1, 1, Padding::Explicit(0)));
    }
    let full: Vec<[String; 2]> =
        names.iter().map(|pair| pair.map(|name| format!("{prefix}.{name}"))).collect();
    let mut body: Vec<Layer> = full
        .iter()
        .zip(convs)
        .flat_map(|([conv, norm], data)| conv_bn_relu6([conv.as_str(), norm.as_str()], data, eps))
        .collect();
    // The bottleneck is linear.
    body.pop();
    if stride == 1 && inputs == outputs { vec![Layer::Residual { body, shortcut: Vec::new() }] } else { body }
}

fn conv_bn_relu6([conv_name, norm_name]: [&str; 2], data: Conv, eps: f64) -> Vec<Layer> {
    let norm = norm(norm_name, data.outputs, eps);
    let mut conv = data;
    conv.name = conv_name.into();
    vec![Layer::Conv(conv), norm, Layer::Relu6]
}
