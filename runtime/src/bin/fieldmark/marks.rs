//! Which part cues are marks: shown with a number, the same in text and on the overlay.

use fieldmark::PartCue;
use fieldmark::engine::LabelledCue;

/// A cue that speaks for the class: it fires somewhere and adds to the logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark<'a> {
    /// 1 for the largest share.
    pub number: usize,
    /// Where it is and what it adds.
    pub cue: &'a PartCue,
    /// Its part of all that speaks for the class, 0..=1.
    pub fraction: f32,
}

/// The marks among a class's cues, largest share first.
pub fn marks(cues: &[LabelledCue]) -> Vec<Mark<'_>> {
    let speaks = |cue: &&PartCue| !cue.dead && cue.share > 0.0;
    let cues: Vec<_> = cues.iter().map(|labelled| &labelled.cue).filter(speaks).collect();
    let total: f32 = cues.iter().map(|cue| cue.share).sum();
    cues.into_iter().zip(1..).map(|(cue, number)| Mark { number, cue, fraction: cue.share / total }).collect()
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
            dead: share == 0.0,
        };
        LabelledCue { label: "Robin".to_string(), cue }
    }

    #[test]
    fn marks_are_numbered_by_share_and_leave_out_what_does_not_speak_for_the_class() {
        let cues =
            [cue(2, 0.0, 0.0, 3.0), cue(0, 9.0, 9.0, 1.0), cue(1, 0.0, 0.0, 0.0), cue(3, 5.0, 5.0, -1.0)];
        let marks = marks(&cues);
        let seen: Vec<_> = marks.iter().map(|mark| (mark.number, mark.cue.channel, mark.fraction)).collect();
        assert_eq!(seen, [(1, 2, 0.75), (2, 0, 0.25)]);
    }
}
