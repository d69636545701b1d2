//! What a run is worth: measured once, on the test split, through the board's own preprocessing.

use std::path::PathBuf;

use candle_core::{D, DType, Device, IndexOp, Tensor};
use candle_nn::ops::log_softmax;
use fieldmark::cues::{PartCue, part_cues};
use fieldmark::head::{Head, top_k};
use fieldmark::model::Input;
use ndarray::Array3;
use serde::Serialize;

mod marks;
pub(crate) mod target;

pub(crate) use marks::CueCount;
pub use marks::{CueRates, Rates};

use crate::dataset::Sample;
use crate::device::Fault;
use crate::faithfulness::Faithfulness;
use crate::layer::Mode;
use crate::network::Network;
use crate::ops::coverage;
use crate::picture::{ReadError, Seen, seen, stacked};
use crate::run::Trained;

/// Pictures that go through the network at a time.
const BATCH: usize = 16;

/// Confused pairs that are listed.
const CONFUSIONS: usize = 20;

/// What the test split showed. Written as `eval.json` into the run folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Version of this record: 1.
    pub schema: u32,
    /// SHA-256 of the file of the weights that were measured, in hex.
    pub weights: String,
    /// The last whole epoch that they were trained for, 0-based.
    pub epoch: Option<usize>,
    /// Pictures of the split.
    pub pictures: usize,
    /// Share of right first answers, 0..=1.
    pub top1: f64,
    /// Share of pictures whose class is among the first five answers.
    pub top5: f64,
    /// Mean cross-entropy.
    pub cross_entropy: f64,
    /// Class mean of h/xi over all pictures, in 1/xi..=1.
    pub coverage: f64,
    /// Of each class: label, pictures, right answers.
    pub classes: Vec<ClassResult>,
    /// Wrong answers, the most frequent first.
    pub confusions: Vec<Confusion>,
    /// Where the cues of right answers are, where the data set says what is where.
    pub cues: Option<CueRates>,
    /// Whether the cues are what the answers depend on, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faithfulness: Option<Faithfulness>,
    /// The picture that shows the model at its best: the likeliest of the right answers, its strongest cue on a field
    /// mark where these are known; the first picture where no answer is right.
    pub example: PathBuf,
}

/// One class's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassResult {
    /// The class.
    pub label: String,
    /// Its pictures.
    pub pictures: usize,
    /// Of them answered rightly.
    pub right: usize,
}

