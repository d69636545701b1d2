use std::fs;
use std::path::Path;

use exif::experimental::Writer;
use exif::{Field, In, Rational, Tag, Value};
use fieldmark::frame::Frame;
use image::RgbImage;

use super::likeness::tests::scene;
use super::*;
use crate::data::dataset::{GroupBy, read_leniently};

fn image(frame: Frame) -> RgbImage {
    RgbImage::from_raw(frame.width(), frame.height(), frame.into_pixels()).unwrap()
}

fn save(path: &Path, picture: &RgbImage) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

/// Split folders of two classes; every picture is another scene, and nothing is suspicious.
fn clean() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let mut seed = 0;
    for (split, count) in [("train", 16), ("val", 3), ("test", 3)] {
        for class in ["auk", "wren"] {
            for number in 1..=count {
                seed += 1;
                let path = root.path().join(format!("{split}/{class}/{number}.png"));
                save(&path, &image(scene(seed, 90, 70)));
            }
        }
    }
    root
}

fn found(root: &Path, rule: &SplitRule) -> Lint {
    let (dataset, empty) = read_leniently(root, rule).unwrap();
    let lint = lint(&dataset, &empty, rule, &|| ());
    let names_an_option =
        |finding: &Finding| [&finding.text, &finding.advice].iter().any(|text| text.contains("--"));
    assert!(!lint.findings.iter().any(names_an_option), "the library itself names no option: {lint:?}");
    lint
}

fn kinds(lint: &Lint) -> Vec<(Kind, usize)> {
    lint.findings.iter().map(|finding| (finding.kind, finding.count)).collect()
}

/// What is found in the clean folder after a change.
fn after(change: impl Fn(&Path)) -> Lint {
    let root = clean();
    change(root.path());
    found(root.path(), &SplitRule::default())
}

fn copy(root: &Path, from: &str, to: &str) {
    fs::copy(root.join(from), root.join(to)).unwrap();
}

/// The picture, scaled down and a little darker.
fn changed(root: &Path, from: &str, to: &str) {
    let small = image::imageops::thumbnail(&image::open(root.join(from)).unwrap().into_rgb8(), 80, 64);
    save(&root.join(to), &image::imageops::brighten(&small, -6));
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let lint = after(|_| ());
    assert_eq!(kinds(&lint), []);
    assert_eq!((lint.schema, lint.classes, lint.pictures), (1, 2, [32, 6, 6]));
    assert!(!lint.has_warnings());
}

