//! What the subcommands that take long share: threads, progress bars, and the signal that asks for the end.

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicI32;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

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
    let style = ProgressStyle::with_template("{bar:30} picture {pos}/{len}  {eta} left")?;
    Ok(ProgressBar::new(0).with_style(style))
}

/// A progress bar, and the signal that asks for the end.
///
/// # Errors
/// The system's reason why signals cannot be waited for.
pub fn watched() -> Result<(ProgressBar, &'static AtomicI32)> {
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("{bar:30} step {pos}/{len}  {per_sec}  {msg}  {eta} left")?);
    let stop = stop::on_signal(&bar).context("cannot wait for Ctrl-C")?;
    Ok((bar, stop))
}
