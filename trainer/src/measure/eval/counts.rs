//! Right and wrong answers, class by class.

use std::cmp::Reverse;

use fieldmark::head::top_k;

use crate::measure::answers::Answered;
use crate::run::records::{ClassResult, Confusion};

/// Confused pairs that are listed.
const CONFUSIONS: usize = 20;

/// The normal distribution's point that leaves 2.5 % above it.
const Z: f64 = 1.959_963_984_540_054;

/// The interval that holds the share behind `right` of `pictures` with 95 % confidence (Wilson 1927); all of 0..=1
/// without pictures.
pub fn wilson(right: usize, pictures: usize) -> [f64; 2] {
    if pictures == 0 {
        return [0.0, 1.0];
    }
    let (n, p) = (pictures as f64, right as f64 / pictures as f64);
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    [((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0)]
}

/// How many pictures of each class (row) were given each label (column): `classes x classes`.
pub(super) fn confusion_matrix(answered: &[Answered], classes: usize) -> Vec<Vec<usize>> {
    let mut matrix = vec![vec![0; classes]; classes];
    for Answered { class, logits, .. } in answered {
        matrix[*class][top_k(logits, 1)[0]] += 1;
    }
    matrix
}

/// Right first answers of a confusion matrix.
pub(super) fn right(matrix: &[Vec<usize>]) -> usize {
    (0..matrix.len()).map(|class| matrix[class][class]).sum()
}

/// Each class's result.
pub(super) fn class_results(matrix: &[Vec<usize>], labels: &[String]) -> Vec<ClassResult> {
    let result = |class: usize| {
        let pictures: usize = matrix[class].iter().sum();
        let answered: usize = matrix.iter().map(|row| row[class]).sum();
        let right = matrix[class][class];
        let share = |of: usize| (of > 0).then(|| right as f64 / of as f64);
        ClassResult {
            label: labels[class].clone(),
            pictures,
            right,
            answered,
            precision: share(answered),
            recall: share(pictures),
            recall_interval: (pictures > 0).then(|| wilson(right, pictures)),
        }
    };
    (0..labels.len()).map(result).collect()
}

/// The pairs taken for each other, the most frequent first.
pub(super) fn confusions(matrix: &[Vec<usize>], labels: &[String]) -> Vec<Confusion> {
    let mut confusions = Vec::new();
    for (class, row) in matrix.iter().enumerate() {
        for (answer, &pictures) in row.iter().enumerate() {
            if answer != class && pictures > 0 {
                let (label, answer) = (labels[class].clone(), labels[answer].clone());
                confusions.push(Confusion { label, answer, pictures });
            }
        }
    }
    confusions.sort_by_key(|confusion| Reverse(confusion.pictures));
    confusions.truncate(CONFUSIONS);
    confusions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: [f64; 2], b: [f64; 2]) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 5e-5)
    }

    #[test]
    fn wilson_intervals_are_the_published_ones() {
        // R: prop.test(x, n, correct = FALSE); 81 of 263 is Newcombe's (1998) example.
        for (right, pictures, expected) in [
            (81, 263, [0.2553, 0.3662]),
            (15, 148, [0.0624, 0.1605]),
            (0, 20, [0.0, 0.1611]),
            (1, 29, [0.0061, 0.1718]),
            (20, 20, [0.8389, 1.0]),
            (0, 0, [0.0, 1.0]),
        ] {
            let interval = wilson(right, pictures);
            assert!(close(interval, expected), "{right} of {pictures}: {interval:?}");
        }
    }

    #[test]
    fn precision_is_of_the_answers_and_recall_of_the_pictures() {
        let labels = ["Robin", "Wren", "Tit"].map(String::from);
        let answers = [(0, 0), (0, 0), (0, 1), (0, 1), (1, 1), (1, 0)];
        let answered = answers.map(|(class, answer)| {
            let mut logits = vec![0.0; 3];
            logits[answer] = 1.0;
            Answered { class, logits, evidence: Vec::new(), features: Vec::new() }
        });
        let matrix = confusion_matrix(&answered, 3);
        assert_eq!(matrix, [[2, 2, 0], [1, 1, 0], [0, 0, 0]]);
        assert_eq!(right(&matrix), 3);
        let [robin, wren, tit] = &class_results(&matrix, &labels)[..] else { panic!("three classes") };
        assert_eq!((robin.pictures, robin.answered, robin.right), (4, 3, 2));
        assert_eq!((robin.precision, robin.recall), (Some(2.0 / 3.0), Some(0.5)));
        assert_eq!((wren.precision, wren.recall), (Some(1.0 / 3.0), Some(0.5)));
        assert_eq!((tit.precision, tit.recall, tit.recall_interval), (None, None, None));
        let confusions = confusions(&matrix, &labels);
        let first = Confusion { label: "Robin".into(), answer: "Wren".into(), pictures: 2 };
        assert_eq!((confusions.len(), &confusions[0]), (2, &first));
    }
}
