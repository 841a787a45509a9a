//! The index of a dataset: records in as they are scanned; position, label and natural id of each out. Records that
//! cannot be used are counted and left out, or an error.

use std::sync::Arc;

use super::field_mapping::{Content, FieldMapping};
use super::name_interner::{self, NameInterner, by_value};
use super::record_reader::RawRecord;
use super::text_scanner::Span;
use super::{Config, DataError, Invalid, LeftOut};

/// The entry of a record in the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Its first byte in the store; of an image, its number.
    pub(super) start: u64,
    /// Length of the record, bytes.
    pub(super) length: u32,
    /// Length of its text, bytes.
    pub(super) size: u32,
    /// Index in `labels`; [`NONE`] without a label.
    pub(super) label: u32,
    /// Index in `ids`; [`NONE`] without an id.
    pub(super) id: u32,
}

impl Entry {
    pub(super) fn span(self) -> Span {
        Span { start: self.start, length: self.length }
    }
}

/// The index of a record without a label or an id.
pub(super) const NONE: u32 = u32::MAX;

/// The index under construction.
pub(super) struct IndexBuilder<'a> {
    config: &'a Config,
    recipe: &'a FieldMapping,
    /// The class names, where they are known before the records.
    classes: &'a [String],
    /// True where labels and ids are always text, also numbers.
    pub(super) untyped: bool,
    entries: Vec<Entry>,
    labels: NameInterner,
    ids: NameInterner,
    left_out: LeftOut,
    /// The message of the first record that was left out.
    first: Option<DataError>,
    short: usize,
}

/// The finished index.
#[derive(Default)]
pub(super) struct RecordIndex {
    pub(super) entries: Vec<Entry>,
    pub(super) labels: Arc<[String]>,
    pub(super) ids: Vec<Arc<str>>,
    pub(super) left_out: LeftOut,
    pub(super) short: usize,
}

/// Unusable records at the beginning of a dataset after which the scan gives up.
const MAX_LEADING_UNUSABLE: usize = 1000;

impl<'a> IndexBuilder<'a> {
    /// `classes` are the class names of the data itself; `data.classes` wins over them.
    pub(super) fn new(config: &'a Config, recipe: &'a FieldMapping, classes: &'a [String]) -> Self {
        let classes = if config.classes.is_empty() { classes } else { &config.classes };
        let mut labels = NameInterner::default();
        for class in classes {
            labels.number(class.clone());
        }
        Self {
            config,
            recipe,
            classes,
            untyped: false,
            entries: Vec::new(),
            labels,
            ids: NameInterner::default(),
            left_out: LeftOut::default(),
            first: None,
            short: 0,
        }
    }

    /// Takes the result of adding a record: an unusable record is left out, or the error returned.
    pub(super) fn keep_or_leave_out(&mut self, added: Result<(), DataError>) -> Result<(), DataError> {
        let Err(error) = added else { return Ok(()) };
        if !error.is_of_a_record() {
            return Err(error);
        }
        self.left_out.add(|| error.to_string());
        self.first.get_or_insert(error);
        let hopeless = self.entries.is_empty() && self.left_out.count() == MAX_LEADING_UNUSABLE;
        match hopeless && self.config.invalid == Invalid::Error {
            true => self.first.take().map_or(Ok(()), Err),
            false => Ok(()),
        }
    }

    pub(super) fn add(&mut self, found: &RawRecord<'_>, span: Span, content: &Content) -> Result<(), DataError> {
        let label = self.recipe.label(found)?;
        let id = self.recipe.natural_id(found)?;
        if let Some(label) = label.as_ref().filter(|label| !self.classes.is_empty() && self.class(label).is_none()) {
            return Err(DataError::UnknownClass {
                name: found.name.into(),
                place: found.place(),
                label: DataError::quoted(label),
                classes: DataError::listed(self.classes.iter().map(String::as_str)),
            });
        }
        if !content.reaches(self.config.min_chars) {
            self.short += 1;
            return Ok(());
        }
        let label = label.map_or(NONE, |label| self.class(&label).unwrap_or_else(|| self.labels.number(label)));
        let id = id.map_or(NONE, |id| self.ids.number(id));
        let size = if matches!(content, Content::Image(_)) { 1 } else { content.size() };
        let Span { start, length } = span;
        self.entries.push(Entry { start, length, size: u32::try_from(size).unwrap_or(u32::MAX), label, id });
        Ok(())
    }

    /// The index of a label in the known classes: by name, else by value.
    fn class(&self, label: &str) -> Option<u32> {
        let named = self.classes.iter().position(|class| class == label);
        let valued = || {
            let value = name_interner::value(label).filter(|_| self.untyped)?;
            self.classes.iter().position(|class| name_interner::value(class).as_ref() == Some(&value))
        };
        named.or_else(valued).map(|place| place as u32)
    }

    pub(super) fn finish(mut self, name: &str) -> Result<RecordIndex, DataError> {
        let read = self.entries.len() + self.short + self.left_out.count();
        match self.first {
            Some(first) if self.entries.is_empty() && self.short == 0 => return Err(first),
            Some(first) if self.config.invalid == Invalid::Error => {
                return Err(DataError::Invalid { first: first.to_string(), count: self.left_out.count(), read });
            }
            _ if self.entries.is_empty() => {
                return Err(DataError::NoRecords { name: name.into(), read, min_chars: self.config.min_chars });
            }
            _ => {}
        }
        self.entries.shrink_to_fit();
        let by_value = self.untyped;
        let (ids, places) = self.ids.settled(by_value);
        for entry in self.entries.iter_mut().filter(|entry| entry.id != NONE) {
            entry.id = places[entry.id as usize];
        }
        let labels = if self.classes.is_empty() {
            let (labels, places) = self.labels.settled(by_value);
            for entry in self.entries.iter_mut().filter(|entry| entry.label != NONE) {
                entry.label = places[entry.label as usize];
            }
            sort(&labels, &mut self.entries)
        } else {
            self.classes.to_vec()
        };
        let Self { entries, left_out, short, .. } = self;
        Ok(RecordIndex { entries, labels: labels.into(), ids, left_out, short })
    }
}

/// Sorts labels, numbers by value, and renumbers those of the records.
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
