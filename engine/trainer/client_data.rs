//! The clients' data as sequences: tokenized when they are needed, cached while there is room.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::data::{self, Dataset, Partition, Sequence};
use crate::roster::Roster;

use super::{Trainer, TrainerError, evaluation_sample};

/// Records of one evaluation job. Fixed, so that sums do not depend on the number of workers.
pub const EVALUATION_CHUNK: usize = 64;

/// The data of all clients. Memory: the indices of their records, and a cache of sequences of at most `data.cache_mb`.
pub struct ClientData {
    trainer: Arc<Trainer>,
    dataset: Arc<Dataset>,
    partition: Arc<Partition>,
    roster: Arc<Roster>,
    config: data::Config,
    /// The validation records of all clients that are evaluated, in roster order.
    validation: Vec<u32>,
    /// Validation records of all clients.
    held_out: usize,
    notes: Vec<String>,
    cache: Mutex<SequenceCache>,
}

/// The owner of cached sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum CacheKey {
    Train(u32),
    Validation(usize),
}

impl ClientData {
    /// The data of a partition's clients; nothing is read yet. Records are cut at the model's positions where
    /// `data.max_tokens` is above them.
    pub fn new(trainer: Arc<Trainer>, dataset: Arc<Dataset>, partition: Arc<Partition>, config: data::Config) -> Self {
        let mut notes = trainer.left_out().to_vec();
        let positions = trainer.model().max_positions();
        if config.max_tokens > positions && !trainer.model().reads_pictures() {
            let asked = config.max_tokens;
            notes.push(format!(
                "data.max_tokens is {asked}, the model has {positions} positions: records are cut there"
            ));
        }
        let config = data::Config { max_tokens: config.max_tokens.min(positions), ..config };
        let validation: Vec<u32> = partition.shards.iter().flat_map(|shard| shard.validation.iter().copied()).collect();
        let roster = Arc::new(Roster::new(partition.shards.iter().map(|shard| shard.name.clone()).collect()));
        let cache = Mutex::new(SequenceCache::new(config.cache_mb << 20));
        let held_out = validation.len();
        Self { trainer, dataset, partition, roster, config, validation, held_out, notes, cache }
    }

    /// The same, evaluated on every record of the dataset: a server's own, which is no client's.
    pub fn evaluated_on_all(mut self) -> Self {
        self.validation = (0..).take(self.dataset.len()).collect();
        self.held_out = self.validation.len();
        self
    }

    /// The same, evaluated on a sample of at most `count` records; 0 takes all.
    pub fn with_evaluation_sample(mut self, count: usize, seed: u64) -> Self {
        self.validation = evaluation_sample(&self.validation, count, seed);
        self
    }

    /// The same with one more note for people.
    pub fn with_note(mut self, note: Option<String>) -> Self {
        self.notes.extend(note);
        self
    }

    /// Notes for people on the model, its adapter and the data.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The names of the classes; empty where the next token is predicted.
    pub fn classes(&self) -> &[String] {
        self.dataset.classes()
    }

    /// The trainer of the sequences.
    pub fn trainer(&self) -> &Arc<Trainer> {
        &self.trainer
    }

    /// All records of all clients.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Clients in the roster.
    pub fn clients(&self) -> usize {
        self.partition.shards.len()
    }

    /// The clients' names.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Training records that a client has.
    pub fn examples(&self, client: u32) -> u64 {
        self.partition.shards[client as usize].train.len() as u64
    }

    /// A client's training sequences.
    ///
    /// # Errors
    /// [`TrainerError::Data`] where a record cannot be read or tokenized.
    pub fn train(&self, client: u32) -> Result<Arc<Vec<Sequence>>, TrainerError> {
        self.sequences(CacheKey::Train(client), &self.partition.shards[client as usize].train)
    }

    /// Validation records that are evaluated.
    pub fn evaluated_records(&self) -> usize {
        self.validation.len()
    }

