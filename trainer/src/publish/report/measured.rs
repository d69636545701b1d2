//! Right and wrong answers: of the test split where `eval` has measured it, else of the validation split.

use super::record::Record;
use super::survey::Outcome;

/// Pairs that are told apart; a class seldom mistaken is in none.
const PAIRS: usize = 50;

/// Where the figures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Never looked at before.
    Test,
    /// The best epoch was chosen by it, so its figures are a little too good.
    Validation,
}

impl Split {
    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Split::Test => "test",
            Split::Validation => "validation",
        }
    }
}

/// One class's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassFigures {
    /// Its pictures.
    pub pictures: usize,
    /// Of them answered rightly.
    pub right: usize,
    /// Pictures that were given its label.
    pub answered: Option<usize>,
}

/// Pictures of one class taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// What they show.
    pub class: usize,
    /// What was answered.
    pub answer: usize,
    /// How many.
    pub pictures: usize,
}

/// Right and wrong answers of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Which.
    pub split: Split,
    /// Its pictures.
    pub pictures: usize,
    /// Share of right first answers; `None` without pictures.
    pub top1: Option<f64>,
    /// Share of pictures whose class is among the first five answers.
    pub top5: Option<f64>,
    /// Mean cross-entropy.
    pub cross_entropy: Option<f64>,
    /// One a class.
    pub classes: Vec<ClassFigures>,
    /// Rows: what a picture shows; columns: what was answered.
    pub matrix: Option<Vec<Vec<usize>>>,
    /// The most frequent first; all of them if there is a matrix.
    pub confusions: Vec<Confusion>,
}

impl Measured {
    /// From the record of `eval`; parts of it that do not fit the labels are left out.
    pub fn of_record(record: &Record, labels: &[String]) -> Measured {
        let class_of = |label: &str| labels.iter().position(|known| known == label);
        let matrix = record.matrix.clone().filter(|rows| is_square(rows, labels.len()));
        let mut classes = match &matrix {
            Some(matrix) => class_figures(matrix),
            None => vec![ClassFigures::default(); labels.len()],
        };
        for class in record.classes.iter().flatten() {
            if let (Some(index), None) = (class_of(&class.label), &matrix) {
                let (pictures, right) = (class.pictures, class.right.min(class.pictures));
                classes[index] = ClassFigures { pictures, right, answered: class.answered };
            }
        }
        let listed = record.confusions.iter().flatten().filter_map(|confusion| {
            let (class, answer) = (class_of(&confusion.label)?, class_of(&confusion.answer)?);
            (class != answer).then_some(Confusion { class, answer, pictures: confusion.pictures })
        });
        let confusions = matrix.as_deref().map_or_else(|| listed.collect(), confusions);
        let summed: usize = classes.iter().map(|class| class.pictures).sum();
        Measured {
            split: Split::Test,
            pictures: record.pictures.unwrap_or(summed),
            top1: record.top1,
            top5: record.top5,
            cross_entropy: record.cross_entropy,
            classes,
            matrix,
            confusions,
        }
    }

