//! Where everything goes, in an archive and in a system.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::program::Program;
use crate::process::{Act, run};

/// What is packed.
pub struct Contents<'a> {
    /// The workspace.
    pub root: &'a Path,
    /// Which program.
    pub program: Program,
    /// Where it is.
    pub file: &'a Path,
    /// Manual pages and completions.
    pub manual: &'a Path,
    /// Of all that is linked into the program.
    pub licences: String,
    /// Seconds since 1970 that files are from.
    pub epoch: &'a str,
}

/// A program's completions: as they are made and in an archive, and in a system.
fn completions(name: &str) -> [(String, String); 3] {
    [
        (format!("{name}.bash"), format!("usr/share/bash-completion/completions/{name}")),
        (format!("{name}.fish"), format!("usr/share/fish/vendor_completions.d/{name}.fish")),
        (format!("_{name}"), format!("usr/share/zsh/vendor-completions/_{name}")),
    ]
}

const UNIT: &str = include_str!("debian/fieldmark@.service");

/// What dpkg starts, and when.
const SCRIPTS: [(&str, &str); 3] = [
    ("postinst", include_str!("debian/postinst")),
    ("prerm", include_str!("debian/prerm")),
    ("postrm", include_str!("debian/postrm")),
];

impl Contents<'_> {
    /// The folder that an archive unpacks to.
    ///
    /// # Errors
    /// A file's path and the system's reason.
    pub fn lay_out_archive(&self, folder: &Path) -> Result<()> {
        let Contents { root, program, file, manual, licences, .. } = self;
        executable(file, &folder.join(program.name()))?;
        plain(program.readme(), &folder.join("README.txt"))?;
        plain(licences, &folder.join("LICENCES.txt"))?;
        for name in ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
            plain(&read(&root.join(name))?, &folder.join(name))?;
        }
        for page in pages(manual)? {
            plain(&read(&manual.join(&page))?, &folder.join("man").join(&page))?;
        }
        for (made, _) in completions(program.name()) {
            plain(&read(&manual.join(&made))?, &folder.join("completions").join(made))?;
        }
        Ok(())
    }

    /// The folders and files of a Debian package.
    ///
    /// # Errors
    /// As [`Contents::lay_out_archive`], and no gzip.
    pub fn lay_out_system(&self, tree: &Path, package: &str) -> Result<()> {
        let Contents { root, program, file, manual, licences, .. } = self;
        let document = tree.join("usr/share/doc").join(package);
        executable(file, &tree.join("usr/bin").join(program.name()))?;
        plain(licences, &document.join("copyright"))?;
        plain(&read(&root.join("CHANGELOG.md"))?, &document.join("changelog"))?;
        zip(&document.join("changelog"))?;
        for page in pages(manual)? {
            let place = tree.join("usr/share/man/man1").join(&page);
            plain(&read(&manual.join(&page))?, &place)?;
            zip(&place)?;
        }
        for (made, place) in completions(program.name()) {
            plain(&read(&manual.join(made))?, &tree.join(place))?;
        }
        if program.is_service() { lay_out_service(tree) } else { Ok(()) }
    }

    /// The archive of the folder `name` in `work`.
    ///
    /// # Errors
    /// tar's.
    pub fn archive(&self, work: &Path, name: &str, made: &Path) -> Result<()> {
        let mut tar = Command::new("tar");
        // Times, owners and order are the same wherever and whenever it is packed.
        tar.args(["--create", "--format=gnu", "--sort=name", "--owner=root:0", "--group=root:0"]);
        tar.arg(format!("--mtime=@{}", self.epoch)).args(["--mode=u+rwX,go+rX,go-w"]);
        tar.args(["--use-compress-program", "gzip --best --no-name", "--file"]);
        run(tar.arg(made.join(format!("{name}.tar.gz"))).arg("--directory").arg(work).arg(name))
    }
}

/// The unit of systemd, what dpkg starts, and the folder for models.
fn lay_out_service(tree: &Path) -> Result<()> {
    plain(UNIT, &tree.join("usr/lib/systemd/system/fieldmark@.service"))?;
    for (name, script) in SCRIPTS {
        let place = tree.join("DEBIAN").join(name);
        plain(script, &place)?;
        mode(&place, 0o755)?;
    }
    let models = tree.join("var/lib/fieldmark");
    fs::create_dir_all(&models).with_context(|| format!("cannot make {}", models.display()))
}

/// Manual pages by name.
fn pages(manual: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(manual).with_context(|| format!("cannot list {}", manual.display()))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>, _>>()?;
    names.retain(|name| name.ends_with(".1"));
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn plain(content: &str, path: &Path) -> Result<()> {
    Act::REAL.write(path, content)?;
    mode(path, 0o644)
}

fn executable(from: &Path, to: &Path) -> Result<()> {
    Act::REAL.copy(from, to)?;
    mode(to, 0o755)
}

/// Whatever this machine makes files with.
fn mode(path: &Path, mode: u32) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(path, permissions)
            .with_context(|| format!("cannot set mode of {}", path.display()))?;
    }
    let _ = (path, mode);
    Ok(())
}

/// Replaces a file by its compressed form, as Debian has documents.
fn zip(path: &Path) -> Result<()> {
    run(Command::new("gzip").args(["--best", "--no-name", "--force"]).arg(path))
}
