//! Committed numbers: safetensors files whose names read `operation/case/key`.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use candle_core::safetensors::load_buffer;
use candle_core::{DType, Device, Tensor, Var};
use fieldmark_trainer::net::device::Precision;
use fieldmark_trainer::net::device::{self, Kind};

/// Where operations are checked: on the CPU, or on a GPU with `FIELDMARK_TEST_DEVICE=cuda` in a program built with the
/// trainer's feature `cuda`. There convolutions are exact, too: the numbers are no closer than TF32 is coarse.
pub fn test_device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let kind = match std::env::var("FIELDMARK_TEST_DEVICE").as_deref() {
            Ok("cuda") => Kind::Cuda,
            Ok("cpu") | Err(_) => Kind::Cpu,
            Ok(other) => panic!("FIELDMARK_TEST_DEVICE is {other}, expected cpu or cuda"),
        };
        device::allow_tf32(false);
        device::open(kind, Precision::F32).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// What operations compute in there.
pub fn test_types() -> &'static [DType] {
    if test_device().is_cuda() { &[DType::F32] } else { &[DType::F32, DType::F64] }
}

/// One file of numbers.
pub struct Golden {
    tensors: HashMap<String, Tensor>,
}

/// The numbers of one case.
pub struct Case<'a> {
    golden: &'a Golden,
    pub name: String,
}

impl Golden {
    /// What `make_ops.py` wrote.
    pub fn ops() -> Golden {
        Golden::read(include_bytes!("../golden/ops.safetensors"))
    }

    /// What `make_mc_loss.py` wrote.
    pub fn mc_loss() -> Golden {
        Golden::read(include_bytes!("../golden/mc_loss.safetensors"))
    }

    fn read(bytes: &[u8]) -> Golden {
        let tensors = load_buffer(bytes, &Device::Cpu).unwrap();
        Golden { tensors }
    }

    pub fn case(&self, name: &str) -> Case<'_> {
        let name = name.to_owned();
        Case { golden: self, name }
    }

    /// Every case whose name starts with `prefix`; never none.
    pub fn cases(&self, prefix: &str) -> Vec<Case<'_>> {
        let names: BTreeSet<_> = self
            .tensors
            .keys()
            .filter(|name| name.starts_with(prefix))
            .filter_map(|name| name.rsplit_once('/'))
            .map(|(case, _)| case)
            .collect();
        assert!(!names.is_empty(), "no golden case starts with {prefix}");
        names.into_iter().map(|name| self.case(name)).collect()
    }
}

impl Case<'_> {
    /// The tensor `key` as stored.
    pub fn stored(&self, key: &str) -> &Tensor {
        let name = format!("{}/{key}", self.name);
        let tensor = self.golden.tensors.get(&name);
        tensor.unwrap_or_else(|| panic!("no golden {name}"))
    }

    pub fn tensor(&self, key: &str, dtype: DType) -> Tensor {
        self.stored(key).to_dtype(dtype).and_then(|tensor| tensor.to_device(test_device())).unwrap()
    }

    pub fn var(&self, key: &str, dtype: DType) -> Var {
        Var::from_tensor(&self.tensor(key, dtype)).unwrap()
    }

    /// Whole numbers: sizes, geometries, labels.
    pub fn indices(&self, key: &str) -> Vec<usize> {
        let values = self.stored(key).to_vec1::<u32>().unwrap();
        values.into_iter().map(|value| value as usize).collect()
    }

    /// Every value of `key`.
    pub fn numbers(&self, key: &str) -> Vec<f64> {
        numbers(self.stored(key))
    }
}

/// Every value of a tensor, in f64.
pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.flatten_all().unwrap();
    flat.to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Largest difference, relative to the largest expected value; infinite for a NaN.
pub fn relative_error(actual: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let largest = |values: &mut dyn Iterator<Item = f64>| {
        values.fold(0.0, |largest: f64, v| if v.is_nan() { f64::INFINITY } else { largest.max(v.abs()) })
    };
    let error = largest(&mut actual.iter().zip(expected).map(|(a, e)| a - e));
    error / largest(&mut expected.iter().copied()).max(1e-6)
}

#[track_caller]
pub fn assert_close(what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(actual.dims(), expected.dims(), "shape of {what}");
    let error = relative_error(&numbers(actual), &numbers(expected));
    assert!(error <= tolerance, "{what}: relative error {error:e} above {tolerance:e}");
}
