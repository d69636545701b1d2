//! What `train` can be told, and the [`Config`] it means.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fieldmark::frame::ResizeRule;
use fieldmark::head::HeadKind;
use fieldmark_trainer::data::batch::{Augment, Crop, Sampling};
use fieldmark_trainer::data::dataset::{GroupBy, SplitRule};
use fieldmark_trainer::net::backbone::{Backbone, Convention};
use fieldmark_trainer::net::device::{Kind, Precision};
use fieldmark_trainer::net::mc_loss::{Diversity, Keep};
use fieldmark_trainer::net::network::{ClassLayer, NetworkConfig, Norms};
use fieldmark_trainer::net::weights::Misfit;
use fieldmark_trainer::run::config::{Config, Reach, Schedule};
use fieldmark_trainer::run::config_file::{self, ConfigFileError};
use fieldmark_trainer::run::recipe::Recipe;

/// `train`.
#[derive(Args)]
pub struct TrainArgs {
    /// Folder of pictures, or a CSV list of them
    pub data: PathBuf,
    /// Settings that every option below overrides, in TOML or JSON: any of those of a run's config.json, and `recipe`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where all other settings come from [default: photos with --weights, else scratch]
    #[arg(long, value_enum)]
    pub recipe: Option<Recipe>,
    /// Seed of weights, split, order, augmentation and masks
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where the network computes
    #[arg(long, value_enum, default_value_t)]
    pub device: Kind,
    /// Number format of the maps between layers; bf16 needs a GPU
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
    /// Number of threads; the result does not depend on it [default: one per core]
    #[arg(long, value_parser = super::threads)]
    pub threads: Option<NonZeroUsize>,

    /// What is read and how it is changed.
    #[command(flatten)]
    pub pictures: DataArgs,
    /// What is trained.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// What it is trained for.
    #[command(flatten)]
    pub loss: LossArgs,
    /// How it is trained.
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    /// Where the run is saved.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How pictures are held out.
#[derive(Args)]
pub struct SplitArgs {
    /// Share of the training pictures held out to choose the best epoch
    #[arg(long, value_name = "SHARE")]
    pub validation: Option<f64>,
    /// Share of all pictures held out for `eval`, if DATA has no test split
    #[arg(long, value_name = "SHARE")]
    pub test: Option<f64>,
    /// Keep pictures together whose names agree up to the last such character
    #[arg(long, value_name = "CHARACTER")]
    pub group_by: Option<char>,
}

impl SplitArgs {
    /// `rule` with what was typed in place of its own.
    pub fn over(&self, mut rule: SplitRule) -> SplitRule {
        set(&mut rule.validation, self.validation);
        set(&mut rule.test, self.test);
        set(&mut rule.group, self.group_by.map(|character| Some(GroupBy::Prefix(character))));
        rule
    }
}

/// What is read and how it is changed.
#[derive(Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// What is held out.
    #[command(flatten)]
    pub split: SplitArgs,
    /// Draw every class equally often, however many pictures it has
    #[arg(long)]
    pub balanced: bool,
    /// Side of the network's input in pixels
    #[arg(long, value_name = "PIXELS")]
    pub side: Option<u32>,
    /// How a picture becomes the square input: squash (each axis scaled on its own), crop (the largest centred square),
    /// centre-1 to centre-100 (a centred square of that percentage of it), pad (the whole picture on grey)
    #[arg(long, value_name = "RULE")]
    pub resize: Option<ResizeRule>,
    /// Smallest share of the picture that a random training crop shows, 0..1; 1 does not crop
    #[arg(long, value_name = "SHARE")]
    pub crop: Option<f32>,
    /// Shift training pictures by up to this share of the side instead of cropping them, 0..1
    #[arg(long, value_name = "SHARE", conflicts_with = "crop")]
    pub shift: Option<f32>,
    /// Probability of flipping a training picture left to right, 0..1; 0 if left and right matter (text, coins)
    #[arg(long, value_name = "PROBABILITY")]
    pub flip: Option<f64>,
    /// Random change of brightness, contrast and saturation, 0..1
    #[arg(long, value_name = "SHARE")]
    pub jitter: Option<f32>,
}

