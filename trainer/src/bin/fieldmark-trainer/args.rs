//! What can be typed, and the [`Config`] it means.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use fieldmark::frame::ResizeRule;
use fieldmark::head::HeadKind;
use fieldmark_trainer::data::batch::{Augment, Crop, Sampling};
use fieldmark_trainer::data::dataset::{GroupBy, SplitRule};
use fieldmark_trainer::data::synth::{SPECIES, SynthConfig};
use fieldmark_trainer::net::backbone::{Backbone, Convention};
use fieldmark_trainer::net::device::{Kind, Precision};
use fieldmark_trainer::net::mc_loss::{Keep, Weights};
use fieldmark_trainer::net::network::{ClassLayer, NetworkConfig, Norms};
use fieldmark_trainer::net::weights::Misfit;
use fieldmark_trainer::publish::export::WeightType;
use fieldmark_trainer::run::config::{Config, LossConfig, OptimConfig, Schedule};
use fieldmark_trainer::run::recipe::Recipe;

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
    /// Say what is suspicious about a data set; changes nothing
    Lint(LintArgs),
    /// Train on a folder of class folders or of split folders, a CSV list, or a published set's own layout
    Train(Box<TrainArgs>),
    /// Measure a run on its test split
    Eval(EvalArgs),
    /// Find the score that tells unknown pictures, by training again without some of the classes
    Unknown(UnknownArgs),
    /// Write the board's model file, after the board's own engine has agreed with the trainer
    Export(ExportArgs),
    /// Write a run's report: one HTML file, to be read in any browser
    Report(ReportArgs),
    /// Rewrite pretrained weights as one safetensors file that says what they are
    Weights(WeightsArgs),
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

/// `lint`.
#[derive(Args)]
pub struct LintArgs {
    /// Folder of pictures, or a CSV list of them
    pub data: PathBuf,
    /// All that was found, as JSON, into this file
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Exit with code 1 where something was found that is more than a note
    #[arg(long)]
    pub strict: bool,
    /// Threads [default: one a core]; the result does not depend on it
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
    /// Decides the split, as for `train`
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// What is held out
    #[command(flatten)]
    pub split: SplitArgs,
}

/// How pictures are held out.
#[derive(Args)]
pub struct SplitArgs {
    /// Share of the training pictures held out to choose the best epoch
    #[arg(long, default_value_t = SplitRule::default().validation)]
    pub validation: f64,
    /// Share of all pictures held out for `eval`, where DATA has no test split
    #[arg(long, default_value_t = SplitRule::default().test)]
    pub test: f64,
    /// Keep pictures on one side of a split whose names agree up to this character
    #[arg(long)]
    pub group_by: Option<char>,
}

impl SplitArgs {
    /// What was typed.
    pub fn rule(&self, seed: u64) -> SplitRule {
        let group = self.group_by.map(GroupBy::Prefix);
        SplitRule { seed, validation: self.validation, test: self.test, group }
    }
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
    /// Measure, too, whether the answers depend on what the cues show: some hundred passes a picture
    #[arg(long)]
    pub faithfulness: bool,
    /// Pictures on which that is measured
    #[arg(long, default_value_t = NonZeroUsize::new(200).expect("not zero"), requires = "faithfulness")]
    pub pictures: NonZeroUsize,
}

/// `unknown`.
#[derive(Args)]
pub struct UnknownArgs {
    /// Folder of a run; each training of the same kind is kept in its folder `unknown`, and gone on with
    pub run: PathBuf,
    /// The pictures it was trained on, if they have moved
    pub data: Option<PathBuf>,
    /// Trainings, each without other classes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Share of the classes that each does without, above 0 and below 1
    #[arg(long, default_value_t = 0.2)]
    pub share: f64,
    /// The pretrained weights that the run began with, if it began with any
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Threads [default: one a core]; the result does not depend on it
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
    /// Where the network computes
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
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

/// `report`.
#[derive(Args)]
pub struct ReportArgs {
    /// Folder of a run
    pub run: PathBuf,
    /// The pictures it was trained on, if they have moved
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The file to write [default: report.html in RUN]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Weights of the last epoch instead of the best
    #[arg(long)]
    pub last: bool,
    /// Where the network computes
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
    /// Write the curves into this folder for tensorboard, instead of a report
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "data", "last", "device"])]
    pub tensorboard: Option<PathBuf>,
}

