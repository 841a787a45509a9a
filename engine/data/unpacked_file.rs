//! The bytes of a file, with random access. Compressed files, pipes and UTF-16 are unpacked once: into memory while
//! they are small, else into a temporary file without a name.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use flate2::bufread::MultiGzDecoder;
use tempfile::{SpooledData, SpooledTempFile};

use super::DataError;

/// Unpacked bytes that may lie in memory; more go to a temporary file.
pub(super) const IN_MEMORY: usize = 16 << 20;

/// UnpackedFile read at a time.
pub(super) const BUFFER: usize = 1 << 16;

/// UnpackedFile that a compressed file may unpack to, whatever its size.
pub(super) const UNPACKED_BYTES: u64 = 1 << 30;

/// Beyond that, unpacked bytes for each compressed one: text compresses to a tenth, a zip bomb to a thousandth.
pub(super) const UNPACKED_RATIO: u64 = 200;

#[derive(Debug)]
pub(super) enum UnpackedFile {
    Memory(Cursor<Vec<u8>>),
    /// A temporary file.
    Unpacked(File),
    /// A file on disk, and its length when it was opened.
    Theirs(File, u64),
}

impl UnpackedFile {
    pub(super) fn of(mut spool: SpooledTempFile, name: &str) -> Result<Self, DataError> {
        let failed = |source| DataError::Read { name: name.into(), line: 0, source };
        spool.flush().map_err(failed)?;
        Ok(match spool.into_inner() {
            SpooledData::InMemory(bytes) => Self::Memory(bytes),
            SpooledData::OnDisk(file) => Self::Unpacked(file),
        })
    }

    /// A reader from a byte offset on.
    pub(super) fn at(&mut self, start: u64) -> std::io::Result<&mut dyn Read> {
        match self {
            Self::Memory(bytes) => {
                bytes.set_position(start);
                Ok(bytes)
            }
            Self::Unpacked(file) | Self::Theirs(file, _) => {
                file.seek(SeekFrom::Start(start))?;
                Ok(file)
            }
        }
    }

    fn len(&self) -> std::io::Result<u64> {
        match self {
            Self::Memory(bytes) => Ok(bytes.get_ref().len() as u64),
            Self::Unpacked(file) => Ok(file.metadata()?.len()),
            Self::Theirs(_, length) => Ok(*length),
        }
    }

    /// The first bytes, at most `N`.
    fn first_bytes<const N: usize>(&mut self) -> std::io::Result<Vec<u8>> {
        let mut first = Vec::with_capacity(N);
        self.at(0)?.take(N as u64).read_to_end(&mut first)?;
        Ok(first)
    }
}

/// The bytes of a file, unpacked. A pipe is read to its end first.
pub(super) fn open(path: &Path, name: &str) -> Result<UnpackedFile, DataError> {
    let opened = |source| DataError::Open { path: path.into(), source };
    let unreadable = |reason: &str| DataError::Unreadable { name: name.into(), reason: reason.into() };
    let about = std::fs::metadata(path).map_err(opened)?;
    if about.is_dir() {
        return Err(opened(std::io::ErrorKind::IsADirectory.into()));
    }
    let mut bytes = match open_pipe(path, &about)? {
        Some(pipe) => spool(pipe, u64::MAX, name)?,
        None if !about.is_file() => {
            return Err(unreadable("it is a device or socket, data must lie in a file or come from a pipe"));
        }
        None => UnpackedFile::Theirs(File::open(path).map_err(opened)?, about.len()),
    };
    let failed = |source| DataError::Read { name: name.into(), line: 0, source };
    let (packed, first) = (bytes.len().map_err(failed)?, bytes.first_bytes::<16>().map_err(failed)?);
    let end = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let is = |magic: &[u8]| first.starts_with(magic);
    if is(b"\x1f\x8b") || end == "gz" {
        let input = BufReader::with_capacity(BUFFER, bytes.at(0).map_err(failed)?);
        return unpack_gzip(input, packed, name);
    }
    if is(b"\x28\xb5\x2f\xfd") || end == "zst" {
        let input = bytes.at(0).map_err(failed)?;
        return unpack(zstd::stream::read::Decoder::new(input).map_err(opened)?, packed, name);
    }
    let others: [(&[u8], &str); 6] = [
        (b"BZh", "it is packed with bzip2; unpack it, or pack it with gzip or zstd"),
        (b"\xfd7zXZ", "it is packed with xz; unpack it, or pack it with gzip or zstd"),
        (b"PK\x03\x04", "it is a zip archive; unpack it, or pack the file in it with gzip or zstd"),
        (b"PAR1", "it is a Parquet file: name it .parquet or set data.format"),
        (b"ARROW1", "it is an Arrow file, which is not read; write it as Parquet"),
        (b"version https://", "it is a Git LFS pointer, not the file: fetch that with git lfs pull"),
    ];
    match others.into_iter().find(|(magic, _)| is(magic)) {
        Some((_, reason)) => Err(unreadable(reason)),
        None => Ok(bytes),
    }
}

/// The input of a pipe, where the path is one.
#[cfg(unix)]
fn open_pipe(path: &Path, about: &std::fs::Metadata) -> Result<Option<File>, DataError> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    /// Device and inode of every pipe that this process has read: a second reader would wait, or find nothing.
    static READ: Mutex<Option<HashSet<(u64, u64)>>> = Mutex::new(None);
    if !about.file_type().is_fifo() {
        return Ok(None);
    }
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if !read.get_or_insert_default().insert((about.dev(), about.ino())) {
        let reason = "it is a pipe, which can be read once, and it was; give a file".into();
        return Err(DataError::Unreadable { name: path.display().to_string(), reason });
    }
    File::open(path).map(Some).map_err(|source| DataError::Open { path: path.into(), source })
}

