//! Compiles the CUDA kernels to PTX, when the feature `cuda` asks for them; else does nothing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const KERNELS: &str = "src/net/ops/cuda/kernels";

/// One PTX file each.
const MODULES: [&str; 7] = ["depthwise", "filter", "groups", "norm", "pointwise", "pool", "sgd"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed={KERNELS}");
    for variable in ["NVCC", "CUDA_HOME", "CUDA_COMPUTE_CAP", "PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // PTX of an older processor runs on newer ones; 80 is the first with bf16.
    let capability = env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".into());
    for module in MODULES {
        compile(&nvcc(), module, &capability, &out);
    }
}

fn nvcc() -> PathBuf {
    let home = || env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin/nvcc"));
    env::var_os("NVCC").map(PathBuf::from).or_else(home).unwrap_or_else(|| "nvcc".into())
}

fn compile(nvcc: &Path, module: &str, capability: &str, out: &Path) {
    let source = format!("{KERNELS}/{module}.cu");
    let status = Command::new(nvcc)
        .arg("--ptx")
        .arg(format!("-arch=compute_{capability}"))
        .args(["-O3", "-std=c++17", "-o"])
        .args([out.join(module).with_extension("ptx"), PathBuf::from(&source)])
        .status();
    let reason = match status {
        Ok(status) if status.success() => return,
        Ok(status) => format!("{} failed on {source}: {status}", nvcc.display()),
        Err(error) => format!(
            "cannot start {}: {error}; the feature cuda needs the CUDA compiler: set CUDA_HOME or NVCC, put nvcc \
             into PATH, or run `cargo xtask build-cuda`, which fetches it",
            nvcc.display()
        ),
    };
    println!("cargo::error={reason}");
    exit(1);
}
