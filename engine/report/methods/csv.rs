//! Every finished cell as a line of comma-separated values, for programs: nothing is rounded, nothing averaged.

use std::fmt::Write;

use super::statistics::{byte_reduction, first_row_at_target, gain_share, kinds, seed_references};
use super::{Comparison, Method, SeededRun, Setting};
use crate::report::text::quoted;

/// The header and a line a cell; a field without a value is empty.
pub fn cells(comparison: &Comparison) -> String {
    let mut text = String::from(
        "setting,method,point,chosen,seed,rounds,before,after,gain_share,target,bytes_to_target,round_to_target,\
         bytes_down,bytes_up,bytes_total,bytes_indices,bytes_values,bytes_other,bytes_framing,bytes_catch_up,frames,\
         dense_bytes_total,fewer_at_equal_rounds,training_cpu_s,evaluation_cpu_s,other_cpu_s,seconds,directory\n",
    );
    for setting in &comparison.settings {
        for method in &setting.methods {
            for seeded in &method.runs {
                line(&mut text, comparison, setting, method, seeded);
            }
        }
    }
    text
}

fn line(text: &mut String, comparison: &Comparison, setting: &Setting, method: &Method, seeded: &SeededRun) {
    let (run, metric) = (&seeded.run, comparison.metric);
    let Some(last) = run.last() else { return };
    let references = seed_references(comparison, setting, seeded.seed);
    let (baseline, target) = (references.map(|of| of.baseline), references.and_then(|of| of.target));
    let at_target = target.and_then(|target| first_row_at_target(run, target, metric));
    let kinds = kinds(run);
    let ends = metric.first_and_last(run);
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let count = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let timing = run.summary.as_ref().map(|summary| summary.timing);
    let fields = [
        quoted(&setting.title),
        quoted(&method.name),
        quoted(&seeded.point),
        seeded.chosen.to_string(),
        seeded.seed.to_string(),
        last.round.to_string(),
        number(ends.map(|ends| ends.0)),
        number(ends.map(|ends| ends.1)),
        number(baseline.and_then(|baseline| gain_share(run, baseline, metric))),
        number(target),
        count(at_target.map(|row| row.bytes_total)),
        count(at_target.map(|row| row.round.into())),
        last.bytes_down.to_string(),
        last.bytes_up.to_string(),
        last.bytes_total.to_string(),
        kinds.indices.to_string(),
        kinds.values.to_string(),
        kinds.other.to_string(),
        kinds.framing.to_string(),
        kinds.catch_up.to_string(),
        kinds.frames.to_string(),
        last.dense_bytes_total.to_string(),
        number(baseline.and_then(|baseline| byte_reduction(run, baseline))),
        number(timing.map(|timing| timing.training_cpu_s)),
        number(timing.map(|timing| timing.evaluation_cpu_s)),
        number(timing.and_then(|timing| timing.other_cpu_s)),
        run.rows.iter().map(|row| row.seconds).sum::<f64>().to_string(),
        quoted(&run.dir.display().to_string()),
    ];
    let _ = writeln!(text, "{}", fields.join(","));
}
