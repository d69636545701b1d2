//! Every network exports to a file that the board's engine runs to the trainer's own logits.

use std::collections::BTreeSet;
use std::path::Path;

use candle_core::{Tensor, Var};
use fieldmark::engine::{Engine, Options};
use fieldmark::frame::pattern;
use fieldmark::head::HeadKind;
use fieldmark_trainer::data::dataset::{self, Dataset, SplitRule};
use fieldmark_trainer::measure::unknown::DEFAULT_SCORE;
use fieldmark_trainer::net::backbone::Backbone;
use fieldmark_trainer::net::layer::ParamKind;
use fieldmark_trainer::net::network::{ClassLayer, Network, NetworkConfig};
use fieldmark_trainer::publish::export::{ExportError, WeightType, export};
use fieldmark_trainer::random::{Stream, stream};
use fieldmark_trainer::run::config::Config;
use fieldmark_trainer::run::folder::{Trained, untrained};
use fieldmark_trainer::run::recipe::Recipe;
use rand::RngExt;

use crate::program::birds;

const NETWORK: NetworkConfig = NetworkConfig {
    backbone: Backbone::Tiny,
    convention: None,
    class_layer: ClassLayer::Project { stride: 8 },
    xi: 3,
    head: HeadKind::GroupMean,
    dropout: 0.0,
};

fn config(network: &NetworkConfig, side: u32) -> Config {
    let (network, resize) = (network.clone(), fieldmark::ResizeRule::Pad);
    Config { seed: 3, network, side, resize, ..Recipe::Scratch.config() }
}

/// Scales, shifts, statistics and head weights as training may leave them, so that folding has something to fold.
fn unsettle(network: &Network) {
    let mut rng = stream(Stream::Trial { number: 9 });
    let mut change = |var: &Var, low: f32, high: f32| {
        let values = (0..var.elem_count()).map(|_| rng.random_range(low..high)).collect();
        var.set(&Tensor::from_vec(values, var.shape(), var.device()).unwrap()).unwrap();
    };
    for (name, weight) in &network.params.weights {
        match weight.kind {
            ParamKind::Scale => change(&weight.var, 0.5, 1.5),
            ParamKind::Bias => change(&weight.var, -0.2, 0.3),
            _ if name.starts_with("head.") => change(&weight.var, -1.0, 1.0),
            _ => {}
        }
    }
    for (name, var) in &network.params.running {
        let (low, high) = if name.ends_with("running_var") { (0.4, 2.0) } else { (-0.3, 0.3) };
        change(var, low, high);
    }
}

fn trained(dataset: &Dataset, network: &NetworkConfig, side: u32) -> Trained {
    let trained = untrained(dataset.clone(), config(network, side)).unwrap();
    unsettle(&trained.network);
    trained
}

/// Exports, and checks what `export` does not: that the file read back passes its own self-test.
#[track_caller]
fn exports(
    folder: &Path,
    dataset: &Dataset,
    network: &NetworkConfig,
    side: u32,
    weights: WeightType,
) -> Engine {
    let path = folder.join("model.onnx");
    let trained = trained(dataset, network, side);
    let exported = export(&trained, &path, weights, 12, DEFAULT_SCORE, None)
        .unwrap_or_else(|error| panic!("{network:?} {weights:?}: {error}"));
    assert_eq!(exported.parity.pictures, 12);
    let engine = Engine::load(&path, Options::default()).unwrap();
    let report = engine.self_test().unwrap();
    assert!(report.passed(), "{network:?} {weights:?}: {report:?}");
    assert_eq!(engine.description().labels, dataset.labels);
    engine
}

#[test]
fn every_backbone_exports_and_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset::read(&birds(folder.path()), &SplitRule::default()).unwrap();
    for backbone in Backbone::ALL {
        let network = NetworkConfig { backbone, class_layer: ClassLayer::Project { stride: 8 }, ..NETWORK };
        exports(folder.path(), &dataset, &network, 64, WeightType::F32);
    }
}

