//! What all requests share.

use std::sync::Arc;
use std::time::Duration;

use fieldmark::picture::Limits;
use tokio::sync::Semaphore;

use super::metrics::{Metrics, Present};
use super::model::Model;
use super::token::Token;
use crate::args::ServeArgs;

/// What all requests share.
pub struct Service {
    pub model: Model,
    pub token: Option<Token>,
    /// For pictures that are sent, wait, or are being named.
    pub places: Arc<Semaphore>,
    /// How many of these there are.
    pub all_places: usize,
    /// Bytes and pixels of a picture.
    pub limits: Limits,
    /// Time for each thing that a client has to do.
    pub limit: Duration,
    pub metrics: Metrics,
}

impl Service {
    /// # Errors
    /// A refused model, and one that fails its self-test.
    pub fn new(args: &ServeArgs, token: Option<Token>, threads: usize) -> anyhow::Result<Service> {
        let all_places = threads + usize::from(args.queue);
        Ok(Service {
            model: Model::load(args)?,
            token,
            places: Arc::new(Semaphore::new(all_places)),
            all_places,
            limits: Limits {
                pixels: u64::from(args.max_pixels) * 1_000_000,
                bytes: u64::from(args.max_body) << 20,
            },
            limit: Duration::from_secs(args.timeout.into()),
            metrics: Metrics::default(),
        })
    }

    /// How it is now.
    pub fn present(&self) -> Present {
        Present {
            all_places: self.all_places,
            taken: self.all_places - self.places.available_permits(),
            labels_sha256: self.model.current().engine.description().labels_sha256.clone(),
        }
    }
}
