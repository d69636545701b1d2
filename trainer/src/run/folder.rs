//! The folder of a run: what stands in it, how a run starts, goes on, and is read again.
//!
//! | file | holds |
//! |---|---|
//! | `config.json` | everything that decides the result, apart from the pictures |
//! | `split.json` | which picture is in which split, and what was left out |
//! | `metrics.jsonl` | a line an epoch |
//! | `last.safetensors` | all that is needed to go on: weights, velocities, progress |
//! | `best.safetensors` | the weights of the best epoch by validation accuracy, the latest of equals within chance |
//! | `eval.json` | what was measured on the test split |
//! | `report.html` | all of it for a person |
//! | `unknown.json` | which score tells strangers |
//! | `unknown/` | the runs that did without some classes, a folder each |
//! | `lock` | empty; locked while a program trains in the folder |
//!
//! The JSON files are read and written as the types of [`records`].

use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::data::dataset::{self, Dataset};
use crate::net::layer::Params;
use crate::net::network::{self, Network, NetworkError};
use crate::run::checkpoint::{self, Checkpoint, Progress, Velocities};
use crate::run::config::Config;
use crate::run::config_file::difference;
use crate::run::error::{FolderError, in_file};
use crate::run::metrics::EpochSums;
use crate::run::records::{self, EVAL, Evaluation, METRICS, NoEvaluation, SPLIT, SplitRecord, UNKNOWN};

/// All that is needed to go on.
pub const LAST: &str = "last.safetensors";
/// The best epoch by validation accuracy.
pub const BEST: &str = "best.safetensors";
/// All of it for a person.
pub const REPORT: &str = "report.html";
/// The folder of the runs that did without some classes.
pub const UNKNOWN_RUNS: &str = "unknown";
/// The curves: a file name that `TensorBoard` takes for an event file, one a folder, so that writing again replaces it.
pub const EVENTS: &str = "events.out.tfevents.fieldmark";
pub(super) const LOCK: &str = "lock";
const CONFIG: &str = "config.json";

/// Refuses a folder that is no run's and has one run in it, as the folder of `make` has.
///
/// # Errors
/// [`FolderError::Outer`].
pub fn refuse_outer(path: &Path) -> Result<(), FolderError> {
    let has_run = |folder: &Path| folder.join(CONFIG).is_file() && folder.join(SPLIT).is_file();
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    if has_run(path) || path.join(LAST).exists() {
        return Ok(());
    }
    let mut runs = entries.flatten().map(|entry| entry.path()).filter(|folder| has_run(folder));
    match (runs.next(), runs.next()) {
        (Some(run), None) => Err(FolderError::Outer { path: path.to_owned(), run }),
        _ => Ok(()),
    }
}

/// Refuses a folder in which something stands that no run wrote. Leftovers of a killed write are removed.
pub(super) fn refuse_taken(run: &Path) -> Result<(), FolderError> {
    let entries = match fs::read_dir(run) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(in_file("read", run)(error)),
    };
    let is_config = |text: String| serde_json::from_str::<Config>(&text).is_ok();
    let is_run = fs::read_to_string(run.join(CONFIG)).is_ok_and(is_config) || run.join(LAST).exists();
    let ours = [LOCK, CONFIG, SPLIT, METRICS, LAST, BEST, EVAL, UNKNOWN, UNKNOWN_RUNS, REPORT, EVENTS];
    for entry in entries {
        let file = entry.map_err(in_file("read", run))?.path();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // A run that has not written its settings yet has its lock alone.
        let is_lock = name == LOCK && file.metadata().is_ok_and(|lock| lock.is_file() && lock.len() == 0);
        if ours.iter().any(|ours| is_leftover(&name, ours)) {
            fs::remove_file(&file).map_err(in_file("write", &file))?;
        } else if !(is_lock || is_run && ours.contains(&name.as_str())) {
            refuse_outer(run)?;
            return Err(FolderError::Taken { path: run.to_owned(), file });
        }
    }
    Ok(())
}

