//! Class-aligned channel groups.
//!
//! A Fieldmark network gives every class its own channels: class `i` owns the contiguous channels
//! `offsets[i]..offsets[i + 1]` of the maps, `xi` of them, and training makes them look at what tells
//! that class apart. A [`Layout`] says which channels belong to which class, and nothing else.

use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Channels that a layout may have at most: 2^20, far above any network, low enough that no number in
/// a file can ask for gigabytes.
pub const MAX_CHANNELS: usize = 1 << 20;

/// Class-aligned channel groups: class `i` owns the channels `offsets[i]..offsets[i + 1]`.
///
/// Invariant: `c + 1` offsets with `c >= 1`, the first 0, strictly increasing (every class has a
/// channel), the last (`N`) at most [`MAX_CHANNELS`]. In JSON a layout is the list of its offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<usize>", into = "Vec<usize>")]
pub struct Layout {
    offsets: Vec<usize>,
}

/// Consecutive classes with equally many channels: the unit in which groups are reshaped to
/// `[classes, xi]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The run's first class.
    pub first_class: usize,
    /// Classes in the run.
    pub classes: usize,
    /// Channels of each class in the run.
    pub xi: usize,
    /// The run's first channel; it ends before `first_channel + classes * xi`.
    pub first_channel: usize,
}

/// Why channels cannot be laid out in groups.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// There is no class.
    #[error("a layout needs at least 1 class, got 0")]
    NoClasses,
    /// A class would own no channel.
    #[error("class {class} has 0 channels; every class needs at least 1")]
    EmptyGroup {
        /// The class without channels.
        class: usize,
    },
    /// Fewer channels than classes.
    #[error(
        "{channels} channels cannot give each of {classes} classes one; widen the last layer to at \
         least {classes} channels"
    )]
    TooFewChannels {
        /// Classes asked for.
        classes: usize,
        /// Channels to give out.
        channels: usize,
    },
    /// More than [`MAX_CHANNELS`] channels, or more than a machine word counts.
    #[error("the layout has more than {MAX_CHANNELS} channels; lower xi or the number of classes")]
    TooManyChannels,
    /// The offsets do not start at channel 0.
    #[error("group offsets start at {actual}, expected 0")]
    FirstOffset {
        /// The first offset.
        actual: usize,
    },
    /// An offset lies before its predecessor.
    #[error("group offsets must increase: class {class} starts at channel {start} and ends at {end}")]
    Decreasing {
        /// The class whose end lies before its start.
        class: usize,
        /// Its first channel.
        start: usize,
        /// The offset that follows.
        end: usize,
    },
}

impl Layout {
    /// `xi` channels for each of `classes` classes; `N = c * xi`.
    ///
    /// # Errors
    /// No class, `xi` of 0, or more than [`MAX_CHANNELS`] channels.
    pub fn uniform(classes: usize, xi: usize) -> Result<Layout, LayoutError> {
        let channels = classes.checked_mul(xi).ok_or(LayoutError::TooManyChannels)?;
        if classes > 0 && xi == 0 {
            return Err(LayoutError::EmptyGroup { class: 0 });
        }
        Layout::allot(classes, channels)
    }

    /// All of `channels` channels given to `classes` classes in two consecutive sizes, the larger
    /// groups last: `lo = floor(N / c)` for the first `c - N mod c` classes, `lo + 1` for the rest.
    /// The paper's split of a backbone's own channels (2048 over 200 classes: 152 x 10 + 48 x 11).
    ///
    /// # Errors
    /// No class, fewer channels than classes, or more than [`MAX_CHANNELS`] channels.
    pub fn allot(classes: usize, channels: usize) -> Result<Layout, LayoutError> {
        if classes == 0 {
            return Err(LayoutError::NoClasses);
        }
        if channels < classes {
            return Err(LayoutError::TooFewChannels { classes, channels });
        }
        if channels > MAX_CHANNELS {
            return Err(LayoutError::TooManyChannels);
        }
        let (low, larger) = (channels / classes, channels % classes);
        let smaller = classes - larger;
        let offsets = (0..=classes).map(|class| class * low + class.saturating_sub(smaller)).collect();
        Ok(Layout { offsets })
    }

