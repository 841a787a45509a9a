//! Lines that policies log with `host.log`: kept while a hook runs, forwarded to the engine's log when it is over.
//! Bounded by the line, by the call and by the policy; lines that are left out are counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bindings::cellm::policy::types::LogLevel;
use super::printable;

/// Bytes of a line that are kept.
const LINE_BYTES: usize = 1000;
/// Lines of one call that are kept.
const CALL_LINES: usize = 20;
/// Lines of a policy, over all its instances, that the engine's log takes.
pub(super) const POLICY_LINES: u64 = 1000;
/// Lines that are kept for whoever asks afterwards.
const KEPT_LINES: usize = 3;

/// Lines that the call under way has logged.
#[derive(Default)]
pub(super) struct CallLog {
    lines: Vec<(LogLevel, String)>,
    left_out: u64,
}

impl CallLog {
    pub fn say(&mut self, level: LogLevel, mut text: String) {
        if self.lines.len() == CALL_LINES {
            // The last error is the one that counts, if the call traps.
            if level != LogLevel::Error {
                self.left_out += 1;
                return;
            }
            self.lines.pop();
            self.left_out += 1;
        }
        if text.len() > LINE_BYTES {
            text.truncate(text.floor_char_boundary(LINE_BYTES));
            text.push_str(" ...");
        }
        self.lines.push((level, printable(text.trim_end())));
    }

    /// Takes the last error out: of a call that trapped it is the reason.
    pub fn last_error(&mut self) -> Option<String> {
        let at = self.lines.iter().rposition(|(level, _)| *level == LogLevel::Error)?;
        Some(self.lines.remove(at).1)
    }
}

/// Lines that a policy has logged so far, over all its instances: their number and the first few.
#[derive(Debug, Default)]
pub struct PolicyLog(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lines: u64,
    first: Vec<String>,
    silenced: bool,
}

impl PolicyLog {
    /// Number of lines, and the first few of them; none where it logged nothing.
    pub fn summary(&self) -> Option<String> {
        let kept = self.kept();
        (kept.lines > 0).then(|| format!("{} lines, the first: {}", kept.lines, kept.first.join("; ")))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forwards the lines of a call to the engine's log.
    pub(super) fn forward(&self, policy: &str, hook: &'static str, words: CallLog) {
        let CallLog { lines, left_out } = words;
        if lines.is_empty() {
            return;
        }
        let mut kept = self.kept();
        for (level, text) in lines {
            kept.lines += 1;
            if kept.lines <= POLICY_LINES {
                event(level, policy, hook, &text);
            }
            if kept.first.len() < KEPT_LINES {
                kept.first.push(text);
            }
        }
        kept.lines += left_out;
        if left_out > 0 && kept.lines <= POLICY_LINES {
            tracing::warn!(policy, hook, left_out, limit = CALL_LINES, "a policy says too much in one call");
        }
        if kept.lines > POLICY_LINES && !std::mem::replace(&mut kept.silenced, true) {
            tracing::warn!(policy, hook, limit = POLICY_LINES, "a policy says too much, no more of it is logged");
        }
    }
}

fn event(level: LogLevel, policy: &str, hook: &'static str, said: &str) {
    match level {
        LogLevel::Error => tracing::error!(policy, hook, said, "a policy says"),
        LogLevel::Warn => tracing::warn!(policy, hook, said, "a policy says"),
        LogLevel::Info => tracing::info!(policy, hook, said, "a policy says"),
        LogLevel::Debug => tracing::debug!(policy, hook, said, "a policy says"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(lines: usize, level: LogLevel) -> CallLog {
        let mut words = CallLog::default();
        (0..lines).for_each(|line| words.say(level, format!("line {line}\u{1b}\n")));
        words
    }

    #[test]
    fn a_line_is_cut_and_stripped_and_a_call_has_a_limit() {
        let mut words = words(25, LogLevel::Info);
        assert_eq!((words.lines.len(), words.left_out), (20, 5));
        assert_eq!(words.lines[0].1, "line 0\u{fffd}");
        assert_eq!(words.last_error(), None, "nothing that was said was an error");
        words.say(LogLevel::Error, "é".repeat(5000));
        assert_eq!((words.lines.len(), words.left_out), (20, 6), "an error has room");
        let error = words.last_error().unwrap();
        assert!(error.len() <= 1004 && error.ends_with("é ..."), "{}", error.len());
        assert_eq!(words.lines.len(), 19);
    }

    #[test]
    fn all_lines_are_counted_and_the_first_are_kept() {
        let log = PolicyLog::default();
        assert_eq!(log.summary(), None);
        (0..60).for_each(|_| log.forward("loud", "encode", words(25, LogLevel::Debug)));
        let expected = "1500 lines, the first: line 0\u{fffd}; line 1\u{fffd}; line 2\u{fffd}";
        assert_eq!(log.summary().as_deref(), Some(expected));
    }
}
