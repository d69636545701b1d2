//! The folder for the machine with the GPU: programs, `run`, `gpu-check`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::toolkit::Toolkit;
use crate::process::{Act, program};

/// Under `bin`; `run` starts them.
const PROGRAMS: [&str; 3] = ["fieldmark-trainer", "promises", "train"];

const RUN: &str = include_str!("run.sh");

/// `gpu-check` and what it imports or starts.
const CHECK: [(&str, &str); 4] = [
    ("gpu-check", include_str!("gpu_check.py")),
    ("check_programs.py", include_str!("check_programs.py")),
    ("check_speed.py", include_str!("check_speed.py")),
    ("train.py", include_str!("../../../trainer/benches/train.py")),
];

/// What the trainer may weigh at most.
const LARGEST_MB: f64 = 40.0;

/// Fills `out` with what cargo built.
///
/// # Errors
/// A program that cargo did not build, or a file that cannot be written.
pub fn lay_out(act: &Act, out: &Path, artefacts: &str, toolkit: &Toolkit) -> Result<()> {
    for name in PROGRAMS {
        let built = if act.dry_run { name.into() } else { program(artefacts, name)? };
        act.copy(&built, &out.join("bin").join(name))?;
    }
    act.write(&out.join("run"), RUN.replace("@BROUGHT_BY@", &toolkit.brought_by))?;
    for (name, content) in CHECK {
        act.write(&out.join(name), content)?;
    }
    act.run(Command::new("chmod").arg("+x").args(["run", "gpu-check"].map(|name| out.join(name))))?;
    if act.dry_run { Ok(()) } else { say_sizes(out) }
}

/// Puts what the programs load into `lib`, where `run` looks first.
///
/// # Errors
/// The toolkit is not one of wheels, or a file cannot be copied.
pub fn copy_libraries(act: &Act, out: &Path, toolkit: &Toolkit) -> Result<()> {
    for folder in ["lib", "../cudnn/lib"].map(|folder| toolkit.home.join(folder)) {
        if act.dry_run {
            eprintln!("# copy libraries of {} to {}", folder.display(), out.join("lib").display());
            continue;
        }
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("no libraries of wheels in {}", folder.display()))?;
        for entry in entries {
            let name = entry?.file_name();
            if is_loaded(&name.to_string_lossy()) {
                act.copy(&folder.join(&name), &out.join("lib").join(&name))?;
            }
        }
    }
    Ok(())
}

/// Whether a program loads this file, itself or through another: not the compiler's, nor a second name for the linker.
fn is_loaded(name: &str) -> bool {
    let stems =
        ["libcublas.", "libcublasLt.", "libcurand.", "libcudnn", "libnvrtc.so", "libnvrtc-builtins.so"];
    name.contains(".so.") && stems.iter().any(|stem| name.starts_with(stem))
}

fn say_sizes(out: &Path) -> Result<()> {
    for name in PROGRAMS {
        let path = out.join("bin").join(name);
        let bytes = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        let megabytes = bytes as f64 / 1e6;
        let warning = if name == PROGRAMS[0] && megabytes > LARGEST_MB {
            ", more than the 40 it should be"
        } else {
            ""
        };
        println!("{}  {megabytes:.1} MB{warning}", path.display());
    }
    let out = out.display();
    println!(
        "Carry {out} to the machine with the GPU; there:\n  {out}/gpu-check MY_PICTURES\n  {out}/run fieldmark-trainer train MY_PICTURES --out my-run --device cuda"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_to_carry_are_those_that_are_loaded() {
        let carried = ["libcublasLt.so.13", "libcudnn_ops.so.9", "libnvrtc-builtins.so.13.0"];
        assert!(carried.into_iter().all(is_loaded));
        let left =
            ["libcublas.so", "libnvvm.so.4", "libnvrtc.alt.so.13", "libcudart_static.a", "libcudart.so.13"];
        assert!(!left.into_iter().any(is_loaded));
    }
}
