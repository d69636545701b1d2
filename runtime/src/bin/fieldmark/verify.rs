//! `fieldmark verify`: does the model give its trainer's answers on this processor?

use std::io::{self, Write};

use anyhow::Context;
use fieldmark::engine::{Engine, RunError, SelfTestCase, SelfTestReport, instruction_set};
use serde::Serialize;
use thiserror::Error;

use crate::args::{ReportFormat, VerifyArgs, load};
use crate::exit::Exit;
use crate::record::SCHEMA;
use crate::text::table;

/// Why answers on this processor should not be trusted.
#[derive(Debug, Error)]
pub enum SelfTestError {
    /// Nothing to compare with.
    #[error("the model has no self-tests; export it again with `fieldmark-trainer export`")]
    None,
    /// Other answers.
    #[error(
        "{failed} of {all} self-tests failed: on this processor the model does not give its trainer's answers; copy \
         it again, and report it with `fieldmark inspect` if that does not help"
    )]
    Failed {
        /// Tests that failed.
        failed: usize,
        /// All tests.
        all: usize,
    },
    /// No answer.
    #[error("the self-test did not run: {0}")]
    Run(#[from] RunError),
}

/// What is written.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    model: String,
    instruction_set: String,
    arithmetic: &'a str,
    passed: bool,
    cases: &'a [SelfTestCase],
}

/// Runs the subcommand.
///
/// # Errors
/// A refused model, a report that cannot be written, and [`SelfTestError`].
pub fn run(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let engine = load(&args.model, &args.compute, None)?;
    let name = args.model.display().to_string();
    let report = engine.self_test().map_err(SelfTestError::from).context(name.clone())?;
    write(&engine, &name, &report, args.format).context("results cannot be written")?;
    check(&report).context(name)?;
    Ok(Exit::Done)
}

/// Whether answers can be trusted.
///
/// # Errors
/// [`SelfTestError::None`] and [`SelfTestError::Failed`].
pub fn check(report: &SelfTestReport) -> Result<(), SelfTestError> {
    let all = report.cases.len();
    match report.cases.iter().filter(|case| !case.passed()).count() {
        _ if all == 0 => Err(SelfTestError::None),
        0 => Ok(()),
        failed => Err(SelfTestError::Failed { failed, all }),
    }
}

fn write(engine: &Engine, model: &str, report: &SelfTestReport, format: ReportFormat) -> io::Result<()> {
    let report = Report {
        schema: SCHEMA,
        model: model.to_string(),
        instruction_set: instruction_set(),
        arithmetic: engine.arithmetic(),
        passed: report.passed(),
        cases: &report.cases,
    };
    let mut out = io::stdout().lock();
    match format {
        ReportFormat::Text => write!(out, "{}", text(&report)),
        ReportFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?),
    }
}

fn text(report: &Report<'_>) -> String {
    let Report { instruction_set, arithmetic, cases, .. } = report;
    let head = format!("processor   {instruction_set}\narithmetic  {arithmetic}\n");
    if cases.is_empty() {
        return head;
    }
    let passed = cases.iter().filter(|case| case.passed()).count();
    let heads = ["seed", "logits", "shares", ""].map(String::from);
    let rows: Vec<_> = std::iter::once(heads).chain(cases.iter().map(row)).collect();
    let cases = cases.len();
    format!(
        "{head}\nlargest difference from the trainer's logits, and of the shares' sums from the logits, in \
         tolerances:\n\n{}\n{passed} of {cases} self-tests passed\n",
        table(&rows)
    )
}

fn row(case: &SelfTestCase) -> [String; 4] {
    let number = |tolerances: f32| format!("{tolerances:.3}");
    let shares = case.shares.map_or("-".to_string(), number);
    let verdict = if case.passed() { "passed" } else { "FAILED" };
    [case.seed.to_string(), number(case.logits), shares, verdict.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(logits: &[f32]) -> SelfTestReport {
        let case = |&logits: &f32| SelfTestCase { seed: 1, logits, shares: None };
        SelfTestReport { cases: logits.iter().map(case).collect() }
    }

    #[test]
    fn a_model_without_tests_does_not_pass() {
        assert!(matches!(check(&report(&[])), Err(SelfTestError::None)));
        assert!(check(&report(&[0.0, 1.0])).is_ok());
        let failed = check(&report(&[0.5, 1.5, f32::NAN]));
        assert!(matches!(failed, Err(SelfTestError::Failed { failed: 2, all: 3 })));
    }

    #[test]
    fn the_text_says_which_test_failed() {
        let cases = report(&[0.25, 3.0]).cases;
        let report = Report {
            schema: 1,
            model: "m.onnx".to_string(),
            instruction_set: "sse avx".to_string(),
            arithmetic: "f32",
            passed: false,
            cases: &cases,
        };
        let text = text(&report);
        assert!(text.starts_with("processor   sse avx\narithmetic  f32\n"), "{text}");
        assert!(text.contains("\n   1   3.000       -  FAILED\n\n1 of 2 self-tests passed\n"), "{text}");
    }
}
