//! The `generation` tags of `transformers`: a template with them in; the same template with plain Jinja tags out.

/// Rewrites each tag pair as a scoped block whose text stands between `open` and `close`; none where there is no such
/// tag. Comments, strings and raw blocks are left as they are, and so is white space control.
pub(super) fn rewrite(source: &str, open: &str, close: &str) -> Option<String> {
    let mut written = String::new();
    let mut rest = source;
    let mut found = false;
    while let Some(at) = rest.find('{') {
        let (before, tail) = rest.split_at(at);
        written.push_str(before);
        let mut length = if tail.starts_with("{#") {
            tail.find("#}").map_or(tail.len(), |end| end + 2)
        } else if tail.starts_with("{{") {
            code(tail, "}}")
        } else if tail.starts_with("{%") {
            code(tail, "%}")
        } else {
            1
        };
        let piece = &tail[..length];
        let name = if tail.starts_with("{%") { tag(piece) } else { None };
        // White space control before the tag belongs to the first of the two tags, that behind it to the second.
        let replaced = match name {
            Some("generation") => split(piece, "generation", "with", open, "if true"),
            Some("endgeneration") => split(piece, "endgeneration", "endif", close, "endwith"),
            _ => None,
        };
        found |= replaced.is_some();
        if name == Some("raw") {
            length += raw(&tail[length..]);
        }
        written.push_str(replaced.as_deref().unwrap_or(&tail[..length]));
        rest = &tail[length..];
    }
    written.push_str(rest);
    found.then_some(written)
}

/// Two tags in place of one, with a text between them; none where the tag has more than its name.
fn split(piece: &str, name: &str, first: &str, text: &str, second: &str) -> Option<String> {
    let (begin, end) = piece.split_once(name)?;
    let end_alone = end.trim_start_matches(char::is_whitespace).trim_start_matches(['-', '+']) == "%}";
    end_alone.then(|| format!("{begin}{first} %}}{{{{ '{text}' }}}}{{% {second}{end}"))
}

/// The name of a tag.
fn tag(tail: &str) -> Option<&str> {
    let inside = tail[2..].trim_start_matches(['-', '+']).trim_start();
    let end = inside.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(inside.len());
    (end > 0).then(|| &inside[..end])
}

/// The length of a piece of code with its end, which is not looked for in strings.
fn code(tail: &str, end: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in tail.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if tail[at..].starts_with(end) => return at + end.len(),
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None => {}
        }
    }
    tail.len()
}

/// The length of a raw block behind its tag, up to its end tag.
fn raw(tail: &str) -> usize {
    let mut from = 0;
    while let Some(at) = tail[from..].find("{%") {
        let at = from + at;
        if tag(&tail[at..]) == Some("endraw") {
            return at;
        }
        from = at + 2;
    }
    tail.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(source: &str) -> Option<String> {
        rewrite(source, "<", ">")
    }

    #[test]
    fn generation_tags_become_blocks_with_their_white_space() {
        assert_eq!(
            rewritten("a {%- generation -%} {{ x }} {%+endgeneration%} b").unwrap(),
            "a {%- with %}{{ '<' }}{% if true -%} {{ x }} {%+endif %}{{ '>' }}{% endwith%} b"
        );
    }

    #[test]
    fn what_only_looks_like_the_tag_is_left_alone() {
        for source in [
            "{# {% generation %} #}",
            "{{ '{% generation %}' }}",
            "{{ \"a\\\"{% generation %}\" }}",
            "{% raw %}{% generation %}{% endgeneration %}{%- endraw %}",
            "{% set generation = 1 %}{{ generation }}",
            "{% if x == '%}{% generation %}' %}{% endif %}",
            "{% generations %}",
            "{% generation x %}",
            "{",
            "{% unfinished",
        ] {
            assert_eq!(rewritten(source), None, "{source}");
        }
    }

    #[test]
    fn what_follows_a_raw_block_is_read_again() {
        let source = "{% raw %}{{{% endraw %}{% generation %}x";
        assert_eq!(rewritten(source).unwrap(), "{% raw %}{{{% endraw %}{% with %}{{ '<' }}{% if true %}x");
    }
}