/// Whether `write_whole` names what it writes beside `file` so, before it renames it.
fn is_leftover(name: &str, file: &str) -> bool {
    let number = name
        .strip_prefix('.')
        .and_then(|name| name.strip_prefix(file)?.strip_prefix('.')?.strip_suffix(".part"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Where a path leads, links followed as far as it is there.
pub fn place(path: &Path) -> PathBuf {
    let whole = path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // What is not there yet has no links to follow, and goes up by name.
    let (mut there, mut rest) = (whole.as_path(), Vec::new());
    loop {
        if let Ok(found) = there.canonicalize() {
            return rest.into_iter().rev().fold(found, |place: PathBuf, part| place.join(part));
        }
        match (there.parent(), there.components().next_back()) {
            (Some(parent), Some(last)) => {
                rest.push(last.as_os_str());
                there = parent;
            }
            _ => return whole,
        }
    }
}

/// The last checkpoint of the unfinished or finished run in the folder `run`; `None` where there is none yet.
///
/// # Errors
/// [`FolderError`]: a checkpoint that cannot be read, or is of a run with other settings or pictures.
pub fn standing(dataset: &Dataset, config: &Config, run: &Path) -> Result<Option<Checkpoint>, FolderError> {
    let last = run.join(LAST);
    if !last.exists() {
        return Ok(None);
    }
    let checkpoint = checkpoint::load(&last)?;
    refuse_other_run(dataset, config, run, &checkpoint.progress)?;
    Ok(Some(checkpoint))
}

/// The state of the run in the folder `run`, its last `checkpoint`, put back into `network`, `average` and `velocities`.
///
/// # Errors
/// [`FolderError`]; checkpoints then are as they were.
pub fn resume(
    checkpoint: Checkpoint,
    run: &Path,
    network: &Network,
    average: Option<&Params>,
    velocities: &mut Velocities,
) -> Result<Progress, FolderError> {
    checkpoint::restore_trained(&checkpoint, &network.params)?;
    if let Some(average) = average {
        checkpoint::restore_params(&checkpoint, average)?;
    }
    checkpoint::restore_velocities(&checkpoint, &network.params, velocities)?;
    records::forget_metrics_from(run, checkpoint.progress.epoch)?;
    Ok(checkpoint.progress)
}

fn refuse_other_run(
    dataset: &Dataset,
    config: &Config,
    run: &Path,
    progress: &Progress,
) -> Result<(), FolderError> {
    let other = |what: String| Err(FolderError::OtherRun { path: run.to_owned(), what });
    if progress.config != *config {
        let first = difference(&progress.config, config).map_or(String::new(), |first| format!(" ({first})"));
        return other(format!("settings{first}"));
    }
    if progress.data != dataset.hash
        || progress.labels != dataset.labels
        || !records::split(run)?.is_split_like(&SplitRecord::of(dataset))
    {
        return other("pictures, or another split of them".to_owned());
    }
    Ok(())
}

/// A new run's state written down.
///
/// # Errors
/// [`FolderError`]: files that cannot be written, or removed.
pub fn start(dataset: &Dataset, config: &Config, run: &Path) -> Result<Progress, FolderError> {
    let json = serde_json::to_string_pretty(config).map_err(io::Error::from);
    records::write(&run.join(CONFIG), json.map(|json| json + "\n"))?;
    records::write(&run.join(METRICS), Ok(String::new()))?;
    let split = serde_json::to_string_pretty(&SplitRecord::of(dataset)).map_err(io::Error::from);
    records::write(&run.join(SPLIT), split.map(|json| json + "\n"))?;
    // Of an earlier run in this folder, whose last checkpoint was removed.
    for old in [BEST, EVAL, UNKNOWN, REPORT] {
        match fs::remove_file(run.join(old)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(in_file("write", &run.join(old))(error));
            }
            _ => {}
        }
    }
    Ok(beginning(dataset, config.clone()))
}

fn beginning(dataset: &Dataset, config: Config) -> Progress {
    Progress {
        config,
        labels: dataset.labels.clone(),
        data: dataset.hash.clone(),
        epoch: 0,
        batch: 0,
        sums: EpochSums::default(),
        best: None,
        highest: None,
        last: None,
    }
}

/// When the run began, in seconds since 1970: when its settings were written; 0 where the system does not say.
pub fn began(run: &Path) -> f64 {
    let written = fs::metadata(run.join(CONFIG)).and_then(|metadata| metadata.modified());
    written
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0.0, |since| since.as_secs_f64())
}

/// A trained run, read from its folder.
#[derive(Debug)]
pub struct Trained {
    /// The network with the epoch's weights.
    pub network: Network,
    /// SHA-256 of the file that they were read from, in hex.
    pub weights: String,
    /// Settings, labels, data set hash, best epoch.
    pub progress: Progress,
    /// The pictures, split as in training.
    pub dataset: Dataset,
}

/// Reads the run in `run` with the weights of its best epoch, or of the last one saved, and its pictures from
/// `data` or from where they were in training.
///
/// # Errors
/// [`FolderError`]: no whole run, or pictures that have changed.
pub fn open(run: &Path, data: Option<&Path>, weights: &str) -> Result<Trained, FolderError> {
    refuse_outer(run)?;
    let checkpoint = checkpoint::load(&run.join(weights))?;
    let progress = checkpoint.progress.clone();
    let config = &progress.config;
    let split = records::split(run)?;
    let folder = data.map_or_else(|| PathBuf::from(&split.folder), Path::to_owned);
    let dataset = dataset::read(&folder, &config.split)?;
    let is_split_alike = split.is_split_like(&SplitRecord::of(&dataset));
    if dataset.hash != progress.data || dataset.labels != progress.labels || !is_split_alike {
        let (expected, actual) = (progress.data, dataset.hash);
        return Err(FolderError::OtherPictures { path: folder, expected, actual });
    }
    let network = network::build(&config.network, progress.labels.len(), config.side, config.seed)?;
    checkpoint::restore_params(&checkpoint, &network.params)?;
    Ok(Trained { network, weights: checkpoint.sha256, progress, dataset })
}

/// A run before its first step, in no folder: a network of first weights for the labels of `dataset`. Benches and tests
/// export it.
///
/// # Errors
/// A network that cannot be built.
pub fn untrained(dataset: Dataset, config: Config) -> Result<Trained, NetworkError> {
    let network = network::build(&config.network, dataset.labels.len(), config.side, config.seed)?;
    let progress = beginning(&dataset, config);
    Ok(Trained { network, weights: "0".repeat(64), progress, dataset })
}

/// What was measured on the test split with the weights of the hash `weights`; `None` if nothing was, or other weights
/// were.
///
/// # Errors
/// [`FolderError`]: an `eval.json` that cannot be read, or is not of this version.
pub fn evaluation(run: &Path, weights: &str) -> Result<Option<Evaluation>, FolderError> {
    match records::evaluation(run, weights)? {
        Ok(evaluation) => Ok(Some(evaluation)),
        Err(NoEvaluation::Missing | NoEvaluation::OtherWeights) => Ok(None),
        Err(NoEvaluation::OtherVersion { reason }) => {
            Err(FolderError::OtherVersion { path: run.join(EVAL), reason })
        }
    }
}
