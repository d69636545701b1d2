//! Two-dimensional convolution with the gradients candle lacks: grouped, strided, padded on any
//! side.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::depthwise::Depthwise;
use super::geometry::{Conv, ConvGeometry, Dense};
use super::storage::{Real, by_float, check_floats, on_cuda, picture_dims, stored, values};
use super::tape::{apply2, tracks};
use super::window::Window;

/// Convolution (cross-correlation, as every network library means it) without bias.
///
/// `x`: `[B, Ci, H, W]`; `weight`: `[Co, Ci / groups, kh, kw]`, both f32 or both f64; result: `[B,
/// Co, H', W']` with `H' = floor((H + top + bottom - kh) / stride) + 1`. Neither the result nor the
/// gradients depend on the number of threads. An `x` or `weight` that the graph does not track
/// costs no gradient.
///
/// # Errors
/// Other ranks or types, empty tensors, channels that do not fit the groups, a kernel larger than
/// the padded picture, a stride of zero.
pub fn conv2d(x: &Tensor, weight: &Tensor, g: ConvGeometry) -> Result<Tensor> {
    let [batch, inputs, height, width] = picture_dims("conv2d", x)?;
    let &[outputs, per_group, rows, columns] = weight.dims() else {
        bail!("conv2d: the weight is {:?}, expected [Co, Ci / groups, kh, kw]", weight.dims());
    };
    check_floats("conv2d", &[x, weight])?;
    let groups = g.groups;
    if groups == 0 || inputs % groups != 0 || outputs % groups != 0 || outputs == 0 {
        bail!("conv2d: {groups} groups do not divide {inputs} input and {outputs} output channels");
    }
    if per_group != inputs / groups {
        bail!(
            "conv2d: the weight {:?} takes {per_group} channels a group, but the input {:?} in \
             {groups} groups has {}",
            weight.dims(),
            x.dims(),
            inputs / groups
        );
    }
    let window = Window::new("conv2d", [height, width], [rows, columns], g.stride, g.padding)?;
    let conv = Conv { batch, inputs, outputs, groups, window };
    on_cuda!(x, super::cuda::conv2d(x, weight, conv));
    apply2([&x.contiguous()?, &weight.contiguous()?], conv)
}

impl Conv {
    fn forward<T: Real>(&self, x: &[T], weight: &[T]) -> Vec<T> {
        if self.is_depthwise() {
            Depthwise::of(self).forward(x, weight)
        } else {
            Dense::of(self).forward(x, weight)
        }
    }

