//! Statistics of the partition: a dataset and its partition in; records, sequences, tokens and labels of every client
//! out.

use super::label_heatmap::heatmap;
use super::name_interner::by_value;
use super::{Config, DataError, Dataset, LeftOut, Partition, Tokenizer, tokenize};

/// Records that are read at a time.
const CHUNK: usize = 256;

/// A dataset and the shares of its clients in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The name of the data's source.
    pub name: String,
    /// Number of records.
    pub records: usize,
    /// Records of them in no client's shard.
    pub unowned: usize,
    /// Records left out because they cannot be used.
    pub left_out: LeftOut,
    /// Number of records left out because they are shorter than `data.min_chars`.
    pub short: usize,
    /// The labels that are counted: those of `data.label`, else the classes of `partition.by`; may be empty.
    pub labels: Vec<String>,
    /// Every client, in roster order.
    pub clients: Vec<InspectedClient>,
}

/// The data of one client in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedClient {
    /// Its name.
    pub name: String,
    /// Training records.
    pub train: usize,
    /// Validation records.
    pub validation: usize,
    /// Training sequences.
    pub sequences: usize,
    /// Their tokens.
    pub tokens: u64,
    /// Tokens of them with a loss; 0 in classification.
    pub predicted: u64,
    /// Records of each of [`Inspection::labels`], validation included.
    pub labels: Vec<u32>,
}

impl Inspection {
    /// Counts the data of every client, which reads and tokenizes all training records once. `by_class` where
    /// `partition.by` names the class of a record.
    ///
    /// # Errors
    /// [`DataError`] where data cannot be read or tokenized.
    pub fn new(
        dataset: &Dataset,
        partition: &Partition,
        config: &Config,
        by_class: bool,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let (labels, of_record) = labels(dataset, by_class);
        let mut owned = 0;
        let mut clients = Vec::with_capacity(partition.shards.len());
        for shard in &partition.shards {
            owned += shard.train.len() + shard.validation.len();
            let mut client = InspectedClient {
                name: shard.name.clone(),
                train: shard.train.len(),
                validation: shard.validation.len(),
                sequences: 0,
                tokens: 0,
                predicted: 0,
                labels: vec![0; labels.len()],
            };
            for record in shard.train.iter().chain(&shard.validation) {
                if let Some(label) = of_record(*record) {
                    client.labels[label] += 1;
                }
            }
            for records in shard.train.chunks(CHUNK) {
                for sequence in tokenize(tokenizer, &dataset.read(records)?, config)? {
                    client.sequences += 1;
                    client.tokens += sequence.tokens.len() as u64;
                    client.predicted += sequence.predicted().count() as u64;
                }
            }
            clients.push(client);
        }
        let (name, records) = (dataset.name().to_owned(), dataset.len());
        let (left_out, short) = (dataset.left_out().clone(), dataset.short());
        Ok(Self { name, records, unowned: records - owned, left_out, short, labels, clients })
    }

    /// The label heatmap, SVG; none where there are no labels.
    pub fn heatmap(&self) -> Option<String> {
        let rows: Vec<&[u32]> = self.clients.iter().map(|client| client.labels.as_slice()).collect();
        let names: Vec<&str> = self.clients.iter().map(|client| client.name.as_str()).collect();
        (!self.labels.is_empty()).then(|| heatmap(&self.labels, &names, &rows))
    }
}

/// A record's index in the labels, where it has a label.
type LabelOf<'a> = Box<dyn Fn(u32) -> Option<usize> + 'a>;

/// The labels, and the index of each record's label.
fn labels(dataset: &Dataset, by_class: bool) -> (Vec<String>, LabelOf<'_>) {
    if !dataset.labels().is_empty() || !by_class {
        return (dataset.labels().to_vec(), Box::new(|record| dataset.label(record).map(|label| label as usize)));
    }
    let mut names: Vec<String> = (0..)
        .take(dataset.len())
        .filter_map(|record| dataset.natural_id(record))
        .collect::<std::collections::HashSet<_>>()
        .into_iter()
        .map(str::to_owned)
        .collect();
    names.sort_by(|a, b| by_value(a, b));
    let sorted = names.clone();
    let place = move |record| {
        let id = dataset.natural_id(record)?;
        sorted.binary_search_by(|name| by_value(name, id)).ok()
    };
    (names, Box::new(place))
}

#[cfg(test)]
mod tests {
    use super::super::partition::{Config as PartitionConfig, Kind, partition};
    use super::super::tokenizer::tests::words;
    use super::*;

    fn inspect(change: impl FnOnce(&mut Config, &mut PartitionConfig)) -> Inspection {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "text,kind\nto be,10\nor not,9\nto be or not,10\nbe,x\n").unwrap();
        let mut config = Config { path: Some(path), validation: 0.0, ..Config::default() };
        let mut split =
            PartitionConfig { kind: Kind::Size, partition_sizes: vec![2, 1], clients: 0, ..Default::default() };
        change(&mut config, &mut split);
        let dataset = Dataset::load(&config, split.field(), None).unwrap();
        let partition = partition(&dataset, &split, &config, 1).unwrap();
        Inspection::new(&dataset, &partition, &config, split.kind.by_class(), &words()).unwrap()
    }

    #[test]
    fn records_tokens_and_labels_of_every_client_are_counted() {
        let found = inspect(|config, _| config.label = Some("kind".into()));
        assert_eq!((found.records, found.unowned, found.clients.len()), (4, 1, 2));
        assert_eq!(found.labels, ["9", "10", "x"]);
        for client in &found.clients {
            assert_eq!(client.labels.iter().sum::<u32>() as usize, client.train);
            assert_eq!(client.tokens, client.predicted + client.sequences as u64);
        }
        assert_eq!(found.clients.iter().map(|client| client.sequences).sum::<usize>(), 3);
        assert!(found.heatmap().unwrap().starts_with("<svg"));
    }

    #[test]
    fn the_classes_of_the_partition_stand_in_for_labels() {
        let found = inspect(|_, split| {
            (split.kind, split.by, split.shard_size, split.clients) = (Kind::Shard, "kind".into(), 2, 2);
        });
        assert_eq!(found.labels, ["9", "10", "x"]);
        let mut sums: Vec<_> = found.clients.iter().map(|client| client.labels.clone()).collect();
        sums.sort();
        assert_eq!(sums, [vec![0, 1, 1], vec![1, 1, 0]]);
        let none = inspect(|_, _| {});
        assert!(none.labels.is_empty() && none.heatmap().is_none());
    }
}
