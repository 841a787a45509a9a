//! The comparison as Markdown for people and as CSV for programs. In: runs. Out: text, a row a run.

use std::fmt::Write;

use super::compare::{Compared, compare};
use super::run::Run;
use super::{bytes, duration, loss, percent, ratio};

/// A Markdown table; losses in nats a prediction, bytes with all framing.
pub fn markdown(runs: &[Run]) -> String {
    let mut text = String::from(
        "| run | rounds | loss before | final loss | share of the baseline's gain | down | up | both ways | fewer bytes at equal rounds | time | final accuracy | dropped | rounds without a quorum |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for compared in compare(runs) {
        let Compared { run, rounds, losses, bytes: [down, up, total], .. } = &compared;
        let mark = if compared.is_baseline { " (baseline)" } else { "" };
        let share = compared.gain_share.map_or_else(|| loss(None), |share| format!("{:.1}%", share * 100.0));
        let _ = writeln!(
            text,
            "| {}{mark} | {rounds} | {} | {} | {share} | {} | {} | {} | {} | {} | {} | {} | {} |",
            run.name.replace('|', "\\|"),
            loss(losses.map(|losses| losses.0)),
            loss(losses.map(|losses| losses.1)),
            bytes(*down),
            bytes(*up),
            bytes(*total),
            compared.reduction.map_or_else(|| loss(None), ratio),
            duration(compared.seconds),
            percent(compared.accuracy),
            run.dropped(),
            run.missed_rounds().0,
        );
    }
    text
}

/// Comma-separated values under a header; a cell without a value is empty.
pub fn csv(runs: &[Run]) -> String {
    let mut text = String::from(
        "run,rounds,loss_before,loss_after,gain_share,bytes_down,bytes_up,bytes_total,reduction,bytes_to_target,reduction_to_target,seconds,accuracy_after,dropped,rounds_without_quorum\n",
    );
    for compared in compare(runs) {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let [down, up, total] = compared.bytes;
        let _ = writeln!(
            text,
            "{},{},{},{},{},{down},{up},{total},{},{},{},{},{},{},{}",
            quoted(&compared.run.name),
            compared.rounds,
            number(compared.losses.map(|losses| losses.0)),
            number(compared.losses.map(|losses| losses.1)),
            number(compared.gain_share),
            number(compared.reduction),
            compared.to_target.map(|bytes| bytes.to_string()).unwrap_or_default(),
            number(compared.reduction_to_target),
            compared.seconds,
            number(compared.accuracy),
            compared.run.dropped(),
            compared.run.missed_rounds().0,
        );
    }
    text
}

/// RFC 4180: quotes around what holds a comma, a quote or a line break.
pub fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_comma_or_a_quote_stays_one_cell() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