#[test]
fn copies_are_told_by_where_they_are() {
    let (one, of) =
        ("train/auk/1.png", |to: &'static str| after(move |root| copy(root, "train/auk/1.png", to)));
    assert_eq!(kinds(&of("train/auk/again.png")), [(Kind::Copies, 2)]);
    assert_eq!(kinds(&of("test/auk/again.png")), [(Kind::CopiesAcrossSplits, 2)]);
    assert_eq!(kinds(&of("train/wren/again.png")), [(Kind::LabelsDiffer, 2)]);
    let both = of("test/wren/again.png");
    assert_eq!(kinds(&both), [(Kind::LabelsDiffer, 2), (Kind::CopiesAcrossSplits, 2)]);
    let expected = [(one, "auk", Split::Train), ("test/wren/again.png", "wren", Split::Test)];
    let named = &both.findings[0].groups[0].pictures;
    assert!(named.iter().zip(expected).all(|(named, (file, class, split))| {
        (named.file.as_str(), named.class.as_str(), named.split) == (file, class, split)
    }));
}

#[test]
fn changed_copies_are_told_by_where_they_are() {
    for (to, kind) in [
        ("train/auk/again.png", Kind::Alike),
        ("val/auk/again.png", Kind::AlikeAcrossSplits),
        ("train/wren/again.png", Kind::AlikeAcrossClasses),
    ] {
        let lint = after(|root| changed(root, "train/auk/1.png", to));
        assert_eq!(kinds(&lint), [(kind, 2)], "{to}");
    }
}

#[test]
fn broken_blank_tiny_and_long_pictures_are_found() {
    let cut = |root: &Path| {
        let path = root.join("train/auk/1.png");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    };
    let broken = after(cut);
    assert_eq!(kinds(&broken), [(Kind::Broken, 1)]);
    assert!(!broken.findings[0].groups[0].note.is_empty());
    let with = |picture: &RgbImage| after(|root| save(&root.join("train/auk/1.png"), picture));
    assert_eq!(kinds(&with(&RgbImage::from_pixel(90, 70, image::Rgb([9, 9, 9])))), [(Kind::Blank, 1)]);
    assert_eq!(kinds(&with(&image(scene(99, 90, 63)))), [(Kind::Tiny, 1)]);
    assert_eq!(kinds(&with(&image(scene(99, 240, 80)))), [(Kind::Elongated, 1)]);
}

#[test]
fn classes_are_counted() {
    let lint = after(|root| {
        for number in 4..=16 {
            fs::remove_file(root.join(format!("train/wren/{number}.png"))).unwrap();
        }
        fs::remove_dir_all(root.join("val/wren")).unwrap();
        fs::write(root.join("notes.txt"), "text").unwrap();
        fs::write(root.join("test/auk/empty.jpg"), "").unwrap();
    });
    let expected = [
        (Kind::LeftOut, 1),
        (Kind::NotHeldOut, 1),
        (Kind::FewPictures, 1),
        (Kind::Imbalance, 2),
        (Kind::NotUsed, 1),
    ];
    assert_eq!(kinds(&lint), expected);
    assert!(lint.findings[2].groups[0].note.contains("wren: 3 for training, 0 for validation, 3 for test"));
    assert!(lint.has_warnings());
}

/// The pictures that `auk` and `wren` have in class folders; the program splits them.
fn of_sizes(sizes: [u32; 2]) -> Lint {
    let root = tempfile::tempdir().unwrap();
    for (class, (label, size)) in ["auk", "wren"].into_iter().zip(sizes).enumerate() {
        for number in 0..size {
            let path = root.path().join(format!("{label}/{number}.png"));
            save(&path, &image(scene(200 * class as u32 + number, 90, 70)));
        }
    }
    found(root.path(), &SplitRule::default())
}

#[test]
fn a_class_that_is_too_small_to_be_split_is_found_before_training() {
    let lint = of_sizes([6, 2]);
    assert_eq!(kinds(&lint), [(Kind::NotHeldOut, 1), (Kind::FewPictures, 2)]);
    let finding = &lint.findings[0];
    assert!(finding.text.contains("1 of 2 classes have no validation picture"), "{finding:?}");
    assert!(finding.advice.contains("more pictures of a class that is too small"), "{finding:?}");
    assert!(finding.groups.iter().any(|group| group.note == "wren: none for validation"), "{finding:?}");
}

#[test]
fn a_class_that_nearly_all_pictures_are_of_is_found_before_training() {
    let lint = of_sizes([101, 20]);
    assert_eq!(kinds(&lint), [(Kind::OneClass, 1)]);
    let text = "101 of 121 pictures are of auk: always answering it would be right on 83.5 % of them";
    assert!(lint.findings[0].text.starts_with(text), "{:?}", lint.findings[0]);
    assert!(lint.has_warnings());
    // Four of five are not more than that.
    assert_eq!(kinds(&of_sizes([80, 20])), []);
}

#[test]
fn a_class_without_readable_pictures_is_listed_beside_what_else_is_found() {
    let lint = after(|root| {
        copy(root, "train/auk/1.png", "test/auk/again.png");
        for number in 1..=3 {
            fs::create_dir_all(root.join("train/owl")).unwrap();
            fs::write(root.join(format!("train/owl/{number}.HEIC")), "ftypheic").unwrap();
        }
        fs::create_dir(root.join("train/void")).unwrap();
    });
    let expected = [(Kind::NoPictures, 2), (Kind::CopiesAcrossSplits, 2), (Kind::LeftOut, 3)];
    assert_eq!(kinds(&lint), expected);
    assert_eq!((lint.classes, lint.findings[0].severity), (2, Severity::Serious));
    let notes: Vec<&str> = lint.findings[0].groups.iter().map(|group| group.note.as_str()).collect();
    assert_eq!(notes, ["class owl: no readable pictures (3 HEIC)", "class void: no readable pictures"]);
}

#[test]
fn where_no_class_has_a_readable_picture_that_is_listed_too() {
    let root = tempfile::tempdir().unwrap();
    for class in ["auk", "wren"] {
        fs::create_dir(root.path().join(class)).unwrap();
    }
    assert_eq!(kinds(&found(root.path(), &SplitRule::default())), [(Kind::NoPictures, 2)]);
}

/// A JPEG picture with EXIF data.
fn photo(path: &Path, seed: u32, fields: &[(Tag, Value)]) {
    let fields: Vec<Field> = fields
        .iter()
        .map(|(tag, value)| Field { tag: *tag, ifd_num: In::PRIMARY, value: value.clone() })
        .collect();
    let mut writer = Writer::new();
    for field in &fields {
        writer.push_field(field);
    }
    let mut tiff = std::io::Cursor::new(Vec::new());
    writer.write(&mut tiff, false).unwrap();
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image(scene(seed, 90, 70)).write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let (tiff, jpeg) = (tiff.into_inner(), jpeg.into_inner());
    let length = (tiff.len() as u16 + 8).to_be_bytes();
    let bytes = [&jpeg[..2], &[0xff, 0xe1], &length, b"Exif\0\0", &tiff, &jpeg[2..]].concat();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn model(name: &str) -> (Tag, Value) {
    (Tag::Model, Value::Ascii(vec![name.as_bytes().to_vec()]))
}

#[test]
fn positions_and_turned_pictures_are_found() {
    let lint = after(|root| {
        let degrees = [59, 20, 0].map(|num| Rational { num, denom: 1 }).to_vec();
        photo(&root.join("train/auk/here.jpg"), 90, &[(Tag::GPSLatitude, Value::Rational(degrees))]);
        photo(&root.join("train/auk/side.jpg"), 91, &[(Tag::Orientation, Value::Short(vec![6]))]);
        photo(&root.join("train/auk/up.jpg"), 92, &[(Tag::Orientation, Value::Short(vec![1])), model("A1")]);
    });
    assert_eq!(kinds(&lint), [(Kind::Position, 1), (Kind::Turned, 1)]);
    assert_eq!(lint.findings[0].groups[0].pictures[0].file, "train/auk/here.jpg");
}

#[test]
fn a_camera_a_class_is_found_and_cameras_that_mix_are_not() {
    let of = |camera: fn(usize, u32) -> &'static str| {
        let root = tempfile::tempdir().unwrap();
        for (class, name) in ["auk", "wren"].into_iter().enumerate() {
            for number in 0..20 {
                let seed = 20 * class as u32 + number;
                photo(
                    &root.path().join(format!("{name}/{number}.jpg")),
                    seed,
                    &[model(camera(class, number))],
                );
            }
        }
        found(root.path(), &SplitRule::default())
    };
    let told = of(|class, number| if class == 0 || number == 0 { "A1" } else { "B2" });
    assert_eq!(kinds(&told), [(Kind::CamerasTellClasses, 40)]);
    assert_eq!(told.findings[0].groups[1].note, "wren: 1 x A1, 19 x B2");
    assert_eq!(kinds(&of(|_, number| if number % 2 == 0 { "A1" } else { "B2" })), []);
}

/// Two classes of 20 pictures in class folders, named by `name` of class and number.
fn named(name: impl Fn(&str, u32) -> String) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (class, label) in ["auk", "wren"].into_iter().enumerate() {
        for number in 0..20 {
            let picture = image(scene(20 * class as u32 + number, 90, 70));
            save(&root.path().join(label).join(name(label, number)), &picture);
        }
    }
    root
}

