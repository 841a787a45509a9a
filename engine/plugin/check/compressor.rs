//! The rules for compressors.

use std::sync::Arc;

use serde_json::Map;

use super::exchange::{Ends, Setting, instance, named};
use super::{Finding, claims, damage, hooks};
use crate::plugin::samples::{Adapter, adapters, context, delta};
use crate::policy::{Content, Direction, Policy, PolicyError};

const BITS: [u32; 7] = [32, 16, 8, 4, 3, 2, 1];
const DENSITIES: [f64; 3] = [1.0, 0.25, 1.0 / 256.0];
/// Options from here on need not do anything sensible, as long as `init` answers.
const LARGE: f64 = 1e9;

pub(super) fn findings(policy: &Arc<Policy>) -> Vec<Finding> {
    let settings = match settings(policy) {
        Ok(settings) => settings,
        Err(reason) => return vec![Finding::new("starts", Err(reason))],
    };
    let list: Vec<String> = settings.iter().map(|of| format!("{} {}", of.direction.name(), of.bits)).collect();
    let mut all = vec![Finding::new("starts", Ok(format!("direction and bits: {}", list.join(", "))))];
    let trips = round_trips(policy, &settings);
    let broken = trips.is_err();
    all.push(Finding::new("round trips", trips));
    if broken {
        return all;
    }
    all.push(Finding::new("options", options(policy, &settings)));
    all.push(Finding::new("repeats itself", repeats(policy, &settings)));
    all.push(Finding::new("remembers only what it saves", remembers(policy, &settings)));
    all.push(Finding::new("refuses damaged messages", damage::findings(policy, &settings)));
    all.push(Finding::new("survives strange values", strange_values(policy, &settings)));
    all.extend(claims::findings(policy, &settings));
    all.extend(hooks::findings(policy, &settings));
    all
}

