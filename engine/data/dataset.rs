//! Datasets: the configured source in; the position, label and natural id of every record out, and its content on
//! demand.

use std::path::Path;
use std::sync::Arc;

use super::field_mapping::{Content, FieldMapping};
use super::image_dataset::ImageDataset;
use super::record_index::{Entry, IndexBuilder, NONE, RecordIndex};
use super::text_store::TextStore;
use super::{Config, DataError, Format, LeftOut, Record, Source, Task, Tokenizer, folder, parquet, sequence};

/// All records of a source, in its order. Memory: 24 bytes a record and the distinct labels and ids; the content of a
/// record is read on demand.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    entries: Vec<Entry>,
    labels: Arc<[String]>,
    ids: Vec<Arc<str>>,
    left_out: LeftOut,
    /// Records left out because they are shorter than `data.min_chars`.
    short: usize,
    fingerprint: blake3::Hash,
    task: Task,
    recipe: FieldMapping,
    backing: Backing,
}

#[derive(Debug)]
enum Backing {
    Text(TextStore),
    ImageDataset(ImageDataset),
    /// No source: there are no records here, or a test made them.
    Nowhere,
}

impl Dataset {
    /// Scans the records of the configured source. `by` is `partition.by` where the partitioner needs it
    /// ([`super::partition::Config::field`]): field names, split by commas, whose values are joined by `/`. With a
    /// tokenizer, a record that it cannot make a sequence of counts as one that cannot be used.
    ///
    /// # Errors
    /// A [`DataError`] that names the setting, or the file with the line and the field; also for a record that cannot
    /// be used, with `data.invalid` error.
    pub fn load(config: &Config, by: Option<&str>, tokenizer: Option<&Tokenizer>) -> Result<Self, DataError> {
        config.validate()?;
        match (config.source, &config.path) {
            (Source::File | Source::Auto, Some(path)) => Self::load_file(path, config, by, tokenizer),
            _ => {
                Config { format: Format::Jsonl, ..config.clone() }.validate()?;
                Self::of_text(TextStore::bundled()?, config, FieldMapping::new(config, by)?, tokenizer)
            }
        }
    }

    /// A dataset without records: they lie elsewhere. Its classes are those of `data.classes`.
    ///
    /// # Errors
    /// A bad template.
    pub fn elsewhere(config: &Config) -> Result<Self, DataError> {
        let recipe = FieldMapping::new(config, None)?;
        let found = RecordIndex { labels: config.classes.clone().into(), ..RecordIndex::default() };
        Ok(Self::new(found, "nothing".into(), blake3::hash(b""), config.task, recipe, Backing::Nowhere))
    }

    /// Scans the records of a file, whatever `data.source` and `data.path` say; for evaluation on other data than the
    /// run's.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load_file(
        path: &Path,
        config: &Config,
        by: Option<&str>,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Self, DataError> {
        let format = folder::format(path, config.format)?;
        Config { format, ..config.clone() }.validate()?;
        if matches!(format, Format::ImageFolder | Format::Cifar10) {
            return Self::of_pictures(
                ImageDataset::open(path, format)?,
                config,
                FieldMapping::of_pictures(config, by)?,
            );
        }
        let mut recipe = FieldMapping::new(config, by)?;
        if format == Format::Parquet && config.task == Task::Classification {
            let column = parquet::picture_column(path, &recipe)?;
            recipe = column.map_or(Ok(recipe), |column| FieldMapping::of_picture_column(config, by, column))?;
        }
        Self::of_text(TextStore::open(path, format, &recipe)?, config, recipe, tokenizer)
    }

