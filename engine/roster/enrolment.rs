//! Enrolment: the folder at the coordinator with a federation's keys and the clients that may take part.
//!
//! `federation.toml` has its id and its address, `clients.toml` who is enrolled, `secret/` what only the coordinator may know;
//! `NAME.creds` is what one client is handed: address, certificate of the federation, its own key.

mod credentials;
mod error;
mod files;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair as TlsKey, KeyUsagePurpose};
use serde::{Deserialize, Serialize};

pub use credentials::Credentials;
pub use error::EnrolmentError;
use files::{read, secret, write};

/// The address that credentials have until a server says on which it listens.
pub const DEFAULT_ADDRESS: &str = "localhost:4222";

const FEDERATION: &str = "federation.toml";
const CLIENTS: &str = "clients.toml";
const CERTIFICATE: &str = "ca.pem";
const CERTIFICATE_KEY: &str = "secret/ca.key";
const SERVER_KEY: &str = "secret/server.nk";

/// Letters of a name, at most.
const LONGEST_NAME: usize = 64;
/// Names that mean something else in a subject.
const RESERVED: [&str; 2] = ["all", "server"];

/// One enrolled client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its public key.
    pub key: String,
    /// UTC of its enrolment.
    pub enrolled: String,
    /// True where its key counts no more.
    #[serde(default)]
    pub revoked: bool,
    /// Training records that it may claim, at most; 0 is any number.
    #[serde(default)]
    pub max_examples: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FederationFile {
    id: String,
    address: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientsFile {
    #[serde(default)]
    client: Vec<Member>,
}

/// A federation's folder.
#[derive(Debug)]
pub struct Enrolment {
    dir: PathBuf,
    federation: FederationFile,
    /// Members in the order of their names.
    members: Vec<Member>,
}

impl Enrolment {
    /// Makes the folder of a new federation, whose clients dial `address`.
    ///
    /// # Errors
    /// [`EnrolmentError::Exists`] where the folder is one already; an address without a port; files that cannot be written.
    pub fn init(dir: &Path, address: &str) -> Result<Self, EnrolmentError> {
        check_address(address)?;
        let marker = dir.join(FEDERATION);
        if marker.exists() {
            return Err(EnrolmentError::Exists(dir.into()));
        }
        let secrets = dir.join("secret");
        std::fs::create_dir_all(&secrets).map_err(|source| EnrolmentError::File { path: secrets, source })?;
        let server = KeyPair::new_user();
        let id: String = server.public_key().to_lowercase().chars().skip(1).take(12).collect();
        let key = TlsKey::generate().map_err(EnrolmentError::certificate)?;
        let certificate = authority(&id)?.self_signed(&key).map_err(EnrolmentError::certificate)?;
        secret(&dir.join(CERTIFICATE_KEY), &key.serialize_pem())?;
        secret(&dir.join(SERVER_KEY), &seed(&server)?)?;
        write(&dir.join(CERTIFICATE), &certificate.pem())?;
        let enrolment =
            Self { dir: dir.into(), federation: FederationFile { id, address: address.into() }, members: Vec::new() };
        enrolment.write_members()?;
        // Last: a folder is a federation's once all else is in it.
        enrolment.write_federation()?;
        Ok(enrolment)
    }

    /// Reads the folder.
    ///
    /// # Errors
    /// [`EnrolmentError`] names the file that is missing or not as it was written.
    pub fn open(dir: &Path) -> Result<Self, EnrolmentError> {
        if !dir.join(FEDERATION).is_file() {
            return Err(EnrolmentError::None(dir.into()));
        }
        let federation = parse(&dir.join(FEDERATION))?;
        let ClientsFile { client: mut members } = parse(&dir.join(CLIENTS))?;
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { dir: dir.into(), federation, members })
    }

    /// Enrols a client and writes its credentials; the result is their file.
    ///
    /// # Errors
    /// A name that is taken or cannot be one; files that cannot be written.
    pub fn add(&mut self, name: &str, max_examples: u32) -> Result<PathBuf, EnrolmentError> {
        check_name(name)?;
        if self.members.iter().any(|member| member.name == name) {
            return Err(EnrolmentError::Taken { name: name.into(), dir: self.dir.clone() });
        }
        let key = KeyPair::new_user();
        let enrolled = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let path = self.credentials_file(name);
        secret(&path, &self.credentials(name, &seed(&key)?)?.to_text())?;
        let member = Member { name: name.into(), key: key.public_key(), enrolled, revoked: false, max_examples };
        self.members.push(member);
        self.members.sort_by(|a, b| a.name.cmp(&b.name));
        self.write_members()?;
        Ok(path)
    }

    /// Takes a client's rights. It keeps its number, so that a run under way can go on.
    ///
    /// # Errors
    /// A name that is not enrolled; files that cannot be written.
    pub fn revoke(&mut self, name: &str) -> Result<(), EnrolmentError> {
        let Some(member) = self.members.iter_mut().find(|member| member.name == name) else {
            return Err(EnrolmentError::Unknown { name: name.into(), dir: self.dir.clone() });
        };
        member.revoked = true;
        self.write_members()
    }

    /// The clients that were ever enrolled, in the order of their names.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The federation's id: letters and digits.
    pub fn id(&self) -> &str {
        &self.federation.id
    }

    /// Host and port that clients dial.
    pub fn address(&self) -> &str {
        &self.federation.address
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file with the federation's certificate.
    pub fn certificate_file(&self) -> PathBuf {
        self.dir.join(CERTIFICATE)
    }

    /// The server's key: its seed and its public half.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no key.
    pub fn server_key(&self) -> Result<(String, String), EnrolmentError> {
        let path = self.dir.join(SERVER_KEY);
        let seed = read(&path)?.trim().to_owned();
        let key =
            KeyPair::from_seed(&seed).map_err(|error| EnrolmentError::Damaged { path, reason: error.to_string() })?;
        Ok((seed, key.public_key()))
    }

    /// A certificate for a broker that is reached under `names`, signed by the federation's, and its key; both PEM.
    ///
    /// # Errors
    /// A key of the federation that cannot be read.
    pub fn broker_certificate(&self, names: Vec<String>) -> Result<(String, String), EnrolmentError> {
        let path = self.dir.join(CERTIFICATE_KEY);
        let signer = TlsKey::from_pem(&read(&path)?)
            .map_err(|error| EnrolmentError::Damaged { path, reason: error.to_string() })?;
        let issuer = Issuer::new(authority(&self.federation.id)?, signer);
        let key = TlsKey::generate().map_err(EnrolmentError::certificate)?;
        let mut params = CertificateParams::new(names).map_err(EnrolmentError::certificate)?;
        params.distinguished_name.push(DnType::CommonName, format!("cellm broker {}", self.federation.id));
        let certificate = params.signed_by(&key, &issuer).map_err(EnrolmentError::certificate)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// Makes `address` the one that clients dial, in the credentials that still lie here too. The result is their names.
    ///
    /// # Errors
    /// An address without a port; files that cannot be read or written.
    pub fn set_address(&mut self, address: &str) -> Result<Vec<String>, EnrolmentError> {
        check_address(address)?;
        if self.federation.address == address {
            return Ok(Vec::new());
        }
        self.federation.address = address.into();
        self.write_federation()?;
        let mut changed = Vec::new();
        for name in self.members.iter().map(|member| &member.name) {
            let path = self.credentials_file(name);
            if path.is_file() {
                let credentials = Credentials { address: address.into(), ..Credentials::read(&path)? };
                secret(&path, &credentials.to_text())?;
                changed.push(name.clone());
            }
        }
        Ok(changed)
    }

    fn credentials(&self, name: &str, seed: &str) -> Result<Credentials, EnrolmentError> {
        let FederationFile { id, address } = self.federation.clone();
        let certificate = read(&self.certificate_file())?;
        Ok(Credentials { federation: id, name: name.into(), address, seed: seed.into(), certificate })
    }

    fn credentials_file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.creds"))
    }

    fn write_federation(&self) -> Result<(), EnrolmentError> {
        write(&self.dir.join(FEDERATION), &text(&self.federation)?)
    }

    fn write_members(&self) -> Result<(), EnrolmentError> {
        write(&self.dir.join(CLIENTS), &text(&ClientsFile { client: self.members.clone() })?)
    }
}

/// The federation's own certificate, unsigned; the same each time, so that what it signs later names it.
fn authority(id: &str) -> Result<CertificateParams, EnrolmentError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(EnrolmentError::certificate)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, format!("cellm federation {id}"));
    Ok(params)
}

