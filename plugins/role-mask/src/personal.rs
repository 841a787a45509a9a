//! `fedsa`: every client keeps a B of its own, in its memory under `own`.

use cellm_plugin::{PolicyError, Vector, load, save};

use crate::parts::Parts;

const OWN: &str = "own";

/// The client's own B: what it kept, or the start's where it has not trained yet.
fn own(parts: &Parts, start: &Vector) -> Vector {
    load(OWN).filter(|own| own.len() == parts.b.count()).unwrap_or_else(|| start.gather(&parts.b))
}

/// Puts the client's own B into what it starts from.
pub fn put_back(parts: &Parts, weights: &Vector, start: &Vector) {
    weights.scatter(&parts.b, &own(parts, start));
}

/// Keeps what training made of the client's own B.
pub fn keep(parts: &Parts, delta: &Vector, start: &Vector) {
    let own = own(parts, start);
    own.axpy(1.0, &delta.gather(&parts.b));
    save(OWN, &own);
}

/// Refuses to train from a B that is not the client's own: the download was then served by another policy or scheme.
pub fn check(parts: &Parts, received: &Vector, start: &Vector) -> Result<(), PolicyError> {
    let distance = received.gather(&parts.b).distance(&own(parts, start));
    if distance == 0.0 {
        return Ok(());
    }
    Err(PolicyError::Other(format!(
        "B lies {distance:e} from the client's own, 0 expected: role-mask with scheme fedsa must serve both directions"
    )))
}