    /// From the answers to the pictures of the validation split.
    pub fn of_validation<'a>(answers: impl IntoIterator<Item = &'a Outcome>, classes: usize) -> Measured {
        let mut matrix = vec![vec![0; classes]; classes];
        let (mut pictures, mut right, mut in_top5, mut cross_entropy) = (0_usize, 0_usize, 0_usize, 0.0);
        for answer in answers {
            matrix[answer.class][answer.answer] += 1;
            pictures += 1;
            right += usize::from(answer.class == answer.answer);
            in_top5 += usize::from(answer.is_in_top5);
            cross_entropy -= f64::from(answer.probability).max(f64::from(f32::MIN_POSITIVE)).ln();
        }
        let mean = |sum: f64| (pictures > 0).then(|| sum / pictures as f64);
        Measured {
            split: Split::Validation,
            pictures,
            top1: mean(right as f64),
            top5: mean(in_top5 as f64),
            cross_entropy: mean(cross_entropy),
            classes: class_figures(&matrix),
            confusions: confusions(&matrix),
            matrix: Some(matrix),
        }
    }

    /// Wrong answers altogether.
    pub fn wrong(&self) -> usize {
        let right = self.top1.map_or(0.0, |top1| top1 * self.pictures as f64).round() as usize;
        self.pictures.saturating_sub(right)
    }

    /// Classes that are confused with each other, both directions together, the most often confused first: the two
    /// classes, pictures of the first taken for the second, and of the second taken for the first.
    pub fn pairs(&self) -> Vec<([usize; 2], [usize; 2])> {
        let mut pairs: Vec<([usize; 2], [usize; 2])> = Vec::new();
        for &Confusion { class, answer, pictures } in &self.confusions {
            if let Some((_, taken)) = pairs.iter_mut().find(|(classes, _)| *classes == [answer, class]) {
                taken[1] = pictures;
            } else if pairs.len() < PAIRS {
                pairs.push(([class, answer], [pictures, 0]));
            }
        }
        pairs.sort_by_key(|(_, taken)| std::cmp::Reverse(taken[0] + taken[1]));
        pairs
    }
}

fn is_square(rows: &[Vec<usize>], side: usize) -> bool {
    rows.len() == side && rows.iter().all(|row| row.len() == side)
}

fn class_figures(matrix: &[Vec<usize>]) -> Vec<ClassFigures> {
    let figures = |(class, row): (usize, &Vec<usize>)| ClassFigures {
        pictures: row.iter().sum(),
        right: row[class],
        answered: Some(matrix.iter().map(|row| row[class]).sum()),
    };
    matrix.iter().enumerate().map(figures).collect()
}

fn confusions(matrix: &[Vec<usize>]) -> Vec<Confusion> {
    let mut found = Vec::new();
    for (class, row) in matrix.iter().enumerate() {
        let wrong = row.iter().enumerate().filter(|&(answer, &pictures)| answer != class && pictures > 0);
        found.extend(wrong.map(|(answer, &pictures)| Confusion { class, answer, pictures }));
    }
    found.sort_by_key(|confusion| std::cmp::Reverse(confusion.pictures));
    found
}

#[cfg(test)]
mod tests {
    use super::super::record::{ClassRecord, ConfusionRecord};
    use super::*;

    fn labels() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    #[test]
    fn a_matrix_gives_classes_confusions_and_pairs() {
        let record = Record {
            matrix: Some(vec![vec![3, 2, 0], vec![1, 4, 0], vec![0, 1, 5]]),
            top1: Some(0.75),
            ..Record::default()
        };
        let measured = Measured::of_record(&record, &labels());
        assert_eq!(measured.pictures, 16);
        assert_eq!(measured.wrong(), 4);
        assert_eq!(measured.classes[1], ClassFigures { pictures: 5, right: 4, answered: Some(7) });
        assert_eq!(measured.pairs(), [([0, 1], [2, 1]), ([2, 1], [1, 0])]);
    }

    #[test]
    fn an_older_record_without_matrix_still_gives_classes_and_pairs() {
        let class = ClassRecord { label: "b".into(), pictures: 9, right: 6, answered: None };
        let confusion = |label: &str, answer: &str| ConfusionRecord {
            label: label.into(),
            answer: answer.into(),
            pictures: 3,
        };
        let record = Record {
            matrix: Some(vec![vec![1]]),
            classes: Some(vec![class]),
            confusions: Some(vec![confusion("b", "c"), confusion("b", "no such class")]),
            ..Record::default()
        };
        let measured = Measured::of_record(&record, &labels());
        assert!(measured.matrix.is_none(), "of another size than the labels");
        assert_eq!(measured.classes[1], ClassFigures { pictures: 9, right: 6, answered: None });
        assert_eq!(measured.confusions, [Confusion { class: 1, answer: 2, pictures: 3 }]);
    }
}
