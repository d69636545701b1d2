//! What can be typed, and the [`Config`] it means.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fieldmark::frame::ResizeRule;
use fieldmark::head::HeadKind;
use fieldmark_trainer::backbone::Backbone;
use fieldmark_trainer::batch::{Augment, Crop, Sampling};
use fieldmark_trainer::config::{Config, LossConfig, Precision};
use fieldmark_trainer::dataset::{GroupBy, SplitRule};
use fieldmark_trainer::device::Kind;
use fieldmark_trainer::export::WeightType;
use fieldmark_trainer::mc_loss::{Keep, Weights};
use fieldmark_trainer::network::{ClassLayer, NetworkConfig};
use fieldmark_trainer::optim::{OptimConfig, Schedule};
use fieldmark_trainer::synth::{SPECIES, SynthConfig};

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
    /// Folder to make; it must be absent or empty
    pub out: PathBuf,
    /// Species, an even number
    #[arg(long, default_value_t = SPECIES.len())]
    pub classes: usize,
    /// Training pictures a class
    #[arg(long, default_value_t = SynthConfig::default().per_class_train)]
    pub train: usize,
    /// Test pictures a class
    #[arg(long, default_value_t = SynthConfig::default().per_class_test)]
    pub test: usize,
    /// Side of a picture in pixels
    #[arg(long, default_value_t = SynthConfig::default().side)]
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
    /// Where the network computes
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
    /// Of the maps between layers; the board computes in f32
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    pub precision: PrecisionArg,
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
    pub threads: Option<NonZeroUsize>,
    /// Where the network computes
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
    /// Of the maps between layers; bf16 needs a GPU
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    pub precision: PrecisionArg,
    /// Decides weights, split, order, augmentation and masks
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Network below the class-aligned layer: tiny, vgg16, resnet18 or 50, or a mobile one
    #[arg(long, default_value_t = Backbone::Tiny, help = "Network below the class-aligned layer: tiny, vgg16, \
        resnet18, resnet50, mobilenet_v2, efficientnet_lite0")]
    pub backbone: Backbone,
    /// How class-aligned channels are made
    #[arg(long, value_enum, default_value_t = ClassLayerArg::Project)]
    pub class_layer: ClassLayerArg,
    /// Input pixels a map cell, for `project` [default: 8 for tiny, else 16]
    #[arg(long)]
    pub stride: Option<usize>,
    /// Class-aligned channels a class
    #[arg(long, default_value_t = 3)]
    pub xi: usize,
    /// How a class's score is made of the maps
    #[arg(long, value_enum, default_value_t = HeadArg::Group)]
    pub head: HeadArg,
    /// Dropout before the head, 0..1
    #[arg(long, default_value_t = 0.0)]
    pub dropout: f32,

    /// Input side in pixels [default: 160 for tiny, else 128]
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
    /// Instead of cropping, shift training pictures by up to this share of the side, 0..1
    #[arg(long, conflicts_with = "crop")]
    pub shift: Option<f32>,
    /// How often a training picture is mirrored, 0..1; 0 where left and right matter (text, coins)
    #[arg(long, default_value_t = 0.5)]
    pub flip: f64,
    /// How far brightness, contrast and saturation vary, 0..1
    #[arg(long, default_value_t = 0.2)]
    pub jitter: f32,

    /// Passes over the training pictures
    #[arg(long, default_value_t = 60)]
    pub epochs: usize,
    /// Pictures a step
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// Peak learning rate of the backbone
    #[arg(long, default_value_t = 0.1)]
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
    #[arg(long, default_value_t = 0.5)]
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
    pub checkpoint_steps: Option<NonZeroUsize>,
}

/// `--device`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceArg {
    /// The processor
    Cpu,
    /// The first NVIDIA GPU
    Cuda,
}

/// `--precision`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    /// 4 bytes a value
    F32,
    /// 2 bytes a value, with the range of f32
    Bf16,
}

impl From<DeviceArg> for Kind {
    fn from(arg: DeviceArg) -> Kind {
        match arg {
            DeviceArg::Cpu => Kind::Cpu,
            DeviceArg::Cuda => Kind::Cuda,
        }
    }
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Precision {
        match arg {
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::Bf16 => Precision::Bf16,
        }
    }
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

impl TrainArgs {
    /// What was typed, with the defaults that depend on each other.
    pub fn config(&self) -> Config {
        let is_tiny = self.backbone == Backbone::Tiny;
        // Enough for training from scratch, and what two cores can do.
        let side = self.side.unwrap_or(if is_tiny { 160 } else { 128 });
        let stride = self.stride.unwrap_or(if is_tiny { 8 } else { 16 });
        Config {
            seed: self.seed,
            split: SplitRule {
                seed: self.seed,
                validation: self.validation,
                test: self.test,
                group: self.group_by.map(GroupBy::Prefix),
            },
            network: self.network(stride),
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
            precision: self.precision.into(),
        }
    }

    fn network(&self, stride: usize) -> NetworkConfig {
        NetworkConfig {
            backbone: self.backbone,
            class_layer: match self.class_layer {
                ClassLayerArg::Project => ClassLayer::Project { stride },
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
        let crop = match self.shift {
            Some(by) => Crop::Shifted { by },
            None if self.crop >= 1.0 => Crop::Whole,
            None => Crop::Part { area: [self.crop, 1.0], ratio: [0.85, 1.18] },
        };
        Augment {
            crop,
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
