//! Pretrained weights in: safetensors, what `torch.save` writes, and the initialisers of an ONNX file.
//!
//! Every tensor of a file is accounted for: it is a parameter of the network, or one of the published classifier that
//! the network does without, or an error. Which normalisation and padding the weights expect belongs to them as
//! much as their values do, so a file without a [`Convention`] that can be told is refused.

mod names;
mod pth;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::{fs, io};

use candle_core::{Device, Tensor};
use fieldmark::digits::hexadecimal;
use fieldmark::file::write_whole;
use prost::Message;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::net::backbone::{Backbone, Convention};
use crate::net::layer::{Params, is_head};
use crate::net::onnx;
use crate::remedy::file_remedy;

/// Where the metadata of our own files says what they are.
const METADATA: &str = "fieldmark_weights";

/// Names that an error lists before it counts.
const LISTED: usize = 6;

/// What a file of weights says about itself; the file's own if we wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Whose weights they are.
    pub backbone: Backbone,
    /// What they expect of the first layers.
    pub convention: Convention,
    /// Where they are from, for a person.
    #[serde(default)]
    pub source: String,
    /// Under which licence.
    #[serde(default)]
    pub licence: String,
}

/// A file of weights, its tensors under our names.
pub struct Pretrained {
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// What it is.
    pub origin: Origin,
    /// f32 tensors by our names.
    tensors: BTreeMap<String, Tensor>,
    path: PathBuf,
}

/// What a run remembers of the weights that it began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Where the weights are from.
    pub source: String,
    /// Tensors that were let go without a match.
    pub allow: BTreeSet<Misfit>,
}

/// A tensor that finds no partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Misfit {
    /// A parameter of the backbone that the file lacks.
    Missing,
    /// A tensor that no layer of the published network has.
    Unexpected,
    /// A tensor of another shape than the parameter of its name.
    Misshapen,
}

/// How the tensors of a file found their places.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// Parameters that now have the file's values.
    pub loaded: usize,
    /// Tensors of the published classifier that this network does without.
    pub unused: usize,
    /// Names let go, by kind.
    pub misfits: BTreeMap<Misfit, Vec<String>>,
}

/// A source before what follows it; nothing where it is not known.
fn before(source: &str) -> String {
    if source.is_empty() { String::new() } else { format!("{source}, ") }
}

/// Why weights cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system could not read or write the file.
    #[error("cannot {act} {}: {source}; {}", path.display(), file_remedy(act, source))]
    File {
        /// "read" or "write".
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is none of the formats, or a damaged one.
    #[error("{} holds no weights that can be read: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A run starts from pretrained weights, and no file was named.
    #[error(
        "the run starts from pretrained weights ({}SHA-256 {sha256}); name their file",
        before(source_of)
    )]
    NotGiven {
        /// Where they come from.
        source_of: String,
        /// Of the file.
        sha256: String,
    },
    /// A run starts from the weights of another file.
    #[error(
        "{} is not the file that the run starts from (SHA-256 {actual}, expected {expected}); name that file",
        path.display()
    )]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// The run's.
        expected: String,
        /// The file's.
        actual: String,
    },
    /// Nothing in it is called as a parameter of the backbone.
    #[error(
        "none of the {tensors} tensors in {} belongs to {backbone} (the first is {first:?}), and together they are no whole \
         network that the trainer has; choose the backbone that they are of, or another file",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What they were to be loaded into.
        backbone: Backbone,
        /// How many there are.
        tensors: usize,
        /// One of them.
        first: String,
    },
    /// Another network's weights.
    #[error("{} holds weights of {actual}, not of {expected}; choose the backbone {actual}, or another file", path.display())]
    OtherBackbone {
        /// The file.
        path: PathBuf,
        /// The run's.
        expected: Backbone,
        /// The file's.
        actual: Backbone,
    },
    /// Nobody knows what the first layers have to be.
    #[error(
        "{} does not say which convention its weights expect; say it: imagenet for networks that were trained in PyTorch, \
         tensorflow or timm-tf (timm's tf_ names) for ports",
        path.display()
    )]
    Convention {
        /// The file.
        path: PathBuf,
    },
    /// Tensors without a partner.
    #[error(
        "{}: {} {}; if that is meant, allow {} tensors to train without them", path.display(), .kind.title(), list(names), .kind.name()
    )]
    Misfit {
        /// The file.
        path: PathBuf,
        /// How they do not fit.
        kind: Misfit,
        /// Which, with shapes where these differ.
        names: Vec<String>,
    },
    /// A value that nothing can be trained from.
    #[error("{}: {name} has values that are not numbers; fetch the file again", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor operation failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

