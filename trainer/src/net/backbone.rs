//! Backbones, each written once, as layers named as torchvision (`efficientnet_lite0`: timm) names them.
//!
//! A backbone is a list of blocks: the places where it can be cut. [`trunk`] cuts one for a class-aligned
//! layer, [`classifier`] completes one to the ImageNet classifier that was published. Published weights of one
//! architecture differ in what they take, how they pad, and what their batch normalisations add to a variance;
//! [`conventional`] rewrites the layers for them.

mod inverted;
mod plain;
mod residual;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::net::layer::{BatchNorm, Conv, Layer, Linear, Padding, Pool, stride};

/// A network below the class-aligned layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
pub enum Backbone {
    /// Our own, for training from random weights on a CPU: 103 million multiply-adds at 160 x 160.
    Tiny,
    /// VGG-16 with batch normalisation (Simonyan and Zisserman 2015).
    Vgg16,
    /// VGG-16 as it was first published, without batch normalisation.
    Vgg16Plain,
    /// ResNet-18 (He et al. 2016).
    Resnet18,
    /// ResNet-50, stride in the 3x3 convolution as torchvision has it.
    Resnet50,
    /// MobileNet V2 (Sandler et al. 2018).
    MobilenetV2,
    /// EfficientNet-Lite0 as TensorFlow trained it: SAME padding, ReLU6, no squeeze and excitation.
    EfficientnetLite0,
    /// EfficientNet-Lite1: deeper; made for pictures of 240 pixels.
    EfficientnetLite1,
    /// EfficientNet-Lite2: deeper and wider; made for pictures of 260 pixels.
    EfficientnetLite2,
}

/// What weights of a published network expect of its layers. Weights of one mean little under another: ignoring the
/// padding costs EfficientNet-Lite0 5 points on ImageNet, the wrong normalisation of pictures 10; with the wrong epsilon
/// of its batch normalisations its maps are off by 25 to 40 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Convention {
    /// torchvision's and timm's own: ImageNet's mean and standard deviation, equal padding on both sides, epsilon 1e-5.
    Imagenet,
    /// TensorFlow's EfficientNet-Lite: (x - 127) / 128, SAME padding, epsilon 1e-3.
    Tensorflow,
    /// timm's networks named `tf_...`: (x - 127.5) / 127.5, SAME padding, epsilon 1e-3.
    TimmTf,
    /// Caffe's VGG: the mean subtracted; its first convolution takes blue first and is turned when the file is read.
    Caffe,
}

/// Where a backbone ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// After the last block whose maps have this stride.
    Stride(usize),
    /// At its own end.
    End,
    /// At its end, the last width being this. Residual networks keep the stride of their last stage but one, as
    /// the authors of MC-Loss did; in `vgg16`, `conv4_3` has this width as well, as theirs.
    Width(usize),
}

/// Why a backbone cannot be cut or named so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackboneError {
    /// No block ends at that stride.
    #[error("{backbone} has no maps of stride {asked}; its strides are {}", list(.strides))]
    Stride {
        /// Which.
        backbone: Backbone,
        /// What was asked for.
        asked: usize,
        /// What it has.
        strides: Vec<usize>,
    },
    /// Nothing lies above the maps of that stride.
    #[error(
        "{backbone} has no maps coarser than those of stride {asked}; choose a smaller stride, or the class layer `project`"
    )]
    Coarser {
        /// Which.
        backbone: Backbone,
        /// What was asked for.
        asked: usize,
    },
    /// A width that its last block cannot have.
    #[error(
        "{backbone} ends in a bottleneck, whose width is a multiple of 4, not {width}; choose xi so that classes times xi is one, or the class layer `project`"
    )]
    Width {
        /// Which.
        backbone: Backbone,
        /// What was asked for.
        width: usize,
    },
    /// Weights of another network's kind.
    #[error("{backbone} has no weights of the convention {convention:?}; that convention is for {}", .convention.networks())]
    Convention {
        /// Which.
        backbone: Backbone,
        /// What was asked for.
        convention: Convention,
    },
    /// No such backbone.
    #[error("there is no backbone {name:?}; choose one of {}", list(&Backbone::ALL))]
    Name {
        /// What was asked for.
        name: String,
    },
}

