//! Pictures: a folder of class folders, or CIFAR-10 in its binary version, in; their labels and, when asked for, their pixels
//! out.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_png::PngDecoder;

use super::reader::Found;
use super::store::{files, named};
use super::{DataError, Format, Image};

/// Where the pictures of a data set lie.
#[derive(Debug)]
pub(super) struct Pictures {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Files, each with the name of its class.
    Folder(Vec<(PathBuf, Arc<str>)>),
    /// Files of [`RECORD`] bytes a picture, with the number of pictures before each; the names of the ten classes.
    Cifar10 { files: Vec<(PathBuf, u32)>, classes: Vec<String> },
}

/// Rows and columns of a CIFAR-10 picture.
const SIDE: usize = 32;

/// Bytes of its pixels: three planes.
const PIXELS: usize = 3 * SIDE * SIDE;

/// A byte for the class, then the pixels.
const RECORD: u64 = 1 + PIXELS as u64;

/// The file that names the classes of CIFAR-10, one a line.
const NAMES: &str = "batches.meta.txt";

impl Pictures {
    /// Lists what a folder or file has, in the order of names.
    ///
    /// # Errors
    /// A folder that cannot be read or has no picture, and a CIFAR-10 file of an odd length.
    pub(super) fn open(path: &Path, format: Format) -> Result<Self, DataError> {
        let kind = if format == Format::Cifar10 { cifar10(path)? } else { Kind::Folder(class_folders(path)?) };
        Ok(Self { name: path.display().to_string(), kind })
    }

