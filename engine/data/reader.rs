//! Unpacked text in, the fields of one record after the other out, each with its place so that it can be read again.
//! One line is held at a time.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::DataError;

/// How text is made of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// One JSON object a line, blank lines are skipped. `unit` is what errors call a line: one that was made of a row of
    /// a table is called so.
    Jsonl { unit: &'static str },
    /// Rows of values; the names are those of the first row.
    Csv { names: csv::StringRecord },
    /// The lines up to a blank one, joined by line feeds, are the field `text`.
    Txt,
}

/// One record as found: its fields and where it stands.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) fields: Map<String, Value>,
    /// The file or source.
    pub(super) name: &'a str,
    /// `line` or `row`.
    pub(super) unit: &'static str,
    /// Its number, from 1.
    pub(super) number: usize,
    /// The JSON text of its fields, whose order the map does not keep; empty where there is no such text.
    pub(super) raw: &'a str,
}

/// The bytes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) length: u32,
}

impl Found<'_> {
    /// Where it stands, as errors say it.
    pub(super) fn place(&self) -> String {
        format!("{} {}", self.unit, self.number)
    }

    /// Appends a field's value to `text`; `setting` asks for it.
    pub(super) fn append(&self, field: &str, setting: &'static str, text: &mut String) -> Result<(), DataError> {
        let found = match self.fields.get(field) {
            Some(Value::String(value)) => {
                text.push_str(value);
                return Ok(());
            }
            Some(value @ (Value::Number(_) | Value::Bool(_))) => {
                text.push_str(&value.to_string());
                return Ok(());
            }
            Some(Value::Null) => "null",
            Some(Value::Array(_)) => "an array",
            Some(Value::Object(_)) => "an object",
            None => return Err(self.missing(field, setting)),
        };
        Err(DataError::FieldKind { name: self.name.into(), place: self.place(), field: field.into(), setting, found })
    }

    /// Whether a field is missing or has nothing in it.
    pub(super) fn is_empty(&self, field: &str) -> bool {
        match self.fields.get(field) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.trim().is_empty(),
            Some(_) => false,
        }
    }

    /// The error that a field is not there.
    pub(super) fn missing(&self, field: &str, setting: &'static str) -> DataError {
        let fields = DataError::listed(self.fields.keys().map(String::as_str));
        DataError::MissingField { name: self.name.into(), place: self.place(), field: field.into(), setting, fields }
    }
}

/// Records that are being read from the beginning of some text.
pub(super) struct Records<'a, R> {
    input: R,
    name: &'a str,
    line: usize,
    record: usize,
    /// Bytes read so far.
    offset: u64,
    buffer: String,
}

/// A record's fields, where it begins and on which line.
type Located = (Map<String, Value>, u64, usize);

impl<'a, R: BufRead> Records<'a, R> {
    /// Records of `input`; `name` is what errors call it.
    pub(super) fn new(input: R, name: &'a str) -> Self {
        Self { input, name, line: 0, record: 0, offset: 0, buffer: String::new() }
    }

    /// Hands every record to `each`, in order.
    ///
    /// # Errors
    /// Text that is not what the layout says, and what `each` returns.
    pub(super) fn each(
        mut self,
        layout: &mut Layout,
        mut each: impl FnMut(Found<'_>, Span) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let unit = match layout {
            Layout::Csv { names } => return rows(self.input, self.name, names, each),
            Layout::Jsonl { unit } => *unit,
            Layout::Txt => "line",
        };
        let plain = *layout == Layout::Txt;
        loop {
            let found = if plain { self.next_paragraph()? } else { self.next_object(unit)? };
            let Some((fields, start, number)) = found else { return Ok(()) };
            let length = self.offset - start;
            let length = u32::try_from(length).map_err(|_| DataError::Record {
                name: self.name.into(),
                place: format!("{unit} {number}"),
                reason: format!("it has {length} bytes, the limit is {}", u32::MAX),
            })?;
            let raw = if plain { "" } else { self.buffer.trim() };
            each(Found { fields, name: self.name, unit, number, raw }, Span { start, length })?;
        }
    }

    fn next_object(&mut self, unit: &str) -> Result<Option<Located>, DataError> {
        loop {
            let start = self.offset;
            if !self.next_line()? {
                return Ok(None);
            }
            let text = self.buffer.trim();
            if text.is_empty() {
                continue;
            }
            self.record += 1;
            let reason = match serde_json::from_str(text) {
                Ok(Value::Object(fields)) => return Ok(Some((fields, start, self.line))),
                Ok(_) => "not a JSON object".to_owned(),
                Err(error) => format!("not JSON: {error}").replace(" at line 1 column", " at column"),
            };
            let place = format!("{unit} {} (record {})", self.line, self.record);
            return Err(DataError::Record { name: self.name.into(), place, reason });
        }
    }

