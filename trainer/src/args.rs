//! What can be typed, and the [`Config`] it means.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fieldmark::frame::ResizeRule;
use fieldmark::head::HeadKind;
use fieldmark_trainer::backbone::Backbone;
use fieldmark_trainer::batch::{Augment, Crop, Sampling};
use fieldmark_trainer::config::{Config, LossConfig};
use fieldmark_trainer::dataset::{GroupBy, SplitRule};
use fieldmark_trainer::export::WeightType;
use fieldmark_trainer::mc_loss::{Keep, Weights};
use fieldmark_trainer::network::{ClassLayer, NetworkConfig};
use fieldmark_trainer::optim::{OptimConfig, Schedule};
use fieldmark_trainer::synth::SPECIES;

/// Trains classifiers for look-alikes with MC-Loss and exports them for the board.
#[derive(Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The program's verbs.
#[derive(Subcommand)]
pub enum Command {
    /// Draw a data set of birds with known field marks, in the layout of CUB-200-2011
    Synth(SynthArgs),
    /// Train on a folder of class folders, a folder of split folders, or the CUB-200-2011 layout
    Train(Box<TrainArgs>),
    /// Measure a run on its test split
    Eval(EvalArgs),
    /// Write the board's model file, after the board's own engine has agreed with the trainer
    Export(ExportArgs),
}

/// `synth`.
#[derive(Args)]
pub struct SynthArgs {
    /// Folder to make; it must not exist
    pub out: PathBuf,
    /// Species, an even number
    #[arg(long, default_value_t = SPECIES.len())]
    pub classes: usize,
    /// Training pictures a class
    #[arg(long, default_value_t = 60)]
    pub train: usize,
    /// Test pictures a class
    #[arg(long, default_value_t = 25)]
    pub test: usize,
    /// Side of a picture in pixels
    #[arg(long, default_value_t = 160)]
    pub side: u32,
    /// Decides every picture
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// `eval`.
#[derive(Args)]
pub struct EvalArgs {
    /// Folder of a run
    pub run: PathBuf,
    /// The pictures it was trained on, if they have moved
    pub data: Option<PathBuf>,
    /// Weights of the last epoch instead of the best
    #[arg(long)]
    pub last: bool,
}

/// `export`.
#[derive(Args)]
pub struct ExportArgs {
    /// Folder of a run
    pub run: PathBuf,
    /// The model file to write
    #[arg(long)]
    pub out: PathBuf,
    /// The pictures it was trained on, if they have moved
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Weights of the last epoch instead of the best
    #[arg(long)]
    pub last: bool,
    /// How weights are stored
    #[arg(long, value_enum, default_value_t = WeightArg::F32)]
    pub weights: WeightArg,
    /// Pictures that engine and trainer must agree on
    #[arg(long, default_value_t = 200)]
    pub pictures: usize,
}

/// `train`.
#[derive(Args)]
pub struct TrainArgs {
    /// Folder of pictures
    pub data: PathBuf,
    /// Folder of the run; one that holds the same run unfinished is gone on with
    #[arg(long)]
    pub out: PathBuf,
    /// Threads [default: one a core]; the result does not depend on it
    #[arg(long)]
    pub threads: Option<usize>,
    /// Decides weights, split, order, augmentation and masks
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Network below the class-aligned layer
    #[arg(long, value_enum, default_value_t = BackboneArg::Tiny)]
    pub backbone: BackboneArg,
    /// How class-aligned channels are made
    #[arg(long, value_enum, default_value_t = ClassLayerArg::Project)]
    pub class_layer: ClassLayerArg,
    /// Input pixels a map cell, for `project`
    #[arg(long, default_value_t = 16)]
    pub stride: usize,
    /// Class-aligned channels a class
    #[arg(long, default_value_t = 3)]
    pub xi: usize,
    /// How a class's score is made of the maps
    #[arg(long, value_enum, default_value_t = HeadArg::Group)]
    pub head: HeadArg,
    /// Dropout before the head, 0..1
    #[arg(long, default_value_t = 0.0)]
    pub dropout: f32,

