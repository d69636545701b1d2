//! `cargo xtask check-packages`: every package of `cargo xtask dist` is installed, started and removed in Debian 12 of its
//! architecture, by that system's own dpkg, under emulation. Minutes, once the systems are there; so on demand.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::boards::{Choice, processor};
use crate::process::{Act, output, run, workspace};
use crate::programs::found;

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Model file, whose self-test the installed program does
    model: PathBuf,
    /// Folder with the packages
    #[arg(long, default_value = "target/dist")]
    dist: PathBuf,
}

/// Where packages keep models, and where this one's is laid.
const MODEL: &str = "var/lib/fieldmark/check.onnx";

/// All packages in the folder, one after the other.
///
/// # Errors
/// No packages, no proot or debootstrap, or a package that does not install, start or leave.
pub fn check_packages(options: &Options) -> Result<()> {
    let entries = fs::read_dir(&options.dist)
        .with_context(|| format!("no packages in {}; make some: cargo xtask dist", options.dist.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut packages: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    packages.sort();
    ensure!(!packages.is_empty(), "no packages in {}; make some: cargo xtask dist", options.dist.display());
    for package in packages {
        check(&package, &options.model).with_context(|| package.display().to_string())?;
        println!("{}: installed, passed the model's self-test, removed", package.display());
    }
    Ok(())
}

fn check(package: &Path, model: &Path) -> Result<()> {
    let field = |name: &str| {
        let text = output(Command::new("dpkg-deb").arg("--field").arg(package).arg(name))?;
        Ok::<_, anyhow::Error>(text.trim().to_owned())
    };
    let system = System::of(&field("Architecture")?)?;
    let name = field("Package")?;
    let before = system.files()?;
    Act::REAL.copy(package, &system.root.join("package.deb"))?;
    let installed = system.run(&["dpkg", "--install", "/package.deb"]);
    let started = installed.and_then(|()| {
        Act::REAL.copy(model, &system.root.join(MODEL))?;
        system.run_alone(&["/usr/bin/fieldmark", "verify", &format!("/{MODEL}")])
    });
    // Also after a failure: the system is used again.
    let removed = system.run(&["dpkg", "--purge", &name]);
    let is_model_kept = system.root.join(MODEL).exists();
    Act::REAL.remove_folder(&system.root.join("var/lib/fieldmark"))?;
    for name in ["package.deb", "emulator"] {
        let _ = fs::remove_file(system.root.join(name));
    }
    started?;
    removed?;
    ensure!(is_model_kept, "removing it took the user's model away");
    let left: Vec<_> = system.files()?.into_iter().filter(|file| !before.contains(file)).collect();
    ensure!(left.is_empty(), "it left {left:?} behind");
    Ok(())
}

/// A Debian 12 in a folder.
struct System {
    root: PathBuf,
    proot: PathBuf,
    /// The emulator and its options; none for this machine's own architecture.
    processor: Option<(PathBuf, [&'static str; 2])>,
}

impl System {
    /// The one of an architecture, made when it is not there yet.
    fn of(architecture: &str) -> Result<System> {
        let (board, bits) = match architecture {
            "arm64" => ("pi4", 64),
            "armhf" => ("pi4", 32),
            "amd64" => ("x86-64", 64),
            _ => bail!("nobody has said how {architecture} is emulated"),
        };
        let choice = Choice { board: board.to_owned(), bits: Some(bits), ..Choice::default() };
        let processor = processor(choice.found()?.1)?;
        let whole = workspace()?.target.join("systems").join(architecture);
        let system = System { root: whole.clone(), proot: found("proot")?, processor };
        if whole.exists() {
            return Ok(system);
        }
        let root = whole.with_extension("unfinished");
        Act::REAL.remove_folder(&root)?;
        let mut debootstrap = Command::new(found("debootstrap")?);
        debootstrap.args(["--foreign", "--variant=minbase", "--arch", architecture, "bookworm"]).arg(&root);
        run(&mut debootstrap)
            .context("no Debian to try packages in; debootstrap has to be started by root")?;
        let unfinished = System { root, ..system };
        unfinished.install_base()?;
        fs::rename(&unfinished.root, &whole).with_context(|| format!("cannot finish {}", whole.display()))?;
        Ok(System { root: whole, ..unfinished })
    }

    /// debootstrap has only unpacked everything; what packages of ours depend on gets to be known to dpkg, too.
    fn install_base(&self) -> Result<()> {
        let archives = "var/cache/apt/archives";
        let is_base = |name: &str| {
            ["libc6_", "libcrypt1_", "libgcc-s1_", "gcc-12-base_"].iter().any(|start| name.starts_with(start))
        };
        let entries = fs::read_dir(self.root.join(archives)).context("debootstrap left no packages")?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let base: Vec<_> =
            names.filter(|name| is_base(name)).map(|name| format!("/{archives}/{name}")).collect();
        let mut words = vec!["dpkg", "--force-depends", "--install"];
        words.extend(base.iter().map(String::as_str));
        self.run(&words)
    }

    /// A program of the system that starts no other. proot, for which it need not be so, knows nothing of the newest
    /// system calls.
    fn run_alone(&self, words: &[&str]) -> Result<()> {
        let mut chroot = Command::new("chroot");
        chroot.arg(&self.root);
        if let Some((emulator, options)) = &self.processor {
            Act::REAL.copy(emulator, &self.root.join("emulator"))?;
            chroot.arg("/emulator").args(options);
        }
        run(chroot.args(words))
    }

    /// A program of the system, as its root.
    fn run(&self, words: &[&str]) -> Result<()> {
        let mut proot = Command::new(&self.proot);
        if let Some((emulator, options)) = &self.processor {
            proot.arg("-q").arg(format!("{} {}", emulator.display(), options.join(" ")));
        }
        proot.arg("-r").arg(&self.root).args(["-0", "-w", "/"]).args(words);
        proot.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        run(proot.env("LC_ALL", "C.UTF-8"))
    }

    /// All files but dpkg's own notes.
    fn files(&self) -> Result<Vec<OsString>> {
        let mut find = Command::new("find");
        find.current_dir(&self.root).args([".", "-path", "./var/lib/dpkg", "-prune", "-o", "-path"]);
        let text = output(find.args(["./var/log", "-prune", "-o", "-print"]))?;
        Ok(text.lines().map(OsString::from).collect())
    }
}
