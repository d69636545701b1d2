//! What the graph says about a value: its size, and its numbers if it is constant.

use tract_onnx::prelude::*;

/// Channels, height and width of `f32 [1, channels, height, width]`; where height and width are missing they are 1.
pub(super) fn size(model: &TypedModel, outlet: OutletId) -> Option<[usize; 3]> {
    let fact = model.outlet_fact(outlet).ok()?;
    let (channels, height, width) = match *fact.shape.as_concrete()? {
        [1, channels, height, width] => (channels, height, width),
        [1, channels, 1] | [1, channels] => (channels, 1, 1),
        _ => return None,
    };
    let is_plain = fact.datum_type == DatumType::F32 && fact.is_plain();
    Some([channels, height, width]).filter(|size| is_plain && size.iter().all(|&side| side > 0))
}

/// The values of a constant f32 tensor.
pub(super) fn constant(model: &TypedModel, outlet: OutletId) -> Option<&Tensor> {
    let fact = model.outlet_fact(outlet).ok()?;
    fact.konst.as_deref().filter(|tensor| tensor.datum_type() == DatumType::F32)
}
