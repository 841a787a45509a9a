//! Inputs that runs of one process share: the base model, the data and its tokens, wherever the config of those
//! sections is equal. Nothing in it ever changes, so a run that finds it loaded ends with the same bits as one that
//! loads it.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::FederationError;
use crate::config::Config;
use crate::data::{self, Dataset, Partition, Task};
use crate::trainer::{ClientData, Model, Trainer};

/// Things of a kind that are kept; the one that was used longest ago goes first. Runs that share come one after the other.
const KEPT: usize = 4;

/// Loads what runs need, and keeps it for the next. An empty one is what a run on its own takes.
#[derive(Default)]
pub struct Inputs {
    models: Shelf<Model>,
    /// With what is to be said of their classes.
    datasets: Shelf<(Arc<Dataset>, Option<String>)>,
    shards: Shelf<ClientData>,
}

impl Inputs {
    /// The base model. Blocking.
    ///
    /// # Errors
    /// The model's error.
    pub fn model(&self, config: &Config) -> Result<Arc<Model>, FederationError> {
        let model = &config.model;
        self.models.get(json!(model), || Ok(Model::load(model)?))
    }

    /// The records, with what the partition asks of them and the model's tokenizer can read. Blocking.
    ///
    /// # Errors
    /// The error of the model or of the data.
    pub fn dataset(&self, config: &Config) -> Result<Arc<Dataset>, FederationError> {
        Ok(self.order_classes(config)?.0)
    }

    /// The records with their classes in the order of the head, and what is to be said of that.
    fn order_classes(&self, config: &Config) -> Result<(Arc<Dataset>, Option<String>), FederationError> {
        let (data, field, lora) = (&config.data, config.partition.field(), &config.lora);
        let model = self.model(config)?;
        // Whose class is which is the model's or the adapter's to say.
        let key = json!([data, field, config.model, lora.init, lora.head]);
        let classed = self.datasets.get(key, || {
            let dataset = Dataset::load(data, field, Some(model.tokenizer()))?;
            let (dataset, note) = model.order_classes(dataset, data, lora)?;
            Ok(Arc::new((Arc::new(dataset), note)))
        })?;
        Ok(classed.as_ref().clone())
    }

    /// The data of a deployed federation's roster, with the trainer that works on it: of client `own` the records of `data.path`, of
    /// everybody else none. Without an own client, the records that are there are a server's, to evaluate on. Blocking.
    ///
    /// # Errors
    /// As [`Self::shards`].
    pub fn roster(
        &self,
        config: &Config,
        names: &[String],
        own: Option<u32>,
    ) -> Result<Arc<ClientData>, FederationError> {
        let Config { lora, data, run, server, .. } = config;
        let model = self.model(config)?;
        let dataset = match (&data.path, own) {
            (None, None) => Dataset::elsewhere(data)?,
            (None, Some(_)) => {
                return Err(FederationError::Config(
                    "data.path is not set: a client trains on a file of its own, as --set data.path=FILE".into(),
                ));
            }
            (Some(_), _) => Dataset::load(data, None, Some(model.tokenizer()))?,
        };
        if data.task == Task::Classification && dataset.classes().is_empty() {
            return Err(FederationError::Config(
                "data.classes is empty: where no data is, the names of the classes have to be given".into(),
            ));
        }
        let (dataset, note) = model.order_classes(dataset, data, lora)?;
        let dataset = Arc::new(dataset);
        let trainer = Arc::new(Trainer::new(model, lora, dataset.classes().len(), run.seed)?);
        let mut split = Partition::elsewhere(names);
        if let Some(own) = own {
            split = split.with_site(own, &dataset, data, run.seed)?;
        }
        let shards = ClientData::new(trainer, dataset, Arc::new(split), data.clone()).with_note(note);
        let shards = if own.is_none() { shards.evaluated_on_all() } else { shards };
        Ok(Arc::new(shards.with_evaluation_sample(server.eval_records, run.seed)))
    }

    /// Every client's text with the trainer that works on it. Blocking.
    ///
    /// # Errors
    /// The error of the model, the adapter's start, the data or its partition.
    pub fn shards(&self, config: &Config) -> Result<Arc<ClientData>, FederationError> {
        let Config { model, lora, data, partition, run, server, .. } = config;
        let key = json!([model, lora, data, partition, run.seed, server.eval_records]);
        self.shards.get(key, || {
            let model = self.model(config)?;
            let (dataset, note) = self.order_classes(config)?;
            let trainer = Arc::new(Trainer::new(model, lora, dataset.classes().len(), run.seed)?);
            let split = Arc::new(data::partition(&dataset, partition, data, run.seed)?);
            let shards = ClientData::new(trainer, dataset, split, data.clone()).with_note(note);
            Ok(Arc::new(shards.with_evaluation_sample(server.eval_records, run.seed)))
        })
    }
}

/// Loaded things of a kind by the config that they came from, the last used last.
struct Shelf<T>(Mutex<Vec<(String, Arc<T>)>>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Shelf<T> {
    /// The value under `key`; loaded if it is not here. Two that ask for the same at once wait for one loading.
    fn get(
        &self,
        key: serde_json::Value,
        load: impl FnOnce() -> Result<Arc<T>, FederationError>,
    ) -> Result<Arc<T>, FederationError> {
        let key = key.to_string();
        // A loading that panicked has put nothing on the shelf.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(known, _)| *known == key).map(|at| kept.remove(at));
        let (key, thing) = match found {
            Some(found) => found,
            None => (key, load()?),
        };
        kept.push((key, thing.clone()));
        if kept.len() > KEPT {
            kept.remove(0);
        }
        Ok(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_share_what_their_configs_have_in_common_and_nothing_else() {
        let inputs = Inputs::default();
        let of = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            inputs.shards(&config).unwrap()
        };
        let first = of(|_| {});
        assert!(Arc::ptr_eq(&first, &of(|config| config.client.lr = 1.0)));
        let rank = of(|config| config.lora.rank = 1);
        assert!(!Arc::ptr_eq(&first, &rank));
        assert!(Arc::ptr_eq(first.trainer().model(), rank.trainer().model()));
        let sample = of(|config| config.server.eval_records = 9);
        assert_eq!((sample.evaluated_records(), sample.held_out_records()), (9, first.evaluated_records()));
        assert!(!Arc::ptr_eq(&first, &of(|config| config.run.seed = 2)));
        assert!(inputs.shards.0.lock().unwrap().len() <= KEPT && inputs.models.0.lock().unwrap().len() == 1);
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_a_failure_is_not_kept() {
        let shelf = Shelf::default();
        let load = |key: u32| shelf.get(json!(key), || Ok(Arc::new(key)));
        assert!(shelf.get(json!(0), || Err(FederationError::Root)).is_err());
        for key in [0, 1, 2, 3, 0, 4] {
            assert_eq!(*load(key).unwrap(), key);
        }
        let kept: Vec<String> = shelf.0.lock().unwrap().iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(kept, ["2", "3", "0", "4"]);
    }
}
