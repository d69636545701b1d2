//! Marks planted on photos: classes that differ in one small mark and in nothing else, on real scenes.
//!
//! Every picture is a random part of a random photo with one mark on it, a disc with a sign. The mark's place, size,
//! turn and light are random, and part of it may be hidden. Two look-alikes have the same colours and another sign. Photos of
//! the test pictures are never those of the training pictures. The folder is laid out as that of the drawn birds.

use std::f32::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};

use fieldmark::frame::{Frame, Region, resize};
use fieldmark::picture::{Limits, read_picture};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tiny_skia::{Pixmap, PremultipliedColorU8, Transform};

use super::paint::{circle, colour, fill, layer, polygon, stroke};
use super::species::Rgb;
use super::truth::{Row, Tables, Truth};
use super::{SynthConfig, SynthError, check, write_picture};
use crate::random::{Stream, stream};

/// Classes that there are.
pub const CLASSES: usize = 2 * PAIRS.len();

/// What two look-alikes share, ground and ink, and the sign of each.
const PAIRS: [(&str, Rgb, Rgb, [Sign; 2]); 6] = [
    ("Amber", [238, 190, 60], [40, 44, 60], [Sign::Triangle, Sign::Square]),
    ("Blue", [44, 92, 178], [240, 240, 236], [Sign::Cross, Sign::Star]),
    ("Red", [190, 44, 52], [246, 240, 220], [Sign::Bars, Sign::Chevron]),
    ("White", [240, 240, 238], [30, 110, 84], [Sign::Square, Sign::Star]),
    ("Black", [38, 38, 44], [232, 196, 70], [Sign::Triangle, Sign::Chevron]),
    ("Green", [70, 140, 70], [250, 250, 246], [Sign::Bars, Sign::Cross]),
];

/// What stands on a disc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Triangle,
    Square,
    Cross,
    Star,
    Bars,
    Chevron,
}

/// Diameter of a mark over the picture's side.
const SIZE: std::ops::Range<f32> = 0.10..0.20;

/// Share of the marks that are partly hidden, and the most of a diameter that is.
const HIDDEN: (f64, f32) = (0.3, 0.35);

/// Plants marks on the photos below `photos`, into the folder `out`, which must be absent or empty. Pictures depend on the
/// photos and `config` alone, not on the number of threads. The photos are only read.
///
/// # Errors
/// [`SynthError`]: numbers that make no data set, fewer than two photos, one that does not decode, a folder in use, a full disk.
pub fn plant_dataset(photos: &Path, out: &Path, config: &SynthConfig) -> Result<(), SynthError> {
    check(out, config, CLASSES)?;
    let scenes = scenes(photos, config)?;
    for class in 0..config.classes {
        let path = out.join("images").join(folder(class));
        fs::create_dir_all(&path).map_err(|source| SynthError::Write { path, source })?;
    }
    let per_class = config.per_class_train + config.per_class_test;
    let plans: Vec<(usize, usize)> =
        (0..config.classes).flat_map(|class| (0..per_class).map(move |index| (class, index))).collect();
    let rows: Result<Vec<Row>, SynthError> = plans
        .par_iter()
        .map(|&(class, index)| {
            let train = index < config.per_class_train;
            let file = format!("{}/{}_{:04}.jpg", folder(class), name(class), index + 1);
            let (rgb, truth) = picture(&scenes[usize::from(!train)], class, index + 1, config)?;
            write_picture(&out.join("images").join(&file), &rgb, config.side)?;
            Ok(Row { file, class, train, truth })
        })
        .collect();
    let tables = Tables {
        classes: (0..config.classes).map(folder).collect(),
        parts: vec!["mark"],
        field_marks: (0..config.classes).step_by(2).map(|class| ([class, class + 1], vec![0])).collect(),
        rows: &rows?,
    };
    tables.write(out).map_err(|source| SynthError::Write { path: out.to_owned(), source })
}

