//! Batches: pictures decoded, augmented, stacked and prefetched.
//!
//! What a batch holds is decided by the seed, the epoch, and the place in the epoch: neither threads, nor the cache,
//! nor where an interrupted epoch goes on change a bit of it.

mod augment;
mod on_device;
mod pictures;
mod queue;

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use fieldmark::picture::PictureError;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

pub use augment::{Augment, Crop};
pub use on_device::OnDevice;
pub use pictures::{CACHE_BYTES, Pictures, unreadable};

use crate::data::dataset::Sample;
use crate::random::{Stream, stream};
use queue::Queue;

/// Pictures and their classes, ready for the network.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `B x 3 x S x S`, f32, RGB, 0..=255, on the CPU until [`OnDevice`] moves it.
    pub images: Tensor,
    /// `B`, u32: the classes.
    pub labels: Tensor,
    /// Which samples these are: indices into the list that [`Batches`] was started with.
    pub samples: Vec<usize>,
}

/// Why a batch could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// A picture did not decode.
    #[error("cannot use the picture {}: {source}; repair or remove it", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        source: PictureError,
    },
    /// A tensor could not be made.
    #[error("cannot stack {pictures} pictures: {source}")]
    Stack {
        /// Pictures of the batch.
        pictures: usize,
        /// candle's reason.
        source: candle_core::Error,
    },
    /// A thread that makes batches panicked; its message is on stderr.
    #[error("a thread that prepares batches panicked (its message is above); please report it")]
    Panicked,
}

/// Which pictures an epoch takes. Either way it takes as many as there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Every picture once.
    #[default]
    Uniform,
    /// Every class equally often, however many pictures it has.
    Balanced,
}

/// The order in which an epoch takes samples.
pub fn epoch_order(seed: u64, epoch: usize, samples: &[Sample], sampling: Sampling) -> Vec<usize> {
    let mut rng = stream(Stream::Order { seed, epoch: epoch as u64 });
    let mut order: Vec<usize> = match sampling {
        Sampling::Uniform => (0..samples.len()).collect(),
        Sampling::Balanced => balanced(samples, &mut rng),
    };
    order.shuffle(&mut rng);
    order
}

/// As many indices as samples, classes in turn; a class repeats a picture only after all of its others.
fn balanced(samples: &[Sample], rng: &mut impl rand::Rng) -> Vec<usize> {
    let classes = samples.iter().map(|sample| sample.class + 1).max().unwrap_or(0);
    let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (index, sample) in samples.iter().enumerate() {
        of_class[sample.class].push(index);
    }
    of_class.retain(|indices| !indices.is_empty());
    // Which classes get the one picture more that does not divide evenly is chance, too.
    of_class.shuffle(rng);
    let turns = of_class.len();
    let mut order = Vec::with_capacity(samples.len());
    for turn in 0..samples.len() {
        let indices = &mut of_class[turn % turns];
        let place = (turn / turns) % indices.len();
        if place == 0 {
            indices.shuffle(rng);
        }
        order.push(indices[place]);
    }
    order
}

/// How an epoch becomes batches.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The run's seed.
    pub seed: u64,
    /// The epoch, 0-based.
    pub epoch: usize,
    /// Pictures a batch at most; see [`batches_of`].
    pub size: usize,
    /// The batch to start with, 0-based: above 0 to go on with an interrupted epoch.
    pub first: usize,
    /// Random changes; `None` gives each picture exactly as the board would see it.
    pub augment: Option<Augment>,
    /// Threads that prepare batches; at least 1.
    pub threads: usize,
}

/// Batches of at most `size` pictures that an epoch of `pictures` is cut into, as equal as can be: a last batch of
/// one picture would make a whole step of it, and move every running statistic.
pub fn batches_of(pictures: usize, size: usize) -> usize {
    pictures.div_ceil(size.max(1))
}

/// What one picture of an epoch is made of.
struct Item {
    path: PathBuf,
    class: usize,
    sample: usize,
}

/// The batches of one epoch, in order, prepared ahead by threads. Dropping it ends the threads.
pub struct Batches {
    queue: Queue<Result<Batch, BatchError>>,
}

impl Batches {
    /// Starts preparing the batches of an epoch that takes `samples` in `order`.
    ///
    /// # Panics
    /// Panics if `order` has an index that `samples` has not.
    pub fn start(pictures: &Arc<Pictures>, samples: &[Sample], order: &[usize], plan: Plan) -> Batches {
        let item = |&sample: &usize| Item {
            path: samples[sample].path.clone(),
            class: samples[sample].class,
            sample,
        };
        let items: Vec<Item> = order.iter().map(item).collect();
        let batches = batches_of(items.len(), plan.size);
        let pictures = Arc::clone(pictures);
        let (first, threads) = (plan.first.min(batches), plan.threads.max(1));
        let make = move |batch| make_batch(&pictures, &items, &plan, batch);
        Batches { queue: Queue::start(first..batches, threads, make) }
    }

