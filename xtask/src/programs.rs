//! `cargo xtask programs`: programs of others that chores and tests start, and what brings them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::process::{on_path, run};

struct Program {
    name: &'static str,
    /// Debian's and Ubuntu's package.
    package: &'static str,
    why: &'static str,
}

const PROGRAMS: [Program; 4] = [
    Program { name: "qemu-system-arm", package: "qemu-system-arm", why: "cargo xtask bare-metal" },
    Program { name: "sshd", package: "openssh-server", why: "the tests of fieldmark-trainer deploy" },
    Program { name: "ssh", package: "openssh-client", why: "fieldmark-trainer deploy" },
    Program { name: "scp", package: "openssh-client", why: "fieldmark-trainer deploy" },
];

/// What no chore of CI starts, and `--install` does not bring.
const ON_DEMAND: [Program; 2] = [
    Program { name: "x86_64-w64-mingw32-gcc", package: "gcc-mingw-w64-x86-64", why: "cargo xtask windows" },
    Program { name: "wine64", package: "wine64", why: "cargo xtask windows --wine" },
];

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Bring what is missing with apt-get
    #[arg(long)]
    install: bool,
}

/// Says where each program is, and which are missing.
///
/// # Errors
/// One is missing, and what brings it; or apt-get's failure.
pub fn programs(options: &Options) -> Result<()> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|program| on_path(program.name).is_none()).collect();
    if options.install && !missing.is_empty() {
        let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
        apt_get(&packages).with_context(|| format!("could not install {}", packages.join(", ")))?;
    }
    for Program { name, why, .. } in &PROGRAMS {
        println!("{name:22} {}, for {why}", found(name)?.display());
    }
    for Program { name, package, why } in &ON_DEMAND {
        let path = on_path(name).map_or(format!("missing ({package})"), |path| path.display().to_string());
        println!("{name:22} {path}, for {why}");
    }
    Ok(())
}

/// Where a program is, which one of the lists above may name.
///
/// # Errors
/// It is missing, and what brings it.
pub fn found(name: &str) -> Result<PathBuf> {
    if let Some(path) = on_path(name) {
        return Ok(path);
    }
    if let Some(Program { package, why, .. }) = ON_DEMAND.iter().find(|program| program.name == name) {
        bail!("{name} is missing, for {why}; on Debian: apt-get install {package}");
    }
    let package =
        PROGRAMS.iter().find(|program| program.name == name).map_or(name, |program| program.package);
    bail!("{name} is missing; on Debian: apt-get install {package}, or cargo xtask programs --install")
}

fn apt_get(packages: &[&str]) -> Result<()> {
    let install = || {
        let mut install = Command::new("apt-get");
        install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
        run(install.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // Lists that are missing or out of date are the usual reason.
    install().or_else(|_| run(Command::new("apt-get").arg("update")).and_then(|()| install()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        assert!(found("sh").is_ok());
        let error = found("no-such-program").unwrap_err().to_string();
        assert!(error.starts_with("no-such-program is missing; on Debian: apt-get install "), "{error}");
    }
}
