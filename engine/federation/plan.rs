//! Everything a run needs, loaded and checked before the first actor starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::journal_dir::{is_run, journal_dir};
use super::policies::{Bench, Policies, Serving};
use super::run_dir::{RunDir, begin};
use super::{FederationError, Start};
use crate::adapter::{AdapterLayout, Message, Part, ValueCoding};
use crate::config::{Config, changes_results};
use crate::journal::{Journal, RunRecord};
use crate::metrics::Metrics;
use crate::policy::PolicyHost;
use crate::privacy::{Place, Spending};
use crate::roster::Tiers;
use crate::server::{LargestExchange, sampler};
use crate::trainer::{ClientData, LearningRates, LrSchedule, Model};
use crate::wire::{Frame, FrameKind, Header, UploadHeader};

/// A run that can start.
pub(super) struct Plan {
    pub config: Config,
    pub run_dir: PathBuf,
    pub threads: usize,
    pub model: Arc<Model>,
    pub layout: Arc<AdapterLayout>,
    pub initial: Arc<Vec<f32>>,
    pub shards: Arc<ClientData>,
    pub tiers: Arc<Tiers>,
    /// The coordinates that each tier may train; none where it trains all.
    pub trainable: Arc<Vec<Option<Arc<Vec<u32>>>>>,
    pub serving: Arc<Serving>,
    /// The epsilon that each round will have spent; none without differential privacy.
    pub spending: Option<Arc<Spending>>,
    pub dense_frame: u64,
    /// Bytes that one client may take in the first round; known where there is a budget.
    pub expected: LargestExchange,
    pub journal: Arc<Journal>,
    pub metrics: Arc<Metrics>,
    /// Warnings for the operator before the first round.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Clients that train side by side.
    pub fn slots(&self) -> usize {
        match (self.config.model.slots, self.model.on_gpu()) {
            (0, true) => 1,
            (0, false) => self.threads,
            (slots, _) => slots,
        }
    }

    /// Loads and checks everything. Blocking. `start` is validated; `shards` loads the clients' data, which is `elsewhere` in a
    /// deployed federation.
    pub fn load(
        start: Start,
        shards: impl FnOnce(&Config) -> Result<Arc<ClientData>, FederationError>,
        elsewhere: bool,
    ) -> Result<(Self, RunDir), FederationError> {
        let Start { config, effective_toml, run_dir, resume } = start;
        let metrics = Arc::new(Metrics::new());
        let parts = Parts::of(&config, shards(&config)?)?;
        let mut warnings = parts.warnings(&config, elsewhere);
        let Parts { shards, initial, tiers, serving, spending } = parts;
        let trainer = shards.trainer();
        let (model, layout) = (trainer.model().clone(), trainer.layout().clone());
        let record = record(&config, (&shards, elsewhere), &initial, &serving.policies());
        let threads = match config.run.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let dense_frame = dense_frame_length(layout.values())?;
        let expected = match config.run.byte_budget {
            0 => LargestExchange::default(),
            _ => expected_exchange(&serving.policies(), &tiers.in_use(shards.clients() as u32))?,
        };
        let of_tier = |tier| tiers.trainable(tier, &layout).map(Arc::new);
        let trainable = Arc::new((0..config.client.tiers.len() as u32).map(of_tier).collect());
        // Last of all, so that nothing is a run that cannot go on.
        let (journal, files) = match resume {
            true => {
                let (journal, files, begun_on) = resume_run(&run_dir, &effective_toml, config.policy.watch, &record)?;
                warnings.extend(other_arithmetic(&begun_on, &record.arithmetic));
                (journal, files)
            }
            false => begin_run(&run_dir, &effective_toml, &record)?,
        };
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
            spending,
            dense_frame,
            expected,
            journal: Arc::new(journal),
            metrics,
            warnings,
        };
        Ok((plan, files))
    }
}

impl Plan {
    /// Rounds to run: those that were asked for, as far as the privacy budget goes.
    pub fn rounds(&self) -> u32 {
        self.spending.as_ref().map_or(self.config.run.rounds, |spending| spending.rounds_within())
    }

    /// The learning rates of the rounds that were asked for: a privacy budget that ends the run earlier changes none of them.
    pub fn learning_rates(&self) -> Option<LearningRates> {
        LearningRates::new(&self.config.client, self.config.run.rounds)
    }

    /// The norm to which the aggregator scales updates down; 0 for none.
    pub fn server_clip(&self) -> f32 {
        let privacy = &self.config.privacy;
        if privacy.place == Place::Server { privacy.clip } else { 0.0 }
    }
}

/// The parts of a config, loaded and tried together.
pub(super) struct Parts {
    pub shards: Arc<ClientData>,
    /// `W0`, what the run starts from.
    pub initial: Arc<Vec<f32>>,
    pub tiers: Arc<Tiers>,
    pub serving: Arc<Serving>,
    pub spending: Option<Arc<Spending>>,
}

