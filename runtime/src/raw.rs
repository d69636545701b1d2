//! Raw tensors: maps as bytes that a microcontroller can read without a library.
//!
//! All numbers are little-endian.
//!
//! | bytes | content |
//! |---|---|
//! | 0..4 | `FMRK` |
//! | 4 | version, 1 |
//! | 5 | number type: 0 is IEEE 754 `f32`, 1 is IEEE 754 `f16` |
//! | 6 | rank `r`, 0 to 8 |
//! | 7 | reserved, 0 |
//! | 8.. | `r` sides, `u32` each, none 0, outermost first: `N`, `H`, `W` for maps |
//! | 8 + 4r.. | the values, the last axis running fastest, and nothing after them |
//!
//! The values start at a multiple of 4, so a reader whose memory is little-endian may use them in place:
//! value `[j, y, x]` of maps is number `(j * H + y) * W + x`.

use alloc::vec;
use alloc::vec::Vec;

use byteorder::{ByteOrder, LittleEndian};
use half::f16;
use ndarray::{ArrayD, ArrayView, Dimension, IxDyn};
use thiserror::Error;

/// The first bytes of a raw tensor.
pub const MAGIC: [u8; 4] = *b"FMRK";

/// The version that is written and read.
pub const VERSION: u8 = 1;

/// The highest rank.
pub const MAX_RANK: usize = 8;

const HEADER: usize = 8;

/// How values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum NumberType {
    /// 4 bytes a value, exact.
    F32,
    /// 2 bytes a value, about 3 digits.
    ///
    /// There are 11 significant bits; values above 65504 become infinite.
    F16,
}

impl NumberType {
    fn bytes(self) -> usize {
        match self {
            NumberType::F32 => 4,
            NumberType::F16 => 2,
        }
    }

    fn code(self) -> u8 {
        match self {
            NumberType::F32 => 0,
            NumberType::F16 => 1,
        }
    }
}

/// Why values are not, or cannot be, a raw tensor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RawError {
    /// The bytes do not start as a raw tensor does.
    #[error("not a raw tensor: it starts with {actual:02x?}, expected {MAGIC:02x?} (\"FMRK\")")]
    Magic {
        /// The first bytes, at most 4.
        actual: Vec<u8>,
    },
    /// Another version, number type, rank, or reserved byte.
    #[error("raw tensor with {what} {actual}, expected {expected}")]
    Header {
        /// Which header field.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        actual: usize,
    },
    /// More or fewer bytes than the header announces.
    #[error("raw tensor needs {expected} bytes, got {actual}; the file was cut or added to")]
    Length {
        /// Bytes that the header calls for; the largest number if they cannot be counted.
        expected: u64,
        /// Bytes there are.
        actual: u64,
    },
}

/// The values as a raw tensor, of any rank up to [`MAX_RANK`] and any memory order.
///
/// # Errors
/// A rank above [`MAX_RANK`], or a side that is 0 or above `u32::MAX`.
pub fn raw_bytes<D: Dimension>(
    values: ArrayView<'_, f32, D>,
    number: NumberType,
) -> Result<Vec<u8>, RawError> {
    let rank = values.ndim();
    check_rank(rank)?;
    let start = HEADER + 4 * rank;
    let mut bytes = vec![0; start + values.len() * number.bytes()];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = VERSION;
    bytes[5] = number.code();
    bytes[6] = rank as u8;
    for (side, target) in values.shape().iter().zip(bytes[HEADER..].chunks_exact_mut(4)) {
        match u32::try_from(*side) {
            Ok(count) if count > 0 => LittleEndian::write_u32(target, count),
            _ => return Err(side_error(*side)),
        }
    }
    let targets = bytes[start..].chunks_exact_mut(number.bytes());
    for (value, target) in values.iter().zip(targets) {
        match number {
            NumberType::F32 => LittleEndian::write_f32(target, *value),
            NumberType::F16 => LittleEndian::write_u16(target, f16::from_f32(*value).to_bits()),
        }
    }
    Ok(bytes)
}

/// The values of a raw tensor. Memory is taken only after the length was found to be right.
///
/// # Errors
/// Anything but a whole raw tensor of this version.
pub fn raw_tensor(bytes: &[u8]) -> Result<ArrayD<f32>, RawError> {
    if !bytes.starts_with(&MAGIC) {
        let actual = bytes[..bytes.len().min(4)].to_vec();
        return Err(RawError::Magic { actual });
    }
    let actual = bytes.len() as u64;
    let cut = |expected| RawError::Length { expected, actual };
    let header = bytes.get(..HEADER).ok_or(cut(HEADER as u64))?;
    let (number, rank) = checked_header(header)?;
    let start = HEADER + 4 * rank;
    let sides = bytes.get(HEADER..start).ok_or(cut(start as u64))?;
    let mut shape = Vec::with_capacity(rank);
    let mut expected = number.bytes() as u64;
    for side in sides.chunks_exact(4).map(LittleEndian::read_u32) {
        if side == 0 {
            return Err(side_error(0));
        }
        expected = expected.saturating_mul(u64::from(side));
        shape.push(side as usize);
    }
    expected = expected.saturating_add(start as u64);
    if expected != actual {
        return Err(cut(expected));
    }
    let values = bytes[start..].chunks_exact(number.bytes());
    let values = values.map(|value| match number {
        NumberType::F32 => LittleEndian::read_f32(value),
        NumberType::F16 => f16::from_bits(LittleEndian::read_u16(value)).to_f32(),
    });
    ArrayD::from_shape_vec(IxDyn(&shape), values.collect()).map_err(|_| cut(expected))
}

