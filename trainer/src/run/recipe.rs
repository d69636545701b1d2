//! Configurations that work, each for a kind of task.

use fieldmark::frame::ResizeRule;
use fieldmark::head::HeadKind;
use serde::Deserialize;

use crate::data::batch::{Augment, Crop, Sampling};
use crate::data::dataset::SplitRule;
use crate::net::backbone::Backbone;
use crate::net::device::Precision;
use crate::net::mc_loss::Factors;
use crate::net::network::{ClassLayer, NetworkConfig, Norms};
use crate::run::config::{Config, LossConfig, OptimConfig, Schedule};

/// A task that there is a configuration for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Recipe {
    /// From random weights, on a CPU: for the drawn birds.
    Scratch,
    /// From ImageNet's weights, for 20 to 200 photos a class.
    Photos,
    /// The authors' training from random weights: VGG-16 on CUB-200-2011, 67.9 % by their README's plot. Not reproduced
    /// here.
    PaperScratch,
    /// The authors' training from ImageNet's weights: ResNet-50 on CUB-200-2011, 87.3 % by the paper. Not reproduced
    /// here.
    PaperFinetune,
}

impl Recipe {
    /// All of them.
    pub const ALL: [Recipe; 4] =
        [Recipe::Scratch, Recipe::Photos, Recipe::PaperScratch, Recipe::PaperFinetune];

    /// As it is typed and as a configuration file names it.
    pub fn name(self) -> &'static str {
        match self {
            Recipe::Scratch => "scratch",
            Recipe::Photos => "photos",
            Recipe::PaperScratch => "paper-scratch",
            Recipe::PaperFinetune => "paper-finetune",
        }
    }

    /// Everything that it decides, for seed 0.
    pub fn config(self) -> Config {
        match self {
            Recipe::Scratch => scratch(),
            Recipe::Photos => photos(),
            Recipe::PaperScratch => paper_scratch(),
            Recipe::PaperFinetune => paper_finetune(),
        }
    }
}

/// `EXPERIMENTS.md` has what was tried for it.
fn scratch() -> Config {
    Config {
        seed: 0,
        split: SplitRule::default(),
        network: NetworkConfig {
            backbone: Backbone::Tiny,
            convention: None,
            class_layer: ClassLayer::Project { stride: 8 },
            xi: 3,
            head: HeadKind::GroupMean,
            dropout: 0.0,
        },
        pretrained: None,
        side: 160,
        resize: ResizeRule::Squash,
        augment: Augment::default(),
        sampling: Sampling::Uniform,
        loss: LossConfig::paper(Factors::paper(1.0, 0.5)),
        optim: OptimConfig {
            rate: 0.1,
            head_factor: 1.0,
            head_first_epochs: 0.0,
            norms: Norms::Learn,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            warm_up_epochs: 1.0,
            schedule: Schedule::Cosine,
            average: 0.0,
        },
        batch: 32,
        epochs: 60,
        patience: None,
        precision: Precision::F32,
    }
}

/// `EXPERIMENTS.md` has what was tried for it.
fn photos() -> Config {
    let scratch = scratch();
    Config {
        network: NetworkConfig {
            backbone: Backbone::EfficientnetLite0,
            class_layer: ClassLayer::Project { stride: 32 },
            xi: 6,
            ..scratch.network
        },
        side: 224,
        resize: ResizeRule::Centre(88),
        augment: Augment {
            crop: Crop::Part { area: [0.5, 1.0], ratio: [0.75, 1.33] },
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            ..scratch.augment
        },
        loss: LossConfig { label_smoothing: 0.1, ..scratch.loss },
        optim: OptimConfig {
            rate: 0.003,
            head_factor: 20.0,
            head_first_epochs: 1.0,
            norms: Norms::Keep,
            weight_decay: 1e-4,
            average: 0.99,
            ..scratch.optim
        },
        epochs: 20,
        ..scratch
    }
}

/// `CUB-200-2011.py` of the authors' repository: alpha 1.5, beta 20, xi 3. Theirs differ in the
/// classifier (two dense layers on pooled maps) and in the normalisation.
fn paper_scratch() -> Config {
    let scratch = scratch();
    Config {
        network: NetworkConfig {
            backbone: Backbone::Vgg16,
            class_layer: ClassLayer::Native,
            head: HeadKind::Linear,
            ..scratch.network
        },
        side: 224,
        augment: paper_augment(),
        loss: LossConfig { mc: Factors::from_authors(1.5, 20.0, scratch.network.xi), ..scratch.loss },
        optim: OptimConfig {
            nesterov: false,
            warm_up_epochs: 0.0,
            schedule: paper_schedule(),
            ..scratch.optim
        },
        epochs: 300,
        ..scratch
    }
}

/// As a third party quotes the paper: mu 0.005, lambda 10, rates 1e-4 and 1e-2, 300 epochs; side 448 and batch 64 as
/// in the authors' released log, which resized to 600 first.
fn paper_finetune() -> Config {
    let paper = paper_scratch();
    Config {
        network: NetworkConfig {
            backbone: Backbone::Resnet50,
            class_layer: ClassLayer::Allot,
            ..paper.network
        },
        side: 448,
        augment: Augment { crop: Crop::Part { area: [0.5, 1.0], ratio: [1.0, 1.0] }, ..paper.augment },
        loss: LossConfig { mc: Factors::paper(0.005, 10.0), ..paper.loss },
        optim: OptimConfig { rate: 1e-4, head_factor: 100.0, ..paper.optim },
        batch: 64,
        ..paper
    }
}

/// Four pixels of 224 each way, and mirrored.
fn paper_augment() -> Augment {
    let by = 4.0 / 224.0;
    Augment { crop: Crop::Shifted { by }, flip: 0.5, brightness: 0.0, contrast: 0.0, saturation: 0.0 }
}

/// A tenth at epochs 150 and 225 of 300.
fn paper_schedule() -> Schedule {
    Schedule::Step { at: vec![0.5, 0.75], factor: 0.1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::network::build;

    #[test]
    fn every_recipe_passes_its_own_checks_and_builds() {
        for recipe in Recipe::ALL {
            let config = recipe.config();
            assert_eq!(config.check(), Ok(()), "{recipe:?}");
            build(&config.network, 8, config.side, config.seed).unwrap();
        }
    }
}
