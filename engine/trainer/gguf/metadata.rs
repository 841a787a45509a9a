//! The metadata of a GGUF file: keys with numbers, texts and lists, which stay in the file's bytes until they are asked
//! for.

use std::collections::BTreeMap;
use std::fmt;

use super::cursor::Cursor;

/// The metadata, by key.
#[derive(Debug, Default)]
pub(in crate::trainer) struct Metadata<'a>(BTreeMap<&'a str, Value<'a>>);

/// The value of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::trainer) enum Value<'a> {
    /// A whole number of any width.
    Whole(i128),
    /// A number of 32 or 64 bits.
    Real(f64),
    Flag(bool),
    /// A text, not checked yet.
    Text(&'a [u8]),
    List(List<'a>),
}

/// A list of values of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::trainer) struct List<'a> {
    kind: u32,
    /// Number of values.
    pub count: usize,
    bytes: &'a [u8],
}

const TEXT: u32 = 8;
const LIST: u32 = 9;

/// The bytes of a value of a kind that is no text and no list.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => {
                let text = String::from_utf8_lossy(&text[..text.len().min(64)]).escape_debug().to_string();
                write!(f, "{text:.64}")
            }
            Self::List(list) => write!(f, "a list of {}", list.count),
        }
    }
}

impl<'a> Metadata<'a> {
    /// Reads `count` keys.
    ///
    /// # Errors
    /// A sentence that names the key at fault.
    pub(super) fn read(cursor: &mut Cursor<'a>, count: u64) -> Result<Self, String> {
        let mut keys = BTreeMap::new();
        for number in 0..count {
            let part = format!("key {number} of {count}");
            let key = std::str::from_utf8(cursor.text(&part)?).map_err(|_| format!("{part} is no UTF-8"))?;
            let part = format!("key {key:.64}");
            let kind = cursor.u32(&part)?;
            let value = match kind {
                TEXT => Value::Text(cursor.text(&part)?),
                LIST => Value::List(List::read(cursor, &part)?),
                _ => match width(kind) {
                    Some(width) => Value::plain(kind, cursor.take(width, &part)?),
                    None => return Err(format!("{part} has the type {kind}, but only 0 to 12 are known")),
                },
            };
            if keys.insert(key, value).is_some() {
                return Err(format!("{part} is there twice"));
            }
        }
        Ok(Self(keys))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.get(key)
    }

    /// All keys with their values, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &Value<'a>)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// A text; none where the key is missing.
    ///
    /// # Errors
    /// A value that is no text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => match std::str::from_utf8(text) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(format!("key {key} is no UTF-8")),
            },
            Some(found) => Err(unsupported(key, found, "a text")),
        }
    }

    /// A whole number from 0 on; none where the key is missing.
    ///
    /// # Errors
    /// A value that is none.
    pub fn size(&self, key: &str) -> Result<Option<u64>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(found @ Value::Whole(number)) => {
                u64::try_from(*number).map(Some).map_err(|_| unsupported(key, found, "a whole number from 0 on"))
            }
            Some(found) => Err(unsupported(key, found, "one whole number")),
        }
    }

    /// A number; none where the key is missing.
    ///
    /// # Errors
    /// A value that is none.
    pub fn number(&self, key: &str) -> Result<Option<f64>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Real(number)) if number.is_finite() => Ok(Some(*number)),
            Some(Value::Whole(number)) => Ok(Some(*number as f64)),
            Some(found) => Err(unsupported(key, found, "one finite number")),
        }
    }

    /// `true` or `false`; none where the key is missing.
    ///
    /// # Errors
    /// A value that is neither.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Flag(flag)) => Ok(Some(*flag)),
            Some(found) => Err(unsupported(key, found, "true or false")),
        }
    }

    /// A list; none where the key is missing.
    ///
    /// # Errors
    /// A value that is none.
    pub fn list(&self, key: &str) -> Result<Option<List<'a>>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(*list)),
            Some(found) => Err(unsupported(key, found, "a list")),
        }
    }
}

/// The sentence on a value that is not supported.
pub(super) fn unsupported(key: &str, found: impl fmt::Display, supported: &str) -> String {
    format!("key {key} is {found}, but only {supported} is supported")
}

impl Value<'_> {
    /// A number or flag of its bytes.
    fn plain(kind: u32, bytes: &[u8]) -> Self {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        let (unsigned, unused) = (u64::from_le_bytes(whole), 64 - 8 * bytes.len() as u32);
        match kind {
            6 => Self::Real(f64::from(f32::from_bits(unsigned as u32))),
            7 => Self::Flag(unsigned != 0),
            12 => Self::Real(f64::from_bits(unsigned)),
            // Signed: the upper bits repeat the sign.
            1 | 3 | 5 | 11 => Self::Whole(i128::from((unsigned << unused) as i64 >> unused)),
            _ => Self::Whole(i128::from(unsigned)),
        }
    }
}

impl<'a> List<'a> {
    fn read(cursor: &mut Cursor<'a>, part: &str) -> Result<Self, String> {
        let kind = cursor.u32(part)?;
        let count = cursor.u64(part)?;
        let start = cursor.position();
        match (kind, width(kind)) {
            (TEXT, _) => {
                for number in 0..count {
                    let length = cursor.u64(part)?;
                    cursor.take(length, part).map_err(|reason| format!("{reason}, in value {number} of {count}"))?;
                }
            }
            (LIST, _) => return Err(format!("{part} is a list of lists, but only lists of values are read")),
            (_, Some(width)) => {
                let length = count.saturating_mul(width);
                cursor.skip(length, part)?;
            }
            (_, None) => return Err(format!("{part} is a list of the type {kind}, but only 0 to 12 are known")),
        }
        // Each value has at least one byte in the file.
        Ok(Self { kind, count: count as usize, bytes: cursor.since(start) })
    }

    /// Its texts.
    ///
    /// # Errors
    /// A list of another kind, or a text that is no UTF-8.
    pub fn texts(self, key: &str) -> Result<Vec<&'a str>, String> {
        if self.kind != TEXT {
            return Err(format!("key {key} is a list of numbers, but only texts are supported"));
        }
        let mut cursor = Cursor::new(self.bytes);
        let text = |number: usize| {
            let text = cursor.text(key)?;
            std::str::from_utf8(text).map_err(|_| format!("key {key}: value {number} is no UTF-8"))
        };
        (0..self.count).map(text).collect()
    }

    /// Its numbers.
    ///
    /// # Errors
    /// A list of another kind.
    pub fn numbers(self, key: &str) -> Result<Vec<f32>, String> {
        let Some(width) = width(self.kind) else {
            return Err(format!("key {key} is a list of texts, but only numbers are supported"));
        };
        let number = |bytes| match Value::plain(self.kind, bytes) {
            Value::Real(number) => number as f32,
            Value::Whole(number) => number as f32,
            Value::Flag(flag) => f32::from(u8::from(flag)),
            _ => f32::NAN,
        };
        Ok(self.bytes.chunks_exact(width as usize).map(number).collect())
    }
}
