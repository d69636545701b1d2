//! What a bench's own process has taken, for the benches that say both.

use std::fs;

use anyhow::{Context, Result};
#[cfg(unix)]
use rustix::time::{ClockId, clock_gettime};

/// Processor time of all threads of this process.
#[cfg(unix)]
pub fn cpu_milliseconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 * 1e-6
}

/// No number: Windows is not asked.
#[cfg(not(unix))]
pub fn cpu_milliseconds() -> f64 {
    f64::NAN
}

/// A line of Linux's `/proc/self/status`: `VmRSS:` is the memory now, `VmHWM:` the most there ever was.
pub fn memory_bytes(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes = kibibytes.with_context(|| format!("no {name} in /proc/self/status"))?;
    Ok(kibibytes.parse::<u64>()? * 1024)
}
