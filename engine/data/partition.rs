//! Who owns which record: a dataset in, one shard a client out. The partitioners and their arguments are those of Flower
//! Datasets (`NaturalIdPartitioner`, `IidPartitioner`, `DirichletPartitioner`).

use serde::{Deserialize, Serialize};

/// How records are split over clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One client an id found in the data (Flower's `NaturalIdPartitioner`).
    NaturalId,
    /// Shuffled, then dealt in equal shares (Flower's `IidPartitioner`).
    Iid,
    /// Each class split by shares drawn from a Dirichlet distribution (Flower's `DirichletPartitioner`).
    Dirichlet,
}

/// Section `partition`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How records are split over clients: natural-id, iid or dirichlet.
    pub kind: Kind,
    /// Clients; for natural-id the largest so many ids, and 0 takes all of them.
    pub clients: usize,
    /// Field that tells the client (natural-id) or the class (dirichlet); several, split by commas, are joined by "/".
    pub by: String,
    /// Dirichlet concentration, above 0: small values give each client few classes.
    pub alpha: f64,
    /// Records that each client has at least (dirichlet); drawn again, up to 10 times, until it holds.
    pub min_partition_size: usize,
    /// Give no more records to a client that has more than the average (dirichlet).
    pub self_balancing: bool,
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
        }
    }
}