    /// Validation records of all clients, evaluated or not.
    pub fn held_out_records(&self) -> usize {
        self.held_out
    }

    /// Number of chunks of the validation data of all clients.
    pub fn validation_chunks(&self) -> usize {
        self.validation.len().div_ceil(EVALUATION_CHUNK)
    }

    /// The validation sequences of one chunk, in roster order.
    ///
    /// # Errors
    /// [`TrainerError::Data`] where a record cannot be read or tokenized.
    pub fn validation(&self, chunk: usize) -> Result<Arc<Vec<Sequence>>, TrainerError> {
        let first = chunk * EVALUATION_CHUNK;
        let last = self.validation.len().min(first + EVALUATION_CHUNK);
        self.sequences(CacheKey::Validation(chunk), &self.validation[first..last])
    }

    fn sequences(&self, key: CacheKey, records: &[u32]) -> Result<Arc<Vec<Sequence>>, TrainerError> {
        // The lock is not held while they are made: two workers that need the same ones at once both make them.
        if let Some(sequences) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(sequences);
        }
        let records = self.dataset.read(records)?;
        let sequences = Arc::new(data::tokenize(self.trainer.model().tokenizer(), &records, &self.config)?);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(key, sequences.clone());
        Ok(sequences)
    }
}

/// A cache of sequences up to a number of bytes; the least recently used ones go first.
struct SequenceCache {
    most: usize,
    bytes: usize,
    /// Each entry with the number of its last use.
    sequences: HashMap<CacheKey, (u64, Arc<Vec<Sequence>>)>,
    by_use: BTreeMap<u64, CacheKey>,
    uses: u64,
}

impl SequenceCache {
    fn new(most: usize) -> Self {
        Self { most, bytes: 0, sequences: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    fn get(&mut self, key: CacheKey) -> Option<Arc<Vec<Sequence>>> {
        let (used, sequences) = self.sequences.get_mut(&key)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(sequences.clone())
    }

    fn put(&mut self, key: CacheKey, sequences: Arc<Vec<Sequence>>) {
        let bytes = bytes(&sequences);
        if bytes > self.most || self.sequences.contains_key(&key) {
            return;
        }
        while self.bytes + bytes > self.most {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.bytes -= self.sequences.remove(&oldest).map_or(0, |(_, old)| self::bytes(&old));
        }
        self.bytes += bytes;
        self.uses += 1;
        self.sequences.insert(key, (self.uses, sequences));
        self.by_use.insert(self.uses, key);
    }
}

/// Memory of the sequences, bytes.
fn bytes(sequences: &[Sequence]) -> usize {
    let image = |sequence: &Sequence| sequence.image.as_ref().map_or(0, |image| image.values.len());
    sequences.iter().map(|sequence| size_of::<Sequence>() + 4 * sequence.tokens.capacity() + image(sequence)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Goal;

    fn sequences(tokens: usize) -> Arc<Vec<Sequence>> {
        Arc::new(vec![Sequence { tokens: vec![0; tokens], goal: Goal::From(0), image: None }])
    }

    #[test]
    fn what_was_unused_for_the_longest_time_makes_room() {
        let one = bytes(&sequences(100));
        let mut cache = SequenceCache::new(2 * one);
        let has = |cache: &SequenceCache, client| cache.sequences.contains_key(&CacheKey::Train(client));
        for client in [1, 2] {
            cache.put(CacheKey::Train(client), sequences(100));
        }
        assert!(cache.get(CacheKey::Train(1)).is_some() && cache.get(CacheKey::Validation(1)).is_none());
        cache.put(CacheKey::Train(3), sequences(100));
        assert!(has(&cache, 1) && !has(&cache, 2) && has(&cache, 3));
        assert_eq!((cache.bytes, cache.by_use.len()), (2 * one, 2));
        cache.put(CacheKey::Train(4), sequences(1000));
        assert!(!has(&cache, 4) && cache.bytes == 2 * one);
    }
}
