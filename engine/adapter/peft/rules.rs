//! Which linear layers get a pair, of which rank and scale: target_modules, rank_pattern and alpha_pattern as PEFT reads
//! them. The whole path of a layer goes in, `model.layers.0.self_attn.q_proj` for example; its pair, if any, comes out. Where a
//! layer has another name in memory, either may be meant.

use std::collections::BTreeMap;
use std::fmt;

use fancy_regex::Regex;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PeftConfig;
use super::renamed::in_memory;

/// What [`Targets::All`] is written as.
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

/// Rank and scale of a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairRule {
    /// Rows of A, columns of B.
    pub rank: usize,
    /// What `B A` is multiplied by: alpha / rank, or alpha / sqrt(rank) with rsLoRA.
    pub scale: f32,
}

/// The rules of an adapter, its expressions compiled.
#[derive(Debug)]
pub struct PairRules {
    targets: Targets,
    pattern: Option<Regex>,
    rank: usize,
    alpha: f32,
    rslora: bool,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f32)>,
}

/// A regular expression that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the regular expression `{pattern}`: {reason}")]
pub struct PatternError {
    /// The expression.
    pub pattern: String,
    /// Why.
    pub reason: String,
}

impl PairRules {
    /// Compiles the rules of a config.
    ///
    /// # Errors
    /// [`PatternError`] naming the expression that is none.
    pub fn new(config: &PeftConfig) -> Result<Self, PatternError> {
        let pattern = match &config.targets {
            Targets::Pattern(pattern) => Some(regex(pattern, &format!(r"\A(?:{pattern})\z"))?),
            Targets::Names(_) | Targets::All => None,
        };
        Ok(Self {
            targets: config.targets.clone(),
            pattern,
            rank: config.rank,
            alpha: config.alpha,
            rslora: config.rslora,
            ranks: endings(&config.rank_pattern)?,
            alphas: endings(&config.alpha_pattern)?,
        })
    }

    /// The pair of the linear layer at `path`; `None` where it gets none.
    ///
    /// # Errors
    /// [`PatternError`] where an expression takes too long on this path.
    pub fn pair(&self, path: &str) -> Result<Option<PairRule>, PatternError> {
        let other = in_memory(path);
        let paths = || [Some(path), other.as_deref()].into_iter().flatten();
        let mut chosen = false;
        for path in paths() {
            chosen = chosen || self.chooses(path)?;
        }
        if !chosen {
            return Ok(None);
        }
        let (mut rank, mut alpha) = (None, None);
        for path in paths() {
            let own = self.own(path)?;
            (rank, alpha) = (rank.or(own.0), alpha.or(own.1));
        }
        let (rank, alpha) = (rank.unwrap_or(self.rank), alpha.unwrap_or(self.alpha));
        let divisor = if self.rslora { (rank as f32).sqrt() } else { rank as f32 };
        Ok(Some(PairRule { rank, scale: alpha / divisor }))
    }

    /// Whether `targets` mean this path, under no other name.
    fn chooses(&self, path: &str) -> Result<bool, PatternError> {
        match (&self.targets, &self.pattern) {
            (Targets::Names(names), _) => Ok(names.iter().any(|name| ends_in(path, name))),
            (Targets::Pattern(_), Some(pattern)) => matches(pattern, path),
            (Targets::Pattern(_), None) => Ok(false),
            (Targets::All, _) => Ok(true),
        }
    }

    /// What the two patterns say of this path, under no other name.
    pub(super) fn own(&self, path: &str) -> Result<(Option<usize>, Option<f32>), PatternError> {
        Ok((first(&self.ranks, path)?, first(&self.alphas, path)?))
    }

    /// The first name or expression that none of `paths` fits; of `targets`, then of the two patterns.
    ///
    /// # Errors
    /// As [`Self::pair`].
    pub fn idle(&self, paths: &[String]) -> Result<Option<String>, PatternError> {
        let paths: Vec<String> = paths.iter().cloned().chain(paths.iter().filter_map(|path| in_memory(path))).collect();
        if let Targets::Names(names) = &self.targets
            && let Some(name) = names.iter().find(|name| !paths.iter().any(|path| ends_in(path, name)))
        {
            return Ok(Some(name.clone()));
        }
        for pattern in
            self.pattern.iter().chain(self.ranks.iter().map(|of| &of.0)).chain(self.alphas.iter().map(|of| &of.0))
        {
            let mut fits = false;
            for path in &paths {
                fits = fits || matches(pattern, path)?;
            }
            if !fits {
                return Ok(Some(bare(pattern)));
            }
        }
        Ok(None)
    }
}

/// Compiles the keys of a table; each means the end of a path from a dot on, as PEFT reads them.
fn endings<T: Copy>(table: &BTreeMap<String, T>) -> Result<Vec<(Regex, T)>, PatternError> {
    table.iter().map(|(key, value)| Ok((regex(key, &format!(r"\A(?:.*\.)?(?:{key})\z"))?, *value))).collect()
}

