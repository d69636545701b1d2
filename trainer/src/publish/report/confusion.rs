//! The confusion matrix: as a table where a page has room for it, else as a picture beside a table of the classes
//! with the most mistakes.

use maud::{Markup, html};

use super::chart::at;
use super::words::{breakable, count, listed, percent};
use super::{Findings, source};

/// Classes up to which the whole matrix is a table.
const TABLE: usize = 24;

/// Classes of the table where there are more.
const MISTAKEN: usize = 14;

/// Wrong answers that are listed.
const LISTED: usize = 20;

/// The section.
pub fn section(findings: &Findings) -> Markup {
    let matrix = &findings.measured.matrix;
    let classes = findings.classes();
    html! {
        section #confusion {
            h2 { "What is taken for what" }
            p { (source(findings)) }
            @if classes <= TABLE {
                p.hint { "A row is what a picture shows, a column what was answered; numbers are pictures." }
                (table(findings, matrix, &(0..classes).collect::<Vec<_>>()))
            } @else {
                p.hint { "A row is what a picture shows, a column what was answered, from class 1 at the top left. Right \
                    answers are the diagonal; the stronger a point beside it, the larger the share of its row. Point at \
                    one to read it." }
                (heat_map(findings, matrix))
                (mistaken(findings, matrix))
            }
            (list(findings))
        }
    }
}

/// Rows and columns of the classes `shown`; answers of others are one column, where there are others.
fn table(findings: &Findings, matrix: &[Vec<usize>], shown: &[usize]) -> Markup {
    let labels = findings.labels();
    let has_others = shown.len() < labels.len();
    let others = |row: &[usize]| {
        let inside: usize = shown.iter().map(|&class| row[class]).sum();
        row.iter().sum::<usize>() - inside
    };
    html! {
        div.wide tabindex="0" role="region" aria-label="Confusion matrix" {
            table.matrix {
                thead { tr {
                    td {}
                    @for &class in shown { th scope="col" { span { (labels[class]) } } }
                    @if has_others { th scope="col" { span { "another" } } }
                } }
                tbody { @for &class in shown { tr {
                    th scope="row" { (breakable(&labels[class])) }
                    @let pictures: usize = matrix[class].iter().sum();
                    @for &answer in shown { (cell(matrix[class][answer], pictures, answer == class)) }
                    @if has_others { (cell(others(&matrix[class]), pictures, false)) }
                } } }
            }
        }
    }
}

/// A number on a ground as strong as its share of the row.
fn cell(count: usize, of: usize, is_right: bool) -> Markup {
    let share = count as f64 / of.max(1) as f64;
    // Dark text reads on more of the grounds than light text, or the other way round with a dark page.
    let ground = match share {
        share if share > 0.8 => "deep",
        share if share > 0.5 => "mid",
        _ => "pale",
    };
    let kind = match (count, is_right) {
        (0, _) => "none",
        (_, true) => "right",
        (_, false) => "wrong",
    };
    html! {
        td class={ (kind) " " (ground) } style={ "--share:" (at(100.0 * share)) "%" } {
            @if count > 0 { (count) } @else { "\u{b7}" }
        }
    }
}

