//! Starts programs, and says what it starts.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

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

/// A line on stderr. What stderr is may be full or gone, and work goes on without.
pub fn aside(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Runs a program to its end, after printing its command line on stderr.
///
/// # Errors
/// [`Failed`], or the system's reason why it did not start.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    aside(&format!("$ {line}"));
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

/// What a program's end means; `line` names it.
///
/// # Errors
/// [`Failed`].
pub fn checked(line: String, status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(Failed { line, status }.into()) }
}

/// What a command does, or with `dry_run` only says.
pub struct Act {
    /// Programs are printed and not started, files are named and not touched.
    pub dry_run: bool,
}

impl Act {
    /// Does it.
    pub const REAL: Act = Act { dry_run: false };

    /// As [`run`].
    ///
    /// # Errors
    /// Those of [`run`].
    pub fn run(&self, command: &mut Command) -> Result<()> {
        if self.dry_run {
            aside(&format!("$ {}", line(command)));
            return Ok(());
        }
        run(command)
    }

    /// As [`output`], but prints the command line, and is `instead` where nothing is started.
    ///
    /// # Errors
    /// Those of [`output`].
    pub fn output(&self, command: &mut Command, instead: &str) -> Result<String> {
        aside(&format!("$ {}", line(command)));
        if self.dry_run { Ok(instead.to_owned()) } else { output(command) }
    }

    /// Writes a file and its folder; one that is right already keeps its time, so that cargo builds nothing anew.
    ///
    /// # Errors
    /// The file's path and the system's reason.
    pub fn write(&self, path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
        let content = content.as_ref();
        if fs::read(path).is_ok_and(|present| present == content) || self.says("write", path) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(path, content))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Copies a file with its permissions.
    ///
    /// # Errors
    /// Both paths and the system's reason.
    pub fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        if self.says(&format!("copy {} to", from.display()), to) {
            return Ok(());
        }
        let folder = to.parent().unwrap_or(to);
        fs::create_dir_all(folder)
            .and_then(|()| fs::copy(from, to))
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }

    /// Removes a folder with all that is in it, if it is there.
    ///
    /// # Errors
    /// Its path and the system's reason.
    pub fn remove_folder(&self, folder: &Path) -> Result<()> {
        if !folder.exists() || self.says("remove", folder) {
            return Ok(());
        }
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
    }

    /// Says what would be done where it is not; whether it did.
    fn says(&self, what: &str, path: &Path) -> bool {
        if self.dry_run {
            aside(&format!("# {what} {}", path.display()));
        }
        self.dry_run
    }
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

/// A program in the folders that shells look into, in those of administrators, which a user's shell leaves out, and where
/// Debian's package of the 64-bit Wine alone has it.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/lib/wine"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| is_program(path))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.with_extension("exe").is_file()
}

/// Our folder for `what` in `XDG_CACHE_HOME` or what stands for it.
///
/// # Errors
/// Nothing says where.
pub fn cache_folder(what: &str) -> Result<PathBuf> {
    let from = |name: &str| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let folder = from("XDG_CACHE_HOME")
        .or_else(|| from("LOCALAPPDATA"))
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .context("no cache folder: HOME is not set; set XDG_CACHE_HOME")?;
    Ok(folder.join("fieldmark").join(what))
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
