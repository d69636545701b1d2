use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use sha2::{Digest, Sha256};

use super::*;
use crate::digits::hexadecimal;
use crate::frame::{MAX_SIDE, ResizeRule, network_frame, pattern};

fn png(width: u32, height: u32, pixels: &[u8], color: ExtendedColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(pixels, width, height, color).unwrap();
    bytes
}

fn jpeg(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95)
        .write_image(frame.pixels(), frame.width(), frame.height(), ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

/// `bytes` with an EXIF segment that holds nothing but the orientation.
fn oriented(bytes: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut out = bytes[..2].to_vec();
    out.extend([0xff, 0xe1, 0, exif.len() as u8 + 2]);
    out.extend(exif);
    out.extend(&bytes[2..]);
    out
}

fn decode(bytes: &[u8]) -> Result<Frame, PictureError> {
    decode_picture(bytes, &Limits::default())
}

fn refused(bytes: &[u8]) -> String {
    decode(bytes).unwrap_err().to_string()
}

/// A PNG that is only a header.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = PNG_START.to_vec();
    bytes.extend(b"\0\0\0\x0dIHDR");
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

#[test]
fn png_pixels_arrive_unchanged() {
    let frame = pattern(7, 40);
    let bytes = png(40, 40, frame.pixels(), ExtendedColorType::Rgb8);
    assert_eq!(decode(&bytes).unwrap(), frame);
}

#[test]
fn grey_alpha_and_sixteen_bits_become_rgb_over_white() {
    let cases: [(&[u8], ExtendedColorType, [u8; 3]); 6] = [
        (&[100], ExtendedColorType::L8, [100; 3]),
        (&[100, 0], ExtendedColorType::La8, [255; 3]),
        (&[10, 20, 30, 255], ExtendedColorType::Rgba8, [10, 20, 30]),
        (&[10, 20, 30, 0], ExtendedColorType::Rgba8, [255; 3]),
        (&[0, 0, 0, 128], ExtendedColorType::Rgba8, [127; 3]),
        (&[0x80, 0x80, 0, 0, 0xff, 0xff], ExtendedColorType::Rgb16, [128, 0, 255]),
    ];
    for (pixel, color, expected) in cases {
        let frame = decode(&png(1, 1, pixel, color)).unwrap();
        assert_eq!(frame.pixel(0, 0), expected, "{color:?} {pixel:?}");
    }
}

/// Files of `golden/make.py`: what other programs write.
const KINDS: [(&str, &[u8]); 8] = [
    ("4:2:0", include_bytes!("golden/420.jpg")),
    ("4:2:2", include_bytes!("golden/422.jpg")),
    ("progressive", include_bytes!("golden/progressive.jpg")),
    ("restart markers", include_bytes!("golden/restarts.jpg")),
    ("stored as RGB", include_bytes!("golden/rgb.jpg")),
    ("grey", include_bytes!("golden/grey.jpg")),
    ("progressive grey", include_bytes!("golden/grey_progressive.jpg")),
    ("CMYK", include_bytes!("golden/cmyk.jpg")),
];

#[test]
fn every_kind_of_jpeg_decodes_as_through_the_image_crate() {
    for (kind, bytes) in KINDS {
        let decoder = image::codecs::jpeg::JpegDecoder::new(Cursor::new(bytes)).unwrap();
        let expected = DynamicImage::from_decoder(decoder).unwrap().into_rgb8();
        let frame = decode(bytes).unwrap();
        assert_eq!((frame.width(), frame.height()), expected.dimensions(), "{kind}");
        assert_eq!(frame.pixels(), expected.as_raw(), "{kind}");
    }
}

/// Pins the bytes themselves: a decoder with other arithmetic on some processor fails there.
#[test]
fn every_kind_of_jpeg_decodes_to_the_same_bytes_everywhere() {
    let mut hash = Sha256::new();
    for (_, bytes) in KINDS {
        hash.update(decode(bytes).unwrap().pixels());
    }
    assert_eq!(
        hexadecimal(&hash.finalize()),
        "3c494767ba0d3ec1a2b79144ca300d8e27ff009ec8fc0688dcdba16e34b50b23"
    );
}

#[test]
fn every_kind_of_jpeg_is_refused_at_every_cut() {
    for (kind, bytes) in KINDS {
        for length in 1..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{kind}: {length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn exif_orientation_is_applied_once() {
    let frame = Frame::new(16, 8, pattern(3, 16).pixels()[..3 * 16 * 8].to_vec()).unwrap();
    let bytes = jpeg(&frame);
    let upright = decode(&bytes).unwrap();
    assert_eq!((upright.width(), upright.height()), (16, 8));
    // For each orientation, where the stored picture's first pixel is seen.
    for (orientation, size, corner) in [
        (1, (16, 8), (0, 0)),
        (2, (16, 8), (15, 0)),
        (3, (16, 8), (15, 7)),
        (4, (16, 8), (0, 7)),
        (5, (8, 16), (0, 0)),
        (6, (8, 16), (7, 0)),
        (7, (8, 16), (7, 15)),
        (8, (8, 16), (0, 15)),
    ] {
        let seen = decode(&oriented(&bytes, orientation)).unwrap();
        assert_eq!((seen.width(), seen.height()), size, "{orientation}");
        assert_eq!(seen.pixel(corner.0, corner.1), upright.pixel(0, 0), "{orientation}");
    }
}

/// Files of `golden/make.py`, 64 x 48 pixels.
const LARGE: [(&str, &[u8]); 4] = [
    ("4:2:0", include_bytes!("golden/quarter_420.jpg")),
    ("progressive", include_bytes!("golden/quarter_progressive.jpg")),
    ("grey", include_bytes!("golden/quarter_grey.jpg")),
    ("CMYK", include_bytes!("golden/quarter_cmyk.jpg")),
];

/// For which a quarter of [`LARGE`] is enough.
const SMALL: Input = Input { side: 6, resize: ResizeRule::Squash };

fn decode_for(bytes: &[u8], to: Input) -> Result<Frame, PictureError> {
    decode_picture_for(bytes, &Limits::default(), to)
}

#[test]
fn a_large_jpeg_is_decoded_at_a_fraction_and_makes_nearly_the_same_input() {
    for (kind, bytes) in LARGE {
        let (whole, coarse) = (decode(bytes).unwrap(), decode_for(bytes, SMALL).unwrap());
        // The coarse decoder leaves CMYK to the other one.
        assert_eq!(coarse.scale(), if kind == "CMYK" { 1 } else { 4 }, "{kind}");
        assert_eq!(coarse.width() * coarse.scale(), whole.width(), "{kind}");
        assert_eq!(coarse.picture_size(), [64, 48], "{kind}");
        for rule in [ResizeRule::Squash, ResizeRule::Pad, ResizeRule::Centre(88)] {
            let (expected, view) = network_frame(&whole, rule, SMALL.side);
            let (actual, coarse_view) = network_frame(&coarse, rule, SMALL.side);
            assert_eq!(view, coarse_view, "{kind} {rule}");
            let pairs = actual.pixels().iter().zip(expected.pixels());
            let furthest = pairs.map(|(a, e)| a.abs_diff(*e)).max().unwrap();
            assert!(furthest <= 3, "{kind} {rule}: {furthest} of 255");
        }
    }
}

/// As for whole pictures.
#[test]
fn fractions_are_the_same_bytes_everywhere() {
    let mut hash = Sha256::new();
    for (_, bytes) in LARGE {
        hash.update(decode_for(bytes, SMALL).unwrap().pixels());
    }
    assert_eq!(
        hexadecimal(&hash.finalize()),
        "076b660a97234896a467c906b64517b296f2200332f1a9d3215b4e6151e01140"
    );
}

#[test]
fn small_pictures_and_odd_sides_are_decoded_whole() {
    let (_, large) = LARGE[0];
    assert_eq!(decode_for(large, Input { side: 13, ..SMALL }).unwrap(), decode(large).unwrap());
    let odd = jpeg(&Frame::new(63, 48, vec![9; 3 * 63 * 48]).unwrap());
    assert_eq!(decode_for(&odd, SMALL).unwrap(), decode(&odd).unwrap());
    let png = png(64, 48, &[7; 3 * 64 * 48], ExtendedColorType::Rgb8);
    assert_eq!(decode_for(&png, SMALL).unwrap().scale(), 1);
}

#[test]
fn a_fraction_is_turned_as_exif_says() {
    let (_, large) = LARGE[0];
    let (turned, stored) =
        (decode_for(&oriented(large, 6), SMALL).unwrap(), decode_for(large, SMALL).unwrap());
    assert_eq!((turned.picture_size(), turned.scale()), ([48, 64], 4));
    assert_eq!(turned.pixel(11, 0), stored.pixel(0, 0));
}

#[test]
fn a_jpeg_is_refused_at_every_cut() {
    let bytes = jpeg(&pattern(1, 24));
    for length in 1..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    assert!(refused(&bytes[..bytes.len() - 2]).contains("ends in the middle of the JPEG"));
}

#[test]
fn a_png_is_refused_at_every_cut_of_its_pixels() {
    let frame = pattern(1, 24);
    let bytes = png(24, 24, frame.pixels(), ExtendedColorType::Rgb8);
    // The last 12 bytes are the end chunk, 4 before it the checksum of the pixels.
    for length in 1..bytes.len() - 16 {
        assert!(decode(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
    assert!(refused(&bytes[..bytes.len() / 2]).contains("ends in the middle of the PNG"));
}

#[test]
fn what_follows_a_whole_jpeg_does_not_matter() {
    let frame = pattern(2, 24);
    let mut bytes = jpeg(&frame);
    let alone = decode(&bytes).unwrap();
    bytes.extend([0; 100]);
    bytes.extend(b"MotionPhoto\xff\xd8\xff");
    assert_eq!(decode(&bytes).unwrap(), alone);
}

#[test]
fn no_single_changed_byte_makes_the_decoder_panic() {
    let frame = pattern(4, 16);
    let pictures = [jpeg(&frame), png(16, 16, frame.pixels(), ExtendedColorType::Rgb8)];
    let kinds = KINDS.map(|(_, bytes)| bytes.to_vec());
    for picture in pictures.into_iter().chain(kinds) {
        for at in 0..picture.len() {
            let mut bytes = picture.clone();
            bytes[at] ^= 0xff;
            let _ = decode(&bytes);
        }
    }
    for (_, picture) in LARGE {
        for at in 0..picture.len() {
            for changed in [0xff, 0x01] {
                let mut bytes = picture.to_vec();
                bytes[at] ^= changed;
                let _ = decode_for(&bytes, SMALL);
            }
        }
    }
}

#[test]
fn sizes_are_refused_from_the_header_alone() {
    let error = decode(&png_header(20_000, 20_000)).unwrap_err();
    assert!(error.is_limit());
    assert!(error.to_string().contains("20000 x 20000 pixels"), "{error}");
    assert!(decode(&png_header(1, MAX_SIDE + 1)).unwrap_err().is_limit());
    let mut bytes = jpeg(&pattern(1, 16));
    let header = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[header + 5..header + 9].copy_from_slice(&[0xff; 4]);
    assert!(decode(&bytes).unwrap_err().is_limit());
}

#[test]
fn a_file_beyond_the_byte_limit_is_refused() {
    let limits = Limits { bytes: 10, ..Limits::default() };
    let error = decode_picture(&[0; 11], &limits).unwrap_err();
    assert!(error.is_limit() && error.to_string().contains("the limit is 10"), "{error}");
    assert!(read_limited(io::repeat(0), &limits).unwrap_err().is_limit());
    assert_eq!(read_limited(&[1_u8; 10][..], &limits).unwrap(), [1; 10]);
}

#[test]
fn what_is_no_picture_is_named() {
    assert!(refused(b"").contains("empty (0 bytes)"));
    assert!(refused(b"hello, world").contains("text (it starts with \"hello, world\")"));
    assert!(refused(b"GIF89a\x01\0\x01\0").contains("a gif picture"));
    assert!(refused(&[0, 1, 2]).contains("the bytes [00, 01, 02]"));
}

#[test]
fn folders_and_absent_files_are_refused() {
    let limits = Limits::default();
    let folder = std::env::temp_dir();
    let error = read_picture(&folder, &limits).unwrap_err();
    assert!(matches!(error, PictureError::Folder), "{error}");
    let error = read_picture(&folder.join("fieldmark-no-such-file.jpg"), &limits).unwrap_err();
    assert!(matches!(error, PictureError::Read(_)), "{error}");
}

#[cfg(unix)]
#[test]
fn devices_are_refused_without_being_opened() {
    let error = read_picture(Path::new("/dev/zero"), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("is a device"), "{error}");
}
