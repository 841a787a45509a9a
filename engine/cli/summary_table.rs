//! The table at the end of a run.

use crate::federation::Summary;
use crate::report::{Completion, bytes, duration, loss, percent, ratio};

/// A run's results as text, one fact a line.
pub fn summary(summary: &Summary) -> String {
    let change = match (summary.eval_loss_before, summary.eval_loss_after) {
        (Some(before), Some(after)) => format!("  ({:+.1}%)", (after / before - 1.0) * 100.0),
        _ => String::new(),
    };
    let metric = &summary.metric;
    let mut rows = vec![
        ("rounds".to_owned(), format!("{} in {}", summary.rounds, duration(summary.seconds))),
        ("clients".into(), format!("{}, {} adapter values", summary.clients, summary.values)),
        ("updates".into(), format!("{} aggregated, {} dropped", summary.completed, summary.dropped)),
    ];
    if summary.rounds_without_quorum > 0 {
        let last = match summary.last_rounds_without_quorum {
            0 => String::new(),
            last => format!(", the last {last} among them"),
        };
        rows.push(("rounds without a quorum".into(), format!("{}{last}", summary.rounds_without_quorum)));
    }
    rows.push(("validation loss before".into(), loss(summary.eval_loss_before)));
    rows.push(("validation loss after".into(), loss(summary.eval_loss_after) + &change));
    if summary.eval_metric_before.or(summary.eval_metric_after).is_some() {
        rows.push((format!("{metric} before"), percent(summary.eval_metric_before)));
        rows.push((format!("{metric} after"), percent(summary.eval_metric_after)));
    }
    rows.extend([
        ("bytes down".into(), bytes(summary.bytes_down)),
        ("bytes up".into(), bytes(summary.bytes_up)),
        ("bytes both ways".into(), bytes(summary.bytes_total)),
        ("dense LoRA would take".into(), bytes(summary.dense_bytes_total)),
        ("reduction".into(), ratio(summary.reduction)),
        ("all but training".into(), overhead(summary)),
        ("peak memory".into(), bytes(summary.peak_rss_bytes)),
        ("adapter (PEFT)".into(), summary.adapter.display().to_string()),
        ("adapter hash".into(), summary.adapter_hash.clone()),
        ("report".into(), summary.report.display().to_string()),
    ]);
    if let Some(Completion { prompt, before, after }) = summary.completions.first() {
        let texts = [("prompt", prompt), ("completion before", before), ("completion after", after)];
        rows.extend(texts.map(|(name, text)| (name.to_owned(), one_line(text))));
    }
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// A text on one line, cut where it is long.
fn one_line(text: &str) -> String {
    const MOST: usize = 160;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// The share of the CPU time that neither trained nor evaluated.
fn overhead(summary: &Summary) -> String {
    let timing = &summary.timing;
    match timing.overhead.zip(timing.other_cpu_s) {
        Some((share, seconds)) => format!("{:.1}% of the CPU time, {}", share * 100.0, duration(seconds)),
        None => "not known".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_rounds_without_a_quorum_and_the_accuracy_have_a_line_each() {
        let text = serde_json::json!({
            "run_dir": "x", "rounds": 5, "completed": 9, "dropped": 11, "rounds_without_quorum": 3,
            "last_rounds_without_quorum": 2, "clients": 24, "values": 1, "eval_loss_before": 4.0, "eval_loss_after": null,
            "metric": "token accuracy", "eval_metric_before": 0.125, "eval_metric_after": null, "bytes_down": 1,
            "bytes_up": 1, "bytes_total": 2, "dense_bytes_total": 2, "reduction": 1.0, "adapter": "x", "adapter_hash": "x",
            "report": "x", "seconds": 1.0, "interrupted": false, "peak_rss_bytes": 1,
        });
        let of: Summary = serde_json::from_value(text).unwrap();
        let table = summary(&of);
        for line in [
            "updates                  9 aggregated, 11 dropped",
            "rounds without a quorum  3, the last 2 among them",
            "validation loss before   4.000",
            "validation loss after    –",
            "token accuracy before    12.5%",
            "token accuracy after     –",
        ] {
            assert!(table.lines().any(|found| found == line), "{line} is missing in {table}");
        }
        let reason = of.in_vain().unwrap();
        assert!(reason.starts_with("the last 2 of 5 rounds missed") && reason.ends_with("that of round 3"), "{reason}");
    }
}
