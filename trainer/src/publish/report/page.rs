//! The page around the sections.

use maud::{DOCTYPE, PreEscaped, html};

use super::words::typed;
use super::{
    Findings, classes, confusion, cost, evidence, gallery, knowledge, lint, look_alikes, settings, summary,
    training,
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");

/// Nothing is fetched, whatever a label or file name says.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The whole file.
pub fn page(findings: &Findings) -> String {
    let name = name(findings);
    let sections = [
        ("summary", "Summary", summary::section(findings)),
        ("confusion", "Mistakes", confusion::section(findings)),
        ("pairs", "Confused pairs", look_alikes::section(findings)),
        ("classes", "Classes", classes::section(findings)),
        ("gallery", "Marks", gallery::section(findings)),
        ("evidence", "Reasons", evidence::section(findings)),
        ("calibration", "Probabilities", knowledge::calibration(findings)),
        ("unknown", "Unknown", knowledge::unknown(findings)),
        ("training", "Training", training::section(findings)),
        ("lint", "Data", lint::section(findings)),
        ("cost", "Cost", cost::section(findings)),
        ("settings", "Settings", settings::section(findings)),
    ];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (name) " \u{b7} Fieldmark report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#summary" { "Skip to the summary" }
                header {
                    p.kind { "Fieldmark report" }
                    h1 { (name) }
                    nav aria-label="Sections" { ul {
                        @for (id, title, section) in &sections {
                            @if !section.0.is_empty() { li { a href={ "#" (id) } { (title) } } }
                        }
                    } }
                }
                main { @for (_, _, section) in &sections { (section) } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The run's folder's name, with that of the folder around it where it is called no more than "run".
fn name(findings: &Findings) -> String {
    let Ok(path) = findings.asked.run.canonicalize() else { return typed(findings.asked.run) };
    let names: Vec<String> =
        path.iter().rev().take(2).map(|name| name.to_string_lossy().into_owned()).collect();
    match names.as_slice() {
        [name, around] if name == "run" && around != "/" => format!("{around}/{name}"),
        [name, ..] => name.clone(),
        [] => typed(findings.asked.run),
    }
}