    fn of_text(
        mut store: TextStore,
        config: &Config,
        recipe: FieldMapping,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Self, DataError> {
        let classes = store.classes().to_vec();
        let mut finder = IndexBuilder::new(config, &recipe, &classes);
        finder.untyped = store.is_untyped();
        let fingerprint = store.scan(|item| {
            let added = item.and_then(|(found, span)| {
                let content = recipe.content(&found)?;
                if let Some(tokenizer) = tokenizer {
                    let checked = sequence::check(tokenizer, &content, config)?;
                    checked.map_err(|reason| DataError::Record {
                        name: found.name.into(),
                        place: found.place(),
                        reason,
                    })?;
                }
                finder.add(&found, span, &content)
            });
            finder.keep_or_leave_out(added)
        })?;
        let found = finder.finish(store.name())?;
        Ok(Self::new(found, store.name().to_owned(), fingerprint, config.task, recipe, Backing::Text(store)))
    }

    fn of_pictures(mut pictures: ImageDataset, config: &Config, recipe: FieldMapping) -> Result<Self, DataError> {
        let mut finder = IndexBuilder::new(config, &recipe, &[]);
        finder.untyped = pictures.is_untyped();
        let fingerprint = pictures.scan(|item| {
            let added = item.and_then(|(found, span)| finder.add(&found, span, &Content::text("picture")));
            finder.keep_or_leave_out(added)
        })?;
        let found = finder.finish(pictures.name())?;
        let name = pictures.name().to_owned();
        Ok(Self::new(found, name, fingerprint, config.task, recipe, Backing::ImageDataset(pictures)))
    }

    fn new(
        found: RecordIndex,
        name: String,
        fingerprint: blake3::Hash,
        task: Task,
        recipe: FieldMapping,
        backing: Backing,
    ) -> Self {
        let RecordIndex { entries, labels, ids, left_out, short } = found;
        Self { name, entries, labels, ids, left_out, short, fingerprint, task, recipe, backing }
    }

    /// The file or folder, or `bundled speeches`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of records, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a data set without records is an error when it is loaded")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Records left out because they cannot be used.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// Number of records left out because their text is shorter than `data.min_chars`.
    pub fn short(&self) -> usize {
        self.short
    }

    /// The hash of all bytes that were scanned: data with another hash gives other results.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.to_hex().to_string()
    }

    /// The class names: `data.classes`, or the names that a table has for them, or the distinct labels, sorted (numbers
    /// by value); empty unless the task is classification.
    pub fn classes(&self) -> &Arc<[String]> {
        static EMPTY: std::sync::LazyLock<Arc<[String]>> = std::sync::LazyLock::new(Arc::default);
        if self.task == Task::Classification { &self.labels } else { &EMPTY }
    }

    /// The same data with other classes: class `i` becomes class `places[i]`.
    pub fn with_classes(mut self, classes: Vec<String>, places: &[u32]) -> Self {
        for entry in self.entries.iter_mut().filter(|entry| entry.label != NONE) {
            entry.label = places[entry.label as usize];
        }
        Self { labels: classes.into(), ..self }
    }

    /// The distinct labels, sorted, where `data.label` names a field, whatever the task.
    pub fn labels(&self) -> &Arc<[String]> {
        &self.labels
    }

    /// The index of a record's label in [`Self::labels`].
    pub fn label(&self, record: u32) -> Option<u32> {
        let label = self.entries[record as usize].label;
        (label != NONE).then_some(label)
    }

    /// The record's value of `partition.by`, where that was given: the client (natural-id) or the class (dirichlet).
    pub fn natural_id(&self, record: u32) -> Option<&str> {
        self.ids.get(self.entries[record as usize].id as usize).map(|id| &**id)
    }

    /// Bytes of a record's text; 1 for an image.
    pub fn size(&self, record: u32) -> usize {
        self.entries[record as usize].size as usize
    }

