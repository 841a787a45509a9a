//! FlexLoRA's product is the best of its rank; its sides are balanced; nothing dies.

use cellm_plugin::harness::{Adapter, Aggregation, near, normal_updates, update_info};
use cellm_plugin::pairs::{Pair, pairs};
use cellm_plugin::{PolicyError, UpdateInfo, Vector};

use super::FlexLora;

const LAYERS: [(u32, u32); 2] = [(7, 5), (4, 9)];
const VALUES: u32 = 2 * (12 + 13);

type Cohort = Vec<(Vec<f32>, UpdateInfo)>;

fn flexlora(split: &str, weighting: &str) -> Aggregation<FlexLora> {
    Aggregation::new(&Adapter::lora(2, &LAYERS), &[("split", split.into()), ("weighting", weighting.into())]).unwrap()
}

fn normal(seed: u64, number: u64) -> Vec<f32> {
    Vector::random_normal(VALUES, seed, number).values()
}

fn layers() -> Vec<Pair> {
    pairs(&Adapter::lora(2, &LAYERS).layout).unwrap()
}

fn sum(one: &[f32], other: &[f32]) -> Vec<f32> {
    one.iter().zip(other).map(|(one, other)| one + other).collect()
}

/// `B A` of the layer in f64, with the first `directions` alone.
fn product(pair: &Pair, values: &[f32], directions: usize) -> Vec<f64> {
    let (inputs, rank) = (pair.inputs as usize, pair.rank as usize);
    let (a, b) = (&values[pair.a.offset as usize..], &values[pair.b.offset as usize..]);
    let entry =
        |i: usize, j: usize| (0..directions).map(|k| f64::from(b[i * rank + k]) * f64::from(a[k * inputs + j])).sum();
    (0..(pair.outputs * pair.inputs) as usize).map(|at| entry(at / inputs, at % inputs)).collect()
}

fn mean_product(pair: &Pair, base: &[f32], cohort: &Cohort) -> Vec<f64> {
    let mut mean = vec![0.0; (pair.outputs * pair.inputs) as usize];
    for (update, info) in cohort {
        let found = product(pair, &sum(base, update), pair.trained(info.rank) as usize);
        mean.iter_mut().zip(found).for_each(|(mean, entry)| *mean += entry / cohort.len() as f64);
    }
    mean
}

