//! The folder of a run: what stands in it, how a run starts, goes on, and is read again.
//!
//! | file | holds |
//! |---|---|
//! | `config.json` | everything that decides the result, apart from the pictures |
//! | `split.json` | which picture is in which split, and what was left out |
//! | `metrics.jsonl` | a line an epoch, see [`EpochMetrics`] |
//! | `last.safetensors` | all that is needed to go on: weights, velocities, progress |
//! | `best.safetensors` | the weights of the best epoch by validation accuracy, the latest of equals within chance |
//! | `eval.json` | what [`eval`](crate::measure::eval) found on the test split |
//! | `report.html` | all of it for a person, see [`report`](crate::publish::report) |
//! | `unknown.json` | which score tells strangers, see [`Comparison`] |
//! | `unknown/` | the runs that did without some classes, a folder each |
//! | `lock` | empty; locked while a program trains in the folder |

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fieldmark::file::write_whole;
use serde_json::Value;

use crate::data::dataset::{self, Dataset, DatasetError, split_record};
use crate::measure::unknown::Comparison;
use crate::net::layer::Params;
use crate::net::network::{self, Network, NetworkError};
use crate::remedy::remedy;
use crate::run::checkpoint::{self, CheckpointError, Progress, Velocities};
use crate::run::config::Config;
use crate::run::metrics::{EpochMetrics, EpochSums};

/// All that is needed to go on.
pub const LAST: &str = "last.safetensors";
/// The best epoch by validation accuracy.
pub const BEST: &str = "best.safetensors";
/// What [`eval`](crate::measure::eval) found.
pub const EVAL: &str = "eval.json";
/// All of it for a person, see [`report`](crate::publish::report).
pub const REPORT: &str = "report.html";
/// Which score tells strangers: a [`Comparison`].
pub const UNKNOWN: &str = "unknown.json";
/// The folder of the runs that did without some classes.
pub const UNKNOWN_RUNS: &str = "unknown";
/// The curves: a file name that `TensorBoard` takes for an event file, one a folder, so that writing again replaces it.
pub const EVENTS: &str = "events.out.tfevents.fieldmark";
const LOCK: &str = "lock";
const CONFIG: &str = "config.json";
const SPLIT: &str = "split.json";
const METRICS: &str = "metrics.jsonl";

/// Why a run folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file of the folder cannot be read or written.
    #[error("cannot {act} {}: {source}; {}", path.display(), remedy(act, source))]
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
        "{} holds a run with other {what}; choose another folder, or delete this one to start again",
        path.display()
    )]
    OtherRun {
        /// The run folder.
        path: PathBuf,
        /// "settings" or "pictures, or another split of them".
        what: &'static str,
    },
    /// The folder is used for something else.
    #[error(
        "{} holds {}, which no run of this program wrote; choose a new folder",
        path.display(),
        file.display()
    )]
    Taken {
        /// The folder.
        path: PathBuf,
        /// The first foreign file in it.
        file: PathBuf,
    },
    /// The folder lies among the pictures.
    #[error("{} lies inside the pictures' folder, where it would count as a class; choose a folder elsewhere", path.display())]
    AmongPictures {
        /// The run folder.
        path: PathBuf,
    },
    /// Another program trains in the folder.
    #[error("another program is training in {}; wait for it, or choose another folder", path.display())]
    Busy {
        /// The run folder.
        path: PathBuf,
    },
    /// The pictures are not those of the run.
    #[error(
        "the pictures in {} are not those that the run was trained on, or are split differently (hash {actual}, \
         expected {expected}); name the folder that holds them, unchanged",
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
    #[error("{} does not name the pictures' folder; name it", path.display())]
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

