//! Section `partition`: the partitioner and its arguments.

use serde::{Deserialize, Serialize};

use super::DataError;

/// The partitioner, by its name in Flower Datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One client for each natural id.
    NaturalId,
    /// One client for each group of natural ids.
    GroupedNaturalId,
    /// Shuffled, then dealt in equal parts.
    Iid,
    /// Each class split by proportions drawn from a Dirichlet distribution.
    Dirichlet,
    /// Clients of given sizes, each of which draws its classes by proportions of its own from a Dirichlet distribution.
    InnerDirichlet,
    /// Each class split by given proportions over the clients that have it.
    Distribution,
    /// A given number of classes for each client.
    Pathological,
    /// Sorted by class and cut into shards, of which each client gets some.
    Shard,
    /// Clients of given sizes.
    Size,
    /// Client N has records in proportion to N.
    Linear,
    /// Client N has records in proportion to the square of N.
    Square,
    /// Client N has records in proportion to e to the power of N.
    Exponential,
}

/// The choice of a client's classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassAssignment {
    /// All at random.
    #[default]
    Random,
    /// Class N and those after it, cyclically, for client N.
    Deterministic,
    /// Class N, cyclically, for client N, and others at random.
    FirstDeterministic,
}

/// The handling of ids that are left when groups are full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupMode {
    /// A smaller group of their own.
    #[default]
    AllowSmaller,
    /// Added to the other groups.
    AllowBigger,
    /// Left out.
    DropReminder,
    /// An error.
    Strict,
}

/// The split of records over clients. In Flower's words `clients` is `num_partitions` and `by` is `partition_by`; the
/// other names are Flower's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Partitioner: natural-id, grouped-natural-id, iid, dirichlet, inner-dirichlet, distribution, pathological, shard,
    /// size, linear, square or exponential.
    pub kind: Kind,
    /// Clients; for natural-id the so many ids with most text, for grouped-natural-id the so many first groups, and 0 takes
    /// all of them (natural ids in the order of their names). For size and inner-dirichlet, where `partition_sizes` is set, 0 or as many as that has.
    pub clients: usize,
    /// Field that tells the client (natural-id, grouped-natural-id) or the class (dirichlet, inner-dirichlet, distribution,
    /// pathological, shard); several, split by commas, are joined by "/".
    pub by: String,
    /// Dirichlet concentration, above 0: small values give each client few classes (dirichlet, inner-dirichlet).
    pub alpha: f64,
    /// Records that each client has at least (dirichlet); drawn up to 10 times until it holds.
    pub min_partition_size: usize,
    /// Give no more records to a client that has more than the average (dirichlet).
    pub self_balancing: bool,
    /// Records of each client (size, inner-dirichlet). Left empty, each of `clients` has as many as there are for all of them
    /// (inner-dirichlet).
    pub partition_sizes: Vec<usize>,
    /// Classes of each client (pathological).
    pub num_classes_per_partition: usize,
    /// Choice of these classes: random, deterministic or first-deterministic (pathological).
    pub class_assignment_mode: ClassAssignment,
    /// Shards of each client (shard); 0 deals all there are.
    pub num_shards_per_partition: usize,
    /// Records of a shard (shard); 0 makes them as large as num_shards_per_partition lets them be.
    pub shard_size: usize,
    /// Deal the last shard too where it is smaller (shard, where num_shards_per_partition is 0).
    pub keep_incomplete_shard: bool,
    /// Ids of a group (grouped-natural-id).
    pub group_size: usize,
    /// Handling of ids that do not fill a group: allow-smaller, allow-bigger, drop-reminder or strict
    /// (grouped-natural-id).
    pub mode: GroupMode,
    /// Sort the ids before they are grouped, numbers by value (grouped-natural-id); else they come as in the data.
    pub sort_unique_ids: bool,
    /// A row a class, in sorted order, with the share of each client that has the class (distribution).
    pub distribution_array: Vec<Vec<f64>>,
    /// Classes of each client (distribution).
    pub num_unique_labels_per_partition: usize,
    /// Records of each of its classes that a client has before the shares count (distribution, where rescale is true).
    pub preassigned_num_samples_per_label: usize,
    /// Take the shares as proportions of all records of the class; else as numbers of records (distribution).
    pub rescale: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::NaturalId,
            clients: 24,
            by: "play,role".into(),
            alpha: 0.5,
            min_partition_size: 10,
            self_balancing: false,
            partition_sizes: Vec::new(),
            num_classes_per_partition: 2,
            class_assignment_mode: ClassAssignment::Random,
            num_shards_per_partition: 0,
            shard_size: 0,
            keep_incomplete_shard: false,
            group_size: 2,
            mode: GroupMode::AllowSmaller,
            sort_unique_ids: false,
            distribution_array: Vec::new(),
            num_unique_labels_per_partition: 2,
            preassigned_num_samples_per_label: 0,
            rescale: true,
        }
    }
}