#[test]
fn every_class_layer_and_head_exports_and_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset::read(&birds(folder.path()), &SplitRule::default()).unwrap();
    let hypercolumn = ClassLayer::Hypercolumn { stride: 4 };
    for class_layer in [ClassLayer::Project { stride: 4 }, hypercolumn, ClassLayer::Native, ClassLayer::Allot]
    {
        for head in [HeadKind::GroupMean, HeadKind::GroupMax, HeadKind::Linear] {
            for weights in [WeightType::F32, WeightType::F16] {
                let network = NetworkConfig { class_layer, head, ..NETWORK };
                let engine = exports(folder.path(), &dataset, &network, 48, weights);
                assert_eq!(engine.description().head.kind, head);
            }
        }
    }
}

/// As after a short training, the scales of many layers multiply to maps of several hundred. Beside such values the small
/// ones differ by more than the same values would alone.
#[test]
fn networks_with_large_maps_export_and_agree() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset::read(&birds(folder.path()), &SplitRule::default()).unwrap();
    let path = folder.path().join("model.onnx");
    for head in [HeadKind::GroupMax, HeadKind::GroupMean, HeadKind::Linear] {
        let network = NetworkConfig {
            backbone: Backbone::Resnet50,
            class_layer: ClassLayer::Native,
            xi: 4,
            head,
            ..NETWORK
        };
        let trained = trained(&dataset, &network, 64);
        let exported = export(&trained, &path, WeightType::F32, 12, DEFAULT_SCORE, None)
            .unwrap_or_else(|error| panic!("{head:?}: {error}"));
        assert!(exported.parity.worst < 1e-4, "{head:?}: {}", exported.parity.worst);
        let engine = Engine::load(&path, Options::default()).unwrap();
        let largest = engine.run(&pattern(1, 64)).unwrap().maps.iter().copied().fold(0.0, f32::max);
        assert!((300.0..1e5).contains(&largest), "{head:?}: {largest}");
        let report = engine.self_test().unwrap();
        assert!(report.passed(), "{head:?}: {report:?}");
    }
}

#[test]
fn uneven_groups_export_and_agree() {
    let folder = tempfile::tempdir().unwrap();
    let mut dataset = dataset::read(&birds(folder.path()), &SplitRule::default()).unwrap();
    // 128 channels over 5 classes: 2 x 25 + 3 x 26.
    dataset.labels.push("Wren".into());
    for head in [HeadKind::GroupMean, HeadKind::GroupMax, HeadKind::Linear] {
        let network = NetworkConfig { class_layer: ClassLayer::Allot, head, ..NETWORK };
        let engine = exports(folder.path(), &dataset, &network, 48, WeightType::F32);
        assert_eq!(engine.description().layout.offsets(), [0, 25, 50, 76, 102, 128]);
    }
}

#[test]
fn nothing_of_training_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset::read(&birds(folder.path()), &SplitRule::default()).unwrap();
    let network = NetworkConfig { dropout: 0.5, ..NETWORK };
    exports(folder.path(), &dataset, &network, 32, WeightType::F32);
    let bytes = std::fs::read(folder.path().join("model.onnx")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for operator in ["Dropout", "Softmax", "BatchNormalization", "LogSoftmax", "ReduceMax"] {
        assert!(!text.contains(operator), "{operator} is in the file");
    }
    assert!(text.contains("Conv") && text.contains("GlobalAveragePool"));
}

#[test]
fn a_model_that_cannot_be_right_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset::read(&birds(folder.path()), &SplitRule::default()).unwrap();
    let trained = trained(&dataset, &NETWORK, 32);
    let path = folder.path().join("deep/model.onnx");
    export(&trained, &path, WeightType::F32, 4, DEFAULT_SCORE, None).unwrap();
    let before = std::fs::read(&path).unwrap();
    let bias = trained.network.params.get("head.bias").unwrap();
    bias.set(&(bias.as_tensor() * f64::NAN).unwrap()).unwrap();
    let error = export(&trained, &path, WeightType::F32, 4, DEFAULT_SCORE, None).unwrap_err();
    assert!(matches!(error, ExportError::Description(_)), "{error}");
    let kernel = trained.network.params.get("class_aligned.conv.weight").unwrap();
    bias.set(&bias.zeros_like().unwrap()).unwrap();
    kernel.set(&(kernel.as_tensor() * 1e9).unwrap()).unwrap();
    let error = export(&trained, &path, WeightType::F16, 4, DEFAULT_SCORE, None).unwrap_err();
    assert!(matches!(error, ExportError::Overflow { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "the earlier file was touched");
    let files: BTreeSet<_> =
        std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
}