    /// All `samples` in their order, each exactly as the board would see it, `size` at a time.
    pub fn evaluate(pictures: &Arc<Pictures>, samples: &[Sample], size: usize) -> Batches {
        let order: Vec<usize> = (0..samples.len()).collect();
        let plan = Plan { seed: 0, epoch: 0, size, first: 0, augment: None, threads: default_threads() };
        Batches::start(pictures, samples, &order, plan)
    }
}

/// As many threads as compute, 8 at most: pictures are ready long before the network is.
pub fn default_threads() -> usize {
    rayon::current_num_threads().min(8)
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.queue.next() {
            Ok(batch) => batch,
            Err(queue::Panicked) => Some(Err(BatchError::Panicked)),
        }
    }
}

fn make_batch(pictures: &Pictures, items: &[Item], plan: &Plan, batch: usize) -> Result<Batch, BatchError> {
    let batches = batches_of(items.len(), plan.size);
    let bound = |batch: usize| batch * items.len() / batches;
    let start = bound(batch);
    let items = &items[start..bound(batch + 1)];
    let side = pictures.side() as usize;
    let mut values = Vec::with_capacity(items.len() * 3 * side * side);
    for (place, item) in (start..).zip(items) {
        let planes = match &plan.augment {
            None => pictures.as_on_the_board(&item.path).map(|frame| augment::planes(&frame)),
            Some(change) => {
                let mut rng = stream(Stream::Augmentation {
                    seed: plan.seed,
                    epoch: plan.epoch as u64,
                    place: place as u64,
                });
                let frame = pictures.scaled(&item.path);
                frame.map(|frame| {
                    augment::augmented(&frame, pictures.rule(), pictures.side(), change, &mut rng)
                })
            }
        };
        let planes = planes.map_err(|source| BatchError::Picture { path: item.path.clone(), source })?;
        values.extend_from_slice(&planes);
    }
    stacked(values, items, side).map_err(|source| BatchError::Stack { pictures: items.len(), source })
}

