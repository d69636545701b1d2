//! What the data's lint found, where `lint.json` lies in the run's folder.

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::Findings;
use super::words::{count, listed};

/// Groups of pictures that are shown of a finding; pictures of a group.
const GROUPS: usize = 8;
const PICTURES: usize = 6;

/// One thing that is suspicious.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    severity: String,
    text: String,
    #[serde(default)]
    advice: String,
    #[serde(default)]
    groups: Vec<Group>,
}

/// Pictures that belong together.
#[derive(Clone, Debug, Deserialize)]
struct Group {
    #[serde(default)]
    pictures: Vec<Named>,
    #[serde(default)]
    note: String,
}

/// A picture.
#[derive(Clone, Debug, Deserialize)]
struct Named {
    file: String,
}

/// The findings of a lint's record, those left out that have another form.
pub fn found(json: &Value) -> Vec<Finding> {
    let listed = json["findings"].as_array().into_iter().flatten();
    listed.filter_map(|finding| serde_json::from_value(finding.clone()).ok()).collect()
}

/// The section; nothing without a lint.
pub fn section(findings: &Findings) -> Markup {
    let Some(lint) = &findings.lint else { return html! {} };
    html! {
        section #lint {
            h2 { "What the data's lint found" }
            @if lint.is_empty() {
                p { "Nothing that looks wrong." }
            } @else {
                ul.lint { @for finding in lint { li { (one(finding)) } } }
            }
        }
    }
}

fn one(finding: &Finding) -> Markup {
    html! {
        p { span class={ "severity " (finding.severity) } { (finding.severity) } " " (finding.text) }
        @if !finding.advice.is_empty() { p.hint { (finding.advice) } }
        @if !finding.groups.is_empty() {
            details {
                summary { "Where" }
                ul { @for group in finding.groups.iter().take(GROUPS) { li { (place(group)) } } }
                @if finding.groups.len() > GROUPS {
                    p.hint { "and " (count(finding.groups.len() - GROUPS, "more", "more")) ", in lint.json." }
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

/// Findings that are more than a note.
pub fn grave(lint: &[Finding]) -> usize {
    lint.iter().filter(|finding| finding.severity != "note").count()
}
