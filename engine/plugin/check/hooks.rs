//! The optional hooks: what a client trains, news of an upload's end, what a client needs that missed rounds.

use std::sync::Arc;

use serde_json::Map;

use super::Finding;
use super::compressor::is_typed;
use super::exchange::{Ends, Setting, instance};
use crate::plugin::samples::{adapters, context};
use crate::policy::{Content, Direction, Memory, Policy};
use crate::wire::{self, Limits};

pub(super) fn findings(policy: &Arc<Policy>, settings: &[Setting]) -> Vec<Finding> {
    let of = |direction| settings.iter().copied().find(|setting| setting.direction == direction);
    let mut all = Vec::new();
    if let (true, Some(upload)) = (policy.plans(), of(Direction::Upload)) {
        all.push(Finding::new("plans", plans(policy, upload)));
    }
    if let (true, Some(upload)) = (policy.acknowledges(), of(Direction::Upload)) {
        all.push(Finding::new("takes news of its uploads", acknowledges(policy, upload)));
    }
    if let (true, Some(download)) = (policy.catches_up(), of(Direction::Download)) {
        all.push(Finding::new("catches up", catches_up(policy, download)));
    }
    all
}

fn plans(policy: &Arc<Policy>, setting: Setting) -> Result<String, String> {
    let mut shares = Vec::new();
    for adapter in adapters() {
        let mut plans = Vec::new();
        for _ in 0..2 {
            let fresh = instance(policy, &adapter, setting, &Map::new());
            let mut planner = fresh.map_err(|error| error.to_string())?;
            let mut memory = Memory::default();
            let (received, start) = (adapter.weights(1), adapter.start.clone());
            let plan = planner.plan(&context(Content::Delta, 0.25), received, start, &mut memory);
            plans.push(plan.map_err(|error| format!("{} values: {error}", adapter.values()))?);
        }
        if plans[0] != plans[1] {
            return Err(format!("{} values: two fresh instances differ", adapter.values()));
        }
        let trained = plans[0].as_ref().map_or(adapter.values(), Vec::len);
        shares.push(format!("{trained} of {}", adapter.values()));
    }
    Ok(format!("trains {}", shares.join(", ")))
}

fn acknowledges(policy: &Arc<Policy>, setting: Setting) -> Result<String, String> {
    for adapter in adapters() {
        for accepted in [true, false] {
            let mut ends = Ends::new(policy, &adapter, setting, &Map::new())?;
            let context = context(Content::Delta, 0.25);
            let values = crate::plugin::samples::delta(adapter.values(), 1);
            let (_, mut memory) = ends.encode(&context, &values).map_err(|error| error.to_string())?;
            if !accepted {
                memory = Memory::new(ends.sender.clone());
            }
            ends.encoder.on_ack(&context, accepted, &mut memory).map_err(|error| error.to_string())?;
        }
    }
    Ok("accepted and rejected".into())
}

fn catches_up(policy: &Arc<Policy>, setting: Setting) -> Result<String, String> {
    let mut sent = Vec::new();
    for adapter in adapters() {
        let mut ends = Ends::new(policy, &adapter, setting, &Map::new())?;
        for round in 1..=4 {
            let mut context = context(Content::Weights, 0.25);
            context.round = round;
            ends.exchange(&context, &adapter.weights(u64::from(round)))?;
        }
        for last_seen in [None, Some(1), Some(3)] {
            let mut context = context(Content::Weights, 0.25);
            (context.round, context.client, context.last_seen) = (5, Some(3), last_seen);
            let mut memory = Memory::new(ends.sender.clone());
            let encoded = ends.encoder.encode_catch_up(&context, &mut memory).map_err(|error| error.to_string())?;
            let Some(message) = encoded else {
                sent.push("nothing".to_owned());
                continue;
            };
            let frame = ends.frame(&context, &message)?;
            sent.push(format!("{} bytes", frame.len()));
            let limits = Limits::for_values(adapter.values());
            let (_, received) = wire::decode(&frame, &limits).map_err(|error| error.to_string())?;
            let mut memory = Memory::new(Arc::default());
            let decoded = ends.decoder.decode_catch_up(&context, received, &mut memory);
            decoded.map_err(|error| format!("{} values: {error}", adapter.values()))?;
            let mut broken = message;
            broken.parts.pop();
            let refused = ends.decoder.decode_catch_up(&context, broken, &mut memory);
            if let Some(error) = refused.err().filter(|error| !is_typed(error)) {
                return Err(format!("a message without its last part: {error}"));
            }
        }
    }
    Ok(format!("after none, 4 and 2 missed rounds: {}", sent[sent.len() - 3..].join(", ")))
}
