//! What is linked into the program, asked of cargo: a bill of materials and all licences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::process::{cargo, output};

/// A crate.
#[derive(Debug, Default)]
struct Crate {
    licence: String,
    /// Where its sources are; with its licences beside them.
    folder: PathBuf,
    /// SHA-256 of the archive on the registry; our own have none.
    checksum: Option<String>,
    /// What it is linked with.
    needs: BTreeSet<String>,
}

/// Crates by `name version`.
#[derive(Debug)]
pub struct Crates(BTreeMap<String, Crate>);

impl Crates {
    /// What a package's program for a target is linked of: no tests, no build scripts, no macros.
    ///
    /// # Errors
    /// cargo's.
    pub fn of_program(root: &Path, package: &str, triple: &str) -> Result<Crates> {
        let mut tree = cargo();
        tree.current_dir(root).args(["tree", "--locked", "--package", package, "--target", triple]);
        tree.args(["--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", "|{p}|{l}"]);
        let mut crates = linked(&output(&mut tree)?);
        let mut metadata = cargo();
        metadata.current_dir(root).args(["metadata", "--locked", "--format-version", "1"]);
        let metadata: Value = serde_json::from_str(&output(&mut metadata)?).context("cargo metadata")?;
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let word = |key: &str| package[key].as_str().unwrap_or_default();
            if let Some(found) = crates.get_mut(&format!("{} {}", word("name"), word("version"))) {
                Path::new(word("manifest_path")).parent().unwrap_or(root).clone_into(&mut found.folder);
            }
        }
        let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
        for (name, checksum) in checksums(&lock) {
            if let Some(found) = crates.get_mut(&name) {
                found.checksum = Some(checksum);
            }
        }
        Ok(Crates(crates))
    }
}

/// What `cargo tree` prints: `2|image v0.25.10|MIT OR Apache-2.0`, two levels below the root.
fn linked(tree: &str) -> BTreeMap<String, Crate> {
    let mut crates: BTreeMap<String, Crate> = BTreeMap::new();
    let mut above: Vec<String> = Vec::new();
    for line in tree.lines() {
        let mut parts = line.split('|');
        let Some(depth) = parts.next().and_then(|depth| depth.parse::<usize>().ok()) else { continue };
        let mut words = parts.next().unwrap_or_default().split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        let name = format!("{name} {}", version.trim_start_matches('v'));
        let licence = parts.next().unwrap_or_default().trim_end_matches(" (*)").to_owned();
        above.truncate(depth);
        if let Some(needs) = above.last().and_then(|above| crates.get_mut(above)) {
            needs.needs.insert(name.clone());
        }
        above.push(name.clone());
        crates.entry(name).or_default().licence = licence;
    }
    crates
}

/// Crates and the hashes of their archives.
fn checksums(lock: &str) -> impl Iterator<Item = (String, String)> {
    lock.split("[[package]]").filter_map(|package| {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key));
            line.map(|line| line.trim_matches([' ', '=', '"']).to_owned())
        };
        Some((format!("{} {}", value("name")?, value("version")?), value("checksum")?))
    })
}

/// A bill of materials in `CycloneDX` 1.5, the same bytes for the same sources.
pub fn bill_of_materials(crates: &Crates, package: &str, version: &str) -> String {
    let own = format!("{package} {version}");
    let (program, linked): (Vec<_>, Vec<_>) = crates.0.iter().partition(|(name, _)| **name == own);
    let components = |crates: Vec<(&String, &Crate)>, kind: &str| -> Vec<Value> {
        crates.into_iter().map(|(name, linked)| component(name, linked, kind)).collect()
    };
    let depends = |(name, linked): (&String, &Crate)| {
        let needs: Vec<_> = linked.needs.iter().map(|name| address(name)).collect();
        json!({ "ref": address(name), "dependsOn": needs })
    };
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": components(program, "application").pop() },
        "components": components(linked, "library"),
        "dependencies": crates.0.iter().map(depends).collect::<Vec<_>>(),
    });
    format!("{bill:#}\n")
}

