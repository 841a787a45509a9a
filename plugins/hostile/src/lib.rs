//! A policy for tests only: it misbehaves in one hook in one way, as `act` says, and is a dense compressor and a mean
//! otherwise. Built for the interface as it was released first, which the engine must go on running.

mod bindings {
    wit_bindgen::generate!({ world: "everything", path: "../../wit/0.1.0" });
}

mod act;
mod deeds;
mod kernels;
mod lies;
mod results;

use std::cell::RefCell;

use act::deed_in;
use bindings::cellm::policy::host::{Message, Vector};
use bindings::cellm::policy::types::{
    Context, Description, Layout, NamedOption, OptionValue, PolicyError, ValueCoding,
};
use bindings::exports::cellm::policy::acknowledging::{Guest as Acknowledging, Outcome};
use bindings::exports::cellm::policy::aggregating::{Guest as Aggregating, RoundInfo, UpdateInfo};
use bindings::exports::cellm::policy::catching_up::Guest as CatchingUp;
use bindings::exports::cellm::policy::compressing::{Guest as Compressing, Settings};
use bindings::exports::cellm::policy::describing::Guest as Describing;
use bindings::exports::cellm::policy::planning::{Guest as Planning, TrainingPlan};
use bindings::exports::cellm::policy::stepping::Guest as Stepping;

thread_local! {
    /// The last update that was accepted.
    static LAST: RefCell<Option<Vector>> = const { RefCell::new(None) };
}

/// Runs when the component is instantiated, before any hook.
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    drop(deeds::commit(&deed_in("start")));
}

struct Hostile;

impl Describing for Hostile {
    fn describe() -> Description {
        let deed = deed_in("describe");
        let honest = lies::honest();
        match deed.strip_prefix("lie-") {
            Some(lie) => lies::told(lie, honest),
            None => {
                drop(deeds::commit(&deed));
                honest
            }
        }
    }
}

impl Compressing for Hostile {
    fn init(_: Layout, _: Settings, options: Vec<NamedOption>) -> Result<(), PolicyError> {
        for (_, value) in options {
            if let OptionValue::Text(act) = value {
                act::choose(&act);
            }
        }
        deeds::commit(&deed_in("init"))
    }

    fn encode(_: Context, values: &Vector, start: &Vector, into: &Message) -> Result<(), PolicyError> {
        results::encode(&deed_in("encode"), values, start, into)
    }

    fn decode(_: Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        let deed = deed_in("decode");
        if deed == "left-over" {
            return Ok(start.copy());
        }
        if deed == "put" {
            message.put_bytes(b"more");
        }
        let decoded = message.take_values(ValueCoding::F32, start.len())?;
        results::vector(&deed, decoded, start)
    }
}

impl Planning for Hostile {
    fn plan(_: Context, received: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        results::plan(&deed_in("plan"), received.len())
    }
}

impl Acknowledging for Hostile {
    fn on_ack(_: Context, _: Outcome) {
        drop(deeds::commit(&deed_in("on-ack")));
    }
}

impl CatchingUp for Hostile {
    fn encode_catch_up(_: Context, into: &Message) -> Result<bool, PolicyError> {
        results::flood(&deed_in("encode-catch-up"), into)?;
        into.put_bytes(b"caught up");
        Ok(true)
    }

    fn decode_catch_up(_: Context, message: &Message) -> Result<(), PolicyError> {
        let deed = deed_in("decode-catch-up");
        if deed == "left-over" {
            return Ok(());
        }
        message.take_bytes()?;
        deeds::commit(&deed)
    }
}

impl Aggregating for Hostile {
    fn init(_: Layout, _: Vec<NamedOption>) -> Result<(), PolicyError> {
        deeds::commit(&deed_in("init"))
    }

    fn begin(_: RoundInfo, _: &Vector) -> Result<(), PolicyError> {
        LAST.take();
        deeds::commit(&deed_in("begin"))
    }

    fn accept(update: &Vector, _: UpdateInfo) -> Result<(), PolicyError> {
        LAST.set(Some(update.copy()));
        deeds::commit(&deed_in("accept"))
    }

    fn finish() -> Result<Vector, PolicyError> {
        let last = LAST.take().ok_or(PolicyError::NoUpdates)?;
        results::vector(&deed_in("finish"), last.copy(), &last)
    }
}

impl Stepping for Hostile {
    fn step(_: u32, weights: &Vector, aggregate: &Vector) -> Result<Vector, PolicyError> {
        let stepped = weights.copy();
        stepped.axpy(1.0, aggregate);
        results::vector(&deed_in("step"), stepped, weights)
    }
}

bindings::export!(Hostile with_types_in bindings);
