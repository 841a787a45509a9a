//! Everything a run needs, loaded and checked before the first actor starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::run_dir::{RunDir, journal_dir, make};
use super::serving::{Bench, Policies, Serving};
use super::{FederationError, Start};
use crate::adapter::{AdapterLayout, Message, Part, Tiers, ValueCoding};
use crate::config::Config;
use crate::data::{self, Dataset};
use crate::journal::{Journal, RunRecord};
use crate::metrics::Metrics;
use crate::policy::PolicyHost;
use crate::trainer::{Model, Shards, Trainer};
use crate::wire::{self, FrameKind, Header, Said};

/// A run that can start.
pub(super) struct Plan {
    pub config: Config,
    pub run_dir: PathBuf,
    pub threads: usize,
    pub model: Arc<Model>,
    pub layout: Arc<AdapterLayout>,
    pub initial: Arc<Vec<f32>>,
    pub shards: Arc<Shards>,
    pub tiers: Arc<Tiers>,
    /// The coordinates that each tier may train; none where it trains all.
    pub trainable: Arc<Vec<Option<Arc<Vec<u32>>>>>,
    pub serving: Arc<Serving>,
    pub dense_frame: u64,
    pub journal: Arc<Journal>,
    pub metrics: Arc<Metrics>,
}

impl Plan {
    /// Loads and checks everything. Blocking. `start` is validated.
    pub fn load(start: Start) -> Result<(Self, RunDir), FederationError> {
        let Start { config, effective_toml, run_dir, resume } = start;
        let seed = config.run.seed;
        let metrics = Arc::new(Metrics::new());
        let model = Model::load(&config.model)?;
        let dataset = Arc::new(Dataset::load(&config.data, config.partition.field())?);
        let trainer = Arc::new(Trainer::new(model.clone(), &config.lora, dataset.classes().len(), seed)?);
        let layout = trainer.layout().clone();
        let partition = Arc::new(data::partition(&dataset, &config.partition, &config.data, seed)?);
        if config.server.cohort > partition.shards.len() {
            let (cohort, clients) = (config.server.cohort, partition.shards.len());
            return Err(FederationError::Config(format!(
                "server.cohort is {cohort}, the roster has {clients} clients"
            )));
        }
        let shards = Arc::new(Shards::new(trainer.clone(), dataset, partition, config.data.clone()));
        let initial = Arc::new(trainer.start().0.clone());
        let tiers = Arc::new(Tiers::new(seed, &config.client.tiers));
        let serving = Arc::new(Serving::load(Bench {
            host: PolicyHost::new(&config.limits, &config.policy)?,
            config: config.clone(),
            layout: layout.clone(),
            start: Arc::new(layout.start().0),
            tiers: tiers.clone(),
            clients: shards.clients(),
        })?);
        let record = record(&config, &layout, &serving.policies());
        let journal = Arc::new(open_journal(&run_dir, resume, config.policy.watch, &record)?);
        let files = RunDir::open(&run_dir, &effective_toml, &journal.rows()?, &journal.client_rows()?)?;
        let threads = match config.run.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let dense_frame = dense_frame_length(layout.values())?;
        let of_tier = |tier| tiers.trainable(tier, &layout).map(Arc::new);
        let trainable = Arc::new((0..config.client.tiers.len() as u32).map(of_tier).collect());
        metrics.rounds_planned.set(config.run.rounds.into());
        metrics.clients_registered.set(shards.clients() as i64);
        let plan = Self {
            config,
            run_dir,
            threads,
            model,
            layout,
            initial,
            shards,
            tiers,
            trainable,
            serving,
            dense_frame,
            journal,
            metrics,
        };
        Ok((plan, files))
    }
}

/// What must be the same for a resumed run to end with the same adapter.
fn record(config: &Config, layout: &AdapterLayout, policies: &Policies) -> RunRecord {
    let mut settings = json!(config);
    if let Some(sections) = settings.as_object_mut() {
        // None of these changes what the rounds before it did.
        sections.remove("metrics");
        sections.remove("policy");
        if let Some(run) = sections.get_mut("run").and_then(|run| run.as_object_mut()) {
            for key in ["name", "out", "threads", "rounds"] {
                run.remove(key);
            }
        }
        if let Some(data) = sections.get_mut("data").and_then(|data| data.as_object_mut()) {
            data.remove("cache_mb");
        }
        let [download, upload, aggregate] = policies.all().map(|policy| policy.hash.to_string());
        let hashes = json!({ "download": download, "upload": upload, "aggregate": aggregate });
        sections.insert(POLICIES.into(), hashes);
    }
    sealed(&settings, layout.hash().to_string(), config.run.seed)
}

/// Where the settings of a record have the hashes of the policies.
const POLICIES: &str = "policies";

fn sealed(settings: &serde_json::Value, layout_hash: String, seed: u64) -> RunRecord {
    let json = settings.to_string();
    RunRecord { config_hash: blake3::hash(json.as_bytes()).to_hex().to_string(), layout_hash, seed, json }
}

/// A record that does not say which policies it had.
fn without_policies(record: &RunRecord) -> RunRecord {
    // What is no JSON differs from everything, as it should.
    let Ok(mut settings) = serde_json::from_str::<serde_json::Value>(&record.json) else { return record.clone() };
    settings.as_object_mut().map(|sections| sections.remove(POLICIES));
    sealed(&settings, record.layout_hash.clone(), record.seed)
}

/// `watch`: policies may be others than those that the run began with.
fn open_journal(run_dir: &Path, resume: bool, watch: bool, record: &RunRecord) -> Result<Journal, FederationError> {
    let dir = journal_dir(run_dir);
    if !resume {
        if dir.exists() {
            return Err(FederationError::Exists(run_dir.into()));
        }
        make(&dir)?;
        return Ok(Journal::create(&dir, record)?);
    }
    let (journal, stored) = Journal::open(&dir)?;
    let differences = match watch {
        true => without_policies(&stored).differences(&without_policies(record)),
        false => stored.differences(record),
    };
    if differences.is_empty() {
        return Ok(journal);
    }
    let differences = differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Err(FederationError::Differs { run_dir: run_dir.into(), differences })
}

/// Length of a real frame that carries every value in f32, bytes: the baseline of every reduction, both ways.
fn dense_frame_length(values: usize) -> Result<u64, FederationError> {
    let (kind, said) = (FrameKind::Download, Said::default());
    let header = Header { kind, layout: 0, policy: 0, round: 0, client: 0, sequence: 0, said };
    let part = Part::Values { coding: ValueCoding::F32, values: vec![0.0; values] };
    let frame = wire::encode(&header, &Message { parts: vec![part] })
        .map_err(|source| FederationError::Compressor(source.into()))?;
    Ok(frame.len() as u64)
}
