//! Several runs side by side: what each reached, what it cost, and which config keys differ.
//!
//! Every ratio in the table has the same baseline: the run that was named as such, else one called `dense`, else the one
//! that sent most bytes a round.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::escape::escape;
use super::run::Run;
use super::{bytes, loss, percent, ratio};

/// The run that the others are measured against: the one that was named, else the first that is called `dense` (with a time
/// before it, or without), else the one with most bytes a closed round.
pub fn baseline(runs: &[Run]) -> Option<&Run> {
    let dense = |run: &&Run| run.name == "dense" || run.name.ends_with("-dense");
    if let Some(run) = runs.iter().find(|run| run.is_named_baseline).or_else(|| runs.iter().find(dense)) {
        return Some(run);
    }
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

/// One run in the comparison.
pub struct Compared<'a> {
    /// The run.
    pub run: &'a Run,
    /// True for the run that the others are compared with.
    pub is_baseline: bool,
    /// Rounds closed.
    pub rounds: u32,
    /// First and last validation loss, nats a prediction.
    pub losses: Option<(f64, f64)>,
    /// Last accuracy on validation data.
    pub accuracy: Option<f64>,
    /// Fall of the validation loss over the whole run, as a share of the baseline's fall.
    pub gain_share: Option<f64>,
    /// Bytes down, up and both.
    pub bytes: [u64; 3],
    /// Bytes of the baseline over bytes of the run, at the last round that both closed.
    pub reduction: Option<f64>,
    /// Bytes until the baseline's last loss was reached, at an evaluated round.
    pub to_target: Option<u64>,
    /// The baseline's bytes to the target over the run's.
    pub reduction_to_target: Option<f64>,
    /// Seconds of all rounds.
    pub seconds: f64,
}

/// Every run against the baseline, in the order given.
pub fn compare(runs: &[Run]) -> Vec<Compared<'_>> {
    let base = baseline(runs);
    let goal = target(runs).map(|(_, loss)| loss);
    let base_cost = base.zip(goal).and_then(|(base, goal)| bytes_to(base, goal));
    let base_gain = base.and_then(Run::losses).map(|(before, after)| before - after).filter(|gain| *gain > 0.0);
    let compared = |run| {
        let losses = Run::losses(run);
        let to_target = goal.and_then(|goal| bytes_to(run, goal));
        Compared {
            run,
            is_baseline: base.is_some_and(|base| std::ptr::eq(base, run)),
            rounds: run.last().map_or(0, |row| row.round),
            losses,
            accuracy: run.first_and_last(|row| row.eval_metric).map(|ends| ends.1),
            gain_share: losses.zip(base_gain).map(|((before, after), gain)| (before - after) / gain),
            bytes: run.last().map_or([0; 3], |row| [row.bytes_down, row.bytes_up, row.bytes_total]),
            reduction: base.and_then(|base| equal_rounds(base, run)),
            to_target,
            reduction_to_target: base_cost.zip(to_target).map(|(base, run)| base as f64 / run as f64),
            seconds: run.rows.iter().map(|row| row.seconds).sum(),
        }
    };
    runs.iter().map(compared).collect()
}

/// The comparison table with its explanation, and the table of config differences.
pub fn section(runs: &[Run]) -> String {
    let mut html = String::from(
        "<h3>Comparison</h3>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr><th>Run</th><th class=\"n\">Rounds</th><th class=\"n\">Loss before</th><th class=\"n\">Final loss</th><th class=\"n\">Final accuracy</th>\
         <th class=\"n\">Share of the baseline's gain</th>\
         <th class=\"n\">Bytes down</th><th class=\"n\">Bytes up</th><th class=\"n\">Bytes total</th><th class=\"n\">Reduction at equal rounds</th>\
         <th class=\"n\">Bytes to target</th><th class=\"n\">Reduction to target</th>\
         <th class=\"n\">Clients dropped</th><th class=\"n\">Rounds without a quorum</th></tr></thead><tbody>",
    );
    let goal = target(runs).map(|(_, loss)| loss);
    for compared in compare(runs) {
        let mark = if compared.is_baseline { " (baseline)" } else { "" };
        let _ = write!(html, "<tr><th>{}{mark}</th>", escape(&compared.run.name));
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| loss(None));
        let [down, up, total] = compared.bytes.map(bytes);
        let missed = if goal.is_some() { "not reached".into() } else { loss(None) };
        let cells = [
            compared.rounds.to_string(),
            loss(compared.losses.map(|losses| losses.0)),
            loss(compared.losses.map(|losses| losses.1)),
            percent(compared.accuracy),
            or_dash(compared.gain_share.map(|share| format!("{:.1}%", share * 100.0))),
            down,
            up,
            total,
            or_dash(compared.reduction.map(ratio)),
            compared.to_target.map_or(missed, bytes),
            or_dash(compared.reduction_to_target.map(ratio)),
            compared.run.dropped().to_string(),
            compared.run.missed_rounds().0.to_string(),
        ];
        cells.iter().for_each(|cell| {
            let _ = write!(html, "<td class=\"n\">{cell}</td>");
        });
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>\n");
    if let Some(base) = baseline(runs) {
        let _ = writeln!(
            html,
            "<p class=\"note\">Baseline: {}. Target: its final validation loss{}. Bytes count both directions with all framing; \
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
