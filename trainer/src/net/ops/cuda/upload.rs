//! Host tensors on their way to the GPU, beside its computing.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaSlice, CudaStream, PinnedHostSlice};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Device, Result, Shape, Storage, Tensor, bail};

/// Tensors under way at once: one that arrives while another is computed with.
const SLOTS: usize = 2;

/// Copies tensors of f32 to a GPU through memory that it reads by itself, on a stream of their own.
pub struct Uploads {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    free: Receiver<Slot>,
    back: Sender<Slot>,
    made: usize,
}

/// A tensor under way.
pub struct Upload {
    slot: Option<Slot>,
    back: Sender<Slot>,
    device: CudaDevice,
    shape: Shape,
}

struct Slot {
    /// Page-locked.
    host: PinnedHostSlice<f32>,
    gpu: CudaSlice<f32>,
    /// The values are in `gpu`.
    arrived: CudaEvent,
    /// They are no longer needed there.
    taken: CudaEvent,
}

impl Uploads {
    /// To the GPU `device`.
    ///
    /// # Errors
    /// Another device; CUDA's.
    pub fn new(device: &Device) -> Result<Uploads> {
        let device = device.as_cuda_device()?.clone();
        let stream = device.cuda_stream().context().new_stream()?;
        let (back, free) = channel();
        Ok(Uploads { device, stream, free, back, made: 0 })
    }

    /// Starts copying a contiguous f32 tensor on the CPU. Waits for an earlier one to be received if two are under way.
    ///
    /// # Errors
    /// Another type or device; CUDA's: no memory.
    pub fn send(&mut self, tensor: &Tensor) -> Result<Upload> {
        let (storage, layout) = tensor.storage_and_layout();
        let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
            bail!("an upload is on a GPU already or strided; give it a contiguous tensor on the CPU");
        };
        let values = &storage.as_slice::<f32>()?[start..end];
        let mut slot = self.slot(values.len())?;
        // With event tracking off the host memory does not know of its copies.
        slot.arrived.synchronize()?;
        let host = slot.host.as_mut_ptr()?;
        // SAFETY: `slot` made room for as many values, and nobody reads them: an earlier copy was waited for.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), host, values.len()) };
        self.stream.wait(&slot.taken)?;
        self.stream.memcpy_htod(&slot.host, &mut slot.gpu)?;
        slot.arrived.record(&self.stream)?;
        let (back, device) = (self.back.clone(), self.device.clone());
        Ok(Upload { slot: Some(slot), back, device, shape: tensor.shape().clone() })
    }

    /// A slot of room for `len` values.
    fn slot(&mut self, len: usize) -> Result<Slot> {
        if self.made < SLOTS {
            let slot = self.new_slot(len)?;
            self.made += 1;
            return Ok(slot);
        }
        match self.free.recv() {
            Ok(slot) if slot.gpu.len() >= len => Ok(slot),
            Ok(_) => self.new_slot(len),
            Err(_) => bail!("uploads: the slots are lost"),
        }
    }

    fn new_slot(&self, len: usize) -> Result<Slot> {
        let context = self.stream.context();
        // SAFETY: both are written before they are read.
        let (host, gpu) = unsafe { (context.alloc_pinned::<f32>(len)?, self.stream.alloc::<f32>(len)?) };
        Ok(Slot { host, gpu, arrived: context.new_event(None)?, taken: context.new_event(None)? })
    }
}

impl Upload {
    /// The tensor on the GPU, for operations queued from now on; the GPU waits for it, not the caller.
    ///
    /// # Errors
    /// CUDA's.
    pub fn receive(mut self) -> Result<Tensor> {
        let Some(slot) = self.slot.take() else { bail!("an upload was received before") };
        let stream = self.device.cuda_stream();
        stream.wait(&slot.arrived)?;
        let count = self.shape.elem_count();
        // SAFETY: the copy below fills it.
        let mut values = unsafe { self.device.alloc::<f32>(count)? };
        stream.memcpy_dtod(&slot.gpu.slice(..count), &mut values)?;
        slot.taken.record(&stream)?;
        // Nobody sends any more if this fails.
        let _ = self.back.send(slot);
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(values, self.device.clone()));
        Ok(Tensor::from_storage(storage, self.shape.clone(), BackpropOp::none(), false))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Else whoever waits for a slot would wait for ever.
        if let Some(slot) = self.slot.take() {
            let _ = self.back.send(slot);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Its memory goes back to another stream than the one that read it.
        let _ = self.arrived.synchronize();
        let _ = self.taken.synchronize();
    }
}