#[cfg(not(unix))]
fn open_pipe(_: &Path, _: &std::fs::Metadata) -> Result<Option<File>, DataError> {
    Ok(None)
}

/// UTF-16 with a byte order mark as UTF-8; none where the bytes have no such mark.
pub(super) fn decode_utf16(bytes: &mut UnpackedFile, name: &str) -> Result<Option<UnpackedFile>, DataError> {
    let failed = |source| DataError::Read { name: name.into(), line: 0, source };
    let first = bytes.first_bytes::<4>().map_err(failed)?;
    let unit: fn([u8; 2]) -> u16 = match first.as_slice() {
        [0xff, 0xfe, 0, 0] => {
            let reason = "it is UTF-32, which is not read; write it as UTF-8".into();
            return Err(DataError::Unreadable { name: name.into(), reason });
        }
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        beginning if beginning.contains(&0) => {
            let reason =
                "its first bytes have a NUL, so it is no UTF-8 text; UTF-16 is read where it begins with a byte \
                          order mark"
                    .into();
            return Err(DataError::Unreadable { name: name.into(), reason });
        }
        _ => return Ok(None),
    };
    let mut input = BufReader::with_capacity(BUFFER, bytes.at(2).map_err(failed)?);
    let mut spool = SpooledTempFile::new(IN_MEMORY);
    let mut out = std::io::BufWriter::with_capacity(BUFFER, &mut spool);
    let mut pair = [0; 2];
    let units = std::iter::from_fn(|| input.read_exact(&mut pair).is_ok().then(|| unit(pair)));
    for character in char::decode_utf16(units) {
        let written = match character {
            Ok(character) => out.write_all(character.encode_utf8(&mut [0; 4]).as_bytes()),
            // An unpaired surrogate: the record that has it cannot be used.
            Err(_) => out.write_all(b"\xff"),
        };
        written.map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    drop(out);
    UnpackedFile::of(spool, name).map(Some)
}

/// Unpacks gzip of `packed` bytes.
pub(super) fn unpack_gzip(stream: impl BufRead, packed: u64, name: &str) -> Result<UnpackedFile, DataError> {
    unpack(MultiGzDecoder::new(stream), packed, name)
}

/// Reads the unpacked stream of `packed` compressed bytes to its end.
fn unpack(stream: impl Read, packed: u64, name: &str) -> Result<UnpackedFile, DataError> {
    spool(stream, packed.saturating_mul(UNPACKED_RATIO).max(UNPACKED_BYTES), name)
}

/// Reads a stream of at most `most` bytes to its end; an error names the number of lines before it.
fn spool(mut stream: impl Read, most: u64, name: &str) -> Result<UnpackedFile, DataError> {
    let mut spool = SpooledTempFile::new(IN_MEMORY);
    let mut buffer = vec![0; BUFFER];
    let (mut line, mut bytes) = (0, 0);
    loop {
        let failed = |source| DataError::Read { name: name.into(), line, source };
        let read = match stream.read(&mut buffer) {
            Ok(0) => return UnpackedFile::of(spool, name),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        bytes += read as u64;
        if bytes > most {
            let reason = format!(
                "it unpacks to more than {most} bytes, the limit (the larger of {UNPACKED_BYTES} and {UNPACKED_RATIO} times \
                 its size)"
            );
            return Err(DataError::Unreadable { name: name.into(), reason });
        }
        spool.write_all(&buffer[..read]).map_err(failed)?;
        line += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unpacks_beyond_the_limit_is_refused() {
        let error = spool([b'x'; 100].as_slice(), 99, "a.gz").unwrap_err().to_string();
        assert!(error.starts_with("cannot read a.gz: it unpacks to more than 99 bytes, the limit"), "{error}");
        assert_eq!(spool([b'x'; 99].as_slice(), 99, "a.gz").unwrap().len().unwrap(), 99);
    }

    #[test]
    fn utf_16_is_read_by_its_mark_and_other_packings_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let text = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            let mut bytes =
                open(&path, "a").and_then(|mut bytes| Ok(decode_utf16(&mut bytes, "a")?.unwrap_or(bytes)))?;
            let mut text = Vec::new();
            bytes.at(0).unwrap().read_to_end(&mut text).unwrap();
            Ok::<_, DataError>(text)
        };
        assert_eq!(text(b"\xff\xfea\0\x3d\xd8\0\xde").unwrap(), "a\u{1f600}".as_bytes());
        assert_eq!(text(b"\xfe\xff\0a\xd8\x3d\0b").unwrap(), b"a\xffb");
        for (content, says) in [
            (b"a\0b\0".as_slice(), "have a NUL"),
            (b"\xff\xfe\0\0a", "UTF-32"),
            (b"BZh91", "bzip2"),
            (b"PK\x03\x04", "zip archive"),
            (b"PAR1", "Parquet file"),
            (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ] {
            let error = text(content).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_read_to_its_end_once_and_a_device_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let bytes = std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(&path, b"{}\n").unwrap());
            open(&path, "pipe").unwrap()
        });
        assert_eq!(bytes.len().unwrap(), 3);
        let error = open(&path, "pipe").unwrap_err().to_string();
        assert!(error.contains("a pipe, which can be read once"), "{error}");
        let error = open(Path::new("/dev/null"), "/dev/null").unwrap_err().to_string();
        assert!(error.contains("it is a device or socket"), "{error}");
    }
}
