//! Unknown keys: the keys of a layer in; the first one that is none of ours, with the known key that is nearest to it, out.

use figment::value::Dict;

use super::ConfigError;
use super::keys::{KEYS, find};
use super::synonyms::synonym;

/// Checks every key of a layer. `origin` tells where a dotted key of this layer was found.
pub fn check(layer: &Dict, origin: impl Fn(&str) -> String) -> Result<(), ConfigError> {
    let refuse = |key: String| {
        let nearest = nearest(&key);
        Err(ConfigError::UnknownKey { origin: origin(&key), nearest, key })
    };
    for (section, value) in layer {
        let Some(keys) = value.as_dict().filter(|_| is_section(section)) else {
            let first = value.as_dict().and_then(|keys| keys.keys().next());
            return refuse(first.map_or_else(|| section.clone(), |first| format!("{section}.{first}")));
        };
        for key in keys.keys() {
            let dotted = format!("{section}.{key}");
            if find(&dotted).is_none() {
                return refuse(dotted);
            }
        }
    }
    Ok(())
}

/// True for a section of the config.
pub fn is_section(section: &str) -> bool {
    KEYS.iter().any(|key| key.parts().0 == section)
}

fn section_of(key: &str) -> &str {
    key.split_once('.').map_or(key, |(section, _)| section)
}

fn nearest(key: &str) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    if let Some(meant) = synonym(section_of(key), &last(key)) {
        return meant;
    }
    let score = |known: &str| {
        let whole = strsim::normalized_damerau_levenshtein(key, known);
        // A right key in a wrong section is as likely as a typo.
        let tail = strsim::normalized_damerau_levenshtein(&last(key), &last(known)) * 0.95;
        let head = if section_of(key) == section_of(known) { 0.02 } else { 0.0 };
        whole.max(tail) + head
    };
    let best = KEYS.iter().max_by(|a, b| score(a.name).total_cmp(&score(b.name)));
    best.map(|key| key.name.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_through_typos_and_wrong_sections() {
        assert_eq!(nearest("server.cohrt"), "server.cohort");
        assert_eq!(nearest("sever.cohort"), "server.cohort");
        assert_eq!(nearest("run.cohort"), "server.cohort");
        assert_eq!(nearest("upload.densty"), "upload.density");
    }

    #[test]
    fn the_fields_own_words_are_understood() {
        for (word, key) in [
            ("client.learning_rate", "client.lr"),
            ("server.learning_rate", "server.lr"),
            ("server.server_learning_rate", "server.lr"),
            ("lora.r", "lora.rank"),
            ("lora.lora_alpha", "lora.alpha"),
            ("run.num_rounds", "run.rounds"),
            ("run.num_server_rounds", "run.rounds"),
            ("client.local_epochs", "client.epochs"),
            ("client.batch_size", "client.batch"),
            ("server.clients_per_round", "server.cohort"),
            ("server.fraction_fit", "server.cohort"),
            ("partition.num_partitions", "partition.clients"),
            ("upload.top_k", "upload.density"),
            ("download.sparsity", "download.density"),
            ("model.name_or_path", "model.path"),
            ("training.learning_rate", "client.lr"),
        ] {
            assert_eq!(nearest(word), key);
            assert!(find(key).is_some(), "{key}");
        }
    }
}
