//! Krum drops outliers, and says when too few updates came for it.

use cellm_plugin::harness::{Adapter, Aggregation, normal_updates, update_info};
use cellm_plugin::{PolicyError, UpdateInfo};

use super::Krum;
use super::score::{lowest, scores};

fn krum(byzantine: i64, multi: i64) -> Result<Aggregation<Krum>, PolicyError> {
    Aggregation::new(&Adapter::lora(1, &[(4, 4)]), &[("byzantine", byzantine.into()), ("multi", multi.into())])
}

fn message<T>(result: Result<T, PolicyError>) -> String {
    match result {
        Err(PolicyError::Other(message)) => message,
        Err(other) => format!("{other:?}"),
        Ok(_) => "no error".into(),
    }
}

/// Five honest updates around 1 and two far away that stand together, at the places 1 and 4.
fn attacked() -> Vec<(Vec<f32>, UpdateInfo)> {
    let mut cohort = normal_updates(5, 8, 3);
    cohort.iter_mut().flat_map(|(update, _)| update).for_each(|value| *value = 1.0 + 0.1 * *value);
    cohort.insert(1, (vec![-50.0; 8], update_info(8, &[])));
    cohort.insert(4, (vec![-50.0; 8], update_info(9, &[])));
    cohort
}

#[test]
fn colluding_outliers_are_not_chosen() {
    let cohort = attacked();
    let chosen = krum(2, 1).unwrap().round(1, &[0.0; 8], &cohort).unwrap();
    let place = cohort.iter().position(|(update, _)| *update == chosen).unwrap();
    assert!(place != 1 && place != 4);
    let mean = krum(2, 5).unwrap().round(1, &[0.0; 8], &cohort).unwrap();
    assert!(mean.iter().all(|value| (value - 1.0).abs() < 0.2), "{mean:?}");
}

#[test]
fn what_is_not_a_number_is_nobodys_neighbour() {
    let mut cohort = attacked();
    cohort[1].0 = vec![f32::NAN; 8];
    cohort[4].0 = vec![f32::INFINITY; 8];
    assert!(krum(2, 5).unwrap().round(1, &[0.0; 8], &cohort).unwrap().iter().all(|value| value.is_finite()));
    cohort[0].0 = vec![f32::NAN; 8];
    let found = message(krum(2, 5).unwrap().round(1, &[0.0; 8], &cohort));
    assert_eq!(found, "4 of 7 updates lie at a finite distance from 3 others, multi asks for 5");
}

#[test]
fn scores_sum_the_nearest_squares() {
    // Points 0, 1, 3, 10 on a line.
    let points = [0.0_f64, 1.0, 3.0, 10.0];
    let distances: Vec<Vec<f64>> = points.map(|a| points.map(|b| (a - b).abs()).into()).into();
    assert_eq!(scores(&distances, 2), [1.0 + 9.0, 1.0 + 4.0, 4.0 + 9.0, 49.0 + 81.0]);
    assert_eq!(lowest(&[3.0, 1.0, 2.0, 1.0], 1), [1]);
    assert_eq!(lowest(&[3.0, 1.0, 2.0, 1.0], 3), [1, 2, 3]);
}

#[test]
fn the_order_of_clients_does_not_matter() {
    let mut cohort = attacked();
    let one = krum(2, 1).unwrap().round(1, &[0.0; 8], &cohort);
    cohort.rotate_left(3);
    assert_eq!(one, krum(2, 1).unwrap().round(1, &[0.0; 8], &cohort));
}

#[test]
fn too_few_updates_are_an_error_with_both_values() {
    let found = message(krum(2, 1).unwrap().round(1, &[0.0; 8], &normal_updates(6, 8, 1)));
    assert_eq!(found, "6 clients were sampled, krum with byzantine 2 and multi 1 needs at least 7");
    let found = message(krum(1, 6).unwrap().round(1, &[0.0; 8], &normal_updates(6, 8, 1)));
    assert_eq!(found, "6 clients were sampled, krum with byzantine 1 and multi 6 needs at least 7");
    assert!(matches!(krum(1, 0), Err(PolicyError::BadOption(bad)) if bad.name == "multi"));
}
