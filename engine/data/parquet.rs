//! Parquet in, JSON lines out: a row a line, with the columns that are needed. The only file that names `parquet`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Number, Value};

use super::DataError;
use super::bytes::{UNPACKED_BYTES, UNPACKED_RATIO};
use super::folder::{self, split_of};
use super::guard::guarded;
use super::recipe::Recipe;

/// What was unpacked beside the rows.
pub(super) struct Unpacked {
    /// The files, each with the number of rows before it.
    pub(super) files: Vec<(usize, String)>,
    /// Names of the classes of `data.label`, where `datasets` wrote them.
    pub(super) classes: Vec<String>,
}

/// Appends the rows of files, in their order, to `out`.
///
/// # Errors
/// A file that cannot be opened or read, with the row; [`DataError::MissingField`] with the columns that there are; a column
/// that is no text, number or truth value; files whose classes differ.
pub(super) fn unpack(files: &[PathBuf], recipe: &Recipe, out: &mut impl Write) -> Result<Unpacked, DataError> {
    let mut unpacked = Unpacked { files: Vec::new(), classes: Vec::new() };
    let mut rows = 0;
    let split = |path: &PathBuf| split_of(&path.file_stem().unwrap_or_default().to_string_lossy());
    if let Some(other) = files.iter().find(|path| split(path).is_some() && split(path) != split(&files[0])) {
        let (first, folder) = (files[0].display(), files[0].parent().unwrap_or(Path::new(".")));
        let reason = format!(
            "{first} and {} are parts of a data set; give one of them, or a folder with one of them",
            other.display()
        );
        return Err(DataError::Unreadable { name: folder.display().to_string(), reason });
    }
    for (number, path) in files.iter().enumerate() {
        let name = path.display().to_string();
        let table = Table::open(path)?;
        let label = recipe.label_field();
        let classes = label.and_then(|label| classes(table.reader.metadata(), label)).unwrap_or_default();
        match number {
            0 => unpacked.classes = classes,
            _ if classes == unpacked.classes => {}
            _ => {
                let first = files[0].display();
                let reason = format!("its classes are {classes:?}, those of {first} are {:?}", unpacked.classes);
                return Err(DataError::Unreadable { name, reason });
            }
        }
        unpacked.files.push((rows, name));
        let label = label.filter(|_| !unpacked.classes.is_empty());
        rows += table.unpack(recipe, label.map(|label| (label, unpacked.classes.as_slice())), out)?;
    }
    Ok(unpacked)
}

/// The column that holds pictures, where there is one, and only one, and no column of those that templates ask for.
///
/// # Errors
/// A file that cannot be opened or is no Parquet file.
pub(super) fn picture_column(path: &Path, recipe: &Recipe) -> Result<Option<String>, DataError> {
    let files = folder::files(path, "parquet")?;
    let Some(first) = files.first() else { return Ok(None) };
    let table = Table::open(first)?;
    let columns = table.reader.metadata().file_metadata().schema().get_fields();
    let is_text = |setting| setting != Some("data.label") && setting != Some("partition.by");
    let asked: Vec<&str> =
        recipe.fields().into_iter().filter(|(_, setting)| is_text(*setting)).map(|(field, _)| field).collect();
    let mut pictures = columns.iter().filter(|column| is_picture(column));
    Ok(match (pictures.next(), pictures.next()) {
        (Some(picture), None) if !columns.iter().any(|column| asked.contains(&column.name())) => {
            Some(picture.name().to_owned())
        }
        _ => None,
    })
}

/// Whether a column is one of pictures, as `datasets` writes them: their bytes and the path that they had.
fn is_picture(column: &Type) -> bool {
    let has = |name: &str| {
        column.get_fields().iter().any(|field| {
            field.name() == name && field.is_primitive() && field.get_physical_type() == Physical::BYTE_ARRAY
        })
    };
    column.is_group() && column.get_fields().len() == 2 && has("bytes") && has("path")
}

/// One file.
struct Table {
    name: String,
    reader: SerializedFileReader<File>,
    bytes: u64,
}