fn list(items: &[impl fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Backbone {
    /// All of them.
    pub const ALL: [Backbone; 9] = [
        Backbone::Tiny,
        Backbone::Vgg16,
        Backbone::Vgg16Plain,
        Backbone::Resnet18,
        Backbone::Resnet50,
        Backbone::MobilenetV2,
        Backbone::EfficientnetLite0,
        Backbone::EfficientnetLite1,
        Backbone::EfficientnetLite2,
    ];

    /// As torchvision or timm call it.
    pub fn name(self) -> &'static str {
        match self {
            Backbone::Tiny => "tiny",
            Backbone::Vgg16 => "vgg16",
            Backbone::Vgg16Plain => "vgg16_plain",
            Backbone::Resnet18 => "resnet18",
            Backbone::Resnet50 => "resnet50",
            Backbone::MobilenetV2 => "mobilenet_v2",
            Backbone::EfficientnetLite0 => "efficientnet_lite0",
            Backbone::EfficientnetLite1 => "efficientnet_lite1",
            Backbone::EfficientnetLite2 => "efficientnet_lite2",
        }
    }
}

impl fmt::Display for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backbone {
    type Err = BackboneError;

    fn from_str(name: &str) -> Result<Backbone, BackboneError> {
        let found = Backbone::ALL.into_iter().find(|backbone| backbone.name() == name);
        found.ok_or_else(|| BackboneError::Name { name: name.to_owned() })
    }
}

/// From pictures, `3 x S x S` in 0..=255, to the maps at `cut`.
///
/// # Errors
/// A stride or width that the backbone cannot have.
pub fn trunk(backbone: Backbone, cut: Cut) -> Result<Vec<Layer>, BackboneError> {
    let width = match cut {
        Cut::Width(width) if backbone == Backbone::Resnet50 && width % 4 != 0 => {
            return Err(BackboneError::Width { backbone, width });
        }
        Cut::Width(width) => Some(width),
        Cut::Stride(_) | Cut::End => None,
    };
    let blocks = blocks(backbone, width);
    let Cut::Stride(asked) = cut else { return Ok(blocks.concat()) };
    let strides = strides(&blocks);
    let Some(last) = strides.iter().rposition(|stride| *stride == asked) else {
        let mut strides = strides;
        strides.dedup();
        strides.retain(|stride| *stride > 1);
        return Err(BackboneError::Stride { backbone, asked, strides });
    };
    Ok(blocks[..=last].concat())
}

/// `layers` of `backbone` as weights of `convention` expect them: normalisation of pictures, padding, and the epsilon of
/// batch normalisations.
///
/// # Errors
/// The backbone never had such weights.
pub fn conventional(
    layers: Vec<Layer>,
    backbone: Backbone,
    convention: Convention,
) -> Result<Vec<Layer>, BackboneError> {
    if !convention.fits(backbone) {
        return Err(BackboneError::Convention { backbone, convention });
    }
    Ok(layers.into_iter().map(|layer| convention.applied(layer)).collect())
}

impl Convention {
    fn fits(self, backbone: Backbone) -> bool {
        let is_lite = matches!(
            backbone,
            Backbone::EfficientnetLite0 | Backbone::EfficientnetLite1 | Backbone::EfficientnetLite2
        );
        match self {
            Convention::Imagenet => backbone != Backbone::Tiny,
            Convention::Tensorflow | Convention::TimmTf => is_lite,
            Convention::Caffe => backbone == Backbone::Vgg16Plain,
        }
    }

    fn networks(self) -> &'static str {
        match self {
            Convention::Imagenet => "torchvision's and timm's networks",
            Convention::Tensorflow | Convention::TimmTf => "efficientnet_lite0 to 2",
            Convention::Caffe => "vgg16_plain",
        }
    }

    fn applied(self, layer: Layer) -> Layer {
        match layer {
            Layer::Normalise { .. } => self.normalisation(),
            Layer::Conv(conv) if self == Convention::Imagenet && conv.padding == Padding::Same => {
                let padding = Padding::Explicit(conv.kernel[0] / 2);
                Layer::Conv(Conv { padding, ..conv })
            }
            Layer::BatchNorm(norm) if self == Convention::Imagenet => {
                Layer::BatchNorm(BatchNorm { eps: EPS, ..norm })
            }
            Layer::Residual { body, shortcut } => {
                let [body, shortcut] = [body, shortcut]
                    .map(|layers| layers.into_iter().map(|layer| self.applied(layer)).collect());
                Layer::Residual { body, shortcut }
            }
            Layer::Beside { body } => {
                Layer::Beside { body: body.into_iter().map(|layer| self.applied(layer)).collect() }
            }
            other => other,
        }
    }

    fn normalisation(self) -> Layer {
        match self {
            Convention::Imagenet => imagenet(),
            Convention::Tensorflow => Layer::Normalise { mean: [127.0; 3], std: [128.0; 3] },
            Convention::TimmTf => Layer::Normalise { mean: [127.5; 3], std: [127.5; 3] },
            Convention::Caffe => Layer::Normalise { mean: [123.68, 116.779, 103.939], std: [1.0; 3] },
        }
    }
}

