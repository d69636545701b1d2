//! Weights from Hugging Face's hub, of repositories as timm keeps them: `config.json` beside `model.safetensors`.
//!
//! Only programs built with the feature `hub` can fetch, as it brings an HTTP and a TLS implementation. hf-hub 0.5 instead
//! of 1.0, which brings an asynchronous runtime and a transfer protocol besides: 236 packages instead of 58. Where files
//! are kept is Hugging Face's own cache (`HF_HOME`), so what its other programs have fetched is not fetched again.

use std::path::PathBuf;

use anyhow::Result;
#[cfg(not(feature = "hub"))]
use anyhow::bail;
use fieldmark_trainer::net::backbone::{Backbone, Convention};
#[cfg(feature = "hub")]
use {
    anyhow::{Context, bail},
    hf_hub::api::sync::{ApiBuilder, ApiRepo},
    serde_json::Value,
    std::fs,
    std::path::Path,
};

/// What a repository has.
pub struct Found {
    /// Its weights.
    pub file: PathBuf,
    /// Whose weights they are.
    pub backbone: Backbone,
    /// What they expect of the first layers.
    pub convention: Convention,
    /// As the repository's card says it.
    pub licence: String,
}

/// Fetches what is not in the cache.
///
/// # Errors
/// This program has no feature `hub`.
#[cfg(not(feature = "hub"))]
pub fn get(repository: &str) -> Result<Found> {
    bail!(
        "this program was built without the hub's client; build it with the feature `hub`, as by `cargo install --locked \
         --path trainer --features hub` in the sources, or download model.safetensors from https://huggingface.co/{repository} yourself and name it with \
         `fieldmark-trainer train --weights FILE --convention CONVENTION`"
    )
}

/// Fetches what is not in the cache.
///
/// # Errors
/// No network and no copy, or a network that the trainer does not have.
#[cfg(feature = "hub")]
pub fn get(repository: &str) -> Result<Found> {
    let api = ApiBuilder::from_env().with_retries(1).build().context("cannot set up the hub's client")?;
    found(&api.model(repository.to_owned()), repository)
}

/// timm's architectures, and what the trainer calls them. `efficientnet_lite0` and `tf_efficientnet_lite0` differ in
/// normalisation, padding and epsilon: in their convention.
#[cfg(feature = "hub")]
const NETWORKS: [(&str, Backbone); 11] = [
    ("resnet18", Backbone::Resnet18),
    ("resnet50", Backbone::Resnet50),
    ("vgg16", Backbone::Vgg16Plain),
    ("vgg16_bn", Backbone::Vgg16),
    ("mobilenetv2_100", Backbone::MobilenetV2),
    ("efficientnet_lite0", Backbone::EfficientnetLite0),
    ("efficientnet_lite1", Backbone::EfficientnetLite1),
    ("efficientnet_lite2", Backbone::EfficientnetLite2),
    ("tf_efficientnet_lite0", Backbone::EfficientnetLite0),
    ("tf_efficientnet_lite1", Backbone::EfficientnetLite1),
    ("tf_efficientnet_lite2", Backbone::EfficientnetLite2),
];

#[cfg(feature = "hub")]
fn found(files: &ApiRepo, repository: &str) -> Result<Found> {
    let get = |name: &str| {
        files.get(name).with_context(|| {
            format!(
                "cannot get {name} of {repository} from the hub, and no copy is in Hugging Face's cache; see whether \
                 https://huggingface.co/{repository} is there, connect to a network, or name a file of your own with \
                 `fieldmark-trainer train --weights FILE`"
            )
        })
    };
    let (backbone, convention) = described(&get("config.json")?, repository)?;
    let licence = licence(&get("README.md")?).unwrap_or_else(|| "not said by its card".into());
    Ok(Found { file: get("model.safetensors")?, backbone, convention, licence })
}

/// Network and convention by timm's `config.json`.
#[cfg(feature = "hub")]
fn described(path: &Path, repository: &str) -> Result<(Backbone, Convention)> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let config: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let architecture = config["architecture"].as_str().unwrap_or("of no name");
    let Some(&(_, backbone)) = NETWORKS.iter().find(|(name, _)| *name == architecture) else {
        let known: Vec<&str> = NETWORKS.iter().map(|(name, _)| *name).collect();
        bail!(
            "{repository} is a network {architecture}, which the trainer does not have; it has {}",
            known.join(", ")
        );
    };
    let numbers = |name: &str| -> Vec<f64> {
        let values = config["pretrained_cfg"][name].as_array();
        values.iter().flat_map(|values| values.iter()).filter_map(Value::as_f64).collect()
    };
    let (mean, std) = (numbers("mean"), numbers("std"));
    let is = |expected_mean: [f64; 3], expected_std: [f64; 3]| mean == expected_mean && std == expected_std;
    // timm pads its `tf_` networks as TensorFlow does, and normalises them so as well.
    let convention = match architecture.starts_with("tf_") {
        true if is([0.5; 3], [0.5; 3]) => Convention::TimmTf,
        false if is([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) => Convention::Imagenet,
        _ => {
            bail!("{repository} normalises by {mean:?} and {std:?}, which the trainer has no convention for")
        }
    };
    Ok((backbone, convention))
}

