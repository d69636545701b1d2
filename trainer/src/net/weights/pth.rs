//! What `torch.save` writes: since `PyTorch` 1.6 a zip file, before that pickles followed by raw storages.
//!
//! candle reads the pickles; its own reader of tensors knows neither the older form nor `channels_last`.

use std::collections::BTreeMap;
use std::io::{BufRead, Cursor, Read};

use candle_core::pickle::{Object, Stack};
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

/// The older form begins with this pickle of a number that stands for nothing else.
const LEGACY_MAGIC: [u8; 15] = *b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";

/// Where trainers put the weights beside optimiser states and the like, most likely first.
const NESTED: [&str; 9] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "backbone",
    "weights",
];

/// How deep `NESTED` names are followed, one inside the other.
const DEPTH: usize = 3;

/// Pickles hold names and shapes; the largest published ones are a hundredth of this.
const LARGEST_PICKLE: u64 = 64 << 20;

/// Whether the bytes are one of the two forms.
pub fn is_pth(bytes: &[u8]) -> bool {
    bytes.starts_with(&LEGACY_MAGIC) || bytes.starts_with(b"PK\x03\x04")
}

/// All tensors of a file's state dictionary as f32, by name.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let (saved, storages) = if bytes.starts_with(&LEGACY_MAGIC) { legacy(bytes)? } else { zipped(bytes)? };
    let entries = state(saved, DEPTH)?;
    let tensors = entries.into_iter().map(|(name, view)| {
        let values = view.values(&storages).map_err(|reason| format!("{name}: {reason}"))?;
        let tensor = Tensor::from_vec(values, view.shape.as_slice(), &Device::Cpu);
        Ok((name, tensor.map_err(|error| error.to_string())?))
    });
    tensors.collect()
}

/// Raw little-endian values by the keys that pickles name them by.
type Storages = BTreeMap<String, Vec<u8>>;

fn zipped(bytes: &[u8]) -> Result<(Object, Storages), String> {
    let said = |error: zip::result::ZipError| format!("not a whole zip file: {error}");
    // Left to find where the archive begins, the reader takes the second entry for the first where entries are as long as
    // what lies between the directory and its end: with stems of 21 characters.
    let begins = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(begins, Cursor::new(bytes)).map_err(said)?;
    let (mut saved, mut storages) = (None, Storages::new());
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).map_err(said)?;
        let name = file.name().map_err(said)?.into_owned();
        let mut parts = name.rsplit('/');
        let (last, folder) = (parts.next().unwrap_or_default(), parts.next());
        let is_pickle = last == "data.pkl";
        if !is_pickle && folder != Some("data") {
            continue;
        }
        // Stored, never compressed: a file that claims to hold more than there is does not.
        let largest = if is_pickle { LARGEST_PICKLE } else { bytes.len() as u64 };
        let mut content = Vec::new();
        let read = file.by_ref().take(largest + 1).read_to_end(&mut content);
        read.map_err(|error| format!("{name} in it is damaged: {error}"))?;
        if content.len() as u64 > largest {
            return Err(format!("{name} in it is larger than {largest} bytes"));
        }
        if is_pickle {
            saved = Some(pickle(&mut Cursor::new(content))?);
        } else {
            storages.insert(last.to_owned(), content);
        }
    }
    let saved = saved.ok_or("a zip file without data.pkl: nothing that torch.save wrote")?;
    Ok((saved, storages))
}

/// Magic, version, sizes of the writer's numbers, the object, the storages' keys; then each storage.
fn legacy(bytes: &[u8]) -> Result<(Object, Storages), String> {
    let mut rest = Cursor::new(&bytes[LEGACY_MAGIC.len()..]);
    let _version = pickle(&mut rest)?;
    let _sizes = pickle(&mut rest)?;
    let saved = pickle(&mut rest)?;
    let Object::List(keys) = pickle(&mut rest)? else { return Err("it has no list of storages".into()) };
    let mut widths = BTreeMap::new();
    note_widths(&saved, &mut widths);
    let mut storages = Storages::new();
    for key in keys {
        let key = key.unicode().map_err(|other| format!("a storage is called {other:?}"))?;
        let mut count = [0; 8];
        rest.read_exact(&mut count).map_err(|_| cut_short(&key))?;
        let width = widths.get(&key).copied().unwrap_or(0);
        let length = u64::from_le_bytes(count).checked_mul(width).ok_or_else(|| cut_short(&key))?;
        let mut content = Vec::new();
        rest.by_ref().take(length).read_to_end(&mut content).map_err(|error| error.to_string())?;
        if content.len() as u64 != length {
            return Err(cut_short(&key));
        }
        storages.insert(key, content);
    }
    Ok((saved, storages))
}

