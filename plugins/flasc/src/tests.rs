//! What flasc keeps, and what the receiver has where nothing was sent.

use super::*;

fn flasc(values: u32) -> Flasc {
    Flasc { values, decay: 0.5, decay_every: 10, seeded: false, coding: ValueCoding::F32 }
}

#[test]
fn density_halves_every_ten_rounds() {
    let kept: Vec<u32> = [1, 10, 11, 20, 21].map(|round| flasc(1000).kept(0.25, round)).into();
    assert_eq!(kept, [250, 250, 125, 125, 62]);
}

#[test]
fn at_least_one_value_is_kept_and_never_more_than_all() {
    assert_eq!(flasc(1000).kept(1e-9, 1), 1);
    assert_eq!(flasc(1000).kept(0.25, u32::MAX), 1);
    assert_eq!(flasc(1000).kept(1.0, 1), 1000);
    assert_eq!(flasc(0).kept(1.0, 1), 0);
}

#[test]
fn without_decay_every_density_stays() {
    let constant = Flasc { decay_every: 0, ..flasc(1000) };
    assert_eq!(constant.kept(0.25, 500), 250);
}
