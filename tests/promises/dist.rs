//! `cargo xtask dist`: what people download is whole, runs, and is the same bytes for the same sources.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{finished, program, xtask};

/// The archive's and the package's name.
fn names(program: &str) -> [String; 2] {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    [format!("{program}-{VERSION}-x86_64-unknown-linux-gnu"), format!("{program}_{VERSION}_amd64.deb")]
}

/// What these tests cannot do without.
fn has_dpkg() -> bool {
    let has = Command::new("dpkg-deb").arg("--version").output().is_ok();
    if !has {
        eprintln!("not tested: no dpkg-deb");
    }
    has
}

/// What `program` with these arguments says in `folder`.
fn said(folder: &Path, program: &str, args: &[&str]) -> String {
    finished(Command::new(program).args(args).current_dir(folder)).expect(0).out()
}

/// Packs an everyday program; returns the hashes.
fn pack(name: &str, out: &Path) -> String {
    let mut dist = xtask();
    dist.args(["dist", "--package", name, "--board", "x86-64", "--program"]).arg(program(name).get_program());
    finished(dist.arg("--out").arg(out)).expect(0).out()
}

#[test]
fn what_is_packed_can_be_unpacked_run_and_read() {
    if !has_dpkg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("down loads");
    let sums = pack("fieldmark", &out);
    assert_eq!(sums, pack("fieldmark", &out), "other bytes the second time");
    let [name, package] = &names("fieldmark");
    for file in [format!("{name}.tar.gz"), format!("{name}.cdx.json"), package.clone()] {
        assert!(sums.contains(&format!("  {file}\n")), "{sums}");
    }
    assert_eq!(sums.lines().count(), 3);
    said(&out, "sha256sum", &["--check", "--strict", "SHA256SUMS"]);

    let control = said(&out, "dpkg-deb", &["--field", package]);
    for line in ["Package: fieldmark\n", "Architecture: amd64\n", "Depends: libc6 (>= 2."] {
        assert!(control.contains(line), "{control}");
    }
    let contents = said(&out, "dpkg-deb", &["--contents", package]);
    assert!(contents.lines().all(|line| line.contains(" root/root ")), "{contents}");
    said(&out, "dpkg-deb", &["--extract", package, "system"]);
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
    let scripts = said(&out, "dpkg-deb", &["--info", package]);
    assert!(["postinst", "postrm", "prerm"].iter().all(|script| scripts.contains(script)), "{scripts}");
    let page =
        said(&system, "gzip", &["--decompress", "--stdout", "usr/share/man/man1/fieldmark-predict.1.gz"]);
    assert!(page.contains("likeliest classes to name") && page.contains(r"\-\-cues"), "{page}");
    said(&system, "bash", &["-n", "usr/share/bash-completion/completions/fieldmark"]);
    let zsh = fs::read_to_string(system.join("usr/share/zsh/vendor-completions/_fieldmark")).unwrap();
    assert!(zsh.starts_with("#compdef fieldmark") && zsh.contains("--overlay"), "{zsh}");

    said(&out, "tar", &["--extract", "--gzip", "--file", &format!("{name}.tar.gz")]);
    let archive = out.join(name);
    assert_eq!(said(&archive, "./fieldmark", &["--version"]), version);
    assert!(archive.join("man/fieldmark-verify.1").exists());
    no_clone_is_needed(&archive);
    let licences = fs::read_to_string(archive.join("LICENCES.txt")).unwrap();
    assert!(licences.contains("    tract-onnx 0.") && licences.contains("Apache License"), "{licences}");

    let bill = fs::read_to_string(out.join(format!("{name}.cdx.json"))).unwrap();
    let bill: Value = serde_json::from_str(&bill).unwrap();
    let parts = bill["components"].as_array().unwrap();
    let has = |name: &str| parts.iter().any(|part| part["name"] == name);
    assert!(has("tract-onnx") && has("clap"));
    assert!(!has("candle-core") && !has("clap_mangen") && !has("fieldmark"));
}

#[test]
fn the_trainer_is_packed_as_the_boards_program_is() {
    if !has_dpkg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("downloads");
    let sums = pack("fieldmark-trainer", &out);
    assert_eq!(sums, pack("fieldmark-trainer", &out), "other bytes the second time");
    let [name, package] = &names("fieldmark-trainer");
    for file in [format!("{name}.tar.gz"), format!("{name}.cdx.json"), package.clone()] {
        assert!(sums.contains(&format!("  {file}\n")), "{sums}");
    }
    assert_eq!(sums.lines().count(), 3);
    said(&out, "sha256sum", &["--check", "--strict", "SHA256SUMS"]);

    let control = said(&out, "dpkg-deb", &["--field", package]);
    for line in ["Package: fieldmark-trainer\n", "Architecture: amd64\n", "Depends: libc6 (>= 2."] {
        assert!(control.contains(line), "{control}");
    }
    // It stands beside the board's program, and serves nothing.
    assert!(!control.contains("Conflicts"), "{control}");
    said(&out, "dpkg-deb", &["--extract", package, "system"]);
    let system = out.join("system");
    assert!(!system.join("usr/lib").exists() && !system.join("var").exists());
    let version = concat!("fieldmark-trainer ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(said(&system, "usr/bin/fieldmark-trainer", &["--version"]), version);
    let page = said(
        &system,
        "gzip",
        &["--decompress", "--stdout", "usr/share/man/man1/fieldmark-trainer-train.1.gz"],
    );
    assert!(page.contains(r"\-\-epochs"), "{page}");
    said(&system, "bash", &["-n", "usr/share/bash-completion/completions/fieldmark-trainer"]);
    let zsh = fs::read_to_string(system.join("usr/share/zsh/vendor-completions/_fieldmark-trainer")).unwrap();
    assert!(zsh.starts_with("#compdef fieldmark-trainer") && zsh.contains("--epochs"), "{zsh}");

    said(&out, "tar", &["--extract", "--gzip", "--file", &format!("{name}.tar.gz")]);
    let archive = out.join(name);
    said(
        &archive,
        "./fieldmark-trainer",
        &["synth", "birds", "--classes", "2", "--train", "2", "--test", "1"],
    );
    let found = said(&archive, "./fieldmark-trainer", &["lint", "birds"]);
    assert!(found.starts_with("2 classes; "), "{found}");
    assert!(archive.join("man/fieldmark-trainer-export.1").exists());
    no_clone_is_needed(&archive);
    let licences = fs::read_to_string(archive.join("LICENCES.txt")).unwrap();
    assert!(licences.contains("    candle-core 0.") && licences.contains("Apache License"), "{licences}");

    let bill = fs::read_to_string(out.join(format!("{name}.cdx.json"))).unwrap();
    let bill: Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(bill["metadata"]["component"]["name"], "fieldmark-trainer");
    let parts = bill["components"].as_array().unwrap();
    let has = |name: &str| parts.iter().any(|part| part["name"] == name);
    assert!(has("candle-core") && has("fieldmark") && !has("clap_mangen") && !has("fieldmark-trainer"));
}

/// What an archive tells its reader to type is in the archive, or in its companion.
#[track_caller]
fn no_clone_is_needed(archive: &Path) {
    let readme = fs::read_to_string(archive.join("README.txt")).unwrap();
    assert!(readme.contains("    install -m 755 fieldmark") && !readme.contains("cargo xtask"), "{readme}");
}
