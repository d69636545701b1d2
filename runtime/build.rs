//! Says by `cfg(neon32)` that a 32-bit ARM is compiled for that has NEON, which `cfg(target_feature)` keeps to itself there.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(neon32)");
    if env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv7neon-")) {
        println!("cargo::rustc-cfg=neon32");
    }
}
