//! What the camera wrote beside the picture.

use std::io::Cursor;

use exif::{In, Reader, Tag, Value};

/// What a picture's EXIF data say, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exif {
    /// 2 to 8: how it has to be turned to be upright; 1, the usual, counts as absent.
    pub orientation: Option<u32>,
    /// Whether it says where it was taken.
    pub has_position: bool,
    /// Maker and model.
    pub camera: Option<String>,
}

/// The EXIF data in a JPEG or PNG file; nothing where they are absent or damaged.
pub fn exif(bytes: &[u8]) -> Exif {
    let Ok(read) = Reader::new().read_from_container(&mut Cursor::new(bytes)) else {
        return Exif::default();
    };
    let text = |tag| match read.get_field(tag, In::PRIMARY).map(|field| &field.value) {
        Some(Value::Ascii(lines)) => {
            let line = lines.first().map(|line| String::from_utf8_lossy(line).trim().to_owned());
            line.filter(|line| !line.is_empty())
        }
        _ => None,
    };
    let parts: Vec<String> = [text(Tag::Make), text(Tag::Model)].into_iter().flatten().collect();
    let orientation = read.get_field(Tag::Orientation, In::PRIMARY).and_then(|field| field.value.get_uint(0));
    Exif {
        orientation: orientation.filter(|value| (2..=8).contains(value)),
        has_position: read.get_field(Tag::GPSLatitude, In::PRIMARY).is_some(),
        camera: (!parts.is_empty()).then(|| parts.join(" ")),
    }
}
