//! A run's state on disk: one safetensors file with weights, running statistics and velocities, and the
//! progress as JSON in its metadata. Where the run evaluates an average of its weights, that is what stands under
//! `weights/` and `running/`; the weights that training goes on with then have `training/` before these.
//!
//! Every random number of a run is derived from its seed and the step, so these tensors and [`Progress`] are all
//! that a run needs to go on bit for bit.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, Var};
use fieldmark::digits::hexadecimal;
use fieldmark::file::write_whole;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::net::layer::Params;
use crate::remedy::remedy;
use crate::run::config::Config;
use crate::run::metrics::{Best, EpochSums};

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The run's settings, as they were typed or defaulted.
    pub config: Config,
    /// Labels in class order.
    pub labels: Vec<String>,
    /// The data set's hash.
    pub data: String,
    /// The epoch in progress, 0-based.
    pub epoch: usize,
    /// Batches of it already done.
    pub batch: usize,
    /// Sums over those batches.
    pub sums: EpochSums,
    /// The best epoch so far: the latest whose validation accuracy is not below the highest by more than chance.
    pub best: Option<Best>,
    /// The epoch of the highest validation accuracy so far.
    pub highest: Option<Best>,
    /// The last whole epoch.
    pub last: Option<Best>,
}

/// Why a checkpoint was refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system could not read or write it.
    #[error("cannot {act} the checkpoint {path}: {source}; {}", remedy(act, source))]
    File {
        /// "read" or "write".
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is not a checkpoint of this program.
    #[error(
        "{path} is not a complete Fieldmark checkpoint: {reason}; delete the run's folder to train again"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Its tensors are not those of the network.
    #[error("the checkpoint does not fit the network: {reason}")]
    Misfit {
        /// Which tensor, expected and actual.
        reason: String,
    },
}

/// The running sum of gradients of each parameter, by its name.
pub type Velocities = BTreeMap<String, Var>;

/// What a run is made of.
#[derive(Clone, Copy)]
pub struct State<'a> {
    /// Parameters that are evaluated.
    pub evaluated: &'a Params,
    /// Parameters that training goes on with, if they are others.
    pub trained: Option<&'a Params>,
    /// The optimiser's, in a file that training goes on from.
    pub velocities: Option<&'a Velocities>,
}

/// Writes the state as one whole file.
///
/// # Errors
/// [`CheckpointError::File`] when the disk refuses it; an earlier checkpoint then still stands.
pub fn save(path: &Path, progress: &Progress, state: State) -> Result<(), CheckpointError> {
    let malformed = |reason: String| CheckpointError::Malformed { path: path.to_owned(), reason };
    let json = serde_json::to_string(progress).map_err(|e| malformed(e.to_string()))?;
    let bytes = safetensors::serialize(tensors(state), Some(HashMap::from([("fieldmark".into(), json)])))
        .map_err(|e| malformed(e.to_string()))?;
    write_whole(path, &bytes).map_err(|source| CheckpointError::File {
        act: "write",
        path: path.to_owned(),
        source,
    })
}

/// All tensors of a run under their names on disk.
fn tensors(state: State) -> BTreeMap<String, Tensor> {
    let trained = state.trained.into_iter().flat_map(|params| named(params, TRAINING));
    let velocities = state.velocities.into_iter().flatten();
    let velocities = velocities.map(|(name, var)| (format!("velocity/{name}"), var));
    let all = named(state.evaluated, "").chain(trained).chain(velocities);
    all.map(|(name, var)| (name, var.as_tensor().clone())).collect()
}

/// Before the names of parameters that training goes on with, where they are not those that are evaluated.
const TRAINING: &str = "training/";

/// All parameters by their names on disk.
fn named<'a>(params: &'a Params, before: &'a str) -> impl Iterator<Item = (String, &'a Var)> {
    let weights =
        params.weights.iter().map(move |(name, weight)| (format!("{before}weights/{name}"), &weight.var));
    let running = params.running.iter().map(move |(name, var)| (format!("{before}running/{name}"), var));
    weights.chain(running)
}

