//! Pretrained weights come out of every form of file as they went in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use fieldmark::head::HeadKind;
use fieldmark_trainer::net::backbone::{Backbone, Convention};
use fieldmark_trainer::net::layer::Layer;
use fieldmark_trainer::net::network::{ClassLayer, Network, NetworkConfig, build};
use fieldmark_trainer::net::weights::{Misfit, Pretrained, Start, WeightsError, read, read_start};

const LITE0: Backbone = Backbone::EfficientnetLite0;

/// As `golden/make_weights.py` made them.
const SHAPES: [(&str, &[usize]); 4] = [
    ("conv_stem.weight", &[32, 3, 3, 3]),
    ("bn1.weight", &[32]),
    ("bn1.running_mean", &[32]),
    ("blocks.0.0.conv_pw.weight", &[16, 32, 1, 1]),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/weights").join(name)
}

fn values(t: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| ((7 * i + 13 * t) % 101) as f32).map(|value| (value - 50.0) / 64.0).collect()
}

fn network(backbone: Backbone, convention: Option<Convention>, stride: usize) -> Network {
    let class_layer = ClassLayer::Project { stride };
    let config =
        NetworkConfig { backbone, convention, class_layer, xi: 3, head: HeadKind::GroupMean, dropout: 0.0 };
    build(&config, 4, 64, 0).unwrap()
}

/// With all of the backbone.
fn build_whole(backbone: Backbone, convention: impl Into<Option<Convention>>) -> Network {
    let config = NetworkConfig {
        backbone,
        convention: convention.into(),
        class_layer: ClassLayer::Allot,
        xi: 3,
        head: HeadKind::GroupMean,
        dropout: 0.0,
    };
    build(&config, 4, 64, 0).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn allow(kinds: &[Misfit]) -> BTreeSet<Misfit> {
    kinds.iter().copied().collect()
}

/// Everything that the fixtures hold, read back through a network that lacks the rest.
fn assert_right(pretrained: &Pretrained, what: &str) {
    let network = network(LITE0, Some(pretrained.origin.convention), 32);
    let loaded = pretrained.load(&network.params, &allow(&[Misfit::Missing])).unwrap();
    assert_eq!((loaded.loaded, loaded.unused), (SHAPES.len(), 0), "{what}");
    for (t, (name, shape)) in SHAPES.into_iter().enumerate() {
        let tensor = network.params.get(name).unwrap();
        assert_eq!(tensor.dims(), shape, "{what}: {name}");
        assert!(flat(tensor) == values(t, shape.iter().product()), "{what}: {name}");
    }
}

#[test]
fn every_form_of_file_gives_the_same_tensors() {
    for name in [
        "plain.pth",
        "half.pth",
        "bf16.pth",
        "double.pth",
        "channels_last.pth",
        "parameters.pth",
        "state_dict.pth",
        "model.pth",
        "mobilenet_v2-7ebf99e0.pth",
        "beside.pth",
        "lightning.pth",
        "legacy_shared.pth",
        "legacy_half.pth",
    ] {
        assert_right(&read(&fixture(name), LITE0, Some(Convention::TimmTf)).unwrap(), name);
    }
}

#[test]
fn lukemelas_names_are_known_and_tell_the_convention() {
    let pretrained = read(&fixture("legacy.pth"), LITE0, None).unwrap();
    assert_eq!(pretrained.origin.convention, Convention::Tensorflow);
    assert_right(&pretrained, "legacy.pth");
}

#[test]
fn what_is_rewritten_says_what_it_is_and_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lite0.safetensors");
    let mut pretrained = read(&fixture("plain.pth"), LITE0, Some(Convention::TimmTf)).unwrap();
    pretrained.origin.source = "a test".into();
    pretrained.save(&path).unwrap();
    let again = read(&path, LITE0, None).unwrap();
    assert_eq!(again.origin, pretrained.origin);
    assert_right(&again, "safetensors");
    let error = read(&path, Backbone::Resnet18, None).err().unwrap();
    assert!(matches!(error, WeightsError::OtherBackbone { .. }), "{error}");
}

#[test]
fn a_file_that_does_not_tell_its_convention_is_refused() {
    let error = read(&fixture("plain.pth"), LITE0, None).err().unwrap().to_string();
    assert!(error.contains("plain.pth") && error.contains("imagenet for networks"), "{error}");
}

#[test]
fn a_run_that_is_repeated_starts_from_the_same_file() {
    let (first, other) = (fixture("plain.pth"), fixture("half.pth"));
    let convention = Some(Convention::TimmTf);
    let start = read(&first, LITE0, convention).unwrap().start(&allow(&[]));
    let given = |start: Option<&Start>, path: Option<&PathBuf>| {
        read_start(start, path.map(PathBuf::as_path), LITE0, convention)
    };
    assert!(given(None, None).unwrap().is_none());
    assert!(given(None, Some(&other)).unwrap().is_some());
    assert_eq!(given(Some(&start), Some(&first)).unwrap().unwrap().sha256, start.sha256);
    let error = given(Some(&start), None).err().unwrap();
    assert!(matches!(error, WeightsError::NotGiven { .. }), "{error}");
    assert!(error.to_string().contains(&start.sha256), "{error}");
    let error = given(Some(&start), Some(&other)).err().unwrap();
    assert!(matches!(error, WeightsError::OtherFile { .. }), "{error}");
}

