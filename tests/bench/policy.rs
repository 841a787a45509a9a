//! What WebAssembly costs: flasc at ten million values against the same algorithm as plain Rust, and the price of small
//! calls. `cargo bench --bench policy` prints one line a measurement: median of several runs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use cellm::adapter::{AdapterLayout, Message, Part, Role, TensorSpec, ValueCoding};
use cellm::policy::{
    Content, Context, Direction, LimitsConfig, Memory, PolicyConfig, PolicyHost, RoundMeta, UpdateMeta,
};

const VALUES: usize = 10_000_000;
const DENSITY: f64 = 1.0 / 16.0;
const RUNS: usize = 15;

/// Seconds that one call takes.
fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let started = Instant::now();
    black_box(work());
    started.elapsed().as_secs_f64()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Runs policy and twin in turn, so that both meet the same load, and prints their medians.
fn compare(what: &str, mut policy: impl FnMut() -> f64, mut twin: impl FnMut() -> f64) {
    let (policy, twin): (Vec<f64>, Vec<f64>) = (0..RUNS).map(|_| (policy(), twin())).unzip();
    let (policy, twin) = (median(policy), median(twin));
    println!("{what}: {:.1} ms, native twin {:.1} ms, ratio {:.2}", policy * 1e3, twin * 1e3, policy / twin);
}

/// The twin: the same select and gather, plain and native, nothing shared with the engine. Exact top-k by a histogram of
/// the leading bits of the absolute value, a quick select inside the digit that holds the k-th, one branch-free pass.
fn twin_encode(values: &[f32], k: usize) -> (Vec<u32>, Vec<f32>) {
    let key = |value: f32| value.to_bits() & 0x7fff_ffff;
    let mut counts = vec![[0_u32; 1 << 12]; 4];
    for quad in values.chunks_exact(4) {
        for (histogram, value) in counts.iter_mut().zip(quad) {
            histogram[(key(*value) >> 19) as usize] += 1;
        }
    }
    for value in values.chunks_exact(4).remainder() {
        counts[0][(key(*value) >> 19) as usize] += 1;
    }
    let count = |digit: usize| counts.iter().map(|histogram| histogram[digit] as usize).sum::<usize>();
    let (mut digit, mut left) = ((1 << 12) - 1, k);
    while count(digit) < left {
        left -= count(digit);
        digit -= 1;
    }
    let mut keys = Vec::new();
    compact(values, |_, value| (key(value), (key(value) >> 19) as usize == digit), &mut keys);
    let (_, threshold, _) = keys.select_nth_unstable_by(left - 1, |a, b| b.cmp(a));
    let threshold = *threshold;
    let mut indices = Vec::with_capacity(k);
    compact(values, |index, value| (index, key(value) >= threshold), &mut indices);
    let mut surplus = indices.len() - k;
    while surplus > 0 {
        let last = indices.iter().rposition(|index| key(values[*index as usize]) == threshold);
        indices.remove(last.expect("a surplus is of ties"));
        surplus -= 1;
    }
    let sent = indices.iter().map(|index| values[*index as usize]).collect();
    (indices, sent)
}

/// Appends the first of what `each` gives wherever the second says so.
fn compact(values: &[f32], each: impl Fn(u32, f32) -> (u32, bool), into: &mut Vec<u32>) {
    let mut buffer = [0; 1024];
    let mut index = 0;
    for chunk in values.chunks(buffer.len()) {
        let mut found = 0;
        for value in chunk {
            let (item, taken) = each(index, *value);
            buffer[found % 1024] = item;
            found += usize::from(taken);
            index += 1;
        }
        into.extend_from_slice(&buffer[..found]);
    }
}

fn twin_decode(values: usize, indices: &[u32], sent: &[f32]) -> Vec<f32> {
    let mut whole = vec![0.0; values];
    for (index, value) in indices.iter().zip(sent) {
        whole[*index as usize] = *value;
    }
    whole
}

fn layout(values: usize) -> Arc<AdapterLayout> {
    let (name, role) = ("bench".into(), Role::LoraB);
    Arc::new(AdapterLayout::new(vec![TensorSpec { name, role, shape: vec![values], rank: 1, scale: 1.0, seed: 1 }]))
}

/// Bell-shaped like a delta: the sum of four even draws.
fn delta(len: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| (draw() + draw() + draw() + draw()) * 1e-3).collect()
}

fn main() {
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default()).expect("the engine starts");
    let context = Context {
        direction: Direction::Upload,
        content: Content::Delta,
        round: 1,
        rounds: 1,
        seed: 1,
        client: Some(0),
        tier: 0,
        density: DENSITY,
        rank: 0,
        byte_budget: None,
        examples: 1,
        loss: None,
        last_seen: None,
    };
    let memory = &mut Memory::default();
    let large = layout(VALUES);
    let (values, start) = (Arc::new(delta(VALUES)), Arc::new(vec![0.0; VALUES]));
    let k = (VALUES as f64 * DENSITY) as usize;

    let flasc = host.load("flasc").expect("flasc is built in");
    let mut instance = flasc.compressor(&large, r#"{"reference":"zero"}"#).expect("options are right");
    compare(
        "flasc encode 10M, 1/16",
        || timed(|| instance.encode(&context, values.clone(), start.clone(), memory)),
        || timed(|| twin_encode(&values, k)),
    );

    let message: Message = instance.encode(&context, values.clone(), start.clone(), memory).expect("encodes");
    let (indices, sent) = twin_encode(&values, k);
    assert_eq!(
        message.parts,
        [
            Part::Indices { space: VALUES as u32, indices: indices.clone() },
            Part::Values { coding: ValueCoding::F32, values: sent.clone() }
        ],
        "policy and twin do the same"
    );
    compare(
        "flasc decode 10M, 1/16",
        || {
            let message = message.clone();
            timed(|| instance.decode(&context, message, start.clone(), memory))
        },
        || timed(|| twin_decode(VALUES, &indices, &sent)),
    );

    let fedavg = host.load("fedavg").expect("fedavg is built in");
    let mut mean = fedavg.aggregator(&large, "{}").expect("options are right");
    let round = RoundMeta { round: 1, rounds: 1, seed: 1, cohort: 1 };
    mean.begin(&round, start.clone(), memory).expect("begins");
    let meta = UpdateMeta { client: 0, examples: 1, loss: 0.0, norm: 0.0, tier: 0, rank: 0 };
    let mut update = values.to_vec();
    let mut sum = vec![0.0_f32; VALUES];
    compare(
        "fedavg accept 10M",
        || timed(|| update = mean.accept(std::mem::take(&mut update), &meta, memory).expect("accepts")),
        || timed(|| sum.iter_mut().zip(values.iter()).for_each(|(sum, value)| *sum += value)),
    );

    let tiny = layout(1);
    let dense = host.load("dense").expect("dense is built in");
    let mut instance = dense.compressor(&tiny, "{}").expect("options are right");
    let (one, none) = (Arc::new(vec![1.0]), Arc::new(vec![0.0]));
    let call = (0..10_001).map(|_| timed(|| instance.encode(&context, one.clone(), none.clone(), memory))).collect();
    println!("dense encode of 1 value: {:.2} us", median(call) * 1e6);
    let fresh = (0..1001).map(|_| timed(|| dense.compressor(&tiny, "{}"))).collect();
    println!("dense instantiate and init: {:.1} us", median(fresh) * 1e6);
    let load = (0..RUNS).map(|_| timed(|| host.load("flasc"))).collect();
    println!("flasc load, compiled before: {:.1} ms", median(load) * 1e3);
}
