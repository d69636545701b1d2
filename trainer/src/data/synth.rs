//! Pictures whose field marks are known: drawn birds, and ([`planted`]) marks on photos.
//!
//! All species look alike but for their marks; plumage, build, pose, scale, light, clutter and what covers the bird are
//! random and say nothing. Each species has a nearest look-alike, marked at the same part in another way.
//! The folder written is laid out as CUB-200-2011, with `field_marks.txt` and `parts/part_regions.txt` beside it,
//! so that "did the network look at the mark?" has an answer.

mod bird;
mod head;
mod light;
mod paint;
pub mod planted;
mod pose;
mod scene;
mod species;
mod truth;

use std::path::{Path, PathBuf};
use std::{fs, io};

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tiny_skia::Pixmap;

pub use species::{PLUMAGES, Part, Plumage, SPECIES, Species, field_marks, look_alike};

use crate::random::{Stream, stream};
use bird::{PartPlace, bird, part_places};
use pose::pose;
use species::Rgb;
use truth::{Row, Tables, Truth};

/// Quality of the JPEG files: artefacts stay below the drawn noise.
const JPEG_QUALITY: u8 = 92;

/// A part counts as visible while less than this share of its region is covered.
const HIDDEN_FROM: f32 = 0.5;

/// Height of a bird's body over the usual one.
const PLUMPNESS: std::ops::Range<f32> = 0.92..1.14;

/// How a data set is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynthConfig {
    /// Species, from the first of [`SPECIES`], or planted marks; even, so that each has its look-alike.
    pub classes: usize,
    /// Training pictures a class.
    pub per_class_train: usize,
    /// Test pictures a class.
    pub per_class_test: usize,
    /// Width and height of a picture in pixels.
    pub side: u32,
    /// Decides every picture.
    pub seed: u64,
}

impl Default for SynthConfig {
    fn default() -> SynthConfig {
        SynthConfig { classes: SPECIES.len(), per_class_train: 100, per_class_test: 25, side: 160, seed: 0 }
    }
}

/// Why no data set was drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// An odd number of classes, none, or more than there are.
    #[error("{actual} classes were asked for; choose an even number from 2 to {most}")]
    Classes {
        /// Classes asked for.
        actual: usize,
        /// Classes that there are.
        most: usize,
    },
    /// A side outside the range in which birds are drawn well.
    #[error("pictures of {actual} x {actual} pixels were asked for; choose a side from 64 to 2048")]
    Side {
        /// Side asked for.
        actual: u32,
    },
    /// A class without training pictures.
    #[error("0 training pictures per class were asked for; choose at least 1")]
    NoPictures,
    /// Too few photos to plant marks on.
    #[error("{} has {found} photos (JPEG or PNG), expected at least 2; name a folder with more", path.display())]
    Photos {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// A photo or its folder cannot be read.
    #[error("cannot read {}: {reason}; check that it exists, or repair or remove it", path.display())]
    Read {
        /// File or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something is there already.
    #[error("{} is not empty; name a new folder, or remove this one first", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system could not write.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// File or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The JPEG encoder failed.
    #[error("cannot encode {}: {source}", path.display())]
    Encode {
        /// The file meant.
        path: PathBuf,
        /// The encoder's reason.
        source: image::ImageError,
    },
}

/// One picture to draw.
struct Plan {
    species: usize,
    number: usize,
    train: bool,
}

impl Plan {
    /// Path below `images`, as in `images.txt`.
    fn file(&self) -> String {
        format!("{}/{}_{:04}.jpg", folder(self.species), SPECIES[self.species].name, self.number)
    }
}

/// Draws a data set into the folder `out`, which must be absent or empty. Pictures depend on `config` alone, not
/// on the number of threads.
///
/// # Errors
/// [`SynthError`]: numbers that make no data set, a folder in use, a full disk.
pub fn draw_dataset(out: &Path, config: &SynthConfig) -> Result<(), SynthError> {
    check(out, config, SPECIES.len())?;
    let in_file = |path: &Path| {
        let path = path.to_owned();
        |source| SynthError::Write { path, source }
    };
    let plans = plans(config);
    for class in 0..config.classes {
        let path = out.join("images").join(folder(class));
        fs::create_dir_all(&path).map_err(in_file(&path))?;
    }
    let rows: Result<Vec<Row>, SynthError> = plans
        .par_iter()
        .map(|plan| {
            let (rgb, truth) = picture(plan, config);
            write_picture(&out.join("images").join(plan.file()), &rgb, config.side)?;
            Ok(Row { file: plan.file(), class: plan.species, train: plan.train, truth })
        })
        .collect();
    let of_pair = |class: usize| {
        let marks = field_marks(&SPECIES[class], &SPECIES[look_alike(class)]);
        ([class, look_alike(class)], marks.into_iter().map(|part| part as usize).collect())
    };
    let tables = Tables {
        classes: (0..config.classes).map(folder).collect(),
        parts: Part::ALL.iter().map(|part| part.name()).collect(),
        field_marks: (0..config.classes).step_by(2).map(of_pair).collect(),
        rows: &rows?,
    };
    tables.write(out).map_err(in_file(out))
}

/// A class's folder and name, as CUB writes them.
fn folder(class: usize) -> String {
    format!("{:03}.{}", class + 1, SPECIES[class].name)
}

/// Writes RGB bytes of a square as a JPEG file.
fn write_picture(path: &Path, rgb: &[u8], side: u32) -> Result<(), SynthError> {
    let jpeg = encoded(rgb, side).map_err(|source| SynthError::Encode { path: path.to_owned(), source })?;
    fs::write(path, jpeg).map_err(|source| SynthError::Write { path: path.to_owned(), source })
}

/// `most`: classes that there are.
fn check(out: &Path, config: &SynthConfig, most: usize) -> Result<(), SynthError> {
    if config.classes < 2 || config.classes > most || !config.classes.is_multiple_of(2) {
        return Err(SynthError::Classes { actual: config.classes, most });
    }
    if !(64..=2048).contains(&config.side) {
        return Err(SynthError::Side { actual: config.side });
    }
    if config.per_class_train == 0 {
        return Err(SynthError::NoPictures);
    }
    let is_taken = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    };
    if is_taken { Err(SynthError::Taken { path: out.to_owned() }) } else { Ok(()) }
}

