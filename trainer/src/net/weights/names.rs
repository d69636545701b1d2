//! What others call the parameters of our backbones.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::net::backbone::{Backbone, Cut, classifier, trunk};
use crate::net::layer::{ParamSpec, parameter_specs};

/// What the tensors of a file are called here, in their order. torchvision's and most of timm's names are ours already.
///
/// Around them there may be what a trainer has put there: `module.`, `_orig_mod.`, `model.`, `backbone.`, or several of
/// these. It is the beginning under which most names are the backbone's.
pub fn canonical(theirs: &[&str], backbone: Backbone) -> Vec<String> {
    let bare: Vec<&str> = theirs.iter().map(|name| without_section(name)).collect();
    let prefix = prefix(&bare, backbone);
    bare.iter().map(|name| ours(within(name, prefix), backbone)).collect()
}

/// Our checkpoints keep parameters and running statistics apart.
fn without_section(name: &str) -> &str {
    name.strip_prefix("weights/").or_else(|| name.strip_prefix("running/")).unwrap_or(name)
}

/// The beginning, up to a dot, under which most names are the backbone's; of several the shortest. Chance makes a few names
/// seem so (a block of any network has a `conv1`): those under it have to be mostly the backbone's, or to be most of it.
fn prefix<'a>(names: &[&'a str], backbone: Backbone) -> &'a str {
    let known: BTreeSet<String> = published(backbone).into_iter().map(|spec| spec.name).collect();
    // Of each beginning: names that are the backbone's without it, and all names.
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for name in names {
        for begin in name.match_indices('.').map(|(dot, _)| dot + 1).chain([0]) {
            let (its, all) = counts.entry(&name[..begin]).or_default();
            *its += usize::from(known.contains(&ours(&name[begin..], backbone)));
            *all += 1;
        }
    }
    let is_its = |(prefix, (its, all)): &(&str, (usize, usize))| {
        prefix.is_empty() || 2 * its > *all || 2 * its > known.len()
    };
    let most =
        counts.into_iter().filter(is_its).max_by_key(|(prefix, (its, _))| (*its, Reverse(prefix.len())));
    most.map_or("", |(prefix, _)| prefix)
}

/// What follows `prefix`, or as much of it as `name` begins with: under `model.backbone.` is the backbone, under `model.`
/// its classifier.
fn within<'a>(name: &'a str, prefix: &str) -> &'a str {
    let mut ends = prefix.match_indices('.').map(|(dot, _)| dot + 1);
    let last = ends.rfind(|&end| name.starts_with(&prefix[..end]));
    &name[last.unwrap_or(0)..]
}

fn ours(name: &str, backbone: Backbone) -> String {
    let ours = match backbone {
        Backbone::EfficientnetLite0 | Backbone::EfficientnetLite1 | Backbone::EfficientnetLite2 => {
            of_lukemelas(name, backbone)
        }
        Backbone::MobilenetV2 => of_timm_mobilenet(name),
        Backbone::Vgg16Plain => of_keras_vgg(name).or_else(|| of_timm_vgg(name)),
        Backbone::Vgg16 => of_timm_vgg(name),
        Backbone::Tiny | Backbone::Resnet18 | Backbone::Resnet50 => None,
    };
    ours.unwrap_or_else(|| name.to_owned())
}

