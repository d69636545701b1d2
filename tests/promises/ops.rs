//! Every differentiable operation of the trainer against `PyTorch`: values and gradients.

use candle_core::{DType, Result, Tensor, Var};
use fieldmark::layout::Layout;
use fieldmark_trainer::net::ops::{self, Activation, ConvGeometry, SgdStep};

use crate::golden::{Case, Golden, assert_close, test_types};

const TOLERANCE: f64 = 1e-5;

/// Runs `operation` on the case's inputs, forward and backward, and compares both.
fn check(case: &Case, inputs: &[&str], operation: impl Fn(&[Var]) -> Result<Tensor>) {
    for &dtype in test_types() {
        let vars: Vec<Var> = inputs.iter().map(|key| case.var(key, dtype)).collect();
        let y = operation(&vars).unwrap();
        let what = format!("{} {dtype:?}", case.name);
        assert_close(&what, &y, case.stored("y"), TOLERANCE);
        let loss = (y * case.tensor("dy", dtype)).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        for (key, var) in inputs.iter().zip(&vars) {
            let what = format!("gradient of {key}, {what}");
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("no {what}"));
            assert_close(&what, gradient, case.stored(&format!("d{key}")), TOLERANCE);
        }
    }
}

fn activation(case: &Case) -> Activation {
    // The order of ACTIVATIONS in make_ops.py.
    [Activation::None, Activation::Relu, Activation::Relu6][case.indices("activation")[0]]
}

fn layout(case: &Case) -> Layout {
    Layout::from_sizes(&case.indices("sizes")).unwrap()
}

fn conv_geometry(case: &Case) -> ConvGeometry {
    let g = case.indices("geometry");
    ConvGeometry { stride: g[0], padding: [g[1], g[2], g[3], g[4]], groups: g[5] }
}

#[test]
fn conv2d_is_pytorchs() {
    for case in Golden::ops().cases("conv/") {
        let geometry = conv_geometry(&case);
        check(&case, &["x", "weight"], |v| ops::conv2d(&v[0], &v[1], geometry));
    }
}

#[test]
fn conv2d_makes_no_gradient_for_an_image() {
    let golden = Golden::ops();
    let case = golden.case("conv/dense_3x3");
    let (x, weight) = (case.tensor("x", DType::F32), case.var("weight", DType::F32));
    let y = ops::conv2d(&x, &weight, conv_geometry(&case)).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_none());
    assert!(gradients.get(&weight).is_some());
}

#[test]
fn same_padding_is_what_the_golden_cases_use() {
    let golden = Golden::ops();
    let cases = golden.cases("conv/same_");
    assert!(cases.len() >= 4);
    for case in cases {
        let g = case.indices("geometry");
        let (x, weight) = (case.stored("x").dims(), case.stored("weight").dims());
        assert_eq!(ops::same_padding(x[2], weight[2], g[0]), (g[1], g[3]), "{}", case.name);
        assert_eq!(ops::same_padding(x[3], weight[3], g[0]), (g[2], g[4]), "{}", case.name);
    }
}

#[test]
fn batch_norm_is_pytorchs_with_its_running_statistics() {
    for case in Golden::ops().cases("batch_norm/") {
        let (eps, act) = (case.numbers("eps")[0], activation(&case));
        check(&case, &["x", "gamma", "beta"], |v| {
            ops::batch_norm_train(&v[0], &v[1], &v[2], eps, act).map(|output| output.y)
        });
        for &dtype in test_types() {
            let var = |key| case.var(key, dtype);
            let (x, gamma, beta) = (var("x"), var("gamma"), var("beta"));
            let output = ops::batch_norm_train(&x, &gamma, &beta, eps, act).unwrap();
            let momentum = case.numbers("momentum")[0];
            let moved = |key: &str, statistic: &Tensor| {
                let kept = (case.tensor(key, dtype) * (1.0 - momentum)).unwrap();
                (kept + (statistic * momentum).unwrap()).unwrap()
            };
            for (key, statistic) in [("running_mean", &output.mean), ("running_var", &output.var_unbiased)] {
                let expected = case.stored(&format!("next_{key}"));
                assert_close(&case.name, &moved(key, statistic), expected, TOLERANCE);
            }
        }
    }
}

#[test]
fn scale_shift_is_pytorchs_with_respect_to_the_maps() {
    for case in Golden::ops().cases("scale_shift/") {
        let act = activation(&case);
        check(&case, &["x"], |v| {
            let constant = |key| case.tensor(key, v[0].dtype());
            ops::scale_shift(&v[0], &constant("scale"), &constant("shift"), act)
        });
    }
}

#[test]
fn relu_and_relu6_have_no_gradient_at_their_bounds() {
    let golden = Golden::ops();
    check(&golden.case("relu/at_its_bound"), &["input"], |v| ops::relu(&v[0]));
    check(&golden.case("relu6/at_its_bounds"), &["input"], |v| ops::relu6(&v[0]));
}

#[test]
fn add_relu_is_pytorchs() {
    check(&Golden::ops().case("add_relu/tied"), &["a", "b"], |v| ops::add_relu(&v[0], &v[1]));
}

#[test]
fn max_pool_is_pytorchs_and_ties_go_to_the_first() {
    for case in Golden::ops().cases("max_pool/") {
        let w = case.indices("window");
        let padding = [w[2], w[3], w[4], w[5]];
        check(&case, &["x"], |v| ops::max_pool(&v[0], w[0], w[1], padding));
    }
}

#[test]
fn avg_pool_is_pytorchs() {
    for case in Golden::ops().cases("avg_pool/") {
        let w = case.indices("window");
        check(&case, &["x"], |v| ops::avg_pool(&v[0], w[0], w[1]));
    }
}

#[test]
fn gap_is_pytorchs_mean_over_space() {
    check(&Golden::ops().case("gap/rectangle"), &["x"], |v| ops::gap(&v[0]));
}

#[test]
fn ccmp_is_pytorchs_and_ties_go_to_the_first_channel() {
    for case in Golden::ops().cases("ccmp/") {
        let layout = layout(&case);
        check(&case, &["x"], |v| ops::ccmp(&v[0], &layout));
    }
}

#[test]
fn coverage_is_pytorchs() {
    for case in Golden::ops().cases("coverage/") {
        let layout = layout(&case);
        check(&case, &["x"], |v| ops::coverage(&v[0], &layout));
    }
}

#[test]
fn sgd_steps_are_pytorchs() {
    for case in Golden::ops().cases("sgd/") {
        let s = case.numbers("settings");
        let step = SgdStep { rate: s[0], momentum: s[1], nesterov: s[2] != 0.0, weight_decay: s[3] };
        for &dtype in test_types() {
            let param = case.var("param", dtype);
            let velocity = Var::from_tensor(&param.zeros_like().unwrap()).unwrap();
            let (gradients, params) = (case.tensor("gradients", dtype), case.stored("params"));
            for i in 0..params.dims()[0] {
                let gradient = gradients.get(i).unwrap();
                ops::sgd_step(&param, &velocity, &gradient, step).unwrap();
                let what = format!("{} step {i} {dtype:?}", case.name);
                assert_close(&what, &param, &params.get(i).unwrap(), TOLERANCE);
            }
        }
    }
}
