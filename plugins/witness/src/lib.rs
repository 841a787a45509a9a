//! A policy for tests only: it has every hook there is, behaves, and writes down in its memory what it was told.
//!
//! Each hook counts itself under its name (bytes, one u32) and keeps the last context's round there (a second u32). Clients
//! train the first half of the values. A client that was in a round before the last one is sent a note, which it keeps as
//! `note`. The aggregate is the sum; the step adds it and keeps it as the vector `aggregate`.
//!
//! With `trace`, what a hook makes depends on what was counted before: two runs end with the same adapter only if the same
//! hooks ran over the same memories in the same order.
//!
//! `mischief` makes `encode` and `accept` do one thing that a policy should not, or one that has to reach people.

mod mischief;

use cellm_plugin::{
    Acknowledging, Aggregator, Capabilities, CatchingUp, Compressor, Context, Description, IndexSet, Layout, Message,
    Options, Outcome, Packed, Planning, Policy, PolicyError, RoundInfo, Settings, Stepping, TrainingPlan, Unpacked,
    UpdateInfo, ValueCoding, Vector, load_bytes, option, save, save_bytes,
};
use mischief::Mischief;

struct Witness {
    values: u32,
    /// True where results depend on the memory.
    trace: bool,
    /// Every so many clients one sends an update of a great norm; 0 none.
    heavy: u32,
    mischief: Mischief,
    sum: Option<Vector>,
}

impl Witness {
    fn read(layout: &Layout, options: &Options) -> Result<Self, PolicyError> {
        let (trace, heavy) = (options.flag("trace")?, options.count("heavy")?);
        Ok(Self { values: layout.values, trace, heavy, mischief: Mischief::of(options)?, sum: None })
    }

    /// Moves values by what is remembered under these names.
    fn trace(&self, values: &Vector, names: &[&str]) -> Result<(), PolicyError> {
        if !self.trace {
            return Ok(());
        }
        let mut seen = 1_u32;
        for name in names {
            let bytes = load_bytes(name).unwrap_or_default();
            seen = bytes.iter().fold(seen, |seen, byte| seen.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        }
        let moved: Vec<f32> = (0..values.len()).map(|at| 1e-7 * (seen.rotate_left(at % 32) % 1000) as f32).collect();
        let trace = Vector::new(values.len());
        trace.write(0, &moved);
        values.axpy(1.0, &trace);
        Ok(())
    }
}

/// Counts a call in the memory of whoever runs the hook.
fn note(hook: &str, round: u32) -> Result<(), PolicyError> {
    let before = match load_bytes(hook) {
        Some(bytes) => Unpacked::new(&bytes).u32()?,
        None => 0,
    };
    save_bytes(hook, &Packed::default().u32(before + 1).u32(round).bytes());
    Ok(())
}

impl Policy for Witness {
    fn describe() -> Description {
        Description {
            name: "witness".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Has every hook and remembers what it saw.".into(),
            capabilities: Capabilities::STATEFUL_CLIENT | Capabilities::UNBIASED | Capabilities::LINEAR,
            options: vec![
                option::flag("trace", false, "Let the results depend on what is remembered."),
                option::count("heavy", 0, "Every so many clients one sends an update of a great norm; 0 none does."),
                option::choice("mischief", &mischief::KINDS, "What it does that it should not."),
            ],
        }
    }
}

impl Compressor for Witness {
    fn new(layout: Layout, _: Settings, options: &Options) -> Result<Self, PolicyError> {
        Self::read(&layout, options)
    }

    fn encode(&mut self, context: &Context, values: &Vector, _: &Vector, into: &Message) -> Result<(), PolicyError> {
        let sent = values.copy();
        sent.scale(self.mischief.done("encode"));
        self.trace(&sent, &["encode", "decode", "plan", "accepted", "note"])?;
        if context.client.is_some_and(|client| client.checked_rem(self.heavy) == Some(0)) {
            sent.scale(1e6);
        }
        into.put_values(ValueCoding::F32, &sent);
        note("encode", context.round)
    }

    fn decode(&mut self, context: &Context, message: &Message, _: &Vector) -> Result<Vector, PolicyError> {
        note("decode", context.round)?;
        let values = message.take_values(ValueCoding::F32, self.values)?;
        self.trace(&values, &["decode", "note", "accept", "encode-catch-up"])?;
        Ok(values)
    }
}

impl Planning for Witness {
    fn plan(&mut self, context: &Context, _: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        note("plan", context.round)?;
        let half = self.values / 2;
        Ok(TrainingPlan { trainable: Some(IndexSet::runs(self.values, 0, half, half, 1)) })
    }
}

impl Acknowledging for Witness {
    fn on_ack(&mut self, context: &Context, outcome: Outcome) {
        let hook = if outcome == Outcome::Accepted { "accepted" } else { "rejected" };
        // The hook has no typed error; what fails here shows as a count that stands still.
        note(hook, context.round).unwrap_or_default();
    }
}

impl CatchingUp for Witness {
    fn encode_catch_up(&mut self, context: &Context, into: &Message) -> Result<bool, PolicyError> {
        note("encode-catch-up", context.round)?;
        let Some(missed) = context.last_seen.filter(|last| last + 1 < context.round) else { return Ok(false) };
        into.put_bytes(&Packed::default().u32(missed).bytes());
        Ok(true)
    }

