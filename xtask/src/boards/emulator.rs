//! qemu's user emulation: runs a board's program on this machine as the board's core would.
//!
//! Version 10 also shows a program the core's own `/proc/cpuinfo`, where tract looks for FP16 and 32-bit NEON. Debian
//! 12 has it among its backports; it is unpacked into the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use fieldmark_boards::{Emulator, Libc, Variant};

use super::debian::unpack;
use crate::process::{cache_folder, output, succeeds};

/// The first whose emulated `/proc/cpuinfo` is complete.
const WHOLE: u32 = 10;

/// A board's processor.
pub struct Machine {
    /// The emulator with its options; empty where this machine is one itself.
    words: Vec<String>,
}

/// Finds the emulator of `variant` and the C library for it, or brings them; says in one line what was chosen.
///
/// # Errors
/// There is none, with the command that brings one.
pub fn machine(variant: &Variant) -> Result<Machine> {
    let Some(Emulator { program, cpu }) = variant.emulator else {
        eprintln!("# emulator: none, this machine is one");
        return Ok(Machine { words: Vec::new() });
    };
    let folder = cache_folder("emulator")?;
    let path = emulator(program, &folder)?;
    let mut words = vec![path.display().to_string(), "-cpu".to_owned(), cpu.to_owned()];
    if variant.libc != Libc::Musl {
        words.extend(["-L".to_owned(), system(program, &folder)?.display().to_string()]);
    }
    eprintln!("# emulator: {} {}", version(&path).unwrap_or_default(), words.join(" "));
    Ok(Machine { words })
}

/// The emulator of `variant` and its processor, for a program that starts others in a whole system; `None` where
/// this machine is one itself.
///
/// # Errors
/// As [`machine`].
pub fn processor(variant: &Variant) -> Result<Option<(PathBuf, &'static str)>> {
    let Some(Emulator { program, cpu }) = variant.emulator else { return Ok(None) };
    Ok(Some((emulator(program, &cache_folder("emulator")?)?, cpu)))
}

impl Machine {
    /// A program of the board, which is ended after `limit`: a hang would otherwise last as long as CI lets it.
    pub fn command(&self, program: &Path, limit: Duration) -> Command {
        let mut command = Command::new("timeout");
        command.arg(limit.as_secs().to_string()).args(&self.words).arg(program);
        command
    }
}

/// The unpacked one, else one on the path that is new enough, else Debian's unpacked, else whichever is on the path.
fn emulator(name: &'static str, folder: &Path) -> Result<PathBuf> {
    let unpacked = folder.join("qemu/usr/bin").join(name);
    let on_path = version(Path::new(name));
    let is_whole = on_path.as_deref().and_then(major).is_some_and(|major| major >= WHOLE);
    if version(&unpacked).is_some() {
        return Ok(unpacked);
    }
    if is_whole {
        return Ok(name.into());
    }
    let tried = fetched("qemu", folder, &["qemu-user"], &format!("usr/bin/{name}"));
    match (tried, on_path) {
        (Ok(path), _) if version(&path).is_some() => Ok(path),
        (tried, Some(version)) => {
            let reason =
                tried.err().map_or("it does not start here".to_owned(), |error| format!("{error:#}"));
            eprintln!(
                "# no newer emulator ({reason}); {version} shows programs this machine's /proc/cpuinfo, so that tract does \
                 not see the core's FP16, or NEON on 32 bits"
            );
            Ok(name.into())
        }
        (tried, None) => {
            tried
                .map(|_| ())
                .with_context(|| format!("no {name}; install it (Debian: apt-get install qemu-user)"))?;
            anyhow::bail!(
                "{name} of Debian's package qemu-user does not start here; install another on the path"
            )
        }
    }
}

/// The folder with the boards' dynamic linker and C library: Debian's cross compiler brought it, or its package is unpacked.
fn system(emulator: &str, folder: &Path) -> Result<PathBuf> {
    let (triple, package, linker) = match emulator {
        "qemu-arm" => ("arm-linux-gnueabihf", "libc6-armhf-cross", "lib/ld-linux-armhf.so.3"),
        _ => ("aarch64-linux-gnu", "libc6-arm64-cross", "lib/ld-linux-aarch64.so.1"),
    };
    let installed = Path::new("/usr").join(triple);
    if installed.join(linker).exists() {
        return Ok(installed);
    }
    let unpacked = folder.join(package).join("usr").join(triple);
    if !unpacked.join(linker).exists() {
        let gcc = package.replace("libc6", "libgcc-s1");
        fetched(package, folder, &[package, &gcc], &format!("usr/{triple}/{linker}")).with_context(|| {
            format!("no C library for {emulator}; install it (Debian: apt-get install {package})")
        })?;
    }
    Ok(unpacked)
}

/// Unpacks packages into `folder/name`, whole or not at all; returns where `file` of them is.
fn fetched(name: &str, folder: &Path, packages: &[&str], file: &str) -> Result<PathBuf> {
    let whole = folder.join(name);
    let unfinished = folder.join(format!("{name}.unfinished"));
    for old in [&unfinished, &whole] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    unpack(packages, &unfinished)?;
    fs::rename(&unfinished, &whole).with_context(|| format!("cannot finish {}", whole.display()))?;
    let file = whole.join(file);
    fs::metadata(&file).with_context(|| format!("{packages:?} have no {}", file.display()))?;
    Ok(file)
}

/// `qemu-aarch64 version 10.0.2 (Debian ...)`, if it starts.
fn version(emulator: &Path) -> Option<String> {
    if !succeeds(Command::new(emulator).arg("--version")) {
        return None;
    }
    let text = output(Command::new(emulator).arg("--version")).ok()?;
    text.lines().next().map(str::to_owned)
}

fn major(version: &str) -> Option<u32> {
    version.split("version ").nth(1)?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_says_its_version() {
        assert_eq!(major("qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7)"), Some(7));
        assert_eq!(major("qemu-arm version 10.0.2 (Debian 1:10.0.2+ds-2)"), Some(10));
        assert_eq!(major("no emulator"), None);
    }

    #[test]
    fn a_board_s_program_runs_within_its_time() {
        let machine = Machine { words: ["qemu-arm", "-cpu", "arm1176"].map(str::to_owned).to_vec() };
        let command = machine.command(Path::new("fieldmark"), Duration::from_secs(9));
        assert_eq!(crate::process::line(&command), "timeout 9 qemu-arm -cpu arm1176 fieldmark");
    }
}
