//! Records as they are found in, what is known of each without reading it again out: its place, its label and its owner. Those
//! that cannot be used are counted and left out, or an error.

use std::sync::Arc;

use super::names::{self, Names, by_value};
use super::pieces::Span;
use super::reader::Found;
use super::recipe::{Content, Recipe};
use super::{Config, DataError, Invalid, LeftOut};

/// What is known of a record without reading it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Its first byte in the store; of a picture, its number.
    pub(super) start: u64,
    /// Its bytes.
    pub(super) length: u32,
    /// Bytes of its text.
    pub(super) size: u32,
    /// Among `labels`; [`NONE`] where there is none.
    pub(super) label: u32,
    /// Among `ids`; [`NONE`] where there is none.
    pub(super) id: u32,
}

impl Entry {
    pub(super) fn span(self) -> Span {
        Span { start: self.start, length: self.length }
    }
}

/// No label, no id.
pub(super) const NONE: u32 = u32::MAX;

/// Records as they are found.
pub(super) struct Finder<'a> {
    config: &'a Config,
    recipe: &'a Recipe,
    /// The names of the classes, where they are known before the records are.
    classes: &'a [String],
    /// Labels and ids are text, whatever they mean.
    pub(super) untyped: bool,
    entries: Vec<Entry>,
    labels: Names,
    ids: Names,
    left_out: LeftOut,
    /// What is wrong with the first record that was left out.
    first: Option<DataError>,
    short: usize,
}

/// What a [`Finder`] found.
pub(super) struct Sought {
    pub(super) entries: Vec<Entry>,
    pub(super) labels: Arc<[String]>,
    pub(super) ids: Vec<Arc<str>>,
    pub(super) left_out: LeftOut,
    pub(super) short: usize,
}

/// Records that cannot be used, with none before them that can, after which the rest is not read to be counted.
const HOPELESS: usize = 1000;

impl<'a> Finder<'a> {
    /// `classes` are those that the data itself names; `data.classes` goes before them.
    pub(super) fn new(config: &'a Config, recipe: &'a Recipe, classes: &'a [String]) -> Self {
        let classes = if config.classes.is_empty() { classes } else { &config.classes };
        let mut labels = Names::default();
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
            ids: Names::default(),
            left_out: LeftOut::default(),
            first: None,
            short: 0,
        }
    }

    /// Goes on where a record was added or cannot be used.
    pub(super) fn take(&mut self, added: Result<(), DataError>) -> Result<(), DataError> {
        let Err(error) = added else { return Ok(()) };
        if !error.is_of_a_record() {
            return Err(error);
        }
        self.left_out.add(|| error.to_string());
        self.first.get_or_insert(error);
        let hopeless = self.entries.is_empty() && self.left_out.count() == HOPELESS;
        match hopeless && self.config.invalid == Invalid::Error {
            true => self.first.take().map_or(Ok(()), Err),
            false => Ok(()),
        }
    }

    pub(super) fn add(&mut self, found: &Found<'_>, span: Span, content: &Content) -> Result<(), DataError> {
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

    /// The place of a label among the classes that are known before: of that name, else of that value.
    fn class(&self, label: &str) -> Option<u32> {
        let named = self.classes.iter().position(|class| class == label);
        let valued = || {
            let value = names::value(label).filter(|_| self.untyped)?;
            self.classes.iter().position(|class| names::value(class).as_ref() == Some(&value))
        };
        named.or_else(valued).map(|place| place as u32)
    }

    pub(super) fn finish(mut self, name: &str) -> Result<Sought, DataError> {
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
        Ok(Sought { entries, labels: labels.into(), ids, left_out, short })
    }
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