/// Makes the run's folder, or takes an old one, for this program alone as long as the file is held.
///
/// # Errors
/// [`RunError`]: a folder of somebody's other files or among the pictures, or another program in it.
pub fn claim(run: &Path, dataset: &Dataset) -> Result<File, RunError> {
    refuse_taken(run)?;
    fs::create_dir_all(run).map_err(in_file("write", run))?;
    if let (Ok(run_folder), Ok(pictures)) = (run.canonicalize(), dataset.root.canonicalize())
        && run_folder.starts_with(pictures)
    {
        // Only if it was made just now: what is in it was refused or is a run.
        let _ = fs::remove_dir(run);
        return Err(RunError::AmongPictures { path: run.to_owned() });
    }
    let path = run.join(LOCK);
    let lock = File::create(&path).map_err(in_file("write", &path))?;
    // Some file systems have no locks; a run there is as safe as its user is careful.
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return Err(RunError::Busy { path: run.to_owned() });
    }
    Ok(lock)
}

/// Refuses a folder in which something stands that no run wrote. Leftovers of a killed write are removed.
fn refuse_taken(run: &Path) -> Result<(), RunError> {
    let entries = match fs::read_dir(run) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(in_file("read", run)(error)),
    };
    let ours = [LOCK, CONFIG, SPLIT, METRICS, LAST, BEST, EVAL, UNKNOWN, UNKNOWN_RUNS, REPORT, EVENTS];
    for entry in entries {
        let file = entry.map_err(in_file("read", run))?.path();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_ours = |ours: &&str| name.strip_prefix('.').is_some_and(|name| name.starts_with(*ours));
        let is_leftover = file.extension().is_some_and(|ending| ending == "part") && ours.iter().any(is_ours);
        if is_leftover {
            fs::remove_file(&file).map_err(in_file("write", &file))?;
        } else if !ours.contains(&name.as_str()) {
            return Err(RunError::Taken { path: run.to_owned(), file });
        }
    }
    let config = run.join(CONFIG);
    let is_foreign = |text: String| serde_json::from_str::<Config>(&text).is_err();
    if fs::read_to_string(&config).is_ok_and(is_foreign) && !run.join(LAST).exists() {
        return Err(RunError::Taken { path: run.to_owned(), file: config });
    }
    Ok(())
}

/// A new run's state written down, or an old one's read back into `network`, `average` and `velocities`.
///
/// # Errors
/// [`RunError`]; checkpoints then are as they were.
pub fn start_or_resume(
    dataset: &Dataset,
    config: &Config,
    run: &Path,
    network: &Network,
    average: Option<&Params>,
    velocities: &mut Velocities,
) -> Result<Progress, RunError> {
    if run.join(LAST).exists() {
        resume(dataset, config, run, network, average, velocities)
    } else {
        start(dataset, config, run)
    }
}

fn resume(
    dataset: &Dataset,
    config: &Config,
    run: &Path,
    network: &Network,
    average: Option<&Params>,
    velocities: &mut Velocities,
) -> Result<Progress, RunError> {
    let checkpoint = checkpoint::load(&run.join(LAST))?;
    let other = |what| Err(RunError::OtherRun { path: run.to_owned(), what });
    let progress = &checkpoint.progress;
    if progress.config != *config {
        return other("settings");
    }
    if progress.data != dataset.hash || progress.labels != dataset.labels || !is_split_alike(run, dataset)? {
        return other("pictures, or another split of them");
    }
    checkpoint::restore_trained(&checkpoint, &network.params)?;
    if let Some(average) = average {
        checkpoint::restore_params(&checkpoint, average)?;
    }
    checkpoint::restore_velocities(&checkpoint, &network.params, velocities)?;
    forget_metrics_from(run, checkpoint.progress.epoch)?;
    Ok(checkpoint.progress)
}