/// The backbone that all of is in a file, by names and shapes up to its class layer; of several the largest.
pub fn whole(tensors: &[(&str, &[usize])]) -> Option<Backbone> {
    let names: Vec<&str> = tensors.iter().map(|(name, _)| *name).collect();
    let parameters = |backbone: &Backbone| {
        let ours = canonical(&names, *backbone);
        let shapes: BTreeMap<&str, &[usize]> =
            ours.iter().map(String::as_str).zip(tensors.iter().map(|(_, shape)| *shape)).collect();
        let specs = parameter_specs(&trunk(*backbone, Cut::End).ok()?);
        let is_there = |spec: &ParamSpec| shapes.get(spec.name.as_str()) == Some(&spec.shape.as_slice());
        specs.iter().all(is_there).then_some(specs.len())
    };
    let whole = Backbone::ALL.into_iter().filter_map(|backbone| Some((parameters(&backbone)?, backbone)));
    whole.max_by_key(|(parameters, _)| *parameters).map(|(_, backbone)| backbone)
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

/// Blocks of MobileNet V2's stages.
const MOBILENET: [usize; 7] = [1, 2, 3, 4, 3, 3, 1];

/// timm's `blocks.1.0.conv_dw` to torchvision's `features.2.conv.1.0`, and the same for what is around the blocks.
fn of_timm_mobilenet(name: &str) -> Option<String> {
    let (layer, part) = name.rsplit_once('.')?;
    let ours = match layer {
        "conv_stem" => "features.0.0".to_owned(),
        "bn1" => "features.0.1".to_owned(),
        "conv_head" => "features.18.0".to_owned(),
        "bn2" => "features.18.1".to_owned(),
        "classifier" => "classifier.1".to_owned(),
        _ => mobilenet_block(layer.strip_prefix("blocks.")?)?,
    };
    Some(format!("{ours}.{part}"))
}

/// `1.0.conv_dw` to `features.2.conv.1.0`: the first stage has no expansion, so its names are others.
fn mobilenet_block(layer: &str) -> Option<String> {
    let mut parts = layer.splitn(3, '.');
    let (stage, index): (usize, usize) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    if index >= *MOBILENET.get(stage)? {
        return None;
    }
    let place = match (stage, parts.next()?) {
        (0, "conv_dw") | (1.., "conv_pw") => "0.0",
        (_, "bn1") => "0.1",
        (0, "conv_pw") => "1",
        (0, "bn2") | (1.., "conv_pwl") => "2",
        (1.., "conv_dw") => "1.0",
        (1.., "bn2") => "1.1",
        (1.., "bn3") => "3",
        _ => return None,
    };
    let before: usize = MOBILENET[..stage].iter().sum();
    Some(format!("features.{}.conv.{place}", 1 + before + index))
}

/// timm's names of the three layers of VGG's classifier.
fn of_timm_vgg(name: &str) -> Option<String> {
    let (layer, part) = name.rsplit_once('.')?;
    let ours = match layer {
        "pre_logits.fc1" => "classifier.0",
        "pre_logits.fc2" => "classifier.3",
        "head.fc" => "classifier.6",
        _ => return None,
    };
    Some(format!("{ours}.{part}"))
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

    fn names(backbone: Backbone) -> Vec<String> {
        published(backbone).into_iter().map(|spec| spec.name).collect()
    }

    fn borrowed(names: &[String]) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn others_names_become_ours() {
        let (lite0, vgg) = (Backbone::EfficientnetLite0, Backbone::Vgg16Plain);
        let mobilenet = Backbone::MobilenetV2;
        for (backbone, theirs, expected) in [
            (lite0, "_bn1.running_var", "bn2.running_var"),
            (lite0, "_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
            (lite0, "_blocks.1._bn0.bias", "blocks.1.0.bn1.bias"),
            (lite0, "_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
            (Backbone::EfficientnetLite1, "_blocks.20._bn2.weight", "blocks.6.0.bn3.weight"),
            (lite0, "_blocks.16._bn2.weight", "_blocks.16._bn2.weight"),
            (vgg, "functional_1/block1_conv1_1/convolution/ReadVariableOp:0", "features.0.weight"),
            (vgg, "block3_conv2_1/Squeeze:0", "features.12.bias"),
            (vgg, "block5_conv3/kernel:0", "features.28.weight"),
            (vgg, "block6_conv1/kernel:0", "block6_conv1/kernel:0"),
            (vgg, "pre_logits.fc1.weight", "classifier.0.weight"),
            (Backbone::Vgg16, "pre_logits.fc2.bias", "classifier.3.bias"),
            (Backbone::Vgg16, "head.fc.weight", "classifier.6.weight"),
            (mobilenet, "conv_stem.weight", "features.0.0.weight"),
            (mobilenet, "blocks.0.0.conv_pw.weight", "features.1.conv.1.weight"),
            (mobilenet, "blocks.0.0.bn2.running_mean", "features.1.conv.2.running_mean"),
            (mobilenet, "blocks.1.0.conv_dw.weight", "features.2.conv.1.0.weight"),
            (mobilenet, "blocks.5.2.bn2.bias", "features.16.conv.1.1.bias"),
            (mobilenet, "blocks.6.0.conv_pwl.weight", "features.17.conv.2.weight"),
            (mobilenet, "blocks.6.1.conv_pwl.weight", "blocks.6.1.conv_pwl.weight"),
            (mobilenet, "bn2.weight", "features.18.1.weight"),
            (mobilenet, "classifier.bias", "classifier.1.bias"),
        ] {
            assert_eq!(ours(theirs, backbone), expected);
        }
    }

    #[test]
    fn whatever_is_put_around_all_names_is_taken_off() {
        for backbone in Backbone::ALL {
            let ours = names(backbone);
            for around in
                ["", "module.", "model.", "_orig_mod.module.", "module.model.backbone.", "net.encoder.0."]
            {
                let theirs: Vec<String> = ours.iter().map(|name| format!("{around}{name}")).collect();
                assert_eq!(canonical(&borrowed(&theirs), backbone), ours, "{backbone} {around}");
            }
        }
        let theirs = ["weights/conv_stem.weight", "running/bn1.running_mean"];
        assert_eq!(canonical(&theirs, Backbone::EfficientnetLite0), ["conv_stem.weight", "bn1.running_mean"]);
    }

    #[test]
    fn the_classifier_may_stand_beside_the_backbone() {
        let ours = names(Backbone::Resnet18);
        let place = |name: &String| match name.strip_prefix("fc.") {
            Some(part) => format!("model.fc.{part}"),
            None => format!("model.backbone.{name}"),
        };
        let mut theirs: Vec<String> = ours.iter().map(place).collect();
        theirs.push("loss.weight".into());
        let mut expected = ours;
        expected.push("loss.weight".into());
        assert_eq!(canonical(&borrowed(&theirs), Backbone::Resnet18), expected);
    }

    #[test]
    fn a_block_of_another_network_is_not_taken_for_the_backbone() {
        let theirs = ["a.b.conv1.weight", "a.b.norm1.weight", "a.b.conv2.weight", "a.b.norm2.weight"];
        assert_eq!(canonical(&theirs, Backbone::Resnet18), theirs);
    }

    #[test]
    fn a_whole_backbone_is_known_by_its_names_and_shapes() {
        for backbone in Backbone::ALL {
            let specs = parameter_specs(&trunk(backbone, Cut::End).unwrap());
            let named: Vec<String> = specs.iter().map(|spec| format!("model.{}", spec.name)).collect();
            let tensors: Vec<(&str, &[usize])> = named
                .iter()
                .map(String::as_str)
                .zip(specs.iter().map(|spec| spec.shape.as_slice()))
                .collect();
            assert_eq!(whole(&tensors), Some(backbone));
            assert_eq!(whole(&tensors[1..]), None, "{backbone} without {}", named[0]);
        }
    }
}
