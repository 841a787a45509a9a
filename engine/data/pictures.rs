//! Pictures: a folder of them, with a folder a class or a table that tells of them, or CIFAR-10 in its binary version, in; their
//! fields and, when asked for, their pixels out.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::decode::decode;
use super::folder::{files, named, split_of, visible};
use super::pieces::{RECORD_BYTES, Span};
use super::reader::{Found, Item};
use super::recipe::Recipe;
use super::store::Store;
use super::{Config, DataError, Format, Image};

/// Where the pictures of a data set lie.
#[derive(Debug)]
pub(super) struct Pictures {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The files, and the fields of each until [`Pictures::scan`] has given them.
    Folder { files: Vec<PathBuf>, fields: Vec<Map<String, Value>>, untyped: bool },
    /// Files of [`RECORD`] bytes a picture, with the number of pictures before each; the names of the ten classes.
    Cifar10 { files: Vec<(PathBuf, usize)>, classes: Vec<String> },
}

/// Rows and columns of a CIFAR-10 picture.
const SIDE: usize = 32;

/// Bytes of its pixels: three planes.
const PIXELS: usize = 3 * SIDE * SIDE;

/// A byte for the class, then the pixels.
const RECORD: usize = 1 + PIXELS;

/// The file that names the classes of CIFAR-10, one a line.
const NAMES: &str = "batches.meta.txt";

/// Pictures that are decoded side by side before their fields are given.
const CHUNK: usize = 256;

/// Endings of pictures. Those that cannot be decoded are records that cannot be used.
const ENDINGS: [&str; 15] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "ico", "apng"];

impl Pictures {
    /// Lists what a folder or file has, in the order of names, or of the table that tells of them.
    ///
    /// # Errors
    /// A folder that cannot be read, has no picture or does not say what is a class in it, and a CIFAR-10 file of an odd
    /// length.
    pub(super) fn open(path: &Path, format: Format) -> Result<Self, DataError> {
        let kind = if format == Format::Cifar10 { cifar10(path)? } else { folder(path)? };
        Ok(Self { name: path.display().to_string(), kind })
    }

    /// What was opened.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether all values of the fields are text, so that a number is told by its letters alone.
    pub(super) fn is_untyped(&self) -> bool {
        matches!(self.kind, Kind::Folder { untyped: true, .. })
    }