fn start(dataset: &Dataset, config: &Config, run: &Path) -> Result<Progress, RunError> {
    let json = serde_json::to_string_pretty(config).map_err(io::Error::from);
    write(&run.join(CONFIG), json.map(|json| json + "\n"))?;
    write(&run.join(METRICS), Ok(String::new()))?;
    write(&run.join(SPLIT), Ok(format!("{:#}\n", split_record(dataset))))?;
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

/// Whether the pictures are split as `split.json` has it.
fn is_split_alike(run: &Path, dataset: &Dataset) -> Result<bool, RunError> {
    let (old, new) = (read_split(run)?, split_record(dataset));
    Ok(["train", "validation", "test"].iter().all(|split| old[split] == new[split]))
}

fn read_split(run: &Path) -> Result<Value, RunError> {
    let path = run.join(SPLIT);
    let text = fs::read_to_string(&path).map_err(in_file("read", &path))?;
    serde_json::from_str(&text).map_err(io::Error::from).map_err(in_file("read", &path))
}

/// Adds an epoch's line to the run's metrics.
///
/// # Errors
/// [`RunError::File`].
pub fn append_metrics(run: &Path, metrics: &EpochMetrics) -> Result<(), RunError> {
    let path = run.join(METRICS);
    let old = read_metrics(&path);
    write(&path, old.and_then(|old| Ok(old + &serde_json::to_string(metrics)? + "\n")))
}

/// Drops the lines of epochs that a killed run wrote after its last checkpoint.
fn forget_metrics_from(run: &Path, epoch: usize) -> Result<(), RunError> {
    let path = run.join(METRICS);
    let is_older =
        |line: &&str| serde_json::from_str::<EpochMetrics>(line).is_ok_and(|metrics| metrics.epoch < epoch);
    let kept = read_metrics(&path)
        .map(|text| text.lines().filter(is_older).fold(String::new(), |kept, line| kept + line + "\n"));
    write(&path, kept)
}

/// The lines so far. None, where somebody has deleted the file: nothing else depends on them.
fn read_metrics(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// The run's metrics, a line an epoch; lines that are none are left out.
///
/// # Errors
/// [`RunError::File`].
pub fn metrics(run: &Path) -> Result<Vec<EpochMetrics>, RunError> {
    let path = run.join(METRICS);
    let text = read_metrics(&path).map_err(in_file("read", &path))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// When the run began, in seconds since 1970: when its settings were written; 0 where the system does not say.
pub fn began(run: &Path) -> f64 {
    let written = fs::metadata(run.join(CONFIG)).and_then(|metadata| metadata.modified());
    written
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Pictures that the run trains on.
///
/// # Errors
/// [`RunError::File`].
pub fn training_pictures(run: &Path) -> Result<usize, RunError> {
    Ok(read_split(run)?["train"].as_array().map_or(0, Vec::len))
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
    if dataset.hash != progress.data || dataset.labels != progress.labels || !is_split_alike(run, &dataset)? {
        let (expected, actual) = (progress.data, dataset.hash);
        return Err(RunError::OtherPictures { path: folder, expected, actual });
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

/// What `eval.json` says of the test split, for the model's description: the figures, not the lists. `None` if it
/// measured other weights than those with the hash `weights`.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn evaluation(run: &Path, weights: &str) -> Result<Option<Value>, RunError> {
    let path = run.join(EVAL);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let mut json: Value =
                serde_json::from_str(&text).map_err(io::Error::from).map_err(in_file("read", &path))?;
            if json["weights"] != weights {
                return Ok(None);
            }
            drop_lists(&mut json);
            Ok(Some(json))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(in_file("read", &path)(error)),
    }
}

/// Drops, at any depth, the example, which is a path on this machine, and lists, which are long.
fn drop_lists(json: &mut Value) {
    const DROPPED: [&str; 6] =
        ["example", "classes", "confusions", "confusion_matrix", "bins", "faithfulness"];
    if let Some(fields) = json.as_object_mut() {
        fields.retain(|name, _| !DROPPED.contains(&name.as_str()));
        fields.values_mut().for_each(drop_lists);
    }
}

/// What `unknown.json` says; `None` without one.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn comparison(run: &Path) -> Result<Option<Comparison>, RunError> {
    let path = run.join(UNKNOWN);
    match fs::read_to_string(&path) {
        Ok(text) => {
            serde_json::from_str(&text).map(Some).map_err(io::Error::from).map_err(in_file("read", &path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(in_file("read", &path)(error)),
    }
}

/// The folder of the pictures as `split.json` has it.
fn folder_of(run: &Path) -> Result<PathBuf, RunError> {
    let folder = read_split(run)?["folder"].as_str().map(PathBuf::from);
    folder.ok_or_else(|| RunError::NoFolder { path: run.join(SPLIT) })
}
