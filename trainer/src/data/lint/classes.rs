//! How many pictures each class has, and where; and what the reader left out.

use super::measure::{Measured, Split};
use super::{Finding, Group, Kind};
use crate::data::dataset::{Skipped, SplitRule};

/// Pictures, of all splits, below which a class is hard to learn and harder to measure.
const FEW: usize = 20;

/// How many times as many training pictures the largest class may have as the smallest.
const IMBALANCE: f64 = 5.0;

/// Few pictures, none held out, imbalance, files not used.
pub fn findings(measured: &Measured<'_>, _: &SplitRule) -> Vec<Finding> {
    let counts = counts(measured);
    let classes = [few(measured, &counts), imbalance(measured, &counts), not_held_out(measured, &counts)];
    classes.into_iter().chain(not_used(measured)).flatten().collect()
}

/// By class: pictures for training, validation, test.
fn counts(measured: &Measured<'_>) -> Vec<[usize; 3]> {
    let mut counts = vec![[0; 3]; measured.dataset.labels.len()];
    for picture in &measured.pictures {
        counts[picture.sample.class][picture.split as usize] += 1;
    }
    counts
}

fn group(note: String) -> Group {
    Group { pictures: Vec::new(), note }
}

fn few(measured: &Measured<'_>, counts: &[[usize; 3]]) -> Option<Finding> {
    let mut few: Vec<(usize, &[usize; 3])> = counts.iter().enumerate().collect();
    few.retain(|(_, counts)| counts.iter().sum::<usize>() < FEW);
    few.sort_by_key(|(_, counts)| counts.iter().sum::<usize>());
    let note = |&(class, [train, validation, test]): &(usize, &[usize; 3])| {
        let label = measured.label(class);
        group(format!("{label}: {train} for training, {validation} for validation, {test} for test"))
    };
    let text = format!("{} of {} classes have fewer than {FEW} pictures", few.len(), counts.len());
    let advice = "take more of them, or read their figures as hints";
    let groups: Vec<Group> = few.iter().map(note).collect();
    (!few.is_empty()).then(|| Finding::new(Kind::FewPictures, few.len(), text, advice, groups))
}

fn imbalance(measured: &Measured<'_>, counts: &[[usize; 3]]) -> Option<Finding> {
    let train = |class: &usize| counts[*class][Split::Train as usize];
    let (smallest, largest) = ((0..counts.len()).min_by_key(train)?, (0..counts.len()).max_by_key(train)?);
    let ratio = train(&largest) as f64 / train(&smallest).max(1) as f64;
    let (small, large) = (measured.label(smallest), measured.label(largest));
    let text = format!(
        "{large} has {} training pictures, {small} {}: {ratio:.1} times as many",
        train(&largest),
        train(&smallest)
    );
    let advice = "train with --balanced, and judge by each class's own figures";
    let groups =
        [largest, smallest].map(|class| group(format!("{}: {}", measured.label(class), train(&class))));
    (ratio >= IMBALANCE).then(|| Finding::new(Kind::Imbalance, 2, text, advice, groups.to_vec()))
}

fn not_held_out(measured: &Measured<'_>, counts: &[[usize; 3]]) -> Option<Finding> {
    let mut classes = std::collections::BTreeSet::new();
    let mut groups = Vec::new();
    let mut sentences = Vec::new();
    for split in [Split::Validation, Split::Test] {
        let without = |class: &usize| counts[*class][split as usize] == 0;
        let absent: Vec<usize> = (0..counts.len()).filter(without).collect();
        if absent.is_empty() || absent.len() == counts.len() {
            continue;
        }
        sentences.push(format!(
            "{} of {} classes have no {} picture",
            absent.len(),
            counts.len(),
            split.name()
        ));
        groups.extend(
            absent
                .iter()
                .map(|&class| group(format!("{}: none for {}", measured.label(class), split.name()))),
        );
        classes.extend(absent);
    }
    let text = format!("{}: nothing is known of them there", sentences.join(", "));
    let advice = "put some of each there, or leave the split to the program by removing its folder or column";
    (!classes.is_empty()).then(|| Finding::new(Kind::NotHeldOut, classes.len(), text, advice, groups))
}

/// Whether its name says that it should have been a picture.
fn is_picture(skipped: &Skipped) -> bool {
    let ending = skipped.path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let is_hidden = skipped.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !is_hidden && ending.is_some_and(|ending| ["jpg", "jpeg", "png"].contains(&ending.as_str()))
}

/// Pictures that were left out, and what else was.
fn not_used(measured: &Measured<'_>) -> [Option<Finding>; 2] {
    let note =
        |skipped: &Skipped| group(format!("{}: {}", measured.dataset.name(&skipped.path), skipped.reason));
    let found = |kind, text: &str, advice, wanted: bool| {
        let chosen = measured.dataset.skipped.iter().filter(|skipped| is_picture(skipped) == wanted);
        let groups: Vec<Group> = chosen.map(note).collect();
        let text = format!("{} {text}", groups.len());
        (!groups.is_empty()).then(|| Finding::new(kind, groups.len(), text, advice, groups))
    };
    [
        found(
            Kind::LeftOut,
            "pictures of the data set are not used",
            "copy them again from their source, or put them where they belong",
            true,
        ),
        found(
            Kind::NotUsed,
            "other files or folders of the data set are not used",
            "nothing, if that is meant; else mend or move them",
            false,
        ),
    ]
}
