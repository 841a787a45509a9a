//! A policy for tests only: every hook counts its calls in the memory of its side and lets the result depend on what was
//! counted before. Two runs end with the same adapter only if the same hooks ran over the same memories in the same order.

use cellm_plugin::{
    Acknowledging, Aggregator, Capabilities, CatchingUp, Compressor, Content, Context, Description, IndexSet, Layout,
    Message, Options, Outcome, Planning, Policy, PolicyError, RoundInfo, Settings, Stepping, TrainingPlan, UpdateInfo,
    ValueCoding, Vector, load, load_bytes, option, save, save_bytes,
};

/// How much a count moves a value.
const TRACE: f32 = 1e-5;

/// What is counted under a key so far.
fn counted(key: &str) -> u32 {
    load_bytes(key).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// Counts one more, or several.
fn count(key: &str, more: u32) -> u32 {
    let sum = counted(key) + more;
    save_bytes(key, &sum.to_le_bytes());
    sum
}

/// A vector that has a trace of a number everywhere.
fn trace(len: u32, number: u32) -> Vector {
    let trace = Vector::new(len);
    let own: Vec<f32> = (0..len).map(|at| TRACE * number as f32 * (1.0 + (at % 7) as f32)).collect();
    trace.write(0, &own);
    trace
}

struct Witness {
    values: u32,
    /// Every so many clients one sends an update that no limit on norms lets through; 0 none.
    heavy: u32,
    sum: Option<Vector>,
    updates: u32,
}

impl Policy for Witness {
    fn describe() -> Description {
        Description {
            name: "witness".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Counts what it sees, and lets its results depend on it.".into(),
            capabilities: Capabilities::STATEFUL_CLIENT,
            options: vec![option::count("heavy", 0, "Every so many clients one sends an update of a great norm.")],
        }
    }
}

impl Compressor for Witness {
    fn new(layout: Layout, _: Settings, options: &Options) -> Result<Self, PolicyError> {
        Ok(Self { values: layout.values, heavy: options.count("heavy")?, sum: None, updates: 0 })
    }

    fn encode(&mut self, context: &Context, values: &Vector, _: &Vector, into: &Message) -> Result<(), PolicyError> {
        let sent = values.copy();
        let calls = if context.content == Content::Delta {
            let calls = count("uploads", 1);
            // What was acknowledged, caught up and planned shows in the update.
            sent.axpy(1.0, &trace(self.values, counted("accepted") + 10 * counted("caught up") + counted("plans")));
            if self.heavy > 0 && context.client.unwrap_or(0) % self.heavy == 0 {
                sent.scale(1e6);
            }
            calls
        } else {
            count("broadcasts", 1)
        };
        save("last", values);
        into.put_bytes(&calls.to_le_bytes());
        into.put_values(ValueCoding::F32, &sent);
        Ok(())
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        let bytes = message.take_bytes()?;
        let calls = bytes.try_into().map(u32::from_le_bytes);
        let calls = calls.map_err(|_| PolicyError::BadMessage("a count of four bytes expected".into()))?;
        let values = message.take_values(ValueCoding::F32, start.len())?;
        if context.content == Content::Delta {
            // The order of the cohort shows in the server's memory.
            let order = counted("order").wrapping_mul(31).wrapping_add(context.client.unwrap_or(0) + calls);
            save_bytes("order", &order.to_le_bytes());
            values.axpy(1.0, &trace(self.values, order % 97));
            return Ok(values);
        }
        let downloads = count("downloads", 1);
        if let Some(last) = load("last") {
            values.axpy(1e-3, &last);
        }
        values.axpy(1.0, &trace(self.values, downloads));
        Ok(values)
    }
}

impl Planning for Witness {
    fn plan(&mut self, _: &Context, received: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        let plans = count("plans", 1);
        let len = received.len();
        Ok(TrainingPlan { trainable: Some(IndexSet::runs(len, plans % 3, 1, 3, (len - plans % 3).div_ceil(3))) })
    }
}

impl Acknowledging for Witness {
    fn on_ack(&mut self, _: &Context, outcome: Outcome) {
        match outcome {
            Outcome::Accepted => count("accepted", 1),
            Outcome::Rejected => count("rejected", 1),
        };
    }
}

impl CatchingUp for Witness {
    fn encode_catch_up(&mut self, context: &Context, into: &Message) -> Result<bool, PolicyError> {
        let missed = context.round - context.last_seen.unwrap_or(0) - 1;
        count("catch-ups", 1);
        into.put_bytes(&missed.to_le_bytes());
        Ok(true)
    }

    fn decode_catch_up(&mut self, _: &Context, message: &Message) -> Result<(), PolicyError> {
        let missed = message.take_bytes()?.try_into().map(u32::from_le_bytes);
        count("caught up", missed.map_err(|_| PolicyError::BadMessage("a count of four bytes expected".into()))?);
        Ok(())
    }
}

impl Aggregator for Witness {
    fn new(layout: Layout, options: &Options) -> Result<Self, PolicyError> {
        Ok(Self { values: layout.values, heavy: options.count("heavy")?, sum: None, updates: 0 })
    }

    fn begin(&mut self, round: &RoundInfo, base: &Vector) -> Result<(), PolicyError> {
        count("begun", 1);
        self.updates = 0;
        let sum = trace(self.values, counted("catch-ups") + round.cohort);
        sum.axpy(1e-6, base);
        self.sum = Some(sum);
        Ok(())
    }

    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError> {
        count("updates", 1 + info.tier);
        self.updates += 1;
        self.sum.as_ref().ok_or(PolicyError::NoUpdates)?.axpy(1.0, update);
        Ok(())
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        let sum = self.sum.take().ok_or(PolicyError::NoUpdates)?;
        sum.scale(1.0 / self.updates.max(1) as f32);
        Ok(sum)
    }
}

impl Stepping for Witness {
    fn step(&mut self, _: u32, weights: &Vector, aggregate: &Vector) -> Result<Vector, PolicyError> {
        let next = weights.copy();
        next.axpy(1.0, aggregate);
        next.axpy(1.0, &trace(self.values, count("steps", 1) + counted("order") % 97 + counted("updates")));
        Ok(next)
    }
}

type Component = cellm_plugin::Exported<Witness>;
cellm_plugin::export_policy!(Component);
cellm_plugin::export_planning!(Component);
cellm_plugin::export_acknowledging!(Component);
cellm_plugin::export_catching_up!(Component);
cellm_plugin::export_stepping!(Component);