impl Table {
    fn open(path: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let opened = |source| DataError::Open { path: path.into(), source };
        let about = std::fs::metadata(path).map_err(opened)?;
        if !about.is_file() {
            let reason = "it is no file; a Parquet file is read from its end, so it cannot come from a pipe".into();
            return Err(DataError::Unreadable { name, reason });
        }
        let file = File::open(path).map_err(opened)?;
        let failed = |reason: String| DataError::Parquet { name: name.clone(), row: 0, reason };
        let reader = guarded(|| SerializedFileReader::new(file).map_err(|error| error.to_string()));
        let reader = reader.flatten().map_err(failed)?;
        // What the footer claims is the room that is made for it.
        for column in reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
            let (claimed, has) = (column.compressed_size(), about.len());
            if !u64::try_from(claimed).is_ok_and(|claimed| claimed <= has) {
                let column = column.column_path();
                return Err(failed(format!("column `{column}` claims {claimed} packed bytes, the file has {has}")));
            }
        }
        Ok(Self { name, reader, bytes: about.len() })
    }

    /// Appends its rows to `out`; returns how many they are. `classes` are the names that numbers in a field stand for.
    fn unpack(
        &self,
        recipe: &Recipe,
        classes: Option<(&str, &[String])>,
        out: &mut impl Write,
    ) -> Result<usize, DataError> {
        let failed = |row, reason: String| DataError::Parquet { name: self.name.clone(), row, reason };
        let columns = self.columns(recipe)?;
        let rows = guarded(|| self.reader.get_row_iter(Some(columns)).map_err(|error| error.to_string()));
        let mut rows = rows.flatten().map_err(|reason| failed(0, reason))?;
        let most = self.bytes.saturating_mul(UNPACKED_RATIO).max(UNPACKED_BYTES);
        let (mut count, mut written) = (0, 0);
        loop {
            let row = guarded(|| rows.next().transpose().map_err(|error| error.to_string()));
            let Some(row) = row.flatten().map_err(|reason| failed(count, reason))? else { return Ok(count) };
            let mut fields = object(&row);
            if let Some((label, classes)) = classes {
                fields.entry(label).and_modify(|value| name_class(value, classes));
            }
            let line = format!("{}\n", Value::Object(fields));
            count += 1;
            written += line.len() as u64;
            if written > most {
                let reason = format!("it unpacks to more than {most} bytes, the limit");
                return Err(failed(count, reason));
            }
            out.write_all(line.as_bytes()).map_err(|error| failed(count, error.to_string()))?;
        }
    }

    /// The schema without the columns that are not needed.
    fn columns(&self, recipe: &Recipe) -> Result<Type, DataError> {
        let schema = self.reader.metadata().file_metadata().schema();
        let mut kept: Vec<Arc<Type>> = Vec::new();
        for (field, setting) in recipe.fields() {
            let found = schema.get_fields().iter().find(|column| column.name() == field);
            match (found, setting) {
                (Some(column), _) if kept.iter().any(|kept| kept.name() == column.name()) => {}
                (Some(column), setting) => {
                    if let Some(kind) = unreadable(column) {
                        let setting = setting.unwrap_or("data.template");
                        let reason = format!(
                            "column `{field}` ({setting}) has {kind}, which have no text of their own: write it as text"
                        );
                        return Err(DataError::Unreadable { name: self.name.clone(), reason });
                    }
                    kept.push(column.clone());
                }
                (None, None) => {}
                (None, Some(setting)) => {
                    return Err(DataError::Unreadable {
                        name: self.name.clone(),
                        reason: format!(
                            "it has no column `{field}` ({setting}); its columns are {}",
                            DataError::listed(schema.get_fields().iter().map(|column| column.name()))
                        ),
                    });
                }
            }
        }
        // Columns are matched in the order of the file.
        kept.sort_by_key(|kept| schema.get_fields().iter().position(|column| column.name() == kept.name()));
        let built = Type::group_type_builder(schema.name()).with_fields(kept).build();
        built.map_err(|error| DataError::Parquet { name: self.name.clone(), row: 0, reason: error.to_string() })
    }
}

/// What a column holds, where that is no text, number or truth value; of lists and the like each value counts.
fn unreadable(column: &Type) -> Option<&'static str> {
    if is_picture(column) {
        return None;
    }
    if column.is_group() {
        return column.get_fields().iter().find_map(|field| unreadable(field));
    }
    let (physical, info) = (column.get_physical_type(), column.get_basic_info());
    let (logical, converted) = (info.logical_type_ref(), info.converted_type());
    match logical {
        Some(LogicalType::Timestamp(_)) => return Some("times"),
        Some(LogicalType::Time(_)) => return Some("times of day"),
        Some(LogicalType::Uuid) => return Some("UUIDs as bytes"),
        _ => {}
    }
    match converted {
        ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS => return Some("times"),
        ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS => return Some("times of day"),
        ConvertedType::INTERVAL => return Some("intervals"),
        _ => {}
    }
    let is_decimal = converted == ConvertedType::DECIMAL || matches!(logical, Some(LogicalType::Decimal(_)));
    let is_text = matches!(converted, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON)
        || matches!(logical, Some(LogicalType::String | LogicalType::Enum | LogicalType::Json));
    match physical {
        Physical::INT96 => Some("times"),
        Physical::BYTE_ARRAY if !is_text && !is_decimal => Some("bytes"),
        Physical::FIXED_LEN_BYTE_ARRAY if !is_decimal && !matches!(logical, Some(LogicalType::Float16)) => {
            Some("bytes")
        }
        _ => None,
    }
}

