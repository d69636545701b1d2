//! Findings for people.

use super::{Finding, Group, Lint, Named, Severity};

/// Groups of a finding that are shown; the JSON has all.
const SHOWN: usize = 3;

/// Pictures of a group that are shown.
const PICTURES: usize = 4;

/// The findings as lines, the most serious first: each says what it is, what to do, and shows some of where.
pub fn table(lint: &Lint) -> String {
    let [train, validation, test] = lint.pictures;
    let of = |severity| lint.findings.iter().filter(|finding| finding.severity == severity).count();
    let mut lines = vec![format!(
        "{} classes; {train} training, {validation} validation and {test} test pictures; findings: {} serious, {} warning, {} note",
        lint.classes,
        of(Severity::Serious),
        of(Severity::Warning),
        of(Severity::Note)
    )];
    lines.extend(lint.findings.iter().flat_map(rows));
    lines.join("\n") + "\n"
}

fn rows(finding: &Finding) -> Vec<String> {
    let severity = match finding.severity {
        Severity::Serious => "SERIOUS",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let mut rows = vec![
        String::new(),
        format!("{severity:<8} {}", finding.text),
        format!("{:<8} -> {}", "", finding.advice),
    ];
    rows.extend(finding.groups.iter().take(SHOWN).map(|group| format!("{:<12}{}", "", shown(group))));
    if finding.groups.len() > SHOWN {
        rows.push(format!("{:<12}and {} more", "", finding.groups.len() - SHOWN));
    }
    rows
}

fn shown(group: &Group) -> String {
    let name = |named: &Named| format!("{} ({})", named.file, named.split.name());
    let mut names: Vec<String> = group.pictures.iter().take(PICTURES).map(name).collect();
    if group.pictures.len() > PICTURES {
        names.push(format!("{} more", group.pictures.len() - PICTURES));
    }
    match (names.join(", "), group.note.as_str()) {
        (names, "") => names,
        (names, note) if names.is_empty() => note.to_owned(),
        (names, note) => format!("{names}: {note}"),
    }
}
