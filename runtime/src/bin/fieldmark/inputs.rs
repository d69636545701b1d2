//! From what was typed to the pictures that are meant.
//!
//! The name of an existing file or folder always means that, whatever characters it has; only a file named
//! `-` must be written `./-`. Failures are entries of the list, in their place, so that one bad input spoils
//! no other.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use fieldmark::picture::{Limits, PictureError, read_limited};
use glob::{MatchOptions, glob_with};

/// One picture to read, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file, named as it was found.
    File(PathBuf),
    /// The picture on stdin.
    Stdin,
    /// Something typed that leads to no picture.
    Missing {
        /// What was typed.
        name: String,
        /// What is wrong and what to do, as the end of a sentence that begins with the name.
        reason: String,
    },
}

impl Input {
    /// The name in results and messages.
    pub fn name(&self) -> String {
        match self {
            Input::File(path) => path.display().to_string(),
            Input::Stdin => "-".to_string(),
            Input::Missing { name, .. } => name.clone(),
        }
    }

    /// The name's start for files made of the picture.
    pub fn stem(&self) -> String {
        match self {
            Input::File(path) => path.file_stem().unwrap_or(OsStr::new("picture")).display().to_string(),
            Input::Stdin => "stdin".to_string(),
            Input::Missing { .. } => "missing".to_string(),
        }
    }
}

/// The pictures that are meant.
#[derive(Debug, Default)]
pub struct Inputs {
    /// In the order typed; those of a folder or pattern sorted by path.
    pub list: Vec<Input>,
    /// What a person should know though nothing failed.
    pub notes: Vec<String>,
}

/// The pictures that each thing typed means.
pub fn expand<T: AsRef<OsStr>>(typed: &[T]) -> Inputs {
    let mut found = Inputs::default();
    for typed in typed {
        push_typed(typed.as_ref(), &mut found);
    }
    found
}

fn push_typed(typed: &OsStr, found: &mut Inputs) {
    let path = Path::new(typed);
    let name = typed.to_str().unwrap_or_default();
    if name == "-" {
        found.list.push(Input::Stdin);
    } else if path.symlink_metadata().is_ok() {
        push_path(path, found);
    } else if let Some(list) = name.strip_prefix('@') {
        push_listed(name, Path::new(list), found);
    } else if name.contains(['*', '?', '[']) {
        push_matches(name, found);
    } else {
        // Reading it will say what is wrong.
        found.list.push(Input::File(path.to_path_buf()));
    }
}

fn push_path(path: &Path, found: &mut Inputs) {
    if path.is_dir() {
        push_folder(path, found);
    } else {
        found.list.push(Input::File(path.to_path_buf()));
    }
}

fn push_folder(folder: &Path, found: &mut Inputs) {
    let (before, mut others) = (found.list.len(), 0);
    push_pictures(folder, &mut BTreeSet::new(), &mut others, &mut found.list);
    if found.list.len() == before {
        let files = if others == 0 { String::new() } else { format!(" (other files: {others})") };
        let reason = format!("has no .jpg, .jpeg or .png{files}; name a folder with pictures");
        found.list.push(missing(folder, reason));
    } else if others > 0 {
        let note = format!("{}: files other than .jpg, .jpeg or .png left out: {others}", folder.display());
        found.notes.push(note);
    }
}

/// Depth first in the order of names, which is the order of paths. `seen` are the folders read so far,
/// so that links between folders lead to each of them once and never in circles.
fn push_pictures(folder: &Path, seen: &mut BTreeSet<PathBuf>, others: &mut usize, list: &mut Vec<Input>) {
    let names = match sorted_names(folder, seen) {
        Ok(names) => names,
        Err(error) => {
            list.push(missing(folder, PictureError::Read(error).to_string()));
            return;
        }
    };
    for path in names.iter().map(|name| folder.join(name)) {
        if path.is_dir() {
            push_pictures(&path, seen, others, list);
        } else if has_picture_name(&path) {
            list.push(Input::File(path));
        } else {
            *others += 1;
        }
    }
}

/// What is in a folder, without hidden names; nothing if it was seen before.
fn sorted_names(folder: &Path, seen: &mut BTreeSet<PathBuf>) -> io::Result<BTreeSet<OsString>> {
    if !seen.insert(folder.canonicalize()?) {
        return Ok(BTreeSet::new());
    }
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
    let visible = |name: &OsStr| !name.as_encoded_bytes().starts_with(b".");
    names.filter(|name| name.as_ref().map_or(true, |name| visible(name))).collect()
}

/// Overlays that this program wrote are not pictures to name.
fn has_picture_name(path: &Path) -> bool {
    if path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(b".marks.png")) {
        return false;
    }
    let is =
        |extension: &OsStr| ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    path.extension().is_some_and(is)
}

/// The paths in a text file. They are taken as they stand: `find` and other programs write such lists,
/// and a name in them may well look like a pattern.
fn push_listed(typed: &str, list: &Path, found: &mut Inputs) {
    let before = found.list.len();
    match read_list(list) {
        Ok(text) => {
            let lines = text.trim_start_matches('\u{feff}').lines();
            for line in lines.filter(|line| !line.trim().is_empty()) {
                push_path(Path::new(line), found);
            }
            if found.list.len() == before {
                let reason = "lists no path; write one path a line".to_string();
                found.list.push(missing(typed, reason));
            }
        }
        Err(reason) => found.list.push(missing(typed, reason)),
    }
}

