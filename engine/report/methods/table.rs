//! The table of a setting: a row a method. In: what each reached. Out: cells as text, for HTML and Markdown alike.

use std::fmt::Write;

use super::statistics::{MethodStatistics, Spread, method_statistics};
use super::{Comparison, Setting};
use crate::report::{EvaluationMetric, bytes, duration, loss, ratio};

/// A table as text.
pub struct Table {
    /// Column heads; the first column is the method.
    pub heads: Vec<String>,
    /// Rows of cells, the baseline's marked in its first cell.
    pub rows: Vec<Vec<String>>,
}

/// The table of results: metric at the end, gain share, bytes and their reduction, a row a method.
pub fn results(comparison: &Comparison, setting: &Setting) -> Table {
    let heads = [
        "method",
        "seeds",
        &format!("final {}", comparison.metric.name()),
        "share of the baseline's gain",
        "bytes to target",
        "fewer to target",
        "bytes in all",
        "fewer at equal rounds",
        "points tried",
    ];
    let row = |method: &super::Method| {
        let reached = method_statistics(comparison, setting, method);
        vec![
            marked(comparison, &method.name),
            reached.seeds.to_string(),
            spread(reached.end, |end| number(comparison.metric, end)),
            spread(reached.gain_share, percent),
            to_target(&reached),
            spread(reached.byte_reduction_to_target, ratio),
            spread(reached.bytes, |of| bytes(of as u64)),
            spread(reached.byte_reduction, ratio),
            tried(method.points, method.chosen.as_deref()),
        ]
    };
    Table { heads: heads.map(String::from).into(), rows: setting.methods.iter().map(row).collect() }
}

/// The table of costs: bytes of both directions by kind, overhead and seconds; means over seeds.
pub fn costs(comparison: &Comparison, setting: &Setting) -> Table {
    let heads = [
        "method",
        "down",
        "up",
        "indices",
        "values",
        "policy's own",
        "framing",
        "catch-up",
        "all but training",
        "time of the rounds",
    ];
    let row = |method: &super::Method| {
        let reached = method_statistics(comparison, setting, method);
        let mean = |of: Option<Spread>| of.map_or_else(|| loss(None), |of| bytes(of.mean as u64));
        let kinds = reached.kinds;
        let all = (kinds.indices + kinds.values + kinds.other + kinds.framing + kinds.catch_up + kinds.control).max(1);
        let part = |of: u64| match of {
            0 => loss(None),
            of => format!("{} ({:.1}%)", bytes(of), 100.0 * of as f64 / all as f64),
        };
        vec![
            marked(comparison, &method.name),
            mean(reached.down),
            mean(reached.up),
            part(kinds.indices),
            part(kinds.values),
            part(kinds.other),
            part(kinds.framing),
            part(kinds.catch_up),
            reached.overhead.map_or_else(|| loss(None), |overhead| percent(overhead.mean)),
            reached.seconds.map_or_else(|| loss(None), |seconds| duration(seconds.mean)),
        ]
    };
    Table { heads: heads.map(String::from).into(), rows: setting.methods.iter().map(row).collect() }
}

/// Both tables of every setting, and what they mean.
pub fn markdown(comparison: &Comparison) -> String {
    let mut text = format!("# {}\n\n", comparison.title);
    if !comparison.about.is_empty() {
        let _ = writeln!(text, "{}\n", comparison.about);
    }
    let _ = writeln!(text, "{}\n", meaning(comparison));
    for setting in &comparison.settings {
        if !setting.title.is_empty() {
            let _ = writeln!(text, "## {}\n", setting.title);
        }
        for table in [results(comparison, setting), costs(comparison, setting)] {
            let _ = writeln!(text, "| {} |\n|{}", table.heads.join(" | "), "---|".repeat(table.heads.len()));
            for row in &table.rows {
                let row: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
            text.push('\n');
        }
    }
    for (cell, reason) in &comparison.failed {
        let _ = writeln!(text, "- {cell} failed: {}", reason.replace('\n', " "));
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// An explanation of the table's columns, in one paragraph.
pub fn meaning(comparison: &Comparison) -> String {
    let Comparison { baseline, target_of, target_gain, .. } = comparison;
    let gain = if *target_gain == 1.0 { "all".to_owned() } else { percent(*target_gain) };
    format!(
        "Numbers are the mean over seeds, with the smallest and the largest in brackets. Baseline of every ratio: {baseline}, of the same \
         seed and setting. Target: {gain} of what {target_of} gained by its end, of the same seed; bytes to target count both \
         directions with indices, framing and catch-up until the first evaluation at or beyond it, without interpolation. \
         \"All but training\" is the share of the CPU time that neither trained nor evaluated."
    )
}

fn marked(comparison: &Comparison, name: &str) -> String {
    if name == comparison.baseline { format!("{name} (baseline)") } else { name.into() }
}

/// `mean (min to max)`; the mean alone where all look the same; a dash where there is none.
fn spread(of: Option<Spread>, show: impl Fn(f64) -> String) -> String {
    let Some(Spread { mean, min, max, .. }) = of else { return loss(None) };
    let (mean, min, max) = (show(mean), show(min), show(max));
    if min == max { mean } else { format!("{mean} ({min} to {max})") }
}

fn to_target(reached: &MethodStatistics) -> String {
    let found = reached.to_target.map_or(0, |spread| spread.count);
    match (found, reached.seeds) {
        (_, 0) => loss(None),
        (0, _) => "not reached".into(),
        (found, seeds) if found == seeds => spread(reached.to_target, |of| bytes(of as u64)),
        (found, seeds) => {
            format!("{}, reached on {found} of {seeds} seeds", spread(reached.to_target, |of| bytes(of as u64)))
        }
    }
}

fn tried(points: usize, chosen: Option<&str>) -> String {
    match chosen {
        Some(chosen) => format!("{points}: {chosen}"),
        None => points.to_string(),
    }
}

/// A metric as tables have it.
pub fn number(metric: EvaluationMetric, value: f64) -> String {
    match metric {
        EvaluationMetric::Loss => loss(Some(value)),
        EvaluationMetric::Accuracy => percent(value),
    }
}

/// A share as `12.3%`.
pub fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}
