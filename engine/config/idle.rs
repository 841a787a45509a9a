//! Keys that were set and change nothing, because another key says so: a run would be the same without them, and whoever set
//! them thinks otherwise.

use figment::value::Value;

use super::Config;
use crate::data::partition::Kind;
use crate::data::{Format, Task};
use crate::server::OptimizerKind as ServerOptimizer;
use crate::trainer::{LearningRates, LrSchedule, OptimizerKind, TrainerKind};

/// One sentence for each key that is not at its default and has no effect, in the order of the sections.
pub(super) fn idle(config: &Config) -> Vec<String> {
    let (Ok(now), Ok(default)) = (Value::serialize(config), Value::serialize(Config::default())) else {
        return Vec::new();
    };
    let rules = [data(config), partition(config), server(config), client(config), directions(config), privacy(config)];
    let is_set = |key: &str| now.find_ref(key) != default.find_ref(key);
    let mut said: Vec<String> = rules
        .into_iter()
        .flatten()
        .filter(|(key, _)| is_set(key))
        .map(|(key, because)| format!("{key} has no effect: {because}"))
        .collect();
    if config.data.answer.is_some() && config.data.task == Task::Text {
        said.push("data.answer is learned with all that stands before it: data.task is text, not instruction".into());
    }
    let trains = config.client.trainer == TrainerKind::Burn;
    let rounds = config.run.rounds;
    if LearningRates::new(&config.client, rounds).is_some_and(|rates| rates.of(rounds) as f32 == 0.0) {
        said.push(format!("round {rounds}, the last, trains at a rate of 0 and changes nothing: client.lr_floor is 0"));
    }
    if trains && config.data.validation == 0.0 && config.server.eval_every > 0 {
        said.push("no validation loss is measured: data.validation is 0".into());
    }
    said
}

