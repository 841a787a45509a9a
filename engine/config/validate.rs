//! The checks of values, done once before anything starts. What needs a file, a model or a policy is checked by its room.

use std::fmt::Display;
use std::net::SocketAddr;

use super::{Config, ConfigError};
use crate::policy::PolicyError;

/// Checks every value; the first bad one is the error.
pub fn validate(config: &Config) -> Result<(), ConfigError> {
    run(config)?;
    model(config)?;
    config.data.validate()?;
    clients(config)?;
    server(config)?;
    local(config)?;
    policies(config)?;
    privacy(config)?;
    if let Some(listen) = &config.metrics.listen {
        let parses = listen.parse::<SocketAddr>().is_ok();
        ensure(parses, "metrics.listen", listen, "an address with a port, such as 127.0.0.1:9464")?;
    }
    Ok(())
}

fn run(config: &Config) -> Result<(), ConfigError> {
    let name = &config.run.name;
    let plain = !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != "..";
    ensure(plain, "run.name", format!("`{name}`"), "a name without slashes, as a directory is named after it")?;
    ensure(config.run.rounds >= 1, "run.rounds", config.run.rounds, "at least 1")
}

fn model(config: &Config) -> Result<(), ConfigError> {
    let device = config.model.device.as_str();
    let number = device.strip_prefix("cuda:").is_some_and(|number| number.parse::<u16>().is_ok());
    ensure(matches!(device, "auto" | "cpu") || number, "model.device", format!("`{device}`"), "auto, cpu or cuda:N")?;
    let lora = &config.lora;
    ensure(lora.rank >= 1, "lora.rank", lora.rank, "at least 1")?;
    positive("lora.alpha", lora.alpha)?;
    ensure((0.0..1.0).contains(&lora.dropout), "lora.dropout", lora.dropout, "in [0, 1)")?;
    ensure(!lora.targets.is_empty(), "lora.targets", "empty", "at least one layer, such as q_proj")
}

fn clients(config: &Config) -> Result<(), ConfigError> {
    let partition = &config.partition;
    partition.validate()?;
    let cohort = config.server.cohort;
    ensure(cohort >= 1, "server.cohort", cohort, "at least 1")?;
    if partition.clients > 0 {
        let allowed = format!("at most partition.clients, {}", partition.clients);
        ensure(cohort <= partition.clients, "server.cohort", cohort, allowed)?;
    }
    Ok(())
}

/// The longest time that a setting may ask for, seconds: about 30 years, which every clock can add to today.
const LONGEST_S: f64 = 1e9;

fn server(config: &Config) -> Result<(), ConfigError> {
    let server = &config.server;
    positive("server.lr", server.lr)?;
    ensure((0.0..1.0).contains(&server.ema_decay), "server.ema_decay", server.ema_decay, "in [0, 1)")?;
    ensure((0.0..1.0).contains(&server.momentum), "server.momentum", server.momentum, "in [0, 1)")?;
    ensure((0.0..1.0).contains(&server.beta2), "server.beta2", server.beta2, "in [0, 1)")?;
    positive("server.tau", server.tau)?;
    let deadline = server.deadline_s;
    let allowed = format!("a number of seconds in [0, {LONGEST_S}]");
    ensure((0.0..=LONGEST_S).contains(&deadline), "server.deadline_s", deadline, allowed)?;
    share("server.quorum", server.quorum)?;
    let beyond = server.over_selection;
    ensure(beyond.is_finite() && beyond >= 0.0, "server.over_selection", beyond, "a finite number, 0 or more")?;
    not_negative("server.max_update_norm", server.max_update_norm)
}

