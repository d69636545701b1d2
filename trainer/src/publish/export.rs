//! The board's model file: the trained network as an ONNX graph, with its description, checked before it is there.
//!
//! Batch normalisation is folded into the convolutions, and nothing of MC-Loss or dropout is left. Before the file
//! appears under its name the board's own engine has run it, on real pictures prepared as the board prepares them,
//! and agreed with the trainer.

mod lower;
mod parity;

use std::path::{Path, PathBuf};
use std::{fs, io};

use candle_core::{DType, Device, Tensor};
use fieldmark::engine::LoadError;
use fieldmark::file::write_whole;
use fieldmark::frame::{input, pattern};
use fieldmark::model::{
    Description, DescriptionError, METADATA_KEY, SCHEMA, SelfTest, Thresholds, labels_sha256,
};
use fieldmark::unknown::Score;
use prost::Message;
use serde::Serialize;
use serde_json::{Value, json};

pub use parity::{Disagreement, Parity};

use crate::data::picture::ReadError;
use crate::measure::answers::AnswerError;
use crate::measure::calibration::{self, Fitted};
use crate::measure::doubts::{Doubt, doubts};
use crate::net::layer::{Mode, fold};
use crate::net::network::Network;
use crate::net::onnx::{IR_VERSION, Model, OPSET, OperatorSet, StringEntry};
use crate::run::checkpoint::Progress;
use crate::run::folder::Trained;
use crate::run::records::Evaluation;

/// How the file stores kernels and matrices. The network computes with what is stored, whatever the board's
/// arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum WeightType {
    /// 4 bytes a weight.
    #[default]
    F32,
    /// 2 bytes a weight, rounded to 11 significant bits.
    F16,
}

/// Self-test pictures in a model file.
const SELF_TESTS: u64 = 4;

