//! The tables about one run: summary, bytes by kind, clients, effective config.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::escape::escape;
use super::run::{Client, Kinds, Run};
use super::{bytes, duration, loss, percent, ratio};

/// Clients listed by name; beyond that the counts above the table tell the rest.
const LISTED: usize = 200;

/// The run's results as a grid of facts.
pub fn summary(run: &Run) -> String {
    let Some(last) = run.last() else {
        return format!("<p class=\"note\">{}: no round was closed yet.</p>\n", escape(&run.dir.display().to_string()));
    };
    let mut facts = String::from("<dl class=\"facts\">");
    let mut fact = |name: &str, value: String, more: String| {
        let small = if more.is_empty() { String::new() } else { format!("<small>{}</small>", escape(&more)) };
        let _ = write!(facts, "<div><dt>{name}</dt><dd>{}{small}</dd></div>", escape(&value));
    };
    if let Some((before, after)) = run.losses() {
        let change = (after / before - 1.0) * 100.0;
        fact("Validation loss", format!("{before:.3} → {after:.3}"), format!("nats a prediction, {change:+.1}%"));
    } else if let Some(before) = run.rows.iter().find_map(|row| row.eval_loss) {
        fact("Validation loss", format!("{before:.3} → –"), "nothing was evaluated after a round".into());
    } else {
        fact("Validation loss", loss(None), "no loss was measured".into());
    }
    if let Some((before, after)) = run.first_and_last(|row| row.eval_metric) {
        let shown = format!("{} → {}", percent(Some(before)), percent(Some(after)));
        fact(run.metric(), shown, "share of the predictions that are right".into());
    }
    fact("Bytes down", bytes(last.bytes_down), "server to clients".into());
    fact("Bytes up", bytes(last.bytes_up), "clients to server".into());
    let reduction = last.dense_bytes_total as f64 / last.bytes_total as f64;
    fact("Bytes both ways", bytes(last.bytes_total), String::new());
    fact("Reduction", ratio(reduction), format!("dense f32 both ways: {}", bytes(last.dense_bytes_total)));
    let trained = run.rows.iter().filter(|row| row.round > 0).count();
    let seconds: f64 = run.rows.iter().map(|row| row.seconds).sum();
    fact(
        "Rounds",
        last.round.to_string(),
        format!("{} ({} each)", duration(seconds), duration(seconds / trained.max(1) as f64)),
    );
    let completed: u64 = run.rows.iter().map(|row| u64::from(row.completed)).sum();
    fact("Client updates", completed.to_string(), format!("{} dropped", run.dropped()));
    if let Some((first, last)) = run.rates().filter(|_| run.rates_change()) {
        fact("Learning rate", format!("{first:.3e} → {last:.3e}"), "of the clients, first and last round".into());
    }
    let (missed, last_missed) = run.missed_rounds();
    if missed > 0 {
        let last = if last_missed > 0 { format!(", the last {last_missed} among them") } else { String::new() };
        fact("Rounds without a quorum", missed.to_string(), format!("they changed nothing{last}"));
    }
    let mut unfinished = "";
    match &run.summary {
        Some(summary) => {
            fact("Clients", summary.clients.to_string(), format!("{} adapter values", summary.values));
            if let Some(overhead) = summary.timing.overhead {
                let other = summary.timing.other_cpu_s.map(duration).unwrap_or_default();
                let small = format!("of the CPU time, {other}: neither training nor evaluation");
                fact("All but training", format!("{:.1}%", overhead * 100.0), small);
            }
            if let Some(budget) = summary.byte_budget {
                let share = percent(Some(last.bytes_total as f64 / budget as f64));
                let end = match summary.ended_by.as_str() {
                    "byte_budget" => format!(", ended before round {}, which might exceed it", last.round + 1),
                    _ => String::new(),
                };
                fact("Byte budget", share, format!("of {} used{end}", bytes(budget)));
            }
            if summary.eval_records < summary.held_out_records {
                let of = format!("of {} held-out records, the same after every round", summary.held_out_records);
                fact("Evaluated on", summary.eval_records.to_string(), of);
            }
            if summary.peak_rss_bytes > 0 {
                fact("Peak memory", bytes(summary.peak_rss_bytes), "resident set".into());
            }
            if !summary.adapter_hash.is_empty() {
                let short: String = summary.adapter_hash.chars().take(12).collect();
                fact("Adapter", short, "BLAKE3 of its values, first 12 digits".into());
            }
            if summary.interrupted {
                unfinished = "<p class=\"note\">This run was stopped before its last round; <code>--resume</code> goes on.</p>\n";
            }
        }
        None => {
            unfinished = "<p class=\"note\">This run has no summary.json: it is still going on or was killed.</p>\n"
        }
    }
    facts.push_str("</dl>\n");
    format!("{unfinished}{facts}<p class=\"note\">Run directory: {}</p>\n", escape(&run.dir.display().to_string()))
}