#[test]
fn sources_in_several_splits_are_found_until_they_are_grouped() {
    let root = named(|_, number| format!("film-3_photo{}_{number}.png", number / 2));
    let lint = found(root.path(), &SplitRule::default());
    assert_eq!(kinds(&lint).iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::SourcesAcrossSplits]);
    assert!(lint.findings[0].advice.contains("group by '_', which keeps 10 sources"), "{:?}", lint.findings);
    let grouped = SplitRule { group: Some(GroupBy::Prefix('_')), ..SplitRule::default() };
    assert_eq!(kinds(&found(root.path(), &grouped)), []);
}

#[test]
fn a_grouping_that_keeps_whole_classes_or_nothing_together_is_found() {
    let of = |by| {
        let root = named(|label, number| format!("{label}_{number}-x.png"));
        let rule = SplitRule { group: Some(GroupBy::Prefix(by)), ..SplitRule::default() };
        found(root.path(), &rule)
    };
    let whole = of('_');
    assert_eq!(kinds(&whole), [(Kind::Grouping, 2)]);
    assert!(
        whole.findings[0].text.contains("'_' makes one group of each class for 2 of 2 classes"),
        "{whole:?}"
    );
    let nothing = of('-');
    assert_eq!(kinds(&nothing), [(Kind::Grouping, 40)]);
    assert!(
        nothing.findings[0].text.contains("each of the 40 pictures is a group of its own"),
        "{nothing:?}"
    );
}

