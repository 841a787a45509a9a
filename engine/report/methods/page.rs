//! The page of an experiment: for each setting the main figure, the tables, the curves, and what the sweeps found.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::statistics::{Spread, seed_references};
use super::table::{self, Table, number};
use super::{Comparison, Method, Setting, dot_plot};
use crate::report::escape::escape;
use crate::report::html::framed;
use crate::report::plot::{Axis, Plot, Point, Scale, Series, Unit};
use crate::report::{bytes, loss};

/// Methods in one chart beside the baseline: as many as there are styles left.
const IN_A_CHART: usize = 5;

/// The whole page.
pub fn page(comparison: &Comparison) -> String {
    let mut page = String::new();
    if !comparison.about.is_empty() {
        let _ = writeln!(page, "<p>{}</p>", escape(&comparison.about));
    }
    let finished: usize =
        comparison.settings.iter().flat_map(|setting| &setting.methods).map(|method| method.runs.len()).sum();
    let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(&table::meaning(comparison)));
    if finished < comparison.cells {
        let _ = writeln!(page, "<p class=\"note\">{finished} of {} cells are finished.</p>", comparison.cells);
    }
    failures(&mut page, comparison);
    for setting in &comparison.settings {
        if !setting.title.is_empty() {
            let _ = writeln!(page, "<h2>{}</h2>", escape(&setting.title));
        }
        page.push_str(
            &dot_plot::figure(comparison, setting)
                .unwrap_or_else(|| "<p class=\"note\">No gain was measured.</p>\n".into()),
        );
        page.push_str("<h3>What was reached</h3>\n");
        html(&mut page, &table::results(comparison, setting));
        page.push_str("<h3>What it cost</h3>\n");
        html(&mut page, &table::costs(comparison, setting));
        for (title, methods) in charts(comparison, setting) {
            curves(&mut page, comparison, setting, &title, &methods);
        }
        sweeps(&mut page, comparison, setting);
    }
    framed(&comparison.title, &page)
}

fn failures(page: &mut String, comparison: &Comparison) {
    if comparison.failed.is_empty() {
        return;
    }
    page.push_str("<h3>Cells that failed</h3>\n<ul>");
    for (cell, reason) in &comparison.failed {
        let _ = write!(page, "<li>{}: {}</li>", escape(cell), escape(reason));
    }
    page.push_str("</ul>\n");
}

fn html(page: &mut String, table: &Table) {
    page.push_str("<div class=\"scroll\"><table class=\"wide\"><thead><tr>");
    for (column, head) in table.heads.iter().enumerate() {
        let _ = write!(page, "<th{}>{}</th>", if column == 0 { "" } else { " class=\"n\"" }, escape(head));
    }
    page.push_str("</tr></thead><tbody>");
    for row in &table.rows {
        page.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = match column {
                0 => write!(page, "<th>{}</th>", escape(cell)),
                // The spread goes below its mean, or the table would be twice as wide.
                _ => write!(page, "<td class=\"n\">{}</td>", below(cell)),
            };
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div>\n");
}

/// A cell whose part in brackets, or after a comma or colon, stands on a line of its own.
fn below(cell: &str) -> String {
    let split = [" (", ", ", ": "].iter().filter_map(|sign| cell.find(sign)).min();
    match split {
        Some(at) => format!(
            "{}<small>{}</small>",
            escape(&cell[..at]),
            escape(cell[at..].trim_start_matches([',', ':', ' '])).replace(", ", "<br>")
        ),
        None => escape(cell),
    }
}

/// The methods of each chart: by their group, then the rest in order; none with more than a chart holds.
fn charts<'a>(comparison: &Comparison, setting: &'a Setting) -> Vec<(String, Vec<&'a Method>)> {
    let others = || setting.methods.iter().filter(|method| method.name != comparison.baseline);
    let mut titles: Vec<Option<&str>> = Vec::new();
    for method in others() {
        if !titles.contains(&method.group.as_deref()) {
            titles.push(method.group.as_deref());
        }
    }
    let mut charts = Vec::new();
    for title in titles {
        let methods: Vec<&Method> = others().filter(|method| method.group.as_deref() == title).collect();
        let pages = methods.chunks(IN_A_CHART);
        let many = pages.len() > 1;
        for (number, chunk) in pages.enumerate() {
            let name = title.unwrap_or("methods");
            let name = if many { format!("{name} ({})", number + 1) } else { name.into() };
            charts.push((name, chunk.to_vec()));
        }
    }
    charts
}

