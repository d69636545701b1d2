//! `fieldmark-trainer lint`: what is suspicious about a data set.

use anyhow::{Context, Result};
use fieldmark::file::write_whole;
use fieldmark_trainer::data::dataset::SplitRule;
use fieldmark_trainer::data::{dataset, lint};
use indicatif::ProgressBar;

use crate::args::LintArgs;
use crate::{progress, remedy, say};

/// Runs the subcommand; what was found is for the caller to judge.
///
/// # Errors
/// Pictures that cannot be listed, and a JSON file that cannot be written.
pub fn run(args: &LintArgs) -> Result<lint::Lint> {
    progress::use_threads(args.threads)?;
    let rule = args.split.over(SplitRule { seed: args.seed, ..SplitRule::default() });
    let (dataset, empty) = dataset::read_leniently(&args.data, &rule)?;
    let pictures = dataset.train.len() + dataset.validation.len() + dataset.test.len();
    let bar = ProgressBar::new(pictures as u64)
        .with_style(progress::style("{bar:30} picture {pos}/{len}{speed}{left}")?);
    let mut lint = lint::lint(&dataset, &empty, &rule, &|| bar.inc(1));
    bar.finish_and_clear();
    for finding in &mut lint.findings {
        finding.advice += &remedy::of_finding(finding.kind);
    }
    say::result(lint::table(&lint).trim_end());
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&lint)? + "\n";
        write_whole(path, json.as_bytes()).with_context(|| {
            format!("cannot write {}; name a file in a folder that exists", path.display())
        })?;
    }
    Ok(lint)
}
