//! What `eval` says of where channels have their peaks.

use fieldmark_trainer::run::records::Places;

use super::result;

/// Whether the channels' peaks go by the picture.
pub fn places(places: &Places) {
    result("where channels have their peaks, on pictures answered rightly");
    if let Some(moved) = &places.moved {
        line("move with the picture, when it is moved by one cell of the map", moved.follows, None);
        line("stay where they are then", moved.stays, None);
    }
    line("are where they are on a plain grey picture", places.blank, Some(places.blank_by_chance));
    line("are in a corner of the map", places.corner, Some(places.corner_by_chance));
    if let Some(parked) = places.parked {
        line("channels with the peak in one cell in half of their class's pictures", parked, None);
    }
    if places.dead > 0.0 {
        line("channels without a peak", places.dead, None);
    }
}

fn line(what: &str, share: f64, by_chance: Option<f64>) {
    let by_chance = by_chance.map_or(String::new(), |share| format!("  (by chance {:.1} %)", 100.0 * share));
    result(&format!("  {what:<68} {:>5.1} %{by_chance}", 100.0 * share));
}