fn list(names: &[String]) -> String {
    let listed = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => listed,
        more => format!("{listed}, and {more} more"),
    }
}

impl Misfit {
    /// All of them.
    pub const ALL: [Misfit; 3] = [Misfit::Missing, Misfit::Unexpected, Misfit::Misshapen];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Misfit::Missing => "missing",
            Misfit::Unexpected => "unexpected",
            Misfit::Misshapen => "misshapen",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Misfit::Missing => "it does not have",
            Misfit::Unexpected => "no layer has",
            Misfit::Misshapen => "its shape differs in",
        }
    }
}

/// Reads the weights of `backbone` in `path`, whichever of the formats it has. `convention` is for files that do not
/// say theirs: only our own files and those with lukemelas' names do, and networks that have no other.
///
/// # Errors
/// [`WeightsError`]: no such format, no tensor, no convention, or another backbone.
pub fn read(
    path: &Path,
    backbone: Backbone,
    convention: Option<Convention>,
) -> Result<Pretrained, WeightsError> {
    let bytes = fs::read(path).map_err(in_file("read", path))?;
    let format = |reason: String| WeightsError::Format { path: path.to_owned(), reason };
    let (mut found, said) = tensors(&bytes).map_err(format)?;
    found.retain(|name, _| !names::is_no_parameter(name));
    let actual = said.as_ref().map(|said| said.backbone).or_else(|| whole(&found));
    if let Some(actual) = actual.filter(|actual| *actual != backbone) {
        return Err(WeightsError::OtherBackbone { path: path.to_owned(), expected: backbone, actual });
    }
    let convention =
        convention.or(said.as_ref().map(|said| said.convention)).or_else(|| told(&found, backbone));
    let convention = convention.ok_or_else(|| WeightsError::Convention { path: path.to_owned() })?;
    let (source, licence) = said.map(|said| (said.source, said.licence)).unwrap_or_default();
    let origin = Origin { backbone, convention, source, licence };
    let tensors = named(found, backbone);
    let known: BTreeSet<String> = names::published(backbone).into_iter().map(|spec| spec.name).collect();
    if !tensors.keys().any(|name| known.contains(name)) {
        let first = tensors.keys().next().cloned().unwrap_or_default();
        let path = path.to_owned();
        return Err(WeightsError::Foreign { path, backbone, tensors: tensors.len(), first });
    }
    Ok(Pretrained { sha256: hexadecimal(&Sha256::digest(&bytes)), origin, tensors, path: path.to_owned() })
}

/// The backbone that the tensors are, where all of one is there.
fn whole(tensors: &BTreeMap<String, Tensor>) -> Option<Backbone> {
    let shapes: Vec<(&str, &[usize])> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.dims())).collect();
    names::whole(&shapes)
}

/// The tensors under our names. Of two that have one name here, that with a prefix is the backbone's; the other finds no
/// partner, and is told of.
fn named(tensors: BTreeMap<String, Tensor>, backbone: Backbone) -> BTreeMap<String, Tensor> {
    let ours = names::canonical(&tensors.keys().map(String::as_str).collect::<Vec<_>>(), backbone);
    let all = ours.into_iter().zip(tensors);
    let (renamed, same): (Vec<_>, Vec<_>) = all.partition(|(ours, (theirs, _))| ours != theirs);
    let mut named = BTreeMap::new();
    for (ours, (theirs, tensor)) in renamed.into_iter().chain(same) {
        let name = if named.contains_key(&ours) { format!("{theirs} (twice)") } else { ours };
        named.insert(name, tensor);
    }
    named
}

