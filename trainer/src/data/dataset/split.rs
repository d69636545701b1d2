//! Which pictures are held out: stratified, seeded, whole groups, written down.

use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::{Dataset, DatasetError, Sample};
use crate::random::{Stream, stream};

/// How pictures are held out where the data set does not come split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitRule {
    /// Decides which.
    pub seed: u64,
    /// Share of the training pictures of each class, once the test's are out.
    pub validation: f64,
    /// Share of all pictures of each class.
    pub test: f64,
    /// What must stay on one side.
    pub group: Option<GroupBy>,
}

impl Default for SplitRule {
    fn default() -> SplitRule {
        SplitRule { seed: 0, validation: 0.15, test: 0.2, group: None }
    }
}

/// Pictures that belong together, of any class: crops of one photo, frames of one film. Were they on both sides
/// of a split, the held-out figure would be too good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupBy {
    /// Names that agree up to the last such character: `photo7_3.jpg` and `photo7_4.jpg` by `_`.
    Prefix(char),
}

/// What is held out; each draws from its own random stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For the final figure.
    Test,
    /// For choosing the best epoch.
    Validation,
}

impl SplitRule {
    /// Refuses shares that leave nothing to learn from.
    ///
    /// # Errors
    /// A share below 0, or both together 1 or more.
    pub(super) fn check(&self) -> Result<(), DatasetError> {
        let is_fine = self.validation >= 0.0 && self.test >= 0.0 && self.validation + self.test < 1.0;
        let (validation, test) = (self.validation, self.test);
        if is_fine { Ok(()) } else { Err(DatasetError::Shares { validation, test }) }
    }
}

/// What a grouping does to a data set that nobody can have wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupingFault {
    /// Each picture is a group of its own.
    Nothing {
        /// The character.
        by: char,
        /// All pictures.
        pictures: usize,
    },
    /// These classes are one group each, of which none was held out.
    WholeClasses {
        /// The character.
        by: char,
        /// Their names.
        labels: Vec<String>,
        /// Of so many.
        classes: usize,
    },
}

impl fmt::Display for GroupingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupingFault::Nothing { by, pictures } => {
                write!(
                    f,
                    "grouping by {by:?} groups nothing: each of the {pictures} pictures is a group of its own"
                )
            }
            GroupingFault::WholeClasses { by, labels, classes } => write!(
                f,
                "grouping by {by:?} makes one group of each class for {} of {classes} classes: none of their pictures \
                 could be held out",
                labels.len()
            ),
        }
    }
}

impl Dataset {
    /// What the grouping of `rule`, by which it was split, does to it that nobody can have wanted.
    pub fn grouping_fault(&self, rule: &SplitRule) -> Option<GroupingFault> {
        let GroupBy::Prefix(by) = rule.group?;
        let mut groups = BTreeSet::new();
        let mut of_class = vec![BTreeSet::new(); self.labels.len()];
        for sample in self.train.iter().chain(&self.validation).chain(&self.test) {
            let name = source(&sample.path, by);
            of_class[sample.class].insert(name.clone());
            groups.insert(name);
        }
        let pictures = self.train.len() + self.validation.len() + self.test.len();
        if groups.len() == pictures {
            return Some(GroupingFault::Nothing { by, pictures });
        }
        let held_out: BTreeSet<usize> =
            self.validation.iter().chain(&self.test).map(|sample| sample.class).collect();
        let is_whole = |class: &usize| of_class[*class].len() == 1 && !held_out.contains(class);
        let labels: Vec<String> =
            (0..self.labels.len()).filter(is_whole).map(|class| self.labels[class].clone()).collect();
        let classes = self.labels.len();
        (!labels.is_empty()).then_some(GroupingFault::WholeClasses { by, labels, classes })
    }
}

/// Refuses a rule whose character makes too few groups of pictures that are to be split.
///
/// # Errors
/// Fewer than three groups.
pub(super) fn refuse_few_groups(samples: &[Sample], rule: &SplitRule) -> Result<(), DatasetError> {
    let groups = groups(samples, rule.group).len();
    match rule.group {
        Some(GroupBy::Prefix(by)) if groups < 3 => {
            Err(DatasetError::Groups { by, pictures: samples.len(), groups })
        }
        _ => Ok(()),
    }
}

