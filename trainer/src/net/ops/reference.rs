//! What the tests of this folder compare with: random tensors, differences, a naive convolution.

use candle_core::{Device, Result, Tensor, Var};

use super::ConvGeometry;

/// Reproducible f64 values, uniform in -1..1.
pub fn random(seed: u64, shape: &[usize]) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
    let count = shape.iter().product();
    let values: Vec<f64> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
    .take(count)
    .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// All values, in order, as f64.
pub fn flat(x: &Tensor) -> Vec<f64> {
    let x = x.to_dtype(candle_core::DType::F64).unwrap();
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Equal within `tolerance` of the larger of 1 and the largest expected magnitude.
#[track_caller]
pub fn close(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    let scale = expected.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        assert!((actual - expected).abs() <= tolerance * scale, "at {index}: {actual}, expected {expected}");
    }
}

/// The gradients that backward gives for `(y * seed).sum()`, by input.
pub fn gradients(inputs: &[Tensor], run: impl Fn(&[Tensor]) -> Result<Tensor>) -> Vec<Tensor> {
    let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let store = seeded_sum(&run(&tensors).unwrap()).backward().unwrap();
    vars.iter().map(|var| store.get(var).unwrap().clone()).collect()
}

/// Compares every input's gradient with central differences.
#[track_caller]
pub fn check_gradients(inputs: &[Tensor], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
    const H: f64 = 1e-6;
    for (which, gradient) in gradients(inputs, &run).iter().enumerate() {
        let value_with = |index: usize, change: f64| {
            let mut values = flat(&inputs[which]);
            values[index] += change;
            let mut inputs = inputs.to_vec();
            inputs[which] = Tensor::from_vec(values, inputs[which].shape(), &Device::Cpu).unwrap();
            seeded_sum(&run(&inputs).unwrap()).to_scalar::<f64>().unwrap()
        };
        let expected: Vec<f64> = (0..gradient.elem_count())
            .map(|index| (value_with(index, H) - value_with(index, -H)) / (2.0 * H))
            .collect();
        close(&flat(gradient), &expected, 1e-6);
    }
}

fn seeded_sum(y: &Tensor) -> Tensor {
    let seed = random(99, y.dims()).to_dtype(y.dtype()).unwrap();
    (y * seed).unwrap().sum_all().unwrap()
}

/// `conv2d` by its definition.
pub fn convolution(x: &Tensor, weight: &Tensor, g: ConvGeometry) -> Tensor {
    let (batch, inputs, height, width) = x.dims4().unwrap();
    let (outputs, per_group, rows, columns) = weight.dims4().unwrap();
    let [top, left, bottom, right] = g.padding;
    let out_height = (height + top + bottom - rows) / g.stride + 1;
    let out_width = (width + left + right - columns) / g.stride + 1;
    let (x, weight) = (flat(x), flat(weight));
    let mut y = Vec::new();
    for b in 0..batch {
        for output in 0..outputs {
            let first = output / (outputs / g.groups) * per_group;
            for at in 0..out_height * out_width {
                let (down, across) = (at / out_width * g.stride, at % out_width * g.stride);
                let mut sum = 0.0;
                for k in 0..per_group * rows * columns {
                    let (channel, tap) = (first + k / (rows * columns), k % (rows * columns));
                    let row = (down + tap / columns).checked_sub(top).filter(|row| *row < height);
                    let column = (across + tap % columns).checked_sub(left);
                    if let (Some(row), Some(column)) = (row, column.filter(|c| *c < width)) {
                        let pixel = ((b * inputs + channel) * height + row) * width + column;
                        sum += x[pixel] * weight[output * per_group * rows * columns + k];
                    }
                }
                y.push(sum);
            }
        }
    }
    Tensor::from_vec(y, (batch, outputs, out_height, out_width), &Device::Cpu).unwrap()
}
