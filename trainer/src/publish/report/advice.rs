//! What to do next: drawn from the figures, the most useful first.

use super::Findings;
use super::lint::grave;
use super::measured::Split;
use super::words::{count, interval, listed, percent, typed};
use crate::run::records::NoEvaluation;

/// Advices that are given; more are not followed.
const MOST: usize = 6;

/// Pictures of a class below which it is hard to learn.
const FEW: usize = 20;

/// One thing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// What and why.
    pub text: String,
    /// What to type.
    pub command: Option<String>,
    /// The section that shows it.
    pub see: Option<&'static str>,
}

/// What to do next, at least one thing.
pub fn advice(findings: &Findings) -> Vec<Advice> {
    let found = [
        measure(findings),
        lint(findings),
        look_alikes(findings),
        pretrained(findings),
        few(findings),
        longer(findings),
        overfitted(findings),
        dead(findings),
        calibrate(findings),
        test_more(findings),
    ];
    let mut found: Vec<Advice> = found.into_iter().flatten().take(MOST - 1).collect();
    found.push(board(findings));
    found
}

fn board(findings: &Findings) -> Advice {
    let commands = &findings.asked.commands;
    let (text, command) = match findings.asked.model {
        Some(model) => (format!("Take it to a board: its model file is {}.", typed(model)), &commands.deploy),
        None => (
            "Take it to a board: write its model file, if that is not done yet.".to_owned(),
            &commands.export,
        ),
    };
    Advice { text, command: Some(command.clone()), see: None }
}

fn measure(findings: &Findings) -> Option<Advice> {
    let text = match findings.evaluation.as_ref().err()? {
        _ if findings.trained.dataset.test.is_empty() => return None,
        NoEvaluation::Missing => "Measure it on the test pictures, which nothing was chosen by.",
        NoEvaluation::OtherWeights => "Measure these weights on the test pictures: eval.json is of others.",
        NoEvaluation::OtherVersion { .. } => {
            "Measure it on the test pictures again: eval.json is not of this version."
        }
    };
    Some(Advice { text: text.to_owned(), command: Some(findings.asked.commands.eval.clone()), see: None })
}

fn lint(findings: &Findings) -> Option<Advice> {
    let found = grave(&findings.lint.findings);
    (found > 0).then(|| Advice {
        text: format!("Look at what the data's lint found ({}).", count(found, "finding", "findings")),
        command: None,
        see: Some("lint"),
    })
}

/// The worst pair, if it matters: two mistakes and a twentieth of all.
fn look_alikes(findings: &Findings) -> Option<Advice> {
    let measured = &findings.measured;
    let (classes, taken) = measured.pairs().into_iter().next()?;
    let (between, wrong) = (taken[0] + taken[1], measured.wrong());
    let [first, second] = classes.map(|class| &findings.labels()[class]);
    (between >= 2 && between * 20 >= wrong).then(|| Advice {
        text: format!(
            "Look at the marks of {first} and {second}: {between} of {} lie between the two. Add training pictures on which \
             a person can tell them apart, and check that the labels of the mistaken ones are right.",
            count(wrong, "mistake", "mistakes")
        ),
        command: None,
        see: Some("pairs"),
    })
}

/// Where random weights have not reached nine right answers of ten.
fn pretrained(findings: &Findings) -> Option<Advice> {
    let config = &findings.trained.progress.config;
    let is_low = findings.measured.top1.is_some_and(|top1| top1 < 0.9);
    (config.pretrained.is_none() && is_low).then(|| Advice {
        text: "If these are photos, start from published weights instead of random ones; for few pictures a class that \
               usually helps most."
            .to_owned(),
        command: Some(findings.asked.commands.fetch.clone()),
        see: None,
    })
}

fn few(findings: &Findings) -> Option<Advice> {
    let counts = findings.training_pictures();
    let mut few: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] < FEW).collect();
    few.sort_by_key(|&class| counts[class]);
    let names: Vec<String> =
        few.iter().map(|&class| format!("{} ({})", findings.labels()[class], counts[class])).collect();
    (!names.is_empty()).then(|| Advice {
        text: format!("Add pictures of classes with fewer than {FEW} to learn from: {}.", listed(&names, 5)),
        command: None,
        see: Some("classes"),
    })
}

fn longer(findings: &Findings) -> Option<Advice> {
    let progress = &findings.trained.progress;
    let (best, epochs) = (progress.highest?, findings.epochs.len());
    let is_whole = epochs >= progress.config.epochs;
    if !is_whole && progress.config.patience.is_none() {
        return Some(Advice {
            text: format!(
                "Training ended after {epochs} of {}; type its command again to resume it.",
                count(progress.config.epochs, "epoch", "epochs")
            ),
            command: None,
            see: Some("training"),
        });
    }
    // The last twentieth: a schedule that ends at a rate of zero has its best epoch near the end anyway.
    let is_late = best.epoch + 1 + epochs / 20 >= epochs;
    let is_learning = findings.epochs.last().is_some_and(|last| last.train_accuracy < 0.9);
    (is_late && is_learning).then(|| Advice {
        text: "Train longer: it was still learning when it ended.".to_owned(),
        command: Some(format!("{} {}", findings.asked.commands.epochs, 2 * progress.config.epochs)),
        see: Some("training"),
    })
}

fn overfitted(findings: &Findings) -> Option<Advice> {
    let best = findings.trained.progress.best?;
    let epoch = findings.epochs.iter().find(|epoch| epoch.epoch == best.epoch)?;
    (epoch.train_accuracy > epoch.validation_accuracy + 0.15).then(|| Advice {
        text: format!(
            "It knows the training pictures by heart ({} right against {} on the validation split): more pictures help \
             most, then stronger random changes of the training pictures.",
            percent(epoch.train_accuracy),
            percent(epoch.validation_accuracy)
        ),
        command: Some(findings.asked.commands.changes.clone()),
        see: Some("training"),
    })
}

fn dead(findings: &Findings) -> Option<Advice> {
    let (dead, all) = (findings.survey.dead(), findings.survey.channels.len());
    (dead * 10 > all).then(|| Advice {
        text: format!(
            "{dead} of {} look at nothing: fewer a class cost less and say the same.",
            count(all, "channel", "channels")
        ),
        command: Some(findings.asked.commands.channels.clone()),
        see: Some("gallery"),
    })
}

fn calibrate(findings: &Findings) -> Option<Advice> {
    let after = &findings.evaluation.as_ref().ok()?.calibration.after;
    let ece = after.ece;
    (ece > after.chance + 0.03).then(|| Advice {
        text: format!(
            "Do not take probabilities at their word: they are {} off on average. A larger validation split makes a better \
             temperature.",
            percent(ece)
        ),
        command: None,
        see: Some("calibration"),
    })
}

fn test_more(findings: &Findings) -> Option<Advice> {
    let range = findings.top1_interval().filter(|[low, high]| high - low > 0.1)?;
    let split = findings.measured.split;
    (split == Split::Test).then(|| Advice {
        text: format!(
            "Test on more pictures: from {} nothing closer can be said than {} right.",
            count(findings.measured.pictures, "picture", "pictures"),
            interval(range)
        ),
        command: None,
        see: None,
    })
}
