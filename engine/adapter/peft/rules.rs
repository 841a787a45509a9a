//! PEFT's rules of the linear layers that get a pair, with its rank and scale, in PEFT's order: exclude_modules, then
//! modules_to_save, then target_modules with layers_to_transform, then the first of rank_pattern and alpha_pattern
//! that fits. The whole path of a layer goes in, `model.layers.0.self_attn.q_proj` for example; its pair, if any,
//! comes out. Where a layer has another name in memory, either may be meant.

use fancy_regex::Regex;

use super::PeftConfig;
use super::layer_names::in_memory;
use super::targets::{Patterns, Targets};

/// Rank and scale of a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairRule {
    /// Rows of A, columns of B.
    pub rank: usize,
    /// The factor of `B A`: alpha / rank, or alpha / sqrt(rank) with rsLoRA.
    pub scale: f32,
}

/// The rules of an adapter, its expressions compiled.
#[derive(Debug)]
pub struct PairRules {
    targets: Choice,
    excluded: Choice,
    /// The modules that are trained whole, with all that is in them.
    whole: Vec<Regex>,
    /// The blocks that pairs are limited to, and how the number of a block is found.
    layers: Option<(Vec<usize>, Vec<Regex>)>,
    rank: usize,
    alpha: f32,
    rslora: bool,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f32)>,
}

/// Modules by name.
#[derive(Debug)]
enum Choice {
    Names(Vec<String>),
    Pattern(Regex),
    All,
}

/// A regular expression that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the regular expression `{pattern}`: {reason}")]
pub struct PatternError {
    /// The expression.
    pub pattern: String,
    /// The reason why it is none.
    pub reason: String,
}

