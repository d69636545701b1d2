//! `Resize` makes a tensor larger by numbers in the file, so it is bounded: maps grow by small whole factors.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::graph_error;
use crate::engine::error::LoadError;
use crate::engine::guard::one_line;

/// The largest factor down or across.
const MOST: f32 = 8.0;

/// How many times as many cells all nodes together may make.
const MOST_CELLS: f32 = 64.0;

/// Checks every `Resize` node: channels as they are, height and width larger by whole factors that are constants.
pub(super) fn check_resizes(graph: &GraphProto) -> Result<(), LoadError> {
    let mut cells = 1.0;
    for node in graph.node.iter().filter(|node| node.op_type == "Resize") {
        let what = format!("node {:?}", one_line(&node.name));
        let expected = format!("scales 1, 1, and two whole numbers up to {MOST}, in a constant");
        let scales = scales(graph, node).ok_or_else(|| graph_error(&what, &expected, "others"))?;
        let is_factor = |scale: f32| (1.0..=MOST).contains(&scale) && scale.fract() == 0.0;
        let [1.0, 1.0, down, across] = scales else {
            return Err(graph_error(&what, &expected, &format!("{scales:?}")));
        };
        if !is_factor(down) || !is_factor(across) {
            return Err(graph_error(&what, &expected, &format!("{scales:?}")));
        }
        cells *= down * across;
    }
    if cells > MOST_CELLS {
        let expected = format!("{MOST_CELLS} times the cells at most");
        return Err(graph_error("the Resize nodes together", &expected, &format!("{cells} times")));
    }
    Ok(())
}

/// The four scales of a node, if a constant of the file holds them and nothing else asks for a size.
fn scales(graph: &GraphProto, node: &NodeProto) -> Option<[f32; 4]> {
    let [_, _, scales] = node.input.as_slice() else { return None };
    let tensor = graph.initializer.iter().find(|tensor| tensor.name == *scales)?;
    if tensor.data_type != DataType::Float as i32 {
        return None;
    }
    floats(tensor).try_into().ok()
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    if tensor.raw_data.is_empty() {
        return tensor.float_data.clone();
    }
    let (values, _) = tensor.raw_data.as_chunks::<4>();
    values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
