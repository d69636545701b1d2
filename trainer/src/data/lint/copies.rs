//! Pictures that are there more than once.

use std::collections::{BTreeMap, BTreeSet};

use super::likeness::{Likeness, alike};
use super::measure::Measured;
use super::{Finding, Group, Kind};
use crate::data::dataset::{GroupBy, SplitRule, source};

/// The same bytes, and nearly the same picture.
pub fn findings(measured: &Measured<'_>, rule: &SplitRule) -> Vec<Finding> {
    let mut findings = same_bytes(measured);
    findings.extend(nearly_the_same(measured, rule));
    findings
}

fn same_bytes(measured: &Measured<'_>) -> Vec<Finding> {
    let mut by_bytes: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
    for (at, picture) in measured.pictures.iter().enumerate() {
        if picture.seen.is_some() {
            by_bytes.entry(picture.sha).or_default().push(at);
        }
    }
    let mut groups: Vec<Vec<usize>> = by_bytes.into_values().filter(|group| group.len() > 1).collect();
    groups.sort();
    let found = |kind, text: &str, advice, wanted: &dyn Fn(&[usize]) -> bool| {
        let groups = groups.iter().filter(|group| wanted(group));
        finding(measured, kind, text, advice, groups.map(|group| (group.as_slice(), String::new())).collect())
    };
    let differ = found(
        Kind::LabelsDiffer,
        "stand in several classes, byte for byte the same",
        "decide what each shows and keep it in that class alone",
        &|group| classes(measured, group) > 1,
    );
    let across = found(
        Kind::CopiesAcrossSplits,
        "stand in several splits, byte for byte the same: held-out figures flatter",
        "keep one of each",
        &|group| splits(measured, group) > 1,
    );
    let within = found(
        Kind::Copies,
        "stand more than once in their class, byte for byte the same",
        "keep one of each",
        &|group| splits(measured, group) == 1 && classes(measured, group) == 1,
    );
    [differ, across, within].into_iter().flatten().collect()
}

fn nearly_the_same(measured: &Measured<'_>, rule: &SplitRule) -> Vec<Finding> {
    let groups = alike_groups(measured);
    let note = |group: &[usize]| linked_sources(measured, group, rule).unwrap_or_default();
    let found = |kind, text: &str, advice, wanted: &dyn Fn(&[usize]) -> bool| {
        let groups = groups.iter().filter(|group| wanted(group));
        finding(measured, kind, text, advice, groups.map(|group| (group.as_slice(), note(group))).collect())
    };
    let across = found(
        Kind::AlikeAcrossSplits,
        "are nearly the same as one of another split: held-out figures flatter",
        "look at them; keep shots of one moment in one split, grouped by their names, or keep one of each",
        &|group| splits(measured, group) > 1,
    );
    let classes = found(
        Kind::AlikeAcrossClasses,
        "are nearly the same as one of another class",
        "look at them; where they show the same thing, correct the class",
        &|group| classes(measured, group) > 1,
    );
    let within = found(
        Kind::Alike,
        "are nearly the same as another of their class and split: they teach little",
        "keep them together when you split, or keep one of each",
        &|group| splits(measured, group) == 1 && self::classes(measured, group) == 1,
    );
    [across, classes, within].into_iter().flatten().collect()
}

fn finding(
    measured: &Measured<'_>,
    kind: Kind,
    text: &str,
    advice: &str,
    groups: Vec<(&[usize], String)>,
) -> Option<Finding> {
    let count: usize = groups.iter().map(|(group, _)| group.len()).sum();
    let groups: Vec<Group> = groups.into_iter().map(|(group, note)| measured.group(group, note)).collect();
    let text = format!("{count} pictures, in {} group(s), {text}", groups.len());
    (count > 0).then(|| Finding::new(kind, count, text, advice, groups))
}

/// Groups of pictures that are joined by pairs of like ones, copies aside; in the order of their first.
fn alike_groups(measured: &Measured<'_>) -> Vec<Vec<usize>> {
    let all: Vec<Option<&Likeness>> = measured
        .pictures
        .iter()
        .map(|picture| {
            picture.seen.as_ref().map(|seen| &seen.likeness).filter(|likeness| !likeness.is_blank())
        })
        .collect();
    let mut first_of: Vec<usize> = (0..all.len()).collect();
    for [one, other] in alike(&all) {
        if measured.pictures[one].sha != measured.pictures[other].sha {
            let (one, other) = (root(&first_of, one), root(&first_of, other));
            first_of[one.max(other)] = one.min(other);
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..all.len() {
        groups.entry(root(&first_of, at)).or_default().push(at);
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

/// The first picture of the group that `at` is in.
fn root(first_of: &[usize], mut at: usize) -> usize {
    while first_of[at] != at {
        at = first_of[at];
    }
    at
}

/// What the names that should keep pictures together fail to.
fn linked_sources(measured: &Measured<'_>, group: &[usize], rule: &SplitRule) -> Option<String> {
    let GroupBy::Prefix(by) = rule.group?;
    let sources: BTreeSet<String> =
        group.iter().map(|&at| source(&measured.pictures[at].sample.path, by)).collect();
    let names: Vec<String> = sources.into_iter().collect();
    (names.len() > 1).then(|| format!("of the sources {}", names.join(", ")))
}

fn classes(measured: &Measured<'_>, group: &[usize]) -> usize {
    group.iter().map(|&at| measured.pictures[at].sample.class).collect::<BTreeSet<_>>().len()
}

fn splits(measured: &Measured<'_>, group: &[usize]) -> usize {
    group.iter().map(|&at| measured.pictures[at].split).collect::<BTreeSet<_>>().len()
}
