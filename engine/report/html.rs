//! The page: headings, plots and tables put together, with one style sheet that follows the reader's light or dark theme.

use std::fmt::Write;

use super::compare;
use super::completions;
use super::escape::escape;
use super::plot::{Axis, Plot, Point, Scale, Series, Unit};
use super::run::{Row, Run};
use super::{bytes, percent, tables};

/// Byte axes turn logarithmic when the runs' totals differ by more than this factor.
const LOG_FROM: f64 = 6.0;

/// The whole page about at least one run.
pub fn page(runs: &[Run]) -> String {
    let title = match runs {
        [run] => run.name.clone(),
        _ => format!("{} runs compared", runs.len()),
    };
    let mut page = String::new();
    match runs {
        [run] => page.push_str(&tables::summary(run)),
        _ => page.push_str(&compare::section(runs)),
    }
    plots(&mut page, runs);
    for run in runs {
        if runs.len() > 1 {
            let _ = write!(page, "<h2>{}</h2>\n{}", escape(&run.name), tables::summary(run));
        }
        page.push_str(&completions::section(run));
        page.push_str(&tables::bytes_by_kind(run));
        page.push_str(&tables::clients(run));
        page.push_str(&tables::config(run));
    }
    framed(&title, &page)
}

/// A whole document around `content`, with its title as the heading.
pub fn framed(title: &str, content: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>cellm: {title}</title><style>{STYLE}</style></head><body><main>\n<h1>{title}</h1>\n{content}</main></body></html>\n",
        title = escape(title)
    )
}

fn plots(page: &mut String, runs: &[Run]) {
    let losses = match runs {
        [run] => single(run),
        _ => several(runs),
    };
    let losses = measured(losses);
    let accuracies = measured(runs.iter().map(|run| pick(run, &run.name, |row| row.eval_metric)).collect());
    if losses.is_empty() {
        page.push_str("<p class=\"note\">No plots of a loss: no loss was measured.</p>\n");
    }
    let guide = compare::target(runs).map(|(run, loss)| (loss, format!("final loss of {}: {loss:.3}", run.name)));
    let rounds = || Axis { name: "round".into(), unit: Unit::Count, scale: Scale::Linear };
    let scale = byte_scale(runs);
    let sent = Axis { name: "bytes on the wire, both ways, so far".into(), unit: Unit::Bytes, scale };
    let of_loss = |title: &str, x: Axis, place: &dyn Fn(&Row) -> f64| Plot {
        title: title.into(),
        x,
        y: Axis { name: "loss (nats a prediction)".into(), unit: Unit::Number, scale: Scale::Linear },
        series: losses.iter().map(|line| line.series(place, &loss_note)).collect(),
        guide: guide.clone(),
    };
    let of_accuracy = Plot {
        title: "Accuracy against round".into(),
        x: rounds(),
        y: Axis { name: "accuracy (share right)".into(), unit: Unit::Number, scale: Scale::Linear },
        series: accuracies.iter().map(|line| line.series(&|row| f64::from(row.round), &accuracy_note)).collect(),
        guide: None,
    };
    let figures = [
        of_loss("Loss against round", rounds(), &|row| f64::from(row.round)).render(),
        of_loss("Loss against bytes", sent, &|row| row.bytes_total as f64).render(),
        of_accuracy.render(),
        of_rates(runs, rounds()).and_then(|plot| plot.render()),
        of_clients(runs, rounds()).and_then(|plot| plot.render()),
    ];
    page.push_str("<div class=\"plots\">");
    figures.into_iter().flatten().for_each(|figure| page.push_str(&figure));
    page.push_str("</div>\n");
    if scale == Scale::Log && !losses.is_empty() {
        page.push_str(
            "<p class=\"note\">A log scale has no zero: the loss before the first byte is in the left plot only.</p>\n",
        );
    }
}

/// The plot of learning rates; none where no run changed its own.
fn of_rates(runs: &[Run], x: Axis) -> Option<Plot> {
    if !runs.iter().any(Run::rates_change) {
        return None;
    }
    let lines = measured(runs.iter().map(|run| pick(run, &run.name, |row| row.lr)).collect());
    let note = |name: &str, row: &Row, lr: f64| format!("{name}, round {}: {lr:.4e}", row.round);
    let series = lines.iter().map(|line| line.series(&|row| f64::from(row.round), &note)).collect();
    let y = Axis { name: "learning rate of the clients".into(), unit: Unit::Number, scale: Scale::Linear };
    Some(Plot { title: "Learning rate against round".into(), x, y, series, guide: None })
}