/// What is trained.
#[derive(Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Network below the class-aligned layer
    #[arg(long, value_enum)]
    pub backbone: Option<Backbone>,
    /// Pretrained weights of the backbone to start from: safetensors, ONNX, or what torch.save writes
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Normalisation, padding and epsilon that the pretrained weights expect, if their file does not say
    #[arg(long, value_enum)]
    pub convention: Option<Convention>,
    /// Load pretrained weights although some tensors do not match
    #[arg(long, value_enum, value_delimiter = ',')]
    pub allow: Vec<Misfit>,
    /// What the pretrained backbone's batch normalisations do in training
    #[arg(long, value_enum)]
    pub norms: Option<Norms>,
    /// How class-aligned channels are made
    #[arg(long, value_enum)]
    pub class_layer: Option<ClassLayerArg>,
    /// Input pixels per map cell, for `--class-layer project` and `hypercolumn`
    #[arg(long, value_name = "PIXELS")]
    pub stride: Option<usize>,
    /// Class-aligned channels per class
    #[arg(long, value_name = "CHANNELS")]
    pub xi: Option<usize>,
    /// How class scores are made of the maps
    #[arg(long, value_enum)]
    pub head: Option<HeadKind>,
    /// Dropout before the head, 0..1
    #[arg(long, value_name = "PROBABILITY")]
    pub dropout: Option<f32>,
}

/// What it is trained for.
#[derive(Args)]
#[command(next_help_heading = "Loss")]
pub struct LossArgs {
    /// Factor of MC-Loss, which is added to the cross-entropy
    #[arg(long)]
    pub mu: Option<f64>,
    /// Factor of the diversity term inside MC-Loss
    #[arg(long)]
    pub lambda: Option<f64>,
    /// Whose channels the diversity term counts
    #[arg(long, value_enum, value_name = "CLASSES")]
    pub diversity: Option<Diversity>,
    /// Which layers learn by the diversity term
    #[arg(long, value_enum, value_name = "LAYERS")]
    pub diversity_reach: Option<Reach>,
    /// Channels per class that the CWA mask keeps; `half` rounds up
    #[arg(long, value_name = "CHANNELS")]
    pub keep: Option<usize>,
    /// Epochs over which mu rises from 0
    #[arg(long, value_name = "EPOCHS")]
    pub mu_warm_up: Option<f64>,
    /// Share of the target spread over all classes, 0..1
    #[arg(long, value_name = "SHARE")]
    pub label_smoothing: Option<f64>,
}

/// How it is trained.
#[derive(Args)]
#[command(next_help_heading = "Schedule")]
pub struct ScheduleArgs {
    /// Passes over the training pictures
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Pictures per step
    #[arg(long, value_name = "PICTURES")]
    pub batch: Option<usize>,
    /// Peak learning rate of the backbone
    #[arg(long)]
    pub rate: Option<f64>,
    /// The class-aligned layer and the head learn at the rate times this
    #[arg(long, value_name = "FACTOR")]
    pub head_factor: Option<f64>,
    /// Epochs at the start in which only these two learn
    #[arg(long, value_name = "EPOCHS")]
    pub head_first: Option<f64>,
    /// L2 weight decay
    #[arg(long, value_name = "DECAY")]
    pub weight_decay: Option<f64>,
    /// Epochs over which the learning rate rises from 0
    #[arg(long, value_name = "EPOCHS")]
    pub warm_up: Option<f64>,
    /// How the learning rate falls
    #[arg(long, value_enum)]
    pub schedule: Option<ScheduleArg>,
    /// Evaluate a moving average of the weights with this decay per step, 0 (no average) to below 1
    #[arg(long, value_name = "DECAY")]
    pub average: Option<f64>,
    /// Stop after this many epochs without a higher validation accuracy
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<usize>,
}

/// Where the run is saved.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Folder of the run; an unfinished run there is resumed
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Save a checkpoint every so many steps, as well as after each epoch
    #[arg(long, value_name = "STEPS")]
    pub checkpoint_steps: Option<NonZeroUsize>,
}

/// `--class-layer`: the kinds of [`ClassLayer`]; `--stride` completes the first two.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClassLayerArg {
    /// A 1x1 convolution to xi channels per class
    Project,
    /// As project, on the maps of the stride and the backbone's last ones together
    Hypercolumn,
    /// The backbone's last layer has xi channels per class
    Native,
    /// The backbone's own channels, shared out among the classes
    Allot,
}

/// `--schedule`: the kinds of [`Schedule`].
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScheduleArg {
    /// Half a cosine to zero
    Cosine,
    /// A tenth after half of the run, a hundredth after three quarters
    Step,
}

/// `train` with options that mean nothing without pretrained weights refused there. `make` may fetch some, and takes them.
pub fn tied_to_weights(train: clap::Command) -> clap::Command {
    let tied = ["convention", "allow", "norms"];
    tied.into_iter().fold(train, |train, name| train.mut_arg(name, |arg| arg.requires("weights")))
}