/// `license:` of a card's front matter.
#[cfg(feature = "hub")]
fn licence(card: &Path) -> Option<String> {
    let text = fs::read_to_string(card).ok()?;
    let front = text.strip_prefix("---\n")?.split("\n---").next()?;
    let line = front.lines().find_map(|line| line.strip_prefix("license:"))?;
    Some(line.trim().to_owned()).filter(|licence| !licence.is_empty())
}

#[cfg(all(test, feature = "hub"))]
mod tests {
    use super::*;

    const REPOSITORY: &str = "timm/resnet18.a1_in1k";

    /// A cache as the hub's programs lay it out, with these files in it, and a client that reaches nothing else.
    fn cached(folder: &Path, files: &[(&str, &str)]) -> ApiRepo {
        let repository = folder.join("models--timm--resnet18.a1_in1k");
        let snapshot = repository.join("snapshots/0123456789abcdef");
        for (path, text) in files
            .iter()
            .map(|(name, text)| (snapshot.join(name), *text))
            .chain([(repository.join("refs/main"), "0123456789abcdef")])
        {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let api = ApiBuilder::new()
            .with_cache_dir(folder.to_owned())
            // The port of nothing.
            .with_endpoint("http://127.0.0.1:9".into())
            .with_retries(0)
            .with_progress(false)
            .build()
            .unwrap();
        api.model(REPOSITORY.to_owned())
    }

    fn config(architecture: &str, mean: [f64; 3], std: [f64; 3]) -> String {
        serde_json::json!({"architecture": architecture, "pretrained_cfg": {"mean": mean, "std": std}})
            .to_string()
    }

    const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

    #[test]
    fn a_cached_repository_says_what_its_weights_are() {
        let folder = tempfile::tempdir().unwrap();
        let [mean, std] = IMAGENET;
        let files = cached(
            folder.path(),
            &[
                ("config.json", &config("resnet18", mean, std)),
                ("model.safetensors", "weights"),
                ("README.md", "---\ntags:\n- timm\nlicense: apache-2.0\n---\n# Card\nlicense: other\n"),
            ],
        );
        let found = found(&files, REPOSITORY).unwrap();
        assert_eq!(fs::read_to_string(found.file).unwrap(), "weights");
        assert_eq!(
            (found.backbone, found.convention, found.licence.as_str()),
            (Backbone::Resnet18, Convention::Imagenet, "apache-2.0")
        );
    }

    #[test]
    fn what_is_neither_cached_nor_reached_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let [mean, std] = IMAGENET;
        let files = cached(
            folder.path(),
            &[("config.json", &config("resnet18", mean, std)), ("README.md", "no front matter")],
        );
        let error = format!("{:#}", found(&files, REPOSITORY).err().unwrap());
        assert!(error.contains("model.safetensors") && error.contains("--weights FILE"), "{error}");
    }

    #[test]
    fn networks_and_normalisations_of_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [mean, std] = IMAGENET;
        let path = folder.path().join("config.json");
        let described = |text: &str| {
            fs::write(&path, text).unwrap();
            described(&path, REPOSITORY).map_err(|error| format!("{error:#}"))
        };
        assert!(described(&config("vit_tiny", mean, std)).unwrap_err().contains("resnet50"));
        assert!(described(&config("resnet18", [0.5; 3], [0.5; 3])).unwrap_err().contains("0.5"));
        assert!(described("{").unwrap_err().contains("not JSON"));
        let tf = config("tf_efficientnet_lite0", [0.5; 3], [0.5; 3]);
        assert_eq!(described(&tf), Ok((Backbone::EfficientnetLite0, Convention::TimmTf)));
        let own = config("efficientnet_lite0", mean, std);
        assert_eq!(described(&own), Ok((Backbone::EfficientnetLite0, Convention::Imagenet)));
        let mobilenet = config("mobilenetv2_100", mean, std);
        assert_eq!(described(&mobilenet), Ok((Backbone::MobilenetV2, Convention::Imagenet)));
    }
}