    /// The layout with these offsets: `c + 1` values, the first 0, strictly increasing.
    ///
    /// # Errors
    /// No class, a first offset other than 0, offsets that stay or fall, or more than
    /// [`MAX_CHANNELS`] channels.
    pub fn from_offsets(offsets: Vec<usize>) -> Result<Layout, LayoutError> {
        let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
            return Err(LayoutError::NoClasses);
        };
        if offsets.len() == 1 {
            return Err(LayoutError::NoClasses);
        }
        if first != 0 {
            return Err(LayoutError::FirstOffset { actual: first });
        }
        for (class, pair) in offsets.windows(2).enumerate() {
            let (start, end) = (pair[0], pair[1]);
            if start == end {
                return Err(LayoutError::EmptyGroup { class });
            }
            if start > end {
                return Err(LayoutError::Decreasing { class, start, end });
            }
        }
        if last > MAX_CHANNELS {
            return Err(LayoutError::TooManyChannels);
        }
        Ok(Layout { offsets })
    }

    /// The layout in which class `i` owns `sizes[i]` channels.
    ///
    /// # Errors
    /// No class, a size of 0, or more than [`MAX_CHANNELS`] channels.
    pub fn from_sizes(sizes: &[usize]) -> Result<Layout, LayoutError> {
        let mut offsets = Vec::with_capacity(sizes.len() + 1);
        let mut end = 0_usize;
        offsets.push(end);
        for &size in sizes {
            end = end.checked_add(size).ok_or(LayoutError::TooManyChannels)?;
            offsets.push(end);
        }
        Layout::from_offsets(offsets)
    }

    /// Classes, `c`; at least 1.
    pub fn classes(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Channels of all classes together, `N`.
    pub fn channels(&self) -> usize {
        self.offsets[self.classes()]
    }

    /// The channels that `class` owns.
    ///
    /// # Panics
    /// Panics if `class >= self.classes()`.
    pub fn group(&self, class: usize) -> Range<usize> {
        self.offsets[class]..self.offsets[class + 1]
    }

    /// How many channels `class` owns; at least 1.
    ///
    /// # Panics
    /// Panics if `class >= self.classes()`.
    pub fn xi(&self, class: usize) -> usize {
        self.group(class).len()
    }

    /// The `c + 1` group boundaries, from 0 to `N`.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The class that owns `channel`.
    ///
    /// # Panics
    /// Panics if `channel >= self.channels()`.
    pub fn class_of(&self, channel: usize) -> usize {
        assert!(channel < self.channels(), "channel {channel} of {}", self.channels());
        self.offsets.partition_point(|&start| start <= channel) - 1
    }

    /// Maximal runs of consecutive classes with equal `xi`, in channel order: one for
    /// [`Layout::uniform`], at most two for [`Layout::allot`].
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for class in 0..self.classes() {
            let xi = self.xi(class);
            match runs.last_mut() {
                Some(run) if run.xi == xi => run.classes += 1,
                _ => {
                    runs.push(Run { first_class: class, classes: 1, xi, first_channel: self.offsets[class] });
                }
            }
        }
        runs
    }
}

impl TryFrom<Vec<usize>> for Layout {
    type Error = LayoutError;

    fn try_from(offsets: Vec<usize>) -> Result<Layout, LayoutError> {
        Layout::from_offsets(offsets)
    }
}