    /// Input side in pixels [default: 112 for tiny, else 224]
    #[arg(long)]
    pub side: Option<u32>,
    /// How a picture becomes the square input
    #[arg(long, value_enum, default_value_t = ResizeArg::Squash)]
    pub resize: ResizeArg,
    /// Share of the training pictures held out to choose the best epoch
    #[arg(long, default_value_t = 0.15)]
    pub validation: f64,
    /// Share of all pictures held out for `eval`, where DATA has no test split
    #[arg(long, default_value_t = 0.2)]
    pub test: f64,
    /// Keep pictures on one side of a split whose names agree up to this character
    #[arg(long)]
    pub group_by: Option<char>,
    /// Every class as often as every other
    #[arg(long)]
    pub balanced: bool,
    /// Smallest share of the picture that a training crop shows, 0..1; 1 shows the whole
    #[arg(long, default_value_t = 0.6)]
    pub crop: f32,
    /// How often a training picture is mirrored, 0..1; 0 where left and right matter (text, coins)
    #[arg(long, default_value_t = 0.5)]
    pub flip: f64,
    /// How far brightness, contrast and saturation vary, 0..1
    #[arg(long, default_value_t = 0.2)]
    pub jitter: f32,

    /// Passes over the training pictures
    #[arg(long, default_value_t = 30)]
    pub epochs: usize,
    /// Pictures a step
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// Peak learning rate of the backbone
    #[arg(long, default_value_t = 0.05)]
    pub rate: f64,
    /// Class-aligned layer and head learn this many times faster
    #[arg(long, default_value_t = 1.0)]
    pub head_factor: f64,
    /// L2 decay of weights
    #[arg(long, default_value_t = 5e-4)]
    pub weight_decay: f64,
    /// Epochs in which the rate rises
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// How the rate falls
    #[arg(long, value_enum, default_value_t = ScheduleArg::Cosine)]
    pub schedule: ScheduleArg,
    /// Stop after this many epochs without a better validation accuracy
    #[arg(long)]
    pub patience: Option<usize>,

    /// Weight of MC-Loss beside the cross-entropy
    #[arg(long, default_value_t = 1.0)]
    pub mu: f64,
    /// Weight of diversity inside MC-Loss
    #[arg(long, default_value_t = 1.0)]
    pub lambda: f64,
    /// Channels a class that the CWA mask keeps [default: half, rounded up]
    #[arg(long)]
    pub keep: Option<usize>,
    /// Epochs in which mu rises
    #[arg(long, default_value_t = 0.0)]
    pub mu_warm_up: f64,
    /// Share of the target spread over all classes
    #[arg(long, default_value_t = 0.0)]
    pub label_smoothing: f64,

    /// Save the state every so many steps, as well as after each epoch
    #[arg(long)]
    pub checkpoint_steps: Option<usize>,
}

/// `--backbone`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum BackboneArg {
    /// Our own: small pictures, two cores
    Tiny,
    /// With batch normalisation
    Vgg16,
    /// 11 million parameters
    Resnet18,
    /// 24 million parameters
    Resnet50,
    /// 2 million parameters, depthwise
    MobilenetV2,
    /// 3 million parameters, depthwise
    EfficientnetLite0,
}

/// `--class-layer`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClassLayerArg {
    /// A 1x1 convolution to xi channels a class
    Project,
    /// The backbone's last width is xi channels a class
    Native,
    /// The backbone's own channels, shared out
    Allot,
}

/// `--head`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HeadArg {
    /// Each class by its own channels: a weighted sum of their means
    Group,
    /// Each class by its own channels: the mean of their maximum
    GroupMax,
    /// Every class by all channels
    Linear,
}

