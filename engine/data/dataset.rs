//! Records: the configured source in; the place of every record, its label and natural id out, and its content when asked for.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::pictures::Pictures;
use super::reader::{Found, Span};
use super::recipe::{Content, Recipe};
use super::store::{self, Store};
use super::{Config, DataError, Format, Source, Task};

/// One record of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it holds.
    pub content: Content,
    /// The place of its label among [`Dataset::classes`], where the task is classification.
    pub class: Option<u32>,
}

/// All records of a source, in its order. Memory: 24 bytes a record and the distinct labels and ids; what a record holds is
/// read when it is needed.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    entries: Vec<Entry>,
    labels: Arc<[String]>,
    ids: Vec<Arc<str>>,
    task: Task,
    recipe: Recipe,
    place: Place,
}

/// What is known of a record without reading it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Its first byte in the store; of a picture, its number.
    start: u64,
    /// Its bytes.
    length: u32,
    /// Bytes of its text.
    size: u32,
    /// Among `labels`; [`NONE`] where there is none.
    label: u32,
    /// Among `ids`; [`NONE`] where there is none.
    id: u32,
}

impl Entry {
    fn span(self) -> Span {
        Span { start: self.start, length: self.length }
    }
}

/// No label, no id.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Place {
    Text(Store),
    Pictures(Pictures),
    /// Nowhere: a test made the records up.
    #[cfg(test)]
    Nowhere,
}

impl Dataset {
    /// Looks for the records of the configured source. `by` is `partition.by` where the partitioner needs it
    /// ([`super::partition::Config::field`]): field names, split by commas, whose values are joined by `/`.
    ///
    /// # Errors
    /// A [`DataError`] that names the setting, or the file with the line and the field.
    pub fn load(config: &Config, by: Option<&str>) -> Result<Self, DataError> {
        config.validate()?;
        match (config.source, &config.path) {
            (Source::File | Source::Auto, Some(path)) => Self::load_file(path, config, by),
            _ => {
                Config { format: Format::Jsonl, ..config.clone() }.validate()?;
                Self::of_text(Store::bundled()?, config, Recipe::new(config, by)?)
            }
        }
    }