/// Takes `share` of each class's pictures out of `samples`, group by group; at least one of each class where that
/// leaves one to learn from.
pub(super) fn hold_out(
    samples: &mut Vec<Sample>,
    classes: usize,
    share: f64,
    purpose: Purpose,
    rule: &SplitRule,
) -> Vec<Sample> {
    if share == 0.0 {
        return Vec::new();
    }
    let groups = groups(samples, rule.group);
    let is_held_out = chosen(
        samples,
        &groups,
        classes,
        share,
        &mut stream(Stream::HeldOut { seed: rule.seed, split: purpose as u64 }),
    );
    let (mut held_out, mut rest) = (Vec::new(), Vec::new());
    for (sample, is_held_out) in samples.drain(..).zip(is_held_out) {
        if is_held_out { &mut held_out } else { &mut rest }.push(sample);
    }
    *samples = rest;
    held_out
}

/// Indices of pictures that stay together.
fn groups(samples: &[Sample], by: Option<GroupBy>) -> Vec<Vec<usize>> {
    let Some(GroupBy::Prefix(by)) = by else {
        return (0..samples.len()).map(|index| vec![index]).collect();
    };
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, sample) in samples.iter().enumerate() {
        groups.entry(source(&sample.path, by)).or_default().push(index);
    }
    groups.into_values().collect()
}

/// What a picture's name has in common with those of the same source: all before the last `by`, the ending aside.
pub fn source(path: &Path, by: char) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    stem.rsplit_once(by).map_or(&*stem, |(prefix, _)| prefix).to_owned()
}

/// Pictures a class.
type Counts = BTreeMap<usize, isize>;

/// Where each class stands while groups are being held out.
struct Tally {
    /// Pictures still to be held out; below 0 where a group brought more.
    need: Vec<isize>,
    /// Pictures left to learn from.
    left: Vec<isize>,
    /// `need` at the start.
    wanted: Vec<isize>,
}

impl Tally {
    fn new(samples: &[Sample], classes: usize, share: f64) -> Tally {
        let mut left = vec![0_isize; classes];
        for sample in samples {
            left[sample.class] += 1;
        }
        let wanted = |&pictures: &isize| match pictures {
            ..=1 => 0,
            _ => ((pictures as f64 * share).round() as isize).clamp(1, pictures - 1),
        };
        let wanted: Vec<isize> = left.iter().map(wanted).collect();
        Tally { need: wanted.clone(), left, wanted }
    }

    /// How much nearer the classes come to their shares, in pictures, with this group held out.
    fn gain(&self, counts: &Counts) -> isize {
        counts.iter().map(|(&class, &count)| self.need[class].abs() - (self.need[class] - count).abs()).sum()
    }

    fn leaves_some_of_each(&self, counts: &Counts) -> bool {
        counts.iter().all(|(&class, &count)| self.left[class] > count)
    }

    fn hold(&mut self, counts: &Counts) {
        for (&class, &count) in counts {
            self.need[class] -= count;
            self.left[class] -= count;
        }
    }

    fn lacks_any(&self, class: usize) -> bool {
        self.wanted[class] > 0 && self.need[class] == self.wanted[class]
    }
}

/// Which samples are held out. Groups are taken in random order while they bring classes nearer to their shares
/// than they push others past theirs; a class still without any then gets the smallest group that has it.
fn chosen(
    samples: &[Sample],
    groups: &[Vec<usize>],
    classes: usize,
    share: f64,
    rng: &mut impl Rng,
) -> Vec<bool> {
    let mut tally = Tally::new(samples, classes, share);
    let mut order: Vec<(&[usize], Counts)> =
        groups.iter().map(|group| (&group[..], counts(samples, group))).collect();
    order.shuffle(rng);
    let mut held: Vec<&[usize]> = Vec::new();
    order.retain(|(group, counts)| {
        let takes = tally.gain(counts) > 0 && tally.leaves_some_of_each(counts);
        if takes {
            tally.hold(counts);
            held.push(group);
        }
        !takes
    });
    order.sort_by_key(|(group, _)| group.len());
    for class in 0..classes {
        if tally.lacks_any(class) {
            let fits = |counts: &Counts| counts.contains_key(&class) && tally.leaves_some_of_each(counts);
            if let Some(at) = order.iter().position(|(_, counts)| fits(counts)) {
                let (group, counts) = order.remove(at);
                tally.hold(&counts);
                held.push(group);
            }
        }
    }
    let mut is_held_out = vec![false; samples.len()];
    for &index in held.into_iter().flatten() {
        is_held_out[index] = true;
    }
    is_held_out
}

