//! What Linux tells of the machine under `/proc` and `/sys`; elsewhere, nothing.

use std::fmt;
use std::fs;

use serde::Serialize;

/// What changes while it works.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sensors {
    /// Of the first thermal zone, which is the processor's on boards.
    pub celsius: Option<f64>,
    /// Clock of the first core.
    pub megahertz: Option<f64>,
    /// What a Raspberry Pi's kernel last heard of its being held back; bits of the past may have been cleared since. `None`
    /// on others.
    pub throttled: Option<Vec<&'static str>>,
}

impl Sensors {
    /// As they are now.
    pub fn read() -> Sensors {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<f64>().ok();
        let throttled = fs::read_to_string("/sys/devices/platform/soc/soc:firmware/get_throttled").ok();
        Sensors {
            celsius: number("/sys/class/thermal/thermal_zone0/temp").map(|thousandths| thousandths / 1000.0),
            megahertz: number("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
                .map(|khz| khz / 1000.0),
            throttled: throttled.and_then(|bits| throttled_words(&bits)),
        }
    }
}

impl fmt::Display for Sensors {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.celsius.map(|celsius| format!("{celsius:.0} degrees Celsius")));
        parts.extend(self.megahertz.map(|megahertz| format!("{megahertz:.0} MHz")));
        parts.extend(self.throttled.as_ref().map(|words| match words.as_slice() {
            [] => "no throttling reported".to_string(),
            words => words.join(", "),
        }));
        f.write_str(if parts.is_empty() { "the system tells nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// The bits of `vcgencmd get_throttled` in words, as Raspberry Pi documents them; the file has them in hexadecimal.
fn throttled_words(bits: &str) -> Option<Vec<&'static str>> {
    const WORDS: [(u32, &str); 8] = [
        (0, "voltage too low now"),
        (1, "clock capped now"),
        (2, "throttled now"),
        (3, "soft temperature limit now"),
        (16, "voltage was too low"),
        (17, "clock was capped"),
        (18, "was throttled"),
        (19, "soft temperature limit was reached"),
    ];
    let bits = u32::from_str_radix(bits.trim().trim_start_matches("0x"), 16).ok()?;
    Some(WORDS.iter().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, word)| *word).collect())
}

/// The board by its device tree, else the processor.
pub fn processor() -> Option<String> {
    let board = fs::read_to_string("/proc/device-tree/model").ok();
    let board = board.map(|name| name.trim_end_matches('\0').trim().to_string());
    board.filter(|name| !name.is_empty()).or_else(|| {
        let text = fs::read_to_string("/proc/cpuinfo").ok()?;
        let names = text.lines().filter_map(|line| line.split_once(':'));
        let mut names = names.filter(|(key, _)| ["model name", "Model", "Hardware"].contains(&key.trim()));
        names.next().map(|(_, name)| name.trim().to_string())
    })
}

/// Seconds that all threads of this process together have been on a processor.
#[cfg(target_os = "linux")]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it is not known")]
pub fn processor_seconds() -> Option<f64> {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

/// Not known elsewhere.
#[cfg(not(target_os = "linux"))]
pub fn processor_seconds() -> Option<f64> {
    None
}

/// The most memory that this process ever had.
pub fn peak_memory_mib() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kibibytes| kibibytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_is_told_in_words() {
        assert_eq!(throttled_words("0\n"), Some(vec![]));
        assert_eq!(throttled_words("50005\n").unwrap().len(), 4);
        assert_eq!(throttled_words("0x2"), Some(vec!["clock capped now"]));
        assert_eq!(throttled_words("?"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processor_time_is_that_of_all_threads() {
        use rustix::time::{ClockId, clock_gettime};
        /// Nanoseconds.
        const EACH: f64 = 50e6;
        let before = processor_seconds().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    // Since the thread began.
                    while (clock_gettime(ClockId::ThreadCPUTime).tv_nsec as f64) < EACH {
                        std::hint::spin_loop();
                    }
                });
            }
        });
        let passed = processor_seconds().unwrap() - before;
        assert!(passed >= 2e-9 * EACH, "{passed}");
    }

    #[test]
    fn sensors_that_are_not_there_are_said_so() {
        assert_eq!(Sensors::default().to_string(), "the system tells nothing");
        let hot = Sensors { celsius: Some(81.4), throttled: Some(vec![]), ..Sensors::default() };
        assert_eq!(hot.to_string(), "81 degrees Celsius, no throttling reported");
    }
}