impl Kind {
    /// True where `partition.by` names the class of a record, not its owner.
    pub fn by_class(self) -> bool {
        use Kind::{Dirichlet, Distribution, InnerDirichlet, Pathological, Shard};
        matches!(self, Dirichlet | InnerDirichlet | Distribution | Pathological | Shard)
    }

    fn by_id(self) -> bool {
        matches!(self, Kind::NaturalId | Kind::GroupedNaturalId)
    }
}

impl Config {
    /// The fields that [`super::super::Dataset::load`] must read for this partitioner; none where only sizes count.
    pub fn field(&self) -> Option<&str> {
        (self.kind.by_class() || self.kind.by_id()).then_some(self.by.as_str())
    }

    /// Checks that need no data.
    ///
    /// # Errors
    /// [`DataError::Value`] names the key, what was found and what is allowed.
    pub fn validate(&self) -> Result<(), DataError> {
        let sized = matches!(self.kind, Kind::Size | Kind::InnerDirichlet);
        if !self.kind.by_id() && !sized && self.clients == 0 {
            return Err(DataError::value("partition.clients", 0, "at least 1 for this partition.kind"));
        }
        if self.field().is_some() && self.by.split(',').any(|field| field.trim().is_empty()) {
            return Err(DataError::value("partition.by", format!("`{}`", self.by), "field names, split by commas"));
        }
        if matches!(self.kind, Kind::Dirichlet | Kind::InnerDirichlet) && !(self.alpha > 0.0 && self.alpha.is_finite())
        {
            return Err(DataError::value("partition.alpha", self.alpha, "above 0"));
        }
        match self.kind {
            Kind::Size | Kind::InnerDirichlet => self.validate_sizes(),
            Kind::Distribution => self.validate_distribution(),
            Kind::Pathological if self.num_classes_per_partition == 0 => {
                Err(DataError::value("partition.num_classes_per_partition", 0, "at least 1"))
            }
            Kind::Shard if self.num_shards_per_partition == 0 && self.shard_size == 0 => {
                let allowed = "at least 1 where partition.num_shards_per_partition is 0";
                Err(DataError::value("partition.shard_size", 0, allowed))
            }
            Kind::GroupedNaturalId if self.group_size == 0 => {
                Err(DataError::value("partition.group_size", 0, "at least 1"))
            }
            _ => Ok(()),
        }
    }

    fn validate_sizes(&self) -> Result<(), DataError> {
        let sizes = &self.partition_sizes;
        if sizes.is_empty() && self.kind == Kind::InnerDirichlet && self.clients > 0 {
            return Ok(());
        }
        if sizes.is_empty() {
            let allowed = "a number of records for each client, as partition.kind asks for it";
            return Err(DataError::value("partition.partition_sizes", "empty", allowed));
        }
        if sizes.contains(&0) {
            return Err(DataError::value("partition.partition_sizes", "0 for some client", "at least 1 for each"));
        }
        if self.clients > 0 && self.clients != sizes.len() {
            let allowed = format!("0 or {}, the numbers in partition.partition_sizes", sizes.len());
            return Err(DataError::value("partition.clients", self.clients, allowed));
        }
        Ok(())
    }

