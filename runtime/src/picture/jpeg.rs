//! The outline of a JPEG file: its size and whether it is whole.
//!
//! The decoder fills what is missing of a cut file with grey and says nothing, and it reads the whole
//! header before it tells the size; so both are looked up here first.

/// How every JPEG file starts.
pub(super) const START: &[u8] = b"\xff\xd8\xff";

/// What can be said without decoding.
pub(super) struct Outline {
    /// Width and height in the frame header.
    pub(super) size: Option<(u32, u32)>,
    /// The end-of-image marker was found where one belongs. What follows it does not count: cameras
    /// append previews and clips.
    pub(super) complete: bool,
}

/// Walks from marker to marker.
pub(super) fn outline(bytes: &[u8]) -> Outline {
    let mut outline = Outline { size: None, complete: false };
    let mut at = 2;
    while let Some((marker, body)) = next_marker(bytes, at) {
        match marker {
            END => {
                outline.complete = true;
                return outline;
            }
            // Markers without a segment.
            0x01 | 0xd0..=0xd8 => at = body,
            _ => {
                let Some(length) = big_endian(bytes, body) else {
                    return outline;
                };
                if is_frame_header(marker) && outline.size.is_none() {
                    let height = big_endian(bytes, body + 3);
                    let width = big_endian(bytes, body + 5);
                    outline.size = width.zip(height);
                }
                at = body + (length as usize).max(2);
            }
        }
    }
    outline
}

const END: u8 = 0xd9;

/// The next marker at or after `at`, and where its segment starts. Skips entropy-coded data, in which
/// `ff 00` is a value, and fill bytes.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = bytes.get(at..)?;
    let found = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
    Some((rest[found + 1], at + found + 2))
}

fn is_frame_header(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

fn big_endian(bytes: &[u8], at: usize) -> Option<u32> {
    let pair = bytes.get(at..at + 2)?;
    Some(u32::from(pair[0]) << 8 | u32::from(pair[1]))
}
