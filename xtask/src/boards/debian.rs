//! Files of Debian's packages, without installing any: what the machine has stays as it is, and nobody has to be root.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{output, run};

/// Where Debian 12 has newer versions of some packages.
const BACKPORTS: &str = "bookworm-backports";

/// Unpacks packages into the folder `into`, from the backports those that are there. apt keeps its lists in a folder of
/// ours, which is gone afterwards.
///
/// # Errors
/// No apt, or no such package.
pub fn unpack(packages: &[&str], into: &Path) -> Result<()> {
    let state = into.join("apt");
    let lay_out = || {
        for folder in ["lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(state.join(folder))?;
        }
        fs::write(state.join("status"), "")?;
        fs::write(state.join("sources.list"), sources())?;
        fs::write(state.join("apt.conf"), configuration(&state))
    };
    lay_out().with_context(|| format!("cannot write to {}", state.display()))?;
    let downloads = state.join("packages");
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.arg("--quiet=2").args(words).env("APT_CONFIG", state.join("apt.conf")).current_dir(&downloads);
        apt
    };
    // A broken list of one archive should not keep us from the others.
    let lists = run(&mut apt(&["update"]));
    let mut download = apt(&["download"]);
    if is_bookworm() {
        download.args(["--target-release", BACKPORTS]);
    }
    run(download.args(packages)).or_else(|error| lists.and(Err(error)))?;
    for package in output(Command::new("ls").arg(&downloads))?.lines() {
        run(Command::new("dpkg-deb").arg("--extract").arg(downloads.join(package)).arg(into))?;
    }
    fs::remove_dir_all(&state).with_context(|| format!("cannot remove {}", state.display()))
}

fn is_bookworm() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| text.contains("VERSION_CODENAME=bookworm"))
}

/// The machine's own list, and the backports where they are of use.
fn sources() -> String {
    let own = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let backports = format!("deb http://deb.debian.org/debian {BACKPORTS} main\n");
    if is_bookworm() { format!("{own}\n{backports}") } else { own }
}

fn configuration(state: &Path) -> String {
    let state = state.display();
    format!(
        "Dir::State \"{state}\";\nDir::State::lists \"{state}/lists\";\nDir::State::status \"{state}/status\";\n\
         Dir::Cache \"{state}/cache\";\nDir::Etc::SourceList \"{state}/sources.list\";\n\
         APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n"
    )
}
