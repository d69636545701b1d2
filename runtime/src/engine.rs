//! Loading, checking and running model files through tract.
//!
//! A model file is one `.onnx` with a [`Description`] in its metadata. Everything it claims is checked
//! before it runs: the description against itself, the graph's input and outputs against the
//! description, its operators and sizes against what a Fieldmark network can need. A file that was cut or made by
//! another program, or whose labels were edited, is a [`LoadError`] and never a panic; that weights were changed is
//! what [`Engine::self_test`] finds.
//!
//! This module and the ones below it are the only code that names tract.

mod check;
mod error;
#[cfg(test)]
mod fixture;
mod fuse;
mod gpu;
mod graph;
mod guard;
mod options;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::Array3;
use serde::Serialize;

pub use error::{LoadError, MAX_MODEL_BYTES, RunError};
pub use graph::{Output, cores, instruction_set};
pub use options::{Device, Kernels, Options, Precision};

use crate::cues::{PartCue, part_cues};
use crate::frame::{Frame, View, network_frame, pattern};
use crate::head::{HeadKind, softmax, top_k};
use crate::kernels::reserve;
use crate::model::{Description, SelfTest};
use crate::unknown::Unknown;
use graph::{Graph, has_half_arithmetic};

/// A loaded model. Shared by threads as it is: running takes `&self`.
#[derive(Debug)]
pub struct Engine {
    description: Description,
    graph: Graph,
}

/// One class of a prediction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The class's name.
    pub label: String,
    /// The class's number.
    pub index: usize,
    /// Its score.
    pub logit: f32,
    /// Its calibrated probability, 0..=1.
    pub probability: f32,
}

/// A part cue, with the class it speaks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelledCue {
    /// The class's name.
    pub label: String,
    /// The number that people are shown, of a cue that is a mark: [`PartCue::is_mark`], [`PartCue::number`].
    pub mark: Option<usize>,
    /// Where, how strong, and what it adds to the class's logit.
    #[serde(flatten)]
    pub cue: PartCue,
}

/// Milliseconds that each stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stages {
    /// File to picture; 0 from [`Engine::predict`], which gets a picture.
    pub decode: f64,
    /// Picture to network input.
    pub resize: f64,
    /// The network.
    pub run: f64,
    /// Probabilities, order, and part cues.
    pub cues: f64,
}

/// What a picture shows, and by which marks.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The likeliest classes, likeliest first.
    pub top: Vec<Answer>,
    /// Why the first answer is better called unknown, where the model has a threshold and it is missed.
    pub unknown: Option<Unknown>,
    /// The marks of the first answer, largest share first; empty unless asked for.
    pub cues: Vec<LabelledCue>,
    /// The maps the marks were read from, `[N, H, W]`.
    pub maps: Array3<f32>,
    /// From the network's input pixels to the picture's.
    pub view: View,
    /// Time spent.
    pub ms: Stages,
}

/// What the self-test found. [`SelfTestReport::passed`] sums it up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SelfTestReport {
    /// One for each self-test in the model file.
    pub cases: Vec<SelfTestCase>,
}

/// One self-test picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SelfTestCase {
    /// The picture's seed.
    pub seed: u64,
    /// The largest difference of a logit from the trainer's, in tolerances: passed up to 1. A tolerance is 1e-5 of
    /// [`Head::reach`](crate::head::Head::reach) in f32, 2 % of it in f16.
    pub logits: f32,
    /// The same for the logits that the head makes of the maps against the graph's own: what makes
    /// shares add up. `None` for the linear head, which is not in the description in full.
    pub shares: Option<f32>,
}

impl SelfTestCase {
    /// Both differences are within tolerance.
    pub fn passed(&self) -> bool {
        self.logits <= 1.0 && self.shares.is_none_or(|shares| shares <= 1.0)
    }
}

impl SelfTestReport {
    /// There was a test, and all passed.
    pub fn passed(&self) -> bool {
        !self.cases.is_empty() && self.cases.iter().all(SelfTestCase::passed)
    }
}

/// The bytes of a model file.
///
/// # Errors
/// A path that is not a readable regular file of at most [`MAX_MODEL_BYTES`].
pub fn read_model(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Read { path: path.to_path_buf(), source };
    let not_a_file = || LoadError::NotAFile { path: path.to_path_buf(), model: only_model(path) };
    // Before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(not_a_file());
    }
    check_size(metadata.len())?;
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let no_memory = |error| unreadable(io::Error::new(io::ErrorKind::OutOfMemory, error));
    reserve(&mut bytes, metadata.len() as usize).map_err(no_memory)?;
    file.take(MAX_MODEL_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    check_size(bytes.len() as u64)?;
    Ok(bytes)
}

