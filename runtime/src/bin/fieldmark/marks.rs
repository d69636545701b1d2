//! Which part cues are marks, and which of them a person is shown: in text and on the overlay the same, by the same number.

use fieldmark::PartCue;
use fieldmark::engine::LabelledCue;

/// A cue that speaks for the class from one place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark<'a> {
    /// Where it is, what it adds, and its number.
    pub cue: &'a PartCue,
    /// Its part of all that speaks for the class, 0..=1.
    pub fraction: f32,
}

/// Cues that are not shown one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rest {
    /// How many.
    pub count: usize,
    /// Their shares together.
    pub share: f32,
}

/// What a class's cues come to for a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Marks<'a> {
    /// The strongest marks, largest share first.
    pub shown: Vec<Mark<'a>>,
    /// The marks after those.
    pub weaker: Rest,
    /// Cues that speak for the class, but from no one place.
    pub spread: Rest,
}

impl<'a> Marks<'a> {
    /// Of a class's cues, largest share first, at most `most` are shown.
    pub fn of(cues: &'a [LabelledCue], most: usize) -> Marks<'a> {
        let speaking = || cues.iter().map(|labelled| &labelled.cue).filter(|cue| cue.speaks());
        let total: f32 = speaking().map(|cue| cue.share).sum();
        let marks = || speaking().filter(|cue| cue.is_mark());
        let mark = |cue| Mark { cue, fraction: cue.share / total };
        Marks {
            shown: marks().take(most).map(mark).collect(),
            weaker: Rest::of(marks().skip(most)),
            spread: Rest::of(speaking().filter(|cue| cue.spread)),
        }
    }
}

impl Rest {
    fn of<'a>(cues: impl Iterator<Item = &'a PartCue>) -> Rest {
        cues.fold(Rest::default(), |Rest { count, share }, cue| Rest {
            count: count + 1,
            share: share + cue.share,
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A cue at `x`, `y` in a box of 20 pixels, with this share; dead if 0.
    pub fn cue(channel: usize, x: f32, y: f32, share: f32) -> LabelledCue {
        let cue = PartCue {
            part: channel,
            channel,
            merged: Vec::new(),
            x,
            y,
            bounds: [x - 10.0, y - 10.0, x + 10.0, y + 10.0],
            strength: share.abs(),
            share,
            spread: false,
            dead: share == 0.0,
        };
        LabelledCue { label: "Robin".to_string(), mark: cue.is_mark().then(|| cue.number()), cue }
    }

    #[test]
    fn marks_speak_for_the_class_from_one_place_and_the_strongest_are_shown() {
        let mut flat = cue(4, 0.0, 0.0, 2.0);
        flat.cue.spread = true;
        let cues = [
            cue(2, 0.0, 0.0, 5.0),
            flat,
            cue(0, 9.0, 9.0, 2.0),
            cue(5, 1.0, 9.0, 1.0),
            cue(1, 0.0, 0.0, 0.0),
            cue(3, 5.0, 5.0, -1.0),
        ];
        let marks = Marks::of(&cues, 2);
        let seen: Vec<_> = marks.shown.iter().map(|mark| (mark.cue.number(), mark.fraction)).collect();
        assert_eq!(seen, [(3, 0.5), (1, 0.2)]);
        assert_eq!(marks.weaker, Rest { count: 1, share: 1.0 });
        assert_eq!(marks.spread, Rest { count: 1, share: 2.0 });
        assert_eq!(Marks::of(&[], 3).shown, []);
    }
}
