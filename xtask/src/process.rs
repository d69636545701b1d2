//! Starts programs, and says what it starts.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// A program that ended with anything but success.
#[derive(Debug)]
pub struct Failed {
    /// The command line.
    line: String,
    status: ExitStatus,
}

impl Failed {
    /// The program's own exit code, or 1 where a signal ended it.
    pub fn exit_code(&self) -> ExitCode {
        let code = self.status.code().and_then(|code| u8::try_from(code).ok());
        ExitCode::from(code.filter(|code| *code != 0).unwrap_or(1))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed ({})", self.line, self.status)
    }
}

impl Error for Failed {}

/// Runs a program to its end, after printing its command line on stderr.
///
/// # Errors
/// [`Failed`], or the system's reason why it did not start.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    checked(line, status)
}

/// As [`run`], but returns what the program wrote to stdout, and prints no command line.
///
/// # Errors
/// As [`run`], and text that is not UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{line}`"))?;
    checked(line, output.status)?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a program starts and ends well; what it says is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn checked(line: String, status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(Failed { line, status }.into()) }
}

/// The cargo that runs us, so that a toolchain chosen with `cargo +NAME xtask` stays chosen.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Where the workspace is, and where cargo builds it.
pub struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
}

/// The workspace around the current folder.
///
/// # Errors
/// Those of `cargo metadata`.
pub fn workspace() -> Result<Workspace> {
    let json = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&json).context("cannot read what `cargo metadata` says")?;
    let folder = |key: &str| {
        let folder = metadata[key].as_str();
        folder.map(PathBuf::from).with_context(|| format!("`cargo metadata` says no {key}"))
    };
    Ok(Workspace { root: folder("workspace_root")?, target: folder("target_directory")? })
}

/// A command as one would type it, its program by name.
pub fn line(command: &Command) -> String {
    let settings = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let settings = settings.map(|(name, value)| format!("{}={}", name.to_string_lossy(), quoted(value)));
    let program = Path::new(command.get_program()).file_stem().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args()).map(quoted);
    settings.chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it.
pub fn quoted(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "_-./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `0.4 s`, `12 s`, `3 min 5 s`.
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds.round() as u64 {
        0..10 => format!("{seconds:.1} s"),
        whole @ 10..60 => format!("{whole} s"),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_typed_again() {
        let mut command = Command::new("bin/fieldmark");
        command.env("RUSTDOCFLAGS", "-D warnings").args(["predict", "it's a.jpg", "", "--top=3"]);
        assert_eq!(
            line(&command),
            r"RUSTDOCFLAGS='-D warnings' fieldmark predict 'it'\''s a.jpg' '' --top=3"
        );
    }

    #[test]
    fn durations_read_as_spoken() {
        for (millis, words) in
            [(420, "0.4 s"), (9_700, "10 s"), (59_900, "1 min 0 s"), (185_000, "3 min 5 s")]
        {
            assert_eq!(in_words(Duration::from_millis(millis)), words);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_failed_program_is_named_with_its_code() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'exit 3'` failed (exit status: 3)");
        let failed = error.downcast_ref::<Failed>().unwrap();
        assert_eq!(failed.exit_code(), ExitCode::from(3));
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = run(&mut Command::new("no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program`");
    }
}
