//! What a run takes from the heap: a binary of its own, whose allocator counts.

use std::alloc::System;
use std::path::{Path, PathBuf};

use fieldmark::engine::{Engine, Options, Output, Precision};
use fieldmark::head::HeadKind;
use fieldmark::pattern;
use fieldmark_trainer::data::dataset::{self, SplitRule};
use fieldmark_trainer::data::synth::{SynthConfig, draw_dataset};
use fieldmark_trainer::measure::unknown::DEFAULT_SCORE;
use fieldmark_trainer::net::backbone::Backbone;
use fieldmark_trainer::net::network::{ClassLayer, NetworkConfig};
use fieldmark_trainer::publish::export::{WeightType, export};
use fieldmark_trainer::run::config::Config;
use fieldmark_trainer::run::folder::untrained;
use fieldmark_trainer::run::recipe::Recipe;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

/// The system's allocator, which counts for all threads.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A file with first weights.
fn model(folder: &Path, backbone: Backbone) -> PathBuf {
    let (birds, path) = (folder.join("birds"), folder.join(format!("{backbone}.onnx")));
    if !birds.exists() {
        let config = SynthConfig { classes: 4, per_class_train: 4, per_class_test: 1, side: 64, seed: 1 };
        draw_dataset(&birds, &config).unwrap();
    }
    let dataset = dataset::read(&birds, &SplitRule::default()).unwrap();
    let class_layer = ClassLayer::Project { stride: 16 };
    let head = HeadKind::GroupMean;
    let network = NetworkConfig { backbone, convention: None, class_layer, xi: 3, head, dropout: 0.0 };
    let trained = untrained(dataset, Config { network, side: 64, ..Recipe::Scratch.config() }).unwrap();
    export(&trained, &path, WeightType::F32, 1, DEFAULT_SCORE, None).unwrap();
    path
}

#[test]
fn a_run_after_the_first_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for backbone in [Backbone::EfficientnetLite0, Backbone::Resnet18, Backbone::Vgg16] {
        let model = model(folder.path(), backbone);
        for (threads, precision) in [(1, Precision::F32), (2, Precision::F32), (2, Precision::F16)] {
            let engine = Engine::load(&model, Options { threads, precision, ..Options::default() }).unwrap();
            let frame = pattern(1, engine.description().input.side);
            let mut output = Output::default();
            engine.run_into(&frame, &mut output).unwrap();
            let region = Region::new(ALLOCATOR);
            for _ in 0..3 {
                engine.run_into(&frame, &mut output).unwrap();
            }
            let taken = region.change();
            assert_eq!(taken, Stats::default(), "{backbone}, {threads} threads, {precision:?}");
        }
    }
}