fn local(config: &Config) -> Result<(), ConfigError> {
    let client = &config.client;
    positive("client.lr", client.lr)?;
    ensure((0.0..1.0).contains(&client.momentum), "client.momentum", client.momentum, "in [0, 1)")?;
    not_negative("client.weight_decay", client.weight_decay)?;
    ensure(client.batch >= 1, "client.batch", client.batch, "at least 1")?;
    not_negative("client.max_grad_norm", client.max_grad_norm)?;
    ensure(
        client.steps >= 1 || client.epochs >= 1,
        "client.epochs",
        client.epochs,
        "at least 1, as client.steps is 0",
    )?;
    tiers(config)
}

fn privacy(config: &Config) -> Result<(), ConfigError> {
    let privacy = &config.privacy;
    not_negative("privacy.clip", privacy.clip)?;
    positive("privacy.noise_multiplier", privacy.noise_multiplier)?;
    ensure(privacy.delta > 0.0 && privacy.delta < 1.0, "privacy.delta", privacy.delta, "in (0, 1)")?;
    let budget = privacy.budget;
    ensure(budget.is_finite() && budget >= 0.0, "privacy.budget", budget, "a finite number, 0 or more")?;
    let hides_all = !(privacy.is_on() && config.lora.residual);
    ensure(hides_all, "lora.residual", true, "false with privacy.clip, as what aggregation leaves over is not clipped")
}

/// How far the shares of all tiers may be from 1 together: thirds written with a few digits are meant as thirds.
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
    share("download.density", config.download.density)?;
    share("upload.density", config.upload.density)?;
    let decay = config.upload.error_decay;
    ensure((0.0..=1.0).contains(&decay), "upload.error_decay", decay, "in [0, 1]")?;
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
    let limits = &config.limits;
    ensure(limits.memory_mb >= 1, "limits.memory_mb", limits.memory_mb, "at least 1")?;
    ensure(limits.deadline_ms >= 1, "limits.deadline_ms", limits.deadline_ms, "at least 1")?;
    ensure(limits.output_mb >= 1, "limits.output_mb", limits.output_mb, "at least 1")?;
    ensure(limits.parts >= 1, "limits.parts", limits.parts, "at least 1")?;
    ensure(limits.handles >= 1, "limits.handles", limits.handles, "at least 1")?;
    ensure(limits.state_mb >= 1, "limits.state_mb", limits.state_mb, "at least 1")?;
    ensure(limits.component_mb >= 1, "limits.component_mb", limits.component_mb, "at least 1")
}

fn share(key: &str, value: f64) -> Result<(), ConfigError> {
    ensure(value > 0.0 && value <= 1.0, key, value, "in (0, 1]")
}

fn positive(key: &str, value: f32) -> Result<(), ConfigError> {
    ensure(value.is_finite() && value > 0.0, key, value, "a finite number above 0")
}

fn not_negative(key: &str, value: f32) -> Result<(), ConfigError> {
    ensure(value.is_finite() && value >= 0.0, key, value, "a finite number, 0 or more")
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
    use super::*;

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
        assert_eq!(message(|c| c.run.rounds = 0), "run.rounds is 0, it must be at least 1");
        assert_eq!(message(|c| c.server.quorum = 0.0), "server.quorum is 0, it must be in (0, 1]");
        assert_eq!(
            message(|c| c.server.deadline_s = 1e20),
            "server.deadline_s is 100000000000000000000, it must be a number of seconds in [0, 1000000000]"
        );
        assert!(message(|c| c.server.deadline_s = f64::NAN).starts_with("server.deadline_s is NaN"));
        assert_eq!(message(|c| c.client.lr = f32::INFINITY), "client.lr is inf, it must be a finite number above 0");
        assert_eq!(message(|c| c.client.batch = 0), "client.batch is 0, it must be at least 1");
        assert!(
            message(|c| c.server.cohort = 25).contains("server.cohort is 25, it must be at most partition.clients, 24")
        );
        assert!(message(|c| c.metrics.listen = Some("nine".into())).contains("metrics.listen is nine"));
        assert!(message(|c| c.data.validation = 1.0).contains("data.validation is 1"));
        assert!(message(|c| c.model.device = "gpu".into()).contains("`gpu`"));
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
}