/// The plot of clients that completed and that were dropped in each round; none where every client completed every
/// round.
fn of_clients(runs: &[Run], x: Axis) -> Option<Plot> {
    if runs.iter().all(|run| run.dropped() == 0 && run.missed_rounds().0 == 0) {
        return None;
    }
    let lines = match runs {
        [run] => vec![
            pick(run, "completed", |row| counted(row, row.completed)),
            pick(run, "dropped", |row| counted(row, row.dropped)),
            pick(run, "needed for the quorum", |row| counted(row, row.quorum).filter(|quorum| *quorum > 0.0)),
        ],
        _ => runs
            .iter()
            .map(|run| pick(run, &format!("{}, dropped", run.name), |row| counted(row, row.dropped)))
            .collect(),
    };
    let series = measured(lines).iter().map(|line| line.series(&|row| f64::from(row.round), &client_note)).collect();
    let y = Axis { name: "clients".into(), unit: Unit::Count, scale: Scale::Linear };
    Some(Plot { title: "Clients against round".into(), x, y, series, guide: None })
}

/// A count of a round; none of round 0, which asks nobody.
fn counted(row: &Row, count: u32) -> Option<f64> {
    (row.round > 0).then(|| f64::from(count))
}

fn measured(lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    lines.into_iter().filter(|line| !line.rows.is_empty()).collect()
}

struct Line<'a> {
    name: String,
    rows: Vec<(&'a Row, f64)>,
}

impl Line<'_> {
    /// The line in a plot; `place` is where a row stands on the x axis, `note` what its marker says.
    fn series(&self, place: &dyn Fn(&Row) -> f64, note: &dyn Fn(&str, &Row, f64) -> String) -> Series {
        let point =
            |(row, y): &(&Row, f64)| Point { x: place(row), y: *y, spread: None, note: note(&self.name, row, *y) };
        Series { name: self.name.clone(), points: self.rows.iter().map(point).collect() }
    }
}

fn pick<'a>(run: &'a Run, name: &str, value: impl Fn(&Row) -> Option<f64>) -> Line<'a> {
    Line { name: name.into(), rows: run.rows.iter().filter_map(|row| value(row).map(|value| (row, value))).collect() }
}

fn single(run: &Run) -> Vec<Line<'_>> {
    vec![
        pick(run, "validation, what a client sees", |row| row.eval_loss),
        pick(run, "validation, the server's dense copy", |row| row.eval_loss_dense_copy),
        pick(run, "local training", |row| row.train_loss),
    ]
}

fn several(runs: &[Run]) -> Vec<Line<'_>> {
    let measured: Vec<_> = runs.iter().map(|run| pick(run, &run.name, |row| row.eval_loss)).collect();
    if measured.iter().any(|line| !line.rows.is_empty()) {
        return measured;
    }
    runs.iter().map(|run| pick(run, &format!("{}, local training", run.name), |row| row.train_loss)).collect()
}

fn byte_scale(runs: &[Run]) -> Scale {
    let totals =
        || runs.iter().filter_map(|run| run.last()).map(|row| row.bytes_total as f64).filter(|total| *total > 0.0);
    let (low, high) = totals().fold((f64::INFINITY, 0f64), |(low, high), total| (low.min(total), high.max(total)));
    if high > low * LOG_FROM { Scale::Log } else { Scale::Linear }
}

fn accuracy_note(name: &str, row: &Row, accuracy: f64) -> String {
    format!("{name}, round {}: {} right, {} sent", row.round, percent(Some(accuracy)), bytes(row.bytes_total))
}

fn client_note(_: &str, row: &Row, _: f64) -> String {
    let missed = if row.missed_quorum() { format!(", missed its quorum of {}", row.quorum) } else { String::new() };
    format!("round {}: {} completed, {} dropped{missed}", row.round, row.completed, row.dropped)
}

fn loss_note(name: &str, row: &Row, loss: f64) -> String {
    format!("{name}, round {}: {loss:.4} nats a prediction, {} sent", row.round, bytes(row.bytes_total))
}

const STYLE: &str = include_str!("style.css");