#[test]
fn names_that_only_repeat_the_class_or_a_camera_are_no_sources() {
    for name in [
        |label: &str, number| format!("{label}_{number:03}.png"),
        |_: &str, number| format!("IMG-{number}.png"),
    ] {
        assert_eq!(kinds(&found(named(name).path(), &SplitRule::default())), []);
    }
}

#[test]
fn boxes_that_leave_their_picture_are_found() {
    let root = named(|_, number| format!("{number}.png"));
    let row = |label: &str, number: u32| {
        let width = if number == 7 { 93 } else { 80 };
        format!("{label}/{number}.png,{label},9,0,{width},70\n")
    };
    let rows = ["auk", "wren"].map(|label| (0..20).map(|number| row(label, number)).collect::<String>());
    fs::write(root.path().join("pictures.csv"), "path,label,x,y,w,h\n".to_owned() + &rows.concat()).unwrap();
    assert_eq!(kinds(&found(root.path(), &SplitRule::default())), [(Kind::BoxesOutside, 2)]);
}

#[test]
fn threads_change_nothing_and_json_reads_back() {
    let root = clean();
    changed(root.path(), "train/auk/1.png", "val/auk/again.png");
    copy(root.path(), "train/auk/2.png", "test/wren/again.png");
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| found(root.path(), &SplitRule::default()))
    };
    let lint = on(1);
    assert_eq!(lint, on(3));
    let json = serde_json::to_string(&lint).unwrap();
    assert!(json.contains(r#""kind":"labels-differ","severity":"serious""#), "{json}");
    assert_eq!(serde_json::from_str::<Lint>(&json).unwrap(), lint);
}

#[test]
fn the_table_begins_with_the_worst_and_says_what_to_do() {
    let lint = after(|root| {
        fs::write(root.join("notes.txt"), "text").unwrap();
        copy(root, "train/auk/1.png", "test/auk/again.png");
    });
    let text = table(&lint);
    let places = [
        "1 serious, 0 warning, 1 note",
        "SERIOUS  2 pictures",
        "-> keep one of each",
        "test/auk/again.png (test)",
        "note ",
    ]
    .map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}")));
    assert!(places.is_sorted(), "{text}");
}
