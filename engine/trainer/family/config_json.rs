//! config.json: bytes in; the checked value of one key out, or the default of the configuration class where it is
//! missing. Like `transformers`, refuses a `null` or a wrong type.

use serde_json::{Map, Value};

use super::TrainerError;
use super::keys::{self, KeyUse};

/// The largest size that a key may give. Every size is checked against the file's tensors later; this limit bounds the
/// memory before, and keeps products of two sizes in range.
const LARGEST: usize = 1 << 24;
/// The largest number of blocks.
pub(super) const MOST_BLOCKS: usize = 1 << 14;
/// The largest number of positions that are not learned: no table is made of these.
pub(super) const MOST_POSITIONS: usize = u32::MAX as usize;

/// A config.json and its name in errors.
pub(in crate::trainer) struct ConfigJson<'a> {
    keys: Map<String, Value>,
    file: &'a str,
}

impl<'a> ConfigJson<'a> {
    /// Reads the file's bytes.
    pub fn new(json: &[u8], file: &'a str) -> Result<Self, TrainerError> {
        let failed = |reason: String| TrainerError::Config { file: file.into(), reason };
        if json.trim_ascii().is_empty() {
            return Err(failed("it is empty".into()));
        }
        match serde_json::from_slice(json).map_err(|error| failed(error.to_string()))? {
            Value::Object(keys) => Ok(Self { keys, file }),
            _ => Err(failed("it is no JSON object".into())),
        }
    }

    /// Refuses keys whose values ask for a computation that the engine does not support.
    pub fn check_keys(&self, tables: &[&[(&'static str, KeyUse)]]) -> Result<(), TrainerError> {
        if let Some(found) = self.keys.get("quantization_config").filter(|found| !found.is_null()) {
            let method = found["quant_method"].as_str().unwrap_or("unnamed");
            return Err(TrainerError::Config {
                file: self.file.into(),
                reason: format!(
                    "quantization_config says that the weights are quantized ({method}), but only F32, F16 and BF16 are read; \
                     save the model in one of these first, as transformers does with from_pretrained(...).dequantize() and \
                     save_pretrained"
                ),
            });
        }
        for (key, meaning) in keys::in_tables(tables) {
            let (KeyUse::Only(allowed), Some(found)) = (meaning, self.keys.get(key)) else { continue };
            let fine = allowed.contains(&found.to_string().as_str());
            self.check(fine, key, found, allowed[0])?;
        }
        Ok(())
    }

    /// The dropout settings that are ignored, a line each.
    pub fn left_out(&self, tables: &[&[(&str, KeyUse)]]) -> Vec<String> {
        let dropouts = tables.iter().copied().flatten().filter(|(_, meaning)| *meaning == KeyUse::Dropout);
        let asked = dropouts.filter_map(|(key, _)| {
            let share = self.keys.get(*key)?.as_f64().filter(|share| *share != 0.0)?;
            Some(format!("{key} {share}"))
        });
        let asked = asked.collect::<Vec<_>>().join(", ");
        match asked.is_empty() {
            true => Vec::new(),
            false => vec![format!(
                "{}: {asked} is left out: the frozen model trains without dropout, lora.dropout is the adapter's",
                self.file
            )],
        }
    }

    /// The value of a key, unless it is missing or `null`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// True where a key is there and `null`.
    pub fn is_null(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(Value::is_null)
    }

    /// A whole number from 1 to a limit.
    pub fn size(&self, key: &str, default: usize) -> Result<usize, TrainerError> {
        self.size_to(key, default, LARGEST)
    }

    /// A whole number from 1 to `most`.
    pub fn size_to(&self, key: &str, default: usize, most: usize) -> Result<usize, TrainerError> {
        let Some(found) = self.keys.get(key) else { return Ok(default) };
        let size = found.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| (1..=most).contains(size));
        size.ok_or_else(|| self.unsupported(key, found, &format!("a whole number from 1 to {most}")))
    }

    /// The same; nothing where the key is missing or `null`.
    pub fn optional_size(&self, key: &str) -> Result<Option<usize>, TrainerError> {
        self.get(key).map(|_| self.size(key, 0)).transpose()
    }

    /// A size under its own name, unless config.json also has it under the general name, which wins.
    pub fn aliased_size(&self, names: [&str; 2], default: usize, most: Option<usize>) -> Result<usize, TrainerError> {
        let name = if self.get(names[1]).is_some() { names[1] } else { names[0] };
        self.size_to(name, default, most.unwrap_or(LARGEST))
    }

    /// A number.
    pub fn number(&self, key: &str, default: f64) -> Result<f64, TrainerError> {
        let Some(found) = self.keys.get(key) else { return Ok(default) };
        found.as_f64().ok_or_else(|| self.unsupported(key, found, "a number"))
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, TrainerError> {
        let Some(found) = self.keys.get(key) else { return Ok(default) };
        found.as_bool().ok_or_else(|| self.unsupported(key, found, "true or false"))
    }

    /// A text.
    pub fn word<'b>(&'b self, key: &str, default: &'b str) -> Result<&'b str, TrainerError> {
        let Some(found) = self.keys.get(key) else { return Ok(default) };
        found.as_str().ok_or_else(|| self.unsupported(key, found, "a text"))
    }

    /// A table; none where it is missing, `null` or empty.
    pub fn table(&self, key: &str) -> Result<Option<&Map<String, Value>>, TrainerError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(table)) => Ok(Some(table).filter(|table| !table.is_empty())),
            Some(found) => Err(self.unsupported(key, found, "a table")),
        }
    }

    /// The padding token; none where the number is no token, as in `transformers`.
    pub fn padding(&self) -> Result<Option<u32>, TrainerError> {
        match self.get("pad_token_id") {
            None => Ok(None),
            Some(found) if found.is_i64() || found.is_u64() => Ok(found.as_u64().and_then(|id| u32::try_from(id).ok())),
            Some(found) => Err(self.unsupported("pad_token_id", found, "a whole number")),
        }
    }

    /// The error of [`Self::unsupported`], unless `fine`.
    pub fn check(&self, fine: bool, key: &str, found: impl ToString, supported: &str) -> Result<(), TrainerError> {
        if fine { Ok(()) } else { Err(self.unsupported(key, found, supported)) }
    }

    /// The error that names the key, the value found and the supported values.
    pub fn unsupported(&self, key: &str, found: impl ToString, supported: &str) -> TrainerError {
        TrainerError::Unsupported {
            file: self.file.into(),
            key: key.into(),
            found: found.to_string(),
            supported: supported.into(),
        }
    }
}