/// Keys with the reason for which they change nothing.
type Idle = Vec<(&'static str, String)>;

/// `keys` where `idle` holds, for one reason.
fn when(idle: bool, keys: &[&'static str], because: &str) -> Idle {
    keys.iter().filter(|_| idle).map(|key| (*key, because.to_owned())).collect()
}

fn data(config: &Config) -> Idle {
    let data = &config.data;
    let pictures = matches!(data.format, Format::ImageFolder | Format::Cifar10);
    let named = [Some(&data.template), data.answer.as_ref()].into_iter().flatten().any(|text| text.contains("{text}"));
    let task = format!("data.task is {}", data.task.name());
    [
        when(data.path.is_none(), &["data.format"], "data.path is not set"),
        when(pictures, &["data.template", "data.text", "data.label"], "records are pictures"),
        when(!pictures && !named, &["data.text"], "no template has {text}"),
        when(data.task != Task::Classification, &["data.label", "data.classes"], &task),
    ]
    .concat()
}

fn partition(config: &Config) -> Idle {
    use Kind::{Dirichlet, Distribution, GroupedNaturalId, InnerDirichlet, Pathological, Shard, Size};
    let partition = &config.partition;
    let kind = partition.kind;
    let name = serde_json::json!(kind).as_str().unwrap_or_default().to_owned();
    let because = format!("partition.kind is {name}");
    let of = |kinds: &[Kind], keys: &[&'static str]| when(!kinds.contains(&kind), keys, &because);
    [
        when(partition.field().is_none(), &["partition.by"], &because),
        of(&[Dirichlet, InnerDirichlet], &["partition.alpha"]),
        of(&[Dirichlet], &["partition.min_partition_size", "partition.self_balancing"]),
        of(&[Size, InnerDirichlet], &["partition.partition_sizes"]),
        of(&[Pathological], &["partition.num_classes_per_partition", "partition.class_assignment_mode"]),
        of(
            &[Shard],
            &["partition.num_shards_per_partition", "partition.shard_size", "partition.keep_incomplete_shard"],
        ),
        of(&[GroupedNaturalId], &["partition.group_size", "partition.mode", "partition.sort_unique_ids"]),
        of(
            &[Distribution],
            &[
                "partition.distribution_array",
                "partition.num_unique_labels_per_partition",
                "partition.preassigned_num_samples_per_label",
                "partition.rescale",
            ],
        ),
        when(
            kind == Shard && partition.num_shards_per_partition > 0,
            &["partition.keep_incomplete_shard"],
            "partition.num_shards_per_partition says how many shards a client has",
        ),
    ]
    .concat()
}

fn server(config: &Config) -> Idle {
    use ServerOptimizer::{FedAdagrad, FedAdam, FedAvg, FedYogi};
    let optimizer = config.server.optimizer;
    let name = serde_json::json!(optimizer).as_str().unwrap_or_default().to_owned();
    let because = format!("server.optimizer is {name}");
    let never = match (config.client.trainer, config.server.eval_every) {
        (TrainerKind::Noop, _) => Some("client.trainer is noop"),
        (TrainerKind::Burn, 0) => Some("server.eval_every is 0"),
        (TrainerKind::Burn, _) => (config.data.validation == 0.0).then_some("data.validation is 0"),
    };
    [
        when(optimizer == FedAvg, &["server.momentum"], &because),
        when(!matches!(optimizer, FedAdam | FedYogi), &["server.beta2"], &because),
        when(!matches!(optimizer, FedAdam | FedYogi | FedAdagrad), &["server.tau"], &because),
        when(never.is_some(), &["server.eval_records", "server.eval_dense"], never.unwrap_or_default()),
    ]
    .concat()
}

fn client(config: &Config) -> Idle {
    const TRAINING: [&str; 12] = [
        "client.optimizer",
        "client.lr",
        "client.lr_schedule",
        "client.lr_floor",
        "client.warmup_rounds",
        "client.momentum",
        "client.weight_decay",
        "client.epochs",
        "client.steps",
        "client.batch",
        "client.max_grad_norm",
        "client.gradient_checkpointing",
    ];
    let client = &config.client;
    if client.trainer == TrainerKind::Noop {
        return when(true, &TRAINING, "client.trainer is noop");
    }
    let steps = format!("client.steps is {}, and 0 alone leaves the number of steps to the epochs", client.steps);
    [
        when(client.lr_schedule == LrSchedule::Constant, &["client.lr_floor"], "client.lr_schedule is constant"),
        when(client.optimizer != OptimizerKind::Sgd, &["client.momentum"], "client.optimizer is not sgd"),
        when(client.steps > 0, &["client.epochs"], &steps),
    ]
    .concat()
}

/// Built-in policies that send every value, whatever the density.
const WHOLE: [&str; 2] = ["dense", "eden"];

fn directions(config: &Config) -> Idle {
    let whole = |policy: &str, keys: &[&'static str]| {
        when(WHOLE.contains(&policy), keys, &format!("policy {policy} sends every value"))
    };
    [
        whole(&config.download.policy, &["download.density"]),
        whole(&config.upload.policy, &["upload.density"]),
        when(!config.upload.error_feedback, &["upload.error_decay"], "upload.error_feedback is false"),
    ]
    .concat()
}

fn privacy(config: &Config) -> Idle {
    let keys = ["privacy.noise_multiplier", "privacy.where", "privacy.delta", "privacy.budget"];
    when(!config.privacy.is_on(), &keys, "privacy.clip is 0, so there is no differential privacy")
}

#[cfg(test)]
mod tests {
    use super::super::keys::find;
    use super::super::{Layers, Override};
    use super::*;

    fn said(set: &[&str]) -> Vec<String> {
        let overrides = set.iter().map(|text| Override::parse(text).unwrap()).collect();
        Layers { overrides, ..Layers::default() }.load().unwrap().config.idle()
    }

    #[test]
    fn the_demo_has_nothing_idle() {
        assert_eq!(Config::default().idle(), Vec::<String>::new());
    }

    #[test]
    fn a_key_without_its_other_key_is_said_with_the_reason() {
        assert_eq!(said(&["data.label=y"]), ["data.label has no effect: data.task is text"]);
        assert_eq!(said(&["data.label=y", "data.task=classification"]), Vec::<String>::new());
        assert_eq!(said(&["data.text=body", "data.template={q}"]), ["data.text has no effect: no template has {text}"]);
        assert_eq!(said(&["data.text=body"]), Vec::<String>::new());
        assert_eq!(
            said(&["data.answer={a}"]),
            ["data.answer is learned with all that stands before it: data.task is text, not instruction"]
        );
        assert_eq!(said(&["partition.alpha=0.1"]), ["partition.alpha has no effect: partition.kind is natural-id"]);
        assert_eq!(said(&["partition.alpha=0.1", "partition.kind=dirichlet"]), Vec::<String>::new());
        let epochs = said(&["client.epochs=3"]);
        assert!(
            epochs.len() == 1 && epochs[0].starts_with("client.epochs has no effect: client.steps is 8"),
            "{epochs:?}"
        );
        assert_eq!(said(&["client.epochs=3", "client.steps=0"]), Vec::<String>::new());
        let floor = said(&["client.lr_floor=0.001"]);
        assert_eq!(floor, ["client.lr_floor has no effect: client.lr_schedule is constant"]);
        assert_eq!(said(&["client.lr_floor=0.001", "client.lr_schedule=cosine"]), Vec::<String>::new());
        assert_eq!(
            said(&["client.lr_schedule=linear"]),
            ["round 30, the last, trains at a rate of 0 and changes nothing: client.lr_floor is 0"]
        );
        assert_eq!(
            said(&["client.lr_schedule=linear", "client.trainer=noop"]),
            ["client.lr_schedule has no effect: client.trainer is noop"]
        );
        let unseen = said(&["server.eval_records=9", "server.eval_every=0"]);
        assert_eq!(unseen, ["server.eval_records has no effect: server.eval_every is 0"]);
        assert_eq!(said(&["server.eval_records=9", "server.eval_dense=true"]), Vec::<String>::new());
        assert_eq!(said(&["server.tau=0.1"]), ["server.tau has no effect: server.optimizer is fedavgm"]);
        assert_eq!(said(&["privacy.delta=0.1"]).len(), 1);
        assert_eq!(said(&["privacy.delta=0.1", "privacy.clip=1"]), Vec::<String>::new());
        assert_eq!(said(&["upload.error_decay=0.5"]).len(), 1);
        assert_eq!(said(&["upload.density=0.1"]), Vec::<String>::new());
        let dense = said(&["upload.density=0.1", "upload.policy=dense"]);
        assert_eq!(dense, ["upload.density has no effect: policy dense sends every value"]);
        assert_eq!(said(&["client.lr=1", "client.trainer=noop"]), ["client.lr has no effect: client.trainer is noop"]);
        assert_eq!(said(&["data.validation=0"]), ["no validation loss is measured: data.validation is 0"]);
        assert_eq!(said(&["data.format=csv"]), ["data.format has no effect: data.path is not set"]);
    }

    #[test]
    fn every_rule_is_about_a_key() {
        let mut config = Config::default();
        for trainer in [TrainerKind::Noop, TrainerKind::Burn] {
            config.client.trainer = trainer;
            (config.upload.policy, config.download.policy) = ("eden".into(), "dense".into());
            let rules = [data, partition, server, client, directions, privacy].map(|rule| rule(&config));
            assert!(rules.iter().flatten().count() > 10);
            rules.iter().flatten().for_each(|(key, _)| assert!(find(key).is_some(), "{key}"));
        }
    }
}
