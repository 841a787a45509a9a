//! Parquet in, JSON lines out: a row a line, with the columns that are needed. The only file that names `parquet`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::Type;

use super::DataError;
use super::recipe::Recipe;

/// Appends the rows of a file to `out`.
///
/// # Errors
/// A file that cannot be opened or read, with the row, and [`DataError::MissingField`] with the columns that there are.
pub(super) fn unpack(path: &Path, recipe: &Recipe, out: &mut impl Write) -> Result<(), DataError> {
    let file = File::open(path).map_err(|source| DataError::Open { path: path.into(), source })?;
    let name = path.display().to_string();
    let failed = |row, reason: String| DataError::Parquet { name: name.clone(), row, reason };
    let reader = SerializedFileReader::new(file).map_err(|error| failed(0, error.to_string()))?;
    let columns = columns(reader.metadata().file_metadata().schema(), recipe, &name)?;
    let rows = reader.get_row_iter(Some(columns)).map_err(|error| failed(0, error.to_string()))?;
    for (number, row) in rows.enumerate() {
        let row = row.map_err(|error| failed(number, error.to_string()))?;
        let line = format!("{}\n", row.to_json_value());
        out.write_all(line.as_bytes()).map_err(|error| failed(number, error.to_string()))?;
    }
    Ok(())
}

/// The schema without the columns that are not needed.
fn columns(schema: &Type, recipe: &Recipe, name: &str) -> Result<Type, DataError> {
    let mut kept: Vec<Arc<Type>> = Vec::new();
    for (field, setting) in recipe.fields() {
        let found = schema.get_fields().iter().find(|column| column.name() == field);
        match (found, setting) {
            (Some(column), _) if kept.iter().any(|kept| kept.name() == column.name()) => {}
            (Some(column), _) => kept.push(column.clone()),
            (None, None) => {}
            (None, Some(setting)) => {
                return Err(DataError::MissingField {
                    name: name.into(),
                    place: "row 1".into(),
                    field: field.into(),
                    setting,
                    fields: DataError::listed(schema.get_fields().iter().map(|column| column.name())),
                });
            }
        }
    }
    // Columns are matched in the order of the file.
    kept.sort_by_key(|kept| schema.get_fields().iter().position(|column| column.name() == kept.name()));
    let built = Type::group_type_builder(schema.name()).with_fields(kept).build();
    built.map_err(|error| DataError::Parquet { name: name.into(), row: 0, reason: error.to_string() })
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
        let result = unpack(&path, &Recipe::new(config, None).unwrap(), &mut out);
        let folder = format!("{}/", dir.path().display());
        result.map(|()| String::from_utf8(out).unwrap()).map_err(|error| error.to_string().replace(&folder, ""))
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
            "rows.parquet row 1 has no field `class` (data.label); its fields are text, note, label"
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