fn regex(pattern: &str, whole: &str) -> Result<Regex, PatternError> {
    Regex::new(whole).map_err(|error| PatternError { pattern: pattern.into(), reason: error.to_string() })
}

fn matches(regex: &Regex, path: &str) -> Result<bool, PatternError> {
    regex.is_match(path).map_err(|error| PatternError { pattern: bare(regex), reason: error.to_string() })
}

/// The expression without what was put around it.
fn bare(regex: &Regex) -> String {
    let text = regex.as_str();
    let inner = text.strip_prefix(r"\A(?:.*\.)?(?:").or_else(|| text.strip_prefix(r"\A(?:"));
    inner.and_then(|inner| inner.strip_suffix(r")\z")).unwrap_or(text).to_owned()
}

fn first<T: Copy>(of: &[(Regex, T)], path: &str) -> Result<Option<T>, PatternError> {
    for (regex, value) in of {
        if matches(regex, path)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

fn ends_in(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

impl Targets {
    /// Whether no layer can be meant.
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
        Ok(if text == ALL { Targets::All } else { Targets::Pattern(text.into()) })
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

    const Q: &str = "model.layers.0.self_attn.q_proj";
    const DOWN: &str = "model.layers.1.mlp.down_proj";

    fn rules(json: serde_json::Value) -> Result<PairRules, PatternError> {
        let mut whole = serde_json::json!({ "r": 8, "lora_alpha": 16.0, "target_modules": ["q_proj"] });
        whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        PairRules::new(&serde_json::from_value(whole).unwrap())
    }

    fn pair(json: serde_json::Value, path: &str) -> Option<(usize, f32)> {
        rules(json).unwrap().pair(path).unwrap().map(|rule| (rule.rank, rule.scale))
    }

    #[test]
    fn targets_are_names_an_expression_or_all() {
        let chosen = |targets: serde_json::Value| {
            let json = serde_json::json!({ "target_modules": targets });
            [Q, DOWN].map(|path| pair(json.clone(), path).is_some())
        };
        assert_eq!(chosen(serde_json::json!(["q_proj"])), [true, false]);
        assert_eq!(chosen(serde_json::json!(["proj", "mlp.down_proj"])), [false, true]);
        assert_eq!(chosen(serde_json::json!([Q])), [true, false]);
        assert_eq!(chosen(serde_json::json!("all-linear")), [true, true]);
        assert_eq!(chosen(serde_json::json!(".*\\.(q|v)_proj")), [true, false]);
        assert_eq!(chosen(serde_json::json!("(q|v)_proj")), [false, false], "the whole path has to match");
        assert_eq!(chosen(serde_json::json!("^(?!.*layers\\.0).*_proj")), [false, true]);
    }

    #[test]
    fn patterns_change_rank_and_alpha_where_they_match_from_a_dot_on() {
        let json = serde_json::json!({
            "target_modules": "all-linear",
            "rank_pattern": { "q_proj": 4, "layers.1.mlp.down_proj": 2 },
            "alpha_pattern": { "^model.*down_proj": 3.0, "roj": 99.0 },
        });
        assert_eq!(pair(json.clone(), Q), Some((4, 4.0)));
        assert_eq!(pair(json.clone(), DOWN), Some((2, 1.5)));
        assert_eq!(pair(json, "model.layers.0.mlp.down_proj"), Some((8, 0.375)));
    }

    #[test]
    fn rslora_divides_by_the_root_of_the_rank() {
        let json = serde_json::json!({ "use_rslora": true, "r": 16, "lora_alpha": 8.0 });
        assert_eq!(pair(json, Q), Some((16, 2.0)));
    }

    #[test]
    fn what_fits_no_layer_is_told() {
        let paths = [Q, DOWN].map(String::from);
        let idle = |json| rules(json).unwrap().idle(&paths).unwrap();
        assert_eq!(idle(serde_json::json!({})), None);
        assert_eq!(idle(serde_json::json!({ "target_modules": ["q_proj", "c_attn"] })), Some("c_attn".into()));
        assert_eq!(idle(serde_json::json!({ "target_modules": "q_proj" })), Some("q_proj".into()));
        assert_eq!(idle(serde_json::json!({ "alpha_pattern": { "k_proj": 1.0 } })), Some("k_proj".into()));
    }

    #[test]
    fn an_expression_that_is_none_is_named() {
        let error = rules(serde_json::json!({ "rank_pattern": { "(q": 1 } })).unwrap_err();
        assert!(error.to_string().starts_with("the regular expression `(q`: "), "{error}");
    }

    #[test]
    fn targets_are_written_as_they_were_read() {
        for json in ["[\"a\",\"b\"]", "\"all-linear\"", "\".*x\""] {
            let targets: Targets = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&targets).unwrap(), json);
        }
        assert_eq!(serde_json::from_str::<Targets>("[\"all-linear\"]").unwrap(), Targets::All);
        assert!(serde_json::from_str::<Targets>("7").unwrap_err().to_string().contains("all-linear"));
    }
}
