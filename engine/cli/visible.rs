//! Text of others made safe to show: client names, reasons of policies, what data and models are called. A control character
//! in it could move the cursor, hide a line or forge one; here each becomes an escape that can be read. What policies say has
//! been stripped where it entered (`policy::printable`); here is the border for everything else.

use std::borrow::Cow;
use std::fmt::Write;

use crate::policy::is_hidden;

/// A text on one line: every control character is an escape such as `\\n` or `\\u001b`.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// A text of several lines: as [`line`], but its line ends stay. Valid JSON stays valid.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |letter| letter != '\n' && is_hidden(letter))
}

fn escaped(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            letter if !hidden(letter) => shown.push(letter),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // All of them have at most four digits.
            letter => drop(write!(shown, "\\u{:04x}", u32::from(letter))),
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_escapes_and_plain_text_stays() {
        assert_eq!(line("Lily, 3 élan 日本"), "Lily, 3 élan 日本");
        assert_eq!(line("a\u{1b}[2Jb\u{9b}31m\u{7}\u{7f}"), "a\\u001b[2Jb\\u009b31m\\u0007\\u007f");
        assert_eq!(line("x\nerror: no\r\t"), "x\\nerror: no\\r\\t");
        assert_eq!(line("a\u{202e}b\u{2028}"), "a\\u202eb\\u2028");
        assert_eq!(lines("a\n\u{1b}b\n"), "a\n\\u001bb\n");
    }

    #[test]
    fn json_stays_json_and_means_the_same() {
        let value = serde_json::json!({ "name": "a\u{1b}\u{9b}\u{202e}\n" });
        let text = value.to_string();
        let shown = lines(&text);
        assert!(!shown.contains(is_hidden), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
