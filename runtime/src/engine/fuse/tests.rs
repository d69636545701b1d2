//! The pass against tract's own kernels, on graphs as other makers write them.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};

use super::super::fixture::{int, ints, node, tensor, value};
use super::*;
use crate::kernels::Source;

/// A graph from `image` to `y` that is being written.
#[derive(Default)]
struct Writer {
    nodes: Vec<NodeProto>,
    tensors: Vec<TensorProto>,
    seed: u32,
}

impl Writer {
    fn op(&mut self, op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) {
        self.nodes.push(node(op, inputs, output, attributes));
    }

    /// A constant of numbers from -0.5 to 0.5.
    fn random(&mut self, name: &str, dims: &[i64]) {
        let values = (0..dims.iter().product::<i64>()).map(|_| {
            self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.seed >> 8) as f32 / (1 << 24) as f32 - 0.5
        });
        let values = values.collect();
        self.tensors.push(tensor(name, dims, values));
    }

    fn scalar(&mut self, name: &str, value: f32) {
        self.tensors.push(tensor(name, &[], vec![value]));
    }

    fn integers(&mut self, name: &str, values: &[i64]) {
        self.tensors.push(TensorProto {
            name: name.to_string(),
            dims: vec![values.len() as i64],
            data_type: DataType::Int64 as i32,
            int64_data: values.to_vec(),
            ..TensorProto::default()
        });
    }

    /// A convolution with random parameters.
    fn conv(&mut self, x: &str, y: &str, dims: [i64; 4], attributes: Vec<AttributeProto>) {
        let (weights, bias) = (format!("{y}.w"), format!("{y}.b"));
        self.random(&weights, &dims);
        self.random(&bias, &[dims[0]]);
        self.op("Conv", &[x, &weights, &bias], y, attributes);
    }

    fn typed(self, input: &[usize]) -> TypedModel {
        let sides: Vec<i64> = input.iter().map(|&side| side as i64).collect();
        let model = ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            graph: Some(GraphProto {
                node: self.nodes,
                initializer: self.tensors,
                input: vec![value("image", &sides)],
                output: vec![value("y", &[])],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        };
        let parsed = tract_onnx::onnx().with_ignore_value_info(true).parse(&model, None).unwrap();
        let mut model = parsed.model;
        model.select_outputs_by_name(["y"]).unwrap();
        model.set_input_fact(0, f32::fact(input).into()).unwrap();
        model.into_typed().unwrap()
    }
}

fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_string(),
        r#type: AttributeType::String as i32,
        s: text.as_bytes().to_vec(),
        ..AttributeProto::default()
    }
}

/// As [`found`]: how many regions there are.
fn regions(writer: Writer, input: &[usize]) -> usize {
    found(writer, input).0
}

/// Checks that kernels of every instruction set and tract give the same numbers, and returns how many nodes of the
/// graph run on kernels, and whether nothing else does.
fn found(writer: Writer, input: &[usize]) -> (usize, bool) {
    let typed = writer.typed(input);
    let len = input.iter().product::<usize>();
    let bytes: Vec<u8> = (0..len).map(|i| (i * 89 % 256) as u8).collect();
    let planes = bytes.iter().map(|&byte| f32::from(byte));
    let run = |model: TypedModel, image: Tensor| {
        let plan = model.into_optimized().unwrap().into_runnable().unwrap();
        let outputs = plan.run(tvec!(image.into())).unwrap();
        outputs[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
    };
    let image = Tensor::from_shape(input, &planes.collect::<Vec<_>>()).unwrap();
    let expected = run(typed.clone(), image.clone());
    let scale = expected.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
    let (mut count, mut all) = (0, false);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let team = Arc::new(Threads::new(2).unwrap());
        let Fused { model, takes_bytes, whole } = fuse(typed.clone(), isa, Storage::Single, &team).unwrap();
        count = model.nodes().iter().filter(|node| node.op_is::<KernelsOp>()).count();
        let image = if takes_bytes {
            let (height, width) = (input[2], input[3]);
            let of = |i: usize| bytes[(i % input[1]) * height * width + i / input[1]];
            let pixels: Vec<u8> = (0..len).map(of).collect();
            Tensor::from_shape(&[1, height, width, input[1]], &pixels).unwrap()
        } else {
            image.clone()
        };
        let ours = run(model, image.clone());
        assert_eq!(ours.len(), expected.len());
        all = whole.is_some();
        if let Some(region) = whole {
            let mut alone = vec![f32::NAN; ours.len()];
            let image = image.try_as_plain_ram().unwrap();
            region.run(&[Source::Bytes(image.as_slice().unwrap())], &mut [&mut alone]);
            assert_eq!(alone, ours, "{isa}, without tract");
        }
        for (a, b) in ours.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-4 * scale, "{isa}: {a}, by tract {b}");
        }
    }
    (count, all)
}