    fn validate_distribution(&self) -> Result<(), DataError> {
        const ARRAY: &str = "partition.distribution_array";
        if self.num_unique_labels_per_partition == 0 {
            return Err(DataError::value("partition.num_unique_labels_per_partition", 0, "at least 1"));
        }
        let Some(first) = self.distribution_array.first() else {
            return Err(DataError::value(ARRAY, "empty", "a row for each class"));
        };
        for (number, row) in self.distribution_array.iter().enumerate() {
            if row.len() != first.len() {
                let found = format!("{} numbers in row {}", row.len(), number + 1);
                return Err(DataError::value(ARRAY, found, format!("{} in each, as in the first", first.len())));
            }
            if let Some(share) = row.iter().find(|share| !(**share >= 0.0 && share.is_finite())) {
                return Err(DataError::value(ARRAY, format!("{share} in row {}", number + 1), "finite and 0 or more"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_lists_the_known_ones() {
        let error = serde_json::from_str::<Config>(r#"{"kind": "semantic"}"#).unwrap_err().to_string();
        for part in ["semantic", "natural-id", "iid", "inner-dirichlet", "exponential"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn bad_values_are_named() {
        let message = |config: Config| config.validate().unwrap_err().to_string();
        let dirichlet = Config { kind: Kind::Dirichlet, ..Config::default() };
        assert_eq!(message(Config { alpha: 0.0, ..dirichlet.clone() }), "partition.alpha is 0, it must be above 0");
        assert!(message(Config { clients: 0, ..dirichlet.clone() }).starts_with("partition.clients is 0"));
        assert!(message(Config { by: "a,,b".into(), ..dirichlet }).starts_with("partition.by is `a,,b`"));
    }

    #[test]
    fn what_a_kind_asks_for_must_be_there() {
        let message = |kind, change: fn(&mut Config)| {
            let mut config = Config { kind, ..Config::default() };
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        for (message, begins) in [
            (message(Kind::Size, |_| {}), "partition.partition_sizes is empty, it must be a number of records"),
            (
                message(Kind::InnerDirichlet, |c| c.clients = 0),
                "partition.partition_sizes is empty, it must be a number of records",
            ),
            (message(Kind::Size, |c| c.partition_sizes = vec![3, 0]), "partition.partition_sizes is 0 for some client"),
            (
                message(Kind::InnerDirichlet, |c| c.partition_sizes = vec![3, 4]),
                "partition.clients is 24, it must be 0 or 2, the numbers in partition.partition_sizes",
            ),
            (message(Kind::Shard, |_| {}), "partition.shard_size is 0, it must be at least 1 where"),
            (
                message(Kind::Pathological, |c| c.num_classes_per_partition = 0),
                "partition.num_classes_per_partition is 0",
            ),
            (message(Kind::GroupedNaturalId, |c| c.group_size = 0), "partition.group_size is 0"),
            (message(Kind::Distribution, |_| {}), "partition.distribution_array is empty"),
            (
                message(Kind::Distribution, |c| c.distribution_array = vec![vec![1.0], vec![1.0, 2.0]]),
                "partition.distribution_array is 2 numbers in row 2, it must be 1 in each",
            ),
            (
                message(Kind::Distribution, |c| c.distribution_array = vec![vec![1.0, -2.0]]),
                "partition.distribution_array is -2 in row 1, it must be finite",
            ),
        ] {
            assert!(message.starts_with(begins), "{message}");
        }
    }

    #[test]
    fn fields_are_read_only_where_they_count() {
        let field = |kind| Config { kind, ..Config::default() }.field().map(str::to_owned);
        for kind in [Kind::NaturalId, Kind::GroupedNaturalId, Kind::Dirichlet, Kind::Shard, Kind::Pathological] {
            assert_eq!(field(kind).as_deref(), Some("play,role"));
        }
        for kind in [Kind::Iid, Kind::Size, Kind::Linear, Kind::Square, Kind::Exponential] {
            assert_eq!(field(kind), None);
        }
    }
}