/// The model file in a folder, where there is one and no more.
fn only_model(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let mut models = files.filter(|file| file.extension().is_some_and(|ending| ending == "onnx"));
    models.next().filter(|_| models.next().is_none())
}

fn check_size(bytes: u64) -> Result<(), LoadError> {
    if bytes > MAX_MODEL_BYTES {
        return Err(LoadError::TooLarge { bytes });
    }
    Ok(())
}

impl Engine {
    /// The model in a file.
    ///
    /// # Errors
    /// All of [`read_model`]'s and [`Engine::from_bytes`]'s.
    pub fn load(path: &Path, options: Options) -> Result<Engine, LoadError> {
        Engine::from_bytes(read_model(path)?, options)
    }

    /// The model in a file's bytes, which are let go before the network is built; borrowed ones are copied.
    ///
    /// # Errors
    /// Anything that is not a whole, consistent Fieldmark model; precision `F16` or a GPU where
    /// the model fails its self-test with it; a GPU that is not there.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>, options: Options) -> Result<Engine, LoadError> {
        let half = options.precision == Precision::F16;
        let gpu = options.device == Device::Cuda;
        if half && !gpu && options.kernels == Kernels::Tract && !has_half_arithmetic() {
            let processor = instruction_set();
            return Err(LoadError::NoHalfArithmetic { processor });
        }
        let engine = Engine::prepared(bytes.into(), options)?;
        if half || gpu {
            engine.check_rounded(options)?;
        }
        Ok(engine)
    }

    fn prepared(bytes: Vec<u8>, options: Options) -> Result<Engine, LoadError> {
        let size = bytes.len();
        let model = check::read_onnx(bytes)?;
        let description = check::description(&model)?;
        check::check_model(&model, &description, size)?;
        let graph = Graph::prepare(model, &description, options)?;
        Ok(Engine { description, graph })
    }

    /// Rounded numbers are believed only after the model's own test.
    fn check_rounded(&self, options: Options) -> Result<(), LoadError> {
        let reason = match self.self_test() {
            Ok(report) if report.passed() => return Ok(()),
            Ok(report) if report.cases.is_empty() => "it has no self-test".to_string(),
            Ok(_) => "its logits differ from the trainer's by more than 2 %".to_string(),
            Err(error) => error.to_string(),
        };
        Err(match options.device {
            Device::Cpu => LoadError::HalfRefused { reason },
            Device::Cuda => LoadError::GpuRefused { reason },
        })
    }

    /// What the model says about itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Multiply-adds of one run.
    pub fn multiply_adds(&self) -> u64 {
        self.graph.multiply_adds
    }

    /// Height and width of the maps.
    pub fn map_size(&self) -> [usize; 2] {
        self.graph.map_size
    }

    /// What the network is computed with: `"f32"`, `"f32, weights f16"`, `"f32 and f16"` or `"f16"`, and where, if not on the
    /// processor.
    pub fn arithmetic(&self) -> &'static str {
        self.graph.arithmetic.name()
    }

    /// Threads that share the work on one picture.
    pub fn threads(&self) -> usize {
        self.graph.threads
    }

    /// Runs the network on its input picture, which is `side * side`.
    ///
    /// # Errors
    /// A frame of another size, and logits or maps that are not finite.
    pub fn run(&self, frame: &Frame) -> Result<Output, RunError> {
        let mut output = Output::default();
        self.run_into(frame, &mut output)?;
        Ok(output)
    }

    /// As [`Engine::run`], into what an earlier run gave, or a default. After the first run of an engine that is all
    /// kernels nothing is allocated.
    ///
    /// # Errors
    /// As [`Engine::run`]; the output may have been written to.
    pub fn run_into(&self, frame: &Frame, output: &mut Output) -> Result<(), RunError> {
        let side = self.description.input.side;
        let actual = (frame.width(), frame.height());
        if actual != (side, side) {
            return Err(RunError::Size { side, actual });
        }
        let Description { labels, layout, sketches, .. } = &self.description;
        let [height, width] = self.graph.map_size;
        output.logits.resize(labels.len(), 0.0);
        output.features.resize(sketches.as_ref().map_or(0, |sketches| sketches.weights.len()), 0.0);
        if output.maps.dim() != (layout.channels(), height, width) {
            output.maps = Array3::zeros((layout.channels(), height, width));
        }
        self.graph.run(frame, output)?;
        let bad = |value: &f32| !value.is_finite();
        if let Some(class) = output.logits.iter().position(bad) {
            return Err(self.not_finite("logit", class, output.logits[class]));
        }
        if let Some(((channel, ..), value)) = output.maps.indexed_iter().find(|(_, value)| bad(value)) {
            return Err(self.not_finite("map", layout.class_of(channel), *value));
        }
        Ok(())
    }

    fn not_finite(&self, what: &'static str, class: usize, value: f32) -> RunError {
        let label = self.description.labels[class].clone();
        RunError::NotFinite { what, label, value, arithmetic: self.arithmetic() }
    }

    /// Names what a picture of any size shows: the `top` likeliest classes, and with `cues` the marks
    /// of the likeliest.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn predict(&self, picture: &Frame, top: usize, cues: bool) -> Result<Prediction, RunError> {
        let description = &self.description;
        let start = Instant::now();
        let input = description.input;
        let (frame, view) = network_frame(picture, input.resize, input.side);
        let resized = Instant::now();
        let Output { logits, maps, features } = self.run(&frame)?;
        let ran = Instant::now();
        let probabilities = softmax(&logits, description.temperature);
        let order = top_k(&logits, top.max(1));
        let cues = if cues { self.cues_of(order[0], &maps, &view) } else { Vec::new() };
        let unknown = description.doubt(&logits, maps.view(), &features);
        let answer = |&index: &usize| Answer {
            label: description.labels[index].clone(),
            index,
            logit: logits[index],
            probability: probabilities[index],
        };
        let top = order.iter().take(top).map(answer).collect();
        let ms = Stages {
            decode: 0.0,
            resize: milliseconds(start, resized),
            run: milliseconds(resized, ran),
            cues: milliseconds(ran, Instant::now()),
        };
        Ok(Prediction { top, unknown, cues, maps, view, ms })
    }

    fn cues_of(&self, class: usize, maps: &Array3<f32>, view: &View) -> Vec<LabelledCue> {
        let Description { layout, head, input, labels, .. } = &self.description;
        let cues = part_cues(maps.view(), layout, head, class, view, input.side);
        let labelled = |cue: PartCue| {
            let mark = cue.is_mark().then(|| cue.number());
            LabelledCue { label: labels[class].clone(), mark, cue }
        };
        cues.into_iter().map(labelled).collect()
    }

    /// Runs the model's self-test on this very processor.
    ///
    /// # Errors
    /// As [`Engine::run`]; differences are the report's.
    pub fn self_test(&self) -> Result<SelfTestReport, RunError> {
        let tests = self.description.self_test.iter();
        let cases = tests.map(|test| self.self_test_case(test)).collect::<Result<_, _>>()?;
        Ok(SelfTestReport { cases })
    }

    fn self_test_case(&self, test: &SelfTest) -> Result<SelfTestCase, RunError> {
        let Description { layout, head, input, .. } = &self.description;
        let output = self.run(&pattern(test.seed, input.side))?;
        let relative = if self.graph.arithmetic.is_single() { 1e-5 } else { 2e-2 };
        let tolerance = relative * head.reach(output.maps.view(), layout, &test.logits);
        let shares = match head.kind {
            HeadKind::Linear => None,
            HeadKind::GroupMax | HeadKind::GroupMean => head.logits(output.maps.view(), layout),
        };
        Ok(SelfTestCase {
            seed: test.seed,
            logits: worst_excess(&output.logits, &test.logits, tolerance),
            shares: shares.map(|logits| worst_excess(&logits, &output.logits, tolerance)),
        })
    }
}

/// The largest difference in tolerances.
fn worst_excess(actual: &[f32], expected: &[f32], tolerance: f32) -> f32 {
    let excess = |(a, e): (&f32, &f32)| (a - e).abs() / tolerance;
    // What is not a number is worst of all, and stays.
    let worse = |worst: f32, next: f32| if worst.is_nan() || next <= worst { worst } else { next };
    actual.iter().zip(expected).map(excess).fold(0.0, worse)
}

fn milliseconds(from: Instant, to: Instant) -> f64 {
    1000.0 * to.duration_since(from).as_secs_f64()
}
