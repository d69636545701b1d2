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

/// Tells the kernel of this namespace alone to start the other processor's programs by the emulator, and goes into the system.
const EMULATED: &str = r#"
    line=$1 root=$2
    shift 2
    mkdir -p "$root.emulators"
    mount -t binfmt_misc binfmt_misc "$root.emulators" || {
        echo "programs of another processor are started through binfmt_misc of a namespace: Linux 6.7 or later" >&2
        exit 1
    }
    printf %s "$line" > "$root.emulators/register"
    exec chroot "$root" "$@"
"#;

/// What is registered for an emulator, `qemu-aarch64` or `qemu-arm`: the head of the ELF files of its processor, without
/// their system's number, and programs or libraries alike. It is opened now (`F`), as the system does not have it.
fn binfmt(emulator: &Path) -> Result<String> {
    let (bits, machine) = match emulator.file_name().and_then(|name| name.to_str()) {
        Some("qemu-aarch64") => ("02", "b7"),
        Some("qemu-arm") => ("01", "28"),
        _ => bail!("nobody has said what {} runs", emulator.display()),
    };
    let zeros = r"\x00".repeat(9);
    let magic = format!(r"\x7fELF\x{bits}\x01\x01{zeros}\x02\x00\x{machine}\x00");
    let mask = format!(r"{}\x00{}\xfe\xff\xff\xff", r"\xff".repeat(7), r"\xff".repeat(8));
    Ok(format!(":fieldmark:M::{magic}:{mask}:{}:F", emulator.display()))
}

/// Where packages keep models, and where this one's is laid.
const MODEL: &str = "var/lib/fieldmark/check.onnx";

/// All packages in the folder, one after the other.
///
/// # Errors
/// No packages, no debootstrap or namespaces, or a package that does not install, start or leave.
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
        system.run(&["/usr/bin/fieldmark", "verify", &format!("/{MODEL}")])
    });
    // Also after a failure: the system is used again.
    let removed = system.run(&["dpkg", "--purge", &name]);
    let is_model_kept = system.root.join(MODEL).exists();
    Act::REAL.remove_folder(&system.root.join("var/lib/fieldmark"))?;
    let _ = fs::remove_file(system.root.join("package.deb"));
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
    /// The emulator and its processor; none for this machine's own architecture.
    processor: Option<(PathBuf, &'static str)>,
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
        let system = System { root: whole.clone(), processor };
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

    /// A program of the system, as its root, with all that it starts.
    fn run(&self, words: &[&str]) -> Result<()> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-ec"]);
        if let Some((emulator, cpu)) = &self.processor {
            unshare.args([EMULATED, "sh"]).arg(binfmt(emulator)?).env("QEMU_CPU", cpu);
        } else {
            unshare.args([r#"exec chroot "$@""#, "sh"]);
        }
        unshare.arg(&self.root).args(words);
        unshare.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        run(unshare.env("LC_ALL", "C.UTF-8"))
    }

    /// All files but dpkg's own notes.
    fn files(&self) -> Result<Vec<OsString>> {
        let mut find = Command::new("find");
        find.current_dir(&self.root).args([".", "-path", "./var/lib/dpkg", "-prune", "-o", "-path"]);
        let text = output(find.args(["./var/log", "-prune", "-o", "-print"]))?;
        Ok(text.lines().map(OsString::from).collect())
    }
}
