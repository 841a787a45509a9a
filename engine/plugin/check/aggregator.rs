//! The rules for aggregators.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Finding, LARGE};
use crate::plugin::simulation::is_typed;
use crate::plugin::synthetic::{Adapter, adapters, distance, masked_delta, norm};
use crate::policy::{AggregatorInstance, Entries, Memory, Policy, PolicyError, RoundMeta, UpdateMeta};

const COHORT: usize = 7;

pub(super) fn findings(policy: &Arc<Policy>) -> Vec<Finding> {
    let adapters = match accepted(policy) {
        Ok(adapters) => adapters,
        Err(reason) => return vec![Finding::new("starts as aggregator", Err(reason))],
    };
    let (largest, count) = (&adapters[adapters.len() - 1], adapters.len());
    let rounds = rounds(policy, &adapters)
        .map(|()| format!("three rounds of {COHORT} updates and one of a single update, on {count} adapters"));
    let broken = rounds.is_err();
    let mut all = vec![Finding::new("aggregates", rounds)];
    if broken {
        return all;
    }
    all.push(Finding::new("aggregator's options", options(policy, largest)));
    all.push(Finding::new("says when there is no update", no_updates(policy, largest)));
    all.push(Finding::new("repeats itself", repeats(policy, largest)));
    all.push(Finding::new("forgets unfinished rounds", forgets(policy, largest)));
    all.extend(order(policy, largest));
    all.extend(the_same(policy, largest));
    if policy.steps() {
        all.push(Finding::new("steps", steps(policy, &adapters)));
    }
    all
}

/// The adapters that it takes: plain ones, else with a residual beside each pair. What it does not take it must refuse, not
/// break on.
fn accepted(policy: &Arc<Policy>) -> Result<Vec<Adapter>, String> {
    let mut refused = String::new();
    for kind in [adapters(), adapters().iter().map(Adapter::with_residuals).collect()] {
        let mut accepted = Vec::new();
        for adapter in kind {
            match SimulatedServer::new(policy, &adapter, &Map::new()).map(drop) {
                Ok(()) => accepted.push(adapter),
                Err(error) if is_typed(&error) => refused = error.to_string(),
                Err(error) => return Err(error.to_string()),
            }
        }
        if !accepted.is_empty() {
            return Ok(accepted);
        }
    }
    Err(format!("it takes no adapter: {refused}"))
}

/// An aggregator at work, with the server's memory.
struct SimulatedServer<'a> {
    adapter: &'a Adapter,
    instance: AggregatorInstance,
    memory: Arc<Entries>,
}

impl<'a> SimulatedServer<'a> {
    fn new(policy: &Arc<Policy>, adapter: &'a Adapter, options: &Map<String, Value>) -> Result<Self, PolicyError> {
        let instance = policy.aggregator(&adapter.layout, &Value::Object(options.clone()).to_string())?;
        Ok(Self { adapter, instance, memory: Arc::default() })
    }

    fn begin(&mut self, round: u32, memory: &mut Memory) -> Result<(), PolicyError> {
        let meta = RoundMeta { round, rounds: 40, seed: 1, cohort: COHORT as u32 };
        self.instance.begin(&meta, self.adapter.start.clone(), memory)
    }

    fn accept(&mut self, client: u32, update: &Arc<Vec<f32>>, memory: &mut Memory) -> Result<(), PolicyError> {
        let (examples, loss) = (16 + u64::from(client), Some(2.0 + f64::from(client) / 10.0));
        let meta = UpdateMeta { client, examples, loss, norm: norm(update), tier: 0, rank: 0 };
        self.instance.accept(update.clone(), &meta, memory)
    }

    /// A whole round; what the hooks remember is kept.
    fn round(&mut self, round: u32, updates: &[(u32, Arc<Vec<f32>>)]) -> Result<Arc<Vec<f32>>, PolicyError> {
        let mut memory = Memory::new(self.memory.clone());
        self.begin(round, &mut memory)?;
        for (client, update) in updates {
            self.accept(*client, update, &mut memory)?;
        }
        let aggregate = self.instance.finish(&mut memory)?;
        memory.written().apply(Arc::make_mut(&mut self.memory));
        Ok(aggregate)
    }
}

fn simulated_server<'a>(policy: &Arc<Policy>, adapter: &'a Adapter) -> Result<SimulatedServer<'a>, String> {
    SimulatedServer::new(policy, adapter, &Map::new()).map_err(|error| format!("{} values: {error}", adapter.values()))
}

/// A cohort's updates.
fn cohort(adapter: &Adapter, round: u32) -> Vec<(u32, Arc<Vec<f32>>)> {
    let update = |client: u32| masked_delta(adapter, u64::from(round * 100 + client), None);
    (0..COHORT as u32).map(|client| (client, update(client))).collect()
}

fn finite(aggregate: Arc<Vec<f32>>) -> Result<Arc<Vec<f32>>, String> {
    match aggregate.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("a value of the aggregate is {value}")),
        None => Ok(aggregate),
    }
}

fn rounds(policy: &Arc<Policy>, adapters: &[Adapter]) -> Result<(), String> {
    for adapter in adapters {
        let mut simulated_server = simulated_server(policy, adapter)?;
        for round in 1..=3 {
            let updates = cohort(adapter, round);
            let result = simulated_server.round(round, &updates);
            let with = |error: String| format!("{} values, {COHORT} updates: {error}", adapter.values());
            finite(result.map_err(|error| with(error.to_string()))?).map_err(with)?;
        }
        let mut alone = self::simulated_server(policy, adapter)?;
        match alone.round(1, &cohort(adapter, 1)[..1]) {
            Ok(aggregate) => drop(finite(aggregate)?),
            Err(error) if is_typed(&error) => {}
            Err(error) => return Err(format!("{} values, one update: {error}", adapter.values())),
        }
    }
    Ok(())
}