/// The evaluation metric against round and against bytes, the baseline first in each.
fn curves(page: &mut String, comparison: &Comparison, setting: &Setting, title: &str, methods: &[&Method]) {
    let baseline = setting.method(&comparison.baseline);
    let drawn: Vec<&Method> = baseline.into_iter().chain(methods.iter().copied()).collect();
    let metric = comparison.metric;
    let targets = baseline.into_iter().flat_map(Method::reported);
    let targets = targets.filter_map(|seeded| seed_references(comparison, setting, seeded.seed)?.target);
    let guide = Spread::of(targets).map(|target| {
        let value = number(metric, target.mean);
        (target.mean, format!("target: {value}, mean over seeds"))
    });
    let plot = |x: Axis, heading: &str, against_bytes: bool| Plot {
        title: format!("{title}: {} against {heading}", metric.name()),
        x,
        y: Axis { name: metric.axis_label().into(), unit: Unit::Number, scale: Scale::Linear },
        series: drawn.iter().map(|method| series(comparison, method, against_bytes)).collect(),
        guide: guide.clone(),
    };
    let rounds = Axis { name: "round".into(), unit: Unit::Count, scale: Scale::Linear };
    let sent = Axis { name: "bytes on the wire, both ways, so far".into(), unit: Unit::Bytes, scale: Scale::Log };
    let figures = [plot(rounds, "round", false).render(), plot(sent, "bytes", true).render()];
    page.push_str("<div class=\"plots\">");
    figures.into_iter().flatten().for_each(|figure| page.push_str(&figure));
    page.push_str("</div>\n");
}

/// The mean over seeds at each round that all of them evaluated; the band is from the smallest to the largest.
fn series(comparison: &Comparison, method: &Method, against_bytes: bool) -> Series {
    let runs: Vec<_> = method.reported().map(|seeded| &seeded.run).collect();
    let rounds: BTreeSet<u32> = runs.iter().flat_map(|run| &run.rows).map(|row| row.round).collect();
    let mut points = Vec::new();
    for round in rounds {
        let rows: Vec<_> = runs.iter().filter_map(|run| run.rows.iter().find(|row| row.round == round)).collect();
        let measured: Vec<f64> = rows.iter().filter_map(|row| comparison.metric.value(row)).collect();
        if measured.len() < runs.len() {
            continue;
        }
        let (Some(found), Some(sent)) =
            (Spread::of(measured), Spread::of(rows.iter().map(|row| row.bytes_total as f64)))
        else {
            continue;
        };
        let value = number(comparison.metric, found.mean);
        let note = format!(
            "{}, round {round}: {value}, {} sent, mean of {}",
            method.name,
            bytes(sent.mean as u64),
            found.count
        );
        let x = if against_bytes { sent.mean } else { f64::from(round) };
        points.push(Point { x, y: found.mean, spread: Some((found.min, found.max)), note });
    }
    Series { name: method.name.clone(), points }
}

/// The results of every sweep point of every swept method.
fn sweeps(page: &mut String, comparison: &Comparison, setting: &Setting) {
    if setting.methods.iter().all(|method| method.points <= 1) {
        return;
    }
    page.push_str(
        "<details><summary>What the sweeps tried</summary>\n<div class=\"scroll\"><table><thead><tr><th>Method</th><th>Values</th>\
         <th class=\"n\">Seed</th><th class=\"n\">At the end</th><th>Chosen</th></tr></thead><tbody>",
    );
    for method in setting.methods.iter().filter(|method| method.points > 1) {
        for seeded in &method.runs {
            let end = comparison.metric.first_and_last(&seeded.run).map(|ends| ends.1);
            let _ = write!(
                page,
                "<tr><th>{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
                escape(&method.name),
                escape(&seeded.point),
                seeded.seed,
                end.map_or_else(|| loss(None), |end| format!("{end:.4}")),
                if seeded.chosen { "chosen" } else { "" }
            );
        }
    }
    page.push_str("</tbody></table></div></details>\n");
}