impl TrainArgs {
    /// The recipe, with the file's settings over it and what was typed over these. The pretrained weights are still to
    /// be read: what the file says of them stands in it.
    ///
    /// # Errors
    /// A file that cannot be read or has settings that there are not.
    pub fn settings(&self) -> Result<Config, ConfigFileError> {
        let file = self.config.as_deref().map(config_file::read).transpose()?;
        let named = file.as_ref().and_then(|file| file.recipe);
        let default = if self.network.weights.is_some() { Recipe::Photos } else { Recipe::Scratch };
        let mut config = self.recipe.or(named).unwrap_or(default).config();
        let backbone = self.network.backbone.or(file.as_ref().and_then(|file| file.backbone));
        if backbone.is_some_and(|backbone| backbone != config.network.backbone) {
            config = for_another_backbone(config);
        }
        if !self.network.has_whole_start() {
            config.optim.norms = Norms::Learn;
        }
        if let Some(file) = &file {
            config = file.over(config)?;
        }
        if let Some(seed) = self.seed {
            (config.seed, config.split.seed) = (seed, seed);
        }
        set(&mut config.precision, self.precision);
        self.pictures.apply(&mut config);
        self.network.apply(&mut config);
        self.loss.apply(&mut config);
        self.schedule.apply(&mut config);
        Ok(config)
    }

    /// Tensors that may be left without a partner: those typed, else those of `config`.
    pub fn allow(&self, config: &Config) -> BTreeSet<Misfit> {
        match &config.pretrained {
            Some(start) if self.network.allow.is_empty() => start.allow.clone(),
            _ => self.network.allow.iter().copied().collect(),
        }
    }
}

fn set<T>(setting: &mut T, typed: Option<T>) {
    if let Some(typed) = typed {
        *setting = typed;
    }
}

impl DataArgs {
    fn apply(&self, config: &mut Config) {
        config.split = self.split.over(config.split.clone());
        if self.balanced {
            config.sampling = Sampling::Balanced;
        }
        set(&mut config.side, self.side);
        set(&mut config.resize, self.resize);
        let augment = &mut config.augment;
        augment.crop = match (self.shift, self.crop) {
            (Some(by), _) => Crop::Shifted { by },
            (None, Some(1.0..)) => Crop::Whole,
            (None, Some(least)) => Crop::Part { area: [least, 1.0], ratio: ratio(augment.crop) },
            (None, None) => augment.crop,
        };
        set(&mut augment.flip, self.flip);
        for setting in [&mut augment.brightness, &mut augment.contrast, &mut augment.saturation] {
            set(setting, self.jitter);
        }
    }
}

impl NetworkArgs {
    /// Whether all of the backbone's batch normalisations come from pretrained weights. Random ones have no statistics
    /// worth keeping. What a file has besides changes nothing of that.
    fn has_whole_start(&self) -> bool {
        self.weights.is_some() && self.allow.iter().all(|kind| *kind == Misfit::Unexpected)
    }

    /// That of the options, of which each leaves what it does not say as it `was`.
    fn class_layer(&self, was: ClassLayer) -> ClassLayer {
        let (kind, stride) = match was {
            ClassLayer::Project { stride } => (ClassLayerArg::Project, Some(stride)),
            ClassLayer::Hypercolumn { stride } => (ClassLayerArg::Hypercolumn, Some(stride)),
            // A stride alone asks for a layer that has one.
            ClassLayer::Native | ClassLayer::Allot if self.stride.is_some() => (ClassLayerArg::Project, None),
            ClassLayer::Native => (ClassLayerArg::Native, None),
            ClassLayer::Allot => (ClassLayerArg::Allot, None),
        };
        let stride = self.stride.or(stride).unwrap_or(16);
        match self.class_layer.unwrap_or(kind) {
            ClassLayerArg::Project => ClassLayer::Project { stride },
            ClassLayerArg::Hypercolumn => ClassLayer::Hypercolumn { stride },
            ClassLayerArg::Native => ClassLayer::Native,
            ClassLayerArg::Allot => ClassLayer::Allot,
        }
    }

    fn apply(&self, config: &mut Config) {
        let network = &mut config.network;
        set(&mut network.backbone, self.backbone);
        network.class_layer = self.class_layer(network.class_layer);
        set(&mut network.xi, self.xi);
        set(&mut network.head, self.head);
        set(&mut network.dropout, self.dropout);
        set(&mut config.optim.norms, self.norms);
    }
}

