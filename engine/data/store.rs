//! A file or the bundled speeches in; text that can be read from the beginning and at any place out.

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::SpooledTempFile;

use super::bytes::{BUFFER, Bytes, IN_MEMORY, open, unpack_gzip, wide};
use super::folder::{files, stem};
use super::pieces::Span;
use super::reader::{self, Found, Item, Layout, Records};
use super::recipe::Recipe;
use super::{DataError, Format, bundled, parquet};

/// Text with records in it.
#[derive(Debug)]
pub(super) struct Store {
    bytes: Mutex<Bytes>,
    layout: Layout,
    name: String,
    /// Names of the classes in their order, where a table says them.
    classes: Vec<String>,
}

impl Store {
    /// The speeches that the program carries.
    ///
    /// # Errors
    /// None in practice: they are part of the program.
    pub(super) fn bundled() -> Result<Self, DataError> {
        let name = bundled::NAME.to_owned();
        let packed = bundled::bundled_speeches();
        let bytes = unpack_gzip(packed, packed.len() as u64, &name)?;
        Ok(Self { bytes: Mutex::new(bytes), layout: Layout::Lines, name, classes: Vec::new() })
    }

    /// Opens a file of text or a table; `format` is none of those of pictures. Of a table the columns that `recipe` reads are
    /// unpacked.
    ///
    /// # Errors
    /// A file that cannot be opened or unpacked, and a table that lacks a column.
    pub(super) fn open(path: &Path, format: Format, recipe: &Recipe) -> Result<Self, DataError> {
        let name = path.display().to_string();
        if format == Format::Parquet {
            let mut spool = SpooledTempFile::new(IN_MEMORY);
            let unpacked = parquet::unpack(&files(path, "parquet")?, recipe, &mut spool)?;
            let layout = Layout::Unpacked { files: unpacked.files };
            return Ok(Self { bytes: Mutex::new(Bytes::of(spool, &name)?), layout, name, classes: unpacked.classes });
        }
        let mut bytes = open(path, &name)?;
        if let Some(wide) = wide(&mut bytes, &name)? {
            bytes = wide;
        }
        let failed = |source| DataError::Read { name: name.clone(), line: 0, source };
        let layout = match format {
            Format::Csv => {
                let delimiter = if stem(path).ends_with(".tsv") { b'\t' } else { b',' };
                Layout::Csv { names: Vec::new(), delimiter }
            }
            Format::Txt => Layout::Txt,
            _ => {
                let input = BufReader::with_capacity(BUFFER, bytes.at(0).map_err(failed)?);
                reader::json_layout(input).map_err(failed)?
            }
        };
        Ok(Self { bytes: Mutex::new(bytes), layout, name, classes: Vec::new() })
    }

    /// The file, or what the bundled data is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Names of the classes in their order, where a table says them.
    pub(super) fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Whether all its values are text, so that a number is told by its letters alone.
    pub(super) fn is_untyped(&self) -> bool {
        matches!(self.layout, Layout::Csv { .. })
    }

