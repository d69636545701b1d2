//! Where a network computes: the CPU, or an NVIDIA GPU in programs built with the feature `cuda`.

use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

/// A kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Kind {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// What maps are made of. Parameters, statistics and losses are f32 with either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Precision {
    /// 4 bytes a value.
    #[default]
    F32,
    /// 2 bytes a value, with the range of f32 and 8 bits of precision: half the memory, and much faster on a GPU.
    Bf16,
}

impl Precision {
    /// The type of maps.
    pub fn dtype(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::BF16,
        }
    }
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The feature was off.
    #[error("this program was built without CUDA; build it with the feature `cuda`, or compute on the CPU")]
    NotBuilt,
    /// CPUs have no arithmetic for it.
    #[error("maps in bf16 need a GPU; compute on one, or in f32")]
    HalfOnCpu,
    /// A GPU that is not there, or a driver.
    #[error("cannot use the GPU: {reason}")]
    Missing {
        /// What is missing and how to see it.
        reason: String,
    },
}

/// The device, ready to compute with maps of `precision`.
///
/// # Errors
/// [`DeviceError`].
pub fn open(kind: Kind, precision: Precision) -> Result<Device, DeviceError> {
    match (kind, precision) {
        (Kind::Cpu, Precision::F32) => Ok(Device::Cpu),
        (Kind::Cpu, Precision::Bf16) => Err(DeviceError::HalfOnCpu),
        (Kind::Cuda, _) => open_gpu(),
    }
}

#[cfg(not(feature = "cuda"))]
fn open_gpu() -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt)
}

#[cfg(feature = "cuda")]
fn open_gpu() -> Result<Device, DeviceError> {
    crate::net::ops::open_gpu().map_err(|error| DeviceError::Missing { reason: missing(&error.to_string()) })
}

/// Whether convolutions of f32 maps on a GPU may round their factors to TF32, eleven bits, as in `PyTorch` they may by
/// default. To be said before the first convolution.
pub fn allow_tf32(is_allowed: bool) {
    #[cfg(feature = "cuda")]
    crate::net::ops::allow_tf32(is_allowed);
    let _ = is_allowed;
}

/// The most memory that this process ever had on its GPU, in bytes; `None` on the CPU.
///
/// # Errors
/// CUDA's.
pub fn peak_gpu_bytes(device: &Device) -> candle_core::Result<Option<u64>> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return crate::net::ops::peak_gpu_bytes(device).map(Some);
    }
    let _ = device;
    Ok(None)
}

/// What CUDA's error means here.
#[cfg(any(test, feature = "cuda"))]
fn missing(error: &str) -> String {
    let known = [
        (
            "NO_DEVICE",
            "there is no NVIDIA GPU here that the driver shows; see nvidia-smi and CUDA_VISIBLE_DEVICES",
        ),
        (
            "STUB_LIBRARY",
            "libcuda.so.1 is a stub without a driver; put the driver's own first into LD_LIBRARY_PATH",
        ),
        ("NOT_INITIALIZED", "the NVIDIA driver does not start; see nvidia-smi"),
        (
            "SYSTEM_DRIVER_MISMATCH",
            "the driver's library and its kernel module differ in version; restart the machine",
        ),
        (
            "UNSUPPORTED_PTX_VERSION",
            "the driver is older than the CUDA that built this program; update the driver",
        ),
        (
            "NO_BINARY_FOR_GPU",
            "the GPU is older than the one built for; build with a lower CUDA_COMPUTE_CAP (80 is the least)",
        ),
        ("OUT_OF_MEMORY", "its memory is full; see nvidia-smi for who uses it"),
    ];
    match known.iter().find(|(name, _)| error.contains(name)) {
        Some((_, reason)) => format!("{reason} ({})", first_line(error)),
        None => format!("{}; it needs the driver, cuBLAS, cuRAND and cuDNN 9", first_line(error)),
    }
}

/// A failure of the GPU in the middle of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No memory.
    #[error(
        "the GPU's memory is full; free it, or train with a smaller batch or side in another folder (the last checkpoint \
         is whole): {reason}"
    )]
    Memory {
        /// CUDA's words.
        reason: String,
    },
    /// Anything else; the program cannot use the GPU any more.
    #[error(
        "the GPU failed; start again, and the run resumes from its last checkpoint, which is whole: {reason}"
    )]
    Other {
        /// CUDA's words.
        reason: String,
    },
}

impl Fault {
    /// The fault of the GPU that an error tells of, if it does.
    pub fn of(error: &str) -> Option<Fault> {
        let has = |names: &[&str]| names.iter().any(|name| error.contains(name));
        let reason = first_line(error).to_owned();
        if has(&["CUDA_ERROR_OUT_OF_MEMORY", "STATUS_ALLOC_FAILED"]) {
            Some(Fault::Memory { reason })
        } else if has(&["CUDA_ERROR_", "CUDNN_STATUS_", "CUBLAS_STATUS_"]) {
            Some(Fault::Other { reason })
        } else {
            None
        }
    }
}

/// Without candle's backtrace.
fn first_line(error: &str) -> &str {
    error.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_on_a_cpu_is_refused_with_the_fix() {
        let error = open(Kind::Cpu, Precision::Bf16).unwrap_err().to_string();
        assert!(error.contains("need a GPU"), "{error}");
        assert!(open(Kind::Cpu, Precision::F32).unwrap().is_cpu());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_program_without_cuda_says_how_to_build_one() {
        let error = open(Kind::Cuda, Precision::F32).unwrap_err().to_string();
        assert!(error.contains("the feature `cuda`"), "{error}");
    }

    #[test]
    fn what_cuda_lacks_is_said_in_words() {
        let no_device =
            missing("DriverError(CUDA_ERROR_NO_DEVICE, \"no CUDA-capable device is detected\")\n  trace");
        assert!(no_device.starts_with("there is no NVIDIA GPU") && !no_device.contains('\n'), "{no_device}");
        assert!(missing("something else").contains("cuDNN 9"));
    }

    #[test]
    fn full_memory_is_told_apart_from_other_faults() {
        let memory = Fault::of("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")").unwrap();
        assert!(memory.to_string().contains("smaller batch"), "{memory}");
        let other = Fault::of("DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"...\")").unwrap();
        assert!(other.to_string().contains("last checkpoint"), "{other}");
        assert_eq!(Fault::of("shape mismatch in add"), None);
    }
}
