//! Counts where channels have their peaks: see [`Places`].

use candle_core::{D, Tensor};
use fieldmark::layout::Layout;
use ndarray::{Array3, ArrayView2, Axis};

use crate::net::layer::Mode;
use crate::net::network::{Network, Output, maps_of_each};
use crate::run::records::{MovedPeaks, Places};

/// Right answers of a class from which on its channels may be called parked. With fewer, half of the pictures agree by
/// chance.
const ENOUGH: usize = 5;

/// The blank picture, in 0..=255.
const GREY: f32 = 128.0;

/// Row and column of a peak.
type Cell = [usize; 2];

/// What was counted so far.
pub struct PlaceCount {
    layout: Layout,
    /// Of the maps.
    rows: usize,
    columns: usize,
    /// Each channel's peak on the blank picture.
    on_blank: Vec<Option<Cell>>,
    /// How often each channel has its peak in each cell.
    in_cells: Vec<Vec<usize>>,
    /// Right answers of each class.
    pictures: Vec<usize>,
    corner: usize,
    blank: usize,
    moved: Moves,
}

#[derive(Default)]
struct Moves {
    pictures: usize,
    peaks: usize,
    follows: usize,
    stays: usize,
}

impl PlaceCount {
    /// Nothing counted yet, for `network` and inputs of `side`.
    ///
    /// # Errors
    /// candle's.
    pub fn of(network: &Network, side: u32) -> candle_core::Result<PlaceCount> {
        let grey = Tensor::full(GREY, (1, 3, side as usize, side as usize), &network.device())?;
        let maps = maps_of_each(&network.forward(&grey, &mut Mode::Eval)?.maps)?;
        Ok(PlaceCount::new(&network.layout, &maps[0]))
    }

    /// Nothing counted yet. `blank`: maps `N x H x W` of a plain grey picture.
    pub fn new(layout: &Layout, blank: &Array3<f32>) -> PlaceCount {
        let (channels, rows, columns) = blank.dim();
        PlaceCount {
            layout: layout.clone(),
            rows,
            columns,
            on_blank: blank.axis_iter(Axis(0)).map(|map| peak(&map)).collect(),
            in_cells: vec![vec![0; rows * columns]; channels],
            pictures: vec![0; layout.classes()],
            corner: 0,
            blank: 0,
            moved: Moves::default(),
        }
    }

    /// Adds a right answer, `class`, with these maps, `N x H x W`.
    pub fn add(&mut self, class: usize, maps: &Array3<f32>) {
        self.pictures[class] += 1;
        for channel in self.layout.group(class) {
            let Some(cell) = peak(&maps.index_axis(Axis(0), channel)) else { continue };
            self.in_cells[channel][cell[0] * self.columns + cell[1]] += 1;
            self.corner += usize::from(self.is_corner(cell));
            self.blank += usize::from(self.on_blank[channel] == Some(cell));
        }
    }

    /// Adds what a network says of a batch with these labels, `[B]`, u32, where it is right.
    ///
    /// # Errors
    /// candle's.
    pub fn add_right(&mut self, output: &Output, labels: &Tensor) -> candle_core::Result<()> {
        let answers = output.logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
        let each = answers.iter().zip(labels.to_vec1::<u32>()?).zip(maps_of_each(&output.maps)?);
        for ((answer, class), maps) in each {
            if *answer == class {
                self.add(class as usize, &maps);
            }
        }
        Ok(())
    }

    /// Adds what became of a right answer's maps, when its picture was moved `down` and `right` by so many cells.
    pub fn add_moved(&mut self, class: usize, maps: &Array3<f32>, moved: &[([isize; 2], &Array3<f32>)]) {
        self.moved.pictures += 1;
        for channel in self.layout.group(class) {
            let Some(before) = peak(&maps.index_axis(Axis(0), channel)) else { continue };
            for ([down, right], maps) in moved {
                let row = before[0].checked_add_signed(*down).filter(|row| *row < self.rows);
                let column = before[1].checked_add_signed(*right).filter(|column| *column < self.columns);
                let Some((row, column)) = row.zip(column) else { continue };
                let now = peak(&maps.index_axis(Axis(0), channel));
                self.moved.peaks += 1;
                self.moved.follows += usize::from(now == Some([row, column]));
                self.moved.stays += usize::from(now == Some(before));
            }
        }
    }

    fn is_corner(&self, [row, column]: Cell) -> bool {
        [0, self.rows - 1].contains(&row) & [0, self.columns - 1].contains(&column)
    }

