//! Batches on their way to where the network computes.

use candle_core::Device;

use super::{Batch, BatchError, Batches};

/// Batches whose images and labels are on a device, in order. On the CPU they are as they were made; to a GPU the next
/// is copied by a thread while the last is computed with.
pub struct OnDevice(Source);

enum Source {
    Here(Batches),
    #[cfg(feature = "cuda")]
    Gpu(gpu::Copies),
}

impl OnDevice {
    /// Starts bringing `batches` to `device`.
    ///
    /// # Errors
    /// CUDA's, if no stream or thread can be made.
    #[cfg_attr(not(feature = "cuda"), allow(clippy::unnecessary_wraps))]
    pub fn start(batches: Batches, device: &Device) -> candle_core::Result<OnDevice> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => {
                gpu::Copies::start(batches, device).map(|copies| OnDevice(Source::Gpu(copies)))
            }
            _ => Ok(OnDevice(Source::Here(batches))),
        }
    }
}

impl Iterator for OnDevice {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Here(batches) => batches.next(),
            #[cfg(feature = "cuda")]
            Source::Gpu(copies) => copies.next(),
        }
    }
}

#[cfg(feature = "cuda")]
mod gpu {
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::thread::{JoinHandle, spawn};

    use candle_core::Device;

    use super::{Batch, BatchError, Batches};
    use crate::net::ops::{Upload, Uploads};

    type Sent = Result<(Upload, Batch), BatchError>;

    /// A thread that copies batches to a GPU, one ahead.
    pub struct Copies {
        sent: Option<Receiver<Sent>>,
        thread: Option<JoinHandle<()>>,
        device: Device,
    }

    impl Copies {
        pub fn start(batches: Batches, device: &Device) -> candle_core::Result<Copies> {
            let mut uploads = Uploads::new(device)?;
            let (sender, sent) = sync_channel(1);
            let thread = spawn(move || {
                for batch in batches {
                    let sent = batch.and_then(|batch| {
                        let upload = uploads.send(&batch.images).map_err(|error| of_batch(&batch, error))?;
                        Ok((upload, batch))
                    });
                    // Whoever wanted the batches may be gone; after a failure nobody wants another.
                    let is_last = sent.is_err();
                    if sender.send(sent).is_err() || is_last {
                        break;
                    }
                }
            });
            Ok(Copies { sent: Some(sent), thread: Some(thread), device: device.clone() })
        }
    }

    impl Iterator for Copies {
        type Item = Result<Batch, BatchError>;

        fn next(&mut self) -> Option<Self::Item> {
            match self.sent.as_ref()?.recv() {
                Ok(sent) => Some(sent.and_then(|(upload, batch)| arrived(upload, batch, &self.device))),
                Err(_) if self.thread.take().is_some_and(|thread| thread.join().is_err()) => {
                    Some(Err(BatchError::Panicked))
                }
                Err(_) => None,
            }
        }
    }

    impl Drop for Copies {
        fn drop(&mut self) {
            // First the receiver: it is what the thread waits for.
            self.sent = None;
            if let Some(thread) = self.thread.take() {
                // A panic was told by `next`, or nobody asked.
                let _ = thread.join();
            }
        }
    }

    fn arrived(upload: Upload, batch: Batch, device: &Device) -> Result<Batch, BatchError> {
        let images = upload.receive().map_err(|error| of_batch(&batch, error))?;
        let labels = batch.labels.to_device(device).map_err(|error| of_batch(&batch, error))?;
        Ok(Batch { images, labels, samples: batch.samples })
    }

    fn of_batch(batch: &Batch, source: candle_core::Error) -> BatchError {
        BatchError::Stack { pictures: batch.samples.len(), source }
    }
}