fn distance(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn the_product_is_nearer_to_the_mean_product_than_any_other_of_its_rank_nearby_and_than_the_product_of_means() {
    let (base, cohort) = (normal(1, 0), normal_updates(5, VALUES, 2));
    let end = sum(&base, &flexlora("balanced", "uniform").round(1, &base, &cohort).unwrap());
    let mean: Vec<f32> =
        (0..VALUES as usize).map(|j| base[j] + cohort.iter().map(|(update, _)| update[j] / 5.0).sum::<f32>()).collect();
    for pair in layers() {
        let target = mean_product(&pair, &base, &cohort);
        let best = distance(&target, &product(&pair, &end, 2));
        assert!(best < 0.8 * distance(&target, &product(&pair, &mean, 2)));
        for number in 0..200 {
            let draws = normal(3, number);
            let nearby: Vec<f32> = end.iter().zip(draws).map(|(value, draw)| value + 1e-2 * draw).collect();
            assert!(best <= distance(&target, &product(&pair, &nearby, 2)));
        }
    }
}

#[test]
fn known_singular_values_are_kept_from_the_largest_on() {
    // Client c's B A of the first layer has one entry, at (c, c): 9, 6 and 3. The mean has the singular values 3, 2 and 1.
    let one_entry = |client: u32, value: f32| {
        let (mut update, at) = (vec![0.0; VALUES as usize], client as usize);
        update[at] = 1.0;
        update[10 + 2 * at] = value;
        (update, update_info(client, &[]))
    };
    let cohort = vec![one_entry(0, 9.0), one_entry(1, 6.0), one_entry(2, 3.0)];
    let end = flexlora("balanced", "uniform").round(1, &[0.0; VALUES as usize], &cohort).unwrap();
    let mut expected = vec![0.0; 35];
    expected[0] = 3.0;
    expected[6] = 2.0;
    assert!(distance(&product(&layers()[0], &end, 2), &expected) < 1e-6);
    // The first direction alone is the best of rank 1.
    expected[6] = 0.0;
    assert!(distance(&product(&layers()[0], &end, 1), &expected) < 1e-6);
}

#[test]
fn balanced_sides_have_equal_norms_and_left_leaves_a_orthonormal() {
    let (base, cohort) = (normal(1, 0), normal_updates(4, VALUES, 2));
    let balanced = sum(&base, &flexlora("balanced", "uniform").round(1, &base, &cohort).unwrap());
    let left = sum(&base, &flexlora("left", "uniform").round(1, &base, &cohort).unwrap());
    for pair in layers() {
        assert!(distance(&product(&pair, &balanced, 2), &product(&pair, &left, 2)) < 1e-4);
        for k in 0..2 {
            let row = |values: &[f32]| {
                Vector::from_values(values[(pair.a.offset + k * pair.inputs) as usize..][..pair.inputs as usize].into())
                    .norm()
            };
            let b = Vector::from_values(balanced.clone());
            let column = cellm_plugin::algebra::column_norms(&pair.b.of(&b), pair.outputs, 2).values()[k as usize];
            assert!((row(&balanced) - f64::from(column)).abs() < 1e-5);
            assert!((row(&left) - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn clients_of_a_lower_rank_count_with_their_first_directions() {
    let (base, mut cohort) = (normal(1, 0), normal_updates(3, VALUES, 2));
    cohort[0].1.rank = 1;
    cohort[1].1.rank = 1;
    let end = sum(&base, &flexlora("balanced", "uniform").round(1, &base, &cohort).unwrap());
    for pair in layers() {
        let target = mean_product(&pair, &base, &cohort);
        let best = distance(&target, &product(&pair, &end, 2));
        for number in 0..50 {
            let draws = normal(3, number);
            let nearby: Vec<f32> = end.iter().zip(draws).map(|(value, draw)| value + 1e-2 * draw).collect();
            assert!(best <= distance(&target, &product(&pair, &nearby, 2)));
        }
    }
}

#[test]
fn directions_without_a_singular_value_keep_a_and_have_no_b() {
    let base = normal(1, 0);
    // Every client ends with B zero: the product is zero, and A would be, too.
    let mut update = vec![0.0; VALUES as usize];
    for pair in layers() {
        let at = pair.b.offset as usize..(pair.b.offset + pair.b.len) as usize;
        update[at.clone()].iter_mut().zip(&base[at]).for_each(|(update, base)| *update = -base);
    }
    let end = sum(&base, &flexlora("balanced", "uniform").round(1, &base, &[(update, update_info(0, &[]))]).unwrap());
    for pair in layers() {
        let (a, b) = (pair.a.offset as usize, pair.b.offset as usize);
        assert_eq!(end[a..a + pair.a.len as usize], base[a..a + pair.a.len as usize]);
        assert!(end[b..b + pair.b.len as usize].iter().all(|value| *value == 0.0));
    }
    // One client of rank 1: the second direction stays alive.
    let mut alone = normal_updates(1, VALUES, 2);
    alone[0].1.rank = 1;
    let end = sum(&base, &flexlora("balanced", "uniform").round(1, &base, &alone).unwrap());
    assert!(near(&end[5..10], &base[5..10], 1e-6));
    assert!((0..7).all(|i| end[10 + 2 * i + 1] == 0.0));
}

#[test]
fn order_does_not_matter_and_examples_weigh() {
    let (base, mut cohort) = (normal(1, 0), normal_updates(4, VALUES, 2));
    let one = flexlora("balanced", "uniform").round(1, &base, &cohort).unwrap();
    cohort.rotate_left(1);
    assert!(near(&one, &flexlora("balanced", "uniform").round(1, &base, &cohort).unwrap(), 1e-4));
    // A client that counts twice is two clients.
    let mut doubled = cohort.clone();
    doubled.push(cohort[0].clone());
    cohort[0].1.examples = 64;
    let weighed = flexlora("balanced", "examples").round(1, &base, &cohort).unwrap();
    assert!(near(&weighed, &flexlora("balanced", "uniform").round(1, &base, &doubled).unwrap(), 1e-4));
    assert_eq!(flexlora("balanced", "uniform").round(1, &base, &[]), Err(PolicyError::NoUpdates));
}

#[test]
fn the_step_adds_the_aggregate() {
    let next = flexlora("balanced", "uniform").step(1, &[1.0; 3], &[0.5; 3]);
    assert_eq!(next, Ok(vec![1.5; 3]));
}
