//! The folder of a run: what stands in it, how a run starts, goes on, and is read again.
//!
//! | file | holds |
//! |---|---|
//! | `config.json` | everything that decides the result, apart from the pictures |
//! | `split.json` | which picture is in which split, and what was left out |
//! | `metrics.jsonl` | a line an epoch, see [`EpochMetrics`] |
//! | `last.safetensors` | all that is needed to go on: weights, velocities, progress |
//! | `best.safetensors` | the weights of the epoch with the best validation accuracy |
//! | `eval.json` | what [`eval`](crate::eval) found on the test split |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fieldmark::file::write_whole;

use crate::checkpoint::{self, CheckpointError, Progress};
use crate::config::Config;
use crate::dataset::{self, Dataset, DatasetError, write_split};
use crate::metrics::{EpochMetrics, EpochSums};
use crate::network::{self, Network, NetworkError};
use crate::optim::Sgd;

/// All that is needed to go on.
pub const LAST: &str = "last.safetensors";
/// The epoch with the best validation accuracy.
pub const BEST: &str = "best.safetensors";
/// What [`eval`](crate::eval) found.
pub const EVAL: &str = "eval.json";
const CONFIG: &str = "config.json";
const SPLIT: &str = "split.json";
const METRICS: &str = "metrics.jsonl";

/// Why a run folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file of the folder cannot be read or written.
    #[error("cannot {act} {}: {source}", path.display())]
    File {
        /// "read" or "write".
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder holds another run.
    #[error(
        "{} holds a run with other {what}; choose another --out, or delete the folder to start anew",
        path.display()
    )]
    OtherRun {
        /// The run folder.
        path: PathBuf,
        /// "settings" or "pictures".
        what: &'static str,
    },
    /// The pictures are not those of the run.
    #[error(
        "the pictures in {} are not those that the run was trained on (hash {actual}, expected {expected}); \
         name the folder that holds them, unchanged",
        path.display()
    )]
    OtherPictures {
        /// The data set's folder.
        path: PathBuf,
        /// The run's data set hash.
        expected: String,
        /// The folder's.
        actual: String,
    },
    /// `split.json` does not say where the pictures are.
    #[error("{} does not name the pictures' folder; name it on the command line", path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// Its checkpoint is missing, broken or does not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The pictures cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Its network cannot be built.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// A new run's state written down, or an old one's read back into `network` and `sgd`.
///
/// # Errors
/// [`RunError`]; the folder then is as it was.
pub fn start_or_resume(
    dataset: &Dataset,
    config: &Config,
    run: &Path,
    network: &Network,
    sgd: &mut Sgd,
) -> Result<Progress, RunError> {
    fs::create_dir_all(run).map_err(in_file("write", run))?;
    if run.join(LAST).exists() {
        resume(dataset, config, run, network, sgd)
    } else {
        start(dataset, config, run)
    }
}

fn resume(
    dataset: &Dataset,
    config: &Config,
    run: &Path,
    network: &Network,
    sgd: &mut Sgd,
) -> Result<Progress, RunError> {
    let checkpoint = checkpoint::load(&run.join(LAST))?;
    let other = |what| Err(RunError::OtherRun { path: run.to_owned(), what });
    let progress = &checkpoint.progress;
    if progress.config != *config {
        return other("settings");
    }
    if progress.data != dataset.hash || progress.labels != dataset.labels {
        return other("pictures");
    }
    checkpoint::restore_params(&checkpoint, &network.params)?;
    checkpoint::restore_velocities(&checkpoint, &network.params, sgd)?;
    forget_metrics_from(run, progress.epoch)?;
    Ok(checkpoint.progress)
}

