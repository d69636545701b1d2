//! A data set without some of its classes, as runs that are to meet strangers need it.

use super::{Dataset, FieldMarks, Found, Sample, hash};

impl Dataset {
    /// What is left without `classes`: labels, splits and hash are those of the folder with these classes' pictures
    /// taken out of each split.
    #[must_use]
    pub fn without(&self, classes: &[usize]) -> Dataset {
        let mut kept = 0;
        let mut renumber = |class: usize| {
            let is_kept = !classes.contains(&class);
            kept += usize::from(is_kept);
            is_kept.then(|| kept - 1)
        };
        let numbers: Vec<Option<usize>> = (0..self.labels.len()).map(&mut renumber).collect();
        let samples = |samples: &[Sample]| -> Vec<Sample> {
            let left = |sample: &Sample| Some(Sample { class: numbers[sample.class]?, ..sample.clone() });
            samples.iter().filter_map(left).collect()
        };
        let pair = |FieldMarks { classes: [a, b], parts }: &FieldMarks| {
            Some(FieldMarks { classes: [numbers[*a]?, numbers[*b]?], parts: parts.clone() })
        };
        let labels = self.labels.iter().zip(&numbers).filter(|(_, number)| number.is_some());
        let found = Found {
            labels: labels.map(|(label, _)| label.clone()).collect(),
            parts: self.parts.clone(),
            field_marks: self.field_marks.iter().filter_map(pair).collect(),
            train: samples(&self.train),
            validation: Some(samples(&self.validation)),
            test: Some(samples(&self.test)),
            skipped: self.skipped.clone(),
        };
        let hash = hash(&self.root, &found);
        Dataset {
            root: self.root.clone(),
            source: self.source.clone(),
            labels: found.labels,
            parts: found.parts,
            field_marks: found.field_marks,
            train: found.train,
            validation: found.validation.unwrap_or_default(),
            test: found.test.unwrap_or_default(),
            skipped: found.skipped,
            hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SplitRule, read};
    use super::*;

    fn picture(path: &std::path::Path, shade: u8) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(8, 8, image::Rgb([shade; 3])).save(path).unwrap();
    }

    #[test]
    fn it_is_the_folder_read_without_the_classes() {
        let folder = tempfile::tempdir().unwrap();
        for (split, count) in [("train", 3), ("val", 2), ("test", 1)] {
            for (class, shade) in [("a", 1), ("b", 90), ("c", 200), ("d", 255)] {
                for index in 0..count {
                    let name = format!("{split}/{class}/{index}.png");
                    picture(&folder.path().join(name), shade);
                }
            }
        }
        let mut all = read(folder.path(), &SplitRule::default()).unwrap();
        assert_eq!(all.without(&[]), all);
        let pair = |classes| FieldMarks { classes, parts: vec![1] };
        all.field_marks = vec![pair([0, 1]), pair([3, 2])];
        let left = all.without(&[1]);
        assert_eq!(left.field_marks, [pair([2, 1])]);
        for split in ["train", "val", "test"] {
            std::fs::remove_dir_all(folder.path().join(split).join("b")).unwrap();
        }
        let read = read(folder.path(), &SplitRule::default()).unwrap();
        assert_ne!(left.hash, all.hash);
        assert_eq!(left, Dataset { field_marks: left.field_marks.clone(), ..read });
    }
}