/// Why no model file was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A tensor operation failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The run's settings or figures have no JSON form.
    #[error("the run's settings cannot be written down: {0}")]
    Settings(#[from] serde_json::Error),
    /// The description contradicts itself.
    #[error("the model's description: {0}")]
    Description(#[from] DescriptionError),
    /// By its own figures the model is of no use.
    #[error(
        "nothing was written: {0}; train with more or clearer pictures or for longer, or ask for it anyway"
    )]
    NoUse(Doubt),
    /// The board's engine refuses the file.
    #[error("the board's engine refuses the exported model: {0}")]
    Refused(#[from] LoadError),
    /// A picture cannot be read.
    #[error(transparent)]
    Picture(#[from] ReadError),
    /// The network does not answer to the validation pictures.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The board's engine and the trainer differ, or the engine fails.
    #[error("nothing was written: {0}")]
    Disagreement(#[from] Disagreement),
    /// Weights that f16 cannot hold.
    #[error("{name} has a weight of {value}, f16 ends at 65504; store the weights in f32")]
    Overflow {
        /// The parameter.
        name: String,
        /// The weight.
        value: f32,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Exported {
    /// Size of the file.
    pub bytes: usize,
    /// How it stores them.
    pub weights: WeightType,
    /// How well engine and trainer agree.
    pub parity: Parity,
}

/// Writes the model file of a run under `path`, once the board's engine has agreed with the trainer on `pictures`
/// pictures of the data set, spread evenly over its splits (all, where it has fewer).
///
/// Temperature and threshold are fitted on the validation split, sketches on training pictures, too; `score` is what the
/// threshold is for. `evaluation` is
/// what was measured on the test split, for the description.
///
/// # Errors
/// [`ExportError`]; nothing was written then, and an earlier file under `path` is as it was.
pub fn export(
    trained: &Trained,
    path: &Path,
    weights: WeightType,
    pictures: usize,
    score: Score,
    evaluation: Option<&Evaluation>,
) -> Result<Exported, ExportError> {
    let network = deployed(&trained.network, weights)?;
    let fitted = calibration::fit(trained, score)?;
    let doubts = evaluation.map(|evaluation| doubts(evaluation, trained.dataset.validation.len()));
    let description =
        description(&network, &trained.progress, fitted, evaluation, &doubts.unwrap_or_default())?;
    let bytes = model_file(&network, &description, weights)?;
    let parity = parity::check(&bytes, &network, &trained.network, &trained.dataset, &description, pictures)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(in_file(path))?;
    }
    write_whole(path, &bytes).map_err(in_file(path))?;
    Ok(Exported { bytes: bytes.len(), weights, parity })
}

/// Refuses a run whose model, by what was measured on the test split, may be no better than always naming one class. It can
/// be exported all the same; the file's description then has the doubt.
///
/// # Errors
/// [`ExportError::NoUse`].
pub fn check_use(evaluation: &Evaluation, validation: usize) -> Result<(), ExportError> {
    match doubts(evaluation, validation).into_iter().find(Doubt::is_grave) {
        Some(doubt) => Err(ExportError::NoUse(doubt)),
        None => Ok(()),
    }
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::Write { path, source }
}

/// The network as the board computes it: folded, with weights as the file stores them.
fn deployed(network: &Network, weights: WeightType) -> Result<Network, ExportError> {
    let (trunk, mut params) = fold(&network.trunk, &network.params)?;
    let (head, head_params) = fold(&network.head, &network.params)?;
    params.weights.extend(head_params.weights);
    params.running.extend(head_params.running);
    let deployed = Network { trunk, head, params, ..network.clone() };
    if weights == WeightType::F16 {
        for (name, weight) in &deployed.params.weights {
            // As the exporter stores them: vectors stay f32.
            if weight.var.rank() > 1 {
                let rounded = weight.var.as_detached_tensor().to_dtype(DType::F16)?.to_dtype(DType::F32)?;
                refuse_overflow(name, &rounded)?;
                weight.var.set(&rounded)?;
            }
        }
    }
    Ok(deployed)
}

fn refuse_overflow(name: &str, weights: &Tensor) -> Result<(), ExportError> {
    let values = weights.flatten_all()?.to_vec1::<f32>()?;
    match values.into_iter().find(|value| !value.is_finite()) {
        Some(value) => Err(ExportError::Overflow { name: name.to_owned(), value }),
        None => Ok(()),
    }
}

fn description(
    network: &Network,
    progress: &Progress,
    fitted: Fitted,
    evaluation: Option<&Evaluation>,
    doubts: &[Doubt],
) -> Result<Description, ExportError> {
    let config = &progress.config;
    let test = evaluation.map(Evaluation::summary);
    let self_test = (1..=SELF_TESTS).map(|seed| self_test(network, seed, config.side));
    let description = Description {
        schema: SCHEMA,
        labels: progress.labels.clone(),
        labels_sha256: labels_sha256(&progress.labels),
        layout: network.layout.clone(),
        head: network.head()?,
        input: config.input(),
        map_stride: network.map_stride() as u32,
        temperature: fitted.temperature,
        thresholds: Thresholds { unknown: None, rejection: fitted.rejection },
        sketches: fitted.sketches,
        training: json!({
            "program": concat!("fieldmark-trainer ", env!("CARGO_PKG_VERSION")),
            "data": progress.data,
            "validation": progress.last,
            "test": digits(&test)?,
            "doubts": doubts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "config": digits(config)?,
        }),
        self_test: self_test.collect::<Result<_, ExportError>>()?,
    };
    description.check()?;
    Ok(description)
}

/// A record as JSON, through text: a number that was an f32 keeps its few digits.
fn digits(record: &impl Serialize) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&serde_json::to_string(record)?)
}

/// What the trainer says of a picture that any processor can draw.
fn self_test(network: &Network, seed: u64, side: u32) -> Result<SelfTest, ExportError> {
    let planes = input(&pattern(seed, side)).into_raw_vec_and_offset().0;
    let side = side as usize;
    let image = Tensor::from_vec(planes, (1, 3, side, side), &Device::Cpu)?;
    let logits = network.forward(&image, &mut Mode::Eval)?.logits.squeeze(0)?.to_vec1()?;
    Ok(SelfTest { seed, logits })
}

fn model_file(
    network: &Network,
    description: &Description,
    weights: WeightType,
) -> Result<Vec<u8>, ExportError> {
    let features = description.sketches.is_some();
    let graph = lower::graph(network, description.input.side as usize, weights, features)?;
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "fieldmark-trainer".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: OPSET }],
        metadata_props: vec![StringEntry { key: METADATA_KEY.into(), value: description.to_json() }],
    };
    Ok(model.encode_to_vec())
}
