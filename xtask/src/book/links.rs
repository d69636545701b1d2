//! Links inside the book and from the pages beside it: each file is there, and has the place in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

/// Pages beside the book, in the repository.
const BESIDE: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];

/// What mdBook writes for itself, with links from elsewhere.
const NOT_PAGES: [&str; 2] = ["404.html", "toc.html"];

/// The places in each page that was built, by its path in the book.
type Places = BTreeMap<PathBuf, BTreeSet<String>>;

/// Links of the book that was built in `book`, and of the pages beside it in `root`, that lead nowhere.
///
/// # Errors
/// Pages that cannot be read.
pub fn broken(root: &Path, book: &Path) -> Result<Vec<String>> {
    let mut texts = BTreeMap::new();
    read(book, Path::new(""), &mut texts)?;
    let places: Places = texts
        .iter()
        .map(|(page, text)| (page.clone(), values(text, " id=\"").map(str::to_owned).collect()))
        .collect();
    let mut broken = Vec::new();
    for (page, text) in &texts {
        let links = values(text, " href=\"").chain(values(text, " src=\""));
        // As the sources of the pages lie in the repository, so that a link out of the book leads there.
        let from = Path::new("docs/src").join(page);
        for link in links.filter(|link| is_inside(link)) {
            if !leads(root, book, &places, &from, link) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    for name in BESIDE {
        let path = root.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let links = text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split(')').next());
        let links =
            links.filter(|link| is_inside(link) && !leads(root, book, &places, Path::new(name), link));
        broken.extend(links.map(|link| format!("{name}: {link}")));
    }
    Ok(broken)
}

/// All pages below `folder` of the book.
fn read(book: &Path, folder: &Path, texts: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let path = book.join(folder);
    for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
        let name = folder.join(entry?.file_name());
        let path = book.join(&name);
        if path.is_dir() {
            read(book, &name, texts)?;
        } else if name.extension().is_some_and(|ending| ending == "html")
            && !NOT_PAGES.iter().any(|other| name == Path::new(other))
        {
            texts.insert(
                name,
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?,
            );
        }
    }
    Ok(())
}

/// The values of an attribute.
fn values<'a>(text: &'a str, attribute: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(attribute).filter_map(move |(at, _)| text[at + attribute.len()..].split('"').next())
}

fn is_inside(link: &str) -> bool {
    !link.is_empty() && !link.contains(':') && link != "#"
}

/// Whether a link of the file `from`, a path in the repository, leads somewhere.
fn leads(root: &Path, book: &Path, places: &Places, from: &Path, link: &str) -> bool {
    let (file, place) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { from.to_owned() } else { joined(from.parent().unwrap_or(from), file) };
    let Ok(page) = target.strip_prefix("docs/src") else { return root.join(&target).exists() };
    // Built pages have another ending than their sources.
    let page = if page.extension().is_some_and(|ending| ending == "md") {
        page.with_extension("html")
    } else {
        page.to_owned()
    };
    let is_source_alone = target.ends_with("SUMMARY.md");
    is_source_alone
        || match places.get(&page) {
            Some(places) => place.is_empty() || places.contains(place),
            None => place.is_empty() && book.join(&page).is_file(),
        }
}

/// A path below another, without `..`.
fn joined(folder: &Path, file: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_to_places_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let (root, book) = (folder.path(), folder.path().join("target/book"));
        fs::create_dir_all(book.join("guides")).unwrap();
        for name in BESIDE {
            fs::write(
                root.join(name),
                "[a](docs/src/guides/a.md#one) [b](docs/src/none.md) [c](https://example.org)",
            )
            .unwrap();
        }
        let page = "<h1 id=\"one\">1</h1> <a href=\"../index.html\"> <a href=\"#one\"> <a href=\"#two\"> \
            <a href=\"../../../README.md\"> <img src=\"none.png\">";
        fs::write(book.join("guides/a.html"), page).unwrap();
        fs::write(book.join("index.html"), "<a href=\"guides/a.html#one\"> <a href=\"guides/a.html#three\">")
            .unwrap();
        let expected = [
            "guides/a.html: #two",
            "guides/a.html: none.png",
            "index.html: guides/a.html#three",
            "README.md: docs/src/none.md",
            "ARCHITECTURE.md: docs/src/none.md",
            "CONTRIBUTING.md: docs/src/none.md",
        ];
        assert_eq!(broken(root, &book).unwrap(), expected);
    }
}
