//! The part of ONNX's `onnx.proto` that we write: messages with their field numbers, and constructors.

use prost::Message;

/// Operator set 17: the first with everything used here in its present form, and read everywhere.
pub const OPSET: i64 = 17;
/// The format version that came with operator set 17.
pub const IR_VERSION: i64 = 8;

/// `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum DataType {
    /// 32-bit float.
    Float = 1,
    /// 64-bit signed integer.
    Int64 = 7,
    /// 16-bit float.
    Float16 = 10,
}

/// A whole file.
#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[prost(string, tag = "3")]
    pub producer_version: String,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringEntry>,
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSet {
    /// Empty: ONNX's own operators.
    #[prost(string, optional, tag = "1")]
    pub domain: Option<String>,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, Message)]
pub struct StringEntry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorData>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
}

/// `AttributeProto`. Single values are optional, so that a zero is written and not left out.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub s: Option<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// `AttributeProto.AttributeType`: which of the values it is.
    #[prost(int32, tag = "20")]
    pub r#type: i32,
}

/// `TensorProto`, its values as little-endian bytes.
#[derive(Clone, PartialEq, Message)]
pub struct TensorData {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub raw_data: Option<Vec<u8>>,
}

/// `ValueInfoProto`.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<ValueType>,
}

/// `TypeProto`, of which we use the tensor.
#[derive(Clone, PartialEq, Message)]
pub struct ValueType {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorType>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShape>,
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// `TensorShapeProto.Dimension`, of which we use the known size.
#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub dim_value: Option<i64>,
}

impl Attribute {
    /// A float.
    pub fn float(name: &str, value: f32) -> Attribute {
        Attribute { name: name.into(), f: Some(value), r#type: 1, ..Attribute::default() }
    }

    /// An integer.
    pub fn int(name: &str, value: i64) -> Attribute {
        Attribute { name: name.into(), i: Some(value), r#type: 2, ..Attribute::default() }
    }

    /// A word.
    pub fn string(name: &str, value: &str) -> Attribute {
        Attribute { name: name.into(), s: Some(value.into()), r#type: 3, ..Attribute::default() }
    }

    /// Integers.
    pub fn ints(name: &str, values: &[usize]) -> Attribute {
        let ints = values.iter().map(|value| *value as i64).collect();
        Attribute { name: name.into(), ints, r#type: 7, ..Attribute::default() }
    }
}

impl TensorData {
    /// A tensor of 32-bit floats.
    pub fn f32(name: &str, dims: &[usize], values: &[f32]) -> TensorData {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        TensorData::raw(name, dims, DataType::Float, bytes)
    }

    /// A tensor of 16-bit floats, rounded to the nearest.
    pub fn f16(name: &str, dims: &[usize], values: &[f32]) -> TensorData {
        let bytes = values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect();
        TensorData::raw(name, dims, DataType::Float16, bytes)
    }

    /// A tensor of one dimension, of 64-bit integers.
    pub fn i64(name: &str, values: &[i64]) -> TensorData {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        TensorData::raw(name, &[values.len()], DataType::Int64, bytes)
    }

    fn raw(name: &str, dims: &[usize], data_type: DataType, bytes: Vec<u8>) -> TensorData {
        let dims = dims.iter().map(|dim| *dim as i64).collect();
        TensorData { dims, data_type: data_type as i32, name: name.into(), raw_data: Some(bytes) }
    }
}

impl ValueInfo {
    /// A graph input or output of 32-bit floats.
    pub fn f32(name: &str, dims: &[usize]) -> ValueInfo {
        let dim = dims.iter().map(|dim| Dimension { dim_value: Some(*dim as i64) }).collect();
        let tensor_type = TensorType { elem_type: DataType::Float as i32, shape: Some(TensorShape { dim }) };
        ValueInfo { name: name.into(), r#type: Some(ValueType { tensor_type: Some(tensor_type) }) }
    }
}