const IMAGE: [usize; 4] = [1, 3, 20, 26];

#[test]
fn asymmetric_padding_batch_norm_and_relu() {
    let mut w = Writer::default();
    w.conv("image", "a", [20, 3, 3, 3], vec![ints("pads", &[0, 1, 2, 0]), ints("strides", &[2, 2])]);
    for name in ["scale", "shift", "mean"] {
        w.random(name, &[20]);
    }
    w.tensors.push(tensor("var", &[20], vec![0.25; 20]));
    w.op("BatchNormalization", &["a", "scale", "shift", "mean", "var"], "n", vec![]);
    w.op("Relu", &["n"], "y", vec![]);
    assert_eq!(regions(w, &IMAGE), 1);
}

#[test]
fn same_padding_and_a_clip() {
    for same in ["SAME_UPPER", "SAME_LOWER"] {
        let mut w = Writer::default();
        w.scalar("low", 0.0);
        w.scalar("high", 6.0);
        w.conv("image", "a", [32, 3, 3, 3], vec![text("auto_pad", same), ints("strides", &[2, 2])]);
        w.op("Clip", &["a", "low", "high"], "c", vec![]);
        let depthwise = vec![text("auto_pad", same), ints("strides", &[2, 2]), int("group", 32)];
        w.conv("c", "y", [32, 1, 5, 5], depthwise);
        assert_eq!(regions(w, &IMAGE), 1);
    }
}

#[test]
fn grouped_convolution_with_a_shuffle_stays_tracts() {
    let mut w = Writer::default();
    w.conv("image", "a", [24, 3, 1, 1], vec![]);
    w.conv("a", "g", [24, 6, 3, 3], vec![int("group", 4), ints("pads", &[1; 4])]);
    let shape = |name: &str, sides: &[i64]| TensorProto {
        name: name.to_string(),
        dims: vec![sides.len() as i64],
        data_type: tract_onnx::pb::tensor_proto::DataType::Int64 as i32,
        int64_data: sides.to_vec(),
        ..TensorProto::default()
    };
    w.tensors.push(shape("split", &[1, 4, 6, 20, 26]));
    w.tensors.push(shape("join", &[1, 24, 20, 26]));
    w.op("Reshape", &["g", "split"], "r", vec![]);
    w.op("Transpose", &["r"], "t", vec![ints("perm", &[0, 2, 1, 3, 4])]);
    w.op("Reshape", &["t", "join"], "s", vec![]);
    w.conv("s", "y", [24, 1, 3, 3], vec![int("group", 24), ints("pads", &[1; 4])]);
    assert_eq!(regions(w, &IMAGE), 2);
}

#[test]
fn hard_swish_and_a_gate_between_convolutions() {
    let mut w = Writer::default();
    w.conv("image", "a", [16, 3, 3, 3], vec![ints("pads", &[1; 4])]);
    w.op("HardSwish", &["a"], "h", vec![]);
    w.conv("h", "b", [16, 16, 3, 3], vec![ints("pads", &[1; 4])]);
    w.op("GlobalAveragePool", &["b"], "m", vec![]);
    w.conv("m", "f", [16, 16, 1, 1], vec![]);
    w.op("Sigmoid", &["f"], "gate", vec![]);
    w.op("Mul", &["b", "gate"], "q", vec![]);
    w.conv("q", "y", [10, 16, 1, 1], vec![]);
    assert!(regions(w, &IMAGE) >= 3);
}

