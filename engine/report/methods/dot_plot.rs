//! The main figure of a setting: for each method, bytes until the target and the share of the baseline's gain, as dots with
//! the spread over seeds. In: what the methods reached. Out: an HTML figure.

use std::fmt::Write;

use super::statistics::{MethodStatistics, Spread, method_statistics};
use super::table::percent;
use super::{Comparison, Setting};
use crate::report::bytes;
use crate::report::escape::escape;
use crate::report::plot::{Axis, Scale, Unit};

const WIDTH: f64 = 1100.0;
const ROW: f64 = 23.0;
const TOP: f64 = 30.0;
const FOOT: f64 = 48.0;
const NAMES: f64 = 190.0;
/// Left and right ends of the two panels.
const BYTES: (f64, f64) = (200.0, 640.0);
const GAIN: (f64, f64) = (700.0, 1085.0);

/// One line of the figure.
struct Row<'a> {
    name: &'a str,
    is_baseline: bool,
    reached: MethodStatistics,
}

/// The figure; none where nothing was measured.
pub fn figure(comparison: &Comparison, setting: &Setting) -> Option<String> {
    let mut rows: Vec<Row<'_>> = setting
        .methods
        .iter()
        .map(|method| Row {
            name: &method.name,
            is_baseline: method.name == comparison.baseline,
            reached: method_statistics(comparison, setting, method),
        })
        .filter(|row| row.reached.gain_share.is_some())
        .collect();
    if rows.is_empty() {
        return None;
    }
    // The cheapest way to the target first; those that missed it by how near they came.
    rows.sort_by(|a, b| order(a).total_cmp(&order(b)));
    let bottom = TOP + ROW * rows.len() as f64;
    let title = "Bytes until the target, and gain at the end";
    let mut svg = format!(
        r#"<figure class="dots"><figcaption>{title}</figcaption><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">"#,
        height = bottom + FOOT
    );
    for (number, row) in rows.iter().enumerate() {
        let at = place(number);
        let class = if row.is_baseline { "own" } else { "other" };
        let _ = write!(
            svg,
            r#"<g class="{class}"><line class="row" x1="{left}" x2="{right}" y1="{at}" y2="{at}"/><text class="name" x="{NAMES}" y="{base}" text-anchor="end">{name}</text></g>"#,
            left = BYTES.0,
            right = GAIN.1,
            base = at + 4.5,
            name = escape(row.name)
        );
    }
    let axis = Axis { name: "bytes until the target, both ways".into(), unit: Unit::Bytes, scale: Scale::Log };
    panel(&mut svg, &rows, &axis, BYTES, |row| row.reached.to_target, |of| bytes(of as u64));
    let axis = Axis { name: "share of the baseline's gain (%)".into(), unit: Unit::Number, scale: Scale::Linear };
    let hundred = |of: Spread| Spread { mean: 100.0 * of.mean, min: 100.0 * of.min, max: 100.0 * of.max, ..of };
    panel(&mut svg, &rows, &axis, GAIN, |row| row.reached.gain_share.map(hundred), |of| percent(of / 100.0));
    svg.push_str("</svg></figure>\n");
    Some(svg)
}

/// Sort key of a row: methods that reached the target in every seed first, by bytes to it; then the others, by gain
/// share.
fn order(row: &Row<'_>) -> f64 {
    let all = row.reached.to_target.filter(|spread| spread.count == row.reached.seeds);
    match (all, row.reached.gain_share) {
        (Some(spread), _) => spread.mean,
        (None, Some(gain)) => f64::MAX / 2.0 - gain.mean * 1e300,
        (None, None) => f64::MAX,
    }
}

fn place(number: usize) -> f64 {
    TOP + ROW * (number as f64 + 0.5)
}

fn panel(
    svg: &mut String,
    rows: &[Row<'_>],
    axis: &Axis,
    (start, end): (f64, f64),
    of: impl Fn(&Row<'_>) -> Option<Spread>,
    show: impl Fn(f64) -> String,
) {
    let bottom = TOP + ROW * rows.len() as f64;
    let values: Vec<f64> = rows.iter().filter_map(&of).flat_map(|spread| [spread.min, spread.max]).collect();
    let middle = (start + end) / 2.0;
    let _ = write!(
        svg,
        r#"<text class="name" x="{middle}" y="{foot}" text-anchor="middle">{name}</text><line class="axis" x1="{start}" x2="{end}" y1="{bottom}" y2="{bottom}"/>"#,
        foot = bottom + FOOT - 8.0,
        name = escape(&axis.title())
    );
    if values.is_empty() {
        let _ = write!(
            svg,
            r#"<text class="missed" x="{middle}" y="{at}" text-anchor="middle">no method reached it</text>"#,
            at = TOP + 14.0
        );
        return;
    }
    let range = axis.range(&values, start + 6.0, end - 6.0);
    for (value, label) in range.ticks() {
        let x = range.place(value);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}"/><text class="tick" x="{x:.1}" y="{base}" text-anchor="middle">{label}</text>"#,
            base = bottom + 17.0
        );
    }
    for (number, row) in rows.iter().enumerate() {
        let y = place(number);
        let Some(spread) = of(row) else {
            let _ = write!(
                svg,
                r#"<text class="missed" x="{x}" y="{base}">not reached</text>"#,
                x = start + 8.0,
                base = y + 4.0
            );
            continue;
        };
        let (low, high, x) = (range.place(spread.min), range.place(spread.max), range.place(spread.mean));
        let part = spread.count < row.reached.seeds;
        let class = if row.is_baseline {
            "own"
        } else if part {
            "part"
        } else {
            "other"
        };
        let note = format!("{}: {} ({} to {})", row.name, show(spread.mean), show(spread.min), show(spread.max));
        let said = if part { format!(", on {} of {} seeds", spread.count, row.reached.seeds) } else { String::new() };
        let _ = write!(
            svg,
            r#"<g class="{class}"><title>{title}</title><line class="whisker" x1="{low:.1}" x2="{high:.1}" y1="{y}" y2="{y}"/>{dot}</g>"#,
            title = escape(&(note + &said)),
            dot = dot(row.is_baseline, x, y)
        );
        if part {
            let _ = write!(
                svg,
                r#"<text class="missed" x="{x:.1}" y="{base}">{} of {} seeds</text>"#,
                spread.count,
                row.reached.seeds,
                x = high + 9.0,
                base = y + 4.0
            );
        }
    }
}

/// A square for the baseline, a circle for the others.
fn dot(is_baseline: bool, x: f64, y: f64) -> String {
    if is_baseline {
        return format!(r#"<rect class="dot" x="{:.1}" y="{:.1}" width="10" height="10"/>"#, x - 5.0, y - 5.0);
    }
    format!(r#"<circle class="dot" cx="{x:.1}" cy="{y:.1}" r="5.5"/>"#)
}
