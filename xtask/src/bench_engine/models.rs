//! The networks that engines are measured on: the trainer's own, as the trainer exports them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::run;
use crate::train::build;

/// A network of the trainer with its usual class-aligned layer.
#[derive(Clone, Copy)]
pub struct Model {
    pub backbone: &'static str,
    pub side: u32,
    /// Input pixels a map cell.
    stride: u32,
}

pub const CASES: [Model; 6] = [
    model("mobilenet_v2", 224),
    LITE0,
    model("resnet18", 224),
    model("resnet50", 224),
    // Its maps end there.
    Model { stride: 16, ..model("vgg16", 224) },
    model("resnet18", 448),
];

/// What the trainer takes where nothing is asked for.
pub const LITE0: Model = model("efficientnet_lite0", 224);

/// For whether the bench runs.
pub const QUICK: Model = model("mobilenet_v2", 64);

/// With the usual stride.
pub const fn model(backbone: &'static str, side: u32) -> Model {
    Model { backbone, side, stride: 32 }
}

impl Model {
    /// `BACKBONE-SIDE`, by which `engine.py` knows the side.
    pub fn name(&self) -> String {
        format!("{}-{}", self.backbone, self.side)
    }
}

/// Model files in `folder`, those that are missing made by the trainer. Speed asks for no good answers: an epoch on
/// a picture a class gives each network weights of its own, and numbers between them that are neither all zero nor
/// without end.
///
/// # Errors
/// The trainer's.
pub fn model_files(models: &[Model], folder: &Path) -> Result<Vec<PathBuf>> {
    let files: Vec<PathBuf> = models.iter().map(|model| folder.join(model.name() + ".onnx")).collect();
    if files.iter().all(|file| file.exists()) {
        return Ok(files);
    }
    let trainer = build(None)?.trainer;
    let (birds, run_folder) = (folder.join("birds"), folder.join("run"));
    remove(&birds)?;
    let synth = ["synth", "--classes", "16", "--train", "2", "--test", "1", "--side", "96"];
    run(Command::new(&trainer).args(synth).arg(&birds))?;
    for (model, file) in models.iter().zip(&files).filter(|(_, file)| !file.exists()) {
        remove(&run_folder)?;
        let mut train = Command::new(&trainer);
        train.arg("train").arg(&birds).arg("--out").arg(&run_folder);
        train.args(["--recipe", "photos", "--epochs", "1", "--batch", "8", "--backbone", model.backbone]);
        train.args(["--side", &model.side.to_string(), "--stride", &model.stride.to_string()]);
        run(&mut train)?;
        let mut export = Command::new(&trainer);
        export.arg("export").arg(&run_folder).arg("--data").arg(&birds);
        run(export.args(["--pictures", "4", "--out"]).arg(file))?;
    }
    remove(&run_folder)?;
    Ok(files)
}

fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