#[test]
fn dilation_and_rectangular_windows() {
    let mut w = Writer::default();
    w.conv("image", "a", [17, 3, 1, 7], vec![ints("pads", &[0, 3, 0, 3])]);
    w.conv("a", "b", [17, 17, 7, 1], vec![ints("pads", &[3, 0, 3, 0]), ints("strides", &[1, 2])]);
    w.conv("b", "c", [20, 17, 3, 3], vec![ints("pads", &[2; 4]), ints("dilations", &[2, 2])]);
    let depthwise = vec![ints("pads", &[2, 1, 2, 1]), ints("dilations", &[2, 1]), int("group", 20)];
    w.conv("c", "y", [20, 1, 3, 3], depthwise);
    assert_eq!(regions(w, &IMAGE), 1);
}

#[test]
fn residuals_in_either_order_and_sums_with_oneself() {
    let mut w = Writer::default();
    w.random("per.channel", &[1, 16, 1, 1]);
    w.scalar("three", 3.0);
    w.conv("image", "a", [16, 3, 3, 3], vec![ints("pads", &[1; 4])]);
    w.conv("a", "b", [16, 16, 3, 3], vec![ints("pads", &[1; 4])]);
    w.conv("a", "c", [16, 16, 1, 1], vec![]);
    w.op("Add", &["b", "c"], "d", vec![]);
    w.op("Relu", &["d"], "e", vec![]);
    w.op("Add", &["a", "e"], "f", vec![]);
    w.op("Add", &["f", "f"], "g", vec![]);
    w.op("Sub", &["three", "g"], "h", vec![]);
    w.op("Div", &["h", "three"], "i", vec![]);
    w.op("Mul", &["i", "per.channel"], "j", vec![]);
    w.op("Relu", &["j"], "k", vec![]);
    w.op("Add", &["k", "f"], "l", vec![]);
    w.conv("l", "y", [5, 16, 1, 1], vec![]);
    assert_eq!(regions(w, &IMAGE), 1);
}

#[test]
fn pools_of_every_kind() {
    for (op, attributes) in [
        ("MaxPool", vec![ints("pads", &[1; 4])]),
        ("MaxPool", vec![int("ceil_mode", 1)]),
        ("AveragePool", vec![ints("pads", &[1; 4])]),
        ("AveragePool", vec![ints("pads", &[1; 4]), int("count_include_pad", 1)]),
    ] {
        let mut w = Writer::default();
        w.conv("image", "a", [18, 3, 1, 1], vec![]);
        let window = vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])];
        w.op(op, &["a"], "p", [window, attributes].concat());
        w.conv("p", "y", [4, 18, 1, 1], vec![]);
        assert!(regions(w, &IMAGE) >= 1);
    }
}

#[test]
fn an_input_with_channels_last() {
    let mut w = Writer::default();
    w.op("Transpose", &["image"], "t", vec![ints("perm", &[0, 3, 1, 2])]);
    w.conv("t", "a", [16, 3, 3, 3], vec![ints("strides", &[2, 2])]);
    w.op("Transpose", &["a"], "y", vec![ints("perm", &[0, 2, 3, 1])]);
    assert_eq!(regions(w, &[1, 20, 26, 3]), 1);
}

#[test]
fn a_value_that_is_used_and_given_out() {
    let mut w = Writer::default();
    w.conv("image", "y", [7, 3, 3, 3], vec![]);
    w.op("Relu", &["y"], "unused", vec![]);
    assert_eq!(regions(w, &IMAGE), 1);
}

