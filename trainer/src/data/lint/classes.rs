//! How many pictures each class has, and where; and what the reader left out.

use std::collections::BTreeMap;

use super::measure::{Measured, Split};
use super::{Finding, Group, Kind};
use crate::data::dataset::{Dataset, EmptyClass, GroupingFault, Skipped, SplitRule};

/// Pictures, of all splits, below which a class is hard to learn and harder to measure.
const FEW: usize = 20;

/// How many times as many training pictures the largest class may have as the smallest.
const IMBALANCE: f64 = 5.0;

/// Share of all pictures above which one class leaves little to learn of the others, and always answering it is hard to beat.
const NEARLY_ALL: f64 = 0.8;

/// Few pictures, none held out, nearly all of one class, imbalance, a grouping that does not do, files not used.
pub fn findings(measured: &Measured<'_>, rule: &SplitRule) -> Vec<Finding> {
    let counts = counts(measured);
    let classes = [
        few(measured, &counts),
        one_class(measured, &counts),
        imbalance(measured, &counts),
        not_held_out(measured, &counts),
    ];
    classes.into_iter().chain([grouping(measured, rule)]).chain(not_used(measured)).flatten().collect()
}

/// Classes that are not in the data set for want of pictures.
pub fn empty(dataset: &Dataset, empty: &[EmptyClass]) -> Option<Finding> {
    let all = dataset.labels.len() + empty.len();
    let text =
        format!("{} of {all} classes have no readable picture to learn from: training stops", empty.len());
    let advice =
        "put JPEG or PNG pictures into each (convert those of other kinds, like HEIC), or remove the class";
    let note = |class: &EmptyClass| {
        group(format!("class {}: no readable pictures{}", class.label, kinds(&class.files)))
    };
    let groups: Vec<Group> = empty.iter().map(note).collect();
    (!empty.is_empty()).then(|| Finding::new(Kind::NoPictures, empty.len(), text, advice, groups))
}

/// How many files there are of each kind, by their endings: ` (3 HEIC, 1 TXT)`; nothing of none.
fn kinds(files: &[Skipped]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        let ending = file.path.extension().map(|ending| ending.to_string_lossy().to_uppercase());
        *counts.entry(ending.unwrap_or_else(|| "without ending".to_owned())).or_default() += 1;
    }
    let counts: Vec<String> = counts.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) }
}

fn grouping(measured: &Measured<'_>, rule: &SplitRule) -> Option<Finding> {
    let fault = measured.dataset.grouping_fault(rule)?;
    let (count, groups) = match &fault {
        GroupingFault::Nothing { pictures, .. } => (*pictures, Vec::new()),
        GroupingFault::WholeClasses { labels, .. } => {
            (labels.len(), labels.iter().map(|label| group(format!("{label}: one group"))).collect())
        }
    };
    let advice = "group by the character between a source's name and a picture's number, or by none";
    Some(Finding::new(Kind::Grouping, count, fault.to_string(), advice, groups))
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

fn one_class(measured: &Measured<'_>, counts: &[[usize; 3]]) -> Option<Finding> {
    let of = |class: &usize| counts[*class].iter().sum::<usize>();
    let largest = (0..counts.len()).max_by_key(of)?;
    let (pictures, all) = (of(&largest), measured.pictures.len());
    let share = pictures as f64 / all.max(1) as f64;
    let label = measured.label(largest);
    let text = format!(
        "{pictures} of {all} pictures are of {label}: always answering it would be right on {:.1} % of them, and a model that \
         is no better is of no use",
        100.0 * share
    );
    let advice = "take more pictures of the other classes, or leave some of this one out";
    let groups = vec![group(format!("{label}: {pictures}"))];
    (counts.len() > 1 && share > NEARLY_ALL).then(|| Finding::new(Kind::OneClass, 1, text, advice, groups))
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
    let advice = "train on as many pictures of each class, and judge by each class's own figures";
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
    let advice = "put some of each there, or leave the split to the program by removing its folder or column; take more pictures \
                  of a class that is too small to be split";
    (!classes.is_empty()).then(|| Finding::new(Kind::NotHeldOut, classes.len(), text, advice, groups))
}

/// Endings of pictures, those that are not read among them.
const PICTURES: [&str; 11] =
    ["jpg", "jpeg", "png", "heic", "heif", "avif", "webp", "gif", "bmp", "tif", "tiff"];

/// Whether its name says that it should have been a picture.
fn is_picture(skipped: &Skipped) -> bool {
    let ending = skipped.path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let is_hidden = skipped.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !is_hidden && ending.is_some_and(|ending| PICTURES.contains(&ending.as_str()))
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
            "copy them again from their source, put them where they belong, or convert them to JPEG or PNG",
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
