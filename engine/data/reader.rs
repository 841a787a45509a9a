//! Unpacked text in, the fields of one record after the other out, each with its place so that it can be read again.
//! One record is held at a time.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::DataError;
use super::json::{self, Object};
use super::pieces::{Lines, RECORD_BYTES, Span, Values, without_mark};
use super::table::{Row, Rows};

/// How text is made of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// One JSON object a line, blank lines are skipped.
    Lines,
    /// JSON objects over any lines: the values of one list, or one after the other.
    Values,
    /// One JSON object a line, made of the rows of files: the number of rows before each, and its name.
    Unpacked { files: Vec<(usize, String)> },
    /// Rows of values; the names are those of the first row.
    Csv { names: Vec<String>, delimiter: u8 },
    /// The lines up to a blank one, joined by line feeds, are the field `text`.
    Txt,
}

/// One record as found: its fields and where it stands.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) fields: Map<String, Value>,
    /// Fields that are not what the file says, with the reason.
    broken: Vec<(String, &'static str)>,
    /// The text of the JSON object that it is, with its keys in their order; empty where it is none.
    pub(super) raw: &'a str,
    /// The file or source.
    pub(super) name: &'a str,
    /// `line`, `row` and the like.
    unit: &'static str,
    /// Its number, from 1.
    pub(super) number: usize,
}

/// A record with its place, or why it cannot be used.
pub(super) type Item<'a> = Result<(Found<'a>, Span), DataError>;

impl<'a> Found<'a> {
    /// A record of these fields.
    pub(super) fn new(fields: Map<String, Value>, name: &'a str, unit: &'static str, number: usize) -> Self {
        Self { fields, broken: Vec::new(), raw: "", name, unit, number }
    }

    fn of(object: Object, raw: &'a [u8], name: &'a str, unit: &'static str, number: usize) -> Self {
        let raw = std::str::from_utf8(raw).unwrap_or_default();
        Self { fields: object.fields, broken: object.broken, raw, name, unit, number }
    }

    /// Where it stands, as errors say it.
    pub(super) fn place(&self) -> String {
        format!("{} {}", self.unit, self.number)
    }

    /// The value of a field; `setting` asks for it.
    ///
    /// # Errors
    /// A field that is not there, or whose value is not what the file says.
    pub(super) fn value(&self, field: &str, setting: &'static str) -> Result<&Value, DataError> {
        if let Some((_, reason)) = self.broken.iter().find(|(broken, _)| broken == field) {
            let reason = format!("field `{field}` ({setting}) {reason}");
            return Err(DataError::Record { name: self.name.into(), place: self.place(), reason });
        }
        self.fields.get(field).ok_or_else(|| self.missing(field, setting))
    }

    /// Appends a field's value to `text`; `setting` asks for it.
    pub(super) fn append(&self, field: &str, setting: &'static str, text: &mut String) -> Result<(), DataError> {
        let found = match self.value(field, setting)? {
            Value::String(value) => {
                text.push_str(value);
                return Ok(());
            }
            value @ (Value::Number(_) | Value::Bool(_)) => {
                text.push_str(&value.to_string());
                return Ok(());
            }
            Value::Null => "null",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        let (name, place) = (self.name.into(), self.place());
        Err(DataError::FieldKind { name, place, field: field.into(), setting, found })
    }

    /// A field's value as a name: as [`Self::append`], but 1.0 is 1.
    pub(super) fn named(&self, field: &str, setting: &'static str) -> Result<String, DataError> {
        /// Up to here every whole number has a float of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if let Value::Number(number) = self.value(field, setting)?
            && let Some(float) = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0)
            && float.abs() < EXACT
        {
            return Ok((float as i64).to_string());
        }
        let mut name = String::new();
        self.append(field, setting, &mut name)?;
        Ok(name)
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
        let mut fields = DataError::listed(self.fields.keys().map(String::as_str));
        let list = |(name, value): (&String, &Value)| {
            value.as_array().filter(|list| list.iter().any(Value::is_object)).map(|list| (name.clone(), list.len()))
        };
        if let Some((list, length)) = self.fields.iter().find_map(list).filter(|_| self.number == 1) {
            fields += &format!("; if the {length} objects in `{list}` are the records, make a file of that list alone");
        }
        DataError::MissingField { name: self.name.into(), place: self.place(), field: field.into(), setting, fields }
    }
}