fn options(policy: &Arc<Policy>, adapter: &Adapter) -> Result<String, String> {
    let mut count = 0;
    for (name, edges) in policy.option_edges() {
        for value in edges {
            let options = Map::from_iter([(name.to_owned(), value.clone())]);
            let large = value.as_f64().is_some_and(|number| number.abs() >= LARGE);
            let result = SimulatedServer::new(policy, adapter, &options)
                .and_then(|mut bench| if large { Ok(Arc::default()) } else { bench.round(1, &cohort(adapter, 1)) });
            match result {
                Ok(_) => count += 1,
                Err(error) if is_typed(&error) => {}
                Err(error) => return Err(format!("{name} = {value}: {error}")),
            }
        }
    }
    Ok(if policy.options.is_empty() { "it has none".into() } else { format!("{count} values at the edges") })
}

fn no_updates(policy: &Arc<Policy>, adapter: &Adapter) -> Result<String, String> {
    let mut simulated_server = simulated_server(policy, adapter)?;
    match simulated_server.round(1, &[]) {
        Err(PolicyError::NoUpdates { .. }) => {}
        Err(error) => return Err(format!("expected the error no-updates, found: {error}")),
        Ok(_) => return Err("expected the error no-updates, found an aggregate".into()),
    }
    let after = simulated_server.round(2, &cohort(adapter, 2)).map_err(|error| format!("afterwards: {error}"))?;
    finite(after).map(|_| "and works afterwards".into())
}

fn repeats(policy: &Arc<Policy>, adapter: &Adapter) -> Result<String, String> {
    let failed = |error: PolicyError| error.to_string();
    let (mut one, mut other) = (simulated_server(policy, adapter)?, simulated_server(policy, adapter)?);
    for round in 1..=3 {
        let updates = cohort(adapter, round);
        let expected = one.round(round, &updates).map_err(failed)?;
        if other.round(round, &updates).map_err(failed)? != expected {
            return Err(format!("two fresh instances differ in round {round}"));
        }
        // The instance goes, its memory stays, through bytes.
        let memory = Entries::from_bytes(&other.memory.to_bytes()).map_err(|error| error.to_string())?;
        other = simulated_server(policy, adapter)?;
        other.memory = Arc::new(memory);
    }
    Ok("three rounds, the same values, and with fresh instances that only have the memory".into())
}

fn forgets(policy: &Arc<Policy>, adapter: &Adapter) -> Result<String, String> {
    let failed = |error: PolicyError| error.to_string();
    let expected = simulated_server(policy, adapter)?.round(1, &cohort(adapter, 1)).map_err(failed)?;
    let mut simulated_server = simulated_server(policy, adapter)?;
    let mut dropped = Memory::default();
    simulated_server.begin(1, &mut dropped).map_err(failed)?;
    simulated_server.accept(5, &masked_delta(adapter, 999, None), &mut dropped).map_err(failed)?;
    if simulated_server.round(1, &cohort(adapter, 1)).map_err(failed)? == expected {
        return Ok("a round that is begun again is as if it was the first".into());
    }
    Err("what was accepted before `begin` shows in the aggregate".into())
}

/// Nothing demands it, but few aggregators have a reason to look at the order.
fn order(policy: &Arc<Policy>, adapter: &Adapter) -> Result<Finding, String> {
    let failed = |error: PolicyError| error.to_string();
    let mut updates = cohort(adapter, 1);
    let one = simulated_server(policy, adapter)?.round(1, &updates).map_err(failed)?;
    updates.reverse();
    let other = simulated_server(policy, adapter)?.round(1, &updates).map_err(failed)?;
    let apart = distance(&one, &other) / norm(&one).max(f64::MIN_POSITIVE);
    Ok(Finding::note("order of updates", format!("backwards the aggregate moves by {apart:.1e} of its norm")))
}

fn the_same(policy: &Arc<Policy>, adapter: &Adapter) -> Result<Finding, String> {
    let update = masked_delta(adapter, 1, None);
    let updates: Vec<_> = (0..COHORT as u32).map(|client| (client, update.clone())).collect();
    let aggregate = simulated_server(policy, adapter)?.round(1, &updates).map_err(|error| error.to_string())?;
    let apart = distance(&aggregate, &update) / norm(&update);
    Ok(Finding::note("identical updates", format!("their aggregate is {apart:.1e} of the norm from each of them")))
}

fn steps(policy: &Arc<Policy>, adapters: &[Adapter]) -> Result<String, String> {
    let failed = |error: PolicyError| error.to_string();
    for adapter in adapters {
        let moved = masked_delta(adapter, 77, None);
        let weights =
            Arc::new(adapter.start.iter().zip(moved.iter()).map(|(start, moved)| start + moved).collect::<Vec<f32>>());
        let mut stepped = Vec::new();
        for _ in 0..2 {
            let mut simulated_server = simulated_server(policy, adapter)?;
            let aggregate = simulated_server.round(1, &cohort(adapter, 1)).map_err(failed)?;
            let mut memory = Memory::new(simulated_server.memory.clone());
            let step = simulated_server.instance.step(1, weights.clone(), aggregate, &mut memory);
            stepped.push(finite(step.map_err(failed)?)?);
        }
        if stepped[0] != stepped[1] {
            return Err(format!("{} values: two fresh instances differ", adapter.values()));
        }
    }
    Ok(format!("finite and repeatable on {} adapters", adapters.len()))
}
