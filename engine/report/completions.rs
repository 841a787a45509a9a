//! The completions of a run: what the model puts after a prompt, before and after training.

use std::fmt::Write;

use super::escape::escape;
use super::run::{Completion, Run};

/// The section of a run's completions; empty where it has none.
pub(super) fn section(run: &Run) -> String {
    let completions = run.summary.as_ref().map_or(&[][..], |summary| &summary.completions);
    if completions.is_empty() {
        return String::new();
    }
    let mut section = String::from(
        "<h3>Completions</h3>\n<div class=\"scroll\"><table class=\"texts\"><thead><tr><th>Prompt</th><th>Before training</th>\
         <th>After training</th></tr></thead><tbody>",
    );
    for Completion { prompt, before, after } in completions {
        let [prompt, before, after] = [prompt, before, after].map(|text| escape(text));
        let _ = write!(section, "<tr><td>{prompt}</td><td>{before}</td><td>{after}</td></tr>");
    }
    section.push_str("</tbody></table></div>\n<p class=\"note\">The most likely token each time.</p>\n");
    section
}