/// How a file of JSON is laid out, by its beginning.
pub(super) fn json_layout(input: impl BufRead) -> std::io::Result<Layout> {
    let mut lines = Lines::new(input);
    while lines.next()? {
        let line = lines.line();
        match line.first() {
            None => continue,
            Some(b'[') => return Ok(Layout::Values),
            Some(_) => match json::object(line) {
                Err(fault) if fault.is_end() => {}
                // Several stand on one line.
                Err(fault) if fault.is_more() => return Ok(Layout::Values),
                _ => return Ok(Layout::Lines),
            },
        }
        // The object goes on behind its line, unless what follows is the next one.
        while lines.next()? {
            if let Some(first) = lines.line().first() {
                return Ok(if matches!(first, b'"' | b'}') { Layout::Values } else { Layout::Lines });
            }
        }
    }
    Ok(Layout::Lines)
}

/// Reads a record again from the bytes that it was found in; `start` is the place of the first.
///
/// # Errors
/// Bytes that are no longer those of one record.
pub(super) fn again<'a>(bytes: &'a [u8], layout: &Layout, name: &'a str, start: u64) -> Result<Found<'a>, DataError> {
    let changed = |reason: String| DataError::Changed { name: name.into(), reason: format!("byte {start}: {reason}") };
    let mut raw: &[u8] = b"";
    let object = match layout {
        Layout::Lines | Layout::Values | Layout::Unpacked { .. } => {
            raw = without_mark(bytes).trim_ascii();
            json::object(raw).map_err(|fault| changed(fault.to_string()))?
        }
        Layout::Csv { names, delimiter } => {
            let mut row = Row::default();
            let found = Rows::new(bytes, *delimiter).next(&mut row).is_ok_and(|found| found);
            if !found || row.end != bytes.len() as u64 {
                return Err(changed("not one row of values".into()));
            }
            row.object(names)
        }
        Layout::Txt => {
            let lines: Vec<&[u8]> =
                without_mark(bytes).split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
            let text = lines.join(&b'\n');
            let text = String::from_utf8(text.trim_ascii_end().into()).map_err(|error| changed(error.to_string()))?;
            Object { fields: Map::from_iter([("text".to_owned(), Value::String(text))]), broken: Vec::new() }
        }
    };
    Ok(Found::of(object, raw, name, "byte", start as usize))
}

/// Records that are being read from the beginning of some text.
pub(super) struct Records<'a, R> {
    input: R,
    name: &'a str,
}

impl<'a, R: BufRead> Records<'a, R> {
    /// Records of `input`; `name` is what errors call it.
    pub(super) fn new(input: R, name: &'a str) -> Self {
        Self { input, name }
    }

    /// Hands every record to `each`, in order.
    ///
    /// # Errors
    /// Text of which the end is not known, and what `each` returns.
    pub(super) fn each(
        self,
        layout: &mut Layout,
        each: impl FnMut(Item<'_>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        match layout {
            Layout::Lines => self.lines(&[], each),
            Layout::Unpacked { files } => self.lines(files, each),
            Layout::Values => self.values(each),
            Layout::Csv { names, delimiter } => self.rows(names, *delimiter, each),
            Layout::Txt => self.paragraphs(each),
        }
    }