fn name(class: usize) -> String {
    let (colours, _, _, signs) = PAIRS[class / 2];
    format!("{colours}_{:?}", signs[class % 2])
}

fn folder(class: usize) -> String {
    format!("{:03}.{}", class + 1, name(class))
}

/// Photos for training and for test pictures, in random order; no photo is in both.
fn scenes(folder: &Path, config: &SynthConfig) -> Result<[Vec<PathBuf>; 2], SynthError> {
    let mut photos = Vec::new();
    collect(folder, &mut photos)?;
    photos.sort();
    if photos.len() < 2 {
        return Err(SynthError::Photos { path: folder.to_owned(), found: photos.len() });
    }
    photos.shuffle(&mut stream(Stream::Photos { seed: config.seed }));
    let share = config.per_class_test as f64 / (config.per_class_train + config.per_class_test) as f64;
    let test = ((photos.len() as f64 * share).round() as usize).clamp(1, photos.len() - 1);
    let train = photos.split_off(test);
    Ok([train, photos])
}

fn collect(folder: &Path, photos: &mut Vec<PathBuf>) -> Result<(), SynthError> {
    let unread =
        |error: std::io::Error| SynthError::Read { path: folder.to_owned(), reason: error.to_string() };
    for entry in fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() {
            collect(&path, photos)?;
        } else if ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known)) {
            photos.push(path);
        }
    }
    Ok(())
}

/// Where a mark is, and how it looks there.
struct Place {
    x: f32,
    y: f32,
    radius: f32,
    angle: f32,
    /// What its colours are multiplied by.
    light: f32,
    /// A direction, and the share of the diameter that is hidden from there.
    hidden: Option<(f32, f32)>,
}

/// The RGB bytes of a picture, and what is known about it.
fn picture(
    photos: &[PathBuf],
    class: usize,
    number: usize,
    config: &SynthConfig,
) -> Result<(Vec<u8>, Truth), SynthError> {
    let SynthConfig { side, seed, .. } = *config;
    let mut rng = stream(Stream::Planted { seed, class: class as u64, number: number as u64 });
    let path = &photos[rng.random_range(0..photos.len())];
    let photo = read_picture(path, &Limits::default())
        .map_err(|error| SynthError::Read { path: path.clone(), reason: error.to_string() })?;
    let mut scene = scene(&photo, side, &mut rng);
    let place = place(side, &mut rng);
    let mark = mark(class, &place, side);
    put(&mut scene, &mark);
    let Place { x, y, radius, .. } = place;
    let bounds = [x - radius, y - radius, 2.0 * radius, 2.0 * radius];
    Ok((scene, Truth { bounds, parts: vec![Some([x, y, radius])] }))
}

/// A random square of the photo, as `side * side` RGB bytes.
fn scene(photo: &Frame, side: u32, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let (width, height) = (photo.width() as f32, photo.height() as f32);
    let square = width.min(height) * rng.random_range(0.6..1.0_f32);
    let region = Region {
        x: rng.random_range(0.0..=width - square),
        y: rng.random_range(0.0..=height - square),
        width: square,
        height: square,
    };
    resize(photo, region, side, side).pixels().to_vec()
}

fn place(side: u32, rng: &mut ChaCha8Rng) -> Place {
    let side = side as f32;
    let radius = side * rng.random_range(SIZE) / 2.0;
    let mut between = || rng.random_range(radius..side - radius);
    let (x, y) = (between(), between());
    let angle = rng.random_range(-0.5..0.5_f32);
    let light = rng.random_range(0.7..1.05_f32);
    let hidden =
        rng.random_bool(HIDDEN.0).then(|| (rng.random_range(0.0..TAU), rng.random_range(0.1..HIDDEN.1)));
    Place { x, y, radius, angle, light, hidden }
}

