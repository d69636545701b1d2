//! The board at the other end of ssh.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use fieldmark_programs::process::{Act, line, on_path};

use crate::say;

/// What ssh ends with when it has no connection, or lost it.
const NO_CONNECTION: i32 = 255;

/// Where a connection that hangs is given up: the system would wait for minutes, or for ever.
const PATIENCE: [&str; 6] =
    ["-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"];

/// How a board is reached.
pub struct Remote {
    host: String,
    ssh: PathBuf,
    scp: PathBuf,
    options: Vec<OsString>,
    dry_run: bool,
}

/// How a script ended.
pub struct Ended {
    /// What it wrote to stdout.
    pub out: String,
    status: ExitStatus,
}

impl Ended {
    /// The script's exit code; `None` where the connection broke or a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code().filter(|code| *code != NO_CONNECTION)
    }
}

impl Remote {
    /// The board that `ssh HOST` reaches, with the user's configuration or another.
    ///
    /// # Errors
    /// No ssh or scp, and a host that would be taken for an option, a URL or a path.
    pub fn new(host: &str, config: Option<&Path>, dry_run: bool) -> Result<Remote> {
        check(host)?;
        let mut options: Vec<OsString> = PATIENCE.map(OsString::from).into();
        if let Some(config) = config {
            options.extend(["-F".into(), config.into()]);
        }
        Ok(Remote { host: host.to_owned(), ssh: client("ssh")?, scp: client("scp")?, options, dry_run })
    }

    /// Runs a script there, in the home folder, after the assignments of `settings`.
    ///
    /// Scripts stand in braces: a shell that has not read all of one, as the connection broke, runs none of it.
    ///
    /// # Errors
    /// ssh does not start. How the script ended is for the caller to judge.
    pub fn run(&self, settings: &str, script: &str) -> Result<Option<Ended>> {
        let mut ssh = Command::new(&self.ssh);
        ssh.args(&self.options).arg("--").arg(&self.host).args(["sh", "-s"]);
        let said = line(&ssh);
        say::aside(&format!(
            "$ {said}    # {}",
            script.lines().next().unwrap_or_default().trim_start_matches("# ")
        ));
        if self.dry_run {
            for line in settings.lines().chain(script.lines()) {
                say::aside(&format!("    {line}"));
            }
            return Ok(None);
        }
        let mut child = ssh
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{said}`"))?;
        let mut stdin = child.stdin.take().context("ssh takes no input")?;
        // A connection that breaks shows in how ssh ends.
        let _ = stdin.write_all(settings.as_bytes()).and_then(|()| stdin.write_all(script.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().with_context(|| format!("cannot wait for `{said}`"))?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Some(Ended { out, status: output.status }))
    }

    /// Copies files into a folder there whose name needs no quotes.
    ///
    /// # Errors
    /// scp's failure.
    pub fn copy(&self, files: &[&Path], folder: &str) -> Result<()> {
        let mut scp = Command::new(&self.scp);
        scp.args(&self.options).arg("--").args(files).arg(format!("{}:{folder}/", for_scp(&self.host)));
        Act { dry_run: self.dry_run }.run(&mut scp)
    }
}

/// Refuses what ssh and scp would not take for the same host.
fn check(host: &str) -> Result<()> {
    let is_host = !host.is_empty()
        && !host.starts_with('-')
        && !host.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
    ensure!(is_host, "{host:?} is no host; type user@host (a port goes into the ssh configuration)");
    Ok(())
}

/// A host as scp takes it: an IPv6 address in brackets, as a path follows its colons. ssh takes it without.
fn for_scp(host: &str) -> String {
    let (user, address) = host.split_at(host.rfind('@').map_or(0, |at| at + 1));
    let is_ipv6 = !address.starts_with('[') && address.matches(':').count() >= 2;
    if is_ipv6 { format!("{user}[{address}]") } else { host.to_owned() }
}

fn client(name: &str) -> Result<PathBuf> {
    on_path(name)
        .with_context(|| format!("{name} is missing; install an SSH client (Debian: openssh-client)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_host_is_refused() {
        for host in ["", "-oProxyCommand=x", "ssh://pi@board", "board/x", "pi board", "board\n", "board\u{7}"]
        {
            let error = check(host).unwrap_err().to_string();
            assert!(error.contains(&format!("{host:?}")) && error.contains("user@host"), "{error}");
        }
        for host in ["board", "pi@board.local", "fe80::1%eth0", "pi@192.168.0.7"] {
            check(host).unwrap();
        }
    }

    #[test]
    fn scp_takes_an_ipv6_address_in_brackets() {
        for (host, expected) in [
            ("pi@board", "pi@board"),
            ("fe80::1%eth0", "[fe80::1%eth0]"),
            ("pi@::1", "pi@[::1]"),
            ("pi@[::1]", "pi@[::1]"),
        ] {
            assert_eq!(for_scp(host), expected);
        }
    }
}