/// Directions and bits that it takes; what it does not take it must refuse, not break on.
fn settings(policy: &Arc<Policy>) -> Result<Vec<Setting>, String> {
    let mut taken = Vec::new();
    let mut refused = String::new();
    for adapter in adapters() {
        for direction in [Direction::Download, Direction::Upload] {
            for bits in BITS {
                let setting = Setting { direction, bits };
                match instance(policy, &adapter, setting, &Map::new()) {
                    Ok(_) if !taken.contains(&setting) => taken.push(setting),
                    Ok(_) => {}
                    Err(error) if is_typed(&error) => {
                        if taken.contains(&setting) {
                            return Err(format!("{} values: {error}", adapter.values()));
                        }
                        refused = error.to_string();
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
    }
    if taken.is_empty() { Err(format!("no bits are taken: {refused}")) } else { Ok(taken) }
}

/// Whether an error leaves the instance usable.
pub(super) fn is_typed(error: &PolicyError) -> bool {
    matches!(
        error,
        PolicyError::Option { .. }
            | PolicyError::Rejected { .. }
            | PolicyError::NoUpdates { .. }
            | PolicyError::LeftOver { .. }
            | PolicyError::WrongLength { .. }
            | PolicyError::WrongSpace { .. }
    )
}

/// The setting with the most bits and the one with the fewest, of each direction.
pub(super) fn extremes(settings: &[Setting]) -> Vec<Setting> {
    let mut chosen: Vec<Setting> = Vec::new();
    for direction in [Direction::Download, Direction::Upload] {
        let of: Vec<Setting> = settings.iter().copied().filter(|setting| setting.direction == direction).collect();
        chosen.extend(of.first());
        chosen.extend(of.last().filter(|last| Some(*last) != of.first()));
    }
    chosen
}

/// Vectors of a content to send: as training leaves them, nothing at all, and a single value.
fn vectors(adapter: &Adapter, content: Content) -> [Arc<Vec<f32>>; 3] {
    let values = adapter.values();
    let mut single = vec![0.0; values];
    single[values / 2] = 1.0;
    if content == Content::Weights {
        return [adapter.weights(5), adapter.start.clone(), Arc::new(single)];
    }
    [delta(values, 5), Arc::new(vec![0.0; values]), Arc::new(single)]
}

fn round_trips(policy: &Arc<Policy>, settings: &[Setting]) -> Result<String, String> {
    let (mut count, mut refused) = (0, None);
    for adapter in adapters() {
        for setting in extremes(settings) {
            let mut ends = Ends::new(policy, &adapter, setting, &Map::new())?;
            for content in setting.contents() {
                for density in DENSITIES {
                    let context = context(*content, density);
                    for vector in vectors(&adapter, *content) {
                        let result = ends.exchange(&context, &vector);
                        let usable = !ends.encoder.poisoned() && !ends.decoder.poisoned();
                        match result {
                            Ok(_) => count += 1,
                            Err(reason) if *content == Content::Difference && usable => refused = Some(reason),
                            Err(reason) => return Err(format!("{}: {reason}", named(&adapter, setting, &context))),
                        }
                    }
                }
            }
        }
    }
    let note = refused.map(|reason| format!("; differences are refused: {reason}")).unwrap_or_default();
    Ok(format!("{count} messages{note}"))
}

fn options(policy: &Arc<Policy>, settings: &[Setting]) -> Result<String, String> {
    let adapter = &adapters()[2];
    let mut count = 0;
    for (name, edges) in policy.option_edges() {
        for value in edges {
            let what = format!("{name} = {value}");
            let options = Map::from_iter([(name.to_owned(), value.clone())]);
            for setting in extremes(settings) {
                match instance(policy, adapter, setting, &options) {
                    Ok(_) => {}
                    Err(error) if is_typed(&error) => continue,
                    Err(error) => return Err(format!("{what}: {error}")),
                }
                count += 1;
                if value.as_f64().is_some_and(|number| number.abs() >= LARGE) {
                    continue;
                }
                let mut ends = Ends::new(policy, adapter, setting, &options)?;
                let content = setting.contents()[0];
                let exchanged = ends.exchange(&context(content, 0.25), &vectors(adapter, content)[0]);
                exchanged.map_err(|reason| format!("{what}: {reason}"))?;
            }
        }
    }
    Ok(if policy.options.is_empty() { "it has none".into() } else { format!("{count} values at the edges") })
}

/// The frames of three rounds, each end remembering what it saves.
fn three_rounds(ends: &mut Ends<'_>, content: Content) -> Result<Vec<Vec<u8>>, String> {
    let mut frames = Vec::new();
    for round in 1..=3 {
        let mut context = context(content, 0.25);
        context.round = round;
        context.last_seen = context.client.and(round.checked_sub(1).filter(|last| *last > 0));
        let exchanged = ends.exchange(&context, &vector(ends.adapter, content, round))?;
        frames.push(exchanged.frame);
        frames.push(exchanged.decoded.iter().flat_map(|value| value.to_le_bytes()).collect());
    }
    Ok(frames)
}

fn vector(adapter: &Adapter, content: Content, round: u32) -> Arc<Vec<f32>> {
    let seed = u64::from(round) + 10;
    if content == Content::Weights { adapter.weights(seed) } else { delta(adapter.values(), seed) }
}

fn repeats(policy: &Arc<Policy>, settings: &[Setting]) -> Result<String, String> {
    let adapter = &adapters()[3];
    for setting in extremes(settings) {
        let content = setting.contents()[0];
        let run = || three_rounds(&mut Ends::new(policy, adapter, setting, &Map::new())?, content);
        if run()? != run()? {
            return Err(format!("two fresh instances differ, {:?}", setting).to_lowercase());
        }
    }
    Ok("three rounds, twice, the same bytes and values".into())
}

/// What an instance knows and its memory does not is lost when the instance goes, and wrong when a round is taken back.
fn remembers(policy: &Arc<Policy>, settings: &[Setting]) -> Result<String, String> {
    let adapter = &adapters()[3];
    for setting in extremes(settings) {
        let content = setting.contents()[0];
        let mut ends = Ends::new(policy, adapter, setting, &Map::new())?;
        let expected = three_rounds(&mut Ends::new(policy, adapter, setting, &Map::new())?, content)?;
        let before = (ends.sender.clone(), ends.receiver.clone());
        three_rounds(&mut ends, content)?;
        (ends.sender, ends.receiver) = before;
        if three_rounds(&mut ends, content)? != expected {
            return Err(
                format!("an instance that is set back three rounds goes on otherwise, {setting:?}").to_lowercase()
            );
        }
        let mut moving = Ends::new(policy, adapter, setting, &Map::new())?;
        if moved_each_round(policy, &mut moving, setting, content)? != expected {
            return Err(format!("an instance that only has the memory goes on otherwise, {setting:?}").to_lowercase());
        }
    }
    Ok("rounds taken back, and a fresh instance with the memory from bytes".into())
}

/// Three rounds, each with instances that know nothing but the memories, which went through bytes.
fn moved_each_round(
    policy: &Arc<Policy>,
    ends: &mut Ends<'_>,
    setting: Setting,
    content: Content,
) -> Result<Vec<Vec<u8>>, String> {
    let mut frames = Vec::new();
    for round in 1..=3 {
        let mut fresh = Ends::new(policy, ends.adapter, setting, &Map::new())?;
        for (to, from) in [(&mut fresh.sender, &ends.sender), (&mut fresh.receiver, &ends.receiver)] {
            *to = Arc::new(crate::policy::Entries::from_bytes(&from.to_bytes()).map_err(|error| error.to_string())?);
        }
        let mut context = context(content, 0.25);
        context.round = round;
        context.last_seen = context.client.and(round.checked_sub(1).filter(|last| *last > 0));
        let exchanged = fresh.exchange(&context, &vector(ends.adapter, content, round))?;
        frames.push(exchanged.frame);
        frames.push(exchanged.decoded.iter().flat_map(|value| value.to_le_bytes()).collect());
        (ends.sender, ends.receiver) = (fresh.sender, fresh.receiver);
    }
    Ok(frames)
}

/// Training that diverged gives such vectors; the receiver refuses what arrives, but nobody may break.
fn strange_values(policy: &Arc<Policy>, settings: &[Setting]) -> Result<String, String> {
    let adapter = &adapters()[2];
    for setting in extremes(settings) {
        let mut ends = Ends::new(policy, adapter, setting, &Map::new())?;
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE / 4.0] {
            for all in [false, true] {
                let content = setting.contents()[0];
                let mut values = vector(adapter, content, 1).to_vec();
                if all {
                    values.fill(strange)
                } else {
                    values[7] = strange
                }
                let sent = ends.encode(&context(content, 0.25), &Arc::new(values));
                let received = sent.and_then(|(message, _)| ends.decode(&context(content, 0.25), message));
                match received {
                    Err(error) if !is_typed(&error) => return Err(format!("{strange:?}: {error}")),
                    _ => {}
                }
            }
        }
    }
    Ok("not a number, infinities, the largest and the smallest".into())
}