/// The class's mark on a layer of its own.
fn mark(class: usize, place: &Place, side: u32) -> Pixmap {
    let (_, ground, ink, signs) = PAIRS[class / 2];
    let lit = |rgb: Rgb| colour(rgb.map(|value| (f32::from(value) * place.light).min(255.0) as u8), 1.0);
    let map = Transform::from_translate(place.x, place.y)
        .pre_rotate(place.angle.to_degrees())
        .pre_scale(place.radius, place.radius);
    let mut drawn = layer(side);
    fill(&mut drawn, &circle(0.0, 0.0, 1.0), lit(ground), map, None);
    stroke(&mut drawn, &circle(0.0, 0.0, 0.9), lit(ink), 0.08, map, None);
    for path in shapes(signs[class % 2]) {
        fill(&mut drawn, &polygon(&path), lit(ink), map, None);
    }
    if let Some((direction, share)) = place.hidden {
        hide(&mut drawn, place, direction, share);
    }
    drawn
}

/// The polygons of a sign inside the unit circle.
fn shapes(sign: Sign) -> Vec<Vec<(f32, f32)>> {
    let bar = |x0: f32, y0: f32, x1: f32, y1: f32| vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1)];
    match sign {
        Sign::Triangle => vec![vec![(0.0, -0.62), (0.58, 0.42), (-0.58, 0.42)]],
        Sign::Square => vec![bar(-0.46, -0.46, 0.46, 0.46)],
        Sign::Cross => vec![bar(-0.6, -0.18, 0.6, 0.18), bar(-0.18, -0.6, 0.18, 0.6)],
        Sign::Star => {
            let point = |corner: u8| {
                let angle = f32::from(corner) * TAU / 10.0 - TAU / 4.0;
                let reach = if corner.is_multiple_of(2) { 0.68 } else { 0.28 };
                (reach * angle.cos(), reach * angle.sin())
            };
            vec![(0..10).map(point).collect()]
        }
        Sign::Bars => vec![bar(-0.55, -0.5, 0.55, -0.2), bar(-0.55, 0.15, 0.55, 0.45)],
        Sign::Chevron => {
            vec![vec![(-0.6, 0.35), (0.0, -0.55), (0.6, 0.35), (0.35, 0.35), (0.0, -0.12), (-0.35, 0.35)]]
        }
    }
}

/// Takes away what lies furthest in a direction: the photo stands before it.
fn hide(mark: &mut Pixmap, place: &Place, direction: f32, share: f32) {
    let width = mark.width() as usize;
    let (dx, dy) = (direction.cos(), direction.sin());
    let border = place.radius * (1.0 - 2.0 * share);
    for (index, pixel) in mark.pixels_mut().iter_mut().enumerate() {
        let (x, y) = ((index % width) as f32 + 0.5 - place.x, (index / width) as f32 + 0.5 - place.y);
        if x * dx + y * dy > border {
            *pixel = PremultipliedColorU8::TRANSPARENT;
        }
    }
}