/// A checkpoint read back.
pub struct Checkpoint {
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Where the run stood.
    pub progress: Progress,
    tensors: HashMap<String, Tensor>,
}

/// Reads a checkpoint and checks that it is whole.
///
/// # Errors
/// [`CheckpointError::File`] or [`CheckpointError::Malformed`].
pub fn load(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let malformed = |reason: String| CheckpointError::Malformed { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::File {
        act: "read",
        path: path.to_owned(),
        source,
    })?;
    let (_, header) =
        safetensors::SafeTensors::read_metadata(&bytes).map_err(|e| malformed(e.to_string()))?;
    let state = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get("fieldmark"))
        .ok_or_else(|| malformed("its metadata has no `fieldmark` entry".into()))?;
    let progress = serde_json::from_str(state).map_err(|e| malformed(e.to_string()))?;
    let tensors =
        candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|e| malformed(e.to_string()))?;
    Ok(Checkpoint { sha256: hexadecimal(&Sha256::digest(&bytes)), progress, tensors })
}

/// Puts a checkpoint's weights and running statistics, those that are evaluated, into a network's parameters, all of
/// them or an error.
///
/// # Errors
/// [`CheckpointError::Misfit`] names the first tensor that is missing or of another shape.
pub fn restore_params(checkpoint: &Checkpoint, params: &Params) -> Result<(), CheckpointError> {
    restore(checkpoint, params, "")
}

/// As [`restore_params`], but those that training goes on with.
///
/// # Errors
/// As [`restore_params`].
pub fn restore_trained(checkpoint: &Checkpoint, params: &Params) -> Result<(), CheckpointError> {
    let has_others = checkpoint.tensors.keys().any(|name| name.starts_with(TRAINING));
    restore(checkpoint, params, if has_others { TRAINING } else { "" })
}

fn restore(checkpoint: &Checkpoint, params: &Params, before: &str) -> Result<(), CheckpointError> {
    for (name, var) in named(params, before) {
        let tensor = checkpoint
            .tensors
            .get(&name)
            .ok_or_else(|| CheckpointError::Misfit { reason: format!("it lacks the tensor {name}") })?;
        if tensor.dims() != var.dims() {
            let reason = format!("{name} has shape {:?}, expected {:?}", tensor.dims(), var.dims());
            return Err(CheckpointError::Misfit { reason });
        }
        let moved = tensor.to_device(var.device()).and_then(|tensor| var.set(&tensor));
        moved.map_err(|e| CheckpointError::Misfit { reason: format!("{name}: {e}") })?;
    }
    Ok(())
}

/// Puts a checkpoint's velocities into an optimiser's.
///
/// # Errors
/// [`CheckpointError::Misfit`] if one lacks, belongs to no weight of the network, or has another shape.
pub fn restore_velocities(
    checkpoint: &Checkpoint,
    params: &Params,
    velocities: &mut Velocities,
) -> Result<(), CheckpointError> {
    let lacking =
        params.weights.keys().find(|name| !checkpoint.tensors.contains_key(&format!("velocity/{name}")));
    if let Some(name) = lacking {
        let reason = format!("it lacks the velocity of {name}, so training cannot resume from it");
        return Err(CheckpointError::Misfit { reason });
    }
    for (name, tensor) in &checkpoint.tensors {
        let Some(name) = name.strip_prefix("velocity/") else { continue };
        let weight = params.weights.get(name).filter(|weight| weight.var.dims() == tensor.dims());
        let Some(weight) = weight else {
            let reason = format!("its velocity of {name} has no weight of shape {:?}", tensor.dims());
            return Err(CheckpointError::Misfit { reason });
        };
        let var = tensor
            .to_device(weight.var.device())
            .and_then(|tensor| Var::from_tensor(&tensor))
            .map_err(|e| CheckpointError::Misfit { reason: format!("{name}: {e}") })?;
        velocities.insert(name.to_owned(), var);
    }
    Ok(())
}
