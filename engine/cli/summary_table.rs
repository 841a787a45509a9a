//! The table at the end of a run.

use crate::federation::{EndedBy, Summary};
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
    if summary.eval_records < summary.held_out_records {
        let sample = format!("{} of {} held-out records", summary.eval_records, summary.held_out_records);
        rows.push(("evaluated on".into(), sample));
    }
    if summary.eval_metric_before.or(summary.eval_metric_after).is_some() {
        rows.push((format!("{metric} before"), percent(summary.eval_metric_before)));
        rows.push((format!("{metric} after"), percent(summary.eval_metric_after)));
    }
    rows.extend([
        ("bytes down".into(), bytes(summary.bytes_down)),
        ("bytes up".into(), bytes(summary.bytes_up)),
        ("bytes both ways".into(), bytes(summary.bytes_total)),
    ]);
    if let Some(budget) = summary.byte_budget {
        rows.push(("byte budget".into(), used(summary, budget)));
    }
    rows.extend([
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

/// The share of a byte budget that was used, and whether it ended the run.
fn used(summary: &Summary, budget: u64) -> String {
    let share = percent(Some(summary.bytes_total as f64 / budget as f64));
    let end = match summary.ended_by {
        EndedBy::ByteBudget => format!(": the run ended before round {}, which might exceed it", summary.rounds + 1),
        _ => String::new(),
    };
    let over = summary.bytes_total.saturating_sub(budget);
    let over = if over > 0 { format!(", {over} bytes too many") } else { String::new() };
    format!("{share} of {} used{over}{end}", bytes(budget))
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
        let mut of: Summary = serde_json::from_value(text).unwrap();
        assert!(!summary(&of).contains("budget") && !summary(&of).contains("held-out"));
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
        (of.bytes_total, of.byte_budget, of.ended_by) = (900, Some(1000), EndedBy::ByteBudget);
        (of.eval_records, of.held_out_records) = (10, 200);
        let table = summary(&of);
        for line in [
            "byte budget              90.0% of 1.00 kB used: the run ended before round 6, which might exceed it",
            "evaluated on             10 of 200 held-out records",
        ] {
            assert!(table.lines().any(|found| found == line), "{line} is missing in {table}");
        }
        (of.bytes_total, of.ended_by) = (1100, EndedBy::Rounds);
        assert!(summary(&of).contains("110.0% of 1.00 kB used, 100 bytes too many\n"), "{}", summary(&of));
        (of.rounds, of.ended_by) = (0, EndedBy::ByteBudget);
        assert!(of.in_vain().unwrap().starts_with("run.byte_budget is 1000"));
    }
}