/// The names of a column's classes, as `datasets` writes them beside the schema.
fn classes(metadata: &ParquetMetaData, label: &str) -> Option<Vec<String>> {
    let written = metadata.file_metadata().key_value_metadata()?.iter().find(|entry| entry.key == "huggingface")?;
    let written: Value = serde_json::from_str(written.value.as_deref()?).ok()?;
    let feature = &written["info"]["features"][label];
    let names = feature["names"].as_array().filter(|_| feature["_type"] == "ClassLabel")?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Puts a class's name in the place of its number; -1 is that there is none.
fn name_class(value: &mut Value, classes: &[String]) {
    let named = match value.as_i64() {
        Some(-1) => Some(Value::Null),
        Some(number) => usize::try_from(number).ok().and_then(|number| classes.get(number)).map(|name| json(name)),
        None => None,
    };
    if let Some(named) = named {
        *value = named;
    }
}

fn json(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn object(row: &Row) -> Map<String, Value> {
    row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

/// A value as JSON; bytes, which are those of a picture, as hexadecimal digits.
fn value(field: &Field) -> Value {
    let float = |value: f64| Number::from_f64(value).map_or(Value::Null, Value::Number);
    match field {
        Field::Bytes(bytes) => Value::String(bytes.data().iter().map(|byte| format!("{byte:02x}")).collect()),
        // Of a narrow float the shortest digits that tell it, not those of the wide one.
        Field::Float(value) => float(value.to_string().parse().unwrap_or(f64::NAN)),
        Field::Float16(value) => float(f64::from(*value)),
        Field::Group(row) => Value::Object(object(row)),
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(value).collect()),
        Field::MapInternal(map) => {
            let name = |field: &Field| match value(field) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object(map.entries().iter().map(|(key, field)| (name(key), value(field))).collect())
        }
        plain => plain.to_json_value(),
    }
}

#[cfg(test)]
mod tests {
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::super::Config;
    use super::*;

    const SCHEMA: &str =
        "message rows { required binary text (UTF8); optional binary note (UTF8); required int32 label; }";

    /// Rows `a` to `c`, labels 0 to 2, a note in the second one, in groups of two rows.
    fn table(compression: Compression) -> Vec<u8> {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        for (texts, notes, labels) in [(vec!["a", "b"], [0, 1].as_slice(), vec![0, 1]), (vec!["c"], &[0], vec![2])] {
            let mut group = writer.next_row_group().unwrap();
            let texts: Vec<ByteArray> = texts.into_iter().map(ByteArray::from).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
            column.close().unwrap();
            let written: Vec<ByteArray> = notes.iter().filter(|note| **note > 0).map(|_| "n".into()).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&written, Some(notes), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int32Type>().write_batch(&labels, None, None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn lines(content: &[u8], config: &Config) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.parquet");
        std::fs::write(&path, content).unwrap();
        let mut out = Vec::new();
        let result = unpack(&[path], &Recipe::new(config, None).unwrap(), &mut out);
        let folder = format!("{}/", dir.path().display());
        result.map(|_| String::from_utf8(out).unwrap()).map_err(|error| error.to_string().replace(&folder, ""))
    }

    #[test]
    fn rows_of_all_groups_become_lines_with_the_columns_that_are_needed() {
        let config = Config { template: "{note}{text}".into(), ..Config::default() };
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())] {
            assert_eq!(
                lines(&table(compression), &config).unwrap(),
                "{\"note\":null,\"text\":\"a\"}\n{\"note\":\"n\",\"text\":\"b\"}\n{\"note\":null,\"text\":\"c\"}\n"
            );
        }
    }

    #[test]
    fn a_missing_column_is_named_with_those_that_are_there() {
        let config = Config { label: Some("class".into()), ..Config::default() };
        assert_eq!(
            lines(&table(Compression::SNAPPY), &config).unwrap_err(),
            "cannot read rows.parquet: it has no column `class` (data.label); its columns are text, note, label"
        );
    }

    #[test]
    fn a_broken_file_is_named_with_the_row() {
        let mut broken = table(Compression::SNAPPY);
        let error = lines(&broken[..broken.len() - 10], &Config::default()).unwrap_err();
        assert!(error.starts_with("cannot read rows.parquet after row 0: "), "{error}");
        broken[4..40].fill(0xff);
        let error = lines(&broken, &Config::default()).unwrap_err();
        assert!(error.starts_with("cannot read rows.parquet after row 0: "), "{error}");
    }
}
