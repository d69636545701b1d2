//! Ctrl-C, `kill` and a closed terminal: the run ends after the step in progress, saved.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;

use indicatif::ProgressBar;

/// What a program ends with when a signal ended it, as shells have it.
pub fn exit_code(signal: i32) -> u8 {
    128 + signal as u8
}

/// From now on, 0 until SIGINT, SIGTERM or SIGHUP comes, then its number. A second one ends the program at once.
#[cfg(unix)]
pub fn on_signal(bar: &ProgressBar) -> io::Result<Arc<AtomicI32>> {
    use std::sync::atomic::Ordering;

    use fieldmark_trainer::training::train::tell;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let stop = Arc::new(AtomicI32::new(0));
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !may_outlive_its_terminal() {
        signals.add_signal(SIGHUP)?;
    }
    let (bar, asked) = (bar.clone(), Arc::clone(&stop));
    std::thread::spawn(move || {
        for signal in &mut signals {
            // A terminal that closes may say so twice, itself and through its shell.
            if asked.swap(signal, Ordering::Relaxed) != 0 && signal != SIGHUP {
                std::process::exit(exit_code(signal).into());
            }
            tell(
                &bar,
                "stopping after this step; a second signal stops at once and keeps the last checkpoint",
            );
        }
    });
    Ok(stop)
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
#[cfg(not(unix))]
pub fn on_signal(_: &ProgressBar) -> io::Result<Arc<AtomicI32>> {
    Ok(Arc::default())
}