fn seed(key: &KeyPair) -> Result<String, EnrolmentError> {
    key.seed().map_err(|error| EnrolmentError::Key(error.to_string()))
}

fn text<T: Serialize>(file: &T) -> Result<String, EnrolmentError> {
    toml::to_string(file).map_err(|error| EnrolmentError::Key(error.to_string()))
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, EnrolmentError> {
    let text = read(path)?;
    toml::from_str(&text).map_err(|error| EnrolmentError::Damaged { path: path.into(), reason: error.to_string() })
}

/// A name is a word of a subject and of a file's name.
fn check_name(name: &str) -> Result<(), EnrolmentError> {
    let letters = name.bytes().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_'));
    let begins = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if letters && begins && name.len() <= LONGEST_NAME && !RESERVED.contains(&name) {
        return Ok(());
    }
    Err(EnrolmentError::Name { name: name.chars().take(80).collect() })
}

/// Splits an address into host and port.
///
/// # Errors
/// [`EnrolmentError::Address`] where it is not both.
pub fn check_address(address: &str) -> Result<(&str, u16), EnrolmentError> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    parts.filter(|(host, _)| !host.is_empty()).ok_or_else(|| EnrolmentError::Address(address.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_handed_one_file_and_the_folder_knows_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut made = Enrolment::init(dir.path(), "fed.example:4222").unwrap();
        let path = made.add("hospital-b", 0).unwrap();
        made.add("hospital-a", 500).unwrap();
        let opened = Enrolment::open(dir.path()).unwrap();
        let names: Vec<&str> = opened.members().iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["hospital-a", "hospital-b"], "clients are numbered in the order of their names");
        let credentials = Credentials::read(&path).unwrap();
        assert_eq!((credentials.name.as_str(), credentials.address.as_str()), ("hospital-b", "fed.example:4222"));
        assert_eq!(KeyPair::from_seed(&credentials.seed).unwrap().public_key(), opened.members()[1].key);
        assert!(credentials.certificate.contains("BEGIN CERTIFICATE"));
        let (certificate, key) = opened.broker_certificate(vec!["localhost".into()]).unwrap();
        assert!(certificate.contains("BEGIN CERTIFICATE") && key.contains("PRIVATE KEY"));
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = Enrolment::init(dir.path(), DEFAULT_ADDRESS).unwrap().add("a", 0).unwrap();
        for file in [dir.path().join(CERTIFICATE_KEY), dir.path().join(SERVER_KEY), path] {
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let error = |result: Result<Enrolment, EnrolmentError>| result.map(|_| ()).unwrap_err().to_string();
        assert!(error(Enrolment::open(dir.path())).contains("cellm enroll init"));
        assert!(error(Enrolment::init(dir.path(), "nowhere")).contains("`nowhere`"));
        let mut made = Enrolment::init(dir.path(), DEFAULT_ADDRESS).unwrap();
        assert!(error(Enrolment::init(dir.path(), DEFAULT_ADDRESS)).contains("already"));
        made.add("a", 0).unwrap();
        for name in ["", "a b", "all", "x.y", "-a", "../a", &"n".repeat(65)] {
            assert!(made.add(name, 0).is_err(), "{name}");
        }
        assert!(made.add("a", 0).unwrap_err().to_string().contains("`a`"));
        assert!(made.revoke("b").unwrap_err().to_string().contains("`b`"));
        made.revoke("a").unwrap();
        assert!(Enrolment::open(dir.path()).unwrap().members()[0].revoked);
    }

    #[test]
    fn credentials_that_still_lie_here_learn_the_address() {
        let dir = tempfile::tempdir().unwrap();
        let mut made = Enrolment::init(dir.path(), DEFAULT_ADDRESS).unwrap();
        let (kept, handed) = (made.add("kept", 0).unwrap(), made.add("handed-out", 0).unwrap());
        std::fs::remove_file(handed).unwrap();
        assert_eq!(made.set_address("127.0.0.1:4333").unwrap(), ["kept"]);
        assert_eq!(Credentials::read(&kept).unwrap().address, "127.0.0.1:4333");
        assert_eq!(Enrolment::open(dir.path()).unwrap().address(), "127.0.0.1:4333");
        assert!(made.set_address("127.0.0.1:4333").unwrap().is_empty());
    }
}