/// Pictures of one class taken for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// What they show.
    pub label: String,
    /// What was answered.
    pub answer: String,
    /// How many.
    pub pictures: usize,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// There is nothing to measure on.
    #[error("the data set in {} has no test pictures; put some into its test folder, or train with --test SHARE above 0", folder.display())]
    NoTest {
        /// The data set.
        folder: PathBuf,
    },
    /// A picture cannot be read.
    #[error(transparent)]
    Picture(#[from] ReadError),
    /// A tensor operation failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(candle_core::Error),
    /// The GPU failed, or its memory is full.
    #[error(transparent)]
    Gpu(#[from] Fault),
}

impl From<candle_core::Error> for EvalError {
    fn from(error: candle_core::Error) -> EvalError {
        Fault::of(&error.to_string()).map_or(EvalError::Tensor(error), EvalError::Gpu)
    }
}

/// Sums over the pictures seen so far.
struct Tally {
    right: Vec<usize>,
    pictures: Vec<usize>,
    in_top5: usize,
    cross_entropy: f64,
    coverage: f64,
    /// `[class * classes + answer]`.
    confused: Vec<usize>,
    cues: CueCount,
    /// Whether its cue is on a mark, log-probability, file.
    example: (bool, f32, PathBuf),
}

/// Measures a run on its test split.
///
/// # Errors
/// [`EvalError`].
pub fn evaluate(trained: &Trained) -> Result<Evaluation, EvalError> {
    let Trained { network, progress, dataset, .. } = trained;
    if dataset.test.is_empty() {
        return Err(EvalError::NoTest { folder: dataset.root.clone() });
    }
    let classes = dataset.labels.len();
    let mut tally = Tally {
        right: vec![0; classes],
        pictures: vec![0; classes],
        in_top5: 0,
        cross_entropy: 0.0,
        coverage: 0.0,
        confused: vec![0; classes * classes],
        cues: CueCount::new(&dataset.field_marks),
        example: (false, f32::NEG_INFINITY, dataset.test[0].path.clone()),
    };
    let head = network.head()?;
    let samples: Vec<&Sample> = dataset.test.iter().collect();
    for samples in samples.chunks(BATCH) {
        let to = Input { side: progress.config.side, resize: progress.config.resize };
        let pictures = seen(samples, to)?;
        tally.add_batch(network, &head, samples, &pictures)?;
    }
    Ok(tally.evaluation(trained))
}

impl Tally {
    fn add_batch(
        &mut self,
        network: &Network,
        head: &Head,
        samples: &[&Sample],
        pictures: &[Seen],
    ) -> candle_core::Result<()> {
        let images = stacked(pictures)?.to_device(&network.device())?;
        let output = network.forward(&images, &mut Mode::Eval)?;
        let log_p = log_softmax(&output.logits, D::Minus1)?.to_vec2::<f32>()?;
        self.coverage += f64::from(coverage(&output.maps, &network.layout)?.mean_all()?.to_scalar::<f32>()?)
            * samples.len() as f64;
        let maps = output.maps.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
        for (index, (sample, seen)) in samples.iter().zip(pictures).enumerate() {
            let cues = cues(network, head, &maps.i(index)?, sample.class, seen)?;
            self.add(sample, seen, &log_p[index], &cues);
        }
        Ok(())
    }

    /// `log_p`: log-probabilities of the classes; `cues`: those of the picture's own class.
    fn add(&mut self, sample: &Sample, seen: &Seen, log_p: &[f32], cues: &[PartCue]) {
        let order = top_k(log_p, 5);
        self.pictures[sample.class] += 1;
        self.in_top5 += usize::from(order.contains(&sample.class));
        self.cross_entropy -= f64::from(log_p[sample.class]);
        if order[0] != sample.class {
            self.confused[sample.class * self.right.len() + order[0]] += 1;
            return;
        }
        self.right[sample.class] += 1;
        let is_on_mark = self.cues.add(sample, seen.size, cues);
        let candidate = (is_on_mark, log_p[sample.class], sample.path.clone());
        if (candidate.0, candidate.1) > (self.example.0, self.example.1) {
            self.example = candidate;
        }
    }

    fn evaluation(self, trained: &Trained) -> Evaluation {
        let progress = &trained.progress;
        let pictures: usize = self.pictures.iter().sum();
        let share = |count: usize| count as f64 / pictures as f64;
        let labels = &progress.labels;
        let result = |class: usize| ClassResult {
            label: labels[class].clone(),
            pictures: self.pictures[class],
            right: self.right[class],
        };
        let mut confusions: Vec<Confusion> = (0..self.confused.len())
            .filter(|&index| self.confused[index] > 0)
            .map(|index| Confusion {
                label: labels[index / labels.len()].clone(),
                answer: labels[index % labels.len()].clone(),
                pictures: self.confused[index],
            })
            .collect();
        confusions.sort_by_key(|confusion| std::cmp::Reverse(confusion.pictures));
        confusions.truncate(CONFUSIONS);
        Evaluation {
            schema: 1,
            weights: trained.weights.clone(),
            epoch: progress.last.map(|last| last.epoch),
            pictures,
            top1: share(self.right.iter().sum()),
            top5: share(self.in_top5),
            cross_entropy: self.cross_entropy / pictures as f64,
            coverage: self.coverage / pictures as f64,
            classes: (0..labels.len()).map(result).collect(),
            confusions,
            cues: self.cues.rates(),
            faithfulness: None,
            example: self.example.2,
        }
    }
}

/// The part cues of `class` in one picture's `maps`, `N x H x W`, as the board finds them.
fn cues(
    network: &Network,
    head: &Head,
    maps: &Tensor,
    class: usize,
    seen: &Seen,
) -> candle_core::Result<Vec<PartCue>> {
    let shape = maps.dims3()?;
    let maps = Array3::from_shape_vec(shape, maps.flatten_all()?.to_vec1::<f32>()?)
        .map_err(|error| candle_core::Error::Msg(error.to_string()))?;
    let side = seen.frame.width();
    Ok(part_cues(maps.view(), &network.layout, head, class, &seen.view, side))
}