    /// Looks for the records of a file, whatever `data.source` and `data.path` say; used to evaluate on data other than the
    /// run's.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load_file(path: &Path, config: &Config, by: Option<&str>) -> Result<Self, DataError> {
        let format = store::format(path, config.format)?;
        Config { format, ..config.clone() }.validate()?;
        if matches!(format, Format::ImageFolder | Format::Cifar10) {
            return Self::of_pictures(Pictures::open(path, format)?, config, Recipe::of_pictures(config, by)?);
        }
        let recipe = Recipe::new(config, by)?;
        Self::of_text(Store::open(path, format, &recipe)?, config, recipe)
    }

    fn of_text(mut store: Store, config: &Config, recipe: Recipe) -> Result<Self, DataError> {
        let mut finder = Finder::new(config, &recipe);
        store.scan(|found, span| {
            let content = recipe.content(&found)?;
            finder.read += 1;
            match content.reaches(config.min_chars) {
                true => finder.add(&found, span, content.size()),
                false => Ok(()),
            }
        })?;
        let found = finder.finish(store.name())?;
        Ok(Self::new(found, store.name().to_owned(), config.task, recipe, Place::Text(store)))
    }

    fn of_pictures(pictures: Pictures, config: &Config, recipe: Recipe) -> Result<Self, DataError> {
        let mut finder = Finder::new(config, &recipe);
        pictures.scan(|found| {
            let span = Span { start: found.number as u64 - 1, length: 0 };
            finder.add(&found, span, 1)
        })?;
        let found = finder.finish(pictures.name())?;
        Ok(Self::new(found, pictures.name().to_owned(), config.task, recipe, Place::Pictures(pictures)))
    }

    fn new(found: Sought, name: String, task: Task, recipe: Recipe, place: Place) -> Self {
        let Sought { entries, labels, ids } = found;
        Self { name, entries, labels, ids, task, recipe, place }
    }

    /// The file or folder, or `bundled speeches`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records that there are, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a data set without records is an error when it is loaded")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The distinct labels, sorted (numbers by value), or `data.classes`; none unless the task is classification.
    pub fn classes(&self) -> &Arc<[String]> {
        static EMPTY: std::sync::LazyLock<Arc<[String]>> = std::sync::LazyLock::new(Arc::default);
        if self.task == Task::Classification { &self.labels } else { &EMPTY }
    }

    /// The same with other classes: a record's label is the one at the place that `places` has for the one that it had.
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

    /// The place of a record's label among [`Self::labels`].
    pub fn label(&self, record: u32) -> Option<u32> {
        let label = self.entries[record as usize].label;
        (label != NONE).then_some(label)
    }

    /// What `partition.by` makes of a record, where that is asked for: the client (natural-id) or the class (dirichlet).
    pub fn natural_id(&self, record: u32) -> Option<&str> {
        self.ids.get(self.entries[record as usize].id as usize).map(|id| &**id)
    }

    /// Bytes of a record's text; 1 of a picture.
    pub fn size(&self, record: u32) -> usize {
        self.entries[record as usize].size as usize
    }

    /// Reads records, in the order in which they are named. Costs one small read a record.
    ///
    /// # Errors
    /// Data that cannot be read or is no longer what it was when it was loaded.
    pub fn read(&self, records: &[u32]) -> Result<Vec<Record>, DataError> {
        let mut read = Vec::with_capacity(records.len());
        let classify = self.task == Task::Classification;
        let entries = records.iter().map(|record| self.entries[*record as usize]);
        match &self.place {
            Place::Text(store) => store.read(entries.map(Entry::span), |found| {
                let class = records.get(read.len()).and_then(|record| self.label(*record)).filter(|_| classify);
                read.push(Record { content: self.recipe.content(&found)?, class });
                Ok(())
            })?,
            Place::Pictures(pictures) => {
                for entry in entries {
                    let image = pictures.read(entry.start as u32)?;
                    read.push(Record { content: Content::Image(Arc::new(image)), class: Some(entry.label) });
                }
            }
            #[cfg(test)]
            Place::Nowhere => {}
        }
        Ok(read)
    }

    /// Records with these natural ids and texts of 5 bytes, which cannot be read.
    #[cfg(test)]
    pub(super) fn made_up(name: &str, ids: impl Iterator<Item = String>) -> Self {
        let config = Config::default();
        let recipe = Recipe::new(&config, Some("id")).unwrap();
        let mut finder = Finder::new(&config, &recipe);
        for (id, number) in ids.zip(1..) {
            let fields = [("id".to_owned(), serde_json::Value::from(id))].into_iter().collect();
            finder.add(&Found { fields, name, unit: "line", number }, Span { start: 0, length: 0 }, 5).unwrap();
        }
        let found = finder.finish(name).unwrap();
        Self::new(found, name.to_owned(), config.task, recipe, Place::Nowhere)
    }
}

/// Records as they are found.
struct Finder<'a> {
    config: &'a Config,
    recipe: &'a Recipe,
    entries: Vec<Entry>,
    labels: Names,
    ids: Names,
    /// Records read, also those that were left out.
    read: usize,
}

/// What a [`Finder`] found.
struct Sought {
    entries: Vec<Entry>,
    labels: Arc<[String]>,
    ids: Vec<Arc<str>>,
}

/// Names by number, each once.
#[derive(Default)]
struct Names {
    list: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    fn number(&mut self, name: String) -> u32 {
        if let Some(number) = self.numbers.get(name.as_str()) {
            return *number;
        }
        let (name, number): (Arc<str>, _) = (name.into(), self.list.len() as u32);
        self.list.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}

impl<'a> Finder<'a> {
    fn new(config: &'a Config, recipe: &'a Recipe) -> Self {
        let mut labels = Names::default();
        for class in &config.classes {
            labels.number(class.clone());
        }
        Self { config, recipe, entries: Vec::new(), labels, ids: Names::default(), read: 0 }
    }

    fn add(&mut self, found: &Found<'_>, span: Span, size: usize) -> Result<(), DataError> {
        let label = self.recipe.label(found)?.map(|label| self.labels.number(label)).unwrap_or(NONE);
        let classes = &self.config.classes;
        if !classes.is_empty() && label != NONE && label as usize >= classes.len() {
            return Err(DataError::UnknownClass {
                name: found.name.into(),
                place: found.place(),
                label: self.labels.list[label as usize].to_string(),
                classes: DataError::listed(classes.iter().map(String::as_str)),
            });
        }
        let id = self.recipe.natural_id(found)?.map(|id| self.ids.number(id)).unwrap_or(NONE);
        let Span { start, length } = span;
        self.entries.push(Entry { start, length, size: u32::try_from(size).unwrap_or(u32::MAX), label, id });
        Ok(())
    }