/// The table of bytes by kind, both directions.
pub fn bytes_by_kind(run: &Run) -> String {
    let Some(last) = run.last().filter(|row| row.bytes_total > 0) else { return String::new() };
    if last.down == Kinds::default() && last.up == Kinds::default() {
        return String::new();
    }
    let mut table = String::from(
        "<h3>Bytes by kind</h3>\n<div class=\"scroll\"><table><thead><tr><th>Direction</th><th class=\"n\">Frames</th><th class=\"n\">Indices</th>\
         <th class=\"n\">Values</th><th class=\"n\">Other</th><th class=\"n\">Framing</th><th class=\"n\">Catch-up</th><th class=\"n\">Control</th><th class=\"n\">Total</th></tr></thead><tbody>",
    );
    let (down, up) = (last.down, last.up);
    for (name, kinds, class) in [("Down", down, ""), ("Up", up, ""), ("Both", down + up, " class=\"sum\"")] {
        let total = kinds.indices + kinds.values + kinds.other + kinds.framing + kinds.catch_up + kinds.control;
        let _ = write!(table, "<tr{class}><th>{name}</th><td class=\"n\">{}</td>", kinds.frames);
        for part in [kinds.indices, kinds.values, kinds.other, kinds.framing, kinds.catch_up, kinds.control] {
            let share = 100.0 * part as f64 / total.max(1) as f64;
            let _ = write!(table, "<td class=\"n\" title=\"{part} bytes\">{} ({share:.1}%)</td>", bytes(part));
        }
        let _ = write!(table, "<td class=\"n\" title=\"{total} bytes\">{}</td></tr>", bytes(total));
    }
    table.push_str("</tbody></table></div>\n<p class=\"note\">Lengths of real frames; \"other\" is what a policy coded by itself, framing is headers and checksums, catch-up is whole frames for clients that missed rounds, control is what crosses beside frames in a deployed federation.</p>\n");
    table
}

/// The table of clients: rounds completed and dropped, reasons of the drops, bytes.
pub fn clients(run: &Run) -> String {
    if run.clients.is_empty() {
        return String::new();
    }
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for (reason, count) in run.clients.values().flat_map(|client| &client.reasons) {
        *reasons.entry(reason).or_default() += count;
    }
    let mut html = format!("<details><summary>Clients that took part ({})</summary>\n", run.clients.len());
    if !reasons.is_empty() {
        html.push_str("<ul>");
        for (reason, count) in &reasons {
            let _ = write!(html, "<li>dropped {count} times: {}</li>", escape(reason));
        }
        html.push_str("</ul>\n");
    }
    html.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>Client</th><th class=\"n\">Completed</th><th class=\"n\">Dropped</th><th class=\"n\">Last training loss</th>\
         <th class=\"n\">Down</th><th class=\"n\">Up</th><th>Reasons of drops</th></tr></thead><tbody>",
    );
    // Clients with drops come first: they are what a reader looks for.
    let mut sorted: Vec<&Client> = run.clients.values().collect();
    sorted.sort_by(|a, b| b.dropped.cmp(&a.dropped).then(b.completed.cmp(&a.completed)).then(a.name.cmp(&b.name)));
    for client in sorted.iter().take(LISTED) {
        let why: Vec<String> = client.reasons.iter().map(|(reason, count)| format!("{count} x {reason}")).collect();
        let _ = write!(
            html,
            "<tr><th>{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escape(&client.name),
            client.completed,
            client.dropped,
            loss(client.last_loss),
            bytes(client.bytes_down),
            bytes(client.bytes_up),
            escape(&why.join("; "))
        );
    }
    html.push_str("</tbody></table></div>\n");
    if sorted.len() > LISTED {
        let _ = writeln!(html, "<p class=\"note\">{} more in clients.jsonl.</p>", sorted.len() - LISTED);
    }
    html.push_str("</details>\n");
    html
}

/// The effective config as the run wrote it.
pub fn config(run: &Run) -> String {
    if run.config.is_empty() {
        return String::new();
    }
    format!("<details><summary>Effective config</summary><pre>{}</pre></details>\n", escape(&run.config))
}
