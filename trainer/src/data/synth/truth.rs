//! Ground truth as CUB-200-2011 lays it out, and two tables more: which parts tell look-alikes apart, and how
//! large each part is.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use fieldmark::file::write_whole;

/// What is known about one picture.
pub struct Truth {
    /// Left, top, width, height of the object, covered or not, pixels.
    pub bounds: [f32; 4],
    /// x, y, radius of each part in pixels; none where it is covered.
    pub parts: Vec<Option<[f32; 3]>>,
}

/// One picture.
pub struct Row {
    /// Path below `images`, as in `images.txt`.
    pub file: String,
    /// Its class, from 0.
    pub class: usize,
    /// It is trained on.
    pub train: bool,
    /// What is known about it.
    pub truth: Truth,
}

/// A data set's tables.
pub struct Tables<'a> {
    /// Each class's folder and name, as CUB writes them: `001.Amber_crowned_Warbler`.
    pub classes: Vec<String>,
    /// Names of the parts.
    pub parts: Vec<&'a str>,
    /// Look-alikes, and the parts in which they differ, from 0.
    pub field_marks: Vec<([usize; 2], Vec<usize>)>,
    /// Pictures in their order.
    pub rows: &'a [Row],
}

impl Tables<'_> {
    /// Writes every table of the data set under `out`. Ids count from 1.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write(&self, out: &Path) -> io::Result<()> {
        std::fs::create_dir_all(out.join("parts"))?;
        let table = |file: &str, lines: String| write_whole(&out.join(file), lines.as_bytes());
        table("images.txt", self.row_lines(|row| row.file.clone()))?;
        table("image_class_labels.txt", self.row_lines(|row| (row.class + 1).to_string()))?;
        table("train_test_split.txt", self.row_lines(|row| u8::from(row.train).to_string()))?;
        table("classes.txt", numbered(self.classes.iter()))?;
        table(
            "bounding_boxes.txt",
            self.row_lines(|row| {
                let [x, y, width, height] = row.truth.bounds;
                format!("{x:.1} {y:.1} {width:.1} {height:.1}")
            }),
        )?;
        table("parts/parts.txt", numbered(self.parts.iter()))?;
        table("parts/part_locs.txt", self.part_locations())?;
        table("parts/part_regions.txt", self.part_regions())?;
        table("field_marks.txt", self.field_mark_lines())
    }

    fn row_lines(&self, describe: impl Fn(&Row) -> String) -> String {
        numbered(self.rows.iter().map(describe))
    }

    /// `image part x y visible`; a covered part is `0.0 0.0 0`, as in CUB.
    fn part_locations(&self) -> String {
        self.part_lines(|place| match place {
            Some([x, y, _]) => format!("{x:.1} {y:.1} 1"),
            None => "0.0 0.0 0".to_owned(),
        })
    }

    /// `image part radius`, in pixels; 0 where the part is covered.
    fn part_regions(&self) -> String {
        self.part_lines(|place| format!("{:.1}", place.map_or(0.0, |[_, _, radius]| radius)))
    }

    fn part_lines(&self, describe: impl Fn(Option<[f32; 3]>) -> String) -> String {
        let mut text = String::new();
        for (image, row) in self.rows.iter().enumerate() {
            for (part, &place) in row.truth.parts.iter().enumerate() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{} {} {}", image + 1, part + 1, describe(place));
            }
        }
        text
    }

    /// `class class part...`.
    fn field_mark_lines(&self) -> String {
        let line = |([first, second], parts): &([usize; 2], Vec<usize>)| {
            let ids: Vec<String> = parts.iter().map(|part| (part + 1).to_string()).collect();
            format!("{} {} {}\n", first + 1, second + 1, ids.join(" "))
        };
        self.field_marks.iter().map(line).collect()
    }
}

/// A line an item, after its number.
fn numbered(items: impl Iterator<Item = impl std::fmt::Display>) -> String {
    (1..).zip(items).fold(String::new(), |mut text, (id, item)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{id} {item}");
        text
    })
}