/// The stride of the maps after each block.
fn strides(blocks: &[Vec<Layer>]) -> Vec<usize> {
    let so_far = |product: &mut usize, block: &Vec<Layer>| {
        *product *= stride(block);
        Some(*product)
    };
    blocks.iter().scan(1, so_far).collect()
}

/// The published classifier: pictures to `classes` logits. VGG's first linear layer, over 7 x 7 maps, is
/// written as the 7 x 7 convolution that it is, so it takes 224 x 224 pictures.
pub fn classifier(backbone: Backbone, classes: usize) -> Vec<Layer> {
    let linear = |name: &str, inputs, outputs| Layer::Linear(Linear { name: name.into(), inputs, outputs });
    let mut layers = blocks(backbone, None).concat();
    match backbone {
        Backbone::Tiny => layers.extend([Layer::GlobalPool, linear("classifier", 128, classes)]),
        Backbone::Vgg16 | Backbone::Vgg16Plain => layers.extend([
            pool(2, 2, 0),
            Layer::Conv(Conv { bias: true, ..conv("classifier.0", 512, 4096, 7, 1, Padding::Explicit(0)) }),
            Layer::Relu,
            Layer::Dropout { p: 0.5 },
            Layer::GlobalPool,
            linear("classifier.3", 4096, 4096),
            Layer::Relu,
            Layer::Dropout { p: 0.5 },
            linear("classifier.6", 4096, classes),
        ]),
        Backbone::Resnet18 => layers.extend([Layer::GlobalPool, linear("fc", 512, classes)]),
        Backbone::Resnet50 => layers.extend([Layer::GlobalPool, linear("fc", 2048, classes)]),
        Backbone::MobilenetV2 => layers.extend([
            Layer::GlobalPool,
            Layer::Dropout { p: 0.2 },
            linear("classifier.1", 1280, classes),
        ]),
        Backbone::EfficientnetLite0 | Backbone::EfficientnetLite1 | Backbone::EfficientnetLite2 => {
            layers.extend([
                Layer::GlobalPool,
                Layer::Dropout { p: 0.2 },
                linear("classifier", 1280, classes),
            ]);
        }
    }
    layers
}

/// The backbone's blocks, all ending in a ReLU, except for those of mobile networks that end in a linear
/// bottleneck. `width` replaces the last width.
fn blocks(backbone: Backbone, width: Option<usize>) -> Vec<Vec<Layer>> {
    match backbone {
        Backbone::Tiny => plain::tiny(width),
        Backbone::Vgg16 => plain::vgg16(width, true),
        Backbone::Vgg16Plain => plain::vgg16(width, false),
        Backbone::Resnet18 => residual::resnet(residual::Unit::Basic, [2, 2, 2, 2], width),
        Backbone::Resnet50 => residual::resnet(residual::Unit::Bottleneck, [3, 4, 6, 3], width),
        Backbone::MobilenetV2 => inverted::mobilenet_v2(width),
        Backbone::EfficientnetLite0 => inverted::efficientnet_lite(1.0, 1.0, width),
        Backbone::EfficientnetLite1 => inverted::efficientnet_lite(1.0, 1.1, width),
        Backbone::EfficientnetLite2 => inverted::efficientnet_lite(1.1, 1.2, width),
    }
}

/// What `PyTorch` adds to a variance.
const EPS: f64 = 1e-5;

/// What `TensorFlow`'s `EfficientNet-Lite` adds.
const TENSORFLOW_EPS: f64 = 1e-3;

/// `ImageNet`'s mean and deviation, as torchvision's weights expect them.
fn imagenet() -> Layer {
    Layer::Normalise { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] }
}

/// A dense square convolution without bias.
pub(crate) fn conv(
    name: &str,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    padding: Padding,
) -> Conv {
    Conv { name: name.into(), inputs, outputs, kernel: [kernel; 2], stride, padding, groups: 1, bias: false }
}

/// A batch normalisation with `PyTorch`'s momentum.
pub(crate) fn norm(name: &str, channels: usize, eps: f64) -> Layer {
    Layer::BatchNorm(BatchNorm { name: name.into(), channels, eps, momentum: 0.1 })
}

fn pool(kernel: usize, stride: usize, zeros: usize) -> Layer {
    Layer::MaxPool(Pool { kernel, stride, padding: Padding::Explicit(zeros) })
}

#[cfg(test)]
mod tests;
