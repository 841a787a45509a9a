//! Files in, fields of one record after the other out. One line is held at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use super::{DataError, Format, bundled};

/// A source of records that is being read.
pub(super) struct Lines {
    input: Box<dyn BufRead>,
    name: String,
    plain: bool,
    line: usize,
    record: usize,
    buffer: String,
}

/// A record's fields and the line on which it begins.
type Located = (Map<String, Value>, usize);

/// One record as found: its fields and where it stands.
pub(super) struct Found<'a> {
    pub(super) fields: Map<String, Value>,
    pub(super) name: &'a str,
    pub(super) line: usize,
}

impl Lines {
    /// Opens a file; a name that ends with `.gz` is decompressed.
    pub(super) fn open(path: &Path, format: Format) -> Result<Self, DataError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (stem, packed) = name.strip_suffix(".gz").map_or((name.as_str(), false), |stem| (stem, true));
        let plain = match format {
            Format::Jsonl => false,
            Format::Txt => true,
            Format::Auto if stem.ends_with(".jsonl") => false,
            Format::Auto if stem.ends_with(".txt") => true,
            Format::Auto => return Err(DataError::UnknownFormat { path: path.into() }),
        };
        let open = |source| DataError::Open { path: path.into(), source };
        let file = File::open(path).map_err(open)?;
        if file.metadata().map_err(open)?.is_dir() {
            return Err(open(std::io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self::new(file, packed, plain, path.display().to_string()))
    }

    /// The speeches that the program carries.
    pub(super) fn bundled() -> Self {
        Self::new(bundled::bundled_speeches(), true, false, bundled::NAME.into())
    }

    fn new(input: impl Read + 'static, packed: bool, plain: bool, name: String) -> Self {
        let input: Box<dyn BufRead> = if packed {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(input)))
        } else {
            Box::new(BufReader::with_capacity(1 << 16, input))
        };
        Self { input, name, plain, line: 0, record: 0, buffer: String::new() }
    }

    pub(super) fn into_name(self) -> String {
        self.name
    }

    /// The next record, or none at the end. JSON: one object a line, blank lines are skipped. Text: the lines up to a
    /// blank one, joined by line feeds, are the field `text`.
    pub(super) fn next_record(&mut self) -> Result<Option<Found<'_>>, DataError> {
        let fields = if self.plain { self.next_paragraph()? } else { self.next_object()? };
        let Some((fields, line)) = fields else { return Ok(None) };
        Ok(Some(Found { fields, name: &self.name, line }))
    }

    fn next_object(&mut self) -> Result<Option<Located>, DataError> {
        while self.next_line()? {
            let text = self.buffer.trim();
            if text.is_empty() {
                continue;
            }
            self.record += 1;
            let reason = match serde_json::from_str(text) {
                Ok(Value::Object(fields)) => return Ok(Some((fields, self.line))),
                Ok(_) => "not a JSON object".to_owned(),
                Err(error) => format!("not JSON: {error}").replace(" at line 1 column", " at column"),
            };
            return Err(DataError::Json { name: self.name.clone(), line: self.line, record: self.record, reason });
        }
        Ok(None)
    }

    fn next_paragraph(&mut self) -> Result<Option<Located>, DataError> {
        let mut paragraph = String::new();
        let mut first = 0;
        while self.next_line()? {
            let text = self.buffer.trim_end();
            if !text.is_empty() {
                if paragraph.is_empty() {
                    first = self.line;
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
        Ok(Some((fields, first)))
    }

    /// Reads a line into the buffer, without a byte order mark; false at the end.
    fn next_line(&mut self) -> Result<bool, DataError> {
        self.buffer.clear();
        let read = self.input.read_line(&mut self.buffer).map_err(|source| DataError::Read {
            name: self.name.clone(),
            line: self.line,
            source,
        })?;
        self.line += 1;
        if self.line == 1 && self.buffer.starts_with('\u{feff}') {
            self.buffer.drain(..'\u{feff}'.len_utf8());
        }
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn texts(name: &str, content: &[u8], format: Format) -> Result<Vec<(usize, String)>, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let mut lines = Lines::open(&path, format)?;
        let mut found = Vec::new();
        while let Some(record) = lines.next_record()? {
            found.push((record.line, record.fields["text"].as_str().unwrap().to_owned()));
        }
        Ok(found)
    }

    fn message(name: &str, content: &[u8]) -> String {
        texts(name, content, Format::Auto).unwrap_err().to_string()
    }

    const JSON: &[u8] = b"\xEF\xBB\xBF{\"text\": \"a\\nb\"}\r\n\n{\"text\": \"c\"}";

    #[test]
    fn json_lines_are_read_plain_and_packed_with_their_line_numbers() {
        let expected = vec![(1, "a\nb".to_owned()), (3, "c".to_owned())];
        assert_eq!(texts("a.jsonl", JSON, Format::Auto).unwrap(), expected);
        assert_eq!(texts("a.JSONL.gz", &gzip(JSON), Format::Auto).unwrap(), expected);
        assert_eq!(texts("data", JSON, Format::Jsonl).unwrap(), expected);
    }

    #[test]
    fn a_paragraph_of_a_text_file_is_a_record() {
        let text = b"\n one\ntwo \r\n  \n\n\nthree";
        let expected = vec![(2, " one\ntwo".to_owned()), (7, "three".to_owned())];
        assert_eq!(texts("a.txt", text, Format::Auto).unwrap(), expected);
        assert_eq!(texts("a.txt.gz", &gzip(text), Format::Auto).unwrap(), expected);
    }

    #[test]
    fn several_gzip_members_are_one_file() {
        let mut packed = gzip(b"{\"text\": \"a\"}\n");
        packed.extend(gzip(b"{\"text\": \"b\"}\n"));
        assert_eq!(texts("a.jsonl.gz", &packed, Format::Auto).unwrap().len(), 2);
    }

    #[test]
    fn a_broken_gzip_stream_is_an_error_that_names_the_file_and_the_line() {
        let lines: String = (0..20_000).map(|i| format!("{{\"text\": \"{}\"}}\n", i * 7919 % 10_007)).collect();
        let packed = gzip(lines.as_bytes());
        let error = message("cut.jsonl.gz", &packed[..packed.len() / 2]);
        assert!(error.contains("cut.jsonl.gz after line "), "{error}");
        assert!(message("not.jsonl.gz", b"hello hello").contains("not.jsonl.gz after line 0"));
    }

    #[test]
    fn bad_json_names_the_line_and_the_record() {
        let error = message("bad.jsonl", b"{\"text\": \"a\"}\n\n{\"text\": }\n");
        assert!(error.contains("bad.jsonl line 3 (record 2): not JSON") && error.contains("at column 10"), "{error}");
        assert!(message("bad.jsonl", b"[1]").contains("line 1 (record 1): not a JSON object"));
        assert!(message("bad.jsonl", b"{\"text\": \"\xff\"}").contains("UTF-8"));
    }

    #[test]
    fn a_file_that_is_missing_or_of_unknown_format_is_named() {
        let error = Lines::open(Path::new("/nowhere/a.jsonl"), Format::Auto).err().unwrap().to_string();
        assert!(error.contains("cannot open data file /nowhere/a.jsonl"), "{error}");
        let error = Lines::open(Path::new("/nowhere/a.csv"), Format::Auto).err().unwrap().to_string();
        assert!(error.contains("/nowhere/a.csv") && error.contains("data.format"), "{error}");
    }
}
