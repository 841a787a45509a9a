//! Text that a stranger wrote, made fit for a terminal and a line of a log. In: any text. Out: one line without control
//! characters.

/// One line of it: white space that breaks lines becomes a blank; other control characters, and those that change the
/// direction of writing, become U+FFFD, so that nothing moves a cursor or hides what stands there.
pub fn printable(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// True for a letter that moves, hides or turns round the text beside it: a control character, a separator of lines
/// or paragraphs, or one that changes the direction of writing.
pub fn is_hidden(letter: char) -> bool {
    let turns =
        matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    letter.is_control() || turns
}

fn shown(letter: char) -> char {
    match letter {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        letter if is_hidden(letter) => char::REPLACEMENT_CHARACTER,
        letter => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_and_what_can_be_read_stays() {
        assert_eq!(printable("naïve 模型 -> 1.5\u{a0}%"), "naïve 模型 -> 1.5\u{a0}%");
        assert_eq!(printable("one\r\ntwo\tthree"), "one  two three");
        assert_eq!(printable("\u{1b}[2Jred\u{9b}31m\u{7f}\0"), "\u{fffd}[2Jred\u{fffd}31m\u{fffd}\u{fffd}");
        assert_eq!(printable("a\u{202e}b\u{2066}c\u{61c}"), "a\u{fffd}b\u{fffd}c\u{fffd}");
    }
}
