//! A model file's protocol buffer, checked before anything is built of it.
//!
//! Sizes in a file are claims. What is checked here bounds what loading may allocate: every constant is
//! as long as its bytes, what is computed from constants alone keeps their size, and no operator makes
//! a tensor out of a number in the file, but for `Resize`, whose factors are small.

mod resize;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost::bytes::Bytes;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as TypeValue;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::error::LoadError;
use super::guard::{guarded, one_line};
use crate::model::{Description, METADATA_KEY};

/// The graph's input.
pub(super) const IMAGE: &str = "image";
/// The graph's outputs.
pub(super) const OUTPUTS: [&str; 2] = ["logits", "maps"];
/// The output that sketches ask for: the means of the backbone's last maps.
pub(super) const FEATURES: &str = "features";

/// The outputs that a model of this description must have.
pub(super) fn outputs(description: &Description) -> impl Iterator<Item = &'static str> {
    OUTPUTS.into_iter().chain(description.sketches.as_ref().map(|_| FEATURES))
}

/// Convolutional networks need no others; control flow, random numbers, and shapes made of numbers in
/// the file are left out on purpose.
const OPERATORS: [&str; 48] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "Div",
    "Equal",
    "Exp",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Less",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Neg",
    "Pad",
    "Pow",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// The longest side of a window, its stride, and its padding: convolutional networks need a dozen.
const MAX_WINDOW: i64 = 64;

