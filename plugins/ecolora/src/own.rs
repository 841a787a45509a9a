//! A client's memory of its own models: its start, the distance of that from the global model, and its end.

use cellm_plugin::{Packed, PolicyError, Unpacked, Vector, forget, load, load_bytes, save, save_bytes};

/// The model that the client ended its last round with, and (as bytes) the round.
const OWN: &str = "own";
/// The model that it starts from, from `plan` to `encode`.
const BEGUN: &str = "begun";
/// That minus the global model, from `decode` to `encode`; missing where it is zero.
const PULL: &str = "pull";

/// `(1 - w) * global + w * own` with `w = exp(-beta * rounds since)`; the global model where there is no own one.
pub fn mix(round: u32, global: Vector, beta: f64) -> Result<Vector, PolicyError> {
    let (Some(pull), Some(bytes)) = (load(OWN), load_bytes(OWN)) else { return Ok(global) };
    let since = round.saturating_sub(Unpacked::new(&bytes).u32()?);
    pull.axpy(-1.0, &global);
    pull.scale((-beta * f64::from(since)).exp() as f32);
    save(PULL, &pull);
    global.axpy(1.0, &pull);
    Ok(global)
}

/// Keeps what the client starts from.
pub fn begin(received: &Vector) {
    save(BEGUN, received);
}

/// Keeps the model that the client ended with, and adds to `moved`, which holds the delta, how far the start was pulled from
/// the global model.
pub fn remember(round: u32, delta: &Vector, moved: &Vector) {
    if let Some(own) = load(BEGUN) {
        own.axpy(1.0, delta);
        save(OWN, &own);
        save_bytes(OWN, &Packed::default().u32(round).bytes());
        forget(BEGUN);
    }
    if let Some(pull) = load(PULL) {
        moved.axpy(1.0, &pull);
        forget(PULL);
    }
}
