//! The three policies that serve a run. In: the config, at the start and again when a policy's file has changed. Out:
//! policies that are allowed, were tried with the run's layout and options, and go together.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::FederationError;
use super::compatibility::{Pairs, warnings};
use crate::adapter::AdapterLayout;
use crate::compressor::{CodecPlan, OfRun, Plans};
use crate::config::Config;
use crate::policy::{Direction, Policy, PolicyHost};
use crate::roster::Tiers;
use crate::server::{Reloaded, RowPolicies};

/// The policies of a round.
#[derive(Clone)]
pub(super) struct Policies {
    pub codecs: Plans,
    pub aggregation: Arc<Policy>,
}

impl Policies {
    /// As the round's row has them.
    pub fn names(&self) -> RowPolicies {
        let [download, upload, aggregate] = self.all().map(named);
        RowPolicies { download, upload, aggregate }
    }

    /// Of the download, the upload and the aggregation.
    pub fn all(&self) -> [&Arc<Policy>; 3] {
        [self.codecs.download.policy(), self.codecs.upload.policy(), &self.aggregation]
    }
}

/// `name@` and the first 16 digits of the hash.
fn named(policy: &Arc<Policy>) -> String {
    format!("{}@{:.16}", policy.name, policy.hash.to_string())
}

/// The parts that policies are tried with.
pub(super) struct Bench {
    pub host: PolicyHost,
    pub config: Config,
    pub layout: Arc<AdapterLayout>,
    /// `W0`, what the run starts from.
    pub start: Arc<Vec<f32>>,
    pub tiers: Arc<Tiers>,
    /// Clients in the roster.
    pub clients: usize,
}

impl Bench {
    /// Loads and tries all three; the warnings are those of the pair checks.
    fn load(&self) -> Result<(Policies, Vec<String>), FederationError> {
        let codec = |section, direction| {
            let (rounds, seed) = (self.config.run.rounds, self.config.run.seed);
            let of_run = OfRun { rounds, seed, tiers: self.tiers.clone() };
            CodecPlan::new(section, direction, &self.host, self.layout.clone(), self.start.clone(), of_run)
                .map(Arc::new)
        };
        let codecs = Plans {
            download: codec(&self.config.download, Direction::Download)?,
            upload: codec(&self.config.upload, Direction::Upload)?,
        };
        let aggregation = self.host.load(&self.config.aggregate.policy)?;
        let options = serde_json::Value::Object(self.config.aggregate.options.clone()).to_string();
        aggregation.aggregator(&self.layout, &options)?;
        let policies = Policies { codecs, aggregation };
        let warnings = warnings(&self.pairs(&policies))?;
        Ok((policies, warnings))
    }

    fn pairs(&self, policies: &Policies) -> Pairs<'_> {
        let config = &self.config;
        let [download, upload, aggregate] = policies.all().map(|policy| policy.as_ref().into());
        let own = config.upload.density;
        let densities = self.tiers.in_use(self.clients as u32).into_iter().map(|tier| self.tiers.density(tier, own));
        Pairs {
            config,
            download,
            upload,
            aggregate,
            feedback: [config.download.error_feedback, config.upload.error_feedback],
            density: densities.fold(1.0, f64::min),
            clients: self.clients,
            values: self.layout.values(),
        }
    }

    /// The files of the policies; none for those that are built in.
    fn files(&self) -> [Option<&Path>; 3] {
        let config = &self.config;
        let references = [&config.download.policy, &config.upload.policy, &config.aggregate.policy];
        references.map(|reference| PolicyHost::file(reference))
    }

    fn stamps(&self) -> [Option<Stamp>; 3] {
        self.files().map(|file| {
            let metadata = std::fs::metadata(file?).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }

    /// True where some file holds other bytes than its policy was made of.
    fn differs(&self, policies: &Policies) -> bool {
        self.files().into_iter().zip(policies.all()).any(|(file, policy)| {
            let Some(file) = file else { return false };
            // One that cannot be read differs: loading it says why.
            std::fs::read(file).map_or(true, |bytes| *blake3::hash(&bytes).as_bytes() != policy.hash.0)
        })
    }
}

/// A cheap sign of a change of a file: when it was written, and its length.
type Stamp = (SystemTime, u64);

/// The policies that serve now.
pub(super) struct Serving {
    bench: Bench,
    now: Mutex<Now>,
}

struct Now {
    policies: Policies,
    warnings: Vec<String>,
    stamps: [Option<Stamp>; 3],
}

impl Serving {
    /// Loads and tries the policies that the config names. Blocking.
    ///
    /// # Errors
    /// The fault of a policy, or of all of them together.
    pub fn load(bench: Bench) -> Result<Self, FederationError> {
        // Before the files are read: one that changes meanwhile is looked at again.
        let stamps = bench.stamps();
        let (policies, warnings) = bench.load()?;
        Ok(Self { bench, now: Mutex::new(Now { policies, warnings, stamps }) })
    }

    /// The policies of the next round to begin.
    pub fn policies(&self) -> Policies {
        self.lock().policies.clone()
    }

    /// Warnings for the operator about the policies.
    pub fn warnings(&self) -> Vec<String> {
        self.lock().warnings.clone()
    }

    /// Takes files that have changed into service, all or none of them: what does not load, fails in a rehearsed exchange, or
    /// does not go with the rest, leaves everything as it was until a file changes again. Blocking; next to nothing where no
    /// file was written to.
    pub fn reload(&self) -> Reloaded {
        let stamps = self.bench.stamps();
        let before = {
            let mut now = self.lock();
            if now.stamps == stamps {
                return Reloaded::default();
            }
            now.stamps = stamps;
            now.policies.clone()
        };
        if !self.bench.differs(&before) {
            return Reloaded::default();
        }
        let rehearsed = self.bench.load().and_then(|loaded| {
            loaded.0.codecs.rehearse(0)?;
            Ok(loaded)
        });
        let (policies, warnings) = match rehearsed {
            Ok(loaded) => loaded,
            Err(error) => {
                let kept = format!("a policy's file has changed, but the policies stay as they are: {error}");
                return Reloaded { changed: false, notes: vec![kept] };
            }
        };
        let mut notes = changes(&before, &policies);
        let mut now = self.lock();
        notes.extend(warnings.iter().filter(|warning| !now.warnings.contains(warning)).cloned());
        (now.policies, now.warnings) = (policies, warnings);
        Reloaded { changed: true, notes }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        // Every change is one assignment, so a panic elsewhere leaves nothing half done.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn changes(before: &Policies, after: &Policies) -> Vec<String> {
    let roles = ["download", "upload", "aggregate"].into_iter().zip(before.all().into_iter().zip(after.all()));
    let changed = roles.filter(|(_, (before, after))| before.hash != after.hash);
    changed.map(|(role, (before, after))| format!("{role} policy {} is now {}", named(before), named(after))).collect()
}