/// Operators that may work on constants alone: none makes more of them.
const CONSTANT_OPERATORS: [&str; 9] =
    ["Cast", "Constant", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"];

/// The protocol buffer in a file.
pub(super) fn read_onnx(bytes: Vec<u8>) -> Result<ModelProto, LoadError> {
    let size = bytes.len();
    let refused = |reason: String| LoadError::NotOnnx { bytes: size, reason };
    // tract's own reader would copy the file first, and from a slice every tensor would be copied twice.
    let model = guarded(|| ModelProto::decode(Bytes::from(bytes)))
        .map_err(refused)?
        .map_err(|error| refused(one_line(&error.to_string())))?;
    if model.graph.as_ref().is_none_or(|graph| graph.node.is_empty()) {
        return Err(refused("no graph in it".to_string()));
    }
    Ok(model)
}

/// The description in the file's metadata, checked against itself.
pub(super) fn description(model: &ModelProto) -> Result<Description, LoadError> {
    let entries = &model.metadata_props;
    let Some(entry) = entries.iter().find(|entry| entry.key == METADATA_KEY) else {
        let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let present = match keys.as_slice() {
            [] => "no metadata at all".to_string(),
            keys => one_line(&keys.join(", ")),
        };
        return Err(LoadError::NotFieldmark { present });
    };
    Ok(Description::from_json(&entry.value)?)
}

/// Checks operators, constants, input and outputs. `bytes` is the file's size.
pub(super) fn check_model(
    model: &ModelProto,
    description: &Description,
    bytes: usize,
) -> Result<(), LoadError> {
    let graph = model.graph.as_ref().expect("read_onnx found a graph");
    check_operators(graph)?;
    check_windows(graph)?;
    resize::check_resizes(graph)?;
    let constants = constants(graph)?;
    check_constant_nodes(graph, constants, bytes)?;
    check_input(graph, description)?;
    check_outputs(graph, description)
}

fn check_operators(graph: &GraphProto) -> Result<(), LoadError> {
    let standard = |node: &&NodeProto| {
        matches!(node.domain.as_str(), "" | "ai.onnx") && OPERATORS.contains(&node.op_type.as_str())
    };
    let unknown: BTreeSet<String> = graph
        .node
        .iter()
        .filter(|node| !standard(node))
        .map(|node| node.op_type.escape_debug().to_string())
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let names = one_line(&unknown.into_iter().collect::<Vec<_>>().join(", "));
    Err(LoadError::Operators { names })
}

/// Engines make tables of a window's places, which no tensor's size tells of: windows and paddings stay small.
fn check_windows(graph: &GraphProto) -> Result<(), LoadError> {
    for node in &graph.node {
        for attribute in &node.attribute {
            let within = match attribute.name.as_str() {
                "kernel_shape" | "strides" | "dilations" => 1..=MAX_WINDOW,
                "pads" => 0..=MAX_WINDOW,
                _ => continue,
            };
            if let Some(side) = attribute.ints.iter().find(|&side| !within.contains(side)) {
                let what = format!("{} of node {:?}", attribute.name, one_line(&node.name));
                let expected = format!("{} to {}", within.start(), within.end());
                return Err(graph_error(&what, &expected, &side.to_string()));
            }
        }
    }
    // A convolution's window is its weights' shape as well, of which the constants' check bounds the product alone.
    let too_wide = |tensor: &&TensorProto| tensor.dims.iter().skip(2).any(|&side| side > MAX_WINDOW);
    let kernels: BTreeSet<&str> = graph
        .node
        .iter()
        .filter(|node| node.op_type == "Conv")
        .filter_map(|node| Some(node.input.get(1)?.as_str()))
        .collect();
    match graph.initializer.iter().filter(|tensor| kernels.contains(tensor.name.as_str())).find(too_wide) {
        Some(tensor) => {
            let what = format!("kernel {:?}", one_line(&tensor.name));
            Err(graph_error(&what, &format!("sides up to {MAX_WINDOW}"), &format!("{:?}", tensor.dims)))
        }
        None => Ok(()),
    }
}

/// Name and number of values of every constant in the file.
fn constants(graph: &GraphProto) -> Result<BTreeMap<&str, usize>, LoadError> {
    let mut sizes = BTreeMap::new();
    for tensor in &graph.initializer {
        sizes.insert(tensor.name.as_str(), checked_constant(tensor, &tensor.name)?);
    }
    for node in &graph.node {
        let name = node.output.first().map_or("", String::as_str);
        let mut tensors = node.attribute.iter().filter_map(|attribute| attribute.t.as_ref()).peekable();
        if node.op_type == "Constant" && tensors.peek().is_none() {
            let what = format!("constant {name:?}");
            return Err(graph_error(&what, "a tensor", "its values in another form"));
        }
        for tensor in tensors {
            sizes.insert(name, checked_constant(tensor, name)?);
        }
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(graph_error("weights", "dense tensors", "a sparse tensor"));
    }
    Ok(sizes)
}

/// The number of values of a constant, of which there are as many as its shape says.
fn checked_constant(tensor: &TensorProto, name: &str) -> Result<usize, LoadError> {
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        let tensor = name.to_string();
        return Err(LoadError::ExternalData { tensor });
    }
    let what = format!("constant {name:?}");
    let stored = |count: usize, width: usize| match tensor.raw_data.len() {
        0 => Some(count),
        bytes if bytes % width == 0 => Some(bytes / width),
        _ => None,
    };
    let ints = tensor.int32_data.len();
    let stored = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) => stored(tensor.float_data.len(), 4),
        Ok(DataType::Double) => stored(tensor.double_data.len(), 8),
        Ok(DataType::Int64) => stored(tensor.int64_data.len(), 8),
        Ok(DataType::Int32) => stored(ints, 4),
        Ok(DataType::Float16) => stored(ints, 2),
        Ok(DataType::Bool | DataType::Uint8 | DataType::Int8) => stored(ints, 1),
        _ => {
            let actual = format!("type {}", tensor.data_type);
            return Err(graph_error(&what, "floats or integers", &actual));
        }
    };
    let shape =
        tensor.dims.iter().try_fold(1_usize, |count, &side| count.checked_mul(usize::try_from(side).ok()?));
    match (shape, stored) {
        (Some(shape), Some(stored)) if shape == stored => Ok(stored),
        _ => {
            let expected = format!("the values of shape {:?}", tensor.dims);
            let actual = stored.map_or("part of a value".to_string(), |count| count.to_string());
            Err(graph_error(&what, &expected, &actual))
        }
    }
}

