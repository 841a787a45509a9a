//! The table at the end of a run.

use crate::federation::Summary;
use crate::report::{bytes, duration, loss, ratio};

/// What a run reached, one fact a line.
pub fn summary(summary: &Summary) -> String {
    let change = match (summary.eval_loss_before, summary.eval_loss_after) {
        (Some(before), Some(after)) => format!("  ({:+.1}%)", (after / before - 1.0) * 100.0),
        _ => String::new(),
    };
    let rows = [
        ("rounds", format!("{} in {}", summary.rounds, duration(summary.seconds))),
        ("clients", format!("{}, {} adapter values", summary.clients, summary.values)),
        ("validation loss before", loss(summary.eval_loss_before)),
        ("validation loss after", loss(summary.eval_loss_after) + &change),
        ("bytes down", bytes(summary.bytes_down)),
        ("bytes up", bytes(summary.bytes_up)),
        ("bytes both ways", bytes(summary.bytes_total)),
        ("dense LoRA would take", bytes(summary.dense_bytes_total)),
        ("reduction", ratio(summary.reduction)),
        ("all but training", overhead(summary)),
        ("peak memory", bytes(summary.peak_rss_bytes)),
        ("adapter (PEFT)", summary.adapter.display().to_string()),
        ("adapter hash", summary.adapter_hash.clone()),
        ("report", summary.report.display().to_string()),
    ];
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// The share of the CPU time that neither trained nor evaluated.
fn overhead(summary: &Summary) -> String {
    let timing = &summary.timing;
    match timing.overhead.zip(timing.other_cpu_s) {
        Some((share, seconds)) => format!("{:.1}% of the CPU time, {}", share * 100.0, duration(seconds)),
        None => "not known".into(),
    }
}
