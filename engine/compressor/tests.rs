//! Compressors with a real policy and real frames: what a tracked download gives a receiver of its own, what an upload
//! leaves out, what a tier and a budget are told.

use std::sync::Arc;

use super::worker::{Compressor, Shared};
use super::*;
use crate::adapter::{AdapterLayout, Role, TensorSpec};
use crate::metrics::Metrics;
use crate::policy::{Content, Direction, LimitsConfig, Memory, PolicyConfig, PolicyHost};
use crate::roster::{Tier, Tiers};
use crate::wire::{Frame, FrameKind, Limits, UploadHeader};

const VALUES: usize = 600;

/// Both directions through `flasc`, with `change` made to both sections.
fn plans(change: impl Fn(&mut Config)) -> (Plans, PolicyHost) {
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default()).unwrap();
    let spec =
        TensorSpec { name: "a".into(), role: Role::LoraA, shape: vec![6, VALUES / 6], rank: 6, scale: 1.0, seed: 3 };
    let layout = Arc::new(AdapterLayout::new(vec![spec]));
    let start = layout.start().0;
    let tiers = [Tier { share: 0.5, density: Some(0.5), rank: 2 }, Tier { share: 0.5, density: None, rank: 0 }];
    let run = OfRun { rounds: 9, seed: 1, tiers: Arc::new(Tiers::new(1, &tiers)) };
    let plan = |direction| {
        let mut config = Config { density: 0.1, ..Config::of_uploads() };
        change(&mut config);
        Arc::new(CodecPlan::new(&config, direction, &host, layout.clone(), start.clone(), run.clone()).unwrap())
    };
    (Plans { download: plan(Direction::Download), upload: plan(Direction::Upload) }, host)
}