/// Reads the weights that a run starts from. `start` is what an earlier run of the same settings remembers of its file,
/// which `path` must then be; without one, `path` may be any or none.
///
/// # Errors
/// As [`read`]; no file, or another one than `start` says.
pub fn read_start(
    start: Option<&Start>,
    path: Option<&Path>,
    backbone: Backbone,
    convention: Option<Convention>,
) -> Result<Option<Pretrained>, WeightsError> {
    let Some(path) = path else {
        return start.map_or(Ok(None), |start| {
            Err(WeightsError::NotGiven { source_of: start.source.clone(), sha256: start.sha256.clone() })
        });
    };
    let pretrained = read(path, backbone, convention)?;
    match start {
        Some(Start { sha256, .. }) if *sha256 != pretrained.sha256 => Err(WeightsError::OtherFile {
            path: path.to_owned(),
            expected: sha256.clone(),
            actual: pretrained.sha256,
        }),
        _ => Ok(Some(pretrained)),
    }
}

/// The convention that names or architecture leave no doubt about.
fn told(tensors: &BTreeMap<String, Tensor>, backbone: Backbone) -> Option<Convention> {
    match backbone {
        Backbone::EfficientnetLite0 | Backbone::EfficientnetLite1 | Backbone::EfficientnetLite2 => {
            names::is_lukemelas(tensors.keys()).then_some(Convention::Tensorflow)
        }
        Backbone::Vgg16 | Backbone::Resnet18 | Backbone::Resnet50 | Backbone::MobilenetV2 => {
            Some(Convention::Imagenet)
        }
        // torchvision's and Caffe's are called alike.
        Backbone::Vgg16Plain | Backbone::Tiny => None,
    }
}

/// All tensors of a file as f32, and what it says it is.
fn tensors(bytes: &[u8]) -> Result<(BTreeMap<String, Tensor>, Option<Origin>), String> {
    if pth::is_pth(bytes) {
        return Ok((pth::tensors(bytes)?, None));
    }
    match SafeTensors::read_metadata(bytes) {
        Ok((_, header)) => {
            let said = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA));
            let said = said.map(|json| serde_json::from_str(json)).transpose();
            let said = said.map_err(|error| format!("its metadata is damaged: {error}"))?;
            let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)
                .and_then(|tensors| tensors.into_iter().map(in_f32).collect());
            Ok((tensors.map_err(|error| error.to_string())?, said))
        }
        Err(error) => match initialisers(bytes) {
            Some(tensors) => Ok((tensors?, None)),
            None => Err(format!(
                "it is neither safetensors ({error}), nor from torch.save, nor an ONNX file with weights inside"
            )),
        },
    }
}

fn in_f32((name, tensor): (String, Tensor)) -> candle_core::Result<(String, Tensor)> {
    Ok((name, tensor.to_dtype(candle_core::DType::F32)?))
}

/// The initialisers of an ONNX file; `None` if it is none or has none.
fn initialisers(bytes: &[u8]) -> Option<Result<BTreeMap<String, Tensor>, String>> {
    let graph = onnx::Model::decode(bytes).ok()?.graph?;
    let tensors =
        graph.initializer.into_iter().filter(|tensor| tensor.data_type == onnx::DataType::Float as i32);
    let tensors: Vec<_> = tensors.map(initialiser).collect();
    (!tensors.is_empty()).then(|| tensors.into_iter().collect())
}

fn initialiser(data: onnx::TensorData) -> Result<(String, Tensor), String> {
    let shape: Vec<usize> = data.dims.iter().map(|&side| side as usize).collect();
    let misfit = || format!("{} has no {shape:?} values inside the file", data.name);
    let bytes = data.raw_data.as_ref().ok_or_else(misfit)?;
    let values = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let tensor = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).map_err(|_| misfit())?;
    Ok((data.name, tensor))
}

impl Pretrained {
    /// What a run remembers of it.
    pub fn start(&self, allow: &BTreeSet<Misfit>) -> Start {
        Start { sha256: self.sha256.clone(), source: self.origin.source.clone(), allow: allow.clone() }
    }