    /// `files` are those whose rows the lines are, if they are.
    fn lines(
        self,
        files: &[(usize, String)],
        mut each: impl FnMut(Item<'_>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let name = self.name;
        let mut lines = Lines::new(self.input);
        let mut record = 0;
        while lines.next().map_err(|source| DataError::Read { name: name.into(), line: lines.number, source })? {
            if lines.line().is_empty() {
                continue;
            }
            record += 1;
            let number = lines.number;
            let file = files.iter().rfind(|(before, _)| *before < number);
            let (name, unit, number) =
                file.map_or((name, "line", number), |(before, name)| (name, "row", number - before));
            let wrong = |reason| {
                let place =
                    if file.is_some() { format!("row {number}") } else { format!("line {number} (record {record})") };
                DataError::Record { name: name.into(), place, reason }
            };
            let found = match lines.too_long {
                true => Err(wrong(too_long())),
                false => json::object(lines.line()).map_err(|fault| wrong(fault.to_string())),
            };
            each(found.map(|object| (Found::of(object, lines.line(), name, unit, number), lines.span())))?;
        }
        Ok(())
    }

    fn values(self, mut each: impl FnMut(Item<'_>) -> Result<(), DataError>) -> Result<(), DataError> {
        let name = self.name;
        let mut values = Values::new(self.input);
        let mut number = 0;
        while values.next().map_err(|source| DataError::Read { name: name.into(), line: 0, source })? {
            number += 1;
            let wrong = |reason| DataError::Record { name: name.into(), place: format!("record {number}"), reason };
            let found = match values.too_long {
                true => Err(wrong(too_long())),
                false => json::object(&values.bytes).map_err(|fault| wrong(fault.to_string())),
            };
            let span = Span { start: values.start, length: values.bytes.len() as u32 };
            each(found.map(|object| (Found::of(object, &values.bytes, name, "record", number), span)))?;
        }
        Ok(())
    }

    fn rows(
        self,
        names: &mut Vec<String>,
        delimiter: u8,
        mut each: impl FnMut(Item<'_>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let name = self.name;
        let (mut rows, mut row, mut number) = (Rows::new(self.input, delimiter), Row::default(), 0);
        let failed = |source| DataError::Read { name: name.into(), line: 0, source };
        if !rows.next(&mut row).map_err(failed)? {
            return Ok(());
        }
        *names = row.names();
        if let (1, Some(other)) =
            (names.len(), [';', '\t', '|', ','].into_iter().find(|other| names[0].contains(*other)))
        {
            let reason = format!(
                "the only column is called `{}`: it seems to be split by {other:?}, a .csv file is split by ',' and a .tsv \
                 file by '\\t'",
                DataError::quoted(&names[0])
            );
            return Err(DataError::Unreadable { name: name.into(), reason });
        }
        while rows.next(&mut row).map_err(failed)? {
            number += 1;
            let wrong = |reason| DataError::Record { name: name.into(), place: format!("row {number}"), reason };
            if row.unclosed {
                let reason = format!("row {number}: a quote is opened and never closed");
                return Err(DataError::Unreadable { name: name.into(), reason });
            }
            let reason = match row.too_long {
                true => Some(too_long()),
                false if row.len() > names.len() => {
                    Some(format!("it has {} values, there are {} columns", row.len(), names.len()))
                }
                false => None,
            };
            let length = u32::try_from(row.end - row.start).unwrap_or(u32::MAX);
            each(match reason {
                Some(reason) => Err(wrong(reason)),
                None if length == u32::MAX => Err(wrong(too_long())),
                None => Ok((Found::of(row.object(names), b"", name, "row", number), Span { start: row.start, length })),
            })?;
        }
        Ok(())
    }

    fn paragraphs(self, mut each: impl FnMut(Item<'_>) -> Result<(), DataError>) -> Result<(), DataError> {
        let name = self.name;
        let mut lines = Lines::new(self.input);
        let (mut text, mut start, mut first, mut too_long) = (Vec::new(), 0, 0, false);
        loop {
            let more =
                lines.next().map_err(|source| DataError::Read { name: name.into(), line: lines.number, source })?;
            let line = if more { lines.raw().trim_ascii_end() } else { &[] };
            if !line.is_empty() {
                match text.is_empty() {
                    true => (start, first, too_long) = (lines.start, lines.number, false),
                    false => text.push(b'\n'),
                }
                too_long |= lines.too_long || text.len() + line.len() > RECORD_BYTES;
                let room = RECORD_BYTES.saturating_sub(text.len());
                text.extend_from_slice(&line[..line.len().min(room)]);
                continue;
            }
            if !text.is_empty() {
                let end = if more { lines.start } else { lines.offset };
                let wrong =
                    |reason| Err(DataError::Record { name: name.into(), place: format!("line {first}"), reason });
                let span = Span { start, length: (end - start).min(u64::from(u32::MAX)) as u32 };
                each(match (too_long, String::from_utf8(std::mem::take(&mut text))) {
                    (true, _) => wrong(self::too_long()),
                    (_, Err(error)) => wrong(format!("not UTF-8: {}", error.utf8_error())),
                    (_, Ok(text)) => {
                        let fields = Map::from_iter([("text".to_owned(), Value::String(text))]);
                        Ok((Found::new(fields, name, "line", first), span))
                    }
                })?;
            }
            if !more {
                return Ok(());
            }
        }
    }
}

fn too_long() -> String {
    format!("it has more than {RECORD_BYTES} bytes, the limit of a record")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number and field `text` of every record; each is read a second time by its place, which must give the same.
    fn texts(content: &[u8], mut layout: Layout) -> Result<Vec<(usize, String)>, DataError> {
        let mut found = Vec::new();
        Records::new(content, "data").each(&mut layout, |item| {
            let (record, span) = item?;
            found.push((record.number, record.fields, span));
            Ok(())
        })?;
        for (_, fields, span) in &found {
            let start = span.start as usize;
            let bytes = &content[start..start + span.length as usize];
            assert_eq!(again(bytes, &layout, "again", span.start).unwrap().fields, *fields);
        }
        Ok(found.into_iter().map(|(line, fields, _)| (line, fields["text"].as_str().unwrap().to_owned())).collect())
    }

    /// The records of JSON that can be used, and what is wrong with the others.
    fn json(content: &str) -> (Vec<String>, Vec<String>) {
        let mut layout = json_layout(content.as_bytes()).unwrap();
        let (mut used, mut wrong) = (Vec::new(), Vec::new());
        let mut take = |item: Item<'_>| {
            match item.and_then(|(found, _)| found.named("text", "data.text")) {
                Ok(text) => used.push(text),
                Err(error) => wrong.push(error.to_string()),
            }
            Ok(())
        };
        Records::new(content.as_bytes(), "data").each(&mut layout, &mut take).unwrap();
        (used, wrong)
    }

    fn csv() -> Layout {
        Layout::Csv { names: Vec::new(), delimiter: b',' }
    }

    #[test]
    fn json_lines_are_read_with_their_line_numbers() {
        let json = b"\xEF\xBB\xBF{\"text\": \"a\\nb\"}\r\n\n{\"text\": \"c\"}";
        assert_eq!(texts(json, Layout::Lines).unwrap(), [(1, "a\nb".to_owned()), (3, "c".to_owned())]);
    }

    #[test]
    fn json_objects_may_stand_in_a_list_or_over_lines() {
        let expected = [(1, "a]}\"".to_owned()), (2, "c".to_owned())];
        for text in [
            "\u{feff}[{\"text\": \"a]}\\\"\"}, {\"text\": \"c\", \"x\": [{}]}]\n",
            "[\n {\n  \"text\": \"a]}\\\"\"\n },\n {\n  \"text\": \"c\"\n }\n]",
            "{\n \"text\": \"a]}\\\"\"\n}\n{\n \"text\": \"c\"\n}\n",
            "{\"text\": \"a]}\\\"\"} {\"text\": \"c\"}",
        ] {
            assert_eq!(json_layout(text.as_bytes()).unwrap(), Layout::Values);
            assert_eq!(texts(text.as_bytes(), Layout::Values).unwrap(), expected);
        }
        for lines in ["{\"text\": 1}\n{\"text\": 2}", "{\"text\": \"cut\n{\"text\": 2}", "{\"a\": \n{\"text\": 2}", ""]
        {
            assert_eq!(json_layout(lines.as_bytes()).unwrap(), Layout::Lines, "{lines}");
        }
    }

    #[test]
    fn a_bad_record_takes_no_other_along() {
        let (used, wrong) = json(
            "{\"text\": \"a\"}\n{\"text\": }\n[1]\n{\"text\": 1.0, \"x\": NaN}\n{\"text\": null}\n{\"text\": \"\\ud83d\"}\n",
        );
        assert_eq!(used, ["a", "1"]);
        assert_eq!(wrong.len(), 4);
        assert_eq!(wrong[0], "data line 2 (record 2): not JSON: a value was expected at column 10");
        assert!(wrong[1].starts_with("data line 3 (record 3): not a JSON object"), "{wrong:?}");
        assert!(
            wrong[3].starts_with("data line 6: field `text` (data.text) has half of a surrogate pair"),
            "{wrong:?}"
        );
        let (used, wrong) = json("[{\"text\": 1}, 7, \"x\", [2], {\"text\" 3}, {\"text\": 4}] {\"text\": 5");
        assert_eq!(used, ["1", "4"]);
        assert_eq!(wrong.len(), 5, "{wrong:?}");
        assert!(wrong[4].starts_with("data record 7: it ends too early"), "{wrong:?}");
    }

    #[test]
    fn a_record_above_the_limit_is_one_that_cannot_be_used() {
        let long = "x".repeat(RECORD_BYTES + 10);
        let found = |content: String, mut layout: Layout| {
            let (mut used, mut wrong) = (Vec::new(), Vec::new());
            let mut take = |item: Item<'_>| {
                match item {
                    Ok((found, _)) => used.push(found.named("text", "data.text").unwrap()),
                    Err(error) => wrong.push(error.to_string()),
                }
                Ok(())
            };
            Records::new(content.as_bytes(), "data").each(&mut layout, &mut take).unwrap();
            assert_eq!(used, ["a", "b"]);
            wrong
        };
        let limit = format!("it has more than {RECORD_BYTES} bytes, the limit of a record");
        let object = |text: &str| format!("{{\"text\": \"{text}\"}}");
        let three = [object("a"), object(&long), object("b")];
        assert_eq!(found(three.join("\n"), Layout::Lines), [format!("data line 2 (record 2): {limit}")]);
        assert_eq!(found(format!("[{}]", three.join(",")), Layout::Values), [format!("data record 2: {limit}")]);
        assert_eq!(found(format!("text\na\n\"{long}\"\nb\n"), csv()), [format!("data row 2: {limit}")]);
        assert_eq!(found(format!("a\n\n{long}\n\nb"), Layout::Txt), [format!("data line 3: {limit}")]);
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
    fn what_is_malformed_is_named_with_its_place() {
        let message = |content: &[u8], layout| texts(content, layout).unwrap_err().to_string();
        assert_eq!(message(b"text\na,b\n", csv()), "data row 1: it has 2 values, there are 1 columns");
        assert!(message(b"text\na\n\"b\nc\n", csv()).contains("row 2: a quote is opened and never closed"));
        assert!(message(b"text;label\na;b\n", csv()).contains("it seems to be split by ';'"));
        assert!(message(b"a\xff\n", Layout::Txt).starts_with("data line 1: not UTF-8"));
    }

    #[test]
    fn a_list_in_an_object_is_said_to_be_no_record() {
        let (_, wrong) = json("{\"data\": [{\"text\": 1}, {\"text\": 2}]}");
        assert!(
            wrong[0].ends_with("if the 2 objects in `data` are the records, make a file of that list alone"),
            "{wrong:?}"
        );
    }
}
