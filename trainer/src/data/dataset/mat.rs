//! MATLAB's level-5 files, as far as lists of pictures need them: numbers, text, cells, and arrays of structs, plain or
//! compressed. Its makers describe it in "MAT-File Format", 2019, chapter 1.
//!
//! A file is a header and then elements, each a tag (kind, length) and its bytes; an array is an element made of
//! elements. Nothing is allocated that the file's own bytes do not stand for, save by inflating, which has a limit.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::DatasetError;
use super::mat_error::{MAX_BYTES, MatError};

/// How deep arrays may lie in arrays.
const MAX_DEPTH: usize = 8;

const HEADER: usize = 128;

/// What an element is.
mod kind {
    pub const MATRIX: u32 = 14;
    pub const COMPRESSED: u32 = 15;
}

/// An array. Shapes are not kept: the lists here are all one row or one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of any numeric type.
    Numbers(Vec<f64>),
    /// One line of characters.
    Text(String),
    /// Arrays of any kind.
    Cells(Vec<Value>),
    /// Structs, each with a value for every field.
    Records(Vec<BTreeMap<String, Value>>),
    /// Objects, sparse matrices and other kinds that no list needs.
    Other,
}

/// A file's variables.
#[derive(Clone, Debug, PartialEq)]
pub struct MatFile {
    path: PathBuf,
    variables: BTreeMap<String, Value>,
}

impl MatFile {
    /// Reads a whole file.
    ///
    /// # Errors
    /// The system's; a file of another kind, or damaged, or far too large.
    pub fn read(path: &Path) -> Result<MatFile, DatasetError> {
        let unreadable = |source| DatasetError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let variables =
            variables(&bytes).map_err(|source| DatasetError::Mat { path: path.to_owned(), source })?;
        Ok(MatFile { path: path.to_owned(), variables })
    }

    /// What to say of a place in this file.
    pub fn error(&self, place: impl Into<String>, expected: impl Into<String>) -> DatasetError {
        DatasetError::Entry { path: self.path.clone(), place: place.into(), expected: expected.into() }
    }

    /// The numbers of the variable `name`.
    ///
    /// # Errors
    /// No such variable, or one of another kind.
    pub fn numbers(&self, name: &str) -> Result<&[f64], DatasetError> {
        match self.variables.get(name) {
            Some(Value::Numbers(numbers)) => Ok(numbers),
            _ => Err(self.error(name, "an array of numbers")),
        }
    }

    /// The structs of the variable `name`.
    ///
    /// # Errors
    /// No such variable, or one of another kind.
    pub fn records(&self, name: &str) -> Result<&[BTreeMap<String, Value>], DatasetError> {
        match self.variables.get(name) {
            Some(Value::Records(records)) => Ok(records),
            _ => Err(self.error(name, "an array of structs")),
        }
    }

    /// The texts of the variable `name`.
    ///
    /// # Errors
    /// No such variable, or one of another kind.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, DatasetError> {
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        let texts = match self.variables.get(name) {
            Some(Value::Cells(cells)) => cells.iter().map(text).collect(),
            _ => None,
        };
        texts.ok_or_else(|| self.error(name, "a cell array of texts"))
    }
}

/// All named arrays of a file.
fn variables(bytes: &[u8]) -> Result<BTreeMap<String, Value>, MatError> {
    check_kind(bytes)?;
    let mut file = Bytes { bytes, at: HEADER };
    let mut variables = BTreeMap::new();
    while !file.is_empty() {
        let (kind, content) = file.element()?;
        let (name, value) = match kind {
            kind::COMPRESSED => {
                let inflated = inflated(content)?;
                let (kind, content) = Bytes { bytes: &inflated, at: 0 }.element()?;
                array(kind, content, 0)?
            }
            kind => array(kind, content, 0)?,
        };
        variables.insert(name, value);
    }
    Ok(variables)
}

fn check_kind(bytes: &[u8]) -> Result<(), MatError> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(MatError::Size);
    }
    let refused = |actual: &str| Err(MatError::Kind { actual: actual.to_owned() });
    match bytes.get(124..HEADER) {
        None => refused(&format!("{} bytes", bytes.len())),
        Some([0, 1, b'I', b'M']) => Ok(()),
        Some([0, 2, b'I', b'M']) => refused("one of version 7.3"),
        Some([1, 0, b'M', b'I']) => refused("one written on a big-endian machine"),
        Some(_) => refused(&format!("a file that starts with {:?}", String::from_utf8_lossy(&bytes[..16]))),
    }
}

