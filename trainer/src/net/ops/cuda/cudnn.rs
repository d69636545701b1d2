//! cuDNN's convolutions: descriptors and algorithms chosen once a geometry, one workspace that grows.
//!
//! Of the algorithms that cuDNN's heuristic recommends, the first whose sums have a fixed order is taken. Measuring
//! them would sometimes find a faster one, but not the same one in every run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::{CudaDevice, DType, Result};

/// Bytes of workspace that an algorithm may ask for.
const MOST_WORKSPACE: usize = 1 << 30;

static ALLOW_TF32: AtomicBool = AtomicBool::new(true);

/// Whether convolutions of f32 maps may round their factors to TF32, eleven bits, for tensor cores. They may by
/// default, as in `PyTorch`; switch it off before the first convolution to compare with exact results.
pub fn allow_tf32(is_allowed: bool) {
    ALLOW_TF32.store(is_allowed, Ordering::Relaxed);
}

/// What decides an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Geometry {
    pub is_half: bool,
    /// Batch, channels, height, width.
    pub x: [i32; 4],
    /// Outputs, channels of a group, height, width.
    pub weight: [i32; 4],
    pub y: [i32; 4],
    pub stride: i32,
    /// Above and below, left and right.
    pub padding: [i32; 2],
    pub groups: i32,
}

impl Geometry {
    pub(super) fn is_half(dtype: DType) -> bool {
        dtype == DType::BF16
    }
}

/// What is computed from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// y from x and weight.
    Forward,
    /// dx from dy and weight.
    Data,
    /// dweight from x and dy.
    Filter,
}

thread_local!(static LIBRARY: RefCell<Option<Library>> = const { RefCell::new(None) });

/// A handle, and all that was made with it. It lives as long as its thread.
struct Library {
    handle: sys::cudnnHandle_t,
    device: CudaDevice,
    plans: HashMap<Geometry, Plan>,
    workspace: Option<CudaSlice<u8>>,
}

/// A geometry's descriptors and algorithms. Few and small, they are kept to the end.
struct Plan {
    x: sys::cudnnTensorDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    weight: sys::cudnnFilterDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
    forward: Option<Choice<sys::cudnnConvolutionFwdAlgo_t>>,
    data: Option<Choice<sys::cudnnConvolutionBwdDataAlgo_t>>,
    filter: Option<Choice<sys::cudnnConvolutionBwdFilterAlgo_t>>,
}

#[derive(Clone, Copy)]
struct Choice<A> {
    algorithm: A,
    workspace: usize,
    math: sys::cudnnMathType_t,
}

/// Queues one pass of a convolution. Maps lie as `[B, H, W, C]`, weights as `[K, kh, kw, C]`, all of one type;
/// addresses: [x, weight, y] or their gradients, of the sizes in `geometry`.
pub(super) fn convolve(
    device: &CudaDevice,
    pass: Pass,
    geometry: Geometry,
    addresses: [u64; 3],
) -> Result<()> {
    LIBRARY.with_borrow_mut(|library| {
        if library.as_ref().is_none_or(|library| library.device.id() != device.id()) {
            *library = Some(Library::open(device)?);
        }
        match library {
            Some(library) => library.convolve(pass, geometry, addresses),
            None => Ok(()),
        }
    })
}

impl Library {
    fn open(device: &CudaDevice) -> Result<Library> {
        let stream = device.cuda_stream();
        stream.context().bind_to_thread()?;
        let handle = result::create_handle()?;
        // SAFETY: the handle was made above; the stream lives as long as the device, which is kept beside it.
        unsafe { result::set_stream(handle, stream.cu_stream().cast())? };
        Ok(Library { handle, device: device.clone(), plans: HashMap::new(), workspace: None })
    }