/// Draws a layer over the bytes of a picture.
fn put(scene: &mut [u8], mark: &Pixmap) {
    let (pixels, _) = scene.as_chunks_mut::<3>();
    for (pixel, mark) in pixels.iter_mut().zip(mark.pixels()) {
        let left = 255 - u16::from(mark.alpha());
        for (value, over) in pixel.iter_mut().zip([mark.red(), mark.green(), mark.blue()]) {
            *value = (u16::from(*value) * left / 255) as u8 + over;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::{SplitRule, read};

    const SMALL: SynthConfig =
        SynthConfig { classes: 4, per_class_train: 3, per_class_test: 2, side: 96, seed: 5 };

    /// A folder with `count` grey photos, the number of each in its brightness.
    fn photos(count: u8) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for photo in 0..count {
            let below = folder.path().join(format!("class{}", photo % 2));
            fs::create_dir_all(&below).unwrap();
            let grey = image::Rgb([40 + 20 * photo; 3]);
            image::RgbImage::from_pixel(120, 100, grey).save(below.join(format!("{photo}.png"))).unwrap();
        }
        folder
    }

    fn planted(threads: usize, config: &SynthConfig) -> (tempfile::TempDir, Vec<Vec<u8>>) {
        let (photos, out) = (photos(6), tempfile::tempdir().unwrap());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| plant_dataset(photos.path(), out.path(), config)).unwrap();
        let dataset = read(out.path(), &SplitRule::default()).unwrap();
        let all = dataset.train.iter().chain(&dataset.validation).chain(&dataset.test);
        let mut files: Vec<PathBuf> = all.map(|sample| sample.path.clone()).collect();
        files.sort();
        (out, files.iter().map(|file| fs::read(file).unwrap()).collect())
    }

    #[test]
    fn the_same_seed_plants_the_same_pictures_on_any_number_of_threads() {
        let (_, one) = planted(1, &SMALL);
        assert_eq!(one.len(), 4 * 5);
        assert_eq!(one, planted(3, &SMALL).1);
        assert_ne!(one, planted(1, &SynthConfig { seed: 6, ..SMALL }).1);
    }

    #[test]
    fn a_picture_differs_from_its_photo_at_the_mark_alone_and_the_truth_says_where() {
        let (out, _) = planted(2, &SMALL);
        let dataset = read(out.path(), &SplitRule::default()).unwrap();
        let pairs: Vec<_> =
            dataset.field_marks.iter().map(|marks| (marks.classes, marks.parts.clone())).collect();
        assert_eq!(pairs, [([0, 1], vec![0]), ([2, 3], vec![0])]);
        for sample in dataset.train.iter().chain(&dataset.test) {
            let picture = read_picture(&sample.path, &Limits::default()).unwrap();
            let part = sample.marks.as_ref().unwrap().parts[0];
            let radius = part.radius.unwrap();
            assert!((0.10..0.20).contains(&(2.0 * radius / 96.0)), "{radius}");
            let ground = picture.pixels()[0];
            let (pixels, _) = picture.pixels().as_chunks::<3>();
            let (mut inside, mut differing) = (0, 0);
            for (index, pixel) in pixels.iter().enumerate() {
                let (x, y) = ((index % 96) as f32 + 0.5, (index / 96) as f32 + 0.5);
                let distance = (x - part.x).hypot(y - part.y);
                let differs = pixel.iter().any(|value| value.abs_diff(ground) > 24);
                assert!(!differs || distance < radius + 5.0, "{}: {x}, {y}", sample.path.display());
                inside += usize::from(distance < radius - 1.0);
                differing += usize::from(differs && distance < radius - 1.0);
            }
            assert!(2 * differing > inside, "{}: {differing} of {inside}", sample.path.display());
        }
    }

    #[test]
    fn no_photo_is_in_training_and_in_test() {
        let photos = photos(6);
        let [train, test] = scenes(photos.path(), &SMALL).unwrap();
        assert_eq!((train.len(), test.len()), (4, 2));
        assert!(test.iter().all(|photo| !train.contains(photo)));
    }

    #[test]
    fn what_cannot_be_planted_is_refused() {
        let (one, out) = (photos(1), tempfile::tempdir().unwrap());
        let refused = |photos: &Path, config: SynthConfig| {
            plant_dataset(photos, out.path(), &config).unwrap_err().to_string()
        };
        assert!(refused(one.path(), SMALL).contains("1 photos (JPEG or PNG), expected at least 2"));
        assert!(refused(&one.path().join("none"), SMALL).contains("cannot read"));
        let many = photos(4);
        assert!(refused(many.path(), SynthConfig { classes: 14, ..SMALL }).contains("from 2 to 12"));
        fs::write(many.path().join("a.jpg"), "no picture").unwrap();
        let all = SynthConfig { per_class_train: 30, ..SMALL };
        assert!(refused(many.path(), all).contains("a.jpg"));
    }
}