fn checked_header(header: &[u8]) -> Result<(NumberType, usize), RawError> {
    let refused =
        |what, expected, at: usize| RawError::Header { what, expected, actual: usize::from(header[at]) };
    if header[4] != VERSION {
        return Err(refused("version", "1", 4));
    }
    let number = match header[5] {
        0 => NumberType::F32,
        1 => NumberType::F16,
        _ => return Err(refused("number type", "0 (f32) or 1 (f16)", 5)),
    };
    if header[7] != 0 {
        return Err(refused("reserved byte", "0", 7));
    }
    let rank = usize::from(header[6]);
    check_rank(rank)?;
    Ok((number, rank))
}

fn check_rank(actual: usize) -> Result<(), RawError> {
    if actual <= MAX_RANK {
        return Ok(());
    }
    Err(RawError::Header { what: "rank", expected: "0 to 8", actual })
}

fn side_error(actual: usize) -> RawError {
    RawError::Header { what: "side", expected: "1 to 4294967295", actual }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array0, Array3, Axis};

    use super::*;

    fn maps() -> Array3<f32> {
        Array3::from_shape_fn((2, 3, 4), |(j, y, x)| (100 * j + 10 * y + x) as f32)
    }

    #[test]
    fn bytes_are_as_documented() {
        let values = Array3::from_shape_vec((1, 1, 2), [1.0_f32, -2.0].into()).unwrap();
        let header = [b'F', b'M', b'R', b'K', 1, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
        let mut expected = header.to_vec();
        expected.extend([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
        assert_eq!(raw_bytes(values.view(), NumberType::F32), Ok(expected));
        let mut expected = header.to_vec();
        expected[5] = 1;
        expected.extend([0, 0x3c, 0, 0xc0]);
        assert_eq!(raw_bytes(values.view(), NumberType::F16), Ok(expected));
    }

    #[test]
    fn reading_inverts_writing() {
        for number in [NumberType::F32, NumberType::F16] {
            let bytes = raw_bytes(maps().view(), number).unwrap();
            assert_eq!(raw_tensor(&bytes).unwrap(), maps().into_dyn());
        }
        let scalar = Array0::from_elem((), 3.5_f32);
        let bytes = raw_bytes(scalar.view(), NumberType::F32).unwrap();
        assert_eq!(raw_tensor(&bytes).unwrap(), scalar.into_dyn());
    }

    #[test]
    fn any_memory_order_is_written_last_axis_fastest() {
        let maps = maps();
        let mut turned = maps.view();
        turned.swap_axes(0, 2);
        turned.invert_axis(Axis(1));
        let bytes = raw_bytes(turned.view(), NumberType::F32).unwrap();
        assert_eq!(raw_tensor(&bytes).unwrap(), turned.into_dyn());
    }

    #[test]
    fn every_cut_and_every_addition_is_refused() {
        let bytes = raw_bytes(maps().view(), NumberType::F16).unwrap();
        for length in 0..bytes.len() {
            assert!(raw_tensor(&bytes[..length]).is_err(), "{length} bytes");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(raw_tensor(&longer), Err(RawError::Length { .. })));
    }

    #[test]
    fn wrong_headers_are_refused_before_memory_is_taken() {
        let good = raw_bytes(maps().view(), NumberType::F32).unwrap();
        for (at, byte) in [(0, b'f'), (4, 2), (5, 2), (6, 9), (6, 2), (7, 1), (8, 0), (11, 255)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert!(raw_tensor(&bytes).is_err(), "byte {at} as {byte}");
        }
        let mut huge = [&MAGIC[..], &[VERSION, 0, 8, 0]].concat();
        huge.extend([255; 32]);
        let expected = u64::MAX;
        let actual = huge.len() as u64;
        assert_eq!(raw_tensor(&huge), Err(RawError::Length { expected, actual }));
    }

    #[test]
    fn empty_axes_are_refused() {
        let values = Array3::<f32>::zeros((1, 0, 2));
        assert_eq!(raw_bytes(values.view(), NumberType::F32), Err(side_error(0)));
    }
}
