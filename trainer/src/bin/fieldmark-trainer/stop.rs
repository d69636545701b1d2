//! Ctrl-C, `kill` and a closed terminal: the run ends after the step in progress, saved.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use indicatif::ProgressBar;
use thiserror::Error;

/// What a program ends with when a signal ended it, as shells have it.
pub fn exit_code(signal: i32) -> u8 {
    128 + signal as u8
}

/// The signal that asked for the end; 0 without one. Signals are the whole program's.
static ASKED: AtomicI32 = AtomicI32::new(0);

/// Whether somebody looks at [`ASKED`], so that the program need not end at once.
static WATCHED: AtomicBool = AtomicBool::new(false);

/// A stage that was asked to stop had nothing left to do.
#[derive(Debug, Error)]
#[error("stopped after training; the same command resumes the run")]
pub struct Stopped {
    /// The signal that asked.
    pub signal: i32,
}

/// From now on a signal ends the program at once, as before [`on_signal`].
///
/// # Errors
/// [`Stopped`]: one came already.
pub fn at_once() -> Result<(), Stopped> {
    WATCHED.store(false, Ordering::SeqCst);
    match ASKED.load(Ordering::SeqCst) {
        0 => Ok(()),
        signal => Err(Stopped { signal }),
    }
}

/// From now on, 0 until SIGINT, SIGTERM or SIGHUP comes, then its number. A second one ends the program at once.
///
/// # Errors
/// The system's reason.
#[cfg(unix)]
pub fn on_signal(bar: &ProgressBar) -> io::Result<&'static AtomicI32> {
    use fieldmark_trainer::training::train::tell;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !may_outlive_its_terminal() {
        signals.add_signal(SIGHUP)?;
    }
    WATCHED.store(true, Ordering::SeqCst);
    let bar = bar.clone();
    std::thread::spawn(move || {
        for signal in &mut signals {
            let again = ASKED.swap(signal, Ordering::SeqCst) != 0;
            // A terminal that closes may say so twice, itself and through its shell.
            if !WATCHED.load(Ordering::SeqCst) || (again && signal != SIGHUP) {
                std::process::exit(exit_code(signal).into());
            }
            tell(
                &bar,
                "stopping after this step; a second signal stops at once and keeps the last checkpoint",
            );
        }
    });
    Ok(&ASKED)
}

/// Whether the program was started so that a closed terminal does not end it (`nohup`), or the system does not say.
#[cfg(unix)]
fn may_outlive_its_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The first bit is signal 1, SIGHUP.
    ignored.is_none_or(|mask| mask & 1 != 0)
}

/// Elsewhere an interrupt ends the program at once, and the last checkpoint stands.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn on_signal(_: &ProgressBar) -> io::Result<&'static AtomicI32> {
    WATCHED.store(true, Ordering::SeqCst);
    Ok(&ASKED)
}