    /// Hands the fields of every picture, `file` among them, to `each`, in order; the picture is decoded to know that it can
    /// be. Returns the fingerprint of all of it.
    ///
    /// # Errors
    /// A file of CIFAR-10 that cannot be read, and what `each` returns.
    pub(super) fn scan(
        &mut self,
        each: impl FnMut(Item<'_>) -> Result<(), DataError>,
    ) -> Result<blake3::Hash, DataError> {
        match &mut self.kind {
            Kind::Folder { files, fields, .. } => scan_folder(&self.name, files, std::mem::take(fields), each),
            Kind::Cifar10 { files, classes } => scan_cifar10(&self.name, files, classes, each),
        }
    }

    /// The pixels of a picture, by its number from 0.
    ///
    /// # Errors
    /// A file that cannot be read or is no picture.
    pub(super) fn read(&self, number: usize) -> Result<Image, DataError> {
        match &self.kind {
            Kind::Folder { files, .. } => read(&files[number]).map(|(image, _)| image),
            Kind::Cifar10 { files, .. } => {
                let at = files.partition_point(|(_, first)| *first <= number) - 1;
                let (path, first) = &files[at];
                let open = |source| DataError::Open { path: path.clone(), source };
                let mut file = File::open(path).map_err(open)?;
                file.seek(SeekFrom::Start(((number - first) * RECORD + 1) as u64)).map_err(open)?;
                let mut values = vec![0; PIXELS];
                file.read_exact(&mut values).map_err(open)?;
                Ok(Image { channels: 3, height: SIDE, width: SIDE, values })
            }
        }
    }
}

/// A picture and the hash of its file.
fn read(path: &Path) -> Result<(Image, blake3::Hash), DataError> {
    let failed = |reason: String| DataError::Image { path: path.into(), reason };
    let about = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !about.is_file() || about.len() > RECORD_BYTES as u64 {
        let what = if about.is_file() { format!("it has {} bytes", about.len()) } else { "it is no file".into() };
        return Err(failed(format!("{what}, a picture is a file of at most {RECORD_BYTES} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    Ok((decode(&bytes).map_err(failed)?, blake3::hash(&bytes)))
}

fn scan_folder(
    name: &str,
    files: &[PathBuf],
    fields: Vec<Map<String, Value>>,
    mut each: impl FnMut(Item<'_>) -> Result<(), DataError>,
) -> Result<blake3::Hash, DataError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(16);
    let mut hasher = blake3::Hasher::new();
    let mut fields = fields.into_iter();
    let mut number = 0;
    for chunk in files.chunks(CHUNK) {
        let hash = |files: &[PathBuf]| files.iter().map(|file| read(file).map(|(_, hash)| hash)).collect::<Vec<_>>();
        let parts = chunk.chunks(chunk.len().div_ceil(threads));
        let hashes = std::thread::scope(|scope| {
            let workers: Vec<_> = parts.map(|part| scope.spawn(move || hash(part))).collect();
            // `read` does not panic: decoding is guarded.
            workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect::<Vec<_>>()
        });
        for (hash, fields) in hashes.into_iter().zip(&mut fields) {
            number += 1;
            hasher.update(serde_json::to_string(&fields).unwrap_or_default().as_bytes());
            let span = Span { start: number as u64 - 1, length: 0 };
            each(hash.map(|hash| {
                hasher.update(hash.as_bytes());
                (Found::new(fields, name, "image", number), span)
            }))?;
        }
    }
    Ok(hasher.finalize())
}

fn scan_cifar10(
    name: &str,
    files: &[(PathBuf, usize)],
    classes: &[String],
    mut each: impl FnMut(Item<'_>) -> Result<(), DataError>,
) -> Result<blake3::Hash, DataError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(classes.join("\n").as_bytes());
    let mut number = 0;
    for (path, first) in files {
        let open = |source| DataError::Open { path: path.clone(), source };
        let mut input = BufReader::with_capacity(RECORD * 16, File::open(path).map_err(open)?);
        let mut record = [0; RECORD];
        let short = path.strip_prefix(name).unwrap_or(path).display().to_string();
        while input.read(&mut record[..1]).map_err(open)? == 1 {
            input.read_exact(&mut record[1..]).map_err(open)?;
            hasher.update(&record);
            number += 1;
            let class = classes.get(usize::from(record[0])).ok_or_else(|| DataError::Record {
                name: path.display().to_string(),
                place: format!("image {}", number - first),
                reason: format!("class {}, there are {}", record[0], classes.len()),
            });
            let span = Span { start: number as u64 - 1, length: 0 };
            each(class.map(|class| (Found::new(said(class, &short), name, "image", number), span)))?;
        }
    }
    Ok(hasher.finalize())
}

fn said(label: &str, file: &str) -> Map<String, Value> {
    Map::from_iter([("label", label), ("file", file)].map(|(name, value)| (name.to_owned(), Value::from(value))))
}

/// The pictures of a folder: those that its table tells of, else those of a folder a class.
fn folder(path: &Path) -> Result<Kind, DataError> {
    for (name, format) in [("metadata.csv", Format::Csv), ("metadata.jsonl", Format::Jsonl)] {
        let table = path.join(name);
        if table.is_file() {
            return listed(path, &table, format);
        }
    }
    class_folders(path)
}

/// The pictures that a table tells of by its column `file_name`; its columns are their fields.
fn listed(folder: &Path, table: &Path, format: Format) -> Result<Kind, DataError> {
    let recipe = Recipe::new(&Config::default(), None)?;
    let mut store = Store::open(table, format, &recipe)?;
    let (mut paths, mut all) = (Vec::new(), Vec::new());
    store.scan(|item| {
        let (found, _) = item?;
        let file = found.named("file_name", "data.path")?;
        let inside = Path::new(&file).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            let reason = format!("file_name is `{}`, which does not lie in the folder", DataError::quoted(&file));
            return Err(DataError::Record { name: found.name.into(), place: found.place(), reason });
        }
        paths.push(folder.join(&file));
        let mut fields = found.fields;
        fields.insert("file".into(), file.into());
        all.push(fields);
        Ok(())
    })?;
    Ok(Kind::Folder { files: paths, fields: all, untyped: store.is_untyped() })
}

/// The pictures of a folder a class: the folder that a picture lies in is its class.
fn class_folders(path: &Path) -> Result<Kind, DataError> {
    let unreadable = |reason: String| DataError::Unreadable { name: path.display().to_string(), reason };
    let folders: Vec<PathBuf> = visible(path)?.into_iter().filter(|path| path.is_dir()).collect();
    let splits: Vec<_> = folders
        .iter()
        .filter_map(|folder| split_of(&folder.file_name().unwrap_or_default().to_string_lossy()))
        .collect();
    if splits.len() > 1 && splits.len() == folders.len() {
        let first = folders[0].display();
        return Err(unreadable(format!(
            "it has the parts {} of a data set; give one of them, such as {first}",
            splits.join(", ")
        )));
    }
    let mut found = Vec::new();
    for folder in &folders {
        below(folder, 0, &mut found)?;
    }
    let Some((first, depth)) = found.first() else {
        return Err(DataError::EmptyFolder { path: path.into(), what: "folder with .png or .jpg files".into() });
    };
    if let Some((other, _)) = found.iter().find(|(_, other)| other != depth) {
        return Err(unreadable(format!(
            "its pictures lie at different depths ({}, {}), so their folders do not tell their classes",
            first.display(),
            other.display()
        )));
    }
    let fields = found.iter().map(|(file, _)| {
        let class = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        said(&class, &file.strip_prefix(path).unwrap_or(file).display().to_string())
    });
    Ok(Kind::Folder {
        fields: fields.collect(),
        files: found.into_iter().map(|(file, _)| file).collect(),
        untyped: false,
    })
}

/// Folders in folders, at most: what is linked in a circle ends.
const DEPTH: usize = 16;

fn below(folder: &Path, depth: usize, found: &mut Vec<(PathBuf, usize)>) -> Result<(), DataError> {
    for path in visible(folder)? {
        let end = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let stem = path.file_stem().unwrap_or_default();
        if path.is_dir() && depth < DEPTH {
            below(&path, depth + 1, found)?;
        } else if stem == "metadata" && matches!(end.as_str(), "csv" | "jsonl" | "parquet") {
            let reason = format!("{} tells of pictures; give its folder as data.path", path.display());
            return Err(DataError::Unreadable { name: folder.display().to_string(), reason });
        } else if ENDINGS.contains(&end.as_str()) {
            found.push((path, depth));
        }
    }
    Ok(())
}

/// The training batches of a folder, else all of its batches; or one batch.
fn cifar10(path: &Path) -> Result<Kind, DataError> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let mut batches = if path.is_dir() { named(path, "data_batch_", "bin")? } else { Vec::new() };
    if batches.is_empty() {
        batches = files(path, "bin")?;
    }
    let (mut counted, mut records) = (Vec::with_capacity(batches.len()), 0);
    for batch in batches {
        let about = std::fs::metadata(&batch).map_err(|source| DataError::Open { path: batch.clone(), source })?;
        let length = about.len() as usize;
        if !about.is_file() || length == 0 || !length.is_multiple_of(RECORD) {
            let reason = format!("it has {length} bytes, not a multiple of {RECORD}");
            return Err(DataError::Unreadable { name: batch.display().to_string(), reason });
        }
        counted.push((batch, records));
        records += length / RECORD;
    }
    let numbers = || (0..10).map(|number| number.to_string()).collect();
    let names = std::fs::read_to_string(folder.join(NAMES)).ok();
    let names = names.map(|names| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let classes = names.filter(|names| names.len() == 10).unwrap_or_else(numbers);
    Ok(Kind::Cifar10 { files: counted, classes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red 10 and 11, green 20 and 21, blue 30 and 31.
    const TWO_PIXELS: &[u8] = include_bytes!("pictures/two.png");

    /// Eight by four, all of them 7.
    const GRAY: &[u8] = include_bytes!("pictures/gray.jpg");

    /// Label and file of every picture that can be used, and what is wrong with the others.
    fn fields(pictures: &mut Pictures) -> (Vec<(String, String)>, Vec<String>) {
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        let text = |found: &Found<'_>, field: &str| found.fields[field].as_str().unwrap().to_owned();
        let give = |item: Item<'_>| {
            match item {
                Ok((picture, _)) => found.push((text(&picture, "label"), text(&picture, "file"))),
                Err(error) => wrong.push(error.to_string()),
            }
            Ok(())
        };
        pictures.scan(give).unwrap();
        (found, wrong)
    }

    fn write(folder: &tempfile::TempDir, files: &[(&str, &[u8])]) {
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    fn owned(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(class, file)| ((*class).to_owned(), (*file).to_owned())).collect()
    }

    #[test]
    fn a_folder_a_class_is_read_in_the_order_of_names_and_pixels_come_plane_by_plane() {
        let dir = tempfile::tempdir().unwrap();
        let cats: [(&str, &[u8]); 5] = [
            ("pets/cat/b.png", TWO_PIXELS),
            ("pets/cat/a.PNG", TWO_PIXELS),
            ("pets/dog/d.jpg", GRAY),
            ("pets/dog/note.txt", b"no picture"),
            ("pets/dog/e.webp", b"RIFF....WEBP"),
        ];
        let hidden: [(&str, &[u8]); 3] =
            [("pets/dog/._d.jpg", b"x"), (".cache/x/a.png", b"x"), ("__MACOSX/dog/a.png", b"x")];
        write(&dir, &cats);
        write(&dir, &hidden);
        let mut pictures = Pictures::open(dir.path(), Format::ImageFolder).unwrap();
        let (found, wrong) = fields(&mut pictures);
        assert_eq!(found, owned(&[("cat", "pets/cat/a.PNG"), ("cat", "pets/cat/b.png"), ("dog", "pets/dog/d.jpg")]));
        assert!(wrong.len() == 1 && wrong[0].ends_with("dog/e.webp: it is a WebP, PNG and JPEG are read"), "{wrong:?}");
        let image = pictures.read(1).unwrap();
        assert_eq!((image.channels, image.height, image.width), (3, 1, 2));
        assert_eq!(image.values, [10, 11, 20, 21, 30, 31]);
        let gray = pictures.read(2).unwrap();
        assert_eq!((gray.height, gray.width, gray.values), (4, 8, vec![7; 96]));
    }

    #[test]
    fn folders_that_do_not_tell_classes_are_refused() {
        let error = |files: &[(&str, &[u8])]| {
            let dir = tempfile::tempdir().unwrap();
            write(&dir, files);
            Pictures::open(dir.path(), Format::ImageFolder).unwrap_err().to_string()
        };
        let found = error(&[("train/cat/a.png", TWO_PIXELS), ("test/cat/a.png", TWO_PIXELS)]);
        assert!(found.contains("it has the parts test, train of a data set; give one of them"), "{found}");
        let found = error(&[("cat/a.png", TWO_PIXELS), ("cat/x/a.png", TWO_PIXELS)]);
        assert!(found.contains("lie at different depths"), "{found}");
        let found = error(&[("train/metadata.csv", b"file_name\n"), ("train/a.png", TWO_PIXELS)]);
        assert!(found.ends_with("train/metadata.csv tells of pictures; give its folder as data.path"), "{found}");
    }

    #[test]
    fn a_table_beside_the_pictures_tells_their_fields() {
        let dir = tempfile::tempdir().unwrap();
        let table = b"file_name,label,owner\nb.png,1,x\nsub/a.png,0,y\nmissing.png,1,y\n";
        write(&dir, &[("metadata.csv", table), ("b.png", TWO_PIXELS), ("sub/a.png", TWO_PIXELS)]);
        let (found, wrong) = fields(&mut Pictures::open(dir.path(), Format::ImageFolder).unwrap());
        assert_eq!(found, owned(&[("1", "b.png"), ("0", "sub/a.png")]));
        assert!(wrong.len() == 1 && wrong[0].contains("missing.png"), "{wrong:?}");
        write(&dir, &[("metadata.csv", b"file_name,label\n../x.png,1\n")]);
        let error = Pictures::open(dir.path(), Format::ImageFolder).unwrap_err().to_string();
        assert!(error.contains("does not lie in the folder"), "{error}");
    }

    #[test]
    fn cifar10_is_read_from_its_training_batches_with_the_names_of_its_classes() {
        let dir = tempfile::tempdir().unwrap();
        let record = |class: u8, value: u8| [vec![class], vec![value; PIXELS]].concat();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("data_batch_1.bin", &[record(3, 30), record(0, 1)].concat());
        write("data_batch_2.bin", &record(9, 90));
        write("test_batch.bin", &record(5, 50));
        let mut pictures = Pictures::open(dir.path(), Format::Cifar10).unwrap();
        let classes =
            |pictures: &mut Pictures| fields(pictures).0.into_iter().map(|(class, _)| class).collect::<Vec<_>>();
        assert_eq!(classes(&mut pictures), ["3", "0", "9"]);
        assert_eq!(pictures.read(1).unwrap().values, vec![1; PIXELS]);
        assert_eq!(pictures.read(2).unwrap().values, vec![90; PIXELS]);
        write(NAMES, b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
        let mut test = Pictures::open(&dir.path().join("test_batch.bin"), Format::Cifar10).unwrap();
        assert_eq!(classes(&mut test), ["dog"]);
        write("data_batch_2.bin", &[1, 2, 3]);
        let error = Pictures::open(dir.path(), Format::Cifar10).unwrap_err().to_string();
        assert!(error.ends_with("data_batch_2.bin: it has 3 bytes, not a multiple of 3073"), "{error}");
    }

    #[test]
    fn a_folder_without_pictures_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = Pictures::open(dir.path(), Format::ImageFolder).unwrap_err().to_string();
        assert!(error.ends_with("has no folder with .png or .jpg files"), "{error}");
    }
}