fn cut_short(key: &str) -> String {
    format!("it ends in the middle of storage {key}; fetch it again")
}

fn pickle(reader: &mut impl BufRead) -> Result<Object, String> {
    let mut stack = Stack::empty();
    let read = stack.read_loop(&mut reader.take(LARGEST_PICKLE)).and_then(|()| stack.finalize());
    read.map_err(|error| {
        format!("its pickle cannot be read ({error}); save the state_dict with torch.save's own defaults")
    })
}

/// Bytes a value of every storage that `object` speaks of, by key.
fn note_widths(object: &Object, widths: &mut BTreeMap<String, u64>) {
    match object {
        Object::PersistentLoad(id) => {
            if let Some((key, dtype)) = storage(id) {
                widths.insert(key, dtype.width() as u64);
            }
        }
        Object::Tuple(items) | Object::List(items) => items.iter().for_each(|item| note_widths(item, widths)),
        Object::Dict(entries) => entries.iter().for_each(|(_, value)| note_widths(value, widths)),
        Object::Reduce { callable, args } | Object::Build { callable, args } => {
            note_widths(callable, widths);
            note_widths(args, widths);
        }
        _ => {}
    }
}

/// The tensors of the dictionary that has most: this one, or one inside it under a usual name. Beside the weights there
/// may be others, as a counter of epochs is.
fn state(saved: Object, depth: usize) -> Result<Vec<(String, View)>, String> {
    let entries = match saved {
        Object::Dict(entries) => entries,
        Object::Build { .. } | Object::Reduce { .. } => {
            return Err("it holds a whole pickled module; save module.state_dict() instead".into());
        }
        _ => return Err("it holds no dictionary of tensors".into()),
    };
    let own: Vec<(String, View)> = entries.iter().filter_map(named_view).collect();
    let keys: Vec<String> = entries.iter().filter_map(|(key, _)| key.clone().unicode().ok()).collect();
    let mut nested: Vec<(usize, Object)> = entries.into_iter().filter_map(usual).collect();
    nested.sort_by_key(|(rank, _)| *rank);
    let (mut most, mut reason) = (Vec::new(), None);
    for (_, inner) in nested.into_iter().filter(|_| depth > 0) {
        match state(inner, depth - 1) {
            Ok(found) if found.len() > most.len() => most = found,
            Ok(_) => {}
            Err(error) => reason = reason.or(Some(error)),
        }
    }
    if own.len() > most.len() {
        most = own;
    }
    let nothing = || format!("it has no tensor, and none of {} in {keys:?}", NESTED.join(", "));
    if most.is_empty() { Err(reason.unwrap_or_else(nothing)) } else { Ok(most) }
}

/// What may hold the weights, with its place in [`NESTED`].
fn usual((key, value): (Object, Object)) -> Option<(usize, Object)> {
    let may_hold = matches!(value, Object::Dict(_) | Object::Build { .. } | Object::Reduce { .. });
    let key = key.unicode().ok().filter(|_| may_hold)?;
    Some((NESTED.iter().position(|name| *name == key)?, value))
}

fn named_view((key, value): &(Object, Object)) -> Option<(String, View)> {
    Some((key.clone().unicode().ok()?, view(value)?))
}