fn read_list(path: &Path) -> Result<String, String> {
    let opened = File::open(path).map_err(PictureError::Read);
    let bytes = opened.and_then(|file| read_limited(file, &Limits::default()));
    String::from_utf8(bytes.map_err(|error| error.to_string())?)
        .map_err(|_| "is not UTF-8 text; write one path a line".to_string())
}

/// As a shell would expand it.
fn push_matches(pattern: &str, found: &mut Inputs) {
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let paths = match glob_with(pattern, options) {
        Ok(paths) => paths,
        Err(error) => {
            let reason = format!("is no file, and no pattern ({error}); correct it");
            return found.list.push(missing(pattern, reason));
        }
    };
    let before = found.list.len();
    for path in paths {
        match path {
            Ok(path) => push_path(&path, found),
            Err(error) => {
                let name = error.path().to_path_buf();
                found.list.push(missing(name, PictureError::Read(error.into()).to_string()));
            }
        }
    }
    if found.list.len() == before {
        found.list.push(missing(pattern, "matches no file; check the pattern".to_string()));
    }
}

fn missing(name: impl AsRef<Path>, reason: String) -> Input {
    Input::Missing { name: name.as_ref().display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for a test, with these files in it.
    fn folder(test: &str, files: &[&str]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("fieldmark-inputs-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    /// What is meant, relative to `folder`; failures as their reason.
    fn expanded(folder: &Path, typed: &str) -> Vec<String> {
        let typed = match typed.strip_prefix('@') {
            Some(list) => format!("@{}", folder.join(list).display()),
            None => folder.join(typed).display().to_string(),
        };
        let short = |input: &Input| match input {
            Input::File(path) => path.strip_prefix(folder).unwrap_or(path).display().to_string(),
            Input::Stdin => "-".to_string(),
            Input::Missing { reason, .. } => format!("! {reason}"),
        };
        expand(&[typed]).list.iter().map(short).collect()
    }

    #[test]
    fn a_folder_means_its_pictures_at_any_depth_sorted_by_path() {
        let files = ["b.JPG", "a/z.png", "a/.hidden.jpg", ".git/c.jpg", "a.jpeg", "readme.txt", "c/d/e.Png"];
        let folder = folder("depth", &files);
        assert_eq!(expanded(&folder, ""), ["a/z.png", "a.jpeg", "b.JPG", "c/d/e.Png"]);
        let notes = expand(&[&folder]).notes;
        assert!(
            notes.len() == 1 && notes[0].contains("other than .jpg, .jpeg or .png left out: 1"),
            "{notes:?}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_without_pictures_is_a_failed_input() {
        let folder = folder("empty", &["notes/readme.txt"]);
        let expected = "! has no .jpg, .jpeg or .png (other files: 1); name a folder with pictures";
        assert_eq!(expanded(&folder, "notes"), [expected]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_end() {
        let folder = folder("circle", &["a/b/one.jpg"]);
        std::os::unix::fs::symlink("../..", folder.join("a/b/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.join("a/gone.jpg")).unwrap();
        assert_eq!(expanded(&folder, ""), ["a/b/one.jpg", "a/gone.jpg"]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn patterns_are_expanded_as_a_shell_does() {
        let folder = folder("glob", &["a1.jpg", "a2.jpg", "b1.jpg", ".a3.jpg", "deep/a4.jpg"]);
        assert_eq!(expanded(&folder, "a?.jpg"), ["a1.jpg", "a2.jpg"]);
        assert_eq!(expanded(&folder, "[ab]1.jpg"), ["a1.jpg", "b1.jpg"]);
        assert_eq!(expanded(&folder, "d*"), ["deep/a4.jpg"]);
        assert_eq!(expanded(&folder, "*3.jpg"), ["! matches no file; check the pattern"]);
        assert!(expanded(&folder, "a[").concat().starts_with("! is no file, and no pattern"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_existing_name_is_no_pattern_and_no_list() {
        let folder = folder("names", &["a[1].jpg", "a1.jpg", "@list.txt"]);
        assert_eq!(expanded(&folder, "a[1].jpg"), ["a[1].jpg"]);
        let at = folder.join("@list.txt");
        assert_eq!(expand(&[&at]).list, [Input::File(at)]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_list_means_its_lines_as_they_stand() {
        let folder = folder("list", &["deep/a.png"]);
        let deep = folder.join("deep");
        let text = format!("\u{feff}x y.jpg\r\n\n  \n{}\n*.jpg", deep.display());
        fs::write(folder.join("list.txt"), text).unwrap();
        assert_eq!(expanded(&folder, "@list.txt"), ["x y.jpg", "deep/a.png", "*.jpg"]);
        fs::write(folder.join("list.txt"), " \n\n").unwrap();
        assert_eq!(expanded(&folder, "@list.txt"), ["! lists no path; write one path a line"]);
        fs::write(folder.join("list.txt"), [b'a', 0xff]).unwrap();
        assert!(expanded(&folder, "@list.txt").concat().contains("is not UTF-8 text"));
        assert!(expanded(&folder, "@none.txt").concat().contains("cannot be read"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_dash_is_stdin_and_an_unknown_name_is_left_to_reading() {
        assert_eq!(expand(&["-", "none.jpg"]).list, [Input::Stdin, Input::File("none.jpg".into())]);
    }
}