/// `weights`.
#[derive(Args)]
pub struct WeightsArgs {
    /// Safetensors, a .pth of either form, or an ONNX file with weights inside
    pub file: PathBuf,
    /// Whose weights they are
    #[arg(long)]
    pub backbone: Backbone,
    /// What they expect of the first layers, where the file does not tell
    #[arg(long, value_enum)]
    pub convention: Option<ConventionArg>,
    /// Where they are from
    #[arg(long, default_value = "")]
    pub source: String,
    /// Under which licence
    #[arg(long, default_value = "")]
    pub licence: String,
    /// The file to write
    #[arg(long)]
    pub out: PathBuf,
}

/// `train`.
#[derive(Args)]
pub struct TrainArgs {
    /// Folder of pictures, or a CSV list of them
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

    /// What everything below defaults to [default: photos with --weights, else scratch]
    #[arg(long, value_enum)]
    pub recipe: Option<RecipeArg>,
    /// Pretrained weights of the backbone: safetensors, or a .pth of either form
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// What the weights expect of the first layers, where their file does not tell
    #[arg(long, value_enum, requires = "weights")]
    pub convention: Option<ConventionArg>,
    /// Tensors that may be left without a partner
    #[arg(long, value_enum, requires = "weights", value_delimiter = ',')]
    pub allow: Vec<MisfitArg>,

    /// Network below the class-aligned layer
    #[arg(
        long,
        help = "Network below the class-aligned layer: tiny, vgg16, vgg16_plain, resnet18, resnet50, \
        mobilenet_v2, efficientnet_lite0, efficientnet_lite1, efficientnet_lite2"
    )]
    pub backbone: Option<Backbone>,
    /// How class-aligned channels are made
    #[arg(long, value_enum)]
    pub class_layer: Option<ClassLayerArg>,
    /// Input pixels a map cell, for `project`
    #[arg(long)]
    pub stride: Option<usize>,
    /// Class-aligned channels a class
    #[arg(long)]
    pub xi: Option<usize>,
    /// How a class's score is made of the maps
    #[arg(long, value_enum)]
    pub head: Option<HeadArg>,
    /// Dropout before the head, 0..1
    #[arg(long)]
    pub dropout: Option<f32>,

    /// Input side in pixels
    #[arg(long)]
    pub side: Option<u32>,
    /// How a picture becomes the square input: squash (each axis scaled on its own), crop (the largest centred square),
    /// centre-1 to centre-100 (that many hundredths of it), pad (the whole picture on grey)
    #[arg(long)]
    pub resize: Option<ResizeRule>,
    /// What is held out
    #[command(flatten)]
    pub split: SplitArgs,
    /// Every class as often as every other
    #[arg(long)]
    pub balanced: bool,
    /// Smallest share of the picture that a training crop shows, 0..1; 1 shows the whole
    #[arg(long)]
    pub crop: Option<f32>,
    /// Instead of cropping, shift training pictures by up to this share of the side, 0..1
    #[arg(long, conflicts_with = "crop")]
    pub shift: Option<f32>,
    /// How often a training picture is mirrored, 0..1; 0 where left and right matter (text, coins)
    #[arg(long)]
    pub flip: Option<f64>,
    /// How far brightness, contrast and saturation vary, 0..1
    #[arg(long)]
    pub jitter: Option<f32>,

    /// Passes over the training pictures
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Pictures a step
    #[arg(long)]
    pub batch: Option<usize>,
    /// Peak learning rate of the backbone
    #[arg(long)]
    pub rate: Option<f64>,
    /// Class-aligned layer and head learn this many times faster
    #[arg(long)]
    pub head_factor: Option<f64>,
    /// Epochs in which only they learn
    #[arg(long)]
    pub head_first: Option<f64>,
    /// What the pretrained backbone's batch normalisations do
    #[arg(long, value_enum, requires = "weights")]
    pub norms: Option<NormsArg>,
    /// L2 decay of weights
    #[arg(long)]
    pub weight_decay: Option<f64>,
    /// Epochs in which the rate rises
    #[arg(long)]
    pub warm_up: Option<f64>,
    /// How the rate falls
    #[arg(long, value_enum)]
    pub schedule: Option<ScheduleArg>,
    /// Evaluate a running average of the weights that forgets this slowly, 0 (not at all) to below 1
    #[arg(long)]
    pub average: Option<f64>,
    /// Stop after this many epochs without a better validation accuracy
    #[arg(long)]
    pub patience: Option<usize>,

    /// Weight of MC-Loss beside the cross-entropy
    #[arg(long)]
    pub mu: Option<f64>,
    /// Weight of diversity inside MC-Loss
    #[arg(long)]
    pub lambda: Option<f64>,
    /// Channels a class that the CWA mask keeps [default: half, rounded up]
    #[arg(long)]
    pub keep: Option<usize>,
    /// Epochs in which mu rises
    #[arg(long)]
    pub mu_warm_up: Option<f64>,
    /// Share of the target spread over all classes
    #[arg(long)]
    pub label_smoothing: Option<f64>,

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

