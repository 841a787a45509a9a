//! Names of modules as config and adapter_config.json write them: a list, an expression or `all-linear`; and tables from names
//! to values, whose order counts.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text of [`Targets::All`]; PEFT reads it in any case of letters.
const ALL: &str = "all-linear";

/// The linear layers that get a pair; in TOML and JSON a list of names, a regular expression, or `all-linear`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// Those whose path is one of these names, or ends in one from a dot on.
    Names(Vec<String>),
    /// Those whose whole path the expression matches.
    Pattern(String),
    /// All of the blocks.
    All,
}

/// Values by the end of a layer's path, a name or a regular expression, in the order in which they stand in the file: the
/// first that fits counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Patterns<T>(pub Vec<(String, T)>);

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const N: usize> From<[(String, T); N]> for Patterns<T> {
    fn from(pairs: [(String, T); N]) -> Self {
        Self(pairs.into())
    }
}

impl<T: Serialize> Serialize for Patterns<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patterns<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PatternsReader(PhantomData))
    }
}

struct PatternsReader<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PatternsReader<T> {
    type Value = Patterns<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table from names or regular expressions to numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Patterns<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            all.push(entry);
        }
        Ok(Patterns(all))
    }
}

impl Targets {
    /// True where no layer can be meant.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Names(names) => names.is_empty(),
            Self::Pattern(pattern) => pattern.is_empty(),
            Self::All => false,
        }
    }
}

impl<const N: usize> From<[&str; N]> for Targets {
    fn from(names: [&str; N]) -> Self {
        Self::Names(names.map(String::from).into())
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(names) => f.write_str(&names.join(", ")),
            Self::Pattern(pattern) => f.write_str(pattern),
            Self::All => f.write_str(ALL),
        }
    }
}

impl Serialize for Targets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Names(names) => names.serialize(serializer),
            Self::Pattern(pattern) => serializer.serialize_str(pattern),
            Self::All => serializer.serialize_str(ALL),
        }
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Targets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of linear layers, a regular expression, or all-linear")
    }

    fn visit_str<E>(self, text: &str) -> Result<Targets, E> {
        Ok(if text.eq_ignore_ascii_case(ALL) { Targets::All } else { Targets::Pattern(text.into()) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Targets, A::Error> {
        let mut all: Vec<String> = Vec::new();
        while let Some(name) = names.next_element()? {
            all.push(name);
        }
        // What a command line gives as a list, split at its commas.
        Ok(if all == [ALL] { Targets::All } else { Targets::Names(all) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_written_as_they_were_read() {
        for json in ["[\"a\",\"b\"]", "\"all-linear\"", "\".*x\""] {
            let targets: Targets = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&targets).unwrap(), json);
        }
        assert_eq!(serde_json::from_str::<Targets>("\"All-Linear\"").unwrap(), Targets::All);
        assert_eq!(serde_json::from_str::<Targets>("[\"all-linear\"]").unwrap(), Targets::All);
        assert!(serde_json::from_str::<Targets>("7").unwrap_err().to_string().contains("all-linear"));
    }
}
