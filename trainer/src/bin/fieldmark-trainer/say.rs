//! What the program tells a person. Results go to stdout, the rest to stderr.

mod knowledge;
mod places;

use std::io::{self, Write};
use std::path::Path;

use fieldmark_programs::process::quoted;
use fieldmark_trainer::data::dataset::{Dataset, Skipped, SplitRule};
use fieldmark_trainer::measure::doubts::Doubt;
use fieldmark_trainer::measure::faithfulness;
use fieldmark_trainer::net::layer::{ShapeError, cost};
use fieldmark_trainer::net::network::Network;
use fieldmark_trainer::net::weights::{Loaded, Origin, Pretrained};
use fieldmark_trainer::publish::export::{Exported, WeightType};
use fieldmark_trainer::run::metrics::peak_memory_mib;
use fieldmark_trainer::run::records::{Evaluation, Rates};
use fieldmark_trainer::training::train::Outcome;

pub use knowledge::{comparison, rejected};

/// Files left out that are listed by name; the rest are in `split.json`.
const LISTED: usize = 10;

/// Confusions that are printed; the rest are in `eval.json`.
const CONFUSIONS: usize = 5;

/// An error with its causes, those left out that a message before them already tells.
pub fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match () {
        () if text.is_empty() => cause,
        () if text.contains(&cause) => text,
        () => text + ": " + &cause,
    })
}