/// What timm calls the tensors of a network, with their shapes.
fn of_timm(network: &str) -> Vec<(String, Vec<usize>)> {
    let text = fs::read_to_string(fixture("timm.json")).unwrap();
    let all: BTreeMap<String, BTreeMap<String, Vec<usize>>> = serde_json::from_str(&text).unwrap();
    all[network].clone().into_iter().collect()
}

/// A file of these tensors, all zeros; large ones of classifiers with one value, as nothing reads them.
fn saved(path: &Path, tensors: &[(String, Vec<usize>)]) {
    let zeros = |shape: &[usize]| {
        let shape = if shape.iter().product::<usize>() > 3_000_000 { &[1] } else { shape };
        Tensor::zeros(shape, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap()
    };
    let tensors = tensors.iter().map(|(name, shape)| (name, zeros(shape)));
    fs::write(path, safetensors::serialize(tensors, None).unwrap()).unwrap();
}

#[test]
fn timms_networks_find_all_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for (name, backbone, convention, unused) in [
        ("resnet18", Backbone::Resnet18, None, 2),
        ("resnet50", Backbone::Resnet50, None, 2),
        ("vgg16", Backbone::Vgg16Plain, Some(Convention::Imagenet), 6),
        ("vgg16_bn", Backbone::Vgg16, None, 6),
        ("mobilenetv2_100", Backbone::MobilenetV2, None, 2),
        ("efficientnet_lite0", LITE0, Some(Convention::Imagenet), 2),
        ("tf_efficientnet_lite0", LITE0, Some(Convention::TimmTf), 2),
    ] {
        let tensors = of_timm(name);
        for prefix in ["", "model.", "module._orig_mod."] {
            let named: Vec<_> =
                tensors.iter().map(|(n, shape)| (format!("{prefix}{n}"), shape.clone())).collect();
            saved(&path, &named);
            let pretrained = read(&path, backbone, convention).unwrap();
            let network = build_whole(backbone, pretrained.origin.convention);
            let loaded = pretrained.load(&network.params, &allow(&[])).unwrap();
            assert_eq!((loaded.loaded, loaded.unused), (tensors.len() - unused, unused), "{prefix}{name}");
            assert_eq!(pretrained.foreign(), Vec::<&str>::new(), "{name}");
        }
    }
}

#[test]
fn a_whole_file_of_another_backbone_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    saved(&path, &of_timm("resnet50"));
    let error = read(&path, Backbone::Resnet18, None).err().unwrap();
    assert!(matches!(error, WeightsError::OtherBackbone { actual: Backbone::Resnet50, .. }), "{error}");
    saved(&path, &of_timm("mobilenetv2_100"));
    let error = read(&path, LITE0, Some(Convention::Imagenet)).err().unwrap();
    assert!(matches!(error, WeightsError::OtherBackbone { actual: Backbone::MobilenetV2, .. }), "{error}");
}

#[test]
fn a_copy_of_the_weights_beside_them_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut tensors = of_timm("resnet18");
    for (name, _) in &mut tensors {
        name.insert_str(0, "model.");
    }
    tensors.push(("conv1.weight".into(), vec![64, 3, 7, 7]));
    tensors.push(("ema.conv1.weight".into(), vec![64, 3, 7, 7]));
    saved(&path, &tensors);
    let pretrained = read(&path, Backbone::Resnet18, None).unwrap();
    let network = build_whole(Backbone::Resnet18, None);
    let error = pretrained.load(&network.params, &allow(&[])).unwrap_err().to_string();
    assert!(error.contains("no layer has conv1.weight (twice), ema.conv1.weight;"), "{error}");
}

#[test]
fn a_head_of_other_classes_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let backbone = of_timm("resnet18").into_iter().filter(|(name, _)| !name.starts_with("fc."));
    let mut tensors: Vec<_> =
        backbone.map(|(name, shape)| (format!("model.backbone.{name}"), shape)).collect();
    tensors.extend([("model.head.weight".into(), vec![7, 512]), ("model.head.bias".into(), vec![7])]);
    saved(&path, &tensors);
    let network = build_whole(Backbone::Resnet18, None);
    let loaded = read(&path, Backbone::Resnet18, None).unwrap().load(&network.params, &allow(&[])).unwrap();
    assert_eq!((loaded.loaded, loaded.unused), (tensors.len() - 2, 2));
}

