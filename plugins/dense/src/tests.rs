//! The messages of dense in each coding.

use cellm_plugin::harness::{Adapter, Harness};
use cellm_plugin::{Direction, OptionValue, PolicyError};

use super::Dense;

fn adapter() -> Adapter {
    Adapter::lora(4, &[(40, 24), (24, 40)])
}

fn dense(bits: u32, options: &[(&str, OptionValue)]) -> Result<Harness<Dense>, PolicyError> {
    Harness::new(&adapter(), bits, options)
}

#[test]
fn thirty_two_bits_are_lossless_and_sixteen_nearly() {
    let delta = adapter().delta(1, 1.0);
    for (bits, values, error) in [(32, "bits", 0.0), (16, "bits", 1e-3), (32, "f16", 1e-3), (32, "bf16", 1e-2)] {
        let mut dense = dense(bits, &[("values", values.into())]).unwrap();
        let sent = dense.upload(1, 0, &delta).unwrap();
        let got = dense.collect(&sent).unwrap();
        assert!(got.iter().zip(&delta).all(|(a, b)| (a - b).abs() <= error * b.abs() + 1e-7), "{values} {bits}");
        assert_eq!(sent.bytes > 3 * u64::from(adapter().values()), error == 0.0);
    }
}

#[test]
fn eight_bits_are_within_half_a_step_of_each_tensor() {
    let weights = adapter().weights(1, 1.0);
    let mut dense = dense(8, &[]).unwrap();
    let sent = dense.broadcast(1, &weights).unwrap();
    let got = dense.receive(0, &sent).unwrap();
    assert!(sent.bytes < u64::from(adapter().values()) + 100);
    for tensor in &adapter().layout.tensors {
        let range = tensor.offset as usize..(tensor.offset + tensor.len) as usize;
        let largest = weights[range.clone()].iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let worst = range.map(|i| (got[i] - weights[i]).abs()).fold(0.0, f32::max);
        assert!(worst <= largest / 127.0 * 0.501, "{}: {worst} of {largest}", tensor.name);
    }
}

#[test]
fn stochastic_rounding_is_right_on_average() {
    let delta = adapter().delta(1, 1.0);
    let mut dense = dense(8, &[("stochastic", true.into())]).unwrap();
    let mut mean = vec![0.0_f64; delta.len()];
    for round in 1..=400 {
        let sent = dense.upload(round, 0, &delta).unwrap();
        let got = dense.collect(&sent).unwrap();
        mean.iter_mut().zip(got).for_each(|(mean, value)| *mean += f64::from(value) / 400.0);
    }
    let step = delta.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())) / 127.0;
    // Half a step of noise, 400 times: five standard errors.
    let allowed = f64::from(step) * 0.5 / 20.0 * 5.0;
    assert!(mean.iter().zip(&delta).all(|(mean, value)| (mean - f64::from(*value)).abs() < allowed));
}

#[test]
fn zeros_stay_zeros_in_eight_bits_and_what_is_not_finite_is_refused() {
    let mut values = vec![0.0; adapter().start.len()];
    let mut dense = dense(8, &[]).unwrap();
    let sent = dense.upload(1, 0, &values).unwrap();
    assert_eq!(dense.collect(&sent).unwrap(), values);
    values[0] = f32::NAN;
    let refused = dense.upload(1, 0, &values).unwrap_err();
    assert!(matches!(refused, PolicyError::Other(message) if message.contains("lora_A")));
}

#[test]
fn other_bits_are_refused_with_what_is_allowed() {
    let Err(PolicyError::BadOption(bad)) = dense(4, &[]) else { panic!("4 bits were taken") };
    assert_eq!((bad.name.as_str(), bad.found.as_str(), bad.allowed.as_str()), ("bits", "4", "8, 16 or 32"));
}

#[test]
fn a_message_of_another_run_is_a_bad_message() {
    let delta = adapter().delta(1, 1.0);
    let sent = dense(32, &[]).unwrap().upload(1, 0, &delta).unwrap();
    for bits in [8, 16] {
        let mut other = dense(bits, &[]).unwrap();
        assert!(other.policy(Direction::Upload).is_ok());
        assert!(matches!(other.collect(&sent), Err(PolicyError::BadMessage(_))));
    }
}
