//! The checks of values, done once before anything starts. What needs a file, a model or a policy is checked by its room.

use std::fmt::Display;

use figment::value::Value;

use super::keys::KEYS;
use super::{Config, ConfigError};
use crate::policy::PolicyError;

/// Checks every value; the first bad one is the error.
pub fn validate(config: &Config) -> Result<(), ConfigError> {
    ranges(config, |_| true)?;
    run(config)?;
    model(config)?;
    config.data.validate()?;
    clients(config)?;
    local(config)?;
    policies(config)?;
    if let Some(listen) = &config.metrics.listen {
        let allowed = "an address with a port: 127.0.0.1:9464 for this machine alone, 0.0.0.0:9464 for everybody";
        ensure(is_address(listen), "metrics.listen", format!("`{listen}`"), allowed)?;
    }
    let hides_all = !(config.privacy.is_on() && config.lora.residual);
    ensure(hides_all, "lora.residual", true, "false with privacy.clip, as what aggregation leaves over is not clipped")
}

/// Checks the sections `data` and `partition` alone.
pub fn validate_data(config: &Config) -> Result<(), ConfigError> {
    ranges(config, |section| ["data", "partition"].contains(&section))?;
    config.data.validate()?;
    Ok(config.partition.validate()?)
}

/// Checks every number of some sections; the first one outside of its range is the error.
fn ranges(config: &Config, of: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
    let Ok(values) = Value::serialize(config) else { return Ok(()) };
    for key in KEYS.iter().filter(|key| of(key.parts().0)) {
        // An optional key that is not set is not there.
        let (Some(range), Some(value)) = (key.range, values.find_ref(key.name)) else { continue };
        if let Some(found) = range.first_outside(value) {
            ensure(false, key.name, found, format!("in {range}"))?;
        }
    }
    Ok(())
}

/// `host:port`, the host being a name, an IPv4 address or an IPv6 address in brackets. Whether it can be had is only known
/// when it is asked for.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_one = match inside {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.chars().all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '.' | '-' | '_'))
        }
    };
    host_is_one && port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn run(config: &Config) -> Result<(), ConfigError> {
    let name = &config.run.name;
    let plain = !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != "..";
    ensure(plain, "run.name", format!("`{name}`"), "a name without slashes, as a directory is named after it")
}

fn model(config: &Config) -> Result<(), ConfigError> {
    let device = config.model.device.as_str();
    let allowed = "auto, cpu, gpu, cuda or cuda:N";
    ensure(config.model.names_a_device(), "model.device", format!("`{device}`"), allowed)?;
    ensure(!config.lora.targets.is_empty(), "lora.targets", "empty", "at least one layer, such as q_proj")
}

fn clients(config: &Config) -> Result<(), ConfigError> {
    let partition = &config.partition;
    partition.validate()?;
    let cohort = config.server.cohort;
    if partition.clients > 0 {
        let allowed = format!("at most partition.clients, {}", partition.clients);
        ensure(cohort <= partition.clients, "server.cohort", cohort, allowed)?;
    }
    Ok(())
}

fn local(config: &Config) -> Result<(), ConfigError> {
    let client = &config.client;
    ensure(
        client.steps >= 1 || client.epochs >= 1,
        "client.epochs",
        client.epochs,
        "at least 1, as client.steps is 0",
    )?;
    let (lr, floor) = (client.lr, client.lr_floor);
    ensure(lr as f32 > 0.0, "client.lr", lr, "at least 1e-45, the least of single precision")?;
    ensure(floor <= lr, "client.lr_floor", floor, format!("at most client.lr, {lr}"))?;
    let (warmup, rounds) = (client.warmup_rounds, config.run.rounds);
    ensure(warmup <= rounds, "client.warmup_rounds", warmup, format!("at most run.rounds, {rounds}"))?;
    tiers(config)
}

/// The tolerance on the sum of all tiers' shares, which is 1: thirds written with a few digits are meant as thirds.
const SHARES: f64 = 1e-3;

fn tiers(config: &Config) -> Result<(), ConfigError> {
    let tiers = &config.client.tiers;
    for (number, tier) in tiers.iter().enumerate() {
        let key = |name: &str| format!("client.tiers[{number}].{name}");
        let within = |share: f64| share > 0.0 && share <= 1.0;
        ensure(within(tier.share), &key("share"), tier.share, "in (0, 1]")?;
        let density = tier.density.unwrap_or(1.0);
        ensure(within(density), &key("density"), density, "in (0, 1]")?;
        let (rank, whole) = (tier.rank as usize, config.lora.rank);
        ensure(rank <= whole, &key("rank"), rank, format!("at most lora.rank, {whole}; 0 is the whole"))?;
    }
    let sum: f64 = tiers.iter().map(|tier| tier.share).sum();
    ensure(tiers.is_empty() || (sum - 1.0).abs() <= SHARES, "the sum of client.tiers.share", sum, "1")
}

