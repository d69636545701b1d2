//! The figures as a table for a terminal.

use std::fmt::Write as _;

use crate::run::records::{Background, Coverings, CueRates, Distance, Faithfulness, Moved, Rates, Stability};

/// A few lines for each measure, percentages but for logits.
pub fn table(figures: &Faithfulness) -> String {
    let mut text = format!(
        "faithfulness of cues, on the {} right answers among {} test pictures\n",
        figures.right, figures.pictures
    );
    // Writing to a String cannot fail.
    let _ = figures.pointing.as_ref().map(|rates| pointing(&mut text, rates));
    let _ = figures.coverings.as_ref().map(|coverings| covered(&mut text, coverings));
    let _ = figures.background.as_ref().map(|shares| background(&mut text, shares));
    let _ = figures.stability.as_ref().map(|figures| stability(&mut text, figures));
    text
}

/// A line of cells: its name, then one a column.
fn line(text: &mut String, name: &str, cells: &[String]) -> std::fmt::Result {
    write!(text, "  {name:<40}")?;
    cells.iter().try_for_each(|cell| write!(text, " {cell:>10}"))?;
    writeln!(text)
}

fn head(text: &mut String, name: &str, columns: &[&str]) -> std::fmt::Result {
    write!(text, "{name:<42}")?;
    columns.iter().try_for_each(|column| write!(text, " {column:>10}"))?;
    writeln!(text)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn pointing(text: &mut String, rates: &CueRates) -> std::fmt::Result {
    head(text, "points", &["cue", "Grad-CAM", "random", "centre", "pictures"])?;
    for (name, rates) in [
        ("on the one mark that tells look-alikes", &rates.one_mark),
        ("on a mark that tells look-alikes", &rates.marks),
        ("on a part", &rates.parts),
        ("in the object's box", &rates.object),
    ] {
        let Some(Rates { pictures, strongest_cue, grad_cam, random_point, centre, .. }) = rates else {
            continue;
        };
        let shares = [*strongest_cue, grad_cam.unwrap_or(0.0), *random_point, *centre].map(percent);
        line(text, name, &[&shares[..], &[pictures.to_string()]].concat())?;
    }
    Ok(())
}

fn covered(text: &mut String, coverings: &Coverings) -> std::fmt::Result {
    let columns = ["cue", "Grad-CAM", "random", "cue/random"];
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1} x"));
    head(text, "a covered square's drop of the logit", &columns)?;
    for square in &coverings.squares {
        let drops = square.drop.each().map(|drop| format!("{:.2}", drop.logit));
        let name = format!("{:.0} % of the picture", 100.0 * square.area);
        line(text, &name, &[&drops[..], &[ratio(square.logit_ratio)]].concat())?;
    }
    head(text, "and of the probability", &columns)?;
    for square in &coverings.squares {
        let drops = square.drop.each().map(|drop| percent(drop.probability));
        let name = format!("{:.0} % of the picture", 100.0 * square.area);
        line(text, &name, &[&drops[..], &[ratio(square.probability_ratio)]].concat())?;
    }
    head(text, "area under the probability", &columns[..3])?;
    for (name, curves) in [
        ("deletion (small is good)", &coverings.deletion),
        ("insertion (large is good)", &coverings.insertion),
    ] {
        line(text, name, &curves.each().map(|curve| percent(curve.area_under)))?;
    }
    Ok(())
}

fn background(text: &mut String, shares: &Background) -> std::fmt::Result {
    head(text, "outside of the object's box", &["evidence", "Grad-CAM", "picture", "cues", "pictures"])?;
    let values = [shares.evidence, shares.grad_cam, shares.picture, shares.cues].map(percent);
    line(text, "share", &[&values[..], &[shares.pictures.to_string()]].concat())
}

fn stability(text: &mut String, stability: &Stability) -> std::fmt::Result {
    head(text, "moved by more than 5 % of the side", &["cue", "Grad-CAM", "answer"])?;
    for (name, moved) in [
        ("when the picture is mirrored", &stability.mirrored),
        ("when it is shifted by a fifteenth", &stability.shifted),
    ] {
        let Moved { cue, grad_cam, same_answer, .. } = moved;
        let away = |distance: &Distance| percent(1.0 - distance.near);
        line(text, name, &[away(cue), away(grad_cam), percent(1.0 - same_answer)])?;
    }
    Ok(())
}