/// A point for every cell that is not empty.
fn heat_map(findings: &Findings, matrix: &[Vec<usize>]) -> Markup {
    /// Room for the numbers of classes, in cells of the largest matrix.
    const MARGIN: f64 = 34.0;
    const SIDE: f64 = 720.0;
    let labels = findings.labels();
    let step = (SIDE - MARGIN) / labels.len() as f64;
    let place = |class: usize| MARGIN + class as f64 * step;
    let every =
        [5, 10, 20, 50, 100, 500].into_iter().find(|every| labels.len() / every <= 12).unwrap_or(1000);
    let numbered: Vec<usize> = (0..labels.len()).filter(|class| (class + 1) % every == 0).collect();
    let filled = matrix.iter().enumerate().flat_map(|(class, row)| {
        let pictures: usize = row.iter().sum();
        let cells = row.iter().enumerate().filter(|(_, count)| **count > 0);
        cells.map(move |(answer, &count)| (class, answer, count, count as f64 / pictures as f64))
    });
    html! {
        figure.heat {
            svg viewBox={ "0 0 " (SIDE) " " (SIDE + 6.0) } role="img"
                aria-label="Confusion matrix of all classes; the list below has the largest of its numbers" {
                rect.ground x=(MARGIN) y=(MARGIN) width=(SIDE - MARGIN) height=(SIDE - MARGIN) {}
                @for &class in &numbered {
                    @let middle = place(class) + step / 2.0;
                    text.tick x=(at(middle)) y=(MARGIN - 8.0) text-anchor="middle" { (class + 1) }
                    text.tick x=(MARGIN - 6.0) y=(at(middle + 4.0)) text-anchor="end" { (class + 1) }
                    line.grid x1=(at(middle)) x2=(at(middle)) y1=(MARGIN) y2=(SIDE) {}
                    line.grid y1=(at(middle)) y2=(at(middle)) x1=(MARGIN) x2=(SIDE) {}
                }
                @for (class, answer, count, share) in filled {
                    rect class=(if class == answer { "right" } else { "wrong" })
                        x=(at(place(answer))) y=(at(place(class))) width=(at(step)) height=(at(step))
                        fill-opacity=(at(0.25 + 0.75 * share)) {
                        title { (labels[class]) " \u{2192} " (labels[answer]) ": " (count) }
                    }
                }
            }
        }
    }
}

/// The table of the classes with the most mistakes, those together that are taken for each other.
fn mistaken(findings: &Findings, matrix: &[Vec<usize>]) -> Markup {
    let mut shown: Vec<usize> = Vec::new();
    for (classes, _) in findings.measured.pairs() {
        let new: Vec<usize> = classes.into_iter().filter(|class| !shown.contains(class)).collect();
        if shown.len() + new.len() <= MISTAKEN {
            shown.extend(new);
        }
    }
    html! {
        @if !shown.is_empty() {
            h3 { "The classes with the most mistakes" }
            (table(findings, matrix, &shown))
        }
    }
}

fn list(findings: &Findings) -> Markup {
    let (measured, labels) = (&findings.measured, findings.labels());
    let shown = &measured.mistakes[..measured.mistakes.len().min(LISTED)];
    let never: Vec<&str> = measured
        .classes
        .iter()
        .zip(labels)
        .filter(|(class, _)| class.pictures > 0 && class.right == 0)
        .map(|(_, label)| label.as_str())
        .collect();
    html! {
        @if !never.is_empty() {
            p { "Never recognised: " (listed(&never, 12)) "." }
        }
        @if shown.is_empty() {
            @if measured.top1.is_some_and(|top1| top1 >= 1.0) { p { "Nothing was mistaken." } }
        } @else {
            details open[labels.len() > TABLE] {
                summary { "The most frequent mistakes" }
                div.wide tabindex="0" role="region" aria-label="Table of mistakes" {
                    table {
                        thead { tr {
                            th scope="col" { "shows" } th scope="col" { "was taken for" }
                            th.number scope="col" { "pictures" } th.number scope="col" { "of its class" }
                        } }
                        tbody { @for mistakes in shown { tr {
                            td { (breakable(&labels[mistakes.class])) } td { (breakable(&labels[mistakes.answer])) }
                            td.number { (mistakes.pictures) }
                            td.number {
                                @let of = measured.classes[mistakes.class].pictures;
                                @if of > 0 { (percent(mistakes.pictures as f64 / of as f64)) }
                            }
                        } } }
                    }
                }
                @if measured.mistakes.len() > shown.len() {
                    p.hint { "and " (count(measured.mistakes.len() - shown.len(), "rarer kind", "rarer kinds")) "." }
                }
            }
        }
    }
}