fn stacked(values: Vec<f32>, items: &[Item], side: usize) -> Result<Batch, candle_core::Error> {
    let labels: Vec<u32> = items.iter().map(|item| item.class as u32).collect();
    Ok(Batch {
        images: Tensor::from_vec(values, (items.len(), 3, side, side), &Device::Cpu)?,
        labels: Tensor::new(labels, &Device::Cpu)?,
        samples: items.iter().map(|item| item.sample).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicI32;

    use fieldmark::frame::{ResizeRule, input, network_frame};
    use fieldmark::picture::{Limits, read_picture};

    use super::*;

    fn pictures(folder: &Path, count: usize) -> Vec<Sample> {
        let sample = |index: usize| {
            let path = folder.join(format!("{index}.png"));
            let colour = |x: u32, y: u32| image::Rgb([(7 * x) as u8, (5 * y) as u8, (40 * index) as u8]);
            image::RgbImage::from_fn(60 + index as u32, 48, colour).save(&path).unwrap();
            Sample { path, class: index % 3, marks: None }
        };
        (0..count).map(sample).collect()
    }

    fn plan(threads: usize, first: usize) -> Plan {
        Plan { seed: 4, epoch: 2, size: 3, first, augment: Some(Augment::default()), threads }
    }

    /// Images, labels and samples of every batch.
    fn contents(batches: Batches) -> Vec<(Vec<f32>, Vec<u32>, Vec<usize>)> {
        let content = |batch: Result<Batch, BatchError>| {
            let batch = batch.unwrap();
            let images = batch.images.flatten_all().unwrap().to_vec1().unwrap();
            (images, batch.labels.to_vec1().unwrap(), batch.samples)
        };
        batches.map(content).collect()
    }

    fn epoch(samples: &[Sample], cache: usize, plan: Plan) -> Vec<(Vec<f32>, Vec<u32>, Vec<usize>)> {
        let order = epoch_order(4, 2, samples, Sampling::Uniform);
        let pictures = Arc::new(Pictures::new(24, ResizeRule::Squash, cache));
        let cold = contents(Batches::start(&pictures, samples, &order, plan.clone()));
        let warm = contents(Batches::start(&pictures, samples, &order, plan));
        assert!(cold == warm, "a second pass differs from the first");
        cold
    }

    #[test]
    fn batches_depend_neither_on_threads_nor_on_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let samples = pictures(folder.path(), 11);
        let one = epoch(&samples, CACHE_BYTES, plan(1, 0));
        assert_eq!(one.iter().map(|batch| batch.2.len()).collect::<Vec<_>>(), [2, 3, 3, 3]);
        assert!(one.iter().flat_map(|batch| &batch.0).all(|value| (0.0..=255.0).contains(value)));
        assert!(one == epoch(&samples, CACHE_BYTES, plan(5, 0)), "threads");
        assert!(one == epoch(&samples, 0, plan(2, 0)), "no cache");
        assert!(one == epoch(&samples, 20_000, plan(2, 0)), "a small cache");
    }

    #[test]
    fn an_epoch_goes_on_where_it_was_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let samples = pictures(folder.path(), 11);
        let whole = epoch(&samples, CACHE_BYTES, plan(2, 0));
        for first in 0..=5 {
            assert!(epoch(&samples, CACHE_BYTES, plan(2, first)) == whole[first.min(4)..], "from {first}");
        }
    }

    #[test]
    fn every_epoch_changes_a_picture_in_its_own_way() {
        let folder = tempfile::tempdir().unwrap();
        let samples = pictures(folder.path(), 3);
        let of_epoch =
            |epoch_number| epoch(&samples, CACHE_BYTES, Plan { epoch: epoch_number, ..plan(1, 0) });
        assert!(of_epoch(0) != of_epoch(1));
    }

    #[test]
    fn evaluation_sees_what_the_board_sees() {
        let folder = tempfile::tempdir().unwrap();
        let samples = pictures(folder.path(), 5);
        for rule in [ResizeRule::Squash, ResizeRule::Crop, ResizeRule::Centre(60), ResizeRule::Pad] {
            let pictures = Arc::new(Pictures::new(16, rule, CACHE_BYTES));
            for _ in 0..2 {
                let seen: Vec<f32> = contents(Batches::evaluate(&pictures, &samples, 2))
                    .into_iter()
                    .flat_map(|batch| batch.0)
                    .collect();
                let frame = |sample: &Sample| read_picture(&sample.path, &Limits::default()).unwrap();
                let board =
                    samples.iter().flat_map(|sample| input(&network_frame(&frame(sample), rule, 16).0));
                assert!(seen == board.collect::<Vec<f32>>(), "{rule:?}");
            }
        }
    }

    #[test]
    fn a_damaged_picture_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let samples = pictures(folder.path(), 6);
        std::fs::write(&samples[4].path, "no picture").unwrap();
        let pictures = Arc::new(Pictures::new(16, ResizeRule::Pad, CACHE_BYTES));
        let results: Vec<_> = Batches::evaluate(&pictures, &samples, 2).collect();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
        let error = results[2].as_ref().unwrap_err().to_string();
        assert!(error.contains("4.png"), "{error}");
        let bad = unreadable(&samples, &AtomicI32::new(0), |path| pictures.scaled(path));
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].path, samples[4].path);
        assert!(unreadable(&samples, &AtomicI32::new(15), |path| pictures.scaled(path)).is_empty());
    }

    #[test]
    fn dropping_batches_early_ends_their_threads() {
        let folder = tempfile::tempdir().unwrap();
        let samples = pictures(folder.path(), 40);
        let pictures = Arc::new(Pictures::new(16, ResizeRule::Pad, CACHE_BYTES));
        for taken in 0..4 {
            let mut batches = Batches::evaluate(&pictures, &samples, 1);
            assert_eq!(batches.by_ref().take(taken).count(), taken);
            drop(batches);
            assert_eq!(Arc::strong_count(&pictures), 1, "a thread still holds the pictures");
        }
    }

    #[test]
    fn uniform_order_takes_every_picture_once_and_differs_each_epoch() {
        let samples: Vec<Sample> =
            (0..50).map(|class| Sample { path: "x".into(), class, marks: None }).collect();
        let mut order = epoch_order(1, 0, &samples, Sampling::Uniform);
        assert_eq!(order, epoch_order(1, 0, &samples, Sampling::Uniform));
        assert_ne!(order, epoch_order(1, 1, &samples, Sampling::Uniform));
        assert_ne!(order, epoch_order(2, 0, &samples, Sampling::Uniform));
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn balanced_order_takes_every_class_equally_often() {
        let of = |class: usize, count: usize| {
            (0..count).map(move |_| Sample { path: "x".into(), class, marks: None })
        };
        let samples: Vec<Sample> = of(0, 3).chain(of(1, 30)).chain(of(3, 57)).collect();
        let order = epoch_order(1, 0, &samples, Sampling::Balanced);
        assert_eq!(order.len(), 90);
        for class in [0, 1, 3] {
            assert_eq!(order.iter().filter(|&&index| samples[index].class == class).count(), 30);
        }
        for index in 0..3 {
            assert_eq!(
                order.iter().filter(|&&taken| taken == index).count(),
                10,
                "the few are repeated evenly"
            );
        }
    }
}
