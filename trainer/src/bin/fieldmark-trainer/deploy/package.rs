//! The program that is deployed: a file, or taken out of a released archive.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
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
    /// An archive that is not what the hashes beside it say, that tar cannot read, or without a program.
    pub fn of(act: &Act, file: &Path) -> Result<Program> {
        let is_archive = [".tar.gz", ".tgz"].iter().any(|end| file.to_string_lossy().ends_with(end));
        if !is_archive {
            return Ok(Program { path: file.to_owned(), unpacked: None });
        }
        if act.dry_run {
            say::aside(&format!("# take {NAME} out of {}", file.display()));
            return Ok(Program { path: NAME.into(), unpacked: None });
        }
        check(file)?;
        let folder = env::temp_dir().join(format!("fieldmark-deploy-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // From here on the folder is removed, whatever fails.
        let mut program = Program { path: PathBuf::new(), unpacked: Some(folder.clone()) };
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(file).arg("-C").arg(&folder);
        act.run(&mut tar).with_context(|| format!("cannot unpack {}", file.display()))?;
        program.path = inside(&folder, file)?;
        Ok(program)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Compares an archive with the hashes that were published beside it; where there are none, there is nothing to compare.
fn check(archive: &Path) -> Result<()> {
    let sums = archive.with_file_name(SUMS);
    if !sums.exists() {
        return Ok(());
    }
    let text = fs::read_to_string(&sums).with_context(|| format!("cannot read {}", sums.display()))?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let expected = text.lines().filter_map(|line| line.split_once("  ")).find(|(_, file)| *file == name);
    let (expected, _) = expected.with_context(|| {
        format!("{} does not name {name}; download both of the same release", sums.display())
    })?;
    let actual = sha256(archive)?;
    ensure!(
        actual == expected,
        "{} is damaged or of another release (SHA-256 {actual}, {SUMS} beside it has {expected}); download it again",
        archive.display()
    );
    Ok(())
}

/// The program in an archive's only folder.
fn inside(folder: &Path, archive: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let programs = entries.filter_map(|entry| Some(entry.ok()?.path().join(NAME)));
    programs.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("{} has no program {NAME}; name a released archive of the board's program", archive.display())
    })
}

#[cfg(all(test, unix))]
mod tests {
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
}