impl Parts {
    /// Loads and checks all else that needs no run directory. Blocking.
    pub fn of(config: &Config, shards: Arc<ClientData>) -> Result<Self, FederationError> {
        let trainer = shards.trainer();
        let (cohort, clients) = (config.server.cohort, shards.clients());
        if cohort > clients {
            return Err(FederationError::Config(format!(
                "server.cohort is {cohort}, the roster has {clients} clients"
            )));
        }
        let initial = trainer.start().0.clone();
        let tiers = Arc::new(Tiers::new(config.run.seed, &config.client.tiers));
        let serving = Arc::new(Serving::load(Bench {
            host: PolicyHost::new(&config.limits, &config.policy)?,
            config: config.clone(),
            layout: trainer.layout().clone(),
            start: initial.clone(),
            tiers: tiers.clone(),
            clients,
        })?);
        let spending = spending(config, clients)?;
        Ok(Self { shards, initial, tiers, serving, spending })
    }

    /// Warnings for the operator before the first round.
    pub fn warnings(&self, config: &Config, elsewhere: bool) -> Vec<String> {
        let mut warnings = config.idle();
        warnings.extend_from_slice(self.shards.notes());
        let dataset = self.shards.dataset();
        warnings.extend(dataset.left_out().warning(dataset.len()));
        let validation = config.data.validation;
        if elsewhere {
            if self.shards.validation_chunks() == 0 {
                warnings.push("nothing is evaluated: data.path is not set, and clients' data stays with them".into());
            }
        } else if validation > 0.0 && self.shards.validation_chunks() == 0 {
            warnings.push(format!(
                "data.validation {validation} of no client's records is a whole one, so nothing is held out and nothing evaluated"
            ));
        }
        warnings.extend(self.serving.warnings());
        if let Some(spending) = &self.spending {
            let (rounds, within, privacy) = (config.run.rounds, spending.rounds_within(), &config.privacy);
            if within < rounds {
                let budget = privacy.budget;
                warnings.push(format!("privacy.budget {budget} ends the run after {within} of {rounds} rounds"));
            }
            let source = match (elsewhere, privacy.place) {
                (false, _) => "run.seed",
                (true, Place::Client) => "each client's operating system",
                (true, Place::Server) => "a secret of the server's",
            };
            warnings.push(format!(
                "differential privacy: epsilon {:.3} at delta {} after {within} rounds, of the adapter alone; the noise is drawn \
                 from {source}, and losses and logs are not covered",
                spending.after(within),
                privacy.delta
            ));
        }
        warnings
    }
}

/// The epsilon that each round of a run will have spent.
fn spending(config: &Config, clients: usize) -> Result<Option<Arc<Spending>>, FederationError> {
    let (privacy, server) = (&config.privacy, &config.server);
    if !privacy.is_on() {
        return Ok(None);
    }
    let options = &config.aggregate.options;
    let is = |key: &str, value: &str| options.get(key).is_none_or(|found| found.as_str() == Some(value));
    let mean = config.aggregate.policy == "fedavg" && is("weighting", "uniform") && is("mean", "participants");
    if privacy.place == Place::Server && !mean {
        return Err(FederationError::Pairs(format!(
            "privacy.where server needs aggregate policy fedavg with uniform weighting over participants, found {} with {}: \
             how far one client moves another aggregate is not known",
            config.aggregate.policy,
            serde_json::Value::Object(options.clone())
        )));
    }
    let asked = |round| sampler::sample(config.run.seed, round, clients as u32, server.sampled());
    let spending = Spending::new(privacy, config.run.rounds, clients, asked);
    if spending.rounds_within() == 0 {
        return Err(FederationError::Config(format!(
            "privacy.budget is {}, one round spends {:.3}: raise privacy.noise_multiplier or the budget",
            privacy.budget,
            spending.after(1)
        )));
    }
    Ok(Some(Arc::new(spending)))
}

/// The record of everything that must be the same for a resumed run to end with the same adapter.
fn record(
    config: &Config,
    (shards, elsewhere): (&ClientData, bool),
    initial: &[f32],
    policies: &Policies,
) -> RunRecord {
    let (model, layout) = (shards.trainer().model(), shards.trainer().layout());
    let mut settings = json!(config);
    if let Some(sections) = settings.as_object_mut() {
        // A budget ends a run and changes nothing before its end. A run may be made longer where that changes nothing of the rounds before: a rate that falls does so over all rounds.
        let longer = config.client.lr_schedule == LrSchedule::Constant;
        let counts = |key: &str| match key {
            "run.rounds" => !longer,
            "run.byte_budget" => false,
            _ => changes_results(key),
        };
        for (name, section) in sections.iter_mut() {
            if let Some(keys) = section.as_object_mut() {
                keys.retain(|key, _| counts(&format!("{name}.{key}")));
            }
        }
        sections.retain(|_, section| section.as_object().is_none_or(|keys| !keys.is_empty()));
        let [download, upload, aggregate] = policies.all().map(|policy| policy.hash.to_string());
        let hashes = json!({ "download": download, "upload": upload, "aggregate": aggregate });
        sections.insert(POLICIES.into(), hashes);
        // The same paths may have other files by now.
        let inputs = json!({
            "data": shards.dataset().fingerprint(),
            "model": model.fingerprint().to_hex().to_string(),
            "tokenizer": model.tokenizer_fingerprint().to_hex().to_string(),
        });
        sections.insert("inputs".into(), inputs);
        if elsewhere {
            // Clients are numbered by name: with others enrolled, each would be somebody else.
            let names = shards.roster().names();
            let hash = blake3::hash(names.join("\n").as_bytes()).to_hex();
            sections.insert("roster".into(), json!({ "clients": names.len(), "names": format!("{hash:.16}") }));
        }
        // A start that was read from files is not in the settings, and policies go on measuring from it.
        if initial != layout.start().0.as_slice() {
            let bytes: Vec<u8> = initial.iter().flat_map(|value| value.to_le_bytes()).collect();
            sections.insert("start".into(), json!(blake3::hash(&bytes).to_hex().to_string()));
        }
    }
    let record = sealed(&settings, layout.hash().to_string(), config.run.seed);
    RunRecord { arithmetic: model.arithmetic().into(), ..record }
}