/// What is computed from constants alone is computed while loading, so it must not grow.
fn check_constant_nodes<'a>(
    graph: &'a GraphProto,
    mut sizes: BTreeMap<&'a str, usize>,
    bytes: usize,
) -> Result<(), LoadError> {
    let mut derived = 0_usize;
    let mut made: BTreeSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    for node in &graph.node {
        let inputs: Vec<&str> =
            node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        // ONNX asks for this order; without it one pass would not find what is computed from constants.
        if let Some(name) = inputs.iter().find(|name| !made.contains(*name) && !sizes.contains_key(*name)) {
            let what = format!("node {:?}", one_line(&node.name));
            return Err(graph_error(
                &what,
                "inputs that nodes before it make",
                &format!("{:?}", one_line(name)),
            ));
        }
        made.extend(node.output.iter().map(String::as_str));
        let Some(first) = inputs.first() else {
            if node.op_type == "Constant" {
                continue;
            }
            let what = format!("node {:?}", one_line(&node.name));
            return Err(graph_error(&what, "an input", "none"));
        };
        if !inputs.iter().all(|name| sizes.contains_key(name)) {
            continue;
        }
        if !CONSTANT_OPERATORS.contains(&node.op_type.as_str()) {
            let what = format!("node {:?}", node.name);
            let actual = format!("{} of constants", node.op_type);
            return Err(graph_error(&what, "constants computed at export", &actual));
        }
        let size = sizes[first];
        derived = derived.saturating_add(size);
        for output in &node.output {
            sizes.insert(output, size);
        }
    }
    if derived > bytes.max(1 << 20) {
        let actual = format!("{derived} values computed from them");
        return Err(graph_error("constants", "computed at export", &actual));
    }
    Ok(())
}

fn check_input(graph: &GraphProto, description: &Description) -> Result<(), LoadError> {
    let constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let inputs: Vec<_> = graph.input.iter().filter(|input| !constant(&input.name)).collect();
    let side = i64::from(description.input.side);
    let expected = format!("one, \"{IMAGE}\", f32 [1, 3, {side}, {side}]");
    match inputs.as_slice() {
        [input] if input.name == IMAGE && is_float(input, &[1, 3, side, side]) => Ok(()),
        _ => {
            let actual: Vec<_> = inputs.into_iter().map(value_in_words).collect();
            let actual = one_line(&actual.join(", "));
            Err(graph_error("graph inputs", &expected, &actual))
        }
    }
}

fn check_outputs(graph: &GraphProto, description: &Description) -> Result<(), LoadError> {
    let names: Vec<_> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let made: BTreeSet<_> = graph.node.iter().flat_map(|node| &node.output).collect();
    if let Some(missing) = outputs(description).find(|output| !names.contains(output)) {
        let what = format!("graph output \"{missing}\" is missing");
        let expected = match &description.sketches {
            None => "\"logits\" and \"maps\"",
            Some(_) => "\"logits\", \"maps\" and \"features\", which the sketches ask for",
        };
        return Err(graph_error(&what, expected, &format!("{names:?}")));
    }
    match graph.output.iter().find(|output| !made.contains(&output.name)) {
        None => Ok(()),
        Some(output) => {
            let what = format!("graph output {:?}", output.name);
            Err(graph_error(&what, "a node that makes it", "none"))
        }
    }
}

fn tensor_type(value: &ValueInfoProto) -> Option<(i32, Vec<Option<i64>>)> {
    let TypeValue::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
    let sides = tensor.shape.as_ref()?.dim.iter().map(|dim| match dim.value {
        Some(Dimension::DimValue(side)) => Some(side),
        _ => None,
    });
    Some((tensor.elem_type, sides.collect()))
}

fn is_float(value: &ValueInfoProto, shape: &[i64]) -> bool {
    let shape = shape.iter().copied().map(Some).collect();
    tensor_type(value) == Some((DataType::Float as i32, shape))
}

fn value_in_words(value: &ValueInfoProto) -> String {
    let Some((kind, sides)) = tensor_type(value) else {
        return format!("{:?} of unknown type", value.name);
    };
    let kind = match DataType::try_from(kind) {
        Ok(DataType::Float) => "f32".to_string(),
        Ok(kind) => format!("{kind:?}").to_lowercase(),
        Err(_) => format!("type {kind}"),
    };
    let side = |side: Option<i64>| side.map_or("?".to_string(), |side| side.to_string());
    let sides: Vec<_> = sides.into_iter().map(side).collect();
    format!("{:?} {kind} [{}]", value.name, sides.join(", "))
}

pub(super) fn graph_error(what: &str, expected: &str, actual: &str) -> LoadError {
    LoadError::Graph { what: what.to_string(), expected: expected.to_string(), actual: actual.to_string() }
}
