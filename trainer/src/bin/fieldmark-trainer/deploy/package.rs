//! The program that is deployed: a file, or taken out of a released archive.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use fieldmark_programs::hash::sha256;
use fieldmark_programs::process::Act;

use crate::say;

/// Beside released archives: what they have to hash to, as `sha256sum` prints it.
const SUMS: &str = "SHA256SUMS";

/// What the program is called in an archive.
const NAME: &str = "fieldmark";

/// The board's program on this machine.
pub struct Program {
    path: PathBuf,
    /// Where it was unpacked; it goes with us.
    unpacked: Option<PathBuf>,
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(folder) = &self.unpacked {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl Program {
    /// The file itself, or what is in it if its name ends as an archive's.
    ///
    /// # Errors
    /// An archive that is missing or not what the hashes beside it say, that tar cannot read, or without one program.
    pub fn of(act: &Act, file: &Path) -> Result<Program> {
        let is_archive = [".tar.gz", ".tgz"].iter().any(|end| file.to_string_lossy().ends_with(end));
        if !is_archive {
            return Ok(Program { path: file.to_owned(), unpacked: None });
        }
        let found = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
        ensure!(found.is_file(), "{} is not a file; name a released archive", file.display());
        if act.dry_run {
            say::aside(&format!("# take {NAME} out of {}; a dry run does not hash it", file.display()));
            // Nothing is ever below a file: no other program is taken for this one.
            return Ok(Program { path: file.join(NAME), unpacked: None });
        }
        check(file)?;
        let folder = env::temp_dir().join(format!("fieldmark-deploy-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // From here on the folder is removed, whatever fails.
        let mut program = Program { path: PathBuf::new(), unpacked: Some(folder.clone()) };
        act.run(&mut tar(file, &folder)?).with_context(|| format!("cannot unpack {}", file.display()))?;
        program.path = inside(&folder, file)?;
        Ok(program)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What unpacks an archive into a folder. GNU tar takes a colon for a host's, but not in a path from the root.
fn tar(archive: &Path, folder: &Path) -> Result<Command> {
    let archive = absolute(archive).with_context(|| format!("cannot find {}", archive.display()))?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(folder);
    Ok(tar)
}

/// Compares an archive with the hashes that were published beside it; where there are none, there is nothing to compare.
fn check(archive: &Path) -> Result<()> {
    let sums = archive.with_file_name(SUMS);
    // A link to nothing is there.
    if fs::symlink_metadata(&sums).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    let text = fs::read_to_string(&sums).with_context(|| format!("cannot read {}", sums.display()))?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let expected = text.lines().find_map(|line| hash_of(&name, line)).with_context(|| {
        format!("{} does not name {name}; download both of the same release", sums.display())
    })?;
    let actual = sha256(archive)?;
    ensure!(
        actual.eq_ignore_ascii_case(expected),
        "{} is damaged or of another release (SHA-256 {actual}, {SUMS} beside it has {expected}); download it again",
        archive.display()
    );
    Ok(())
}

/// The hash in a line of `sha256sum`, if it is the line of that file: `HASH  NAME`, or `HASH *NAME` of binary mode.
fn hash_of<'a>(name: &str, line: &'a str) -> Option<&'a str> {
    let (hash, file) = line.split_once(' ')?;
    let file = file.strip_prefix([' ', '*'])?;
    (file.strip_prefix("./").unwrap_or(file) == name).then_some(hash)
}

/// The program, in a folder of what was unpacked. No link is followed: what is found lies below `folder`.
fn inside(folder: &Path, archive: &Path) -> Result<PathBuf> {
    let mut held = Vec::new();
    for path in entries(folder)? {
        let within = if path.is_dir() && !path.is_symlink() { entries(&path)? } else { Vec::new() };
        if within.is_empty() {
            held.push(path);
        } else {
            held.extend(within);
        }
    }
    let is_program = |path: &Path| path.is_file() && !path.is_symlink() && path.parent() != Some(folder);
    let programs: Vec<_> = held.iter().filter(|path| path.ends_with(NAME)).collect();
    let why = match programs[..] {
        [program] if is_program(program) => return Ok(program.clone()),
        [] => "no program ",
        [_] => "no regular file FOLDER/",
        _ => "more than one ",
    };
    bail!(
        "{} has {why}{NAME}; name a released archive of the board's program; this one holds {}",
        archive.display(),
        listed(&held, folder)
    )
}

/// What is in a folder, in the order of the names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    let mut paths = paths.with_context(|| format!("cannot list {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

/// Paths from a folder on, for people: not more than they read, and nothing that a terminal obeys.
fn listed(paths: &[PathBuf], folder: &Path) -> String {
    const SHOWN: usize = 12;
    let name = |path: &PathBuf| {
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
        name.escape_debug().to_string()
    };
    let mut names: Vec<_> = paths.iter().take(SHOWN).map(name).collect();
    if paths.is_empty() {
        names.push("nothing".to_owned());
    }
    if paths.len() > SHOWN {
        names.push(format!("{} more", paths.len() - SHOWN));
    }
    names.join(", ")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// An archive as `cargo xtask dist` lays it out, with a file called so in it.
    fn archive(folder: &Path, file: &str) -> PathBuf {
        let inside = folder.join("fieldmark-0.1.0-arm");
        fs::create_dir_all(&inside).unwrap();
        fs::write(inside.join(file), "program").unwrap();
        let archive = folder.join("fieldmark-0.1.0-arm.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&archive).arg("-C").arg(folder).arg("fieldmark-0.1.0-arm");
        assert!(tar.status().unwrap().success());
        archive
    }

    #[test]
    fn a_program_comes_out_of_an_archive_that_has_the_published_hash() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path(), "fieldmark");
        let content = |program: &Program| fs::read(program.path()).unwrap();
        // One after the other: each has the folder to itself.
        let program = Program::of(&Act::REAL, &archive).unwrap();
        let place = program.path().to_owned();
        assert_eq!(content(&program), b"program");
        drop(program);
        assert!(!place.exists());

        let sums = folder.path().join(SUMS);
        let refused = || Program::of(&Act::REAL, &archive).err().unwrap().to_string();
        fs::write(&sums, format!("{}  fieldmark-0.1.0-arm.tar.gz\n", "0".repeat(64))).unwrap();
        assert!(refused().contains("download it again"), "{}", refused());
        fs::write(&sums, "").unwrap();
        assert!(refused().contains("does not name fieldmark-0.1.0-arm.tar.gz"), "{}", refused());
        fs::write(&sums, format!("{}  fieldmark-0.1.0-arm.tar.gz\n", sha256(&archive).unwrap())).unwrap();
        assert_eq!(content(&Program::of(&Act::REAL, &archive).unwrap()), b"program");

        fs::remove_file(&sums).unwrap();
        fs::remove_dir_all(folder.path().join("fieldmark-0.1.0-arm")).unwrap();
        self::archive(folder.path(), "fieldmark-trainer");
        assert!(refused().contains("has no program fieldmark"), "{}", refused());
    }

    #[test]
    fn a_dry_run_looks_for_the_archive_and_for_no_other_program() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path(), "fieldmark");
        let act = Act { dry_run: true };
        assert_eq!(Program::of(&act, &archive).unwrap().path(), archive.join("fieldmark"));
        assert!(!archive.join("fieldmark").exists());
        let missing = folder.path().join("missing.tar.gz");
        let error = Program::of(&act, &missing).err().unwrap().to_string();
        assert_eq!(error, format!("cannot read {}", missing.display()));
        let program = Program::of(&act, Path::new("my-program")).unwrap();
        assert_eq!(program.path(), Path::new("my-program"));
    }

    #[test]
    fn tar_takes_no_archive_for_a_host_s() {
        let tar = tar(Path::new("ok:1.tar.gz"), Path::new("x")).unwrap();
        let archive = Path::new(tar.get_args().nth(1).unwrap());
        assert!(archive.is_absolute() && archive.ends_with("ok:1.tar.gz"), "{}", archive.display());
    }

    #[test]
    fn published_hashes_are_read_as_sha256sum_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path(), "fieldmark");
        let sums = folder.path().join(SUMS);
        let hash = sha256(&archive).unwrap();
        let (upper, name) = (hash.to_uppercase(), "fieldmark-0.1.0-arm.tar.gz");
        for line in [
            format!("{hash}  {name}\n"),
            format!("{hash} *{name}\r\n"),
            format!("{}  other\n{hash}  ./{name}", "0".repeat(64)),
            format!("{upper} *./{name}\n"),
        ] {
            fs::write(&sums, &line).unwrap();
            check(&archive).unwrap();
            let wrong = line.replace(&hash, &"0".repeat(64)).replace(&upper, &"0".repeat(64));
            fs::write(&sums, &wrong).unwrap();
            assert!(check(&archive).unwrap_err().to_string().contains("download it again"), "{wrong}");
        }
        fs::remove_file(&sums).unwrap();
        check(&archive).unwrap();
        symlink("gone", &sums).unwrap();
        assert_eq!(check(&archive).unwrap_err().to_string(), format!("cannot read {}", sums.display()));
    }

    #[test]
    fn only_one_file_in_a_folder_of_the_archive_is_the_program() {
        let found = |make: &dyn Fn(&Path)| {
            let outside = tempfile::tempdir().unwrap();
            let root = outside.path().join("unpacked");
            for folder in ["unpacked/a", "unpacked/b", "elsewhere"] {
                fs::create_dir_all(outside.path().join(folder)).unwrap();
            }
            fs::write(outside.path().join("elsewhere/fieldmark"), "another").unwrap();
            make(&root);
            let found = inside(&root, Path::new("x.tar.gz"));
            found.map(|path| path.strip_prefix(&root).unwrap().to_owned()).map_err(|error| error.to_string())
        };
        let write = |path: PathBuf| fs::write(path, "program").unwrap();
        assert_eq!(found(&|root| write(root.join("a/fieldmark"))).unwrap(), Path::new("a/fieldmark"));

        let refused = |why: &str, held: &str, make: &dyn Fn(&Path)| {
            let error = found(make).unwrap_err();
            let expected = [format!("x.tar.gz has {why}fieldmark; "), format!("; this one holds {held}")];
            assert!(error.starts_with(&expected[0]) && error.ends_with(&expected[1]), "{error}");
        };
        refused("no program ", "a, b", &|_| {});
        refused("more than one ", "a/fieldmark, b/fieldmark", &|root| {
            write(root.join("a/fieldmark"));
            write(root.join("b/fieldmark"));
        });
        refused("no regular file FOLDER/", "a/fieldmark, b", &|root| {
            symlink("../../elsewhere/fieldmark", root.join("a/fieldmark")).unwrap();
        });
        refused("no regular file FOLDER/", "a/fieldmark, b", &|root| {
            fs::create_dir(root.join("a/fieldmark")).unwrap();
        });
        refused("no regular file FOLDER/", "a, b, fieldmark", &|root| write(root.join("fieldmark")));
        refused("no program ", "a, b, c", &|root| symlink("../elsewhere", root.join("c")).unwrap());
    }
}
