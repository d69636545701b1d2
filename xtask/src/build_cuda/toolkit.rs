//! CUDA's compiler and libraries: installed ones, or Python wheels made into the same layout.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Sources;
use crate::process::Act;
use crate::python::python_with_packages;

/// The CUDA of the wheels, as cudarc writes it.
const VERSION: &str = "13000";

/// Compiler first, then what programs are linked with: the versions that PyTorch's own wheels for CUDA 13.0 name.
const PINS: [&str; 9] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cublas==13.1.0.3",
    "nvidia-curand==10.4.0.35",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-cudnn-cu13==9.19.0.56",
];

/// What a program needs when it runs, apart from the driver.
const RUN_TIME: [&str; 4] = ["nvidia-cublas", "nvidia-curand", "nvidia-cuda-nvrtc", "nvidia-cudnn-cu13"];

/// Wheels carry `libX.so.N` alone, the linker looks for `libX.so`.
const LINKED: [&str; 5] = [
    "lib/libcublas.so.13",
    "lib/libcublasLt.so.13",
    "lib/libcurand.so.10",
    "lib/libnvrtc.so.13",
    "../cudnn/lib/libcudnn.so.9",
];

/// A CUDA that programs are built with.
pub struct Toolkit {
    /// What `CUDA_HOME` stands for.
    pub home: PathBuf,
    /// As cudarc writes it; nvcc is asked where it is not known.
    pub version: Option<&'static str>,
    /// How a user gets its libraries, as the `run` script says it.
    pub brought_by: String,
}

impl Toolkit {
    /// An installed one.
    ///
    /// # Errors
    /// There is no compiler in it.
    pub fn installed(home: &Path) -> Result<Toolkit> {
        let nvcc = home.join("bin/nvcc");
        ensure!(
            nvcc.is_file(),
            "{} is not there; name the folder of CUDA with --cuda-home, or unset CUDA_HOME to fetch one as Python wheels",
            nvcc.display()
        );
        let brought_by = format!("install CUDA and cuDNN in the versions of {}", home.display());
        Ok(Toolkit { home: home.to_owned(), version: None, brought_by })
    }

    /// The wheels, in a Python environment of their own, completed in place.
    ///
    /// # Errors
    /// No Python, no wheels, or no C compiler.
    pub fn from_wheels(act: &Act, folder: &Path, sources: &Sources) -> Result<Toolkit> {
        let python = python_with_packages(act, &folder.join("venv"), &PINS, "nvidia.cu13, nvidia.cudnn")?;
        let ask = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let site = act.output(Command::new(python).args(["-c", ask]), "SITE_PACKAGES")?;
        let home = Path::new(site.trim()).join("nvidia/cu13");
        for library in LINKED {
            link(act, &home, library)?;
        }
        driver_stub(act, &home.join("lib/stubs"), sources)?;
        let wheels =
            PINS.iter().filter(|pin| RUN_TIME.iter().any(|name| pin.starts_with(&format!("{name}=="))));
        let wheels: Vec<&str> = wheels.copied().collect();
        Ok(Toolkit { home, version: Some(VERSION), brought_by: format!("pip install {}", wheels.join(" ")) })
    }

    /// Environment that makes cargo's build scripts and the linker take this one, and no other.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let in_home = |path: &str| OsString::from(self.home.join(path));
        let libraries = ["lib", "lib/stubs", "lib64", "lib64/stubs"].map(|path| self.home.join(path));
        let mut path = vec![self.home.join("bin")];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let joined = |paths: &[PathBuf]| env::join_paths(paths).unwrap_or_default();
        let mut variables = vec![
            ("CUDA_HOME", self.home.clone().into()),
            ("CUDA_PATH", self.home.clone().into()),
            ("CUDA_ROOT", self.home.clone().into()),
            ("NVCC", in_home("bin/nvcc")),
            ("PATH", joined(&path)),
            ("LIBRARY_PATH", joined(&libraries)),
        ];
        variables.extend(self.version.map(|version| ("CUDARC_CUDA_VERSION", version.into())));
        variables
    }
}

/// Gives a library the name that the linker looks for.
fn link(act: &Act, home: &Path, library: &str) -> Result<()> {
    let file = home.join(library);
    let name = Path::new(library).file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split_inclusive(".so").next().unwrap_or_default();
    let link = home.join("lib").join(stem);
    if act.dry_run {
        eprintln!("# link {} as {}", file.display(), link.display());
        return Ok(());
    }
    if link.exists() {
        return Ok(());
    }
    fs::hard_link(&file, &link)
        .with_context(|| format!("cannot link {} as {}", file.display(), link.display()))
}

/// The driver's library belongs to the driver, and no wheel has one to link with: this one has its names, and
/// answers 100, "no device", to every call.
fn driver_stub(act: &Act, folder: &Path, sources: &Sources) -> Result<()> {
    let bindings = sources.folder("cudarc")?.join("src/driver/sys/mod.rs");
    let bindings =
        fs::read_to_string(&bindings).with_context(|| format!("cannot read {}", bindings.display()))?;
    let lines =
        driver_functions(&bindings).into_iter().map(|name| format!("int cu{name}(void) {{ return 100; }}\n"));
    let source = folder.join("cuda.c");
    act.write(&source, lines.collect::<String>())?;
    let stub = folder.join("libcuda.so");
    act.run(
        Command::new("cc")
            .args(["-shared", "-fPIC", "-w", "-fno-builtin", "-Wl,-soname,libcuda.so.1", "-o"])
            .args([&stub, &source]),
    )
    .context("no stub of the driver's library; install a C compiler (Debian: gcc)")
}

/// What stands after `cu` in names like `cuInit` that cudarc declares.
fn driver_functions(bindings: &str) -> BTreeSet<&str> {
    let declared = bindings.split("fn cu").skip(1);
    let names = declared.filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        let is_function = rest.starts_with(|c: char| c.is_ascii_uppercase()) && rest[end..].starts_with('(');
        is_function.then_some(&rest[..end])
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stub_has_every_function_once() {
        let bindings =
            "pub unsafe fn cuInit(f: u32) { fn cuInit(f: u32); } fn culib() fn cuMemAlloc_v2(n: usize)";
        assert_eq!(driver_functions(bindings).into_iter().collect::<Vec<_>>(), ["Init", "MemAlloc_v2"]);
    }

    #[test]
    fn a_folder_without_compiler_is_no_toolkit() {
        let error = Toolkit::installed(Path::new("/nowhere")).err().unwrap().to_string();
        assert!(error.starts_with("/nowhere/bin/nvcc is not there; "), "{error}");
    }

    #[test]
    fn what_a_program_needs_is_among_the_pins() {
        for name in RUN_TIME {
            assert!(PINS.iter().any(|pin| pin.split("==").next() == Some(name)), "{name}");
        }
    }
}