    /// Hands every record to `each`, in order, with its place. Returns the fingerprint of all bytes.
    ///
    /// # Errors
    /// Text of which the end is not known, and what `each` returns.
    pub(super) fn scan(
        &mut self,
        each: impl FnMut(Item<'_>) -> Result<(), DataError>,
    ) -> Result<blake3::Hash, DataError> {
        let bytes = self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| DataError::Read { name: self.name.clone(), line: 0, source };
        let mut hashing = Hashing { inner: bytes.at(0).map_err(failed)?, hasher: blake3::Hasher::new() };
        let input = BufReader::with_capacity(BUFFER, &mut hashing);
        Records::new(input, &self.name).each(&mut self.layout, each)?;
        Ok(hashing.hasher.finalize())
    }

    /// Reads the records at `spans` again and hands each to `each`. One reader at a time.
    ///
    /// # Errors
    /// [`DataError::Changed`] where the file is another than [`Self::scan`] saw, and what `each` returns.
    pub(super) fn read(
        &self,
        spans: impl Iterator<Item = Span>,
        mut each: impl FnMut(Found<'_>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut buffer = Vec::new();
        for span in spans {
            buffer.resize(span.length as usize, 0);
            self.fill(&mut buffer, span.start)?;
            each(reader::again(&buffer, &self.layout, &self.name, span.start)?)?;
        }
        Ok(())
    }

    fn fill(&self, buffer: &mut [u8], start: u64) -> Result<(), DataError> {
        let failed = |source| DataError::Read { name: self.name.clone(), line: 0, source };
        let mut bytes: MutexGuard<'_, Bytes> = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Bytes::Theirs(file, before) = &*bytes {
            let (before, now) = (*before, file.metadata().map_err(failed)?.len());
            if before != now {
                let reason = format!("it had {before} bytes, it has {now}");
                return Err(DataError::Changed { name: self.name.clone(), reason });
            }
        }
        bytes.at(start).and_then(|input| input.read_exact(buffer)).map_err(failed)
    }
}

/// Input of which a fingerprint is taken as it is read.
struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::Config;
    use super::super::folder::format;
    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// The texts of a file's records, read in order and then backwards by their places.
    fn texts(name: &str, content: &[u8], as_format: Format) -> Result<Vec<String>, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let recipe = Recipe::new(&Config::default(), None).unwrap();
        let mut store = Store::open(&path, format(&path, as_format)?, &recipe)?;
        let text = |found: &Found<'_>| found.fields["text"].as_str().unwrap().to_owned();
        let (mut found, mut spans) = (Vec::new(), Vec::new());
        store.scan(|item| {
            let (record, span) = item?;
            found.push(text(&record));
            spans.push(span);
            Ok(())
        })?;
        let mut again = Vec::new();
        store.read(spans.into_iter().rev(), |record| {
            again.push(text(&record));
            Ok(())
        })?;
        again.reverse();
        assert_eq!(again, found);
        Ok(found)
    }

    fn message(name: &str, content: &[u8]) -> String {
        texts(name, content, Format::Auto).unwrap_err().to_string()
    }

    const JSON: &[u8] = b"{\"text\": \"a\\nb\"}\n\n{\"text\": \"c\"}";

    #[test]
    fn files_are_read_plain_and_packed_by_their_names() {
        let zstd = |content| zstd::encode_all(content, 3).unwrap();
        let expected = ["a\nb", "c"];
        assert_eq!(texts("a.jsonl", JSON, Format::Auto).unwrap(), expected);
        assert_eq!(texts("a.JSONL.gz", &gzip(JSON), Format::Auto).unwrap(), expected);
        assert_eq!(texts("a.jsonl.zst", &zstd(JSON), Format::Auto).unwrap(), expected);
        assert_eq!(texts("data", JSON, Format::Jsonl).unwrap(), expected);
        let (text, table) = (b"a\nb\n\nc\n", b"n,text\n1,\"a\nb\"\n2,c\n");
        assert_eq!(texts("a.txt", text, Format::Auto).unwrap(), expected);
        assert_eq!(texts("a.txt.gz", &gzip(text), Format::Auto).unwrap(), expected);
        assert_eq!(texts("a.csv", table, Format::Auto).unwrap(), expected);
        assert_eq!(texts("a.csv.zst", &zstd(table), Format::Auto).unwrap(), expected);
    }

    #[test]
    fn several_gzip_members_and_zstd_frames_are_one_file() {
        let parts: [&[u8]; 2] = [b"{\"text\": \"a\"}\n", b"{\"text\": \"b\"}\n"];
        assert_eq!(texts("a.jsonl.gz", &parts.map(gzip).concat(), Format::Auto).unwrap().len(), 2);
        let frames = parts.map(|part| zstd::encode_all(part, 3).unwrap()).concat();
        assert_eq!(texts("a.jsonl.zst", &frames, Format::Auto).unwrap().len(), 2);
    }

    #[test]
    fn what_is_unpacked_beyond_the_limit_lies_in_a_file() {
        let line = format!("{{\"text\": \"{}\"}}\n", "x".repeat(1 << 20));
        let content = line.repeat(IN_MEMORY / line.len() + 2);
        let found = texts("big.jsonl.gz", &gzip(content.as_bytes()), Format::Auto).unwrap();
        assert_eq!(found.len(), IN_MEMORY / line.len() + 2);
    }

    #[test]
    fn a_broken_stream_is_an_error_that_names_the_file_and_the_line() {
        let lines: String = (0..20_000).map(|i| format!("{{\"text\": \"{}\"}}\n", i * 7919 % 10_007)).collect();
        let packed = gzip(lines.as_bytes());
        let error = message("cut.jsonl.gz", &packed[..packed.len() / 2]);
        assert!(error.contains("cut.jsonl.gz after line ") && !error.contains("after line 0:"), "{error}");
        let packed = zstd::encode_all(lines.as_bytes(), 3).unwrap();
        assert!(message("cut.jsonl.zst", &packed[..packed.len() / 2]).contains("cut.jsonl.zst after line "));
        for name in ["not.jsonl.gz", "not.jsonl.zst"] {
            assert!(message(name, b"hello hello").contains(&format!("{name} after line 0")));
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_in_use_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, JSON).unwrap();
        let recipe = Recipe::new(&Config::default(), None).unwrap();
        let store = Store::open(&path, Format::Jsonl, &recipe).unwrap();
        std::fs::write(&path, b"{}").unwrap();
        let error = store.read([Span { start: 0, length: 2 }].into_iter(), |_| Ok(())).unwrap_err().to_string();
        assert!(error.ends_with("a.jsonl changed while it was in use: it had 31 bytes, it has 2"), "{error}");
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let recipe = Recipe::new(&Config::default(), None).unwrap();
        let error = Store::open(Path::new("/nowhere/a.jsonl"), Format::Jsonl, &recipe).unwrap_err().to_string();
        assert!(error.contains("cannot open data file /nowhere/a.jsonl"), "{error}");
    }
}