/// `--norms`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NormsArg {
    /// Normalise by each batch's own statistics, and learn
    Learn,
    /// Keep what came with pretrained weights
    Keep,
}

impl From<NormsArg> for Norms {
    fn from(arg: NormsArg) -> Norms {
        match arg {
            NormsArg::Learn => Norms::Learn,
            NormsArg::Keep => Norms::Keep,
        }
    }
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

/// `--recipe`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecipeArg {
    /// From random weights, on a small processor
    Scratch,
    /// From ImageNet's weights, for 20 to 200 photos a class
    Photos,
    /// The authors' VGG-16 from random weights
    PaperScratch,
    /// The authors' ResNet-50 from ImageNet's weights
    PaperFinetune,
}

/// `--convention`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConventionArg {
    /// ImageNet's mean and deviation, as many zeros on every side
    Imagenet,
    /// (x - 127) / 128, SAME padding
    Tensorflow,
    /// (x - 127.5) / 127.5, SAME padding
    TimmTf,
    /// The mean subtracted, blue first
    Caffe,
}

/// `--allow`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MisfitArg {
    /// Parameters that the file lacks
    Missing,
    /// Tensors that no layer has
    Unexpected,
    /// Tensors of another shape
    Misshapen,
}

impl From<RecipeArg> for Recipe {
    fn from(arg: RecipeArg) -> Recipe {
        match arg {
            RecipeArg::Scratch => Recipe::Scratch,
            RecipeArg::Photos => Recipe::Photos,
            RecipeArg::PaperScratch => Recipe::PaperScratch,
            RecipeArg::PaperFinetune => Recipe::PaperFinetune,
        }
    }
}

impl From<ConventionArg> for Convention {
    fn from(arg: ConventionArg) -> Convention {
        match arg {
            ConventionArg::Imagenet => Convention::Imagenet,
            ConventionArg::Tensorflow => Convention::Tensorflow,
            ConventionArg::TimmTf => Convention::TimmTf,
            ConventionArg::Caffe => Convention::Caffe,
        }
    }
}

impl From<MisfitArg> for Misfit {
    fn from(arg: MisfitArg) -> Misfit {
        match arg {
            MisfitArg::Missing => Misfit::Missing,
            MisfitArg::Unexpected => Misfit::Unexpected,
            MisfitArg::Misshapen => Misfit::Misshapen,
        }
    }
}

impl TrainArgs {
    /// The recipe, changed as was typed; the pretrained weights are still to be read.
    pub fn config(&self) -> Config {
        let default = if self.weights.is_some() { RecipeArg::Photos } else { RecipeArg::Scratch };
        let mut base = Recipe::from(self.recipe.unwrap_or(default)).config();
        if self.backbone.is_some_and(|backbone| backbone != base.network.backbone) {
            base = for_another_backbone(base);
        }
        Config {
            seed: self.seed,
            split: self.split.rule(self.seed),
            network: self.network(&base.network),
            pretrained: None,
            side: self.side.unwrap_or(base.side),
            resize: self.resize.unwrap_or(base.resize),
            augment: self.augment(&base.augment),
            sampling: if self.balanced { Sampling::Balanced } else { base.sampling },
            loss: LossConfig {
                mc: Weights {
                    mu: self.mu.unwrap_or(base.loss.mc.mu),
                    lambda: self.lambda.unwrap_or(base.loss.mc.lambda),
                },
                keep: self.keep.map_or(base.loss.keep, Keep::Count),
                mu_warm_up_epochs: self.mu_warm_up.unwrap_or(base.loss.mu_warm_up_epochs),
                label_smoothing: self.label_smoothing.unwrap_or(base.loss.label_smoothing),
            },
            optim: self.optim(base.optim),
            batch: self.batch.unwrap_or(base.batch),
            epochs: self.epochs.unwrap_or(base.epochs),
            patience: self.patience,
            precision: self.precision.into(),
        }
    }