fn component(name: &str, linked: &Crate, kind: &str) -> Value {
    let (plain, version) = name.split_once(' ').unwrap_or((name, ""));
    let mut component = json!({
        "type": kind,
        "bom-ref": address(name),
        "name": plain,
        "version": version,
        // The older way to say OR.
        "licenses": [{ "expression": linked.licence.replace('/', " OR ") }],
        "purl": address(name),
    });
    if let Some(checksum) = &linked.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// A crate's package URL.
fn address(name: &str) -> String {
    format!("pkg:cargo/{}", name.replace(' ', "@").replace('+', "%2B"))
}

/// The licences of all crates, each text once.
///
/// # Errors
/// A crate's folder that cannot be read.
pub fn licences(crates: &Crates) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut list =
        String::from("Fieldmark is licensed under MIT or Apache-2.0, as you like. Its program contains:\n\n");
    for (name, Crate { licence, folder, .. }) in &crates.0 {
        let _ = writeln!(list, "    {name}: {licence}");
        for text in licence_texts(folder)? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    // In the order of the first crate that has it.
    let mut texts: Vec<_> = texts.into_iter().map(|(text, names)| (names, text)).collect();
    texts.sort();
    for (names, text) in texts {
        let _ = writeln!(list, "\n{}\n{}:\n\n{}", "-".repeat(80), names.join(", "), text.trim_end());
    }
    Ok(list)
}

fn licence_texts(folder: &Path) -> Result<Vec<String>> {
    let is_licence = |name: &str| {
        let name = name.to_uppercase();
        ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"].iter().any(|start| name.starts_with(start))
    };
    // A crate in a workspace may have its licences above it.
    for folder in folder.ancestors().take(2) {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| is_licence(name)).collect();
        names.sort();
        let texts: Vec<_> =
            names.iter().filter_map(|name| fs::read_to_string(folder.join(name)).ok()).collect();
        if !texts.is_empty() {
            return Ok(texts.into_iter().map(|text| text.replace('\r', "")).collect());
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "0|fieldmark v0.1.0 (/work/runtime)|MIT OR Apache-2.0
1|image v0.25.10|MIT OR Apache-2.0
2|byteorder v1.5.0|Unlicense OR MIT
1|zstd-sys v2.0.16+zstd.1.5.7|MIT/Apache-2.0
1|image v0.25.10|MIT OR Apache-2.0 (*)
";

    #[test]
    fn a_bill_names_every_crate_with_licence_hash_and_what_it_needs() {
        let mut crates = Crates(linked(TREE));
        let lock = "[[package]]\nname = \"image\"\nversion = \"0.25.10\"\nchecksum = \"85ab\"\n";
        for (name, checksum) in checksums(lock) {
            crates.0.get_mut(&name).unwrap().checksum = Some(checksum);
        }
        let bill: Value = serde_json::from_str(&bill_of_materials(&crates, "fieldmark", "0.1.0")).unwrap();
        assert_eq!(bill["metadata"]["component"]["purl"], "pkg:cargo/fieldmark@0.1.0");
        let image = &bill["components"][1];
        assert_eq!(image["name"], "image");
        assert_eq!(image["hashes"][0]["content"], "85ab");
        assert_eq!(image["licenses"][0]["expression"], "MIT OR Apache-2.0");
        let zstd = &bill["components"][2];
        assert_eq!(zstd["purl"], "pkg:cargo/zstd-sys@2.0.16%2Bzstd.1.5.7");
        assert_eq!(zstd["licenses"][0]["expression"], "MIT OR Apache-2.0");
        let needs = bill["dependencies"].as_array().unwrap();
        let own = needs.iter().find(|needs| needs["ref"] == "pkg:cargo/fieldmark@0.1.0").unwrap();
        assert_eq!(own["dependsOn"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_licence_that_many_have_is_printed_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LICENSE-MIT"), "Permission is hereby granted\r\n").unwrap();
        let mut crates = Crates(linked(TREE));
        for linked in crates.0.values_mut() {
            folder.path().clone_into(&mut linked.folder);
        }
        let text = licences(&crates).unwrap();
        assert!(text.contains("    byteorder 1.5.0: Unlicense OR MIT\n"), "{text}");
        assert_eq!(text.matches("Permission is hereby granted\n").count(), 1);
        assert!(text.contains("byteorder 1.5.0, fieldmark 0.1.0, image 0.25.10, zstd-sys"), "{text}");
    }
}