fn plans(config: &SynthConfig) -> Vec<Plan> {
    let per_class = config.per_class_train + config.per_class_test;
    let plan = |species, index| Plan { species, number: index + 1, train: index < config.per_class_train };
    (0..config.classes).flat_map(|species| (0..per_class).map(move |index| plan(species, index))).collect()
}

/// The RGB bytes of a planned picture, and what is known about it.
fn picture(plan: &Plan, config: &SynthConfig) -> (Vec<u8>, Truth) {
    let mut rng =
        stream(Stream::Bird { seed: config.seed, species: plan.species as u64, number: plan.number as u64 });
    let species = &SPECIES[plan.species];
    let plumage = worn(&PLUMAGES[rng.random_range(0..PLUMAGES.len())], &mut rng);
    let pose = pose(config.side, rng.random_range(PLUMPNESS), &mut rng);
    let places = part_places(species, &pose);
    let mut scene = scene::backdrop(&pose, config.side, &mut rng);
    let mut bird = bird(species, &plumage, &pose, config.side, &mut rng);
    light::shade(&mut bird, &pose, &mut rng);
    light::put(&mut scene, &bird);
    let marks = field_marks(species, &SPECIES[look_alike(plan.species)]);
    let cover = cover(&pose, &places, &marks, config.side, &mut rng);
    light::put(&mut scene, &cover);
    let truth = Truth { bounds: bounds(&bird), parts: visible_parts(&places, &cover) };
    (light::exposed(&scene, &mut rng), truth)
}

/// The plumage of one bird: paler or darker, of a warmer or colder hue than others'.
fn worn(plumage: &Plumage, rng: &mut impl Rng) -> Plumage {
    let light = rng.random_range(0.88..1.12_f32);
    let tint = [0; 3].map(|_| light * rng.random_range(0.94..1.06_f32));
    let change = |rgb: Rgb| [0, 1, 2].map(|at| (f32::from(rgb[at]) * tint[at]).min(255.0) as u8);
    Plumage {
        head: change(plumage.head),
        back: change(plumage.back),
        belly: change(plumage.belly),
        wing: change(plumage.wing),
        tail: change(plumage.tail),
        ..*plumage
    }
}

/// Leaves and twigs before the bird that leave enough of a field mark to tell the species by.
fn cover(pose: &pose::Pose, places: &[PartPlace], marks: &[Part], side: u32, rng: &mut ChaCha8Rng) -> Pixmap {
    for _ in 0..8 {
        let cover = scene::foreground(pose, side, rng);
        let of_marks = places.iter().filter(|place| marks.contains(&place.part));
        let hidden = of_marks.map(|region| light::hidden(&cover, region.x, region.y, region.radius));
        if hidden.fold(1.0, f32::min) < 0.3 {
            return cover;
        }
    }
    paint::layer(side)
}

/// x, y, radius of the parts that `cover` leaves visible.
fn visible_parts(places: &[PartPlace], cover: &Pixmap) -> Vec<Option<[f32; 3]>> {
    let mut parts = vec![None; Part::ALL.len()];
    for region in places {
        if light::hidden(cover, region.x, region.y, region.radius) < HIDDEN_FROM {
            parts[region.part as usize] = Some([region.x, region.y, region.radius]);
        }
    }
    parts
}

