//! Ctrl-C and `kill`: the run ends after the step in progress, saved.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;

use indicatif::ProgressBar;

/// What a program ends with when a signal ended it, as shells have it.
pub fn exit_code(signal: i32) -> u8 {
    128 + signal as u8
}

/// From now on, 0 until SIGINT or SIGTERM comes, then its number. A second one ends the program at once.
#[cfg(unix)]
pub fn on_signal(bar: &ProgressBar) -> io::Result<Arc<AtomicI32>> {
    use std::sync::atomic::Ordering;

    use fieldmark_trainer::train::tell;
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let stop = Arc::new(AtomicI32::new(0));
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (bar, asked) = (bar.clone(), Arc::clone(&stop));
    std::thread::spawn(move || {
        for signal in &mut signals {
            if asked.swap(signal, Ordering::Relaxed) != 0 {
                std::process::exit(exit_code(signal).into());
            }
            tell(&bar, "stopping after this step; once more stops at once, and the last checkpoint stands");
        }
    });
    Ok(stop)
}

/// Elsewhere an interrupt ends the program at once, and the last checkpoint stands.
#[cfg(not(unix))]
pub fn on_signal(_: &ProgressBar) -> io::Result<Arc<AtomicI32>> {
    Ok(Arc::default())
}