fn counts(samples: &[Sample], group: &[usize]) -> Counts {
    let mut counts = Counts::new();
    for &index in group {
        *counts.entry(samples[index].class).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(counts: &[usize], name: impl Fn(usize, usize) -> String) -> Vec<Sample> {
        let of_class = |(class, &count): (usize, &usize)| {
            let sample = |index| Sample { path: name(class, index).into(), class, marks: None };
            (0..count).map(sample).collect::<Vec<_>>()
        };
        counts.iter().enumerate().flat_map(of_class).collect()
    }

    fn per_class(samples: &[Sample], classes: usize) -> Vec<usize> {
        (0..classes).map(|class| samples.iter().filter(|sample| sample.class == class).count()).collect()
    }

    fn plain_name(class: usize, index: usize) -> String {
        format!("{class}/{index}.jpg")
    }

    fn held(samples: &mut Vec<Sample>, classes: usize, share: f64, rule: &SplitRule) -> Vec<Sample> {
        hold_out(samples, classes, share, Purpose::Test, rule)
    }

    #[test]
    fn each_class_gives_its_share() {
        let counts = [100, 50, 10, 3, 2, 1];
        let mut rest = samples(&counts, plain_name);
        let out = held(&mut rest, 6, 0.2, &SplitRule::default());
        assert_eq!(per_class(&out, 6), [20, 10, 2, 1, 1, 0]);
        assert_eq!(per_class(&rest, 6), [80, 40, 8, 2, 1, 1]);
    }

    #[test]
    fn the_seed_decides_which() {
        let out = |seed| {
            let rule = SplitRule { seed, ..SplitRule::default() };
            held(&mut samples(&[40, 40], plain_name), 2, 0.25, &rule)
        };
        assert_eq!(out(1), out(1));
        assert_ne!(out(1), out(2));
    }

    #[test]
    fn groups_stay_whole_across_classes() {
        let name = |class: usize, index: usize| format!("{class}/train_{}_{class}{index}.jpg", index % 12);
        let mut rest = samples(&[60, 48, 24], name);
        let rule = SplitRule { group: Some(GroupBy::Prefix('_')), ..SplitRule::default() };
        let out = held(&mut rest, 3, 0.25, &rule);
        let group =
            |sample: &Sample| sample.path.to_string_lossy()[2..].rsplit_once('_').unwrap().0.to_owned();
        let photos: std::collections::BTreeSet<String> = out.iter().map(group).collect();
        assert!(rest.iter().all(|sample| !photos.contains(&group(sample))));
        assert_eq!(per_class(&out, 3), [15, 12, 6], "3 of 12 photos");
    }

    #[test]
    fn a_class_of_few_groups_still_gets_a_held_out_picture() {
        let name = |class: usize, index: usize| match class {
            0 => format!("0/a{index}_0.jpg"),
            _ => format!("1/b{}_{index}.jpg", index / 9),
        };
        let mut rest = samples(&[40, 18], name);
        let rule = SplitRule { group: Some(GroupBy::Prefix('_')), ..SplitRule::default() };
        let out = held(&mut rest, 2, 0.2, &rule);
        assert_eq!(per_class(&out, 2), [8, 9]);
        assert_eq!(per_class(&rest, 2), [32, 9]);
    }

    #[test]
    fn a_character_that_groups_everything_is_refused() {
        let rule = SplitRule { group: Some(GroupBy::Prefix('_')), ..SplitRule::default() };
        let all = samples(&[9, 9], |_, index| format!("photo_{index}.jpg"));
        let error = refuse_few_groups(&all, &rule).unwrap_err().to_string();
        assert!(error.contains("18 pictures into 1 group"), "{error}");
    }

    #[test]
    fn shares_that_leave_nothing_are_refused() {
        for (validation, test) in [(0.5, 0.5), (-0.1, 0.2), (f64::NAN, 0.1)] {
            assert!(
                SplitRule { validation, test, ..SplitRule::default() }.check().is_err(),
                "{validation} {test}"
            );
        }
    }
}
