//! Whether a run can fit into memory at all, told before it starts: when an allocation fails in the middle, all that a
//! program can do is to abort, and Linux may kill it without a word.

use std::fs;
use std::path::Path;

use crate::net::layer::{Layer, ShapeError, convolved, cost};
use crate::net::network::Network;
use crate::run::config::Config;

/// A run needs more memory than there is.
#[derive(Debug, thiserror::Error)]
#[error(
    "batches of {batch} pictures of {side} x {side} need at least {needed} MiB of memory, but there are {available} \
     MiB; choose a smaller batch or side"
)]
pub struct MemoryError {
    /// Pictures a batch.
    pub batch: usize,
    /// Input side.
    pub side: u32,
    /// MiB.
    pub needed: u64,
    /// MiB.
    pub available: u64,
}

/// Refuses a run on `pictures` pictures that cannot fit. One that is let pass takes up to three times the least and may
/// still not fit.
///
/// # Errors
/// [`MemoryError`].
pub fn refuse_too_little(network: &Network, config: &Config, pictures: usize) -> Result<(), MemoryError> {
    let layers = [network.trunk.as_slice(), network.head.as_slice()].concat();
    let batch = config.batch.min(pictures);
    // Layers that do not fit each other are told of where the network is built.
    let needed = least_bytes(&layers, config.side, batch).unwrap_or(0);
    match available_bytes() {
        Some(available) if needed > available => {
            Err(MemoryError { batch, side: config.side, needed: needed >> 20, available: available >> 20 })
        }
        _ => Ok(()),
    }
}

/// What no way of computing a step does without: of every convolution the backward pass needs what went in or what
/// came out; of every weight there are value, gradient and velocity.
fn least_bytes(layers: &[Layer], side: u32, batch: usize) -> Result<u64, ShapeError> {
    let input = [3, side as usize, side as usize];
    let values = convolved(layers, input)?.saturating_mul(batch as u64);
    Ok(values.saturating_add(3 * cost(layers, input)?.parameters).saturating_mul(4))
}

/// What this process may still take, where the system says (Linux): the smallest of the machine's, the container's and
/// the shell's limit (`ulimit -v`).
fn available_bytes() -> Option<u64> {
    let in_kib = |text: &str, name: &str| Some(number_after(text, name)? << 10);
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| Some(in_kib(&text, "MemAvailable:")? + in_kib(&text, "SwapFree:").unwrap_or(0)));
    let container = left_in_group(Path::new("/sys/fs/cgroup"));
    let limits = fs::read_to_string("/proc/self/limits").ok();
    let shell = limits.and_then(|text| {
        let limit = number_after(&text, "Max address space")?;
        let taken = in_kib(&fs::read_to_string("/proc/self/status").ok()?, "VmSize:")?;
        Some(limit.saturating_sub(taken))
    });
    [machine, container, shell].into_iter().flatten().min()
}

/// What a control group (version 2) may still take; `None` without a limit.
fn left_in_group(folder: &Path) -> Option<u64> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
    // "max" where there is no limit, which is no number.
    let limit = number_after(&read("memory.max")?, "")?;
    let used = read("memory.current").and_then(|text| number_after(&text, "")).unwrap_or(0);
    // Files that are only cached make room.
    let stat = read("memory.stat").unwrap_or_default();
    let cached = ["active_file ", "inactive_file "].map(|name| number_after(&stat, name).unwrap_or(0));
    Some(limit.saturating_sub(used.saturating_sub(cached.iter().sum())))
}

/// The number that follows `name` at the beginning of a line.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_take_what_it_has_not_and_what_it_only_caches() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        assert_eq!(left_in_group(folder.path()), None);
        write("memory.max", "max\n");
        assert_eq!(left_in_group(folder.path()), None);
        write("memory.max", "1000\n");
        assert_eq!(left_in_group(folder.path()), Some(1000));
        write("memory.current", "700\n");
        assert_eq!(left_in_group(folder.path()), Some(300));
        write("memory.stat", "anon 500\nfile 200\ninactive_file 150\nactive_file 40\n");
        assert_eq!(left_in_group(folder.path()), Some(490));
        write("memory.current", "2000\n");
        assert_eq!(left_in_group(folder.path()), Some(0));
    }
}
