//! Decoded pictures, kept small and kept in memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fieldmark::frame::{Frame, ResizeRule, network_frame, resize};
use fieldmark::model::Input;
use fieldmark::picture::{Limits, PictureError, read_picture_for};
use rayon::prelude::*;

use crate::data::dataset::{Sample, Skipped};

/// How much memory decoded pictures may take, unless said otherwise.
pub const CACHE_BYTES: usize = 512 << 20;

/// The two forms in which a picture is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// For random changes: the whole picture, what becomes the input's side at most one and a half inputs.
    Scaled,
    /// For evaluation: the network's input.
    Input,
}

/// Reads pictures for a network of one input side; what fits into memory is decoded once.
///
/// A frame comes out of the cache as it would come out of the file.
pub struct Pictures {
    side: u32,
    rule: ResizeRule,
    cache_bytes: usize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    frames: HashMap<(PathBuf, Form), Arc<Frame>>,
    bytes: usize,
}

impl Pictures {
    /// Pictures for inputs of `side * side` pixels made by `rule`, keeping at most `cache_bytes` decoded.
    pub fn new(side: u32, rule: ResizeRule, cache_bytes: usize) -> Pictures {
        Pictures { side, rule, cache_bytes, cache: Mutex::default() }
    }

    /// Input side in pixels.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// How a picture becomes the input.
    pub fn rule(&self) -> ResizeRule {
        self.rule
    }

    /// The network's input, exactly as the board makes it.
    ///
    /// # Errors
    /// The picture does not decode.
    pub fn as_on_the_board(&self, path: &Path) -> Result<Arc<Frame>, PictureError> {
        let input = Input { side: self.side, resize: self.rule };
        self.cached(path, Form::Input, input, |frame| network_frame(&frame, self.rule, self.side).0)
    }

    /// The whole picture, its shorter side (its longer one, where the rule pads) at most one and a half inputs: enough for
    /// random parts of it.
    ///
    /// # Errors
    /// The picture does not decode.
    pub fn scaled(&self, path: &Path) -> Result<Arc<Frame>, PictureError> {
        let side = self.side + self.side / 2;
        let input = Input { side, resize: self.rule };
        self.cached(path, Form::Scaled, input, |frame| shrunk(frame, self.rule, side))
    }

    fn cached(
        &self,
        path: &Path,
        form: Form,
        input: Input,
        make: impl Fn(Frame) -> Frame,
    ) -> Result<Arc<Frame>, PictureError> {
        let key = (path.to_owned(), form);
        // A thread that panicked left the map whole: insertion is all it does under the lock.
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = lock().frames.get(&key) {
            return Ok(Arc::clone(frame));
        }
        let frame = Arc::new(make(read_picture_for(path, &Limits::default(), input)?));
        let mut cache = lock();
        let bytes = frame.pixels().len();
        // Nothing is thrown out for newcomers: epochs visit every picture, so a full cache that keeps
        // what it has saves more decoding than one that keeps the latest.
        if cache.bytes + bytes <= self.cache_bytes && cache.frames.insert(key, Arc::clone(&frame)).is_none() {
            cache.bytes += bytes;
        }
        Ok(frame)
    }
}

/// `frame`, or a smaller one whose side that `rule` fits to the input is `side`.
fn shrunk(frame: Frame, rule: ResizeRule, side: u32) -> Frame {
    let (width, height) = (frame.width(), frame.height());
    let now = match rule {
        ResizeRule::Pad => width.max(height),
        ResizeRule::Squash | ResizeRule::Crop => width.min(height),
        ResizeRule::Centre(percent) => (width.min(height) * u32::from(percent)).div_ceil(100),
    };
    if now <= side {
        return frame;
    }
    let scaled = |length: u32| {
        let scaled = (u64::from(length) * u64::from(side) + u64::from(now) / 2) / u64::from(now);
        scaled.max(1) as u32
    };
    resize(&frame, frame.region(), scaled(width), scaled(height))
}

/// The samples that do not decode, each with its reason: to be told before training, not in the middle of it.
/// `read` says how they are needed, and so kept in the cache. From when `stop` is not 0, no more are read.
pub fn unreadable(
    samples: &[Sample],
    stop: &AtomicI32,
    read: impl Fn(&Path) -> Result<Arc<Frame>, PictureError> + Sync,
) -> Vec<Skipped> {
    let refused = |sample: &Sample| {
        if stop.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let error = read(&sample.path).err()?;
        Some(Skipped { path: sample.path.clone(), reason: error.to_string() })
    };
    samples.par_iter().filter_map(refused).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(width: u32, height: u32) -> Frame {
        Frame::new(width, height, vec![9; 3 * width as usize * height as usize]).unwrap()
    }

    #[test]
    fn only_larger_pictures_are_shrunk() {
        use ResizeRule::{Crop, Pad, Squash};
        for (from, rule, to) in [
            ((400, 200), Squash, (300, 150)),
            ((200, 400), Crop, (150, 300)),
            ((150, 900), Squash, (150, 900)),
            ((150, 900), Pad, (25, 150)),
            ((9000, 2), Pad, (150, 1)),
            ((20, 30), Pad, (20, 30)),
        ] {
            let frame = shrunk(blank(from.0, from.1), rule, 150);
            assert_eq!((frame.width(), frame.height()), to);
        }
    }

    #[test]
    fn the_cache_keeps_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = 3 * 12 * 12;
        let pictures = Pictures::new(8, ResizeRule::Squash, 3 * bytes + 10);
        for index in 0..6 {
            let path = folder.path().join(format!("{index}.png"));
            image::RgbImage::new(30, 30).save(&path).unwrap();
            let frame = pictures.scaled(&path).unwrap();
            assert_eq!(frame.pixels().len(), bytes);
            pictures.scaled(&path).unwrap();
        }
        let cache = pictures.cache.lock().unwrap();
        assert_eq!((cache.frames.len(), cache.bytes), (3, 3 * bytes));
    }
}