    /// What was opened.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Hands the fields of every picture, `label` and `file`, to `each`, in order.
    ///
    /// # Errors
    /// A file that cannot be read, and what `each` returns.
    pub(super) fn scan(&self, mut each: impl FnMut(Found<'_>) -> Result<(), DataError>) -> Result<(), DataError> {
        let mut give = |label: &str, file: &Path, number| {
            let file = file.strip_prefix(&self.name).unwrap_or(file).display().to_string();
            let fields = [("label", Value::from(label)), ("file", Value::from(file))];
            let fields = Map::from_iter(fields.map(|(name, value)| (name.to_owned(), value)));
            each(Found { fields, name: &self.name, unit: "image", number, raw: "" })
        };
        match &self.kind {
            Kind::Folder(files) => {
                files.iter().zip(1..).try_for_each(|((file, class), number)| give(class, file, number))
            }
            Kind::Cifar10 { files, classes, .. } => {
                let mut number = 0;
                for (path, _) in files {
                    let bytes = std::fs::read(path).map_err(|source| DataError::Open { path: path.clone(), source })?;
                    for record in bytes.chunks(RECORD as usize) {
                        number += 1;
                        let class = classes.get(usize::from(record[0])).ok_or_else(|| DataError::Record {
                            name: path.display().to_string(),
                            place: format!("image {number}"),
                            reason: format!("class {}, there are {}", record[0], classes.len()),
                        })?;
                        give(class, path, number)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// The pixels of a picture, by its number from 0.
    ///
    /// # Errors
    /// A file that cannot be read or is no picture.
    pub(super) fn read(&self, number: u32) -> Result<Image, DataError> {
        match &self.kind {
            Kind::Folder(files) => decode(&files[number as usize].0),
            Kind::Cifar10 { files, .. } => {
                let at = files.partition_point(|(_, first)| *first <= number) - 1;
                let (path, first) = &files[at];
                let open = |source| DataError::Open { path: path.clone(), source };
                let mut file = File::open(path).map_err(open)?;
                file.seek(SeekFrom::Start(u64::from(number - first) * RECORD + 1)).map_err(open)?;
                let mut values = vec![0; PIXELS];
                file.read_exact(&mut values).map_err(open)?;
                Ok(Image { channels: 3, height: SIDE, width: SIDE, values })
            }
        }
    }
}

/// The pictures of every folder in `path`, at any depth below it; the folder's name is the class.
fn class_folders(path: &Path) -> Result<Vec<(PathBuf, Arc<str>)>, DataError> {
    let open = |source| DataError::Open { path: path.into(), source };
    let entries = std::fs::read_dir(path).map_err(open)?.collect::<Result<Vec<_>, _>>().map_err(open)?;
    let mut folders: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    let mut found = Vec::new();
    for folder in folders {
        let class: Arc<str> = folder.file_name().unwrap_or_default().to_string_lossy().into();
        below(&folder, &class, &mut found)?;
    }
    match found.is_empty() {
        true => Err(DataError::EmptyFolder { path: path.into(), what: "folder with .png or .jpg files".into() }),
        false => Ok(found),
    }
}

fn below(folder: &Path, class: &Arc<str>, found: &mut Vec<(PathBuf, Arc<str>)>) -> Result<(), DataError> {
    let open = |source| DataError::Open { path: folder.into(), source };
    let entries = std::fs::read_dir(folder).map_err(open)?.collect::<Result<Vec<_>, _>>().map_err(open)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let end = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_dir() {
            below(&path, class, found)?;
        } else if matches!(end.as_str(), "png" | "jpg" | "jpeg") {
            found.push((path, class.clone()));
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
        if about.len() == 0 || about.len() % RECORD != 0 {
            let reason = format!("it has {} bytes, not a multiple of {RECORD}", about.len());
            return Err(DataError::Image { path: batch, reason });
        }
        counted.push((batch, records));
        records += (about.len() / RECORD) as u32;
    }
    let numbers = || (0..10).map(|number| number.to_string()).collect();
    let names = std::fs::read_to_string(folder.join(NAMES)).ok();
    let names = names.map(|names| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let classes = names.filter(|names| names.len() == 10).unwrap_or_else(numbers);
    Ok(Kind::Cifar10 { files: counted, classes })
}

/// Decodes a PNG or JPEG file, by what it holds, to red, green and blue; what is transparent stays as it is under it.
fn decode(path: &Path) -> Result<Image, DataError> {
    let failed = |reason: String| DataError::Image { path: path.into(), reason };
    let bytes = Cursor::new(std::fs::read(path).map_err(|source| DataError::Open { path: path.into(), source })?);
    let options = DecoderOptions::default().png_set_strip_to_8bit(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let (pixels, size) = if bytes.get_ref().starts_with(b"\x89PNG") {
        let mut decoder = PngDecoder::new_with_options(bytes, options);
        (decoder.decode_raw().map_err(|error| failed(error.to_string()))?, decoder.dimensions())
    } else {
        let mut decoder = JpegDecoder::new_with_options(bytes, options);
        (decoder.decode().map_err(|error| failed(error.to_string()))?, decoder.dimensions())
    };
    let (width, height) = size.unwrap_or_default();
    let colours = pixels.len().checked_div(width * height).unwrap_or(0);
    if colours == 0 {
        return Err(failed(format!("it has {width} x {height} pixels")));
    }
    // One or two values a pixel are gray, with or without transparency.
    let of = |colour: usize| if colours < 3 { 0 } else { colour };
    let plane = |colour: usize| pixels.chunks_exact(colours).map(move |pixel| pixel[of(colour)]);
    Ok(Image { channels: 3, height, width, values: (0..3).flat_map(plane).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red 10 and 11, green 20 and 21, blue 30 and 31.
    const TWO_PIXELS: &[u8] = include_bytes!("pictures/two.png");

    /// Eight by four, all of them 7.
    const GRAY: &[u8] = include_bytes!("pictures/gray.jpg");

    fn fields(pictures: &Pictures) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let text = |found: &Found<'_>, field: &str| found.fields[field].as_str().unwrap().to_owned();
        let give = |picture: Found<'_>| {
            found.push((text(&picture, "label"), text(&picture, "file")));
            Ok(())
        };
        pictures.scan(give).unwrap();
        found
    }

    #[test]
    fn a_folder_a_class_is_read_in_the_order_of_names_and_pixels_come_plane_by_plane() {
        let dir = tempfile::tempdir().unwrap();
        for class in ["dog/sub", "cat"] {
            std::fs::create_dir_all(dir.path().join(class)).unwrap();
        }
        for name in ["cat/b.png", "cat/a.PNG", "dog/sub/c.png"] {
            std::fs::write(dir.path().join(name), TWO_PIXELS).unwrap();
        }
        std::fs::write(dir.path().join("dog/d.jpg"), GRAY).unwrap();
        std::fs::write(dir.path().join("dog/note.txt"), "no picture").unwrap();
        let pictures = Pictures::open(dir.path(), Format::ImageFolder).unwrap();
        let expected = [("cat", "cat/a.PNG"), ("cat", "cat/b.png"), ("dog", "dog/d.jpg"), ("dog", "dog/sub/c.png")];
        assert_eq!(fields(&pictures), expected.map(|(class, file)| (class.to_owned(), file.to_owned())));
        let image = pictures.read(1).unwrap();
        assert_eq!((image.channels, image.height, image.width), (3, 1, 2));
        assert_eq!(image.values, [10, 11, 20, 21, 30, 31]);
        let gray = pictures.read(2).unwrap();
        assert_eq!((gray.height, gray.width, gray.values), (4, 8, vec![7; 96]));
        std::fs::write(dir.path().join("cat/b.png"), "broken").unwrap();
        let error = pictures.read(1).unwrap_err().to_string();
        assert!(error.starts_with("cannot read image ") && error.contains("cat/b.png: "), "{error}");
    }

    #[test]
    fn cifar10_is_read_from_its_training_batches_with_the_names_of_its_classes() {
        let dir = tempfile::tempdir().unwrap();
        let record = |class: u8, value: u8| [vec![class], vec![value; PIXELS]].concat();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("data_batch_1.bin", &[record(3, 30), record(0, 1)].concat());
        write("data_batch_2.bin", &record(9, 90));
        write("test_batch.bin", &record(5, 50));
        let pictures = Pictures::open(dir.path(), Format::Cifar10).unwrap();
        let classes = |pictures| fields(pictures).into_iter().map(|(class, _)| class).collect::<Vec<_>>();
        assert_eq!(classes(&pictures), ["3", "0", "9"]);
        assert_eq!(pictures.read(1).unwrap().values, vec![1; PIXELS]);
        assert_eq!(pictures.read(2).unwrap().values, vec![90; PIXELS]);
        write(NAMES, b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
        let test = Pictures::open(&dir.path().join("test_batch.bin"), Format::Cifar10).unwrap();
        assert_eq!(classes(&test), ["dog"]);
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
