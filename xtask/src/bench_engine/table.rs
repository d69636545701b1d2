//! What was measured, as tables.

use std::fmt::Write;

use serde_json::{Value, json};

use super::OURS;
use super::peer::{Peer, Ready, Run};

/// One engine on one network with so many threads.
#[derive(Clone)]
pub struct Summary {
    engine: String,
    version: String,
    cpu_ms: Times,
    wall_ms: Times,
    load_ms: f64,
    first_ms: f64,
    peak_mib: f64,
    program_mib: f64,
    /// The largest difference of a logit or a map's value from the reference's, in largest values of the reference;
    /// none without a reference.
    difference: Option<f64>,
}

#[derive(Clone, Copy)]
struct Times {
    median: f64,
    least: f64,
}

/// All engines on one network, ours first.
pub struct Row {
    pub model: String,
    pub threads: usize,
    pub summaries: Vec<Summary>,
}

impl Times {
    fn of(runs: &[Run], value: fn(&Run) -> f64) -> Times {
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        Times { median: values[values.len() / 2], least: values[0] }
    }
}

impl Summary {
    /// Of the runs of `peer`, of which there is one or more.
    pub fn of(peer: &Peer, reference: Option<&Ready>) -> Summary {
        let Ready { version, load_ms, first_ms, peak_bytes, program_bytes, .. } = &peer.ready;
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        Summary {
            engine: peer.name.to_owned(),
            version: version.clone(),
            cpu_ms: Times::of(&peer.runs, |run| run.cpu_ms),
            wall_ms: Times::of(&peer.runs, |run| run.wall_ms),
            load_ms: *load_ms,
            first_ms: *first_ms,
            peak_mib: mib(*peak_bytes),
            program_mib: mib(*program_bytes),
            difference: reference.map(|reference| {
                let logits = difference(&peer.ready.logits, &reference.logits);
                logits.max(difference(&peer.ready.maps, &reference.maps))
            }),
        }
    }

    /// For the file of measurements.
    pub fn record(&self) -> Value {
        json!({
            "engine": self.engine, "version": self.version,
            "cpu_ms": {"median": self.cpu_ms.median, "least": self.cpu_ms.least},
            "wall_ms": {"median": self.wall_ms.median, "least": self.wall_ms.least},
            "load_ms": self.load_ms, "first_ms": self.first_ms, "peak_mib": self.peak_mib,
            "program_mib": self.program_mib, "difference": self.difference,
        })
    }
}

/// The largest difference, in largest values of `expected`; without end where the numbers are not as many, or one is
/// none.
fn difference(actual: &[f64], expected: &[f64]) -> f64 {
    if actual.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let differences = actual.iter().zip(expected).map(|(actual, expected)| (actual - expected).abs());
    let worst =
        differences.fold(0.0, |worst: f64, next| if next.is_nan() { f64::INFINITY } else { worst.max(next) });
    if worst == 0.0 { 0.0 } else { worst / largest }
}

impl Row {
    /// What engines are judged by: on one thread the median of processor time, on more the least wall time, which is
    /// what a neighbour on the same machine disturbs least.
    fn judged(&self, summary: &Summary) -> f64 {
        if self.threads == 1 { summary.cpu_ms.median } else { summary.wall_ms.least }
    }

    /// Of the fastest engine that is not ours.
    fn best_peer(&self) -> Option<f64> {
        let peers = self.summaries.iter().filter(|summary| summary.engine != OURS);
        peers.map(|summary| self.judged(summary)).min_by(f64::total_cmp)
    }

    fn ratio(&self, summary: &Summary) -> String {
        self.best_peer().map_or("-".to_owned(), |best| format!("{:.2}", self.judged(summary) / best))
    }

    fn of_engine(&self, engine: &str) -> Option<&Summary> {
        self.summaries.iter().find(|summary| summary.engine == engine)
    }
}

