//! `cargo xtask sanitize`: the kernels' tests under AddressSanitizer.
//!
//! The sanitizer is part of stable toolchains for Linux, behind a flag that only nightly ones take without being told
//! (`RUSTC_BOOTSTRAP`). The kernels need nothing but `std`, so no engine is built for it.

use anyhow::Result;

use crate::process::{cargo, run, workspace};

/// The kernels use `unsafe` alike on all processors; this one is what CI has.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds and runs them; a read or write outside of a buffer ends with a report.
///
/// # Errors
/// A test that fails, or a machine of another kind.
pub fn sanitize() -> Result<()> {
    let mut test = cargo();
    test.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    test.args(["test", "--package", "fieldmark", "--no-default-features", "--features", "std", "--lib"]);
    // A folder of its own: build scripts of many crates look at that variable, and everything would be compiled again after it.
    test.arg("--target-dir").arg(workspace()?.target.join("sanitize"));
    // What the crate's other tests and benches need is compiled, too, and not run.
    test.args(["--config", "profile.dev.package.\"*\".opt-level=0"]);
    run(test.args(["--target", TARGET, "kernels"]))
}
