//! Credentials: the one file that a client is handed.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::EnrolmentError;
use super::files::read;

/// Bytes of such a file, at most.
const LONGEST: usize = 64 << 10;

/// The credentials of one client.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The federation's id.
    pub federation: String,
    /// The client's name.
    pub name: String,
    /// Host and port to dial.
    pub address: String,
    /// Seed of the client's key: secret.
    pub seed: String,
    /// The certificate that the broker's is signed by, PEM.
    pub certificate: String,
}

/// The seed is not for logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { federation, name, address, .. } = self;
        write!(to, "credentials of {name} in {federation} at {address}")
    }
}

impl Credentials {
    /// Reads them from the file.
    ///
    /// # Errors
    /// A file that cannot be read or is not one that `cellm enroll add` wrote.
    pub fn read(path: &Path) -> Result<Self, EnrolmentError> {
        let text = read(path)?;
        let damaged = |reason: String| EnrolmentError::Damaged { path: path.into(), reason };
        if text.len() > LONGEST {
            return Err(damaged(format!("{} bytes, at most {LONGEST} expected", text.len())));
        }
        let found: Self = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        super::check_name(&found.name)?;
        super::check_address(&found.address)?;
        if found.federation.is_empty() || !found.federation.bytes().all(|letter| letter.is_ascii_alphanumeric()) {
            return Err(damaged("its federation's id is not letters and digits".into()));
        }
        nkeys::KeyPair::from_seed(&found.seed).map_err(|error| damaged(format!("its seed is no key: {error}")))?;
        Ok(found)
    }

    /// The file's text.
    pub(super) fn to_text(&self) -> String {
        let Self { federation, name, address, seed, certificate } = self;
        format!(
            "# Credentials of {name}. Whoever has this file can take part in its name: keep it secret.\n\
             federation = \"{federation}\"\nname = \"{name}\"\naddress = \"{address}\"\nseed = \"{seed}\"\n\
             certificate = \"\"\"\n{certificate}\"\"\"\n"
        )
    }
}