impl LossArgs {
    fn apply(&self, config: &mut Config) {
        let loss = &mut config.loss;
        set(&mut loss.mc.mu, self.mu);
        set(&mut loss.mc.lambda, self.lambda);
        set(&mut loss.mc.diversity, self.diversity);
        set(&mut loss.diversity_reach, self.diversity_reach);
        set(&mut loss.keep, self.keep.map(Keep::Count));
        set(&mut loss.mu_warm_up_epochs, self.mu_warm_up);
        set(&mut loss.label_smoothing, self.label_smoothing);
    }
}

impl ScheduleArgs {
    fn apply(&self, config: &mut Config) {
        set(&mut config.epochs, self.epochs);
        set(&mut config.batch, self.batch);
        set(&mut config.patience, self.patience.map(Some));
        let optim = &mut config.optim;
        set(&mut optim.rate, self.rate);
        set(&mut optim.head_factor, self.head_factor);
        set(&mut optim.head_first_epochs, self.head_first);
        set(&mut optim.weight_decay, self.weight_decay);
        set(&mut optim.warm_up_epochs, self.warm_up);
        let schedule = self.schedule.map(|kind| match kind {
            ScheduleArg::Cosine => Schedule::Cosine,
            ScheduleArg::Step => Schedule::Step { at: vec![0.5, 0.75], factor: 0.1 },
        });
        set(&mut optim.schedule, schedule);
        set(&mut optim.average, self.average);
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

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use crate::args::{Cli, Command, command};

    fn typed(words: &str) -> Option<Config> {
        let line = format!("fieldmark-trainer train data --out run {words}");
        let matches = command().try_get_matches_from(line.split_whitespace()).ok()?;
        let cli = Cli::from_arg_matches(&matches).unwrap();
        let Command::Train(args) = cli.command else { unreachable!("the line says train") };
        Some(args.settings().unwrap())
    }

    #[test]
    fn pretrained_normalisations_are_kept_where_all_of_them_are_there() {
        for (words, expected) in [
            ("", Some(Norms::Learn)),
            ("--recipe photos", Some(Norms::Learn)),
            ("--weights w", Some(Norms::Keep)),
            ("--weights w --allow missing", Some(Norms::Learn)),
            ("--weights w --allow misshapen", Some(Norms::Learn)),
            ("--weights w --allow unexpected", Some(Norms::Keep)),
            ("--weights w --allow unexpected --allow missing", Some(Norms::Learn)),
            ("--weights w --norms learn", Some(Norms::Learn)),
            ("--weights w --allow missing --norms keep", Some(Norms::Keep)),
            ("--weights w --recipe scratch", Some(Norms::Learn)),
            ("--norms keep", None),
        ] {
            assert_eq!(typed(words).map(|config| config.optim.norms), expected, "{words}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "recipe = \"photos\"\nepochs = 3\nbatch = 5\nseed = 2\n").unwrap();
        let config = typed(&format!("--config {} --epochs 4", path.display())).unwrap();
        let photos = Recipe::Photos.config();
        assert_eq!((config.epochs, config.batch, config.side), (4, 5, photos.side));
        assert_eq!((config.seed, config.split.seed), (2, 2));
        let config = typed(&format!("--config {} --recipe scratch --seed 1", path.display())).unwrap();
        assert_eq!((config.epochs, config.side), (3, Recipe::Scratch.config().side));
        assert_eq!((config.seed, config.split.seed), (1, 1));
    }

    #[test]
    fn a_runs_own_configuration_file_alone_gives_the_same_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        for words in [
            "",
            "--recipe paper-finetune",
            "--weights w --crop 1 --patience 3 --group-by _",
            "--backbone resnet18",
        ] {
            let config = typed(words).unwrap();
            std::fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
            assert_eq!(typed(&format!("--config {}", path.display())), Some(config), "{words}");
        }
    }

    #[test]
    fn another_backbone_in_the_file_is_as_one_that_was_typed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "[network]\nbackbone = \"resnet18\"\n").unwrap();
        assert_eq!(typed(&format!("--config {}", path.display())), typed("--backbone resnet18"));
    }

    #[test]
    fn head_kinds_are_typed_as_files_name_them() {
        for &kind in HeadKind::value_variants() {
            let name = serde_json::to_value(kind).unwrap();
            let config = typed(&format!("--head {}", name.as_str().unwrap())).unwrap();
            assert_eq!(config.network.head, kind);
        }
        assert_eq!(typed("--head group").unwrap().network.head, HeadKind::GroupMean);
    }
}
