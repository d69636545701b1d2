//! Which epoch is the best by the validation split, and when no better one is waited for.

use crate::run::checkpoint::Progress;
use crate::run::metrics::Best;

/// Takes note of the epoch that has ended, measured on so many validation `pictures`; whether it is the best so far.
pub(super) fn choose(progress: &mut Progress, last: Best, pictures: usize) -> bool {
    let highest = progress.highest.filter(|highest| !is_better(last, *highest)).unwrap_or(last);
    let is_best = is_as_good(last, highest, pictures);
    (progress.last, progress.highest) = (Some(last), Some(highest));
    if is_best {
        progress.best = Some(last);
    }
    is_best
}

/// More right answers, or as many with a lower cross-entropy.
fn is_better(new: Best, old: Best) -> bool {
    (new.accuracy, -new.cross_entropy) > (old.accuracy, -old.cross_entropy)
}

/// Whether `new` is at most one standard error, or one picture, below `highest`, both measured on so many `pictures`.
///
/// Of epochs that so few pictures cannot tell apart, the highest is so by chance, and the later one has learnt more, usually
/// at a lower rate: the rule of one standard error (Breiman et al. 1984).
fn is_as_good(new: Best, highest: Best, pictures: usize) -> bool {
    let (share, pictures) = (highest.accuracy, pictures as f64);
    let error = (pictures * share * (1.0 - share)).sqrt().max(1.0);
    // Counts come out of shares with an error of their own.
    (highest.accuracy - new.accuracy) * pictures < error + 1e-6
}

/// Whether `patience` epochs went by without a higher accuracy.
pub(super) fn is_stale(progress: &Progress, patience: Option<usize>) -> bool {
    match (progress.highest, patience) {
        (Some(highest), Some(patience)) => progress.epoch > highest.epoch + patience,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_is_more_right_answers_then_less_cross_entropy() {
        let best = |accuracy, cross_entropy| Best { epoch: 0, accuracy, cross_entropy };
        assert!(is_better(best(0.9, 1.0), best(0.8, 0.1)));
        assert!(is_better(best(0.9, 0.5), best(0.9, 0.6)));
        assert!(!is_better(best(0.9, 0.5), best(0.9, 0.5)));
    }

    #[test]
    fn epochs_are_equals_within_one_standard_error() {
        let best = |accuracy| Best { epoch: 0, accuracy, cross_entropy: 1.0 };
        // Of 90 right answers in 100: 3.
        assert!(is_as_good(best(0.87), best(0.9), 100) && !is_as_good(best(0.86), best(0.9), 100));
        // 400 of 400, then one and two fewer.
        assert!(is_as_good(best(399.0 / 400.0), best(1.0), 400));
        assert!(!is_as_good(best(398.0 / 400.0), best(1.0), 400));
    }
}