fn policies(config: &Config) -> Result<(), ConfigError> {
    let decay = config.download.error_decay;
    ensure(decay == 1.0, "download.error_decay", decay, "1, as what the clients do not have stays in the difference")?;
    for (key, policy) in [
        ("download.policy", &config.download.policy),
        ("upload.policy", &config.upload.policy),
        ("aggregate.policy", &config.aggregate.policy),
    ] {
        ensure(!policy.is_empty(), key, "empty", "a built-in name or the path of a component")?;
    }
    if let Err(PolicyError::Setting { key, found, allowed }) = config.policy.validate() {
        ensure(false, key, format!("`{found}`"), allowed)?;
    }
    Ok(())
}

fn ensure(holds: bool, key: &str, found: impl Display, allowed: impl Into<String>) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError::Value {
        key: key.into(),
        found: found.to_string(),
        allowed: allowed.into(),
        origin: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::keys::{Key, find};
    use super::super::parse::defaults;
    use super::super::{Layers, Override};
    use super::*;

    /// Values that anybody can write and nobody means.
    const EXTREMES: [&str; 12] = [
        "0",
        "1",
        "-1",
        "1e20",
        "1e308",
        "1e-308",
        "4294967295",
        "18446744073709551615",
        "9223372036854775807",
        "0.5",
        "nan",
        "inf",
    ];

    fn message(change: fn(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        validate(&config).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid() {
        validate(&Config::default()).unwrap();
    }

    #[test]
    fn a_value_outside_its_range_is_named_with_what_is_allowed() {
        assert_eq!(message(|c| c.upload.density = 0.0), "upload.density is 0, it must be in (0, 1]");
        assert_eq!(message(|c| c.download.density = 1.5), "download.density is 1.5, it must be in (0, 1]");
        assert_eq!(message(|c| c.download.density = f64::NAN), "download.density is NaN, it must be in (0, 1]");
        assert_eq!(message(|c| c.run.rounds = 0), "run.rounds is 0, it must be in [1, 1000000]");
        assert_eq!(message(|c| c.server.quorum = 0.0), "server.quorum is 0, it must be in (0, 1]");
        assert!(
            message(|c| c.server.deadline_s = 1e20).starts_with("server.deadline_s is 100000000000000000000, it must")
        );
        assert!(message(|c| c.server.deadline_s = f64::NAN).starts_with("server.deadline_s is NaN"));
        assert_eq!(message(|c| c.client.lr = f64::INFINITY), "client.lr is inf, it must be in (0, 1000000]");
        assert!(message(|c| c.client.lr = 1e-300).starts_with("client.lr is 0.000"));
        assert_eq!(message(|c| c.client.lr_floor = 0.5), "client.lr_floor is 0.5, it must be at most client.lr, 0.005");
        let warmup = message(|c| c.client.warmup_rounds = 31);
        assert_eq!(warmup, "client.warmup_rounds is 31, it must be at most run.rounds, 30");
        assert_eq!(message(|c| c.client.batch = 0), "client.batch is 0, it must be in [1, 65536]");
        assert!(
            message(|c| c.server.cohort = 25).contains("server.cohort is 25, it must be at most partition.clients, 24")
        );
        assert!(message(|c| c.data.validation = 1.0).contains("data.validation is 1"));
        assert!(message(|c| c.model.device = "mps".into()).contains("`mps`, it must be auto, cpu, gpu"));
        assert!(message(|c| c.run.name = "a/b".into()).contains("a/b"));
        assert_eq!(message(|c| c.privacy.delta = 1.0), "privacy.delta is 1, it must be in (0, 1)");
        assert!(message(|c| c.privacy.noise_multiplier = 0.0).contains("privacy.noise_multiplier is 0"));
        assert!(message(|c| c.privacy.budget = -1.0).contains("privacy.budget is -1"));
        assert!(message(|c| c.policy.allow = vec!["flasc".into()]).contains("policy.allow is `flasc`"));
        assert!(message(|c| c.policy.keys = vec!["x".into()]).contains("policy.keys is `x`"));
        assert_eq!(message(|c| c.upload.error_decay = 1.5), "upload.error_decay is 1.5, it must be in [0, 1]");
        assert!(message(|c| c.download.error_decay = 0.5).starts_with("download.error_decay is 0.5, it must be 1"));
    }

    #[test]
    fn the_metrics_are_served_at_a_host_with_a_port() {
        for good in ["127.0.0.1:9464", "localhost:9464", "[::1]:0", "0.0.0.0:65535", "my-host.example:80"] {
            assert!(is_address(good), "{good}");
        }
        for bad in
            ["", "nine", "9464", ":9464", "127.0.0.1", "::1:9464", "[::1]", "[x]:1", "a b:1", "host:65536", "host:+1"]
        {
            assert!(!is_address(bad), "{bad}");
        }
        let error = message(|c| c.metrics.listen = Some(":9464".into()));
        assert!(
            error.starts_with("metrics.listen is `:9464`, it must be an address with a port: 127.0.0.1:9464"),
            "{error}"
        );
    }

    #[test]
    fn tiers_must_share_all_clients_and_fit_the_adapter() {
        let with = |text: &str| {
            let config = Config { client: toml::from_str(text).unwrap(), ..Config::default() };
            validate(&config).map_err(|error| error.to_string())
        };
        let two = |share: f64| format!("tiers = [{{ share = {share}, density = 0.1 }}, {{ share = 0.5, rank = 2 }}]");
        assert_eq!(with(&two(0.5)), Ok(()));
        assert_eq!(with(&two(0.25)).unwrap_err(), "the sum of client.tiers.share is 0.75, it must be 1");
        assert_eq!(with(&two(0.0)).unwrap_err(), "client.tiers[0].share is 0, it must be in (0, 1]");
        let error = with("tiers = [{ density = 2.0 }]").unwrap_err();
        assert_eq!(error, "client.tiers[0].density is 2, it must be in (0, 1]");
        let error = with("tiers = [{ rank = 9 }]").unwrap_err();
        assert_eq!(error, "client.tiers[0].rank is 9, it must be at most lora.rank, 8; 0 is the whole");
        assert!(toml::from_str::<Config>("[client]\ntiers = [{ ranks = 9 }]").is_err());
    }

    #[test]
    fn every_number_at_every_extreme_is_in_its_range_or_refused_with_key_value_and_limit() {
        let defaults = Value::from(defaults());
        let is_number = |key: &&Key| matches!(defaults.find_ref(key.name), Some(Value::Num(..)));
        let keys: Vec<&Key> = KEYS.iter().filter(is_number).collect();
        assert!(keys.len() > 45, "{keys:?}");
        for Key { name: key, range, .. } in keys {
            for extreme in EXTREMES {
                let set = Override::parse(&format!("{key}={extreme}")).unwrap();
                let Err(error) = (Layers { overrides: vec![set], ..Layers::default() }).load() else {
                    let number: f64 = extreme.parse().unwrap();
                    let narrowed = f64::from(number as f32);
                    assert!(range.is_none_or(|range| range.holds(number) || range.holds(narrowed)), "{key}={extreme}");
                    continue;
                };
                let text = error.to_string();
                // A value in its range may still be refused by a key that asks for more, which names both.
                let own = text.starts_with(key) && text.contains("(--set)");
                assert!(own || text.contains(&format!("{key}, {extreme}")), "{key}={extreme}: {text}");
                let said = text.contains(" it must be ") || text.contains("expected") || text.contains("allowed:");
                assert!(said, "{key}={extreme}: {text}");
            }
        }
    }

    #[test]
    fn whoever_looks_at_data_alone_has_the_ranges_of_data_alone() {
        let mut config = Config::default();
        config.server.cohort = 0;
        validate_data(&config).unwrap();
        config.partition.alpha = 1e-9;
        let error = validate_data(&config).unwrap_err().to_string();
        assert_eq!(error, "partition.alpha is 0.000000001, it must be in [0.000001, 1000000000]");
    }

    #[test]
    fn numbers_inside_lists_and_tables_have_a_range_too() {
        let refused = |text: &str| {
            let set = vec![Override::parse(text).unwrap()];
            Layers { overrides: set, ..Layers::default() }.load().unwrap_err().to_string()
        };
        let error = refused("lora.rank_pattern={ q_proj = 4294967295 }");
        assert_eq!(error, "lora.rank_pattern is 4294967295, it must be in [1, 4096] (--set)");
        let error = refused("lora.alpha_pattern={ q_proj = nan }");
        assert_eq!(error, "lora.alpha_pattern is NaN, it must be in (0, 1000000] (--set)");
        let error = refused("partition.partition_sizes=1,18446744073");
        assert_eq!(error, "partition.partition_sizes is 18446744073, it must be in [0, 1000000000] (--set)");
        assert_eq!(find("server.max_update_norm").unwrap().range.unwrap().to_string(), "[0, 1e18]");
    }
}