impl From<Layout> for Vec<usize> {
    fn from(layout: Layout) -> Vec<usize> {
        layout.offsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allot_gives_the_larger_groups_last() {
        // The paper's group tables: (classes, channels, smaller groups, their xi).
        for (classes, channels, smaller, low) in [
            (200, 512, 88, 2),
            (200, 2048, 152, 10),
            (100, 512, 88, 5),
            (100, 2048, 52, 20),
            (102, 512, 100, 5),
            (102, 2048, 94, 20),
            (196, 512, 76, 2),
            (196, 2048, 108, 10),
        ] {
            let layout = Layout::allot(classes, channels).unwrap();
            let expected = [
                Run { first_class: 0, classes: smaller, xi: low, first_channel: 0 },
                Run {
                    first_class: smaller,
                    classes: classes - smaller,
                    xi: low + 1,
                    first_channel: smaller * low,
                },
            ];
            assert_eq!(layout.runs(), expected, "{classes} of {channels}");
            assert_eq!(layout.channels(), channels);
            assert_eq!(layout.classes(), classes);
        }
    }

    #[test]
    fn uniform_is_one_run() {
        let layout = Layout::uniform(200, 3).unwrap();
        assert_eq!(layout.channels(), 600);
        assert_eq!(layout.group(199), 597..600);
        assert_eq!(layout.xi(7), 3);
        assert_eq!(layout.runs().len(), 1);
    }

    #[test]
    fn runs_separate_classes_of_unequal_size() {
        let layout = Layout::from_sizes(&[2, 2, 1, 2]).unwrap();
        let sizes: Vec<_> = layout
            .runs()
            .iter()
            .map(|run| (run.first_class, run.classes, run.xi, run.first_channel))
            .collect();
        assert_eq!(sizes, [(0, 2, 2, 0), (2, 1, 1, 4), (3, 1, 2, 5)]);
    }

    #[test]
    fn class_of_inverts_group() {
        let layout = Layout::from_sizes(&[3, 1, 4, 2]).unwrap();
        for class in 0..layout.classes() {
            for channel in layout.group(class) {
                assert_eq!(layout.class_of(channel), class);
            }
        }
    }

    #[test]
    fn impossible_layouts_are_refused() {
        use LayoutError::{Decreasing, EmptyGroup, FirstOffset, NoClasses, TooFewChannels, TooManyChannels};
        assert_eq!(Layout::uniform(0, 3), Err(NoClasses));
        assert_eq!(Layout::uniform(5, 0), Err(EmptyGroup { class: 0 }));
        assert_eq!(Layout::uniform(usize::MAX, 2), Err(TooManyChannels));
        assert_eq!(Layout::uniform(usize::MAX, 1), Err(TooManyChannels));
        assert_eq!(Layout::allot(0, 5), Err(NoClasses));
        let few = TooFewChannels { classes: 3, channels: 2 };
        assert_eq!(Layout::allot(3, 2), Err(few));
        assert_eq!(Layout::from_sizes(&[]), Err(NoClasses));
        assert_eq!(Layout::from_sizes(&[1, 0]), Err(EmptyGroup { class: 1 }));
        assert_eq!(Layout::from_sizes(&[usize::MAX, 1]), Err(TooManyChannels));
        assert_eq!(Layout::from_offsets(Vec::new()), Err(NoClasses));
        assert_eq!(Layout::from_offsets([0].into()), Err(NoClasses));
        assert_eq!(Layout::from_offsets([1, 2].into()), Err(FirstOffset { actual: 1 }));
        let fall = Decreasing { class: 1, start: 4, end: 3 };
        assert_eq!(Layout::from_offsets([0, 4, 3].into()), Err(fall));
        assert_eq!(Layout::from_offsets([0, MAX_CHANNELS + 1].into()), Err(TooManyChannels));
    }

    #[test]
    fn json_is_the_offsets_and_is_checked() {
        let layout = Layout::from_sizes(&[3, 2]).unwrap();
        let json = serde_json::to_string(&layout).unwrap();
        assert_eq!(json, "[0,3,5]");
        assert_eq!(serde_json::from_str::<Layout>(&json).unwrap(), layout);
        let error = serde_json::from_str::<Layout>("[0,3,3]").unwrap_err();
        assert!(error.to_string().contains("class 1 has 0 channels"));
    }
}
