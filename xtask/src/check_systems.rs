//! `cargo xtask check-systems`: everything compiles for the systems that people train on besides Linux.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{Act, cargo, make_executable, run, workspace};
use crate::toolchain::bring;

/// Windows with Microsoft's tools and with MinGW, and macOS.
pub const TARGETS: [&str; 3] = ["x86_64-pc-windows-msvc", "x86_64-pc-windows-gnu", "aarch64-apple-darwin"];

/// Build scripts of two packages (tract-linalg, alloca) compile C and assembly for the target. Where code is only checked
/// nothing is linked, so a compiler that makes nothing does, and an archiver that makes the empty file it is asked for.
const STAND_IN: &str = "#!/bin/sh
for word in \"$@\"; do case $word in -out:*) : > \"${word#-out:}\" ;; esac; done
";

/// Checks all crates with all their targets, for each of these systems.
///
/// # Errors
/// A system whose standard library cannot be had, or what does not compile.
pub fn check_systems() -> Result<()> {
    if cfg!(not(unix)) {
        bail!("the other systems are checked on Linux or macOS; here: cargo check --workspace --all-targets");
    }
    for target in TARGETS {
        bring(target)?;
    }
    let stand_in = workspace()?.target.join("check-systems/cc");
    Act::REAL.write(&stand_in, STAND_IN)?;
    make_executable(&stand_in)?;
    run(&mut check(&TARGETS, &stand_in))
}

/// In one go, so that what all of them need, like macros, is compiled once.
fn check(targets: &[&str], stand_in: &Path) -> Command {
    let mut check = cargo();
    check.args(["check", "--locked", "--workspace", "--all-targets"]);
    for target in targets {
        let variable = target.replace('-', "_");
        check.args(["--target", target]);
        check.envs(["CC", "AR"].map(|tool| (format!("{tool}_{variable}"), PathBuf::from(stand_in))));
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::line;

    #[test]
    fn all_systems_are_checked_in_one_go_without_their_c_compilers() {
        assert_eq!(
            line(&check(&TARGETS[1..], Path::new("/t/cc"))),
            "AR_aarch64_apple_darwin=/t/cc AR_x86_64_pc_windows_gnu=/t/cc \
             CC_aarch64_apple_darwin=/t/cc CC_x86_64_pc_windows_gnu=/t/cc \
             cargo check --locked --workspace --all-targets --target x86_64-pc-windows-gnu --target aarch64-apple-darwin"
        );
    }
}
