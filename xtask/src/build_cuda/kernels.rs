//! candle's kernels without those of language models.
//!
//! Beside the small units that become PTX, `candle-kernels` compiles fifteen large ones for quantised and
//! mixture-of-experts layers, some for minutes each. No network of ours reaches one. The copy made here has
//! functions that abort in their place.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Sources;
use crate::process::Act;

/// The unit beside the small ones that is left out; the other fourteen stand in folders.
const LEFT_OUT: &str = "mmvq_gguf.cu";

const BUILD: &str = r#"fn main() -> cudaforge::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR").unwrap());
    cudaforge::KernelBuilder::new()
        .source_dir("src")
        .arg("--expt-relaxed-constexpr")
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()?
        .write(&out.join("ptx.rs"))
}
"#;

const BODY: &str =
    r#"{ unimplemented!("built without kernels for quantised and mixture-of-experts layers") }"#;

/// Makes the copy in `folder`, and returns where it is.
///
/// # Errors
/// A file that cannot be read or written, or is not as expected.
pub fn fewer(act: &Act, folder: &Path, sources: &Sources) -> Result<PathBuf> {
    let (from, to) = (sources.folder("candle-kernels")?, folder.join("candle-kernels"));
    for name in files(&from.join("src"))? {
        let path = from.join("src").join(&name);
        let content = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let content = if name == "ffi.rs" { with_bodies(&content)? } else { content };
        act.write(&to.join("src").join(&name), &content)?;
    }
    act.write(&to.join("build.rs"), BUILD)?;
    let manifest = from.join("Cargo.toml");
    let content =
        fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    act.write(&to.join("Cargo.toml"), content)?;
    Ok(to)
}

/// The files of a folder that the copy keeps.
fn files(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let entries = entries.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|entry| entry.path().is_file());
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| name != LEFT_OUT).collect())
}

/// Declarations of foreign functions made into functions that abort: a panic cannot leave them.
fn with_bodies(declarations: &str) -> Result<String> {
    let (before, block) = declarations.split_once("extern \"C\" {").unwrap_or_default();
    let functions = block.trim_end().strip_suffix('}');
    let functions =
        functions.context("candle-kernels' src/ffi.rs is no longer one block of foreign functions")?;
    let functions = functions
        .replace("pub fn ", "pub unsafe extern \"C\" fn ")
        .replace(") -> i32;", &format!(") -> i32 {BODY}"))
        .replace(");", &format!(") {BODY}"));
    Ok(format!("#![allow(non_snake_case, unused_variables)]\n{before}{functions}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_functions_get_bodies() {
        let declared =
            "use a;\nextern \"C\" {\n    pub fn f(\n        x: i32,\n    ) -> i32;\n    pub fn g();\n}\n";
        let made = with_bodies(declared).unwrap();
        let expected = format!(
            "use a;\n\n    pub unsafe extern \"C\" fn f(\n        x: i32,\n    ) -> i32 {BODY}\n    pub unsafe extern \"C\" fn g() {BODY}\n"
        );
        assert!(made.ends_with(&expected), "{made}");
    }

    #[test]
    fn another_shape_of_the_file_is_noticed() {
        let error = with_bodies("pub mod ffi;").unwrap_err().to_string();
        assert!(error.starts_with("candle-kernels' src/ffi.rs"), "{error}");
    }
}