    fn convolve(&mut self, pass: Pass, geometry: Geometry, addresses: [u64; 3]) -> Result<()> {
        let plan = match self.plans.entry(geometry) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Plan::new(&geometry)?),
        };
        let needed = plan.prepare(self.handle, pass, &geometry)?;
        if self.workspace.as_ref().is_none_or(|held| held.len() < needed) {
            // Given back first, so that both need not fit; the stream keeps the order of uses.
            self.workspace = None;
            // SAFETY: cuDNN writes a workspace before it reads it.
            self.workspace = Some(unsafe { self.device.alloc::<u8>(needed.max(1 << 20))? });
        }
        let stream = self.device.cuda_stream();
        let workspace = self.workspace.as_ref().map_or(0, |held| held.device_ptr(&stream).0);
        Ok(plan.run(self.handle, pass, addresses, workspace as *mut _, needed)?)
    }
}

impl Plan {
    fn new(geometry: &Geometry) -> Result<Plan> {
        use sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC as LAST;
        let float = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
        let dtype = if geometry.is_half { sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16 } else { float };
        let Geometry { x, weight, y, stride, padding: [down, across], groups, .. } = *geometry;
        let plan = Plan {
            x: result::create_tensor_descriptor()?,
            y: result::create_tensor_descriptor()?,
            weight: result::create_filter_descriptor()?,
            conv: result::create_convolution_descriptor()?,
            forward: None,
            data: None,
            filter: None,
        };
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        // SAFETY: the descriptors were made above.
        unsafe {
            result::set_tensor4d_descriptor(plan.x, LAST, dtype, x)?;
            result::set_tensor4d_descriptor(plan.y, LAST, dtype, y)?;
            result::set_filter4d_descriptor(plan.weight, dtype, LAST, weight)?;
            result::set_convolution2d_descriptor(plan.conv, down, across, stride, stride, 1, 1, mode, float)?;
            result::set_convolution_group_count(plan.conv, groups)?;
            result::set_convolution_math_type(plan.conv, wanted_math(geometry.is_half))?;
        }
        Ok(plan)
    }

    /// Chooses the pass's algorithm if it is the first time; gives the bytes of workspace it needs.
    fn prepare(&mut self, handle: sys::cudnnHandle_t, pass: Pass, geometry: &Geometry) -> Result<usize> {
        let needed = match pass {
            Pass::Forward => self.prepare_forward(handle, geometry),
            Pass::Data => self.prepare_data(handle, geometry),
            Pass::Filter => self.prepare_filter(handle, geometry),
        };
        needed.map_err(|error| error.context(format!("the {pass:?} pass of {geometry:?}")))
    }
}

fn wanted_math(is_half: bool) -> sys::cudnnMathType_t {
    match (is_half, ALLOW_TF32.load(Ordering::Relaxed)) {
        (true, _) => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        // For f32, default means TF32 where it is faster.
        (false, true) => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
        (false, false) => sys::cudnnMathType_t::CUDNN_FMA_MATH,
    }
}

/// The part of a plan that is the same three times with other names.
macro_rules! pass {
    (
        $prepare:ident, $choice:ident, $perf:ty, $usual:expr, $recommend:path, $workspace:path,
        [$($of:ident),+]
    ) => {
        impl Plan {
            fn $prepare(&mut self, handle: sys::cudnnHandle_t, geometry: &Geometry) -> Result<usize> {
                if let Some(choice) = self.$choice {
                    return Ok(choice.workspace);
                }
                // Another pass may have left the descriptor with its own choice.
                let math = wanted_math(geometry.is_half);
                // SAFETY: the descriptor is alive.
                unsafe { result::set_convolution_math_type(self.conv, math)? };
                // SAFETY: numbers and enumerations of which 0 is a value; cuDNN fills in as many as it counts.
                let mut found: [$perf; 10] = unsafe { std::mem::zeroed() };
                let mut count = 0;
                // SAFETY: handle and descriptors are alive; `found` has ten places.
                unsafe {
                    $recommend(handle, $(self.$of),+, 10, &raw mut count, found.as_mut_ptr())?;
                }
                let is_usable = |perf: &&$perf| {
                    perf.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS
                        && perf.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC
                        && perf.memory <= MOST_WORKSPACE
                };
                let is_exact = math == sys::cudnnMathType_t::CUDNN_FMA_MATH;
                let choice = match found[..count as usize].iter().find(is_usable) {
                    Some(perf) if is_exact && perf.mathType != math => Choice {
                        algorithm: perf.algo,
                        // SAFETY: handle and descriptors are alive.
                        workspace: unsafe { $workspace(handle, $(self.$of),+, perf.algo) }?,
                        math,
                    },
                    Some(perf) => {
                        Choice { algorithm: perf.algo, workspace: perf.memory, math: perf.mathType }
                    }
                    // Not recommended, but of fixed order and made for every geometry.
                    None => Choice {
                        algorithm: $usual,
                        // SAFETY: handle and descriptors are alive.
                        workspace: unsafe { $workspace(handle, $(self.$of),+, $usual) }?,
                        math,
                    },
                };
                self.$choice = Some(choice);
                Ok(choice.workspace)
            }
        }
    };
}

