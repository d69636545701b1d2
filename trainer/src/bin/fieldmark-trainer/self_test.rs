//! A model file's own self-tests, by the board's engine on this machine.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fieldmark::engine::{Engine, Options, SelfTestReport};

/// The report of a model that has self-tests and passes all of them.
///
/// # Errors
/// A file that is no model, and one that does not pass, or has nothing to pass.
pub fn passed(model: &Path) -> Result<SelfTestReport> {
    let name = || model.display().to_string();
    let report =
        Engine::load(model, Options::default()).with_context(name)?.self_test().with_context(name)?;
    ensure!(!report.cases.is_empty(), "{} has no self-tests; export it again", model.display());
    let failed = report.cases.iter().filter(|case| !case.passed()).count();
    ensure!(
        failed == 0,
        "{failed} of {} self-tests of {} failed: on this machine the model does not give its trainer's answers; \
         export it again",
        report.cases.len(),
        model.display()
    );
    Ok(report)
}
