//! Right and wrong answers: of the test split where `eval` has measured it, else of the validation split.

use super::survey::Outcome;
use crate::run::records::Evaluation;

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
    pub answered: usize,
}

/// Pictures of one class taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistakes {
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
    pub matrix: Vec<Vec<usize>>,
    /// All wrong answers, the most frequent first.
    pub mistakes: Vec<Mistakes>,
}

impl Measured {
    /// From the evaluation of the test split.
    pub fn of_evaluation(evaluation: &Evaluation) -> Measured {
        let matrix = evaluation.confusion_matrix.clone();
        Measured {
            split: Split::Test,
            pictures: evaluation.pictures,
            top1: Some(evaluation.top1),
            top5: Some(evaluation.top5),
            cross_entropy: Some(evaluation.cross_entropy),
            classes: class_figures(&matrix),
            mistakes: mistakes(&matrix),
            matrix,
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
            mistakes: mistakes(&matrix),
            matrix,
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
        for &Mistakes { class, answer, pictures } in &self.mistakes {
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

fn class_figures(matrix: &[Vec<usize>]) -> Vec<ClassFigures> {
    let figures = |(class, row): (usize, &Vec<usize>)| ClassFigures {
        pictures: row.iter().sum(),
        right: row[class],
        answered: matrix.iter().map(|row| row[class]).sum(),
    };
    matrix.iter().enumerate().map(figures).collect()
}

fn mistakes(matrix: &[Vec<usize>]) -> Vec<Mistakes> {
    let mut found = Vec::new();
    for (class, row) in matrix.iter().enumerate() {
        let wrong = row.iter().enumerate().filter(|&(answer, &pictures)| answer != class && pictures > 0);
        found.extend(wrong.map(|(answer, &pictures)| Mistakes { class, answer, pictures }));
    }
    found.sort_by_key(|mistakes| std::cmp::Reverse(mistakes.pictures));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_gives_classes_mistakes_and_pairs() {
        let outcome = |class, answer| Outcome {
            path: "x".into(),
            class,
            answer,
            is_in_top5: true,
            probability: 0.5,
            is_validation: true,
        };
        let matrix = [[3, 2, 0], [1, 4, 0], [0, 1, 5]];
        let of_row = |(class, row): (usize, [usize; 3])| {
            row.into_iter().enumerate().flat_map(move |(answer, count)| vec![outcome(class, answer); count])
        };
        let outcomes: Vec<Outcome> = matrix.into_iter().enumerate().flat_map(of_row).collect();
        let measured = Measured::of_validation(&outcomes, 3);
        assert_eq!(measured.matrix, matrix);
        assert_eq!(measured.pictures, 16);
        assert_eq!(measured.wrong(), 4);
        assert_eq!(measured.classes[1], ClassFigures { pictures: 5, right: 4, answered: 7 });
        assert_eq!(measured.pairs(), [([0, 1], [2, 1]), ([2, 1], [1, 0])]);
    }
}