#[test]
fn a_head_of_class_aligned_channels_is_all_kernels() {
    for (op, rest, xi) in [("ReduceSum", vec![], 6), ("ReduceSum", vec![], 3), ("ReduceMax", vec![18, 24], 4)]
    {
        let mut w = Writer::default();
        w.conv("image", "maps", [24, 3, 3, 3], vec![]);
        w.integers("shape", &[vec![1, 24 / xi, xi], rest.clone()].concat());
        let grouped = if rest.is_empty() {
            w.op("GlobalAveragePool", &["maps"], "mean", vec![]);
            w.op("Flatten", &["mean"], "flat", vec![int("axis", 1)]);
            w.random("weight", &[24]);
            w.op("Mul", &["flat", "weight"], "weighted", vec![]);
            "weighted"
        } else {
            "maps"
        };
        w.op("Reshape", &[grouped, "shape"], "groups", vec![]);
        if op == "ReduceMax" {
            w.op(op, &["groups"], "reduced", vec![ints("axes", &[2]), int("keepdims", 0)]);
            w.op("GlobalAveragePool", &["reduced"], "y", vec![]);
        } else {
            w.integers("axis", &[2]);
            w.op(op, &["groups", "axis"], "reduced", vec![int("keepdims", 0)]);
            w.random("bias", &[24 / xi]);
            w.op("Add", &["reduced", "bias"], "y", vec![]);
        }
        assert_eq!(found(w, &IMAGE), (1, true), "{op} of {xi}");
    }
}

#[test]
fn a_fully_connected_layer_after_the_mean_is_all_kernels() {
    for transposed in [0, 1] {
        let mut w = Writer::default();
        w.conv("image", "maps", [24, 3, 3, 3], vec![]);
        w.op("GlobalAveragePool", &["maps"], "mean", vec![]);
        w.op("Flatten", &["mean"], "flat", vec![int("axis", 1)]);
        w.random("weight", if transposed == 1 { &[7, 24] } else { &[24, 7] });
        w.random("bias", &[7]);
        w.op("Gemm", &["flat", "weight", "bias"], "y", vec![int("transB", transposed)]);
        assert_eq!(found(w, &IMAGE), (1, true), "transposed {transposed}");
    }
}

/// Two levels of maps, added: those of stride 2, and those of stride 4 scaled up.
fn two_levels(scales: [f32; 4], modes: [&str; 3]) -> Writer {
    let mut writer = Writer::default();
    writer.conv("image", "fine", [20, 3, 3, 3], vec![ints("strides", &[2, 2]), ints("pads", &[1; 4])]);
    writer.op("Relu", &["fine"], "fine.relu", Vec::new());
    writer.conv("fine.relu", "coarse", [12, 20, 3, 3], vec![ints("strides", &[2, 2]), ints("pads", &[1; 4])]);
    writer.conv("coarse", "deep", [18, 12, 1, 1], Vec::new());
    writer.tensors.push(tensor("scales", &[4], scales.to_vec()));
    let [mode, transform, nearest] = modes;
    let modes = vec![
        text("mode", mode),
        text("coordinate_transformation_mode", transform),
        text("nearest_mode", nearest),
    ];
    writer.op("Resize", &["deep", "", "scales"], "up", modes);
    writer.conv("fine.relu", "near", [18, 20, 1, 1], Vec::new());
    writer.op("Add", &["near", "up"], "sum", Vec::new());
    writer.op("Relu", &["sum"], "y", Vec::new());
    writer
}

#[test]
fn maps_that_are_scaled_up_and_added_stay_in_one_region() {
    let nearest = ["nearest", "asymmetric", "floor"];
    assert_eq!(found(two_levels([1.0, 1.0, 2.0, 2.0], nearest), &[1, 3, 40, 24]), (1, true));
}

#[test]
fn other_ways_to_scale_are_tracts() {
    let linear = ["linear", "half_pixel", "floor"];
    assert_eq!(found(two_levels([1.0, 1.0, 2.0, 2.0], linear), &[1, 3, 40, 24]), (1, false));
}