    fn next_paragraph(&mut self) -> Result<Option<Located>, DataError> {
        let mut paragraph = String::new();
        let mut first = (0, 0);
        loop {
            let start = self.offset;
            if !self.next_line()? {
                break;
            }
            let text = self.buffer.trim_end();
            if !text.is_empty() {
                if paragraph.is_empty() {
                    first = (start, self.line);
                } else {
                    paragraph.push('\n');
                }
                paragraph.push_str(text);
            } else if !paragraph.is_empty() {
                break;
            }
        }
        if paragraph.is_empty() {
            return Ok(None);
        }
        let fields = Map::from_iter([("text".to_owned(), Value::String(paragraph))]);
        Ok(Some((fields, first.0, first.1)))
    }

    /// Reads a line into the buffer, without a byte order mark; false at the end.
    fn next_line(&mut self) -> Result<bool, DataError> {
        self.buffer.clear();
        let read = self.input.read_line(&mut self.buffer).map_err(|source| DataError::Read {
            name: self.name.into(),
            line: self.line,
            source,
        })?;
        self.line += 1;
        self.offset += read as u64;
        if self.line == 1 && self.buffer.starts_with('\u{feff}') {
            self.buffer.drain(..'\u{feff}'.len_utf8());
        }
        Ok(read > 0)
    }
}

/// Rows of a table. Where `names` is empty the first row fills it, else there is no such row.
fn rows(
    input: impl BufRead,
    name: &str,
    names: &mut csv::StringRecord,
    mut each: impl FnMut(Found<'_>, Span) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(input);
    let mut row = csv::StringRecord::new();
    let mut count = 0;
    loop {
        let start = reader.position().byte();
        let wrong = |place: String, reason: String| Err(DataError::Record { name: name.into(), place, reason });
        match reader.read_record(&mut row) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                return wrong(format!("row {}", count + 1), format!("not CSV: {error}"));
            }
        }
        if names.is_empty() {
            names.clone_from(&row);
            continue;
        }
        count += 1;
        let Ok(length) = u32::try_from(reader.position().byte() - start) else {
            return wrong(format!("row {count}"), format!("it has more than {} bytes", u32::MAX));
        };
        let values = row.iter().map(|value| Value::String(value.into()));
        let fields = names.iter().map(str::to_owned).zip(values).collect();
        each(Found { fields, name, unit: "row", number: count, raw: "" }, Span { start, length })?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and field `text` of every record; each is read a second time by its place, which must give the same.
    fn texts(content: &[u8], mut layout: Layout) -> Result<Vec<(usize, String)>, DataError> {
        let mut found = Vec::new();
        Records::new(content, "data").each(&mut layout, |record, span| {
            found.push((record.number, record.fields, span));
            Ok(())
        })?;
        for (_, fields, span) in &found {
            let start = span.start as usize;
            let bytes = &content[start..start + span.length as usize];
            let mut again = Vec::new();
            Records::new(bytes, "again").each(&mut layout, |record, _| {
                again.push(record.fields);
                Ok(())
            })?;
            assert_eq!(again.as_slice(), std::slice::from_ref(fields));
        }
        Ok(found.into_iter().map(|(line, fields, _)| (line, fields["text"].as_str().unwrap().to_owned())).collect())
    }

    const JSONL: Layout = Layout::Jsonl { unit: "line" };

    fn csv() -> Layout {
        Layout::Csv { names: csv::StringRecord::new() }
    }

    #[test]
    fn json_lines_are_read_with_their_line_numbers() {
        let json = b"\xEF\xBB\xBF{\"text\": \"a\\nb\"}\r\n\n{\"text\": \"c\"}";
        assert_eq!(texts(json, JSONL).unwrap(), [(1, "a\nb".to_owned()), (3, "c".to_owned())]);
    }

    #[test]
    fn a_paragraph_of_plain_text_is_a_record() {
        let expected = [(2, " one\ntwo".to_owned()), (7, "three".to_owned())];
        assert_eq!(texts(b"\n one\ntwo \r\n  \n\n\nthree", Layout::Txt).unwrap(), expected);
    }

    #[test]
    fn a_row_of_a_table_may_have_quotes_and_line_feeds() {
        let table = b"\xEF\xBB\xBFlabel,text\r\n1,\"a, \"\"b\"\"\nc\"\r\n\r\n2,d\n";
        assert_eq!(texts(table, csv()).unwrap(), [(1, "a, \"b\"\nc".to_owned()), (2, "d".to_owned())]);
        assert!(texts(b"label,text\n", csv()).unwrap().is_empty());
    }

    #[test]
    fn what_is_malformed_is_named_with_its_line_and_record() {
        let message = |content: &[u8], layout| texts(content, layout).unwrap_err().to_string();
        let error = message(b"{\"text\": \"a\"}\n\n{\"text\": }\n", JSONL);
        assert!(error.starts_with("data line 3 (record 2): not JSON") && error.contains("at column 10"), "{error}");
        assert!(message(b"[1]", JSONL).contains("line 1 (record 1): not a JSON object"));
        assert!(message(b"{\"text\": \"\xff\"}", JSONL).contains("UTF-8"));
        let error = message(b"label,text\n1,a\n2\n", csv());
        assert!(error.starts_with("data row 2: not CSV: ") && error.contains('2'), "{error}");
    }
}
