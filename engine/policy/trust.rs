//! Trust in components: hashes pinned in a reference, the list `policy.allow`, the signatures that `policy.keys` ask
//! for. In: a reference and the bytes that it names. Out: nothing, or the error that names both values.

use std::fmt;
use std::fs;
use std::str::FromStr;

use minisign_verify::{PublicKey, Signature};

use super::{PolicyConfig, PolicyError, PolicyHash};

const PIN: &str = "@blake3:";
/// From so many hexadecimal digits on, what follows an @ is a hash.
const PIN_DIGITS: usize = 8;
/// Entries of the list that an error shows.
const SHOWN: usize = 5;

/// A policy as a user names it: a built-in name or a path, and perhaps the hash that it must have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    pub place: &'a str,
    pub pin: Option<PolicyHash>,
}

impl<'a> Reference<'a> {
    pub fn parse(reference: &'a str) -> Result<Self, PolicyError> {
        let Some((place, hash)) = reference.rsplit_once(PIN) else { return Ok(Self { place: reference, pin: None }) };
        let wrong = || PolicyError::BadPin { reference: place.into(), found: hash.into() };
        Ok(Self { place, pin: Some(hash.parse().map_err(|()| wrong())?) })
    }

    /// Checks the bytes' hash against the reference's pin.
    pub fn check(&self, found: PolicyHash) -> Result<(), PolicyError> {
        match self.pin {
            Some(expected) if expected != found => {
                Err(PolicyError::Pinned { reference: self.place.into(), found, expected })
            }
            _ => Ok(()),
        }
    }
}

/// The error for a reference that ends in a hash of another kind, or in one that does not say its kind.
pub(super) fn other_pin(reference: &str) -> Option<PolicyError> {
    let (place, found) = reference.rsplit_once('@')?;
    let digits = found.split_once(':').map_or(found, |(_, digits)| digits);
    let hash = digits.len() >= PIN_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hash.then(|| PolicyError::OtherPin { reference: place.into(), found: found.into() })
}

/// An entry of `policy.allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    name: String,
    hash: PolicyHash,
}

impl FromStr for Allowed {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, hash) = text.split_once(PIN).filter(|(name, _)| !name.is_empty()).ok_or(())?;
        Ok(Self { name: name.into(), hash: hash.parse()? })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{PIN}{}", self.name, self.hash)
    }
}

/// The section `policy`, read.
#[derive(Debug)]
pub(super) struct Trust {
    allow: Vec<Allowed>,
    keys: Vec<PublicKey>,
}

impl Trust {
    pub fn new(config: &PolicyConfig) -> Result<Self, PolicyError> {
        let wrong = |key, found: &str, allowed| PolicyError::Setting { key, found: found.into(), allowed };
        let entry =
            |text: &String| text.parse().map_err(|()| wrong("policy.allow", text, "name@blake3:HEX, 64 digits"));
        let key = |text: &String| {
            let key = PublicKey::from_base64(text.trim());
            key.map_err(|_| wrong("policy.keys", text, "a public key of minisign, its line in base64"))
        };
        let allow = config.allow.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Self { allow, keys: config.keys.iter().map(key).collect::<Result<_, _>>()? })
    }

    /// Checks that a component with these bytes may be compiled. None of its code runs before, so its name is not
    /// known yet.
    pub fn check_hash(&self, reference: &str, found: PolicyHash) -> Result<(), PolicyError> {
        if self.allow.is_empty() || self.allow.iter().any(|allowed| allowed.hash == found) {
            return Ok(());
        }
        Err(self.not_allowed(reference, found))
    }

    /// Checks that a component of this name and these bytes may run.
    pub fn check_name(&self, name: &str, found: PolicyHash) -> Result<(), PolicyError> {
        let fits = |allowed: &Allowed| allowed.hash == found && allowed.name == name;
        if self.allow.is_empty() || self.allow.iter().any(fits) {
            return Ok(());
        }
        Err(self.not_allowed(name, found))
    }

    fn not_allowed(&self, policy: &str, found: PolicyHash) -> PolicyError {
        let mut allowed: Vec<String> = self.allow.iter().take(SHOWN).map(ToString::to_string).collect();
        if self.allow.len() > SHOWN {
            allowed.push(format!("{} more", self.allow.len() - SHOWN));
        }
        PolicyError::NotAllowed { policy: policy.into(), found, allowed: allowed.join(", ") }
    }

    /// Checks the signature of a component's file, where `policy.keys` ask for one: `FILE.minisig` beside `FILE`, by
    /// one of the keys. Only signatures of a hash are taken, as minisign makes them since version 0.8.
    pub fn check_signature(&self, place: &str, bytes: &[u8]) -> Result<(), PolicyError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let path = format!("{place}.minisig");
        let unsigned = |reason: String| PolicyError::Unsigned { reference: place.into(), path: path.clone(), reason };
        let text = fs::read_to_string(&path).map_err(|error| unsigned(error.to_string()))?;
        let signature = Signature::decode(&text).map_err(|error| unsigned(lowercase(&error)))?;
        let mut reason = String::new();
        for key in &self.keys {
            match key.verify(bytes, &signature, false) {
                Ok(()) => return Ok(()),
                // Another key's refusal says less than that of the key that the signature names.
                Err(minisign_verify::Error::UnexpectedKeyId) if !reason.is_empty() => {}
                Err(error) => reason = lowercase(&error),
            }
        }
        Err(unsigned(reason))
    }
}

