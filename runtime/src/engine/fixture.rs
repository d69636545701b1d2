//! A small real model for tests: each channel looks for one colour in patches of the picture.

use ndarray::Array3;
use prost::Message;
use serde_json::json;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

use crate::frame::{Frame, ResizeRule, input, pattern};
use crate::head::{Head, HeadKind};
use crate::layout::Layout;
use crate::model::{Description, Input, METADATA_KEY, SCHEMA, SelfTest, Thresholds, labels_sha256};

pub(super) const SIDE: u32 = 112;
const STRIDE: u32 = 8;
const CHANNELS: usize = 7;

/// What each channel weighs red, green and blue with, and from which value on it fires.
const COLOURS: [([f32; 3], f32); CHANNELS] = [
    ([1.0, -0.5, -0.5], 0.15),
    ([0.5, 0.5, -1.0], 0.2),
    ([-0.5, 1.0, -0.5], 0.1),
    ([-1.0, 0.5, 0.5], 0.2),
    ([-0.5, -0.5, 1.0], 0.1),
    ([0.33, 0.33, 0.34], 0.8),
    ([0.0, 0.0, 0.0], 0.5),
];

/// Three classes of 2, 2 and 3 channels, self-tested against [`logits`].
pub(super) fn description() -> Description {
    let labels: Vec<String> = ["Robin", "Greenfinch", "Blue tit"].map(String::from).into();
    let mut description = Description {
        schema: SCHEMA,
        labels_sha256: labels_sha256(&labels),
        labels,
        layout: Layout::from_sizes(&[2, 2, 3]).unwrap(),
        head: Head {
            kind: HeadKind::GroupMean,
            weight: vec![9.0, 6.0, 9.0, 6.0, 9.0, 2.0, 1.0],
            bias: vec![0.5, -0.25, 0.0],
        },
        input: Input { side: SIDE, resize: ResizeRule::Pad },
        map_stride: STRIDE,
        temperature: 0.5,
        thresholds: Thresholds::default(),
        sketches: None,
        training: json!({ "program": "fixture" }),
        self_test: Vec::new(),
    };
    description.self_test =
        [1, 2, 3].map(|seed| SelfTest { seed, logits: logits(&description, &pattern(seed, SIDE)) }).into();
    description
}

/// The logits by plain loops over patches.
fn logits(description: &Description, frame: &Frame) -> Vec<f32> {
    let (planes, stride) = (input(frame), STRIDE as usize);
    let cells = (SIDE / STRIDE) as usize;
    let maps = Array3::from_shape_fn((CHANNELS, cells, cells), |(channel, row, column)| {
        let (weights, threshold) = COLOURS[channel];
        let mut sum = 0.0_f64;
        for (plane, weight) in weights.into_iter().enumerate() {
            for y in 0..stride {
                for x in 0..stride {
                    let value = planes[[0, plane, row * stride + y, column * stride + x]];
                    sum += f64::from(weight * value);
                }
            }
        }
        let mean = sum / (255 * stride * stride) as f64;
        (mean as f32 - threshold).max(0.0)
    });
    let head = &description.head;
    head.logits(maps.view(), &description.layout).unwrap()
}

/// The model file of [`description`].
pub(super) fn model_file() -> Vec<u8> {
    model(&description()).encode_to_vec()
}

/// The model, with any description in it.
pub(super) fn model(description: &Description) -> ModelProto {
    let head = &description.head;
    let (layout, classes) = (&description.layout, description.layout.classes());
    let patch = (STRIDE * STRIDE) as usize;
    let kernel = COLOURS.iter().flat_map(|(weights, _)| {
        weights.iter().flat_map(move |w| std::iter::repeat_n(w / (255 * patch) as f32, patch))
    });
    let mut matrix = vec![0.0; CHANNELS * classes];
    for (channel, &weight) in head.weight.iter().enumerate() {
        matrix[channel * classes + layout.class_of(channel)] = weight;
    }
    let stride = i64::from(STRIDE);
    let graph = GraphProto {
        name: "fieldmark".to_string(),
        node: vec![
            node("Conv", &["image", "kernel", "threshold"], "conv", vec![ints("strides", &[stride; 2])]),
            node("Relu", &["conv"], "maps", vec![]),
            node("ReduceMean", &["maps"], "means", vec![ints("axes", &[2, 3]), int("keepdims", 0)]),
            node("Gemm", &["means", "matrix", "bias"], "logits", vec![]),
        ],
        initializer: vec![
            tensor("kernel", &[CHANNELS as i64, 3, stride, stride], kernel.collect()),
            tensor("threshold", &[CHANNELS as i64], COLOURS.iter().map(|c| -c.1).collect()),
            tensor("matrix", &[CHANNELS as i64, classes as i64], matrix),
            tensor("bias", &[classes as i64], head.bias.clone()),
        ],
        input: vec![value("image", &[1, 3, i64::from(SIDE), i64::from(SIDE)])],
        output: vec![
            value("logits", &[1, classes as i64]),
            value("maps", &[1, CHANNELS as i64, i64::from(SIDE / STRIDE), i64::from(SIDE / STRIDE)]),
        ],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        metadata_props: vec![StringStringEntryProto {
            key: METADATA_KEY.to_string(),
            value: description.to_json(),
        }],
        ..ModelProto::default()
    }
}

pub(super) fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: format!("make {output}"),
        op_type: op.to_string(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.to_string()],
        attribute,
        ..NodeProto::default()
    }
}

pub(super) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_string(),
        r#type: AttributeType::Ints as i32,
        ints: ints.to_vec(),
        ..AttributeProto::default()
    }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_string(),
        r#type: AttributeType::Int as i32,
        i,
        ..AttributeProto::default()
    }
}

pub(super) fn tensor(name: &str, dims: &[i64], float_data: Vec<f32>) -> TensorProto {
    TensorProto {
        name: name.to_string(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        float_data,
        ..TensorProto::default()
    }
}

pub(super) fn value(name: &str, sides: &[i64]) -> ValueInfoProto {
    let dim =
        |&side: &i64| Dimension { value: Some(dimension::Value::DimValue(side)), ..Dimension::default() };
    let tensor = Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim: sides.iter().map(dim).collect() }),
    };
    ValueInfoProto {
        name: name.to_string(),
        r#type: Some(TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}