    fn network(&self, base: &NetworkConfig) -> NetworkConfig {
        let class_layer = match (self.class_layer, self.stride, base.class_layer) {
            (None | Some(ClassLayerArg::Project), Some(stride), _) => ClassLayer::Project { stride },
            (None, None, class_layer) => class_layer,
            (Some(ClassLayerArg::Project), None, ClassLayer::Project { stride }) => {
                ClassLayer::Project { stride }
            }
            (Some(ClassLayerArg::Project), None, _) => ClassLayer::Project { stride: 16 },
            (Some(ClassLayerArg::Native), ..) => ClassLayer::Native,
            (Some(ClassLayerArg::Allot), ..) => ClassLayer::Allot,
        };
        NetworkConfig {
            backbone: self.backbone.unwrap_or(base.backbone),
            convention: None,
            class_layer,
            xi: self.xi.unwrap_or(base.xi),
            head: self.head.map_or(base.head, HeadKind::from),
            dropout: self.dropout.unwrap_or(base.dropout),
        }
    }

    fn augment(&self, base: &Augment) -> Augment {
        let crop = match (self.shift, self.crop) {
            (Some(by), _) => Crop::Shifted { by },
            (None, Some(1.0..)) => Crop::Whole,
            (None, Some(least)) => Crop::Part { area: [least, 1.0], ratio: ratio(base.crop) },
            (None, None) => base.crop,
        };
        Augment {
            crop,
            flip: self.flip.unwrap_or(base.flip),
            brightness: self.jitter.unwrap_or(base.brightness),
            contrast: self.jitter.unwrap_or(base.contrast),
            saturation: self.jitter.unwrap_or(base.saturation),
        }
    }

    fn optim(&self, base: OptimConfig) -> OptimConfig {
        OptimConfig {
            rate: self.rate.unwrap_or(base.rate),
            head_factor: self.head_factor.unwrap_or(base.head_factor),
            head_first_epochs: self.head_first.unwrap_or(base.head_first_epochs),
            // Random weights have no statistics worth keeping, and some of these may stay random.
            norms: match self.norms {
                Some(norms) => norms.into(),
                None if self.weights.is_some() && self.allow.is_empty() => base.norms,
                None => Norms::Learn,
            },
            weight_decay: self.weight_decay.unwrap_or(base.weight_decay),
            warm_up_epochs: self.warm_up.unwrap_or(base.warm_up_epochs),
            schedule: match self.schedule {
                Some(ScheduleArg::Cosine) => Schedule::Cosine,
                Some(ScheduleArg::Step) => Schedule::Step { at: vec![0.5, 0.75], factor: 0.1 },
                None => base.schedule,
            },
            average: self.average.unwrap_or(base.average),
            ..base
        }
    }
}

/// `tiny` keeps fine maps of large pictures; what two cores can do with another network from random weights is less.
fn for_another_backbone(base: Config) -> Config {
    if base.network.backbone != Backbone::Tiny {
        return base;
    }
    let network = NetworkConfig { class_layer: ClassLayer::Project { stride: 16 }, ..base.network };
    Config { network, side: 128, ..base }
}

/// Width over height of a training crop.
fn ratio(crop: Crop) -> [f32; 2] {
    match crop {
        Crop::Part { ratio, .. } => ratio,
        Crop::Whole | Crop::Shifted { .. } => match Augment::default().crop {
            Crop::Part { ratio, .. } => ratio,
            Crop::Whole | Crop::Shifted { .. } => [1.0, 1.0],
        },
    }
}

impl From<HeadArg> for HeadKind {
    fn from(arg: HeadArg) -> HeadKind {
        match arg {
            HeadArg::Group => HeadKind::GroupMean,
            HeadArg::GroupMax => HeadKind::GroupMax,
            HeadArg::Linear => HeadKind::Linear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pretrained_normalisations_are_kept_where_all_of_them_are_there() {
        for (words, expected) in [
            ("", Some(Norms::Learn)),
            ("--recipe photos", Some(Norms::Learn)),
            ("--weights w", Some(Norms::Keep)),
            ("--weights w --allow missing", Some(Norms::Learn)),
            ("--weights w --norms learn", Some(Norms::Learn)),
            ("--weights w --allow missing --norms keep", Some(Norms::Keep)),
            ("--weights w --recipe scratch", Some(Norms::Learn)),
            ("--norms keep", None),
        ] {
            let line = format!("fieldmark-trainer train data --out run {words}");
            let norms = Cli::try_parse_from(line.split_whitespace()).ok().map(|cli| match cli.command {
                Command::Train(args) => args.config().optim.norms,
                _ => unreachable!("the line says train"),
            });
            assert_eq!(norms, expected, "{words}");
        }
    }
}