    /// Reads records, in the given order. Costs one small read a record.
    ///
    /// # Errors
    /// [`DataError`] where the data cannot be read or has changed since it was scanned.
    pub fn read(&self, records: &[u32]) -> Result<Vec<Record>, DataError> {
        let mut read = Vec::with_capacity(records.len());
        let classify = self.task == Task::Classification;
        let entries = records.iter().map(|record| self.entries[*record as usize]);
        match &self.backing {
            Backing::Text(store) => store.read(entries.map(Entry::span), |found| {
                let class = records.get(read.len()).and_then(|record| self.label(*record)).filter(|_| classify);
                read.push(Record { content: self.recipe.content(&found)?, class });
                Ok(())
            })?,
            Backing::ImageDataset(pictures) => {
                for entry in entries {
                    let image = pictures.read(entry.start as usize)?;
                    read.push(Record { content: Content::Image(Arc::new(image)), class: Some(entry.label) });
                }
            }
            Backing::Nowhere => {}
        }
        Ok(read)
    }

    /// Records with these natural ids and texts of 5 bytes, which cannot be read.
    #[cfg(test)]
    pub(super) fn made_up(name: &str, ids: impl Iterator<Item = String>) -> Self {
        use super::record_reader::RawRecord;
        use super::text_scanner::Span;

        let config = Config::default();
        let recipe = FieldMapping::new(&config, Some("id")).unwrap();
        let mut finder = IndexBuilder::new(&config, &recipe, &[]);
        for (id, number) in ids.zip(1..) {
            let fields = [("id".to_owned(), serde_json::Value::from(id))].into_iter().collect();
            let found = RawRecord::new(fields, name, "line", number);
            finder.add(&found, Span { start: 0, length: 0 }, &Content::text("12345")).unwrap();
        }
        let found = finder.finish(name).unwrap();
        Self::new(found, name.to_owned(), blake3::hash(b""), config.task, recipe, Backing::Nowhere)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::PathBuf;

    use super::super::{Invalid, bundled};
    use super::*;

    fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        (dir, Config { path: Some(path), ..Config::default() })
    }

    fn error(name: &str, content: &str, change: impl FnOnce(&mut Config), by: Option<&str>) -> String {
        let (dir, mut config) = file(name, content.as_bytes());
        change(&mut config);
        let error = Dataset::load(&config, by, None).unwrap_err().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    }

    fn all(data: &Dataset) -> Vec<Record> {
        data.read(&(0..).take(data.len()).collect::<Vec<u32>>()).unwrap()
    }

    const TWO: &str =
        "{\"q\": \"one?\", \"a\": 1, \"topic\": \"n\"}\n\n{\"q\": \"two?\", \"a\": true, \"topic\": \"n\"}\n";

    #[test]
    fn the_template_takes_fields_and_text_stands_for_the_configured_one() {
        let (_dir, mut config) = file("two.jsonl", TWO.as_bytes());
        config.template = "{text} - {a}".into();
        config.text = "q".into();
        config.label = Some("a".into());
        let data = Dataset::load(&config, Some("topic, a"), None).unwrap();
        let texts: Vec<_> = all(&data).into_iter().map(|record| record.content).collect();
        assert_eq!(texts, [Content::text("one? - 1"), Content::text("two? - true")]);
        assert_eq!((data.labels()[..].to_vec(), data.label(0)), (vec!["1".to_owned(), "true".to_owned()], Some(0)));
        assert_eq!((data.natural_id(1), data.size(1)), (Some("n/true"), 11));
    }