fn start(dataset: &Dataset, config: &Config, run: &Path) -> Result<Progress, RunError> {
    let json = serde_json::to_string_pretty(config).map_err(io::Error::from);
    write(&run.join(CONFIG), json.map(|json| json + "\n"))?;
    write(&run.join(METRICS), Ok(String::new()))?;
    write_split(dataset, &run.join(SPLIT))?;
    Ok(Progress {
        config: config.clone(),
        labels: dataset.labels.clone(),
        data: dataset.hash.clone(),
        epoch: 0,
        batch: 0,
        sums: EpochSums::default(),
        best: None,
    })
}

/// Adds an epoch's line to the run's metrics.
///
/// # Errors
/// [`RunError::File`].
pub fn append_metrics(run: &Path, metrics: &EpochMetrics) -> Result<(), RunError> {
    let path = run.join(METRICS);
    let old = fs::read_to_string(&path);
    write(&path, old.and_then(|old| Ok(old + &serde_json::to_string(metrics)? + "\n")))
}

/// Drops the lines of epochs that a killed run wrote after its last checkpoint.
fn forget_metrics_from(run: &Path, epoch: usize) -> Result<(), RunError> {
    let path = run.join(METRICS);
    let kept = fs::read_to_string(&path)
        .map(|text| text.lines().take(epoch).fold(String::new(), |kept, line| kept + line + "\n"));
    write(&path, kept)
}

fn write(path: &Path, text: io::Result<String>) -> Result<(), RunError> {
    text.and_then(|text| write_whole(path, text.as_bytes())).map_err(in_file("write", path))
}

fn in_file(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    move |source| RunError::File { act, path, source }
}

/// A trained run, read from its folder.
#[derive(Debug)]
pub struct Trained {
    /// The network with the epoch's weights.
    pub network: Network,
    /// Settings, labels, data set hash, best epoch.
    pub progress: Progress,
    /// The pictures, split as in training.
    pub dataset: Dataset,
}

/// Reads the run in `run` with the weights of its best epoch, or of the last one saved, and its pictures from
/// `data` or from where they were in training.
///
/// # Errors
/// [`RunError`]: no whole run, or pictures that have changed.
pub fn open(run: &Path, data: Option<&Path>, weights: &str) -> Result<Trained, RunError> {
    let checkpoint = checkpoint::load(&run.join(weights))?;
    let progress = checkpoint.progress.clone();
    let config = &progress.config;
    let folder = match data {
        Some(folder) => folder.to_owned(),
        None => folder_of(run)?,
    };
    let dataset = dataset::read(&folder, &config.split)?;
    if dataset.hash != progress.data || dataset.labels != progress.labels {
        let (expected, actual) = (progress.data, dataset.hash);
        return Err(RunError::OtherPictures { path: folder, expected, actual });
    }
    let network = network::build(&config.network, progress.labels.len(), config.side, config.seed)?;
    checkpoint::restore_params(&checkpoint, &network.params)?;
    Ok(Trained { network, progress, dataset })
}

/// What `eval.json` says of the test split, for the model's description: the figures, not the lists.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn evaluation(run: &Path) -> Result<Option<serde_json::Value>, RunError> {
    let path = run.join(EVAL);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let mut json: serde_json::Value =
                serde_json::from_str(&text).map_err(io::Error::from).map_err(in_file("read", &path))?;
            if let Some(fields) = json.as_object_mut() {
                // The example is a path on this machine, the lists are long.
                fields.retain(|name, _| !["example", "classes", "confusions"].contains(&name.as_str()));
            }
            Ok(Some(json))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(in_file("read", &path)(error)),
    }
}

/// The folder of the pictures as `split.json` has it.
fn folder_of(run: &Path) -> Result<PathBuf, RunError> {
    let path = run.join(SPLIT);
    let text = fs::read_to_string(&path).map_err(in_file("read", &path))?;
    let folder = serde_json::from_str::<serde_json::Value>(&text).ok();
    let folder = folder.as_ref().and_then(|split| split["folder"].as_str()).map(PathBuf::from);
    folder.ok_or(RunError::NoFolder { path })
}