/// `--resize`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResizeArg {
    /// Scale each axis on its own
    Squash,
    /// The largest centred square
    Crop,
    /// The whole picture on grey
    Pad,
}

/// `--schedule`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScheduleArg {
    /// Half a cosine to zero
    Cosine,
    /// A tenth after half of the run, a hundredth after three quarters
    Step,
}

/// `--weights`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeightArg {
    /// 4 bytes a weight
    F32,
    /// 2 bytes a weight
    F16,
}

impl From<WeightArg> for WeightType {
    fn from(arg: WeightArg) -> WeightType {
        match arg {
            WeightArg::F32 => WeightType::F32,
            WeightArg::F16 => WeightType::F16,
        }
    }
}

impl From<BackboneArg> for Backbone {
    fn from(arg: BackboneArg) -> Backbone {
        match arg {
            BackboneArg::Tiny => Backbone::Tiny,
            BackboneArg::Vgg16 => Backbone::Vgg16,
            BackboneArg::Resnet18 => Backbone::Resnet18,
            BackboneArg::Resnet50 => Backbone::Resnet50,
            BackboneArg::MobilenetV2 => Backbone::MobilenetV2,
            BackboneArg::EfficientnetLite0 => Backbone::EfficientnetLite0,
        }
    }
}

impl TrainArgs {
    /// What was typed, with the defaults that depend on each other.
    pub fn config(&self) -> Config {
        let side = self.side.unwrap_or(if self.backbone == BackboneArg::Tiny { 112 } else { 224 });
        Config {
            seed: self.seed,
            split: SplitRule {
                seed: self.seed,
                validation: self.validation,
                test: self.test,
                group: self.group_by.map(GroupBy::Prefix),
            },
            network: self.network(),
            side,
            resize: match self.resize {
                ResizeArg::Squash => ResizeRule::Squash,
                ResizeArg::Crop => ResizeRule::Crop,
                ResizeArg::Pad => ResizeRule::Pad,
            },
            augment: self.augment(),
            sampling: if self.balanced { Sampling::Balanced } else { Sampling::Uniform },
            loss: LossConfig {
                mc: Weights { mu: self.mu, lambda: self.lambda },
                keep: self.keep.map_or(Keep::Half, Keep::Count),
                mu_warm_up_epochs: self.mu_warm_up,
                label_smoothing: self.label_smoothing,
            },
            optim: self.optim(),
            batch: self.batch,
            epochs: self.epochs,
            patience: self.patience,
        }
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig {
            backbone: self.backbone.into(),
            class_layer: match self.class_layer {
                ClassLayerArg::Project => ClassLayer::Project { stride: self.stride },
                ClassLayerArg::Native => ClassLayer::Native,
                ClassLayerArg::Allot => ClassLayer::Allot,
            },
            xi: self.xi,
            head: match self.head {
                HeadArg::Group => HeadKind::GroupMean,
                HeadArg::GroupMax => HeadKind::GroupMax,
                HeadArg::Linear => HeadKind::Linear,
            },
            dropout: self.dropout,
        }
    }

    fn augment(&self) -> Augment {
        let crop = Crop::Part { area: [self.crop, 1.0], ratio: [0.85, 1.18] };
        Augment {
            crop: if self.crop < 1.0 { crop } else { Crop::Whole },
            flip: self.flip,
            brightness: self.jitter,
            contrast: self.jitter,
            saturation: self.jitter,
        }
    }

    fn optim(&self) -> OptimConfig {
        OptimConfig {
            rate: self.rate,
            head_factor: self.head_factor,
            momentum: 0.9,
            nesterov: true,
            weight_decay: self.weight_decay,
            warm_up_epochs: self.warm_up,
            schedule: match self.schedule {
                ScheduleArg::Cosine => Schedule::Cosine,
                ScheduleArg::Step => Schedule::Step { at: vec![0.5, 0.75], factor: 0.1 },
            },
        }
    }
}
