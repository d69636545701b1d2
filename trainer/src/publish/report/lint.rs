//! What looks suspicious in the pictures, by [`lint`](crate::data::lint).

use maud::{Markup, html};

use super::Findings;
use super::words::{count, listed};
use crate::data::lint::{Finding, Group, Severity};

/// Groups of pictures that are shown of a finding; pictures of a group.
const GROUPS: usize = 8;
const PICTURES: usize = 6;

/// The section.
pub fn section(findings: &Findings) -> Markup {
    let found = &findings.lint.findings;
    html! {
        section #lint {
            h2 { "What the data's lint found" }
            @if found.is_empty() {
                p { "Nothing that looks wrong." }
            } @else {
                ul.lint { @for finding in found { li { (one(findings, finding)) } } }
            }
        }
    }
}

fn one(findings: &Findings, finding: &Finding) -> Markup {
    html! {
        @let severity = word(finding.severity);
        p { span class={ "severity " (severity) } { (severity) } " " (finding.text) }
        @if !finding.advice.is_empty() { p.hint { (finding.advice) } }
        @if !finding.groups.is_empty() {
            details {
                summary { "Where" }
                ul { @for group in finding.groups.iter().take(GROUPS) { li { (place(group)) } } }
                @if finding.groups.len() > GROUPS {
                    p.hint {
                        "and " (count(finding.groups.len() - GROUPS, "more", "more")) "; "
                        code { (findings.asked.commands.lint) } " lists all."
                    }
                }
            }
        }
    }
}

fn place(group: &Group) -> Markup {
    let files: Vec<&str> = group.pictures.iter().map(|named| named.file.as_str()).collect();
    html! {
        (listed(&files, PICTURES))
        @if !group.note.is_empty() {
            @if !files.is_empty() { ": " }
            (group.note)
        }
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Serious => "serious",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// Findings that are more than a note.
pub fn grave(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.severity < Severity::Note).count()
}