    /// Puts the tensors into the parameters of a network, all or none. Class-aligned layer and head may be new.
    ///
    /// # Errors
    /// Tensors that do not fit, of a kind that is not in `allow`.
    pub fn load(&self, params: &Params, allow: &BTreeSet<Misfit>) -> Result<Loaded, WeightsError> {
        let mut loaded = Loaded::default();
        let weights = params.weights.iter().map(|(name, weight)| (name, &weight.var));
        let places: BTreeMap<_, _> = weights.chain(&params.running).collect();
        let mut moves = Vec::new();
        let mut misfit = |kind: Misfit, name: String| loaded.misfits.entry(kind).or_default().push(name);
        for (name, var) in &places {
            match self.tensors.get(*name) {
                Some(tensor) if tensor.dims() == var.dims() => moves.push((name.as_str(), tensor, *var)),
                // A head of other classes, or what another trainer calls head.
                Some(_) if is_head(name) => loaded.unused += 1,
                Some(tensor) => {
                    misfit(
                        Misfit::Misshapen,
                        format!("{name} ({:?}, expected {:?})", tensor.dims(), var.dims()),
                    );
                }
                None if is_head(name) => {}
                None => misfit(Misfit::Missing, (*name).clone()),
            }
        }
        let published = self.published();
        for name in self.tensors.keys().filter(|name| !places.contains_key(name)) {
            if published.contains(name) || is_head(name) {
                loaded.unused += 1;
            } else {
                misfit(Misfit::Unexpected, name.clone());
            }
        }
        if let Some((&kind, names)) = loaded.misfits.iter().find(|(kind, _)| !allow.contains(kind)) {
            return Err(WeightsError::Misfit { path: self.path.clone(), kind, names: names.clone() });
        }
        self.refuse_not_finite(&moves)?;
        loaded.loaded = moves.len();
        for (name, tensor, var) in moves {
            var.set(&self.as_taken(name, tensor)?.to_device(var.device())?)?;
        }
        Ok(loaded)
    }

    fn refuse_not_finite(&self, moves: &[(&str, &Tensor, &candle_core::Var)]) -> Result<(), WeightsError> {
        for (name, tensor, _) in moves {
            if !tensor.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite() {
                return Err(WeightsError::NotFinite { path: self.path.clone(), name: (*name).to_owned() });
            }
        }
        Ok(())
    }

    /// Caffe's networks take blue first, ours red: the first convolution's input channels are turned round.
    fn as_taken(&self, name: &str, tensor: &Tensor) -> candle_core::Result<Tensor> {
        let is_first = name == "features.0.weight";
        if self.origin.convention == Convention::Caffe && is_first {
            tensor.flip(&[1])
        } else {
            Ok(tensor.clone())
        }
    }

    /// Names of tensors that the published network does not have, in order.
    pub fn foreign(&self) -> Vec<&str> {
        let published = self.published();
        self.tensors.keys().filter(|name| !published.contains(*name)).map(String::as_str).collect()
    }

    fn published(&self) -> BTreeSet<String> {
        names::published(self.origin.backbone).into_iter().map(|spec| spec.name).collect()
    }

    /// Writes those that the published network has, as safetensors that say what they are: our names, f32.
    ///
    /// # Errors
    /// [`WeightsError::File`].
    pub fn save(&self, path: &Path) -> Result<(), WeightsError> {
        let format = |reason: String| WeightsError::Format { path: path.to_owned(), reason };
        let origin = serde_json::to_string(&self.origin).map_err(|error| format(error.to_string()))?;
        let metadata = HashMap::from([(METADATA.to_owned(), origin)]);
        let published = self.published();
        let tensors = self.tensors.iter().filter(|(name, _)| published.contains(*name));
        let bytes =
            safetensors::serialize(tensors, Some(metadata)).map_err(|error| format(error.to_string()))?;
        write_whole(path, &bytes).map_err(in_file("write", path))
    }
}

fn in_file(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WeightsError {
    let path = path.to_owned();
    move |source| WeightsError::File { act, path, source }
}
