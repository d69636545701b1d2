//! Whether cues are faithful: do they lie on what they should, does the answer depend on what they show, and do they
//! stay where they are when the picture moves? Always beside Grad-CAM of the same network and beside chance.
//!
//! `fieldmark-trainer eval RUN --faithfulness` measures it on the test split, over right answers alone: a wrong answer's
//! evidence has nothing to be faithful to. What needs no annotation is measured on any data.
//!
//! | measure | asks | definition |
//! |---|---|---|
//! | [`pointing`](Faithfulness::pointing) | is the strongest cue on the mark, on a part, on the object? | [`Rates`](crate::run::records::Rates) |
//! | [`coverings`](Faithfulness::coverings) | does covering what is shown take the score away? | [`Coverings`](crate::run::records::Coverings) |
//! | [`background`](Faithfulness::background) | how much evidence lies outside of the object? | [`Background`](crate::run::records::Background) |
//! | [`stability`](Faithfulness::stability) | does the cue stay when the picture is mirrored or moved? | [`Stability`](crate::run::records::Stability) |

mod background;
mod deletion;
mod observe;
mod stability;
mod table;

use fieldmark::frame::input;
use fieldmark::model::Input;
use indicatif::ProgressBar;

pub use table::table;

use crate::data::dataset::{Dataset, Sample, spread};
use crate::data::picture::{Seen, seen, stacked};
use crate::measure::eval::EvalError;
use crate::measure::pointing::CueCount;
use crate::measure::region::Canvas;
use crate::net::network::Network;
use crate::random::{Stream, stream};
use crate::run::folder::Trained;
use crate::run::records::Faithfulness;
use background::BackgroundSums;
use deletion::{Covered, CoveringSums};
use fieldmark::head::top_k;
use observe::{Observed, Observer};
use stability::StabilityCount;

/// Pictures that are looked at together.
const BATCH: usize = 16;

/// Measures a run's cues on at most `pictures` pictures of its test split: about a hundred passes of the network a
/// picture. The same on any number of threads.
///
/// # Errors
/// [`EvalError`].
pub fn faithfulness(
    trained: &Trained,
    pictures: usize,
    bar: &ProgressBar,
) -> Result<Faithfulness, EvalError> {
    let Trained { network, progress, dataset, .. } = trained;
    if dataset.test.is_empty() {
        return Err(EvalError::NoTest { folder: dataset.root.clone() });
    }
    let to = progress.config.input();
    measured(network, to, dataset, pictures, bar)
}

/// Sums over the pictures seen so far.
struct Tally {
    right: usize,
    pointing: CueCount,
    coverings: CoveringSums,
    background: BackgroundSums,
    stability: StabilityCount,
}

fn measured(
    network: &Network,
    to: Input,
    dataset: &Dataset,
    pictures: usize,
    bar: &ProgressBar,
) -> Result<Faithfulness, EvalError> {
    let observer = Observer::new(network, to.side)?;
    let samples = spread(&dataset.test.iter().collect::<Vec<_>>(), pictures);
    let mut tally = Tally {
        right: 0,
        pointing: CueCount::new(&dataset.field_marks),
        coverings: CoveringSums::default(),
        background: BackgroundSums::new(dataset.labels.len()),
        stability: StabilityCount::default(),
    };
    bar.set_length(samples.len() as u64);
    for (chunk, samples) in samples.chunks(BATCH).enumerate() {
        let pictures = seen(samples, to)?;
        let classes: Vec<usize> = samples.iter().map(|sample| sample.class).collect();
        let observed = observer.observe(&stacked(&pictures)?, &classes)?;
        for (index, (sample, picture)) in samples.iter().zip(&pictures).enumerate() {
            let observed = &observed[index];
            if top_k(&observed.logits, 1) == [sample.class] {
                let place = (chunk * BATCH + index) as u64;
                tally.add(&observer, to.side, (sample, picture), observed, place)?;
            }
            bar.inc(1);
        }
    }
    Ok(Faithfulness {
        pictures: samples.len(),
        right: tally.right,
        pointing: tally.pointing.rates(),
        coverings: tally.coverings.means(),
        background: tally.background.means(&dataset.labels),
        stability: tally.stability.figures(),
    })
}

impl Tally {
    /// Adds a right answer, the `place`-th of the pictures looked at.
    fn add(
        &mut self,
        observer: &Observer,
        side: u32,
        (sample, seen): (&Sample, &Seen),
        observed: &Observed,
        place: u64,
    ) -> candle_core::Result<()> {
        let to_picture = |[x, y]: [f32; 2]| seen.view.to_picture(x, y);
        let mut cues = observed.cues.clone();
        for cue in &mut cues {
            (cue.x, cue.y) = to_picture([cue.x, cue.y]);
        }
        self.right += 1;
        self.pointing.add(sample, seen.size, &cues);
        self.pointing.add_grad_cam(sample, observe::peak(&observed.grad_cam, side).map(to_picture));
        self.background.add(sample, seen.size, (&seen.view, side), observed);
        let planes = input(&seen.frame).into_raw_vec_and_offset().0;
        let picture = Covered { planes: &planes, canvas: Canvas::of(&seen.view, side), class: sample.class };
        self.coverings.add(observer, &picture, observed, &mut stream(Stream::Regions { place }))?;
        self.stability.add(observer, &picture, observed)
    }
}

#[cfg(test)]
mod tests;