fn inflated(bytes: &[u8]) -> Result<Vec<u8>, MatError> {
    let mut inflated = Vec::new();
    let read = flate2::read::ZlibDecoder::new(bytes).take(MAX_BYTES + 1).read_to_end(&mut inflated);
    read.map_err(|_| MatError::Damaged { at: 0, expected: "compressed bytes" })?;
    if inflated.len() as u64 > MAX_BYTES { Err(MatError::Size) } else { Ok(inflated) }
}

/// Bytes read from the front.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn damaged(&self, expected: &'static str) -> MatError {
        MatError::Damaged { at: self.at, expected }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], MatError> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| self.damaged("more bytes than the file has"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, MatError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The kind and the content of the next element. Short ones have length and content within their tag.
    fn element(&mut self) -> Result<(u32, &'a [u8]), MatError> {
        let start = self.word()?;
        if start >> 16 != 0 {
            let content = self.take(4)?;
            let length = (start >> 16) as usize;
            let content =
                content.get(..length).ok_or_else(|| self.damaged("a short element of 1 to 4 bytes"))?;
            return Ok((start & 0xffff, content));
        }
        let length = self.word()? as usize;
        let content = self.take(length)?;
        if start != kind::COMPRESSED {
            // The last element of a file may go without its padding.
            let padding = length.next_multiple_of(8) - length;
            self.at = (self.at + padding).min(self.bytes.len());
        }
        Ok((start, content))
    }

    fn integers(&mut self) -> Result<Vec<usize>, MatError> {
        let (kind, content) = self.element()?;
        numbers(kind, content)
            .map(|numbers| numbers.into_iter().map(|number| number as usize).collect())
            .ok_or_else(|| self.damaged("whole numbers"))
    }
}

/// The name and the value of an array.
fn array(kind: u32, content: &[u8], depth: usize) -> Result<(String, Value), MatError> {
    let mut bytes = Bytes { bytes: content, at: 0 };
    if kind != kind::MATRIX || depth > MAX_DEPTH {
        return Err(bytes.damaged("an array, not too deep in others"));
    }
    if content.is_empty() {
        return Ok((String::new(), Value::Numbers(Vec::new())));
    }
    let class = *bytes.element()?.1.first().ok_or_else(|| bytes.damaged("an array's class"))?;
    let shape = bytes.integers()?;
    let count = shape.iter().try_fold(1_usize, |count, &side| count.checked_mul(side));
    let count = count.ok_or_else(|| bytes.damaged("a shape"))?;
    let name = String::from_utf8_lossy(bytes.element()?.1).into_owned();
    let value = match class {
        1 => Value::Cells(values(&mut bytes, count, depth)?),
        2 => Value::Records(records(&mut bytes, count, depth)?),
        4 => {
            let (kind, content) = bytes.element()?;
            Value::Text(text(kind, content).ok_or_else(|| bytes.damaged("characters"))?)
        }
        6..=15 => {
            let (kind, content) = bytes.element()?;
            Value::Numbers(numbers(kind, content).ok_or_else(|| bytes.damaged("numbers"))?)
        }
        _ => Value::Other,
    };
    Ok((name, value))
}

fn values(bytes: &mut Bytes<'_>, count: usize, depth: usize) -> Result<Vec<Value>, MatError> {
    let value = |_| {
        let (kind, content) = bytes.element()?;
        Ok(array(kind, content, depth + 1)?.1)
    };
    (0..count).map(value).collect()
}