fn weights(round: u32, start: &[f32]) -> Arc<Vec<f32>> {
    let moved = |(at, value): (usize, &f32)| value + (round as f32 * 0.01) * ((at * 7 + round as usize) as f32).sin();
    Arc::new(start.iter().enumerate().map(moved).collect())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_receiver_of_its_own_has_the_servers_reference_after_frames_and_after_a_snapshot() {
    let (plans, _host) = plans(|config| config.error_feedback = true);
    let metrics = Arc::new(Metrics::new());
    let mut server = Compressor::new(&plans, &metrics, Shared::default());
    let mut receiver = plans.download.codec(&metrics);
    let start = plans.download.start().clone();
    let mut tracker = Tracker::new(start.clone());
    let mut shown = start.clone();
    for round in 1..=6 {
        let occasion = Occasion::broadcast(round, 1);
        let made = server.broadcast(&occasion, weights(round, &start), Some(&tracker), Memory::default()).unwrap();
        tracker = made.tracker.unwrap();
        shown = made.values;
    }
    let mut reference = Reference::new(start.clone());
    for frame in tracker.missed(0).unwrap() {
        let header = *frame.header();
        assert_eq!((header.kind, header.sequence), (FrameKind::Download, header.round));
        let occasion = Occasion::broadcast(header.round, 1);
        let decoded = receiver.decode(&occasion, &frame, &mut Memory::default()).unwrap().values;
        assert!(reference.advanced(header.sequence + 1, &decoded).is_err(), "no broadcast can be left out");
        reference = reference.advanced(header.sequence, &decoded).unwrap();
    }
    assert_eq!(bits(reference.values()), bits(&shown));
    let snapshot = server.snapshot(&Occasion::broadcast(7, 1), tracker.reference()).unwrap();
    let (header, message) = (snapshot.header(), snapshot.decode(&Limits::for_values(VALUES)).unwrap());
    assert_eq!((header.kind, header.round, header.sequence), (FrameKind::CatchUp, 7, 6));
    let caught_up = Reference::from_snapshot(header.sequence, &start, &message).unwrap();
    assert_eq!(bits(caught_up.values()), bits(&shown));
}

#[test]
fn a_tracked_broadcast_comes_closer_each_round_and_an_untracked_one_does_not() {
    let distance = |tracked: bool| {
        let (plans, _host) = plans(|config| config.error_feedback = tracked);
        let mut server = Compressor::new(&plans, &Arc::new(Metrics::new()), Shared::default());
        let target = weights(5, plans.download.start());
        let mut tracker = tracked.then(|| Tracker::new(plans.download.start().clone()));
        let mut distances = Vec::new();
        for round in 1..=8 {
            let occasion = Occasion::broadcast(round, 1);
            let made = server.broadcast(&occasion, target.clone(), tracker.as_ref(), Memory::default()).unwrap();
            tracker = made.tracker;
            let squares = made.values.iter().zip(&*target).map(|(got, meant)| f64::from(got - meant).powi(2));
            distances.push(squares.sum::<f64>().sqrt());
        }
        distances
    };
    let (tracked, untracked) = (distance(true), distance(false));
    assert!(tracked.windows(2).all(|pair| pair[1] < pair[0]), "{tracked:?}");
    assert!(untracked.windows(2).all(|pair| pair[1] == pair[0]), "{untracked:?}");
    assert!(tracked[7] < 0.2 * untracked[7], "{tracked:?} {untracked:?}");
}

#[test]
fn clients_of_a_process_share_a_broadcast_and_a_difference_without_its_reference_is_refused() {
    let (plans, _host) = plans(|config| config.error_feedback = true);
    let metrics = Arc::new(Metrics::new());
    let shared = Shared::default();
    let mut server = Compressor::new(&plans, &metrics, shared.clone());
    let occasion = Occasion::broadcast(1, 0);
    let start = plans.download.start().clone();
    let tracker = Tracker::new(start.clone());
    let made = server.broadcast(&occasion, weights(1, &start), Some(&tracker), Memory::default()).unwrap();
    let mut client = Compressor::new(&plans, &metrics, shared);
    let (values, _) = client.receive(&occasion, &made.frame, Memory::default()).unwrap();
    assert!(Arc::ptr_eq(&values, &made.values));
    let elsewhere = Frame::read(made.frame.to_bytes()).unwrap();
    let error = client.receive(&occasion, &elsewhere, Memory::default()).unwrap_err().to_string();
    assert_eq!(error, "broadcast 1 is a difference, and the reference that it is to is not here");
}

#[test]
fn an_upload_carries_what_the_client_says_and_leaves_the_rest_for_later() {
    let (plans, _host) = plans(|config| config.error_feedback = true);
    let metrics = Arc::new(Metrics::new());
    let mut client = Compressor::new(&plans, &metrics, Shared::default());
    let mut server = plans.upload.codec(&metrics);
    let header = UploadHeader { examples: 12, loss: Some(2.5) };
    let delta = weights(3, &vec![0.0; VALUES]);
    let mut residual: Option<Arc<Vec<f32>>> = None;
    let mut sum = vec![0.0_f32; VALUES];
    for round in 1..=40 {
        let occasion = Occasion { upload: header, ..Occasion::of_client(round, 4, 1, round.checked_sub(1)) };
        let upload = client.upload(&occasion, &delta, residual.as_deref(), Memory::default()).unwrap();
        let decoded = server
            .decode(&Occasion { upload: UploadHeader::default(), ..occasion }, &upload.frame, &mut Memory::default())
            .unwrap();
        assert_eq!(decoded.upload, header, "the server reads it from the frame");
        sum.iter_mut().zip(&*decoded.values).for_each(|(sum, value)| *sum += value);
        residual = upload.residual;
    }
    let left = residual.unwrap();
    for ((sum, delta), left) in sum.iter().zip(&*delta).zip(&*left) {
        let meant = 40.0 * delta;
        assert!((sum + left - meant).abs() < 1e-4, "{sum} sent and {left} left of {meant}");
    }
    let norm = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    assert!(norm(&left) < 0.3 * 40.0 * norm(&delta), "{} left of {}", norm(&left), 40.0 * norm(&delta));
}

#[test]
fn a_message_knows_its_tier_its_budget_and_what_it_holds() {
    let (plans, _host) = plans(|config| (config.byte_budget, config.error_feedback) = (5000, true));
    let occasion = |tier| Occasion::of_client(2, 7, tier, Some(1));
    let (down, up) = (plans.download.context(&occasion(0)), plans.upload.context(&occasion(1)));
    assert_eq!((down.density, down.rank, down.tier, down.content), (0.5, 2, 0, Content::Difference));
    assert_eq!((up.density, up.rank, up.tier, up.content), (0.1, 0, 1, Content::Delta));
    assert_eq!((up.byte_budget, up.last_seen, up.client), (Some(5000), Some(1), Some(7)));
    assert_eq!(plans.download.widest(&[0, 1]), 0);
    let verdict = plans.upload.verdict(2, 7, true).unwrap();
    let header = verdict.header();
    assert_eq!((header.kind, header.client, verdict.len()), (FrameKind::Verdict, 7, 24));
}

#[test]
fn a_frame_of_another_policy_is_refused_with_the_policy_the_hook_and_both_hashes() {
    let ([theirs, ours], metrics) = (["dense", "flasc"], Arc::new(Metrics::new()));
    let [(theirs, _one), (ours, _other)] = [theirs, ours].map(|name| plans(|config| config.policy = name.into()));
    let occasion = Occasion::of_client(1, 0, 0, None);
    let delta = Arc::new(vec![1e-3; VALUES]);
    let frame = theirs.upload.codec(&metrics).encode(&occasion, delta, &mut Memory::default()).unwrap();
    let refused =
        ours.upload.codec(&metrics).decode(&occasion, &frame, &mut Memory::default()).unwrap_err().to_string();
    let hash = |plans: &Plans| format!("{:08x}", plans.upload.policy().hash.short());
    let (found, expected) = (hash(&theirs), hash(&ours));
    let wanted =
        format!("policy flasc was given another frame to decode: its policy hash is {found}, expected {expected}");
    assert_eq!(refused, wanted);
}
