//! Misdeeds with what a hook was given or has to give back; every other deed is done before.

use std::cell::Cell;
use std::mem::forget;

use crate::bindings::cellm::policy::host::{IndexSet, Message, Vector};
use crate::bindings::cellm::policy::types::{PolicyError, ValueCoding};
use crate::bindings::exports::cellm::policy::planning::TrainingPlan;
use crate::deeds;

thread_local! {
    /// A handle that was lent to an earlier call.
    static EARLIER: Cell<u32> = const { Cell::new(0) };
}

/// A vector that claims to be behind this handle.
fn claimed(handle: u32) -> Vector {
    // SAFETY: handles are numbers that the host looks up; a wrong one is what is to be tried.
    unsafe { Vector::from_handle(handle) }
}

/// Too many parts, or too long ones.
pub fn flood(deed: &str, into: &Message) -> Result<(), PolicyError> {
    match deed {
        "output" => loop {
            into.put_bytes(&[7; 1 << 16]);
        },
        "parts" => loop {
            into.put_bytes(&[]);
        },
        _ => deeds::commit(deed),
    }
}

/// The deeds of `encode`.
pub fn encode(deed: &str, values: &Vector, start: &Vector, into: &Message) -> Result<(), PolicyError> {
    match deed {
        "leak" => forget(Vector::new(1 << 16)),
        "range" => drop(values.read(values.len() - 1, 2)),
        "indices" => {
            let error = IndexSet::from_list(4, &[1, 4]).err().unwrap_or_default();
            return Err(PolicyError::Other(error));
        }
        "take" => drop(into.take_bytes()?),
        "nan" => values.write(0, &[f32::NAN, f32::INFINITY]),
        "drop-lent" => drop(claimed(values.handle())),
        "earlier" => {
            if EARLIER.get() == 0 {
                EARLIER.set(values.handle());
            } else {
                let earlier = claimed(EARLIER.get() + 1000);
                earlier.scale(2.0);
                forget(earlier);
            }
        }
        "chunks" => {
            // An own kernel: what a policy does that finds no host kernel for its purpose.
            let own = values.copy();
            for offset in (0..values.len()).step_by(1 << 16) {
                let count = (values.len() - offset).min(1 << 16);
                let doubled: Vec<f32> = values.read(offset, count).iter().map(|value| value * 2.0).collect();
                own.write(offset, &doubled);
            }
            into.put_values(ValueCoding::F32, &own);
        }
        "spoil" => {
            // The caller must not see this.
            values.scale(0.0);
            start.scale(0.0);
        }
        _ => flood(deed, into)?,
    }
    into.put_values(ValueCoding::F32, values);
    Ok(())
}

/// The result of a hook that returns a vector.
pub fn vector(deed: &str, honest: Vector, lent: &Vector) -> Result<Vector, PolicyError> {
    match deed {
        "long" => Ok(Vector::new(honest.len() + 1)),
        "short" => Ok(Vector::new(honest.len() - 1)),
        "empty" => Ok(Vector::new(0)),
        "nan" => {
            honest.write(0, &[f32::NAN]);
            Ok(honest)
        }
        "foreign" => Ok(claimed(0x00ff_ffff)),
        "lent" => Ok(claimed(lent.handle())),
        "dropped" => {
            let handle = honest.handle();
            drop(honest);
            Ok(claimed(handle))
        }
        "set-as-vector" => {
            let set = IndexSet::runs(honest.len(), 0, 1, 1, honest.len());
            Ok(claimed(set.take_handle()))
        }
        _ => {
            deeds::commit(deed)?;
            Ok(honest)
        }
    }
}

/// The result of `plan`.
pub fn plan(deed: &str, values: u32) -> Result<TrainingPlan, PolicyError> {
    let trainable = match deed {
        "space" => Some(IndexSet::runs(values + 1, 0, 1, 1, 3)),
        "some" => Some(IndexSet::runs(values, 0, 1, 2, 3)),
        "foreign" => {
            // SAFETY: handles are numbers that the host looks up; a wrong one is what is to be tried.
            Some(unsafe { IndexSet::from_handle(0x00ff_ffff) })
        }
        _ => {
            deeds::commit(deed)?;
            None
        }
    };
    Ok(TrainingPlan { trainable })
}
