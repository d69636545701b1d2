//! What speaks against relying on a model, by its own figures.

use std::fmt;

use crate::run::records::Evaluation;

/// Pictures from which on a validation split can choose: its accuracy is then known to about ten points.
const ENOUGH: usize = 30;

/// Width of the accuracy's interval from which on one figure says little.
const WIDE: f64 = 0.2;

/// Classes that are named.
const NAMED: usize = 5;

/// One thing that speaks against relying on a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Doubt {
    /// Naming the most frequent class every time might do as well.
    NoBetter {
        /// That class.
        label: String,
        /// Its share of the test pictures, 0..=1.
        share: f64,
        /// Where the accuracy is with 95 % confidence.
        interval: [f64; 2],
    },
    /// The accuracy may be far from the figure.
    Uncertain {
        /// Test pictures.
        pictures: usize,
        /// Where the accuracy is with 95 % confidence.
        interval: [f64; 2],
    },
    /// Classes that the test split has and no answer ever names.
    NeverNamed {
        /// Their labels.
        labels: Vec<String>,
    },
    /// Few pictures chose the epoch, the temperature and the threshold.
    FewValidation {
        /// Validation pictures.
        pictures: usize,
    },
}

/// What speaks against relying on what was measured, the gravest first; `validation`: pictures of that split.
pub fn doubts(evaluation: &Evaluation, validation: usize) -> Vec<Doubt> {
    let Evaluation { pictures, top1_interval: interval, classes, .. } = evaluation;
    let most = classes.iter().rev().max_by_key(|class| class.pictures);
    let share = |count: usize| count as f64 / (*pictures).max(1) as f64;
    let no_better = most.filter(|most| interval[0] <= share(most.pictures)).map(|most| Doubt::NoBetter {
        label: most.label.clone(),
        share: share(most.pictures),
        interval: *interval,
    });
    let never = classes.iter().filter(|class| class.pictures > 0 && class.answered == 0);
    let labels: Vec<String> = never.map(|class| class.label.clone()).collect();
    let uncertain = Doubt::Uncertain { pictures: *pictures, interval: *interval };
    [
        no_better,
        (interval[1] - interval[0] > WIDE).then_some(uncertain),
        (!labels.is_empty()).then_some(Doubt::NeverNamed { labels }),
        few_validation(validation),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether a validation split of so many `pictures` is too small to choose by.
pub fn few_validation(pictures: usize) -> Option<Doubt> {
    (pictures < ENOUGH).then_some(Doubt::FewValidation { pictures })
}

impl Doubt {
    /// Whether the model is of no use: it may as well be left out. The others ask for more pictures or a second look.
    pub fn is_grave(&self) -> bool {
        matches!(self, Doubt::NoBetter { .. })
    }

    /// Whether it is the accuracy that is doubted.
    pub fn is_of_the_accuracy(&self) -> bool {
        matches!(self, Doubt::NoBetter { .. } | Doubt::Uncertain { .. })
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let between = |[low, high]: [f64; 2]| format!("{} to {}", percent(low), percent(high));
        match self {
            Doubt::NoBetter { label, share, interval } => write!(
                f,
                "the model may be no better than always answering {label}, which is right on {} of these pictures: its \
                 accuracy is {} with 95 % confidence",
                percent(*share),
                between(*interval)
            ),
            Doubt::Uncertain { pictures, interval } => write!(
                f,
                "{pictures} test pictures say little: the accuracy is {} with 95 % confidence; a hundred or more say more",
                between(*interval)
            ),
            Doubt::NeverNamed { labels } => {
                let more = if labels.len() > NAMED { ", ..." } else { "" };
                let named = labels.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
                write!(f, "no answer ever names {named}{more}")
            }
            Doubt::FewValidation { pictures } => write!(
                f,
                "{pictures} validation pictures chose the epoch, the temperature and the threshold: {ENOUGH} or more choose better"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::eval::wilson;
    use crate::run::records::ClassResult;

    /// Figures of two classes: pictures of each, right answers, and answers that name each.
    fn evaluation(pictures: [usize; 2], right: usize, answered: [usize; 2]) -> Evaluation {
        let record = include_str!("../run/records/tests/eval.json");
        let mut evaluation: Evaluation = serde_json::from_str(record).unwrap();
        evaluation.pictures = pictures.iter().sum();
        evaluation.top1_interval = wilson(right, evaluation.pictures);
        for (class, (pictures, answered)) in
            evaluation.classes.iter_mut().zip(pictures.into_iter().zip(answered))
        {
            let ClassResult { label, .. } = class.clone();
            *class = ClassResult {
                label,
                pictures,
                right: 0,
                answered,
                precision: None,
                recall: None,
                recall_interval: None,
            };
        }
        evaluation
    }

    #[test]
    fn a_model_is_doubted_where_its_figures_say_so() {
        let good = evaluation([100, 100], 190, [100, 100]);
        assert_eq!(doubts(&good, 30), []);
        assert_eq!(doubts(&good, 29), [Doubt::FewValidation { pictures: 29 }]);
        // 9 of 10 right where 9 of 10 are of one class, and the other is never named.
        let blind = evaluation([180, 20], 180, [200, 0]);
        let found = doubts(&blind, 100);
        let label = |at: usize| blind.classes[at].label.clone();
        let expected = [
            Doubt::NoBetter { label: label(0), share: 0.9, interval: wilson(180, 200) },
            Doubt::NeverNamed { labels: vec![label(1)] },
        ];
        assert_eq!(found, expected);
        assert!(found[0].to_string().contains("right on 90.0 % of these pictures"), "{}", found[0]);
        // 11 of 12 right: 64.6 to 98.5 %.
        let few = evaluation([6, 6], 11, [6, 6]);
        assert_eq!(doubts(&few, 100), [Doubt::Uncertain { pictures: 12, interval: wilson(11, 12) }]);
    }
}