/// A tensor as it was pickled: a view of a storage.
struct View {
    key: String,
    dtype: StorageType,
    /// Values before the first, and from one index to the next in each dimension.
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// What `PyTorch` rebuilds a tensor of, whichever of its functions is named.
fn view(object: &Object) -> Option<View> {
    let (callable, args) = match object {
        Object::Reduce { callable, args } => (&**callable, &**args),
        Object::Build { callable, .. } => return view(callable),
        _ => return None,
    };
    let (Object::Class { class_name, .. }, Object::Tuple(args)) = (callable, args) else { return None };
    match class_name.as_str() {
        // Of a parameter: the tensor, and whether it is trained.
        "_rebuild_parameter" | "_rebuild_parameter_with_state" => view(args.first()?),
        // Of a subclass: the function, the type, the function's arguments.
        "_rebuild_from_type_v2" => {
            let [callable, _, args, ..] = args.as_slice() else { return None };
            view(&Object::Reduce { callable: Box::new(callable.clone()), args: Box::new(args.clone()) })
        }
        "_rebuild_tensor" | "_rebuild_tensor_v2" => {
            let [Object::PersistentLoad(id), offset, shape, strides, ..] = args.as_slice() else {
                return None;
            };
            let (key, dtype) = storage(id)?;
            Some(View {
                key,
                dtype,
                offset: number(offset)?,
                shape: numbers(shape)?,
                strides: numbers(strides)?,
            })
        }
        _ => None,
    }
}

/// Key and type of `("storage", type, key, place, count)`.
fn storage(id: &Object) -> Option<(String, StorageType)> {
    let Object::Tuple(parts) = id else { return None };
    let [_, Object::Class { class_name, .. }, Object::Unicode(key), ..] = parts.as_slice() else {
        return None;
    };
    Some((key.clone(), StorageType::named(class_name)?))
}

fn number(object: &Object) -> Option<usize> {
    object.clone().int_or_long().ok().and_then(|number| usize::try_from(number).ok())
}

fn numbers(object: &Object) -> Option<Vec<usize>> {
    let Object::Tuple(items) = object else { return None };
    items.iter().map(number).collect()
}

impl View {
    /// Its values in order, as f32.
    fn values(&self, storages: &Storages) -> Result<Vec<f32>, String> {
        let storage =
            storages.get(&self.key).ok_or_else(|| format!("its storage {} is missing", self.key))?;
        let misfit = || format!("shape {:?} does not fit its storage of {} bytes", self.shape, storage.len());
        if self.shape.len() != self.strides.len() {
            return Err(misfit());
        }
        let count = self.shape.iter().try_fold(1_usize, |count, &side| count.checked_mul(side));
        let values = storage.len() / self.dtype.width();
        // Views that show a value twice are not written by any module.
        let count = count.filter(|&count| count <= values).ok_or_else(misfit)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let reach = self.shape.iter().zip(&self.strides).try_fold(self.offset, |reach, (&side, &stride)| {
            (side - 1).checked_mul(stride).and_then(|far| reach.checked_add(far))
        });
        reach.filter(|&reach| reach < values).ok_or_else(misfit)?;
        let at = |index: usize| self.dtype.value(&storage[index * self.dtype.width()..]);
        let mut gathered = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        let mut place = self.offset;
        loop {
            gathered.push(at(place));
            let Some(dim) = (0..index.len()).rev().find(|&dim| index[dim] + 1 < self.shape[dim]) else {
                return Ok(gathered);
            };
            index[dim] += 1;
            place += self.strides[dim];
            for (inner, stride) in index.iter_mut().zip(&self.strides).skip(dim + 1) {
                place -= std::mem::take(inner) * stride;
            }
        }
    }
}

/// What `PyTorch` keeps numbers as.
#[derive(Clone, Copy)]
enum StorageType {
    Float,
    Double,
    Half,
    BFloat16,
    Long,
    Int,
    Short,
    Byte,
    Bool,
}

impl StorageType {
    fn named(class: &str) -> Option<StorageType> {
        Some(match class {
            "FloatStorage" => StorageType::Float,
            "DoubleStorage" => StorageType::Double,
            "HalfStorage" => StorageType::Half,
            "BFloat16Storage" => StorageType::BFloat16,
            "LongStorage" => StorageType::Long,
            "IntStorage" => StorageType::Int,
            "ShortStorage" => StorageType::Short,
            "ByteStorage" => StorageType::Byte,
            "BoolStorage" => StorageType::Bool,
            _ => return None,
        })
    }

    /// Bytes a value.
    fn width(self) -> usize {
        match self {
            StorageType::Double | StorageType::Long => 8,
            StorageType::Float | StorageType::Int => 4,
            StorageType::Half | StorageType::BFloat16 | StorageType::Short => 2,
            StorageType::Byte | StorageType::Bool => 1,
        }
    }

    /// The value that `bytes` begins with.
    fn value(self, bytes: &[u8]) -> f32 {
        fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
            std::array::from_fn(|index| bytes[index])
        }
        match self {
            StorageType::Float => f32::from_le_bytes(first(bytes)),
            StorageType::Double => f64::from_le_bytes(first(bytes)) as f32,
            StorageType::Half => f16::from_le_bytes(first(bytes)).to_f32(),
            StorageType::BFloat16 => bf16::from_le_bytes(first(bytes)).to_f32(),
            StorageType::Long => i64::from_le_bytes(first(bytes)) as f32,
            StorageType::Int => i32::from_le_bytes(first(bytes)) as f32,
            StorageType::Short => f32::from(i16::from_le_bytes(first(bytes))),
            StorageType::Byte | StorageType::Bool => f32::from(bytes[0]),
        }
    }
}
