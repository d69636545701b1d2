//! Whether a program will start on a board, read from the file with `readelf`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fieldmark_boards::{Instructions, Libc, Variant, Version};

use crate::process::{aside, output};

/// What the file says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Needs {
    /// `AArch64`, `ARM`, ...
    machine: String,
    /// 32-bit ARM: `v6`, `v7`.
    arm: Option<String>,
    /// It is started by the system's dynamic linker.
    interpreter: bool,
    glibc: Option<Version>,
}

/// Refuses a program that would not start where a variant's programs go, on a system with `glibc` or later; says
/// what it needs.
///
/// # Errors
/// What the program needs and the board lacks.
pub fn starts(program: &Path, variant: &Variant, glibc: Version) -> Result<()> {
    let needs = read(program)?;
    aside(&format!("# {}: {}", program.display(), said(&needs)));
    fits(&needs, variant, glibc)
        .with_context(|| format!("{} would not start on the board", program.display()))
}

/// The glibc that a program needs; `None` if it is static.
///
/// # Errors
/// No readelf, or no program.
pub fn glibc(program: &Path) -> Result<Option<Version>> {
    Ok(read(program)?.glibc)
}

fn read(program: &Path) -> Result<Needs> {
    let mut readelf = Command::new("readelf");
    readelf.env("LC_ALL", "C");
    readelf.args(["--wide", "--file-header", "--program-headers", "--version-info", "--arch-specific"]);
    let text = output(readelf.arg(program))
        .context("cannot look what the program needs; install readelf (Debian: binutils)")?;
    Ok(needs(&text))
}

fn needs(text: &str) -> Needs {
    let after = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.next().map(|rest| rest.trim().to_owned())
    };
    let glibc = text.split("GLIBC_").skip(1).filter_map(version).max();
    Needs {
        machine: after("Machine:").unwrap_or_default(),
        arm: after("Tag_CPU_arch:"),
        interpreter: text.contains("Requesting program interpreter"),
        glibc,
    }
}

/// `2.27` at the start of a text.
fn version(text: &str) -> Option<Version> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut numbers = text[..end].split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn said(needs: &Needs) -> String {
    let Needs { machine, arm, glibc, .. } = needs;
    let arm = arm.as_deref().map_or(String::new(), |arm| format!(" {arm}"));
    let glibc = glibc.map_or("static".to_owned(), |(major, minor)| format!("glibc {major}.{minor}"));
    format!("{machine}{arm}, {glibc}")
}

fn fits(needs: &Needs, variant: &Variant, glibc: Version) -> Result<()> {
    let (machine, arm) = match variant.instructions {
        Instructions::Aarch64 => ("AArch64", None),
        Instructions::Armv7 => ("ARM", Some("v7")),
        Instructions::Armv6 => ("ARM", Some("v6")),
        Instructions::X86_64 => ("X86-64", None),
    };
    ensure!(needs.machine.ends_with(machine), "it is for {}, not {machine}", needs.machine);
    if let Some(arm) = arm {
        let built = needs.arm.as_deref().unwrap_or_default();
        ensure!(
            built.starts_with(arm),
            "it is for ARM{built}, the board is ARM{arm}: start files of another core"
        );
    }
    match (variant.libc, needs.glibc) {
        (Libc::Musl, _) => ensure!(!needs.interpreter, "it is not static"),
        (Libc::Glibc(_), None) => {}
        (Libc::Glibc(_), Some(needed)) => ensure!(
            needed <= glibc,
            "it needs glibc {}.{}, the board's is {}.{}; build it with zig",
            needed.0,
            needed.1,
            glibc.0,
            glibc.1
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fieldmark_boards::find;

    use super::*;

    fn variant(board: &str, bits: u8) -> &'static Variant {
        find(board, Some(bits)).unwrap().1
    }

    fn fits(text: &str, board: &str, bits: u8) -> String {
        let fits = super::fits(&needs(text), variant(board, bits), (2, 27));
        fits.map_or_else(|error| error.to_string(), |()| String::new())
    }

    const AARCH64: &str = "  Machine:                           AArch64
      [Requesting program interpreter: /lib/ld-linux-aarch64.so.1]
  0x0010:   Name: GLIBC_2.17  Flags: none  Version: 2
  0x0020:   Name: GLIBC_2.9  Flags: none  Version: 3";
    const ARMV7_STATIC: &str = "  Machine:   ARM\n  Tag_CPU_arch: v7\n";

    #[test]
    fn the_highest_glibc_counts_by_number() {
        let expected =
            Needs { machine: "AArch64".to_owned(), arm: None, interpreter: true, glibc: Some((2, 17)) };
        assert_eq!(needs(AARCH64), expected);
        assert_eq!(said(&expected), "AArch64, glibc 2.17");
    }

    #[test]
    fn a_program_that_would_not_start_is_refused() {
        let newer = AARCH64.replace("2.17", "2.34");
        assert_eq!(fits(AARCH64, "jetson-nano", 64), "");
        assert_eq!(
            fits(&newer, "jetson-nano", 64),
            "it needs glibc 2.34, the board's is 2.27; build it with zig"
        );
        assert_eq!(fits(AARCH64, "pi4", 32), "it is for AArch64, not ARM");
        assert_eq!(fits(AARCH64, "aarch64", 64), "it is not static");
        assert_eq!(
            fits(ARMV7_STATIC, "pi-zero", 32),
            "it is for ARMv7, the board is ARMv6: start files of another core"
        );
        assert_eq!(fits(&ARMV7_STATIC.replace("v7", "v6KZ"), "pi-zero", 32), "");
    }
}
