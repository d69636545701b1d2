//! The device and its memory: opening it, making tensors, finding their addresses.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::cuda_backend::CudaStorageSlice;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, result, sys};
use candle_core::{CudaDevice, CudaStorage, DType, Device, Result, Shape, Storage, Tensor, bail};

use super::super::tape::{self, Backward, Input};
use super::launch::POINTWISE;

/// The first GPU, with a stream of its own, whose freed memory stays at hand.
///
/// # Errors
/// CUDA's: no driver, no device.
pub fn open_gpu() -> Result<Device> {
    let device = CudaDevice::new_with_stream(0)?;
    // SAFETY: all tensors live on this device's one stream; `upload` orders its own copies by events.
    unsafe { device.disable_event_tracking() };
    let context = device.cuda_stream().context().clone();
    if context.has_async_alloc() {
        // By default the pool gives all free memory back whenever somebody waits for the GPU: every step.
        let mut kept = u64::MAX;
        // SAFETY: the device was opened above, and this attribute is a u64.
        unsafe {
            let pool = result::device::get_default_mem_pool(context.cu_device())?;
            let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool, threshold, (&raw mut kept).cast())?;
        }
    }
    // A driver too old for the kernels is told of now, not in the middle of a step.
    device.get_or_load_custom_func("rectify_f32_1", POINTWISE.name, POINTWISE.ptx)?;
    Ok(Device::Cuda(device))
}

/// The most memory that tensors ever took at once on the GPU, in bytes.
///
/// # Errors
/// CUDA's; another device.
pub fn peak_gpu_bytes(device: &Device) -> Result<u64> {
    let context = device.as_cuda_device()?.cuda_stream().context().clone();
    let mut peak = 0_u64;
    // SAFETY: the context is alive, and this attribute is a u64.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device())?;
        let high = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        result::mem_pool::get_attribute(pool, high, (&raw mut peak).cast())?;
    }
    Ok(peak)
}

/// The type of maps.
pub(super) fn map_type(name: &str, x: &Tensor) -> Result<DType> {
    match x.dtype() {
        dtype @ (DType::F32 | DType::BF16) => Ok(dtype),
        other => {
            bail!("{name}: the input is {other:?}, expected F32 or BF16 on a GPU; convert it, or use the CPU")
        }
    }
}

/// A parameter or a gradient of one, contiguous.
pub(super) fn single(name: &str, parameter: &str, tensor: &Tensor) -> Result<Input> {
    if tensor.dtype() != DType::F32 {
        bail!("{name}: {parameter} is {:?}, expected F32 on a GPU", tensor.dtype());
    }
    Input::of(tensor)
}

/// Maps `[B, C, H, W]` as they lie in memory, `[B, H, W, C]`.
pub(super) fn maps(x: &Tensor) -> Result<Input> {
    let last = x.permute((0, 2, 3, 1))?;
    Ok(Input::view(x, last.contiguous()?))
}

/// The maps `[B, C, H, W]` of a result that lies as `[B, H, W, C]`.
pub(super) fn shown(y: &Tensor) -> Result<Tensor> {
    let view = y.permute((0, 3, 1, 2))?;
    tape::note_view(&view, y);
    Ok(view)
}

/// Memory for a result that a kernel is about to write.
pub(super) struct Fresh {
    storage: CudaStorage,
    shape: Shape,
}

impl Fresh {
    /// Room for a tensor on the device of `like`.
    pub(super) fn new(like: &Tensor, shape: impl Into<Shape>, dtype: DType) -> Result<Fresh> {
        let shape = shape.into();
        // SAFETY: whoever asks for it writes all of it before it is read.
        let storage = unsafe { cuda(like)?.alloc_uninit(&shape, dtype)? };
        Ok(Fresh { storage, shape })
    }

    /// A copy of a contiguous tensor's values.
    pub(super) fn copied(tensor: &Tensor) -> Result<Fresh> {
        let (storage, layout) = tensor.storage_and_layout();
        match storage.try_clone(layout)? {
            Storage::Cuda(storage) => Ok(Fresh { storage, shape: tensor.shape().clone() }),
            _ => bail!("an operation on a GPU was handed a tensor on the CPU; move it with to_device"),
        }
    }

    pub(super) fn address(&self) -> Result<u64> {
        address(&self.storage)
    }

    /// As a tensor that nothing leads to.
    pub(super) fn tensor(self) -> Tensor {
        Tensor::from_storage(
            Storage::Cuda(self.storage),
            self.shape,
            candle_core::op::BackpropOp::none(),
            false,
        )
    }

    /// As the result of an operation.
    pub(super) fn join(self, inputs: &[&Input], backward: impl Backward) -> Result<Tensor> {
        tape::join(inputs, Storage::Cuda(self.storage), self.shape, backward)
    }
}

/// The GPU of a tensor.
pub(super) fn cuda(tensor: &Tensor) -> Result<CudaDevice> {
    Ok(tensor.device().as_cuda_device()?.clone())
}

/// Where a contiguous tensor's values begin.
pub(super) fn address_of(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("an operation was handed a strided tensor; call contiguous() on it");
    };
    match &*storage {
        Storage::Cuda(storage) => Ok(address(storage)? + (start * storage.dtype().size_in_bytes()) as u64),
        _ => bail!("an operation on a GPU was handed a tensor on the CPU; move it with to_device"),
    }
}

fn address(storage: &CudaStorage) -> Result<u64> {
    // Event tracking is off, so that there is no use to be recorded.
    let address = match &storage.slice {
        CudaStorageSlice::U8(slice) => slice.device_ptr(slice.stream()).0,
        CudaStorageSlice::U32(slice) => slice.device_ptr(slice.stream()).0,
        CudaStorageSlice::I16(slice) => slice.device_ptr(slice.stream()).0,
        CudaStorageSlice::I64(slice) => slice.device_ptr(slice.stream()).0,
        CudaStorageSlice::BF16(slice) => slice.device_ptr(slice.stream()).0,
        CudaStorageSlice::F32(slice) => slice.device_ptr(slice.stream()).0,
        CudaStorageSlice::F64(slice) => slice.device_ptr(slice.stream()).0,
        _ => bail!("no operation here takes {:?}", storage.dtype()),
    };
    Ok(address)
}
