//! What others call the parameters of our backbones.

use std::collections::BTreeSet;

use crate::net::backbone::{Backbone, classifier};
use crate::net::layer::{ParamSpec, parameter_specs};

/// What a tensor of a file is called here. torchvision's and timm's names are ours already.
pub fn canonical(name: &str, backbone: Backbone) -> String {
    let name = name.strip_prefix("weights/").or_else(|| name.strip_prefix("running/")).unwrap_or(name);
    // Left by training on several devices, or by compiling.
    let name = ["module.", "_orig_mod."].iter().fold(name, |name, prefix| name.trim_start_matches(prefix));
    let ours = of_lukemelas(name, backbone).or_else(|| of_keras_vgg(name));
    ours.unwrap_or_else(|| name.to_owned())
}

/// Whether a tensor is no parameter: what counts a training's steps, or a velocity of our own checkpoints.
pub fn is_no_parameter(name: &str) -> bool {
    name.ends_with("num_batches_tracked") || name.starts_with("velocity/")
}

/// Whether names are those of lukemelas' EfficientNet, whose weights are `TensorFlow`'s.
pub fn is_lukemelas<'a>(mut names: impl Iterator<Item = &'a String>) -> bool {
    names.any(|name| name.ends_with("_conv_stem.weight"))
}

/// The parameters of the classifier that was published, by our names.
pub fn published(backbone: Backbone) -> Vec<ParamSpec> {
    parameter_specs(&classifier(backbone, 1000))
}

/// Ours for `_conv_stem`, `_bn0`, `_blocks.7._expand_conv` and the like, with what follows the last dot.
fn of_lukemelas(name: &str, backbone: Backbone) -> Option<String> {
    let (layer, part) = name.strip_prefix('_')?.rsplit_once('.')?;
    let ours = match layer {
        "conv_stem" => "conv_stem".to_owned(),
        "bn0" => "bn1".to_owned(),
        "conv_head" => "conv_head".to_owned(),
        "bn1" => "bn2".to_owned(),
        "fc" => "classifier".to_owned(),
        _ => block(layer.strip_prefix("blocks.")?, backbone)?,
    };
    Some(format!("{ours}.{part}"))
}

/// `7._expand_conv` to `blocks.3.1.conv_pw`: one number counts through all stages, and without an expansion the names
/// of the two convolutions move up.
fn block(layer: &str, backbone: Backbone) -> Option<String> {
    let (number, part) = layer.split_once('.')?;
    let block = blocks(backbone).into_iter().nth(number.parse().ok()?)?;
    let part = match (block.has_expansion, part) {
        (true, "_expand_conv") | (false, "_project_conv") => "conv_pw",
        (true, "_bn0") | (false, "_bn1") => "bn1",
        (_, "_depthwise_conv") => "conv_dw",
        (true, "_bn1") | (false, "_bn2") => "bn2",
        (true, "_project_conv") => "conv_pwl",
        (true, "_bn2") => "bn3",
        _ => return None,
    };
    let Block { stage, index, .. } = block;
    Some(format!("blocks.{stage}.{index}.{part}"))
}

/// Convolutions of VGG-16's blocks.
const VGG: [usize; 5] = [2, 2, 3, 3, 3];

/// `block2_conv1` in whatever a converter has put around it, to torchvision's `features.5`.
fn of_keras_vgg(name: &str) -> Option<String> {
    let (_, rest) = name.split_once("block")?;
    let (block, rest) = rest.split_once("_conv")?;
    let block: usize = block.parse().ok()?;
    let conv: usize = rest.get(..1)?.parse().ok()?;
    let before = VGG.get(..block.checked_sub(1)?)?;
    if conv == 0 || conv > *VGG.get(block - 1)? {
        return None;
    }
    // Each convolution is followed by a ReLU, each block by a pooling.
    let index = before.iter().map(|convs| 2 * convs + 1).sum::<usize>() + 2 * (conv - 1);
    let part = if rest.contains("convolution") || rest.contains("kernel") { "weight" } else { "bias" };
    Some(format!("features.{index}.{part}"))
}

/// One inverted residual.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    stage: usize,
    index: usize,
    has_expansion: bool,
}

/// All of a backbone's, in order.
fn blocks(backbone: Backbone) -> BTreeSet<Block> {
    let specs = published(backbone);
    let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let block = |name: &&str| {
        let mut parts = name.strip_prefix("blocks.")?.split('.');
        let (stage, index) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let has_expansion = names.contains(format!("blocks.{stage}.{index}.conv_pwl.weight").as_str());
        Some(Block { stage, index, has_expansion })
    };
    names.iter().filter_map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_names_become_ours() {
        let (lite0, vgg) = (Backbone::EfficientnetLite0, Backbone::Vgg16Plain);
        for (backbone, theirs, ours) in [
            (lite0, "_bn1.running_var", "bn2.running_var"),
            (lite0, "_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
            (lite0, "_blocks.1._bn0.bias", "blocks.1.0.bn1.bias"),
            (lite0, "_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
            (Backbone::EfficientnetLite1, "_blocks.20._bn2.weight", "blocks.6.0.bn3.weight"),
            (lite0, "module.blocks.0.0.bn1.bias", "blocks.0.0.bn1.bias"),
            (lite0, "weights/conv_stem.weight", "conv_stem.weight"),
            (lite0, "_blocks.16._bn2.weight", "_blocks.16._bn2.weight"),
            (vgg, "functional_1/block1_conv1_1/convolution/ReadVariableOp:0", "features.0.weight"),
            (vgg, "block3_conv2_1/Squeeze:0", "features.12.bias"),
            (vgg, "block5_conv3/kernel:0", "features.28.weight"),
            (vgg, "block6_conv1/kernel:0", "block6_conv1/kernel:0"),
        ] {
            assert_eq!(canonical(theirs, backbone), ours);
        }
    }
}
