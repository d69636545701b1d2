//! `cargo xtask dist`: what people download is whole, runs, and is the same bytes for the same sources.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{finished, program, xtask};

const NAME: &str = concat!("fieldmark-", env!("CARGO_PKG_VERSION"), "-x86_64-unknown-linux-gnu");
const PACKAGE: &str = concat!("fieldmark_", env!("CARGO_PKG_VERSION"), "_amd64.deb");

/// What `program` with these arguments says in `folder`.
fn said(folder: &Path, program: &str, args: &[&str]) -> String {
    finished(Command::new(program).args(args).current_dir(folder)).expect(0).out()
}

/// Packs the everyday program; returns the hashes.
fn pack(out: &Path) -> String {
    let mut dist = xtask();
    dist.args(["dist", "--board", "x86-64", "--program"]).arg(program("fieldmark").get_program());
    finished(dist.arg("--out").arg(out)).expect(0).out()
}

#[test]
fn what_is_packed_can_be_unpacked_run_and_read() {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        eprintln!("not tested: no dpkg-deb");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("down loads");
    let sums = pack(&out);
    assert_eq!(sums, pack(&out), "other bytes the second time");
    for file in [format!("{NAME}.tar.gz"), format!("{NAME}.cdx.json"), PACKAGE.to_owned()] {
        assert!(sums.contains(&format!("  {file}\n")), "{sums}");
    }
    assert_eq!(sums.lines().count(), 3);
    said(&out, "sha256sum", &["--check", "--strict", "SHA256SUMS"]);

    let control = said(&out, "dpkg-deb", &["--field", PACKAGE]);
    for line in ["Package: fieldmark\n", "Architecture: amd64\n", "Depends: libc6 (>= 2."] {
        assert!(control.contains(line), "{control}");
    }
    let contents = said(&out, "dpkg-deb", &["--contents", PACKAGE]);
    assert!(contents.lines().all(|line| line.contains(" root/root ")), "{contents}");
    said(&out, "dpkg-deb", &["--extract", PACKAGE, "system"]);
    let system = out.join("system");
    let version = concat!("fieldmark ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(said(&system, "usr/bin/fieldmark", &["--version"]), version);
    assert!(system.join("var/lib/fieldmark").is_dir());
    let unit = fs::read_to_string(system.join("usr/lib/systemd/system/fieldmark@.service")).unwrap();
    assert!(unit.contains("\nExecStart=/usr/bin/fieldmark serve /var/lib/fieldmark/%i.onnx\n"), "{unit}");
    // systemd 237, of JetPack 4, takes a list of groups that it does not know for an empty one: what is not allowed is listed.
    let filters = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
    assert!(
        filters.clone().count() > 0 && filters.into_iter().all(|filter| filter.starts_with('~')),
        "{unit}"
    );
    let scripts = said(&out, "dpkg-deb", &["--info", PACKAGE]);
    assert!(["postinst", "postrm", "prerm"].iter().all(|script| scripts.contains(script)), "{scripts}");
    let page =
        said(&system, "gzip", &["--decompress", "--stdout", "usr/share/man/man1/fieldmark-predict.1.gz"]);
    assert!(page.contains("Likeliest classes to name") && page.contains(r"\-\-cues"), "{page}");
    said(&system, "bash", &["-n", "usr/share/bash-completion/completions/fieldmark"]);
    let zsh = fs::read_to_string(system.join("usr/share/zsh/vendor-completions/_fieldmark")).unwrap();
    assert!(zsh.starts_with("#compdef fieldmark") && zsh.contains("--overlay"), "{zsh}");

    said(&out, "tar", &["--extract", "--gzip", "--file", &format!("{NAME}.tar.gz")]);
    let archive = out.join(NAME);
    assert_eq!(said(&archive, "./fieldmark", &["--version"]), version);
    assert!(archive.join("man/fieldmark-verify.1").exists() && archive.join("README.txt").exists());
    let licences = fs::read_to_string(archive.join("LICENCES.txt")).unwrap();
    assert!(licences.contains("    tract-onnx 0.") && licences.contains("Apache License"), "{licences}");

    let bill = fs::read_to_string(out.join(format!("{NAME}.cdx.json"))).unwrap();
    let bill: Value = serde_json::from_str(&bill).unwrap();
    let parts = bill["components"].as_array().unwrap();
    let has = |name: &str| parts.iter().any(|part| part["name"] == name);
    assert!(has("tract-onnx") && has("clap"));
    assert!(!has("candle-core") && !has("clap_mangen") && !has("fieldmark"));
}
