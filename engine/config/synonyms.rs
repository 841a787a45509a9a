//! Names that other tools give to our keys: a key that does not exist in, the one that is meant out.

/// The field's words for a key, by the key. A word without a section may stand in any; where a section has its own meaning
/// of a word, the entry with that section comes first.
const SYNONYMS: &[(&str, &[&str])] = &[
    (
        "run.rounds",
        &["num_rounds", "n_rounds", "num_server_rounds", "communication_rounds", "max_rounds", "total_rounds"],
    ),
    ("run.byte_budget", &["byte_limit", "communication_budget", "comm_budget", "bytes_budget", "max_bytes"]),
    ("run.seed", &["random_seed", "random_state"]),
    ("run.out", &["output_dir", "out_dir", "save_dir", "log_dir"]),
    ("run.threads", &["num_threads", "workers", "num_workers", "num_cpus", "client_resources"]),
    (
        "model.path",
        &["name_or_path", "model_name_or_path", "model_name", "base_model", "model", "hf_model", "checkpoint"],
    ),
    ("model.dtype", &["torch_dtype", "precision", "mixed_precision"]),
    ("model.quantize", &["quantization", "load_in_8bit", "load_in_4bit"]),
    ("lora.rank", &["r", "lora_r", "lora_rank", "peft_lora_r"]),
    ("lora.alpha", &["lora_alpha", "peft_lora_alpha", "scaling"]),
    ("lora.dropout", &["lora_dropout"]),
    ("lora.targets", &["target_modules", "modules", "lora_target_modules"]),
    ("lora.rslora", &["use_rslora"]),
    ("lora.init", &["adapter", "adapter_path", "init_from", "peft_path"]),
    ("data.path", &["dataset", "dataset_name", "data_dir", "file", "train_file"]),
    (
        "data.max_tokens",
        &["max_length", "max_seq_length", "seq_length", "seq_len", "sequence_length", "block_size", "cutoff_len"],
    ),
    ("data.validation", &["val_size", "test_size", "val_set_size", "eval_split", "validation_split"]),
    ("data.template", &["prompt_template", "prompt", "chat_template"]),
    ("data.answer", &["response_template", "completion", "target"]),
    ("data.label", &["label_field", "label_column"]),
    ("data.text", &["text_field", "text_column", "dataset_text_field"]),
    (
        "partition.clients",
        &["num_partitions", "num_clients", "n_clients", "num_supernodes", "total_clients", "n_parties"],
    ),
    ("partition.kind", &["partitioner", "method", "split", "distribution"]),
    ("partition.by", &["partition_by", "label_name"]),
    ("partition.alpha", &["dirichlet_alpha", "concentration", "beta"]),
    (
        "server.cohort",
        &[
            "clients_per_round",
            "num_clients_per_round",
            "sample_clients",
            "cohort_size",
            "min_fit_clients",
            "fraction_fit",
            "fraction_train",
            "client_fraction",
            "participation",
            "participation_rate",
            "sample_rate",
        ],
    ),
    ("server.lr", &["server_learning_rate", "server_lr", "eta"]),
    ("server.quorum", &["min_available_clients", "min_completion", "accept_failures"]),
    ("server.deadline_s", &["timeout", "round_timeout", "deadline"]),
    ("server.optimizer", &["strategy", "server_optimizer"]),
    ("server.eval_every", &["eval_steps", "eval_interval", "evaluate_every", "eval_freq"]),
    ("server.eval_records", &["eval_samples", "max_eval_samples", "num_eval_samples", "eval_subset"]),
    ("client.lr", &["learning_rate", "local_lr", "client_lr", "eta_l", "learning_rate_max", "lr_max", "lrate_max"]),
    ("client.lr_schedule", &["lr_scheduler_type", "lr_scheduler", "scheduler", "learning_rate_schedule"]),
    ("client.lr_floor", &["min_lr", "lr_min", "eta_min", "learning_rate_min", "lrate_min"]),
    ("client.warmup_rounds", &["warmup", "warmup_steps", "num_warmup_steps", "warmup_ratio"]),
    ("client.epochs", &["local_epochs", "num_train_epochs", "num_epochs", "n_epochs"]),
    ("client.steps", &["local_steps", "max_steps", "num_steps", "local_iterations"]),
    (
        "client.batch",
        &["batch_size", "local_batch_size", "per_device_train_batch_size", "micro_batch_size", "train_batch_size"],
    ),
    ("client.optimizer", &["optim", "local_optimizer"]),
    ("client.max_grad_norm", &["grad_clip", "gradient_clipping", "clip_grad_norm", "max_norm"]),
    ("client.gradient_checkpointing", &["use_gradient_checkpointing", "checkpointing"]),
    ("privacy.noise_multiplier", &["sigma", "noise", "noise_scale"]),
    ("privacy.clip", &["clipping_norm", "clip_norm", "l2_norm_clip", "clipping"]),
    ("privacy.budget", &["epsilon", "target_epsilon"]),
    ("privacy.delta", &["target_delta"]),
    ("metrics.listen", &["port", "address", "metrics_port", "prometheus_port"]),
    (
        "upload.density",
        &["top_k", "topk", "k", "sparsity", "ratio", "compression", "compression_ratio", "upload_density"],
    ),
    ("upload.bits", &["quantize_bits", "num_bits", "bit_width"]),
    ("upload.policy", &["compressor", "codec"]),
    ("aggregate.policy", &["aggregator", "aggregation"]),
];

/// The key that `word` means in `section`; none where no key is called so. A key of that section comes before others.
pub(super) fn synonym(section: &str, word: &str) -> Option<String> {
    let word = word.to_lowercase().replace('-', "_");
    let meant = || SYNONYMS.iter().filter(|(_, words)| words.contains(&word.as_str())).map(|(key, _)| *key);
    let own = meant().find(|key| key.split_once('.').is_some_and(|(of, _)| of == section));
    // Both directions and both optimizers have the same keys.
    let twin = || {
        let (_, rest) = meant().next()?.split_once('.')?;
        let shared = match section {
            "download" => ["density", "bits", "policy"].contains(&rest),
            "server" => ["lr", "optimizer"].contains(&rest),
            _ => false,
        };
        shared.then(|| format!("{section}.{rest}"))
    };
    own.map(str::to_owned).or_else(twin).or_else(|| meant().next().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::keys::find;
    use super::*;

    #[test]
    fn every_synonym_is_of_a_key_and_of_one_alone() {
        let mut words = BTreeSet::new();
        for (key, others) in SYNONYMS {
            assert!(find(key).is_some(), "{key}");
            for word in *others {
                assert!(words.insert(*word), "{word} is said twice");
                let section = key.split_once('.').unwrap().0;
                assert!(find(&format!("{section}.{word}")).is_none(), "{word} is a key of its own");
            }
        }
    }
}