    fn backward<T: Real>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (need_dx, need_dw) = (tracks(x), tracks(weight));
        let (dx, dw) = {
            let (x_storage, x_layout) = x.storage_and_layout();
            let (w_storage, w_layout) = weight.storage_and_layout();
            let (dy_storage, dy_layout) = dy.storage_and_layout();
            let x = stored::<T>(&x_storage, x_layout)?;
            let w = stored::<T>(&w_storage, w_layout)?;
            let dy = stored::<T>(&dy_storage, dy_layout)?;
            if self.is_depthwise() {
                Depthwise::of(self).backward(x, w, dy, need_dx, need_dw)
            } else {
                let dense = Dense::of(self);
                (need_dx.then(|| dense.input_gradient(w, dy)), need_dw.then(|| dense.weight_gradient(x, dy)))
            }
        };
        let tensor = |values: Option<Vec<T>>, like: &Tensor| {
            values.map(|values| Tensor::from_vec(values, like.shape(), like.device())).transpose()
        };
        Ok((tensor(dx, x)?, tensor(dw, weight)?))
    }
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let [height, width] = self.window.output;
        let y = by_float!(x.dtype(), T => {
            let y = self.forward::<T>(values(x, x_layout)?, values(weight, weight_layout)?);
            <T as candle_core::WithDType>::to_cpu_storage_owned(y)
        });
        Ok((y, Shape::from((self.batch, self.outputs, height, width))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        by_float!(x.dtype(), T => self.backward::<T>(x, weight, dy))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::super::reference::{check_gradients, close, convolution, flat, gradients, random};
    use super::*;

    struct Case {
        x: [usize; 4],
        weight: [usize; 4],
        geometry: ConvGeometry,
    }

    fn case(x: [usize; 4], weight: [usize; 4], stride: usize, padding: [usize; 4], groups: usize) -> Case {
        Case { x, weight, geometry: ConvGeometry { stride, padding, groups } }
    }

    fn cases() -> Vec<Case> {
        vec![
            case([2, 3, 6, 7], [4, 3, 1, 1], 1, [0; 4], 1),
            case([3, 4, 7, 5], [5, 4, 1, 1], 2, [0; 4], 1),
            case([2, 3, 7, 8], [4, 3, 3, 3], 1, [1; 4], 1),
            case([2, 3, 16, 15], [4, 3, 3, 3], 2, [1; 4], 1),
            case([1, 2, 5, 6], [3, 2, 3, 2], 1, [0, 1, 2, 0], 1),
            case([1, 2, 5, 6], [3, 2, 2, 3], 1, [3, 2, 0, 4], 1),
            case([2, 2, 9, 8], [2, 2, 5, 3], 3, [2, 0, 1, 2], 1),
            case([1, 3, 13, 11], [4, 3, 7, 7], 2, [3; 4], 1),
            case([2, 4, 6, 5], [6, 2, 3, 3], 1, [1; 4], 2),
            case([2, 4, 7, 5], [8, 1, 3, 3], 2, [0, 0, 1, 1], 4),
            case([2, 3, 1, 1], [3, 3, 3, 3], 1, [1; 4], 1),
            case([2, 5, 7, 6], [5, 1, 3, 3], 1, [1; 4], 5),
            case([2, 3, 8, 9], [3, 1, 3, 3], 2, [0, 0, 1, 1], 3),
            case([1, 3, 7, 7], [3, 1, 5, 5], 1, [2; 4], 3),
            case([2, 2, 9, 7], [2, 1, 5, 5], 2, [1, 2, 2, 1], 2),
            case([2, 2, 6, 5], [2, 1, 2, 4], 3, [0, 2, 3, 1], 2),
            case([1, 2, 3, 3], [2, 1, 3, 3], 1, [4, 0, 0, 5], 2),
        ]
    }

    #[test]
    fn output_and_gradients_agree_with_the_definition() {
        for (index, Case { x, weight, geometry }) in cases().into_iter().enumerate() {
            let x = random(index as u64, &x);
            let weight = random(100 + index as u64, &weight);
            let y = conv2d(&x, &weight, geometry).unwrap();
            let expected = convolution(&x, &weight, geometry);
            assert_eq!(y.dims(), expected.dims(), "{geometry:?}");
            close(&flat(&y), &flat(&expected), 1e-13);
            check_gradients(&[x, weight], |x| conv2d(&x[0], &x[1], geometry));
        }
    }

    /// Sizes that reach the bands, the partial sums and the cut by channels; f32 against f64.
    #[test]
    fn larger_layers_agree_in_both_types_and_with_the_definition() {
        for (x, weight, stride, padding, groups) in [
            ([5, 8, 40, 37], [8, 8, 3, 3], 1, [1; 4], 1),
            ([3, 320, 6, 5], [130, 320, 3, 3], 1, [1; 4], 1),
            ([5, 17, 40, 37], [19, 17, 3, 3], 1, [1; 4], 1),
            ([3, 64, 21, 70], [96, 64, 3, 3], 1, [0, 2, 1, 0], 1),
            ([9, 40, 6, 7], [24, 40, 3, 3], 1, [2, 0, 0, 2], 1),
            ([3, 320, 7, 5], [130, 320, 3, 3], 2, [1; 4], 1),
            ([4, 384, 3, 3], [400, 384, 1, 1], 1, [0; 4], 1),
            ([4, 256, 28, 28], [17, 256, 3, 3], 2, [0, 0, 1, 1], 1),
            ([9, 6, 30, 33], [6, 1, 5, 5], 1, [2; 4], 6),
            ([3, 4, 70, 71], [4, 1, 3, 3], 2, [1; 4], 4),
        ] {
            let geometry = ConvGeometry { stride, padding, groups };
            let (x, weight) = (random(1, &x), random(2, &weight));
            let run = |x: &[Tensor]| conv2d(&x[0], &x[1], geometry);
            let exact = gradients(&[x.clone(), weight.clone()], run);
            let y = conv2d(&x, &weight, geometry).unwrap();
            close(&flat(&y), &flat(&convolution(&x, &weight, geometry)), 1e-12);
            let singles = [&x, &weight].map(|x| x.to_dtype(DType::F32).unwrap());
            close(&flat(&run(&singles).unwrap()), &flat(&y), 1e-5);
            for (single, exact) in gradients(&singles, run).iter().zip(&exact) {
                close(&flat(single), &flat(exact), 1e-5);
            }
            // The sum of y dy, from y and from either gradient: the operation is linear in both.
            let seeded =
                |a: &Tensor, b: &Tensor| -> f64 { flat(a).iter().zip(flat(b)).map(|(a, b)| a * b).sum() };
            let through_y = seeded(&y, &random(99, y.dims()));
            close(&[seeded(&x, &exact[0])], &[through_y], 1e-10);
            close(&[seeded(&weight, &exact[1])], &[through_y], 1e-10);
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        for (x, weight, stride, groups) in [
            ([7, 16, 20, 20], [24, 16, 3, 3], 1, 1),
            ([7, 128, 9, 9], [160, 128, 3, 3], 2, 1),
            ([7, 16, 12, 11], [16, 1, 3, 3], 1, 16),
        ] {
            let geometry = ConvGeometry { stride, padding: [1; 4], groups };
            let inputs = [random(1, &x), random(2, &weight)].map(|x| x.to_dtype(DType::F32).unwrap());
            let with_threads = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let y = conv2d(&inputs[0], &inputs[1], geometry).unwrap();
                    let all = gradients(&inputs, |x| conv2d(&x[0], &x[1], geometry));
                    [&y, &all[0], &all[1]].map(flat)
                })
            };
            let one = with_threads(1);
            assert_eq!(one, with_threads(2));
            assert_eq!(one, with_threads(5));
        }
    }

    #[test]
    fn an_untracked_input_gets_no_gradient() {
        let x = random(1, &[1, 2, 4, 4]);
        let weight = Var::from_tensor(&random(2, &[3, 2, 3, 3])).unwrap();
        let geometry = ConvGeometry { stride: 1, padding: [1; 4], groups: 1 };
        let y = conv2d(&x, &weight, geometry).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&x).is_none());
        assert!(gradients.get(&weight).is_some());
        let (x, weight) = (Var::from_tensor(&x).unwrap(), weight.detach());
        let y = conv2d(&x, &weight, geometry).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&x).is_some());
        assert!(gradients.get(&weight).is_none());
    }

    #[test]
    fn a_strided_input_is_seen_in_its_own_order() {
        let x = random(1, &[2, 5, 6, 3]).permute((0, 3, 1, 2)).unwrap();
        let weight = random(2, &[4, 3, 3, 3]);
        let geometry = ConvGeometry { stride: 1, padding: [1; 4], groups: 1 };
        let y = conv2d(&x, &weight, geometry).unwrap();
        close(&flat(&y), &flat(&convolution(&x, &weight, geometry)), 1e-13);
        check_gradients(&[x, weight], |x| conv2d(&x[0], &x[1], geometry));
    }

    #[test]
    fn impossible_convolutions_are_errors() {
        let message = |x: &[usize], weight: &[usize], stride, groups| {
            let geometry = ConvGeometry { stride, padding: [0; 4], groups };
            let result = conv2d(&random(1, x), &random(2, weight), geometry);
            result.unwrap_err().to_string()
        };
        let x = [1, 4, 5, 5];
        assert!(message(&[4, 5, 5], &[2, 4, 3, 3], 1, 1).contains("expected [B, C, H, W]"));
        assert!(message(&x, &[2, 4, 3], 1, 1).contains("expected [Co, Ci / groups, kh, kw]"));
        assert!(message(&[0, 4, 5, 5], &[2, 4, 3, 3], 1, 1).contains("empty"));
        assert!(message(&x, &[2, 3, 3, 3], 1, 1).contains("takes 3 channels"));
        assert!(message(&x, &[2, 4, 3, 3], 1, 3).contains("3 groups"));
        assert!(message(&x, &[0, 4, 3, 3], 1, 1).contains("0 output"));
        assert!(message(&x, &[2, 4, 3, 3], 1, 0).contains("0 groups"));
        assert!(message(&x, &[2, 4, 3, 3], 0, 1).contains("stride 0"));
        assert!(message(&x, &[2, 4, 0, 3], 1, 1).contains("at least 1"));
        assert!(message(&x, &[2, 4, 6, 3], 1, 1).contains("larger than the padded input"));
        let single = Tensor::zeros((2, 4, 3, 3), DType::F32, &Device::Cpu).unwrap();
        let geometry = ConvGeometry { stride: 1, padding: [0; 4], groups: 1 };
        let error = conv2d(&random(1, &x), &single, geometry).unwrap_err().to_string();
        assert!(error.contains("F64 but a parameter is F32"), "{error}");
    }
}