    /// The figures; none without a peak.
    pub fn places(&self) -> Option<Places> {
        let peaks: usize = self.in_cells.iter().flatten().sum();
        let share = |part: usize, of: usize| part as f64 / of as f64;
        let cells = self.rows * self.columns;
        let corners = (0..cells).filter(|at| self.is_corner([at / self.columns, at % self.columns])).count();
        let channels: usize =
            self.pictures.iter().enumerate().map(|(class, pictures)| pictures * self.layout.xi(class)).sum();
        let Moves { pictures: moved, peaks: judged, follows, stays } = self.moved;
        (peaks > 0).then(|| Places {
            pictures: self.pictures.iter().sum(),
            peaks,
            dead: share(channels - peaks, channels),
            corner: share(self.corner, peaks),
            corner_by_chance: share(corners, cells),
            blank: share(self.blank, peaks),
            blank_by_chance: 1.0 / cells as f64,
            parked: self.parked(),
            moved: (judged > 0).then(|| MovedPeaks {
                pictures: moved,
                peaks: judged,
                follows: share(follows, judged),
                stays: share(stays, judged),
            }),
        })
    }

    fn parked(&self) -> Option<f64> {
        let (mut parked, mut channels) = (0_usize, 0_usize);
        for (class, &pictures) in self.pictures.iter().enumerate() {
            if pictures < ENOUGH {
                continue;
            }
            for channel in self.layout.group(class) {
                channels += 1;
                parked += usize::from(self.in_cells[channel].iter().any(|count| 2 * count >= pictures));
            }
        }
        (channels > 0).then(|| parked as f64 / channels as f64)
    }
}

/// The first cell with the highest value; none where that is not above 0.
fn peak(map: &ArrayView2<f32>) -> Option<Cell> {
    let mut best = (0.0, None);
    for ((row, column), &value) in map.indexed_iter() {
        if value > best.0 {
            best = (value, Some([row, column]));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    /// Maps of 4 x 4 cells with one peak a channel.
    fn maps(peaks: &[Option<Cell>]) -> Array3<f32> {
        let mut maps = Array3::zeros((peaks.len(), 4, 4));
        for (channel, cell) in peaks.iter().enumerate() {
            if let Some([row, column]) = cell {
                maps[[channel, *row, *column]] = 2.0;
            }
        }
        maps
    }

    #[test]
    fn peaks_are_counted_by_their_cells() {
        let layout = Layout::uniform(2, 2).unwrap();
        let blank = maps(&[Some([0, 0]), Some([1, 1]), None, Some([3, 3])]);
        let mut count = PlaceCount::new(&layout, &blank);
        assert_eq!(count.places(), None);
        // Channel 0 is parked in a corner, where it is on grey, too; channel 1 goes by the picture.
        for at in 0..5 {
            count.add(0, &maps(&[Some([0, 0]), Some([at % 3, 2]), Some([1, 1]), None]));
        }
        // Too few pictures to call a channel parked; channel 3 is dead in both.
        for _ in 0..2 {
            count.add(1, &maps(&[None, None, Some([2, 1]), None]));
        }
        let places = count.places().unwrap();
        assert_eq!((places.pictures, places.peaks), (7, 12));
        assert_eq!(
            (places.dead, places.corner_by_chance, places.blank_by_chance),
            (2.0 / 14.0, 0.25, 0.0625)
        );
        assert_eq!((places.corner, places.blank), (5.0 / 12.0, 5.0 / 12.0));
        assert_eq!((places.parked, places.moved), (Some(0.5), None));
    }

    #[test]
    fn moved_peaks_follow_or_stay_or_are_not_judged() {
        let layout = Layout::uniform(1, 3).unwrap();
        let still = maps(&[Some([1, 1]), Some([1, 1]), Some([1, 3])]);
        let mut count = PlaceCount::new(&layout, &still);
        count.add(0, &still);
        let right = maps(&[Some([1, 2]), Some([1, 1]), Some([1, 3])]);
        let up = maps(&[Some([0, 1]), Some([3, 3]), Some([0, 3])]);
        count.add_moved(0, &still, &[([0, 1], &right), ([-1, 0], &up)]);
        let moved = count.places().unwrap().moved.unwrap();
        // The third channel's peak leaves to the right: 5 of 6 are judged.
        assert_eq!((moved.pictures, moved.peaks), (1, 5));
        assert_eq!((moved.follows, moved.stays), (3.0 / 5.0, 1.0 / 5.0));
    }
}
