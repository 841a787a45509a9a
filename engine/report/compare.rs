//! Several runs side by side: what each reached, what it cost, and which config keys differ.
//!
//! Every ratio in the table has the same baseline, the run that sent most bytes a round: usually the dense one.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::html::escape;
use super::run::Run;
use super::{bytes, loss, ratio};

/// The run that the others are measured against: most bytes a closed round.
pub fn baseline(runs: &[Run]) -> Option<&Run> {
    let cost =
        |run: &Run| run.last().filter(|row| row.round > 0).map(|row| row.bytes_total as f64 / f64::from(row.round));
    runs.iter()
        .filter_map(|run| cost(run).map(|cost| (run, cost)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(run, _)| run)
}

/// The loss that the others have to reach: the baseline's last one. None for a single run.
pub fn target(runs: &[Run]) -> Option<(&Run, f64)> {
    if runs.len() < 2 {
        return None;
    }
    let run = baseline(runs)?;
    run.losses().map(|losses| (run, losses.1))
}

/// The comparison table with its explanation, and the table of config differences.
pub fn section(runs: &[Run]) -> String {
    let mut html = String::from(
        "<h3>Comparison</h3>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr><th>Run</th><th class=\"n\">Rounds</th><th class=\"n\">Loss before</th><th class=\"n\">Final loss</th>\
         <th class=\"n\">Bytes down</th><th class=\"n\">Bytes up</th><th class=\"n\">Bytes total</th><th class=\"n\">Reduction at equal rounds</th>\
         <th class=\"n\">Bytes to target</th><th class=\"n\">Reduction to target</th></tr></thead><tbody>",
    );
    let base = baseline(runs);
    let goal = target(runs).map(|(_, loss)| loss);
    let base_cost = base.zip(goal).and_then(|(base, goal)| bytes_to(base, goal));
    for run in runs {
        let last = run.last();
        let losses = run.losses();
        let reached = goal.and_then(|goal| bytes_to(run, goal));
        let equal = base.and_then(|base| equal_rounds(base, run)).map_or_else(|| loss(None), ratio);
        let to_target =
            base_cost.zip(reached).map_or_else(|| loss(None), |(base, run)| ratio(base as f64 / run as f64));
        let mark = if base.is_some_and(|base| std::ptr::eq(base, run)) { " (baseline)" } else { "" };
        let _ = write!(html, "<tr><th>{}{mark}</th>", escape(&run.name));
        let cells = [
            last.map_or(0, |row| row.round).to_string(),
            loss(losses.map(|losses| losses.0)),
            loss(losses.map(|losses| losses.1)),
            bytes(last.map_or(0, |row| row.bytes_down)),
            bytes(last.map_or(0, |row| row.bytes_up)),
            bytes(last.map_or(0, |row| row.bytes_total)),
            equal,
            reached.map_or_else(|| if goal.is_some() { "not reached".into() } else { loss(None) }, bytes),
            to_target,
        ];
        cells.iter().for_each(|cell| {
            let _ = write!(html, "<td class=\"n\">{cell}</td>");
        });
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>\n");
    if let Some(base) = base {
        let _ = writeln!(
            html,
            "<p class=\"note\">Baseline: {}, the run with the most bytes a round. Target: its final validation loss{}. Bytes count both directions with all framing; \
             to target means up to the first evaluated round at or below it.</p>",
            escape(&base.name),
            goal.map_or_else(String::new, |goal| format!(", {goal:.3}"))
        );
    }
    html.push_str(&differences(runs));
    html
}

/// Bytes sent when the loss first was at or below the target, at an evaluated round.
fn bytes_to(run: &Run, target: f64) -> Option<u64> {
    run.rows.iter().find(|row| row.eval_loss.is_some_and(|loss| loss <= target)).map(|row| row.bytes_total)
}

/// Bytes of the baseline over bytes of the run, at the last round that both closed.
fn equal_rounds(base: &Run, run: &Run) -> Option<f64> {
    let row = run
        .rows
        .iter()
        .rev()
        .find(|row| row.round > 0 && base.rows.binary_search_by_key(&row.round, |row| row.round).is_ok())?;
    let at = base.rows.binary_search_by_key(&row.round, |row| row.round).ok()?;
    Some(base.rows[at].bytes_total as f64 / row.bytes_total as f64)
}

fn differences(runs: &[Run]) -> String {
    let configs: Vec<BTreeMap<String, String>> = runs.iter().map(|run| flat(&run.config)).collect();
    let mut keys: Vec<&String> = configs.iter().flat_map(BTreeMap::keys).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| {
        let mut values = configs.iter().map(|config| config.get(*key));
        let first = values.next().flatten();
        !matches!(key.as_str(), "run.name" | "run.out") && values.any(|value| value != first)
    });
    if keys.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<h3>Config keys that differ</h3>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr><th>Run</th>",
    );
    keys.iter().for_each(|key| {
        let _ = write!(html, "<th>{}</th>", escape(key));
    });
    html.push_str("</tr></thead><tbody>");
    for (run, config) in runs.iter().zip(&configs) {
        let _ = write!(html, "<tr><th>{}</th>", escape(&run.name));
        for key in &keys {
            let _ = write!(html, "<td>{}</td>", escape(config.get(*key).map_or("–", String::as_str)));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// A config as `section.key` and value text; empty where the text is no TOML.
fn flat(config: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    if let Ok(table) = config.parse::<toml::Table>() {
        flatten("", &table, &mut keys);
    }
    keys
}

fn flatten(prefix: &str, table: &toml::Table, keys: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(&path, table, keys),
            toml::Value::String(text) => {
                keys.insert(path, text.clone());
            }
            other => {
                keys.insert(path, other.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_flattened_to_its_keys() {
        let keys = flat("[run]\nseed = 3\n[upload.options]\nvalues = \"f16\" # file\n");
        assert_eq!(keys["run.seed"], "3");
        assert_eq!(keys["upload.options.values"], "f16");
        assert!(flat("[broken").is_empty());
    }
}