/// All that was measured of one network, an engine a line.
pub fn table(row: &Row) -> String {
    let threads = in_threads(row.threads);
    let mut table = format!(
        "\
| {}, {threads} | CPU ms: median, least | wall ms | to the best peer | load ms | first ms | peak MiB | program MiB | differs by |
|---|---|---|---|---|---|---|---|---|\n",
        row.model
    );
    for summary in &row.summaries {
        let Summary { engine, version, cpu_ms, wall_ms, load_ms, first_ms, peak_mib, program_mib, .. } =
            summary;
        let differs = summary.difference.map_or("-".to_owned(), |difference| format!("{difference:.0e}"));
        let _ = writeln!(
            table,
            "| {engine} {version} | {:.2}, {:.2} | {:.2}, {:.2} | {} | {load_ms:.0} | {first_ms:.0} | {peak_mib:.0} | {program_mib:.1} | {differs} |",
            cpu_ms.median,
            cpu_ms.least,
            wall_ms.median,
            wall_ms.least,
            row.ratio(summary),
        );
    }
    table
}

/// A network a line, an engine a column. All rows have as many threads.
pub fn overview(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut engines: Vec<&str> = Vec::new();
    for summary in rows.iter().flat_map(|row| &row.summaries) {
        if !engines.contains(&summary.engine.as_str()) {
            engines.push(&summary.engine);
        }
    }
    let judged_by = if first.threads == 1 { "median CPU ms" } else { "least wall ms" };
    let mut table = format!(
        "| {}, {judged_by} | {} | ours / best peer |\n|{}\n",
        in_threads(first.threads),
        engines.join(" | "),
        "---|".repeat(engines.len() + 2),
    );
    for row in rows {
        let _ = write!(table, "| {} |", row.model);
        for engine in &engines {
            let cell =
                row.of_engine(engine).map_or("-".to_owned(), |summary| format!("{:.2}", row.judged(summary)));
            let _ = write!(table, " {cell} |");
        }
        let ratio = row.of_engine(OURS).map_or("-".to_owned(), |ours| row.ratio(ours));
        let _ = writeln!(table, " **{ratio}** |");
    }
    table
}

fn in_threads(threads: usize) -> String {
    if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(engine: &str, cpu: f64, wall: f64) -> Summary {
        let times = |median: f64| Times { median, least: median - 1.0 };
        Summary {
            engine: engine.to_owned(),
            version: "1.0".to_owned(),
            cpu_ms: times(cpu),
            wall_ms: times(wall),
            load_ms: 200.0,
            first_ms: 9.4,
            peak_mib: 60.0,
            program_mib: 20.25,
            difference: Some(4e-7),
        }
    }

    fn row(threads: usize) -> Row {
        let summaries = vec![summary(OURS, 6.0, 9.0), summary("a", 9.0, 5.0), summary("b", 8.0, 7.0)];
        Row { model: "net-224".to_owned(), threads, summaries }
    }

    #[test]
    fn one_thread_is_judged_by_processor_time_and_more_by_the_least_wall_time() {
        assert_eq!(
            overview(&[row(1)]),
            "| 1 thread, median CPU ms | fieldmark | a | b | ours / best peer |\n|---|---|---|---|---|\n\
             | net-224 | 6.00 | 9.00 | 8.00 | **0.75** |\n"
        );
        assert_eq!(
            overview(&[row(2)]).lines().last().unwrap(),
            "| net-224 | 8.00 | 4.00 | 6.00 | **2.00** |"
        );
    }

    #[test]
    fn an_engine_that_was_left_out_leaves_its_cell_empty() {
        let mut second = row(1);
        second.summaries.remove(2);
        let overview = overview(&[row(1), second]);
        assert_eq!(overview.lines().last().unwrap(), "| net-224 | 6.00 | 9.00 | - | **0.67** |");
    }

    #[test]
    fn a_table_has_an_engine_a_line() {
        let table = table(&row(1));
        assert_eq!(
            table.lines().nth(2).unwrap(),
            "| fieldmark 1.0 | 6.00, 5.00 | 9.00, 8.00 | 0.75 | 200 | 9 | 60 | 20.2 | 4e-7 |"
        );
        assert_eq!(table.lines().count(), 5);
    }

    #[test]
    fn outputs_differ_in_largest_values() {
        for (actual, expected, by) in [
            (vec![1.0, 2.0], vec![1.0, 2.0], "0e0"),
            (vec![1.0, 3.0], vec![1.0, 4.0], "2.5e-1"),
            (vec![1.0], vec![1.0, 4.0], "inf"),
            (vec![f64::NAN, 4.0], vec![1.0, 4.0], "inf"),
        ] {
            assert_eq!(format!("{:e}", difference(&actual, &expected)), by);
        }
    }
}
