//! The model in use, which can be exchanged while pictures are named.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use fieldmark::engine::{Engine, Options, read_model};

use crate::args::{ServeArgs, options};
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
    loaded: RwLock<Arc<Loaded>>,
}

impl Model {
    /// # Errors
    /// A refused model, and one that fails its self-test.
    pub fn load(args: &ServeArgs) -> anyhow::Result<Model> {
        let options = options(&args.compute, args.threads)?;
        let path = args.model.clone();
        let loaded = RwLock::new(Arc::new(load(&path, options)?));
        Ok(Model { path, options, loaded })
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
        let loaded = Arc::new(load(&self.path, self.options)?);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// The file's name, without the folders that it is in.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().display().to_string()
    }

    /// The report of `inspect`.
    ///
    /// # Errors
    /// None that is known.
    pub fn report(&self) -> serde_json::Result<String> {
        let loaded = self.current();
        inspect::json(self.name(), loaded.bytes, &loaded.engine)
    }
}

fn load(path: &std::path::Path, options: Options) -> anyhow::Result<Loaded> {
    let file = read_model(path)?;
    let bytes = file.len() as u64;
    let name = || path.display().to_string();
    let engine = Engine::from_bytes(file, options).with_context(name)?;
    let report = engine.self_test().map_err(SelfTestError::from).with_context(name)?;
    check(&report).with_context(name)?;
    Ok(Loaded { engine, bytes })
}