    #[test]
    fn classes_are_the_labels_in_order_numbers_by_value() {
        let lines: String = ["10", "9", "\"b\"", "10", "\"a\""]
            .map(|label| format!("{{\"text\": \"t\", \"label\": {label}}}\n"))
            .concat();
        let (_dir, mut config) = file("labels.jsonl", lines.as_bytes());
        (config.task, config.label) = (Task::Classification, Some("label".into()));
        let data = Dataset::load(&config, None, None).unwrap();
        assert_eq!(data.classes()[..], ["9", "10", "a", "b"]);
        let classes = |data| all(data).into_iter().map(|record| record.class).collect::<Vec<_>>();
        assert_eq!(classes(&data), [1, 0, 3, 1, 2].map(Some));
        config.classes = ["b", "10", "9", "a", "c"].map(String::from).into();
        let data = Dataset::load(&config, None, None).unwrap();
        assert_eq!(data.classes()[..], config.classes);
        assert_eq!(classes(&data), [1, 2, 0, 1, 3].map(Some));
        config.classes.truncate(3);
        let error = Dataset::load(&config, None, None).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "labels.jsonl line 5 has the label `a` (data.label), data.classes has b, 10, 9 (1 of 5 records cannot be \
                 used; data.invalid = \"skip\" leaves such records out)"
            ),
            "{error}"
        );
        (config.task, config.classes) = (Task::Text, Vec::new());
        let data = Dataset::load(&config, None, None).unwrap();
        assert!(data.classes().is_empty() && data.labels().len() == 4);
        assert_eq!(classes(&data), [None; 5]);
    }

    #[test]
    fn a_missing_field_is_named_with_the_setting_and_the_fields_that_are_there() {
        assert_eq!(
            error("two.jsonl", TWO, |_| {}, None),
            "two.jsonl line 1 has no field `text` (data.text); its fields are a, q, topic"
        );
        assert_eq!(
            error("two.jsonl", TWO, |config| config.text = "q".into(), Some("play,role")),
            "two.jsonl line 1 has no field `play` (partition.by); its fields are a, q, topic"
        );
        assert_eq!(
            error("two.jsonl", "{\"text\": [1]}", |_| {}, None),
            "two.jsonl line 1: field `text` (data.text) is an array, it must be text, a number or a truth value"
        );
    }

    #[test]
    fn a_record_that_cannot_be_used_is_left_out_and_named_or_is_an_error() {
        let lines = "{\"text\": \"a\", \"x\": NaN}\n{\"text\": null}\n{\"text\": \"b\", \"x\": \"\\ud83d\"}\n{\"text\": \"c\n{\"n\": 1}\n";
        let message = error("a.jsonl", lines, |_| {}, None);
        assert_eq!(
            message,
            "a.jsonl line 2: field `text` (data.text) is null, it must be text, a number or a truth value (3 of 5 records \
             cannot be used; data.invalid = \"skip\" leaves such records out)"
        );
        let (_dir, mut config) = file("a.jsonl", lines.as_bytes());
        config.invalid = Invalid::Skip;
        let data = Dataset::load(&config, None, None).unwrap();
        let texts: Vec<_> = all(&data).into_iter().map(|record| record.content).collect();
        assert_eq!(texts, ["a", "b"].map(Content::text));
        let named: Vec<&str> =
            data.left_out().first().iter().map(|what| &what[what.find("a.jsonl").unwrap()..]).collect();
        assert_eq!(named[1], "a.jsonl line 4 (record 4): it ends too early at column 12");
        assert_eq!(named[2], "a.jsonl line 5 has no field `text` (data.text); its fields are n");
        assert_eq!(data.left_out().count(), 3);
    }

    #[test]
    fn many_bad_records_at_the_beginning_are_skipped_too() {
        let lines = "{\"text\": null}\n".repeat(1500) + "{\"text\": \"a\"}\n";
        let (_dir, mut config) = file("a.jsonl", lines.as_bytes());
        assert!(Dataset::load(&config, None, None).is_err());
        config.invalid = Invalid::Skip;
        let data = Dataset::load(&config, None, None).unwrap();
        assert_eq!((data.len(), data.left_out().count()), (1, 1500));
    }

    #[test]
    fn other_bytes_have_another_fingerprint() {
        let of = |content: &str| {
            let (_dir, config) = file("a.jsonl", content.as_bytes());
            Dataset::load(&config, None, None).unwrap().fingerprint()
        };
        assert_eq!(of("{\"text\": \"a\"}"), of("{\"text\": \"a\"}"));
        assert_ne!(of("{\"text\": \"a\"}"), of("{\"text\": \"b\"}"));
    }

    #[test]
    fn labels_that_are_the_same_number_are_one_class() {
        let classes = |name: &str, content: &str| {
            let (_dir, mut config) = file(name, content.as_bytes());
            (config.task, config.label) = (Task::Classification, Some("label".into()));
            Dataset::load(&config, None, None).unwrap().classes().to_vec()
        };
        let lines = |labels: &[&str]| {
            labels.iter().map(|l| format!("{{\"text\": \"t\", \"label\": {l}}}\n")).collect::<String>()
        };
        assert_eq!(classes("a.jsonl", &lines(&["1", "1.0", "1e0", "\"1\"", "10", "9"])), ["1", "9", "10"]);
        assert_eq!(classes("a.jsonl", &lines(&["true", "false"])), ["false", "true"]);
        assert_eq!(classes("a.jsonl", &lines(&["\"yes\"", "\"yes \"", "\"\""])), ["", "yes", "yes "]);
        assert_eq!(classes("a.csv", "text,label\nt,1\nt,1.0\nt,02\n"), ["1", "02"]);
        assert_eq!(classes("a.tsv", "text\tlabel\nt\ta\nt\t1\n"), ["1", "a"]);
    }

    #[test]
    fn short_records_are_left_out_and_nothing_left_is_an_error() {
        let (_dir, mut config) = file("lines.txt", "abc\n\nabcdéf\n".as_bytes());
        config.min_chars = 6;
        assert_eq!(Dataset::load(&config, None, None).unwrap().len(), 1);
        let message = error("lines.txt", "abc\n\nabcd\n", |config| config.min_chars = 6, None);
        assert_eq!(message, "lines.txt has no record: 2 were read, all shorter than data.min_chars (6) characters");
    }

    #[test]
    fn a_record_takes_24_bytes_whatever_it_holds() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    #[test]
    fn records_are_read_in_the_order_asked_for_from_whatever_they_lie_in() {
        let lines: String = (0..100).map(|i| format!("{{\"text\": \"t{i}\"}}\n")).collect();
        let gzip = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, lines.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        for (name, content) in [("a.jsonl", lines.as_bytes()), ("a.jsonl.gz", &gzip)] {
            let (_dir, config) = file(name, content);
            let data = Dataset::load(&config, None, None).unwrap();
            let read = data.read(&[70, 3, 3, 99]).unwrap();
            let texts: Vec<_> = read.into_iter().map(|record| record.content).collect();
            assert_eq!(texts, ["t70", "t3", "t3", "t99"].map(Content::text));
        }
    }

    #[test]
    fn pictures_are_classified_by_their_folder_and_need_the_task_for_it() {
        let dir = tempfile::tempdir().unwrap();
        for class in ["10", "9"] {
            std::fs::create_dir(dir.path().join(class)).unwrap();
            std::fs::write(dir.path().join(class).join("a.png"), include_bytes!("image_samples/two.png")).unwrap();
        }
        let mut config = Config { path: Some(dir.path().into()), task: Task::Classification, ..Config::default() };
        let data = Dataset::load(&config, Some("label"), None).unwrap();
        assert_eq!(
            (data.classes()[..].to_vec(), data.natural_id(0)),
            (vec!["9".to_owned(), "10".to_owned()], Some("10"))
        );
        let read = data.read(&[1]).unwrap();
        let Content::Image(image) = &read[0].content else { panic!("{read:?}") };
        assert_eq!((read[0].class, image.width), (Some(0), 2));
        config.task = Task::Text;
        let error = Dataset::load(&config, None, None).unwrap_err().to_string();
        assert_eq!(error, "data.task is `text`, it must be `classification`, as data.format is `image-folder`");
    }

    #[test]
    fn the_default_source_is_the_bundled_speeches_of_24_roles() {
        let data = Dataset::load(&Config::default(), Some("play,role"), None).unwrap();
        let ids: HashSet<_> = (0..).take(data.len()).map(|record| data.natural_id(record).unwrap()).collect();
        assert_eq!(ids.len(), 24);
        assert!(ids.contains("hamlet/HAMLET"));
        assert_eq!(data.name(), bundled::NAME);
    }
}
