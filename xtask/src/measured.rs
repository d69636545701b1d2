//! Programs run with what they took: wall time, and processor time with that of all their children.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::{checked, line};

/// What a program took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// By the clock.
    pub wall: Duration,
    /// On all processors, with its children; none where the system does not tell (it is asked on Linux).
    pub cpu: Option<Duration>,
}

/// Runs a program to its end, whatever that is.
///
/// # Errors
/// The outcome alone: [`crate::process::Failed`], or the system's reason why it did not start.
pub fn run_measured(command: &mut Command) -> (Result<()>, Took) {
    let started = Instant::now();
    let line = line(command);
    let mut child = match command.spawn().with_context(|| format!("cannot start `{line}`")) {
        Ok(child) => child,
        Err(error) => return (Err(error), Took { wall: started.elapsed(), cpu: None }),
    };
    let cpu = cpu_at_end(&child);
    let outcome = child.wait().with_context(|| format!("cannot wait for `{line}`"));
    let took = Took { wall: started.elapsed(), cpu };
    (outcome.and_then(|status| checked(line, status)), took)
}

/// Waits for the end of a program without taking its record away, and reads it.
#[cfg(target_os = "linux")]
fn cpu_at_end(child: &Child) -> Option<Duration> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let pid = Pid::from_child(child);
    let is_ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), is_ended)).ok()?;
    let record = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    let ticks = ticks(&record)?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

#[cfg(not(target_os = "linux"))]
fn cpu_at_end(_child: &Child) -> Option<Duration> {
    None
}

/// The clock ticks in `/proc/PID/stat`: of the process and of its children that have ended, outside of the kernel and
/// inside.
#[cfg(any(target_os = "linux", test))]
fn ticks(record: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, which can hold anything.
    let (_, fields) = record.rsplit_once(") ")?;
    // The third field comes first here; the fourteenth to the seventeenth are meant.
    let ticks: Vec<u64> = fields.split(' ').skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    (ticks.len() == 4).then(|| ticks.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_the_process_s_and_its_children_s() {
        let record = "7 (a ) b) Z 1 7 7 0 -1 4227148 1 2 3 4 50 6 700 8 20 0 1 0 9 0 0";
        assert_eq!(ticks(record), Some(764));
        assert_eq!(ticks("7 (cut"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_is_measured_with_its_children_and_its_outcome_kept() {
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
        let (outcome, took) =
            run_measured(Command::new("sh").args(["-c", &format!("sh -c '{busy}'; exit 3")]));
        assert_eq!(outcome.unwrap_err().to_string().split('`').next_back(), Some(" failed (exit status: 3)"));
        assert!(took.cpu.unwrap() > Duration::ZERO && took.wall > Duration::ZERO);
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let (outcome, took) = run_measured(&mut Command::new("no-such-program"));
        assert_eq!(outcome.unwrap_err().to_string(), "cannot start `no-such-program`");
        assert_eq!(took.cpu, None);
    }
}