/// Key of the policies' hashes in the settings of a record.
const POLICIES: &str = "policies";

fn sealed(settings: &serde_json::Value, layout_hash: String, seed: u64) -> RunRecord {
    let json = settings.to_string();
    let config_hash = blake3::hash(json.as_bytes()).to_hex().to_string();
    RunRecord { config_hash, layout_hash, seed, json, arithmetic: String::new() }
}

/// A record that does not say which policies it had.
fn without_policies(record: &RunRecord) -> RunRecord {
    // What is no JSON differs from everything, as it should.
    let Ok(mut settings) = serde_json::from_str::<serde_json::Value>(&record.json) else { return record.clone() };
    settings.as_object_mut().map(|sections| sections.remove(POLICIES));
    sealed(&settings, record.layout_hash.clone(), record.seed)
}

/// The bytes of a client's first exchange beside broadcast and catch-up, as a made-up update of each tier has them.
fn expected_exchange(policies: &Policies, tiers: &[u32]) -> Result<LargestExchange, FederationError> {
    let mut upload = 0;
    for tier in tiers {
        upload = upload.max(policies.codecs.rehearse(*tier)?);
    }
    let verdict = policies.codecs.upload.verdict(1, 0, true);
    let beside = verdict.map_err(|source| FederationError::Compressor(source.into()))?.len() as u64;
    Ok(LargestExchange { upload, beside })
}

/// Makes a directory a run: everything else first, then the journal.
fn begin_run(run_dir: &Path, config: &str, record: &RunRecord) -> Result<(Journal, RunDir), FederationError> {
    if is_run(run_dir) {
        return Err(FederationError::Exists(run_dir.into()));
    }
    let files = begin(run_dir, config)?;
    let journal = Journal::create(&journal_dir(run_dir), record)?;
    let files = files.with_journal(journal.path().into())?;
    Ok((journal, files))
}

/// A warning where a run goes on with another arithmetic than it began with.
fn other_arithmetic(begun_on: &str, now: &str) -> Option<String> {
    (!begun_on.is_empty() && begun_on != now).then(|| {
        format!(
            "the run began with the arithmetic of {begun_on} and goes on with that of {now}: its adapter is not to the bit \
             what either alone gives"
        )
    })
}

/// The journal and the files of a run, and the arithmetic that it began with. `watch`: policies may be others than those
/// that the run began with.
fn resume_run(
    run_dir: &Path,
    config: &str,
    watch: bool,
    record: &RunRecord,
) -> Result<(Journal, RunDir, String), FederationError> {
    if !is_run(run_dir) {
        return Err(FederationError::NoRun(run_dir.into()));
    }
    let (journal, stored) = Journal::open(&journal_dir(run_dir))?;
    let differences = match watch {
        true => without_policies(&stored).differences(&without_policies(record)),
        false => stored.differences(record),
    };
    if !differences.is_empty() {
        let differences = differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        return Err(FederationError::Differs { run_dir: run_dir.into(), differences });
    }
    let files = RunDir::open(run_dir, config, &journal.rows_after(None)?)?.with_journal(journal.path().into())?;
    Ok((journal, files, stored.arithmetic))
}

/// Length of a real frame that carries every value in f32, bytes: the baseline of every reduction, both ways.
///
/// # Errors
/// More values than a frame can have.
pub fn dense_frame_length(values: usize) -> Result<u64, FederationError> {
    let (kind, upload) = (FrameKind::Download, UploadHeader::default());
    let header = Header { kind, layout: 0, policy: 0, round: 0, client: 0, sequence: 0, upload };
    let part = Part::Values { coding: ValueCoding::F32, values: vec![0.0; values].into() };
    let frame = Frame::encode(&header, &Message { parts: vec![part] })
        .map_err(|source| FederationError::Compressor(source.into()))?;
    Ok(frame.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_with_another_arithmetic_says_so() {
        assert_eq!(other_arithmetic("AVX2", "AVX2").or(other_arithmetic("", "AVX2")), None);
        let warning = other_arithmetic("AVX-512", "AVX2").unwrap();
        assert!(warning.contains("AVX-512") && warning.contains("AVX2"), "{warning}");
    }
}
