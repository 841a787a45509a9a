//! Everything a run needs, loaded and checked before the first actor starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::pairs::{Pairs, warnings};
use super::run_dir::{RunDir, journal_dir, make};
use super::{FederationError, Start};
use crate::adapter::{AdapterLayout, Message, Part, ValueCoding};
use crate::compressor::{CodecPlan, Plans};
use crate::config::Config;
use crate::data::{self, Dataset};
use crate::journal::{Journal, RunRecord};
use crate::metrics::Metrics;
use crate::policy::{Direction, Policy, PolicyHost};
use crate::trainer::{Model, Shards, Trainer};
use crate::wire::{self, FrameKind, Header};

/// A run that can start.
pub(super) struct Plan {
    pub config: Config,
    pub run_dir: PathBuf,
    pub threads: usize,
    pub model: Arc<Model>,
    pub layout: Arc<AdapterLayout>,
    pub initial: Arc<Vec<f32>>,
    pub shards: Arc<Shards>,
    pub codecs: Plans,
    pub aggregation: Arc<Policy>,
    pub dense_frame: u64,
    pub journal: Arc<Journal>,
    pub metrics: Arc<Metrics>,
    /// What an operator should know before the first round.
    pub warnings: Vec<String>,
    /// Keeps the policies' epoch ticking.
    pub _host: PolicyHost,
}

impl Plan {
    /// Loads and checks everything. Blocking. `start` is validated.
    pub fn load(start: Start) -> Result<(Self, RunDir), FederationError> {
        let Start { config, effective_toml, run_dir, resume } = start;
        let seed = config.run.seed;
        let metrics = Arc::new(Metrics::new());
        let model = Model::load(&config.model)?;
        let trainer = Arc::new(Trainer::new(model.clone(), &config.lora, seed)?);
        let layout = trainer.layout().clone();
        let dataset = Arc::new(Dataset::load(&config.data, config.partition.field())?);
        let partition = Arc::new(data::partition(&dataset, &config.partition, &config.data, seed)?);
        if config.server.cohort > partition.shards.len() {
            let (cohort, clients) = (config.server.cohort, partition.shards.len());
            return Err(FederationError::Config(format!(
                "server.cohort is {cohort}, the roster has {clients} clients"
            )));
        }
        let shards = Arc::new(Shards::new(trainer.clone(), dataset, partition, config.data.clone()));
        let start_values = Arc::new(layout.start().0);
        let initial = Arc::new(trainer.start().0.clone());
        let host = PolicyHost::new(&config.limits, &config.policy)?;
        let codec = |section, direction| {
            let of_run = (config.run.rounds, seed);
            CodecPlan::new(section, direction, &host, layout.clone(), start_values.clone(), of_run).map(Arc::new)
        };
        let codecs = Plans {
            download: codec(&config.download, Direction::Download)?,
            upload: codec(&config.upload, Direction::Upload)?,
        };
        let aggregation = host.load(&config.aggregate.policy)?;
        let options = serde_json::Value::Object(config.aggregate.options.clone()).to_string();
        aggregation.aggregator(&layout, &options)?;
        let warnings = warnings(&Pairs {
            config: &config,
            download: codecs.download.policy().as_ref().into(),
            upload: codecs.upload.policy().as_ref().into(),
            aggregate: aggregation.as_ref().into(),
            feedback: [false, false],
            density: config.upload.density.into(),
            clients: shards.clients(),
            values: layout.values(),
        })?;
        let record = record(&config, &layout, &codecs, &aggregation);
        let journal = Arc::new(open_journal(&run_dir, resume, &record)?);
        let files = RunDir::open(&run_dir, &effective_toml, &journal.rows()?, &journal.client_rows()?)?;
        let threads = match config.run.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let dense_frame = dense_frame_length(layout.values())?;
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
            codecs,
            aggregation,
            dense_frame,
            journal,
            metrics,
            warnings,
            _host: host,
        };
        Ok((plan, files))
    }
}

/// What must be the same for a resumed run to end with the same adapter.
fn record(config: &Config, layout: &AdapterLayout, codecs: &Plans, aggregation: &Policy) -> RunRecord {
    let mut settings = json!(config);
    if let Some(sections) = settings.as_object_mut() {
        sections.remove("metrics");
        // Neither changes what the rounds before it did.
        if let Some(run) = sections.get_mut("run").and_then(|run| run.as_object_mut()) {
            for key in ["name", "out", "threads", "rounds"] {
                run.remove(key);
            }
        }
        let hash = |policy: &Policy| format!("{:?}", policy.hash);
        sections.insert(
            "policies".into(),
            json!({
                "download": hash(codecs.download.policy()),
                "upload": hash(codecs.upload.policy()),
                "aggregate": hash(aggregation),
            }),
        );
    }
    let json = settings.to_string();
    RunRecord {
        config_hash: blake3::hash(json.as_bytes()).to_hex().to_string(),
        layout_hash: layout.hash().to_string(),
        seed: config.run.seed,
        json,
    }
}

fn open_journal(run_dir: &Path, resume: bool, record: &RunRecord) -> Result<Journal, FederationError> {
    let dir = journal_dir(run_dir);
    if !resume {
        if dir.exists() {
            return Err(FederationError::Exists(run_dir.into()));
        }
        make(&dir)?;
        return Ok(Journal::create(&dir, record)?);
    }
    let (journal, stored) = Journal::open(&dir)?;
    let differences = stored.differences(record);
    if differences.is_empty() {
        return Ok(journal);
    }
    let differences = differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Err(FederationError::Differs { run_dir: run_dir.into(), differences })
}

/// Length of a real frame that carries every value in f32, bytes: the baseline of every reduction.
fn dense_frame_length(values: usize) -> Result<u64, FederationError> {
    let header = Header { kind: FrameKind::Upload, layout: 0, policy: 0, round: 0, client: 0, sequence: 0 };
    let part = Part::Values { coding: ValueCoding::F32, values: vec![0.0; values] };
    let frame = wire::encode(&header, &Message { parts: vec![part] })
        .map_err(|source| FederationError::Compressor(source.into()))?;
    Ok(frame.len() as u64)
}