pass!(
    prepare_forward,
    forward,
    sys::cudnnConvolutionFwdAlgoPerf_t,
    sys::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
    result::get_convolution_forward_algorithm,
    result::get_convolution_forward_workspace_size,
    [x, weight, conv, y]
);
pass!(
    prepare_data,
    data,
    sys::cudnnConvolutionBwdDataAlgoPerf_t,
    sys::cudnnConvolutionBwdDataAlgo_t::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
    result::get_convolution_backward_data_algorithm,
    result::get_convolution_backward_data_workspace_size,
    [weight, y, conv, x]
);
pass!(
    prepare_filter,
    filter,
    sys::cudnnConvolutionBwdFilterAlgoPerf_t,
    sys::cudnnConvolutionBwdFilterAlgo_t::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
    result::get_convolution_backward_filter_algorithm,
    result::get_convolution_backward_filter_workspace_size,
    [x, y, conv, weight]
);

impl Plan {
    fn run(
        &self,
        handle: sys::cudnnHandle_t,
        pass: Pass,
        addresses: [u64; 3],
        workspace: *mut std::ffi::c_void,
        bytes: usize,
    ) -> std::result::Result<(), CudnnError> {
        let [x, weight, y] = addresses.map(|address| address as *mut std::ffi::c_void);
        let workspace = if bytes == 0 { null_mut() } else { workspace };
        let (one, zero) = (1f32, 0f32);
        let (one, zero) = ((&raw const one).cast(), (&raw const zero).cast());
        // SAFETY: handle and descriptors are alive, memory is as large as they say, and the workspace as large as the
        // algorithm asked for; scales are f32 for f32 and bf16.
        unsafe {
            match (pass, self.forward, self.data, self.filter) {
                (Pass::Forward, Some(choice), ..) => {
                    result::set_convolution_math_type(self.conv, choice.math)?;
                    result::convolution_forward(
                        handle,
                        one,
                        self.x,
                        x,
                        self.weight,
                        weight,
                        self.conv,
                        choice.algorithm,
                        workspace,
                        bytes,
                        zero,
                        self.y,
                        y,
                    )
                }
                (Pass::Data, _, Some(choice), _) => {
                    result::set_convolution_math_type(self.conv, choice.math)?;
                    result::convolution_backward_data(
                        handle,
                        one,
                        self.weight,
                        weight,
                        self.y,
                        y,
                        self.conv,
                        choice.algorithm,
                        workspace,
                        bytes,
                        zero,
                        self.x,
                        x,
                    )
                }
                (Pass::Filter, _, _, Some(choice)) => {
                    result::set_convolution_math_type(self.conv, choice.math)?;
                    result::convolution_backward_filter(
                        handle,
                        one,
                        self.x,
                        x,
                        self.y,
                        y,
                        self.conv,
                        choice.algorithm,
                        workspace,
                        bytes,
                        zero,
                        self.weight,
                        weight,
                    )
                }
                // `prepare` has chosen.
                _ => Ok(()),
            }
        }
    }
}