/// Field names lie in equal slots, each ended by a zero; the values follow, one struct after the other.
fn records(
    bytes: &mut Bytes<'_>,
    count: usize,
    depth: usize,
) -> Result<Vec<BTreeMap<String, Value>>, MatError> {
    let slot = bytes.integers()?.first().copied().filter(|&slot| slot > 0);
    let slot = slot.ok_or_else(|| bytes.damaged("the length of field names"))?;
    let slots = bytes.element()?.1.chunks(slot);
    let name = |slot: &[u8]| {
        String::from_utf8_lossy(slot.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
    };
    let names: Vec<String> = slots.map(name).collect();
    if names.is_empty() {
        // Nothing in the file stands for a struct without fields: their count could be any.
        return Ok(Vec::new());
    }
    let record = |_| Ok(names.iter().cloned().zip(values(bytes, names.len(), depth)?).collect());
    (0..count).map(record).collect()
}

/// Numbers are stored in the smallest type that holds them, whatever the array's own. `None` for other kinds.
fn numbers(kind: u32, content: &[u8]) -> Option<Vec<f64>> {
    fn each<const N: usize>(content: &[u8], number: impl Fn([u8; N]) -> f64) -> Option<Vec<f64>> {
        let (numbers, rest) = content.as_chunks::<N>();
        rest.is_empty().then(|| numbers.iter().map(|&bytes| number(bytes)).collect())
    }
    match kind {
        1 => each(content, |bytes| f64::from(i8::from_le_bytes(bytes))),
        2 => each(content, |bytes| f64::from(u8::from_le_bytes(bytes))),
        3 => each(content, |bytes| f64::from(i16::from_le_bytes(bytes))),
        4 => each(content, |bytes| f64::from(u16::from_le_bytes(bytes))),
        5 => each(content, |bytes| f64::from(i32::from_le_bytes(bytes))),
        6 => each(content, |bytes| f64::from(u32::from_le_bytes(bytes))),
        7 => each(content, |bytes| f64::from(f32::from_le_bytes(bytes))),
        9 => each(content, f64::from_le_bytes),
        12 => each(content, |bytes| i64::from_le_bytes(bytes) as f64),
        13 => each(content, |bytes| u64::from_le_bytes(bytes) as f64),
        _ => None,
    }
}

/// Characters of one byte, UTF-8, or UTF-16. `None` for other kinds.
fn text(kind: u32, content: &[u8]) -> Option<String> {
    match kind {
        1 | 2 | 16 => Some(String::from_utf8_lossy(content).into_owned()),
        4 | 17 => {
            let units: Vec<u16> =
                content.as_chunks::<2>().0.iter().map(|&unit| u16::from_le_bytes(unit)).collect();
            Some(String::from_utf16_lossy(&units))
        }
        _ => None,
    }
}

/// Files of level 5 as MATLAB writes them, for tests.
#[cfg(test)]
pub mod written {
    use std::io::Write;

    /// An element: its tag, its bytes, and zeros up to 8 bytes; short ones within the tag.
    fn element(kind: u32, content: &[u8]) -> Vec<u8> {
        if (1..=4).contains(&content.len()) && kind != super::kind::MATRIX {
            let mut bytes = (kind | (content.len() as u32) << 16).to_le_bytes().to_vec();
            bytes.extend(content);
            bytes.resize(8, 0);
            return bytes;
        }
        let mut bytes = [kind.to_le_bytes(), (content.len() as u32).to_le_bytes()].concat();
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn array(name: &str, class: u32, count: usize, content: &[u8]) -> Vec<u8> {
        let flags = [class.to_le_bytes(), [0; 4]].concat();
        let shape = [1_i32.to_le_bytes(), (count as i32).to_le_bytes()].concat();
        let parts = [element(6, &flags), element(5, &shape), element(1, name.as_bytes()), content.to_vec()];
        element(super::kind::MATRIX, &parts.concat())
    }

    /// Numbers of up to 16 bits, in the smallest type that holds them all.
    pub fn numbers(name: &str, numbers: &[u16]) -> Vec<u8> {
        let content = if numbers.iter().all(|&number| number < 256) {
            element(2, &numbers.iter().map(|&number| number as u8).collect::<Vec<_>>())
        } else {
            element(4, &numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>())
        };
        array(name, 6, numbers.len(), &content)
    }

    pub fn text(name: &str, text: &str) -> Vec<u8> {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        array(name, 4, units.len() / 2, &element(4, &units))
    }

    pub fn cells(name: &str, values: &[Vec<u8>]) -> Vec<u8> {
        array(name, 1, values.len(), &values.concat())
    }

    /// `values`: one struct after the other, each with a value a field.
    pub fn records(name: &str, fields: &[&str], values: &[Vec<u8>]) -> Vec<u8> {
        let slot = |field: &&str| {
            let mut slot = field.as_bytes().to_vec();
            slot.resize(32, 0);
            slot
        };
        let names = element(1, &fields.iter().flat_map(slot).collect::<Vec<_>>());
        let content = [element(5, &32_i32.to_le_bytes()), names, values.concat()].concat();
        array(name, 2, values.len() / fields.len(), &content)
    }

    /// A file of these arrays, each compressed.
    pub fn file(arrays: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"MATLAB 5.0 MAT-file, Platform: GLNXA64".to_vec();
        bytes.resize(124, b' ');
        bytes.extend([0, 1, b'I', b'M']);
        for array in arrays {
            let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            packed.write_all(array).unwrap();
            let packed = packed.finish().unwrap();
            bytes.extend(
                [super::kind::COMPRESSED.to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat(),
            );
            bytes.extend(packed);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `tests/golden/make_mat.py`.
    const BY_SCIPY: [&[u8]; 2] = [
        include_bytes!("../../../../tests/golden/plain.mat"),
        include_bytes!("../../../../tests/golden/compressed.mat"),
    ];

    fn read(bytes: &[u8]) -> Result<BTreeMap<String, Value>, MatError> {
        variables(bytes)
    }

    fn record(fields: &[(&str, Value)]) -> BTreeMap<String, Value> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn what_scipy_writes_is_read_plain_and_compressed() {
        for bytes in BY_SCIPY {
            let read = read(bytes).unwrap();
            let cars = [("a.jpg", 39.0, 14.0), ("ü.jpg", 300.0, 3.5)].map(|(name, left, class)| {
                record(&[
                    ("fname", Value::Text(name.to_owned())),
                    ("bbox_x1", Value::Numbers(vec![left])),
                    ("class", Value::Numbers(vec![class])),
                ])
            });
            assert_eq!(read["annotations"], Value::Records(cars.to_vec()));
            let names = ["AM General Hummer SUV 2000", "Ram C/V"].map(|name| Value::Text(name.to_owned()));
            assert_eq!(read["class_names"], Value::Cells(names.to_vec()));
            assert_eq!(read["labels"], Value::Numbers(vec![77.0, 1.0, 102.0]));
            assert_eq!(read["small"], Value::Numbers(vec![-2.0, 7.0]));
            assert_eq!(read["large"], Value::Numbers(vec![8189.0]));
        }
    }

    #[test]
    fn what_matlab_writes_is_read() {
        let cars = written::records(
            "cars",
            &["fname", "class"],
            &[
                written::text("", "00001.jpg"),
                written::numbers("", &[3]),
                written::text("", "é"),
                written::numbers("", &[300]),
            ],
        );
        let read = read(&written::file(&[cars, written::numbers("ids", &[1, 2, 3, 4, 5])])).unwrap();
        let record = |name: &str, class| {
            record(&[("fname", Value::Text(name.to_owned())), ("class", Value::Numbers(vec![class]))])
        };
        assert_eq!(read["cars"], Value::Records(vec![record("00001.jpg", 3.0), record("é", 300.0)]));
        assert_eq!(read["ids"], Value::Numbers(vec![1.0, 2.0, 3.0, 4.0, 5.0]));
    }

    #[test]
    fn a_damaged_file_is_refused_or_read_and_never_more() {
        for bytes in BY_SCIPY {
            for end in 0..bytes.len() {
                let _ = read(&bytes[..end]);
            }
            for at in 0..bytes.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut bytes = bytes.to_vec();
                    bytes[at] = value;
                    let _ = read(&bytes);
                }
            }
        }
    }

    #[test]
    fn other_kinds_are_named() {
        let with = |version: [u8; 4]| {
            let mut bytes = vec![b' '; 124];
            bytes.extend(version);
            read(&bytes).unwrap_err().to_string()
        };
        assert!(with([0, 2, b'I', b'M']).contains("7.3"));
        assert!(with([1, 0, b'M', b'I']).contains("big-endian"));
        assert!(with(*b"text").contains("starts with"));
        assert!(read(b"short").unwrap_err().to_string().contains("5 bytes"));
    }

    #[test]
    fn a_bomb_is_refused() {
        let zeros = vec![0; MAX_BYTES as usize + 1];
        assert!(matches!(read(&written::file(&[zeros])), Err(MatError::Size)));
    }
}