impl PairRules {
    /// Compiles the rules of a config.
    ///
    /// # Errors
    /// [`PatternError`] naming the expression that is none.
    pub fn new(config: &PeftConfig) -> Result<Self, PatternError> {
        let whole = |name: &String| regex(name, &format!(r"\A(?:\A|.*\.){name}(?:\z|\..*)"));
        let layers = match config.layers.is_empty() {
            true => None,
            false => {
                let of = |name: &String| regex(name, &format!(r"\A(?:\A|.*?\.){name}\.(\d+)\."));
                let any = || regex("", r"\A.*?\.[^.]*\.(\d+)\.").map(|any| vec![any]);
                let patterns = &config.layers_pattern;
                let patterns = if patterns.is_empty() { any() } else { patterns.iter().map(of).collect() };
                Some((config.layers.clone(), patterns?))
            }
        };
        Ok(Self {
            targets: Choice::new(&config.targets)?,
            excluded: Choice::new(&config.excluded)?,
            whole: config.heads.iter().map(whole).collect::<Result<_, _>>()?,
            layers,
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
        if !self.chooses(path)? {
            return Ok(None);
        }
        let other = in_memory(path);
        let (mut rank, mut alpha) = (None, None);
        for path in [Some(path), other.as_deref()].into_iter().flatten() {
            let own = self.own(path)?;
            (rank, alpha) = (rank.or(own.0), alpha.or(own.1));
        }
        let (rank, alpha) = (rank.unwrap_or(self.rank), alpha.unwrap_or(self.alpha));
        let divisor = if self.rslora { (rank as f32).sqrt() } else { rank as f32 };
        Ok(Some(PairRule { rank, scale: alpha / divisor }))
    }

    /// True where the module at `path` gets a pair, were it a linear layer.
    ///
    /// # Errors
    /// As [`Self::pair`].
    pub fn chooses(&self, path: &str) -> Result<bool, PatternError> {
        let other = in_memory(path);
        let paths = || [Some(path), other.as_deref()].into_iter().flatten();
        let mut targeted = false;
        for path in paths() {
            if self.excluded.has(path)?.is_some() || first_match(&self.whole, path)? {
                return Ok(false);
            }
            targeted = targeted || self.targets(path)?;
        }
        Ok(targeted)
    }

    /// True where the targets are all linear layers, of which heads are none.
    pub fn take_all(&self) -> bool {
        matches!(self.targets, Choice::All)
    }

    /// True where another setting takes layers back that the targets name.
    pub(super) fn limits(&self) -> bool {
        self.layers.is_some() || !matches!(&self.excluded, Choice::Names(names) if names.is_empty())
    }

    /// True where `targets` mean this path, under no other name. A name that is the whole path means it in every
    /// block.
    fn targets(&self, path: &str) -> Result<bool, PatternError> {
        let (Some(whole), Choice::Names(_), Some((layers, patterns))) =
            (self.targets.has(path)?, &self.targets, &self.layers)
        else {
            return Ok(self.targets.has(path)?.is_some());
        };
        if whole {
            return Ok(true);
        }
        for pattern in patterns {
            let found = pattern.captures(path).map_err(|error| slow(pattern, &error))?;
            let Some(number) = found.as_ref().and_then(|found| found.get(1)) else { continue };
            return Ok(number.as_str().parse().is_ok_and(|number| layers.contains(&number)));
        }
        Ok(false)
    }

    /// Rank and alpha of the two patterns for this path, under no other name.
    pub(super) fn own(&self, path: &str) -> Result<(Option<usize>, Option<f32>), PatternError> {
        Ok((first(&self.ranks, path)?, first(&self.alphas, path)?))
    }

    /// The first name or expression that none of `paths` fits; of `targets`, then of the two patterns.
    ///
    /// # Errors
    /// As [`Self::pair`].
    pub fn idle(&self, paths: &[String]) -> Result<Option<String>, PatternError> {
        let paths: Vec<String> = paths.iter().cloned().chain(paths.iter().filter_map(|path| in_memory(path))).collect();
        let mut patterns: Vec<&Regex> = Vec::new();
        match &self.targets {
            Choice::Names(names) => {
                let idle = names.iter().find(|name| !paths.iter().any(|path| ends_in(path, name)));
                if let Some(name) = idle {
                    return Ok(Some(name.clone()));
                }
            }
            Choice::Pattern(pattern) => patterns.push(pattern),
            Choice::All => {}
        }
        patterns.extend(self.ranks.iter().map(|of| &of.0).chain(self.alphas.iter().map(|of| &of.0)));
        for pattern in patterns {
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

impl Choice {
    fn new(targets: &Targets) -> Result<Self, PatternError> {
        Ok(match targets {
            Targets::Names(names) => Self::Names(names.clone()),
            Targets::Pattern(pattern) => Self::Pattern(regex(pattern, &format!(r"\A(?:{pattern})\z"))?),
            Targets::All => Self::All,
        })
    }

    /// True where it has this path: as a whole, or by its end or an expression.
    fn has(&self, path: &str) -> Result<Option<bool>, PatternError> {
        Ok(match self {
            Self::Names(names) if names.iter().any(|name| name == path) => Some(true),
            Self::Names(names) => names.iter().any(|name| ends_in(path, name)).then_some(false),
            Self::Pattern(pattern) => matches(pattern, path)?.then_some(false),
            Self::All => Some(true),
        })
    }
}

/// Compiles the keys of a table; each means the end of a path from a dot on, as PEFT reads them.
fn endings<T: Copy>(table: &Patterns<T>) -> Result<Vec<(Regex, T)>, PatternError> {
    table.0.iter().map(|(key, value)| Ok((regex(key, &format!(r"\A(?:.*\.)?(?:{key})\z"))?, *value))).collect()
}

fn regex(pattern: &str, whole: &str) -> Result<Regex, PatternError> {
    Regex::new(whole).map_err(|error| PatternError { pattern: pattern.into(), reason: error.to_string() })
}

fn matches(regex: &Regex, path: &str) -> Result<bool, PatternError> {
    regex.is_match(path).map_err(|error| slow(regex, &error))
}

fn first_match(all: &[Regex], path: &str) -> Result<bool, PatternError> {
    for regex in all {
        if matches(regex, path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn slow(regex: &Regex, error: &fancy_regex::Error) -> PatternError {
    PatternError { pattern: bare(regex), reason: error.to_string() }
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

#[cfg(test)]
mod tests {
    use super::*;

    const Q: &str = "model.layers.0.self_attn.q_proj";
    const DOWN: &str = "model.layers.1.mlp.down_proj";

    fn rules(json: serde_json::Value) -> Result<PairRules, PatternError> {
        let mut whole = serde_json::json!({ "r": 8, "lora_alpha": 16.0, "target_modules": ["q_proj"] });
        whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        PairRules::new(&serde_json::from_str(&whole.to_string()).unwrap())
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
    fn exclusions_and_layers_come_before_and_after_the_targets() {
        let chosen = |json: serde_json::Value| [Q, DOWN].map(|path| pair(json.clone(), path).is_some());
        let json = |more: serde_json::Value| {
            let mut json = serde_json::json!({ "target_modules": ["q_proj", "down_proj"] });
            json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json
        };
        assert_eq!(chosen(json(serde_json::json!({}))), [true, true]);
        assert_eq!(chosen(json(serde_json::json!({ "exclude_modules": ["q_proj"] }))), [false, true]);
        assert_eq!(chosen(json(serde_json::json!({ "exclude_modules": ".*mlp.*" }))), [true, false]);
        assert_eq!(chosen(json(serde_json::json!({ "exclude_modules": "mlp" }))), [true, true], "the whole path");
        assert_eq!(chosen(json(serde_json::json!({ "modules_to_save": ["mlp"] }))), [true, false]);
        assert_eq!(chosen(json(serde_json::json!({ "layers_to_transform": [1, 4] }))), [false, true]);
        assert_eq!(chosen(json(serde_json::json!({ "layers_to_transform": 0 }))), [true, false]);
        let pattern = serde_json::json!({ "layers_to_transform": [0, 1], "layers_pattern": "h" });
        assert_eq!(chosen(json(pattern)), [false, false]);
        let pattern = serde_json::json!({ "layers_to_transform": [0], "layers_pattern": ["h", "layers"] });
        assert_eq!(chosen(json(pattern)), [true, false]);
        let whole = serde_json::json!({ "target_modules": [Q, "down_proj"], "layers_to_transform": [7] });
        assert_eq!(chosen(whole), [true, false], "a whole path is meant in any block");
    }

    #[test]
    fn the_first_pattern_that_fits_counts_in_the_order_of_the_file() {
        let of = |patterns: &str| {
            let text = format!(r#"{{"r": 8, "target_modules": ["q_proj"], "rank_pattern": {{{patterns}}}}}"#);
            let rules = PairRules::new(&serde_json::from_str(&text).unwrap()).unwrap();
            rules.pair(Q).unwrap().unwrap().rank
        };
        assert_eq!(of(r#""q_proj": 2, ".*attn.*": 3"#), 2);
        assert_eq!(of(r#"".*attn.*": 3, "q_proj": 2"#), 3);
    }
}