/// Left, top, width, height of what is drawn on a layer.
fn bounds(layer: &Pixmap) -> [f32; 4] {
    let width = layer.width();
    let (mut low, mut high) = ([u32::MAX; 2], [0; 2]);
    for (index, pixel) in (0..).zip(layer.pixels()) {
        if pixel.alpha() > 127 {
            for (axis, at) in [index % width, index / width].into_iter().enumerate() {
                low[axis] = low[axis].min(at);
                high[axis] = high[axis].max(at + 1);
            }
        }
    }
    [low[0], low[1], high[0].saturating_sub(low[0]), high[1].saturating_sub(low[1])].map(|value| value as f32)
}

fn encoded(rgb: &[u8], side: u32) -> Result<Vec<u8>, image::ImageError> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY).write_image(
        rgb,
        side,
        side,
        ExtendedColorType::Rgb8,
    )?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: SynthConfig =
        SynthConfig { classes: 4, per_class_train: 2, per_class_test: 1, side: 96, seed: 3 };

    fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
        found.sort();
        found
    }

    fn drawn(threads: usize, config: &SynthConfig) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| draw_dataset(folder.path(), config)).unwrap();
        let inside =
            |(path, bytes): (PathBuf, _)| (path.strip_prefix(folder.path()).unwrap().to_owned(), bytes);
        files(folder.path()).into_iter().map(inside).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_files_on_any_number_of_threads() {
        let one = drawn(1, &SMALL);
        assert_eq!(one.len(), 4 * 3 + 9, "pictures and tables");
        assert_eq!(one, drawn(3, &SMALL));
        let other = drawn(1, &SynthConfig { seed: 4, ..SMALL });
        assert!(one.iter().zip(&other).any(|(a, b)| a.1 != b.1));
    }

    #[test]
    fn look_alikes_differ_only_inside_the_regions_of_their_field_marks() {
        for class in (0..SPECIES.len()).step_by(2) {
            for number in 0..8 {
                let [a, b] = [&SPECIES[class], &SPECIES[class + 1]];
                let pose = pose(160, 1.0, &mut stream(Stream::Trial { number }));
                let plumage = &PLUMAGES[number as usize % PLUMAGES.len()];
                let drawn =
                    |species| bird(species, plumage, &pose, 160, &mut stream(Stream::Trial { number: 9 }));
                let [drawn_a, drawn_b] = [a, b].map(drawn);
                let marks = field_marks(a, b);
                let is_inside = |x: f32, y: f32| {
                    let mut of_marks = [a, b].into_iter().flat_map(|species| part_places(species, &pose));
                    of_marks.any(|at| marks.contains(&at.part) && (at.x - x).hypot(at.y - y) <= at.radius)
                };
                let (mut differing, mut inside) = (0, 0);
                for (index, (a, b)) in drawn_a.pixels().iter().zip(drawn_b.pixels()).enumerate() {
                    if a != b {
                        differing += 1;
                        inside +=
                            usize::from(is_inside((index % 160) as f32 + 0.5, (index / 160) as f32 + 0.5));
                    }
                }
                assert!(differing >= 60, "{}: only {differing} pixels tell it from {}", a.name, b.name);
                assert!(inside * 10 >= differing * 9, "{}: {inside} of {differing} inside {marks:?}", a.name);
            }
        }
    }

    #[test]
    fn a_field_mark_is_visible_in_every_picture() {
        for species in 0..SPECIES.len() {
            let marks = field_marks(&SPECIES[species], &SPECIES[look_alike(species)]);
            for number in 1..5 {
                let (_, truth) = picture(&Plan { species, number, train: true }, &SynthConfig::default());
                assert!(marks.iter().any(|&part| truth.parts[part as usize].is_some()), "{species} {number}");
                let [x, y, width, height] = truth.bounds;
                assert!(width > 40.0 && height > 40.0 && x + width <= 160.0 && y + height <= 160.0);
            }
        }
    }

    #[test]
    fn numbers_that_make_no_data_set_and_folders_in_use_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |config: SynthConfig| draw_dataset(folder.path(), &config).unwrap_err().to_string();
        assert!(refused(SynthConfig { classes: 3, ..SMALL }).contains("even number"));
        assert!(refused(SynthConfig { side: 8, ..SMALL }).contains("8 pixels"));
        assert!(refused(SynthConfig { per_class_train: 0, ..SMALL }).contains("training pictures"));
        fs::write(folder.path().join("mine"), "kept").unwrap();
        assert!(refused(SMALL).contains("not empty"));
        assert_eq!(files(folder.path()).len(), 1, "nothing is written into a folder in use");
    }
}