    fn decode_catch_up(&mut self, context: &Context, message: &Message) -> Result<(), PolicyError> {
        note("decode-catch-up", context.round)?;
        save_bytes("note", &message.take_bytes()?);
        Ok(())
    }
}

impl Aggregator for Witness {
    fn new(layout: Layout, options: &Options) -> Result<Self, PolicyError> {
        Self::read(&layout, options)
    }

    fn begin(&mut self, round: &RoundInfo, _: &Vector) -> Result<(), PolicyError> {
        self.sum = None;
        note("begin", round.round)
    }

    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError> {
        self.mischief.done("accept");
        self.sum.get_or_insert_with(|| Vector::new(self.values)).axpy(1.0, update);
        note("accept", info.client)
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        note("finish", 0)?;
        self.sum.take().ok_or(PolicyError::NoUpdates)
    }
}

impl Stepping for Witness {
    fn step(&mut self, round: u32, weights: &Vector, aggregate: &Vector) -> Result<Vector, PolicyError> {
        note("step", round)?;
        save("aggregate", aggregate);
        let stepped = weights.copy();
        stepped.axpy(1.0, aggregate);
        self.trace(&stepped, &["step", "accept", "encode", "encode-catch-up", "decode"])?;
        Ok(stepped)
    }
}

type Component = cellm_plugin::Exported<Witness>;
cellm_plugin::export_policy!(Component);
cellm_plugin::export_planning!(Component);
cellm_plugin::export_acknowledging!(Component);
cellm_plugin::export_catching_up!(Component);
cellm_plugin::export_stepping!(Component);

#[cfg(test)]
mod tests {
    use cellm_plugin::Memory;
    use cellm_plugin::harness::{Adapter, Aggregation, Harness, Owner, update_info};

    use super::*;

    fn count(memory: &Memory, hook: &str) -> u32 {
        memory.bytes(hook).map_or(0, |bytes| Unpacked::new(bytes).u32().unwrap())
    }

    #[test]
    fn a_lost_round_is_forgotten_and_an_accepted_one_is_not() {
        let adapter = Adapter::lora(2, &[(8, 8)]);
        let mut harness = Harness::<Witness>::new(&adapter, 32, &[]).unwrap();
        for (round, accepted) in [(1, &[0, 1][..]), (2, &[0]), (4, &[0, 1])] {
            for client in [0, 1] {
                let caught_up = harness.catch_up(round, client).unwrap();
                assert_eq!(caught_up.is_some(), round == 4, "both missed round 3");
            }
            let sent = harness.broadcast(round, &adapter.start).unwrap();
            for client in [0, 1] {
                let received = harness.receive(client, &sent).unwrap();
                let plan = harness.plan(round, client, &received).unwrap();
                assert_eq!(plan, Some((0..adapter.values() / 2).collect()));
                let upload = harness.upload(round, client, &adapter.delta(1, 1.0)).unwrap();
                harness.collect(&upload).unwrap();
            }
            harness.end_round(round, accepted);
            for client in [0, 1] {
                let outcome = if accepted.contains(&client) { Outcome::Accepted } else { Outcome::Rejected };
                harness.acknowledge(round, client, outcome).unwrap();
            }
        }
        let [zero, one] = [0, 1].map(|client| harness.memory(Owner::Client(client)));
        let counts =
            |memory: &Memory| ["decode", "plan", "encode", "accepted", "rejected"].map(|hook| count(memory, hook));
        assert_eq!((counts(&zero), counts(&one)), ([3, 3, 3, 3, 0], [2, 2, 2, 2, 1]));
        assert_eq!((zero.bytes("note"), one.bytes("note")), (Some(&[2, 0, 0, 0][..]), Some(&[1, 0, 0, 0][..])));
        let server = harness.memory(Owner::Server);
        assert_eq!(["encode", "decode", "encode-catch-up"].map(|hook| count(&server, hook)), [3, 6, 6]);
    }

    #[test]
    fn the_step_adds_the_sum() {
        let adapter = Adapter::lora(1, &[(2, 2)]);
        let mut aggregation = Aggregation::<Witness>::new(&adapter, &[]).unwrap();
        let update = vec![1.0, 2.0, 3.0, 4.0];
        let updates = [(update.clone(), update_info(0, &update)), (update.clone(), update_info(1, &update))];
        let sum = aggregation.round(1, &adapter.start, &updates).unwrap();
        assert_eq!(sum, [2.0, 4.0, 6.0, 8.0]);
        let stepped = aggregation.step(1, &update, &sum).unwrap();
        assert_eq!(stepped, [3.0, 6.0, 9.0, 12.0]);
        assert_eq!(count(&aggregation.owners.of(Owner::Server), "accept"), 2);
        assert_eq!(aggregation.owners.of(Owner::Server).vector("aggregate"), Some(&sum[..]));
    }
}