#[test]
fn every_tensor_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let save = |tensors: Vec<(&str, Tensor)>| {
        let path = folder.path().join("own.safetensors");
        let bytes = safetensors::serialize(tensors, None).unwrap();
        fs::write(&path, bytes).unwrap();
        read(&path, Backbone::Resnet18, None).unwrap()
    };
    let zeros =
        |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
    // Whole up to stride 8, plus what the cut leaves out, plus the published classifier.
    let network = network(Backbone::Resnet18, None, 8);
    let whole: Vec<(String, Vec<usize>)> =
        network.specs().into_iter().map(|spec| (spec.name, spec.shape)).collect();
    let backbone =
        whole.iter().filter(|(name, _)| !name.starts_with("class_aligned.") && !name.starts_with("head."));
    let mut tensors: Vec<(&str, Tensor)> =
        backbone.map(|(name, shape)| (name.as_str(), zeros(shape))).collect();
    let count = tensors.len();
    tensors.extend([("layer4.0.conv1.weight", zeros(&[512, 256, 3, 3])), ("fc.bias", zeros(&[1000]))]);
    let loaded = save(tensors.clone()).load(&network.params, &allow(&[])).unwrap();
    assert_eq!((loaded.loaded, loaded.unused, loaded.misfits.len()), (count, 2, 0));

    let refused = |tensors: Vec<(&str, Tensor)>, kind: Misfit, name: &str| {
        let before = flat(network.params.get("conv1.weight").unwrap());
        let pretrained = save(tensors);
        let error = pretrained.load(&network.params, &allow(&[])).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(&format!("allow {} tensors", kind.name())), "{error}");
        assert_eq!(flat(network.params.get("conv1.weight").unwrap()), before, "nothing is loaded by half");
        let loaded = pretrained.load(&network.params, &allow(&[kind])).unwrap();
        assert_eq!(loaded.misfits.keys().copied().collect::<Vec<_>>(), [kind]);
    };
    let with = |name: &'static str, tensor: Tensor| {
        let others = tensors.iter().filter(|(other, _)| *other != name).cloned();
        others.chain([(name, tensor)]).collect::<Vec<_>>()
    };
    refused(with("neck.weight", zeros(&[3])), Misfit::Unexpected, "neck.weight");
    refused(with("bn1.weight", zeros(&[32])), Misfit::Misshapen, "bn1.weight ([32], expected [64])");
    let without = tensors.iter().filter(|(name, _)| *name != "bn1.bias").cloned().collect();
    refused(without, Misfit::Missing, "bn1.bias");
    let nan = (zeros(&[64]) + f64::NAN).unwrap();
    let error = save(with("bn1.bias", nan)).load(&network.params, &allow(&[])).unwrap_err().to_string();
    assert!(error.contains("bn1.bias has values that are not numbers"), "{error}");
}

#[test]
fn files_without_weights_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let reason = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = read(&path, LITE0, Some(Convention::TimmTf)).err().expect(name).to_string();
        assert!(error.contains(name), "{error}");
        error
    };
    assert!(reason("text", b"I am no checkpoint").contains("neither safetensors"));
    assert!(reason("empty", b"").contains("neither safetensors"));
    let module = fs::read(fixture("module.pth")).unwrap();
    assert!(reason("module", &module).contains("save module.state_dict()"));
    for name in ["legacy.pth", "plain.pth"] {
        let whole = fs::read(fixture(name)).unwrap();
        for length in [16, 100, whole.len() / 2, whole.len() - 1] {
            reason(&format!("{length}-{name}"), &whole[..length]);
        }
    }
    let foreign = read(&fixture("plain.pth"), Backbone::Resnet50, None).err();
    assert!(foreign.is_none(), "bn1.weight is a name of both");
    let error = read(&fixture("plain.pth"), Backbone::Vgg16, None).err().unwrap().to_string();
    assert!(error.contains("none of the 4 tensors") && error.contains("vgg16"), "{error}");
}

#[test]
fn caffes_first_convolution_is_turned_to_red_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vgg.safetensors");
    let device = &candle_core::Device::Cpu;
    let first = Tensor::arange(0f32, 64.0 * 27.0, device).unwrap().reshape((64, 3, 3, 3)).unwrap();
    fs::write(&path, safetensors::serialize([("features.0.weight", first.clone())], None).unwrap()).unwrap();
    let network = network(Backbone::Vgg16Plain, Some(Convention::Caffe), 16);
    let pretrained = read(&path, Backbone::Vgg16Plain, Some(Convention::Caffe)).unwrap();
    pretrained.load(&network.params, &allow(&[Misfit::Missing])).unwrap();
    let loaded = network.params.get("features.0.weight").unwrap();
    for (ours, theirs) in [(0, 2), (1, 1), (2, 0)] {
        let ours = loaded.narrow(1, ours, 1).unwrap();
        assert_eq!(flat(&ours), flat(&first.narrow(1, theirs, 1).unwrap()));
    }
    assert!(matches!(network.trunk[0], Layer::Normalise { mean: [123.68, ..], std: [1.0, ..] }));
}
