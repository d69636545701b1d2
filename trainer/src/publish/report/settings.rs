//! What decided the run: settings and hashes.

use maud::{Markup, html};
use serde_json::Value;

use super::Findings;
use super::words::{count, typed};

/// The section.
pub fn section(findings: &Findings) -> Markup {
    let (progress, dataset) = (&findings.trained.progress, &findings.trained.dataset);
    let config = serde_json::to_value(&progress.config).unwrap_or_default();
    let mut settings = Vec::new();
    flatten("", &config, &mut settings);
    html! {
        section #settings {
            h2 { "What it was made of" }
            dl.facts {
                dt { "pictures" } dd {
                    (count(dataset.train.len(), "to learn from", "to learn from")) ", "
                    (count(dataset.validation.len(), "to choose the epoch by", "to choose the epoch by")) ", "
                    (count(dataset.test.len(), "to test on", "to test on"))
                    @if !dataset.skipped.is_empty() { "; "
                        (count(dataset.skipped.len(), "file was", "files were")) " not used" }
                }
                dt { "folder" } dd { code { (typed(&dataset.root)) } }
                dt { "weights" } dd {
                    @if let Some(last) = progress.last { "of epoch " (last.epoch + 1) ", "
                        (if findings.asked.is_last { "the last" } else { "the latest of the best by validation accuracy" }) }
                }
                dt { "SHA-256 of the weights" } dd { code.hash { (findings.trained.weights) } }
                dt { "SHA-256 of the data" } dd { code.hash { (progress.data) } }
                dt { "program" } dd { "fieldmark-trainer " (env!("CARGO_PKG_VERSION")) }
                dt { "this page" } dd { code { (findings.asked.commands.report) } }
            }
            @if !dataset.skipped.is_empty() {
                details {
                    summary { "Files that were not used" }
                    ul { @for skipped in &dataset.skipped {
                        li { (dataset.name(&skipped.path)) ": " (skipped.reason) }
                    } }
                }
            }
            details {
                summary { "All settings" }
                table.narrow {
                    tbody { @for (name, value) in &settings { tr {
                        th scope="row" { (name) } td { (value) }
                    } } }
                }
            }
        }
    }
}

/// Nested settings as names with points, and their values.
fn flatten(name: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                flatten(&name, value, into);
            }
        }
        Value::String(text) => into.push((name.to_owned(), text.clone())),
        Value::Null => into.push((name.to_owned(), "\u{2013}".to_owned())),
        other => into.push((name.to_owned(), other.to_string())),
    }
}
