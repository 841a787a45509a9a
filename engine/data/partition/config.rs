//! Section `partition`.

use serde::{Deserialize, Serialize};

use super::DataError;

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

/// Which client gets which record. In Flower's words `clients` is `num_partitions` and `by` is `partition_by`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How records are split over clients: natural-id, iid or dirichlet.
    pub kind: Kind,
    /// Clients; for natural-id the so many ids with most text, and 0 takes all of them.
    pub clients: usize,
    /// Field that tells the client (natural-id) or the class (dirichlet); several, split by commas, are joined by "/".
    pub by: String,
    /// Dirichlet concentration, above 0: small values give each client few classes.
    pub alpha: f64,
    /// Records that each client has at least (dirichlet); drawn up to 10 times until it holds.
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

impl Config {
    /// The fields that [`super::super::Dataset::load`] must read for this partitioner; none for iid.
    pub fn field(&self) -> Option<&str> {
        (self.kind != Kind::Iid).then_some(self.by.as_str())
    }

    /// Checks what can be checked without data.
    ///
    /// # Errors
    /// [`DataError::Value`] names the key, what was found and what is allowed.
    pub fn validate(&self) -> Result<(), DataError> {
        if self.kind != Kind::NaturalId && self.clients == 0 {
            return Err(DataError::value("partition.clients", 0, "at least 1 for this partition.kind"));
        }
        if self.kind != Kind::Iid && self.by.split(',').any(|field| field.trim().is_empty()) {
            return Err(DataError::value("partition.by", format!("`{}`", self.by), "field names, split by commas"));
        }
        if self.kind == Kind::Dirichlet && !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return Err(DataError::value("partition.alpha", self.alpha, "above 0"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_lists_the_known_ones() {
        let error = serde_json::from_str::<Config>(r#"{"kind": "pathological"}"#).unwrap_err().to_string();
        for part in ["pathological", "natural-id", "iid", "dirichlet"] {
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
    fn iid_needs_no_field() {
        assert_eq!(Config::default().field(), Some("play,role"));
        assert_eq!(Config { kind: Kind::Iid, ..Config::default() }.field(), None);
    }
}