fn lowercase(error: &minisign_verify::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

impl PolicyConfig {
    /// Checks every entry.
    ///
    /// # Errors
    /// [`PolicyError::Setting`] names the first bad one.
    pub fn validate(&self) -> Result<(), PolicyError> {
        Trust::new(self).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the documentation of `minisign-verify`: a signature of the four bytes `test`.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";
    /// Of another key pair: the example of the manual of minisign.
    const OTHER_KEY: &str = "RWSGOq2NVecA2UPNdBUZykf1CCb147pkmdtYxgb3Ti+JO/wCYvhbAb/U";

    fn trust(allow: &[String], keys: &[&str]) -> Result<Trust, PolicyError> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Trust::new(&PolicyConfig { allow: allow.to_vec(), keys, watch: false })
    }

    fn hash(of: &str) -> PolicyHash {
        PolicyHash(*blake3::hash(of.as_bytes()).as_bytes())
    }

    #[test]
    fn a_pinned_reference_takes_its_own_bytes_alone() {
        let text = format!("./my.wasm@blake3:{}", hash("a"));
        let reference = Reference::parse(&text).unwrap();
        assert_eq!(reference, Reference { place: "./my.wasm", pin: Some(hash("a")) });
        reference.check(hash("a")).unwrap();
        let error = reference.check(hash("b")).unwrap_err().to_string();
        assert!(error.contains(&hash("a").to_string()) && error.contains(&hash("b").to_string()), "{error}");
        assert!(error.contains("./my.wasm"), "{error}");
        assert_eq!(Reference::parse("flasc").unwrap().pin, None);
        for bad in ["x@blake3:", "x@blake3:12", &format!("x@blake3:{}", "g".repeat(64))] {
            assert!(matches!(Reference::parse(bad), Err(PolicyError::BadPin { .. })), "{bad}");
        }
    }

    #[test]
    fn a_hash_of_another_kind_is_no_pin() {
        for (reference, place, found) in [
            (format!("my.wasm@{}", hash("a")), "my.wasm", hash("a").to_string()),
            ("a@b.wasm@sha256:0123abcd".into(), "a@b.wasm", "sha256:0123abcd".into()),
        ] {
            let error = other_pin(&reference).unwrap().to_string();
            let both = error.contains(&format!("{place} is pinned by @{found},")) && error.contains("@blake3:HEX");
            assert!(both, "{error}");
        }
        for plain in ["flasc", "team@home.wasm", "x@1.2", "a@cafe"] {
            assert!(other_pin(plain).is_none(), "{plain}");
        }
    }

    #[test]
    fn an_empty_list_allows_all_and_another_one_what_it_names() {
        trust(&[], &[]).unwrap().check_hash("any", hash("x")).unwrap();
        let listed = trust(&[format!("mine@blake3:{}", hash("a"))], &[]).unwrap();
        listed.check_hash("./a.wasm", hash("a")).unwrap();
        listed.check_name("mine", hash("a")).unwrap();
        let error = listed.check_hash("./b.wasm", hash("b")).unwrap_err().to_string();
        let both = error.contains(&hash("b").to_string()) && error.contains(&format!("mine@blake3:{}", hash("a")));
        assert!(both && error.contains("./b.wasm") && error.contains("policy.allow"), "{error}");
        assert!(listed.check_name("yours", hash("a")).is_err(), "the right bytes under another name");
    }

    #[test]
    fn entries_and_keys_that_are_none_are_named() {
        for bad in ["flasc", "flasc@blake3:12", &format!("@blake3:{}", hash("a"))] {
            let error = trust(&[bad.to_owned()], &[]).unwrap_err().to_string();
            assert!(error.contains("policy.allow") && error.contains(bad), "{error}");
        }
        let error = trust(&[], &["not a key"]).unwrap_err().to_string();
        assert!(error.contains("policy.keys") && error.contains("not a key"), "{error}");
    }

    #[test]
    fn a_file_needs_a_signature_of_one_of_the_keys() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("my.wasm").display().to_string();
        let signed = trust(&[], &[OTHER_KEY, KEY]).unwrap();
        let refused = |trust: &Trust, bytes: &[u8]| trust.check_signature(&place, bytes).unwrap_err().to_string();
        assert!(refused(&signed, b"test").contains("my.wasm.minisig"), "no signature at all");
        fs::write(format!("{place}.minisig"), SIGNATURE).unwrap();
        signed.check_signature(&place, b"test").unwrap();
        trust(&[], &[]).unwrap().check_signature(&place, b"other").unwrap();
        assert!(refused(&signed, b"tesT").contains("the signature verification failed"));
        assert!(refused(&trust(&[], &[OTHER_KEY]).unwrap(), b"test").contains("different key"));
        fs::write(format!("{place}.minisig"), SIGNATURE.replace("1633700835", "1633700836")).unwrap();
        assert!(refused(&signed, b"test").contains("failed"), "the comment is signed too");
        fs::write(format!("{place}.minisig"), "hello").unwrap();
        assert!(refused(&signed, b"test").contains("invalid encoding"));
    }

    #[test]
    fn the_file_of_a_reference_is_named_without_its_pin() {
        let pinned = |place: &str| format!("{place}{PIN}{}", PolicyHash::of(b"component"));
        let file = |reference: &str| super::super::PolicyHost::file(reference).map(|path| path.display().to_string());
        assert_eq!(file(&pinned("dir/idea.wasm")).as_deref(), Some("dir/idea.wasm"));
        assert_eq!(file("dir/idea.wasm").as_deref(), Some("dir/idea.wasm"));
        assert_eq!((file("flasc"), file(&pinned("flasc"))), (None, None));
    }
}
