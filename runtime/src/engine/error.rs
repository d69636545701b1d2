//! Why a model does not load, or does not run.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::{DescriptionError, METADATA_KEY};

/// The largest model file, 512 MiB: five times a ResNet-50.
pub const MAX_MODEL_BYTES: u64 = 512 << 20;

fn name_instead(model: Option<&Path>) -> String {
    model.map_or_else(
        || "name the .onnx file that `fieldmark-trainer export` wrote".to_owned(),
        |model| format!("name the model file in it, {}", model.display()),
    )
}

/// Why a file is refused as a model. Each message says what was expected, what is there, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The operating system does not give the bytes.
    #[error("{} cannot be read ({source}); check the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A folder, pipe or device.
    #[error("{} is not a regular file; {}", path.display(), name_instead(model.as_deref()))]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// The model file in it, where it is a folder with one.
        model: Option<PathBuf>,
    },
    /// More than [`MAX_MODEL_BYTES`].
    #[error("the model has {bytes} bytes, the limit is {MAX_MODEL_BYTES}; it is no Fieldmark model")]
    TooLarge {
        /// The file's size.
        bytes: u64,
    },
    /// Not ONNX, or the front part of one.
    #[error("not an ONNX model, or one that was cut ({bytes} bytes; {reason}); copy or export it again")]
    NotOnnx {
        /// The file's size.
        bytes: usize,
        /// What does not fit.
        reason: String,
    },
    /// ONNX without a description.
    #[error(
        "an ONNX model but no Fieldmark model: it has no metadata \"{METADATA_KEY}\" (it has {present}); \
         export it with `fieldmark-trainer export`"
    )]
    NotFieldmark {
        /// The metadata that is there.
        present: String,
    },
    /// The description contradicts itself.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// Operators that no Fieldmark network has; the list is complete.
    #[error("the graph has operators that are not supported: {names}; export the model again")]
    Operators {
        /// Their names.
        names: String,
    },
    /// Weights in another file. Paths in a model are never followed.
    #[error("weights of {tensor:?} are in another file; export the model as one file")]
    ExternalData {
        /// The tensor.
        tensor: String,
    },
    /// Something in the graph is not as the description or the format says.
    #[error("{what}: expected {expected}, got {actual}; export the model again")]
    Graph {
        /// Which part.
        what: String,
        /// How it should be.
        expected: String,
        /// How it is.
        actual: String,
    },
    /// tract does not take the graph.
    #[error("the graph cannot be prepared for running ({reason}); export the model again")]
    Prepare {
        /// tract's words.
        reason: String,
    },
    /// f16 was asked for of tract's kernels where it would be far slower than f32.
    #[error(
        "this processor ({processor}) has no f16 arithmetic, which tract's kernels need; compute in f32, or with \
         other kernels"
    )]
    NoHalfArithmetic {
        /// What the processor has.
        processor: String,
    },
    /// A GPU was asked for that cannot be used.
    #[error("no GPU can be used: {reason}; compute on the processor")]
    NoGpu {
        /// Why not.
        reason: String,
    },
    /// The GPU gives other answers than the trainer's.
    #[error("on the GPU the model fails its own test: {reason}; compute on the processor")]
    GpuRefused {
        /// How.
        reason: String,
    },
    /// f16 gives other answers than the trainer's.
    #[error("in f16 the model fails its own test: {reason}; compute in f32")]
    HalfRefused {
        /// How.
        reason: String,
    },
}

/// Why a network did not run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The frame is not the network's input.
    #[error(
        "the network takes {side} x {side} pixels, got {} x {}; make it with network_frame",
        actual.0,
        actual.1
    )]
    Size {
        /// The input side.
        side: u32,
        /// The frame's width and height.
        actual: (u32, u32),
    },
    /// A logit, or a value of a class's maps, that is no number: an overflow, never an answer.
    #[error(
        "the {what} of {label:?} is {value} in {arithmetic}, so there is no answer; run `fieldmark \
         verify`, and export the model again if it fails"
    )]
    NotFinite {
        /// "logit" or "map".
        what: &'static str,
        /// The class.
        label: String,
        /// NaN or an infinity.
        value: f32,
        /// The arithmetic.
        arithmetic: &'static str,
    },
    /// tract failed.
    #[error("the network did not run ({reason}); run `fieldmark verify`")]
    Engine {
        /// tract's words.
        reason: String,
    },
}
