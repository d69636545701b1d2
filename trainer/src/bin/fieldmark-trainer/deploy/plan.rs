//! Which file goes where.

use std::fmt::Write;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result, bail, ensure};
use fieldmark_programs::hash::sha256;
use fieldmark_programs::process::{Act, quoted};

/// The folder of the copies, in the home folder. Its name needs no quotes, whatever scp makes of them.
pub const STAGING: &str = ".fieldmark-deploy";

/// What the program is called on boards.
const PROGRAM: &str = "fieldmark";

/// A file, and its place on the board.
#[derive(Debug)]
struct Copy {
    /// From the root of this machine's files: scp takes a colon in other paths for a host. A link stays one: scp
    /// follows it, and the copy has the link's name.
    from: PathBuf,
    name: String,
    sha256: String,
    place: String,
}

/// Files, the program first.
#[derive(Debug)]
pub struct Plan {
    copies: Vec<Copy>,
    /// The scripts' variables, and the functions `each_file` and `each_model`.
    pub settings: String,
}

impl Plan {
    /// The program and the models, with the folders `to` that they go to.
    ///
    /// # Errors
    /// A file that cannot be read, two of one name, a name that no shell takes, another user's home folder.
    pub fn new(act: &Act, program: &Path, models: &[PathBuf], to: [&str; 2]) -> Result<Plan> {
        let [programs, models_to] = [folder(to[0])?, folder(to[1])?];
        let mut copies = vec![copy(act, program, |_| format!("{programs}/{PROGRAM}"))?];
        for model in models {
            copies.push(copy(act, model, |name| format!("{models_to}/{name}"))?);
        }
        for (at, copy) in copies.iter().enumerate() {
            let same = copies[..at].iter().find(|other| other.name == copy.name || other.place == copy.place);
            ensure!(same.is_none(), "two files are called {}; rename one", copy.name);
        }
        Ok(Plan { settings: settings(&copies), copies })
    }

    /// What is copied.
    pub fn files(&self) -> Vec<&Path> {
        self.copies.iter().map(|copy| copy.from.as_path()).collect()
    }

    /// Where all of it goes, for people.
    pub fn places(&self) -> String {
        let places: Vec<_> = self.copies.iter().map(|copy| copy.place.trim_start_matches("./")).collect();
        places.join(", ")
    }
}

/// A folder there, from the home folder, such that no name in it is taken for an option.
///
/// # Errors
/// `~name`: only a shell there knows where that is.
fn folder(typed: &str) -> Result<String> {
    let from_home = match typed.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
        Some(_) => bail!(
            "{typed} is not looked up on the board; type the folder from the root, as /home/NAME/bin, or ~/bin for the \
             home folder of the user who logs in"
        ),
        None => typed,
    };
    let folder = if from_home.is_empty() { "." } else { from_home.trim_end_matches('/') };
    let is_from_root = folder.starts_with('/') || folder.is_empty();
    Ok(if is_from_root { folder.to_owned() } else { format!("./{folder}") })
}

fn copy(act: &Act, from: &Path, place: impl Fn(&str) -> String) -> Result<Copy> {
    let name = from.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} has no name that can be used there", from.display()))?;
    ensure!(
        !name.contains(['\\', '\n', '\r']),
        "{} has a backslash or a line break in its name; rename it",
        from.display()
    );
    let place = place(name);
    if act.dry_run && !from.exists() {
        return Ok(Copy { from: from.to_owned(), name: name.to_owned(), sha256: "HASH".to_owned(), place });
    }
    let sha256 = sha256(from)?;
    let from = absolute(from).with_context(|| format!("cannot find {}", from.display()))?;
    Ok(Copy { from, name: name.to_owned(), sha256, place })
}

fn settings(copies: &[Copy]) -> String {
    let [program, models @ ..] = copies else { return String::new() };
    let mut hashes = String::new();
    for Copy { sha256, name, .. } in copies {
        let _ = writeln!(hashes, "{sha256}  ./{name}");
    }
    let each = |name: &str, copies: &[Copy]| {
        let mut text = format!("{name}() {{\n    all=0\n");
        for Copy { name, place, .. } in copies {
            let _ = writeln!(text, "    \"$1\" {} {} || all=1", quoted(name), quoted(place));
        }
        text + "    return \"$all\"\n}\n"
    };
    format!(
        "staging={STAGING}\nprogram={}\ninstalled={}\nhashes={}\n{}{}",
        quoted(format!("./{}", program.name)),
        quoted(&program.place),
        quoted(hashes),
        each("each_file", copies),
        each("each_model", models)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(folder: &Path, program: &str, models: &[&str]) -> Result<Plan> {
        let models: Vec<_> = models.iter().map(|name| folder.join(name)).collect();
        Plan::new(&Act::REAL, &folder.join(program), &models, ["~/my bin/", "/srv/it's"])
    }

    #[test]
    fn places_are_quoted_and_hashes_are_of_the_content() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("x")).unwrap();
        for name in ["fieldmark-arm", "a b.onnx", "x/a b.onnx", "b\\.onnx"] {
            std::fs::write(folder.path().join(name), "abc").unwrap();
        }
        let made = plan(folder.path(), "fieldmark-arm", &["a b.onnx"]).unwrap();
        assert_eq!(made.places(), "my bin/fieldmark, /srv/it's/a b.onnx");
        for part in [
            "installed='./my bin/fieldmark'\n",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  ./a b.onnx\n",
            "    \"$1\" 'a b.onnx' '/srv/it'\\''s/a b.onnx' || all=1\n",
        ] {
            assert!(made.settings.contains(part), "{part} in {}", made.settings);
        }
        let same = plan(folder.path(), "fieldmark-arm", &["a b.onnx", "x/a b.onnx"]).unwrap_err();
        assert_eq!(same.to_string(), "two files are called a b.onnx; rename one");
        assert!(plan(folder.path(), "fieldmark-arm", &["b\\.onnx"]).is_err());
        assert!(plan(folder.path(), "fieldmark-arm", &["missing.onnx"]).is_err());
    }

    #[test]
    fn folders_are_taken_from_the_home_folder() {
        for (typed, expected) in [
            (".local/bin", "./.local/bin"),
            ("~/bin/", "./bin"),
            ("~", "./."),
            ("~/", "./."),
            ("~//bin", "./bin"),
            ("./~pi", "././~pi"),
            ("-x", "./-x"),
            ("/usr/local/bin", "/usr/local/bin"),
            ("", "./."),
            ("/", ""),
        ] {
            assert_eq!(folder(typed).unwrap(), expected);
        }
    }

    #[test]
    fn another_user_s_home_folder_is_refused() {
        for typed in ["~pi", "~pi/bin", "~+"] {
            let error = folder(typed).unwrap_err().to_string();
            assert!(error.starts_with(typed) && error.contains("type the folder from the root"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_copied_under_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["fieldmark-1", "model-1.onnx"] {
            std::fs::write(folder.path().join(name), "abc").unwrap();
        }
        for (target, link) in
            [("fieldmark-1", "fieldmark"), ("model-1.onnx", "m.onnx"), ("gone", "gone.onnx")]
        {
            std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        }
        let made = plan(folder.path(), "fieldmark", &["m.onnx"]).unwrap();
        assert_eq!(made.files(), [folder.path().join("fieldmark"), folder.path().join("m.onnx")]);
        assert!(made.settings.contains("  ./m.onnx\n"), "{}", made.settings);
        let error = plan(folder.path(), "fieldmark", &["gone.onnx"]).unwrap_err();
        assert!(error.to_string().starts_with("cannot read "), "{error}");
    }
}