/// A line on stderr, or nothing where stderr is full or gone: the exit code still tells.
pub fn aside(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A line or several on stdout. A reader that has gone, as `head` does, wants no more of them.
pub fn result(lines: &str) {
    let _ = writeln!(io::stdout(), "{lines}");
}

/// Classes, pictures, what is not used, and what the grouping of `rule` fails to do.
pub fn dataset(dataset: &Dataset, rule: &SplitRule) {
    aside(&format!(
        "{} classes; {} training, {} validation and {} test pictures",
        dataset.labels.len(),
        dataset.train.len(),
        dataset.validation.len(),
        dataset.test.len()
    ));
    skipped(&dataset.skipped, ", listed in split.json");
    if let Some(fault) = dataset.grouping_fault(rule) {
        aside(&format!("warning: {fault}"));
    }
}

/// What is not used, the first by name; `rest` says where the others are listed.
pub fn skipped(skipped: &[Skipped], rest: &str) {
    for skipped in skipped.iter().take(LISTED) {
        aside(&format!("not used: {}: {}", skipped.path.display(), skipped.reason));
    }
    if skipped.len() > LISTED {
        aside(&format!("not used: {} more{rest}", skipped.len() - LISTED));
    }
}

/// What pretrained weights went where.
pub fn loaded(loaded: &Loaded, pretrained: &Pretrained) {
    let Origin { backbone, convention, source, .. } = &pretrained.origin;
    let from = if source.is_empty() { String::new() } else { format!(" ({source})") };
    aside(&format!(
        "{} tensors of {backbone} loaded{from}, {} of its classifier not used; normalisation and padding: {convention:?}",
        loaded.loaded, loaded.unused
    ));
    for (kind, names) in &loaded.misfits {
        aside(&format!("{}: {}", kind.name(), names.join(", ")));
    }
}

/// What the network costs.
pub fn network(network: &Network, side: u32) -> Result<(), ShapeError> {
    let layers = [network.trunk.as_slice(), network.head.as_slice()].concat();
    let cost = cost(&layers, [3, side as usize, side as usize])?;
    aside(&format!(
        "{:.2} million parameters, {:.0} million multiply-adds per picture of {side} x {side}; {} class-aligned channels, \
         {} pixels per map cell",
        cost.parameters as f64 / 1e6,
        cost.multiply_adds as f64 / 1e6,
        network.layout.channels(),
        network.map_stride()
    ));
    Ok(())
}

/// What training for up to so many `epochs` reached.
pub fn outcome(outcome: &Outcome, run: &Path, epochs: usize) {
    result(&format!(
        "best epoch {}: {:.1} % validation accuracy; last epoch {}: {:.1} %",
        outcome.best.epoch + 1,
        100.0 * outcome.best.accuracy,
        outcome.last.epoch + 1,
        100.0 * outcome.last.accuracy
    ));
    if let Some(mib) = peak_memory_mib() {
        result(&format!("peak memory {mib:.0} MiB"));
    }
    if !outcome.was_finished {
        aside(&format!("the run is in {}", run.display()));
        return;
    }
    aside(&format!(
        "the run in {} was finished before: {} of {epochs} epochs are done, and nothing was trained now; measure it with \
         `fieldmark-trainer eval {}`, or train another in another folder (--out)",
        run.display(),
        outcome.last.epoch + 1,
        quoted(run)
    ));
}

/// What speaks against relying on a model.
pub fn doubts(doubts: &[Doubt]) {
    for doubt in doubts {
        result(&format!("warning: {doubt}"));
    }
}

/// The figures of `what` pictures were measured on.
pub fn evaluation(evaluation: &Evaluation, what: &str) {
    result(&format!(
        "{} {what}: accuracy {:.1} % (95 % confidence interval {:.1} to {:.1} %){}, cross-entropy {:.3}, coverage h/xi {:.2}",
        evaluation.pictures,
        100.0 * evaluation.top1,
        100.0 * evaluation.top1_interval[0],
        100.0 * evaluation.top1_interval[1],
        top5(evaluation.top5, evaluation.classes.len()),
        evaluation.cross_entropy,
        evaluation.coverage
    ));
    for confusion in evaluation.confusions.iter().take(CONFUSIONS) {
        result(&format!("  {} x {} taken for {}", confusion.pictures, confusion.label, confusion.answer));
    }
    knowledge::weakest(&evaluation.classes);
    knowledge::knowledge(evaluation);
    if let Some(places) = &evaluation.places {
        places::places(places);
    }
    if let Some(figures) = &evaluation.faithfulness {
        result(faithfulness::table(figures).trim_end());
    }
    let Some(cues) = &evaluation.cues else { return };
    result("where the cues of correct answers are      strongest   any  random point  centre  pictures");
    rates("on the one mark that tells look-alikes", cues.one_mark.as_ref());
    rates("on a mark that tells look-alikes", cues.marks.as_ref());
    rates("in the object's box", cues.object.as_ref());
}

/// The top-5 accuracy; of so few classes it says nothing, and nothing is said.
fn top5(share: f64, classes: usize) -> String {
    if classes > 5 { format!(", top-5 accuracy {:.1} %", 100.0 * share) } else { String::new() }
}

fn rates(where_: &str, rates: Option<&Rates>) {
    let Some(rates) = rates else { return };
    let [strongest, any, random, centre] =
        [rates.strongest_cue, rates.any_cue, rates.random_point, rates.centre].map(|share| 100.0 * share);
    result(&format!(
        "  {where_:<40} {strongest:>6.1} % {any:>4.0} % {random:>11.1} % {centre:>5.1} % {:>9}",
        rates.pictures
    ));
}

/// How well the board's engine agrees.
pub fn exported(exported: &Exported, path: &Path) {
    let parity = &exported.parity;
    result(&format!(
        "{} ({:.1} MB): the board's engine agrees with the trainer on {} pictures, largest difference {:.1e}",
        path.display(),
        exported.bytes as f64 / 1e6,
        parity.pictures,
        parity.worst
    ));
    if exported.weights == WeightType::F16 {
        result(&format!(
            "storing the weights in 16 bits moves logits by up to {:.2} % of the picture's largest, and changes the answer on {} \
             of them",
            100.0 * parity.moved,
            parity.changed
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_five_of_five_classes_say_nothing() {
        assert_eq!(top5(1.0, 5), "");
        assert_eq!(top5(0.875, 6), ", top-5 accuracy 87.5 %");
    }
}
