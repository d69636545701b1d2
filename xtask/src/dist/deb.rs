//! Debian packages, by Debian's own `dpkg-deb`: a tree of files and one text. cargo-deb would save nothing but that text,
//! and guesses what a program for another processor depends on.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use fieldmark_boards::Version;
use fieldmark_programs::elf::glibc;

use super::files::Contents;
use super::program::Program;
use crate::process::{Act, output};

/// What dpkg knows a package by.
pub struct Package {
    /// What it holds.
    pub program: Program,
    /// The program's name, or what it is called for another core of the same architecture.
    pub name: &'static str,
    /// Debian's: `arm64`.
    pub architecture: &'static str,
    /// The program's.
    pub version: &'static str,
}

impl Package {
    /// Packs `tree` into `made`.
    ///
    /// # Errors
    /// No dpkg-deb or readelf, and a program that needs a library of which it is not known what brings it.
    pub fn build(&self, tree: &Path, contents: &Contents, made: &Path) -> Result<()> {
        let depends = depends(&libraries(contents.file)?, glibc(contents.file)?)?;
        let control = self.control(&depends, kilobytes(tree)?);
        Act::REAL.write(&tree.join("DEBIAN/control"), control)?;
        let mut build = Command::new("dpkg-deb");
        build.env("SOURCE_DATE_EPOCH", contents.epoch);
        build.args(["--root-owner-group", "-Zxz", "--build"]).arg(tree);
        let file = format!("{}_{}_{}.deb", self.name, self.version, self.architecture);
        let said = Act::REAL.output(build.arg(made.join(file)), "");
        said.map(drop).context("no package; dpkg-deb comes with Debian's dpkg")
    }

    fn control(&self, depends: &str, kilobytes: u64) -> String {
        let Package { program, name, architecture, version } = self;
        let usual = program.name();
        let mut control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n\
             Maintainer: The Fieldmark developers\nInstalled-Size: {kilobytes}\n\
             Section: science\nPriority: optional\n"
        );
        if !depends.is_empty() {
            let _ = writeln!(control, "Depends: {depends}");
        }
        if *name != usual {
            let _ = writeln!(control, "Provides: {usual}\nConflicts: {usual}\nReplaces: {usual}");
        }
        control + &format!("Description: {}\n", program.description())
    }
}

/// The libraries that the system's dynamic linker looks for; none of a static program.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let mut readelf = Command::new("readelf");
    let text = output(readelf.env("LC_ALL", "C").args(["--wide", "--dynamic"]).arg(program))?;
    let names = text.split("Shared library: [").skip(1).filter_map(|rest| rest.split(']').next());
    Ok(names.map(str::to_owned).collect())
}

fn depends(libraries: &[String], glibc: Option<Version>) -> Result<String> {
    let mut depends = Vec::new();
    if let Some((major, minor)) = glibc {
        depends.push(format!("libc6 (>= {major}.{minor})"));
    }
    for library in libraries {
        match library.split(".so").next().unwrap_or_default() {
            "libgcc_s" => depends.push("libgcc-s1 | libgcc1".to_owned()),
            "libc" | "libm" | "libdl" | "libpthread" | "librt" => {}
            name if name.starts_with("ld-linux") => {}
            _ => bail!("the program needs {library}, and nobody has said which package brings it"),
        }
    }
    Ok(depends.join(", "))
}

fn kilobytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let file = entry.metadata()?;
        sum += if file.is_dir() { kilobytes(&entry.path())? } else { file.len().div_ceil(1024) };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_depends_on_what_its_program_needs() {
        let libraries =
            ["libgcc_s.so.1", "libm.so.6", "libc.so.6", "ld-linux-aarch64.so.1"].map(String::from);
        assert_eq!(depends(&libraries, Some((2, 34))).unwrap(), "libc6 (>= 2.34), libgcc-s1 | libgcc1");
        assert_eq!(depends(&[], None).unwrap(), "");
        assert!(depends(&["libssl.so.3".to_owned()], None).is_err());
    }

    #[test]
    fn packages_of_one_architecture_exclude_each_other() {
        let control = |program, name, architecture| {
            Package { program, name, architecture, version: "0.1.0" }.control("", 9)
        };
        let armv6 = control(Program::Fieldmark, "fieldmark-armv6", "armhf");
        assert!(armv6.contains("Architecture: armhf\n") && armv6.contains("\nConflicts: fieldmark\n"));
        assert!(!armv6.contains("Depends"), "{armv6}");
        // Whoever trains may predict on the same machine.
        let trainer = control(Program::FieldmarkTrainer, "fieldmark-trainer", "amd64");
        assert!(
            trainer.contains("Package: fieldmark-trainer\n") && !trainer.contains("Conflicts"),
            "{trainer}"
        );
    }
}