    fn finish(mut self, name: &str) -> Result<Sought, DataError> {
        if self.entries.is_empty() {
            return Err(DataError::NoRecords { name: name.into(), read: self.read, min_chars: self.config.min_chars });
        }
        self.entries.shrink_to_fit();
        let labels = match self.config.classes.is_empty() {
            true => sort(&self.labels.list, &mut self.entries),
            false => self.config.classes.clone(),
        };
        Ok(Sought { entries: self.entries, labels: labels.into(), ids: self.ids.list })
    }
}

/// The order of names: numbers by value, then the others by letters.
pub(super) fn by_value(a: &str, b: &str) -> Ordering {
    let number = |name: &str| name.parse::<f64>().unwrap_or(f64::INFINITY);
    number(a).total_cmp(&number(b)).then_with(|| a.cmp(b))
}

/// Puts labels in order, numbers by value, and gives every record the new place of its own.
fn sort(labels: &[Arc<str>], entries: &mut [Entry]) -> Vec<String> {
    let mut order: Vec<u32> = (0..).take(labels.len()).collect();
    order.sort_by(|a, b| by_value(&labels[*a as usize], &labels[*b as usize]));
    let mut places = vec![NONE; labels.len()];
    for (place, label) in (0..).zip(&order) {
        places[*label as usize] = place;
    }
    for entry in entries.iter_mut().filter(|entry| entry.label != NONE) {
        entry.label = places[entry.label as usize];
    }
    order.iter().map(|label| labels[*label as usize].to_string()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::PathBuf;

    use super::super::bundled;
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
        let error = Dataset::load(&config, by).unwrap_err().to_string();
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
        let data = Dataset::load(&config, Some("topic, a")).unwrap();
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
        let data = Dataset::load(&config, None).unwrap();
        assert_eq!(data.classes()[..], ["9", "10", "a", "b"]);
        let classes = |data| all(data).into_iter().map(|record| record.class).collect::<Vec<_>>();
        assert_eq!(classes(&data), [1, 0, 3, 1, 2].map(Some));
        config.classes = ["b", "10", "9", "a", "c"].map(String::from).into();
        let data = Dataset::load(&config, None).unwrap();
        assert_eq!(data.classes()[..], config.classes);
        assert_eq!(classes(&data), [1, 2, 0, 1, 3].map(Some));
        config.classes.truncate(3);
        let error = Dataset::load(&config, None).unwrap_err().to_string();
        assert!(
            error.ends_with("labels.jsonl line 5 has the label `a` (data.label), data.classes has b, 10, 9"),
            "{error}"
        );
        (config.task, config.classes) = (Task::Text, Vec::new());
        let data = Dataset::load(&config, None).unwrap();
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
    fn short_records_are_left_out_and_nothing_left_is_an_error() {
        let (_dir, mut config) = file("lines.txt", "abc\n\nabcdéf\n".as_bytes());
        config.min_chars = 6;
        assert_eq!(Dataset::load(&config, None).unwrap().len(), 1);
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
            let data = Dataset::load(&config, None).unwrap();
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
            let picture = if class == "9" { include_bytes!("pictures/two.png").as_slice() } else { b"" };
            std::fs::write(dir.path().join(class).join("a.png"), picture).unwrap();
        }
        let mut config = Config { path: Some(dir.path().into()), task: Task::Classification, ..Config::default() };
        let data = Dataset::load(&config, Some("label")).unwrap();
        assert_eq!(
            (data.classes()[..].to_vec(), data.natural_id(0)),
            (vec!["9".to_owned(), "10".to_owned()], Some("10"))
        );
        let read = data.read(&[1]).unwrap();
        let Content::Image(image) = &read[0].content else { panic!("{read:?}") };
        assert_eq!((read[0].class, image.width), (Some(0), 2));
        config.task = Task::Text;
        let error = Dataset::load(&config, None).unwrap_err().to_string();
        assert_eq!(error, "data.task is `text`, it must be `classification`, as data.format is `image-folder`");
    }

    #[test]
    fn the_default_source_is_the_bundled_speeches_of_24_roles() {
        let data = Dataset::load(&Config::default(), Some("play,role")).unwrap();
        let ids: HashSet<_> = (0..).take(data.len()).map(|record| data.natural_id(record).unwrap()).collect();
        assert_eq!(ids.len(), 24);
        assert!(ids.contains("hamlet/HAMLET"));
        assert_eq!(data.name(), bundled::NAME);
    }
}
