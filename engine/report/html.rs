//! The page: headings, plots and tables put together, with one style sheet that follows the reader's light or dark theme.

use std::fmt::Write;

use super::compare;
use super::plot::{Axis, Plot, Point, Scale, Series, Unit};
use super::run::{Row, Run};
use super::{bytes, tables};

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
    let series = match runs {
        [run] => single(run),
        _ => several(runs),
    };
    let series: Vec<_> = series.into_iter().filter(|line| !line.rows.is_empty()).collect();
    if series.is_empty() {
        page.push_str("<p class=\"note\">No plots: no loss was measured.</p>\n");
        return;
    }
    let over = |title: &str, x: Axis, place: &dyn Fn(&Row) -> f64, guide: Option<(f64, String)>| Plot {
        title: title.into(),
        x,
        y: Axis { name: "loss (nats a prediction)".into(), unit: Unit::Number, scale: Scale::Linear },
        series: series
            .iter()
            .map(|line| Series {
                name: line.name.clone(),
                points: line
                    .rows
                    .iter()
                    .map(|(row, loss)| Point {
                        x: place(row),
                        y: *loss,
                        spread: None,
                        note: note(&line.name, row, *loss),
                    })
                    .collect(),
            })
            .collect(),
        guide,
    };
    let guide = compare::target(runs).map(|(run, loss)| (loss, format!("final loss of {}: {loss:.3}", run.name)));
    let rounds = Axis { name: "round".into(), unit: Unit::Count, scale: Scale::Linear };
    let scale = byte_scale(runs);
    let sent = Axis { name: "bytes on the wire, both ways, so far".into(), unit: Unit::Bytes, scale };
    let figures = [
        over("Loss against round", rounds, &|row| f64::from(row.round), guide.clone()).render(),
        over("Loss against bytes", sent, &|row| row.bytes_total as f64, guide).render(),
    ];
    page.push_str("<div class=\"plots\">");
    figures.into_iter().flatten().for_each(|figure| page.push_str(&figure));
    page.push_str("</div>\n");
    if scale == Scale::Log {
        page.push_str(
            "<p class=\"note\">A log scale has no zero: the loss before the first byte is in the left plot only.</p>\n",
        );
    }
}

struct Line<'a> {
    name: String,
    rows: Vec<(&'a Row, f64)>,
}

fn pick<'a>(run: &'a Run, name: &str, loss: impl Fn(&Row) -> Option<f64>) -> Line<'a> {
    Line { name: name.into(), rows: run.rows.iter().filter_map(|row| loss(row).map(|loss| (row, loss))).collect() }
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

fn note(name: &str, row: &Row, loss: f64) -> String {
    format!("{name}, round {}: {loss:.4} nats a prediction, {} sent", row.round, bytes(row.bytes_total))
}

/// Text made safe for element content and attribute values.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

const STYLE: &str = include_str!("style.css");
