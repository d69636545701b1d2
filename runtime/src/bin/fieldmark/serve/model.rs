//! The model in use, which can be exchanged while pictures are named.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use fieldmark::engine::{Engine, Options, read_model};

use crate::args::{ComputeArgs, ServeArgs, options};
use crate::inspect;
use crate::verify::{SelfTestError, check};

/// A loaded model that has passed its self-test on this processor.
pub struct Loaded {
    /// What names pictures.
    pub engine: Engine,
    /// Of the file.
    pub bytes: u64,
}

/// The model in use.
pub struct Model {
    path: PathBuf,
    options: Options,
    /// `--precision` and `--device`, as they were typed.
    compute: Vec<String>,
    loaded: RwLock<Arc<Loaded>>,
}

impl Model {
    /// # Errors
    /// A refused model, and one that fails its self-test.
    pub fn load(args: &ServeArgs) -> anyhow::Result<Model> {
        let options = options(&args.compute, args.threads)?;
        let path = args.model.clone();
        let loaded = RwLock::new(Arc::new(load(&path, options)?));
        Ok(Model { path, options, compute: typed(&args.compute), loaded })
    }

    /// The one to name a picture with.
    pub fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Loads the file again; pictures that are being named keep the old one until they are done.
    ///
    /// # Errors
    /// As [`Model::load`]; the model in use stays.
    pub fn reload(&self) -> anyhow::Result<()> {
        self.verify()?;
        let loaded = Arc::new(load(&self.path, self.options)?);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// Another process tries the file first: on boards a model that breaks the engine ends the process that it is in.
    fn verify(&self) -> anyhow::Result<()> {
        let program = env::current_exe().context("the program does not find itself")?;
        let mut verify = Command::new(program);
        let output = verify.arg("verify").arg(&self.path).args(&self.compute).output();
        let output = output.context("the program cannot be started to try the model")?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(anyhow!("{}", said.trim().trim_start_matches("error: ").to_owned()))
    }

    /// The file's name, without the folders that it is in.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().display().to_string()
    }

    /// The report of `inspect`.
    ///
    /// # Errors
    /// That JSON has no words for it.
    pub fn report(&self) -> serde_json::Result<String> {
        let loaded = self.current();
        inspect::json(self.name(), loaded.bytes, &loaded.engine)
    }
}

fn load(path: &Path, options: Options) -> anyhow::Result<Loaded> {
    let file = read_model(path)?;
    let bytes = file.len() as u64;
    let name = || path.display().to_string();
    let engine = Engine::from_bytes(file, options).with_context(name)?;
    let report = engine.self_test().map_err(SelfTestError::from).with_context(name)?;
    check(&report).with_context(name)?;
    Ok(Loaded { engine, bytes })
}

fn typed(compute: &ComputeArgs) -> Vec<String> {
    let ComputeArgs { precision, device } = compute;
    let values = [("--precision", precision.to_possible_value()), ("--device", device.to_possible_value())];
    let named = |(flag, value): (&str, Option<_>)| {
        value.map(|value: clap::builder::PossibleValue| format!("{flag}={}", value.get_name()))
    };
    values.into_iter().filter_map(named).collect()
}
