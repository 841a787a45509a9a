//! Templates of `data.template` and `data.answer`: text with `{field}` placeholders in, the text of a record out.

use super::DataError;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    setting: &'static str,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

impl Template {
    /// Parses `{field}` placeholders; `{{` and `}}` are literal braces. `setting` is the key that holds the template.
    pub(super) fn parse(setting: &'static str, template: &str) -> Result<Self, DataError> {
        let failed = |reason: &str| DataError::Template { setting, template: template.into(), reason: reason.into() };
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(failed("a `}` without `{` (write `}}` for a brace)"));
            }
            let end = rest.find('}').ok_or_else(|| failed("a `{` without `}` (write `{{` for a brace)"))?;
            if rest[..end].is_empty() || rest[..end].contains('{') {
                return Err(failed("a placeholder must be `{field}`"));
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Field(rest[..end].into()));
            rest = &rest[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        if !pieces.iter().any(|piece| matches!(piece, Piece::Field(_))) {
            return Err(failed("it has no `{field}`, so every record would be the same"));
        }
        Ok(Self { setting, pieces })
    }

    /// The template as it is written.
    pub(super) fn source(&self) -> String {
        let braces = |text: &str| text.replace('{', "{{").replace('}', "}}");
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => braces(text),
            Piece::Field(name) => format!("{{{name}}}"),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// The key that holds the template.
    pub(super) fn setting(&self) -> &'static str {
        self.setting
    }

    /// The field names in its placeholders.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Field(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// Appends the template to `text` with its placeholders filled; `field` appends a field's value.
    pub(super) fn fill(
        &self,
        text: &mut String,
        mut field: impl FnMut(&str, &mut String) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        for piece in &self.pieces {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Field(name) => field(name, text)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str) -> String {
        let mut text = String::new();
        let upper = |name: &str, text: &mut String| {
            text.push_str(&name.to_uppercase());
            Ok(())
        };
        Template::parse("data.template", template).unwrap().fill(&mut text, upper).unwrap();
        text
    }

    #[test]
    fn placeholders_are_filled_and_doubled_braces_are_literal() {
        assert_eq!(fill("{text}"), "TEXT");
        assert_eq!(fill("Q: {question}\nA: {answer}!"), "Q: QUESTION\nA: ANSWER!");
        assert_eq!(fill("{{{text}}} é"), "{TEXT} é");
    }

    #[test]
    fn a_template_that_does_not_parse_says_why() {
        for (template, part) in
            [("a } b {c}", "without `{`"), ("{text", "without `}`"), ("{}", "must be"), ("hello", "no `{field}`")]
        {
            let error = Template::parse("data.answer", template).unwrap_err().to_string();
            assert!(error.contains(part) && error.starts_with(&format!("data.answer `{template}`: ")), "{error}");
        }
    }
}
