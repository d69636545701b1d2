//! What candle 0.11 gets wrong, seen against the same golden numbers that `ops` meets.
//!
//! Each fact is a reason for an operation of our own. A test that fails here is good news: candle has
//! mended it, and that operation can be measured against candle's again.

use candle_core::{D, DType, Device, Result, Tensor, Var};

use crate::golden::{Case, Golden, assert_close, numbers, relative_error};

/// Gradient that candle brings to the case's `x` (or `input`), after checking candle's forward pass.
fn gradient(case: &Case, input: &str, operation: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Vec<f64>> {
    let x = case.var(input, DType::F32);
    let y = operation(&x)?;
    assert_close(&case.name, &y, case.stored("y"), 1e-5);
    let loss = (y * case.tensor("dy", DType::F32))?.sum_all()?;
    let gradients = loss.backward()?;
    Ok(numbers(gradients.get(&x).expect("candle has a gradient")))
}

#[track_caller]
fn assert_wrong(case: &Case, actual: &[f64], expected: &[f64]) {
    let error = relative_error(actual, expected);
    assert!(error > 0.05, "candle is right about {}: error {error:e}", case.name);
}

#[test]
fn stock_candle_scales_max_pool_gradient_by_a_quarter() {
    let golden = Golden::ops();
    let case = golden.case("max_pool/2x2_unique");
    let actual = gradient(&case, "x", |x| x.max_pool2d(2)).unwrap();
    let quarter: Vec<f64> = case.numbers("dx").iter().map(|dx| dx / 4.0).collect();
    assert_wrong(&case, &actual, &case.numbers("dx"));
    assert!(relative_error(&actual, &quarter) < 1e-6);
}

#[test]
fn stock_candle_spreads_max_pool_gradient_over_ties() {
    let golden = Golden::ops();
    let case = golden.case("max_pool/2x2_tied");
    let actual = gradient(&case, "x", |x| x.max_pool2d(2)).unwrap();
    assert_wrong(&case, &actual, &case.numbers("dx"));
}

#[test]
fn stock_candle_misplaces_max_pool_gradient_on_odd_sides() {
    let golden = Golden::ops();
    let case = golden.case("max_pool/2x2_odd");
    // Times four, so that the quarter above is not what is seen.
    let actual = gradient(&case, "x", |x| x.max_pool2d(2)).unwrap();
    let actual: Vec<f64> = actual.iter().map(|dx| dx * 4.0).collect();
    assert_wrong(&case, &actual, &case.numbers("dx"));
}

#[test]
fn stock_candle_cannot_train_through_a_stem_pool() {
    let x = Var::rand(0_f32, 1_f32, (1, 2, 7, 7), &Device::Cpu).unwrap();
    for y in [x.max_pool2d_with_stride(3, 2).unwrap(), x.avg_pool2d_with_stride(3, 2).unwrap()] {
        let error = y.sum_all().unwrap().backward().unwrap_err().to_string();
        assert!(error.contains("backward not supported"), "{error}");
    }
}

#[test]
fn stock_candle_misplaces_avg_pool_gradient_on_odd_sides() {
    let golden = Golden::ops();
    let case = golden.case("avg_pool/2x2_odd");
    let actual = gradient(&case, "x", |x| x.avg_pool2d(2)).unwrap();
    assert_wrong(&case, &actual, &case.numbers("dx"));
}

#[test]
fn stock_candle_gives_every_tied_channel_the_full_gradient() {
    let golden = Golden::ops();
    let case = golden.case("ccmp/dead");
    let actual = gradient(&case, "x", |x| x.reshape((1, 2, 2, 2, 3))?.max(2)).unwrap();
    assert_wrong(&case, &actual, &case.numbers("dx"));
    let total = |values: &[f64]| values.iter().sum::<f64>();
    assert!((total(&actual) - 2.0 * total(&case.numbers("dy"))).abs() < 1e-5);
}

#[test]
fn stock_candle_enlarges_the_gradient_of_discriminality() {
    let golden = Golden::mc_loss();
    let case = golden.case("formula_even");
    let maps = case.var("maps", DType::F64);
    let mask = case.tensor("mask", DType::F64);
    let masked = maps.broadcast_mul(&mask.reshape((1, 6, 1, 1)).unwrap());
    let groups = masked.unwrap().reshape((2, 2, 3, 9)).unwrap();
    let g = groups.max(2).unwrap().mean(D::Minus1).unwrap();
    let loss = candle_nn::loss::cross_entropy(&g, case.stored("labels")).unwrap();
    let gradients = loss.backward().unwrap();
    let norm = |values: &[f64]| values.iter().map(|g| g * g).sum::<f64>().sqrt();
    let theirs = norm(&numbers(gradients.get(&maps).unwrap()));
    assert!((theirs - 0.153_527_335).abs() < 1e-9, "{theirs}");
    assert!((norm(&case.numbers("ddiscriminality")) - 0.148_787_520).abs() < 1e-9);
}

#[test]
fn stock_candle_softmax_last_dim_has_no_gradient() {
    let x = Var::rand(0_f32, 1_f32, (2, 5), &Device::Cpu).unwrap();
    let y = candle_nn::ops::softmax_last_dim(&x).unwrap();
    let fast = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    assert!(fast.get(&x).is_none());
    let y = candle_nn::ops::softmax(&x, D::Minus1).unwrap();
    let slow = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    assert!(slow.get(&x).is_some());
}

#[test]
fn stock_candle_relu_has_gradient_one_at_zero() {
    let golden = Golden::ops();
    let case = golden.case("relu/at_its_bound");
    let actual = gradient(&case, "input", Tensor::relu).unwrap();
    assert_wrong(&case, &actual, &case.numbers("dinput"));
}

#[test]
fn stock_candle_clamp_has_gradient_at_the_bounds_of_relu6() {
    let golden = Golden::ops();
    let case = golden.case("relu6/at_its_bounds");
    let actual = gradient(&case, "input", |x| x.clamp(0_f32, 6_f32)).unwrap();
    assert_wrong(&case, &actual, &case.numbers("dinput"));
}

#[test]
fn stock_candle_cannot_train_a_strided_conv_on_sides_of_mixed_parity() {
    let golden = Golden::ops();
    let case = golden.case("conv/dense_3x3_stride_2_mixed_parity");
    let weight = case.tensor("weight", DType::F32);
    let error = gradient(&case, "x", |x| x.conv2d(&weight, 1, 2, 1, 1)).unwrap_err();
    assert!(error.to_string().contains("shape mismatch"), "{error}");
}

#[test]
fn stock_candle_makes_a_gradient_for_an_image_that_needs_none() {
    let golden = Golden::ops();
    let case = golden.case("conv/dense_3x3");
    let (x, weight) = (case.tensor("x", DType::F32), case.var("weight", DType::F32));
    let y = x.conv2d(&weight, 1, 1, 1, 1).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_some());
}
