//! Tables of text, as pandas reads them without a setting: bytes in, rows of values out, each with its place.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::json::Object;
use super::pieces::RECORD_BYTES;

/// What stands for no value: pandas' list.
const MISSING: [&str; 19] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// Rows that are being read.
pub(super) struct Rows<R> {
    input: R,
    delimiter: u8,
    /// Bytes read so far.
    offset: u64,
    /// The last row ended with a carriage return, to which a line feed may belong.
    returned: bool,
}

/// The values of one row and where they stand.
#[derive(Debug, Default)]
pub(super) struct Row {
    bytes: Vec<u8>,
    /// Where each value ends in `bytes`.
    ends: Vec<usize>,
    /// Its first byte and the one behind its last.
    pub(super) start: u64,
    pub(super) end: u64,
    /// A quote is open at the end of the file.
    pub(super) unclosed: bool,
    /// It has more bytes than a record may have; they are not kept.
    pub(super) too_long: bool,
    quoted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Plain,
    Quoted,
    /// Behind a quote in a quoted value: its end, or the first of two that stand for one.
    Quote,
}

impl<R: BufRead> Rows<R> {
    pub(super) fn new(input: R, delimiter: u8) -> Self {
        Self { input, delimiter, offset: 0, returned: false }
    }

    /// Reads the next row that is not blank; false at the end.
    pub(super) fn next(&mut self, row: &mut Row) -> std::io::Result<bool> {
        loop {
            if !self.any(row)? {
                return Ok(false);
            }
            if row.ends.len() > 1 || row.quoted || row.too_long || !row.bytes.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn any(&mut self, row: &mut Row) -> std::io::Result<bool> {
        *row = Row { bytes: std::mem::take(&mut row.bytes), ends: std::mem::take(&mut row.ends), ..Row::default() };
        row.bytes.clear();
        row.ends.clear();
        let mut at = At::Start;
        row.start = self.offset;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                row.unclosed = at == At::Quoted;
                row.end = self.offset;
                row.ends.push(row.bytes.len());
                return Ok(row.end > row.start);
            }
            let mut used = 0;
            let mut ended = false;
            for byte in chunk {
                used += 1;
                if std::mem::take(&mut self.returned) && *byte == b'\n' {
                    row.start += 1;
                    continue;
                }
                at = match (at, *byte) {
                    (At::Quoted, b'"') => At::Quote,
                    (At::Quoted, byte) => row.push(byte, At::Quoted),
                    (At::Quote, b'"') => row.push(b'"', At::Quoted),
                    (At::Start, b'"') => {
                        row.quoted = true;
                        At::Quoted
                    }
                    (_, b'\n' | b'\r') => {
                        self.returned = *byte == b'\r';
                        ended = true;
                        break;
                    }
                    (_, byte) if byte == self.delimiter => {
                        row.ends.push(row.bytes.len());
                        At::Start
                    }
                    (_, byte) => row.push(byte, At::Plain),
                };
            }
            self.input.consume(used);
            self.offset += used as u64;
            if ended {
                row.end = self.offset;
                row.ends.push(row.bytes.len());
                return Ok(true);
            }
        }
    }
}

impl Row {
    fn push(&mut self, byte: u8, then: At) -> At {
        match self.bytes.len() < RECORD_BYTES {
            true => self.bytes.push(byte),
            false => self.too_long = true,
        }
        then
    }

    /// Values that it has.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// The names of columns, if this is the first row: one without a name gets one, one whose name came before a number.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::with_capacity(self.len());
        for (number, value) in self.values().enumerate() {
            let value = if number == 0 { value.strip_prefix(b"\xef\xbb\xbf").unwrap_or(value) } else { value };
            // A quote behind a byte order mark is one all the same.
            let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
            let name = String::from_utf8_lossy(value).into_owned();
            let name = if name.is_empty() { format!("Unnamed: {number}") } else { name };
            let again = (1..).map(|time| format!("{name}.{time}"));
            let free = std::iter::once(name.clone()).chain(again).find(|name| !names.contains(name));
            names.extend(free);
        }
        names
    }

    /// Its values by the names of the columns. Where it has fewer, the last ones are missing.
    pub(super) fn object(&self, names: &[String]) -> Object {
        let mut object = Object { fields: Map::new(), broken: Vec::new() };
        let values = self.values().map(Some).chain(std::iter::repeat(None));
        for (name, value) in names.iter().zip(values) {
            let text = String::from_utf8_lossy(value.unwrap_or_default());
            let reason = match value {
                None => Some("is missing: the row has too few values"),
                Some(_) if text.is_empty() => Some("is missing"),
                Some(_) if MISSING.contains(&&*text) => {
                    Some("is NA, null or the like, which stands for no value in a table")
                }
                Some(value) if std::str::from_utf8(value).is_err() => Some("is not UTF-8"),
                Some(_) => None,
            };
            let missing = reason.is_some_and(|reason| reason != "is not UTF-8");
            object.broken.extend(reason.map(|reason| (name.clone(), reason)));
            object.fields.insert(name.clone(), if missing { Value::Null } else { Value::String(text.into_owned()) });
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(text: &str, delimiter: u8) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut found) = (Rows::new(text.as_bytes(), delimiter), Row::default(), Vec::new());
        while rows.next(&mut row).unwrap() {
            let again = &text[row.start as usize..row.end as usize];
            let mut second = Row::default();
            assert!(Rows::new(again.as_bytes(), delimiter).next(&mut second).unwrap());
            assert_eq!((&second.bytes, &second.ends), (&row.bytes, &row.ends));
            found.push(row.values().map(|value| String::from_utf8_lossy(value).into_owned()).collect());
        }
        found
    }

    #[test]
    fn quotes_line_ends_and_blank_lines_are_as_pandas_takes_them() {
        let text = "a,\"b, \"\"c\"\"\nd\"\r\n\r\n  \nx y, \"q\"\r5\" disk,\"a\"b\n,\n\"\"";
        let expected: [&[&str]; 5] = [&["a", "b, \"c\"\nd"], &["x y", " \"q\""], &["5\" disk", "ab"], &["", ""], &[""]];
        assert_eq!(rows(text, b','), expected);
        assert_eq!(rows("a,b\tc\n", b'\t'), [["a,b", "c"]]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_known() {
        let mut row = Row::default();
        assert!(Rows::new(b"a,\"b\nc,d\n".as_slice(), b',').next(&mut row).unwrap());
        assert!(row.unclosed);
    }

    #[test]
    fn columns_have_pandas_names_and_missing_values_are_none() {
        let mut row = Row::default();
        let mut table = Rows::new("\u{feff}\"a\",b,,b, c,b\n1,NA,,x\n".as_bytes(), b',');
        table.next(&mut row).unwrap();
        let names = row.names();
        assert_eq!(names, ["a", "b", "Unnamed: 2", "b.1", " c", "b.2"]);
        table.next(&mut row).unwrap();
        let object = row.object(&names);
        let expected = json!({"a": "1", "b": null, "Unnamed: 2": null, "b.1": "x", " c": null, "b.2": null});
        assert_eq!(Value::Object(object.fields), expected);
        assert_eq!(object.broken.len(), 4);
    }
}
