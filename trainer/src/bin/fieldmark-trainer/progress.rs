//! What the subcommands that take long share: threads, progress bars, and the signal that asks for the end.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicI32;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use crate::stop;

/// Has rayon use so many threads; it decides itself where none are named.
///
/// # Errors
/// Others run already.
pub fn use_threads(threads: Option<NonZeroUsize>) -> Result<()> {
    let Some(threads) = threads else { return Ok(()) };
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global();
    // An earlier stage may have asked for the same.
    if rayon::current_num_threads() == threads.get() { Ok(()) } else { built.context("--threads") }
}

/// Counts pictures as their number becomes known.
///
/// # Errors
/// A template that indicatif does not take.
pub fn picture_bar() -> Result<ProgressBar> {
    Ok(ProgressBar::new(0).with_style(style("{bar:30} picture {pos}/{len}{left}")?))
}

/// The style of a template, which may have `{speed}` and `{left}`: nothing, until the first step says how fast it goes.
///
/// # Errors
/// A template that indicatif does not take.
pub fn style(template: &str) -> Result<ProgressStyle> {
    let speed = |state: &ProgressState, text: &mut dyn Write| {
        let _ = write!(text, "{}", speed(state.per_sec()));
    };
    let left = |state: &ProgressState, text: &mut dyn Write| {
        let _ = write!(text, "{}", left(state.per_sec(), state.eta()));
    };
    Ok(ProgressStyle::with_template(template)?.with_key("speed", speed).with_key("left", left))
}

fn speed(per_second: f64) -> String {
    if per_second > 0.0 { format!("  {per_second:.1}/s") } else { String::new() }
}

fn left(per_second: f64, time: Duration) -> String {
    if per_second > 0.0 { format!("  {:#} left", HumanDuration(time)) } else { String::new() }
}

/// A progress bar, and the signal that asks for the end.
///
/// # Errors
/// The system's reason why signals cannot be waited for.
pub fn watched() -> Result<(ProgressBar, &'static AtomicI32)> {
    let bar = ProgressBar::new(0).with_style(style("{bar:30} step {pos}/{len}{speed}  {msg}{left}")?);
    let stop = stop::on_signal(&bar).context("cannot wait for Ctrl-C")?;
    Ok((bar, stop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_of_speed_and_time_before_they_are_known() {
        for unknown in [0.0, f64::NAN] {
            assert_eq!(speed(unknown) + &left(unknown, Duration::ZERO), "");
        }
        assert_eq!(speed(2.5) + &left(2.5, Duration::from_secs(40)), "  2.5/s  40s left");
    }
}
