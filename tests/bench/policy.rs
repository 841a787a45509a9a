//! The cost of WebAssembly: policies at ten million values against native twins, the price of small calls, and the
//! bytes of index sets against their entropy. `cargo bench --bench policy` prints one line a measurement: median of
//! several runs.

mod twins;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use cellm::adapter::{AdapterLayout, Message, Part, Role, TensorSpec};
use cellm::policy::{
    Content, Context, Direction, LimitsConfig, Memory, PolicyConfig, PolicyHost, RoundMeta, UpdateMeta,
};
use cellm::random::{self, Purpose};
use cellm::wire;
use rand_core::Rng;

const VALUES: usize = 10_000_000;
/// The largest multiple of eden's blocks below.
const BLOCKS: usize = VALUES / EDEN_BLOCK * EDEN_BLOCK;
const EDEN_BLOCK: usize = 65_536;
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

/// The common parts of every measurement.
struct Bench {
    host: PolicyHost,
    context: Context,
    values: Arc<Vec<f32>>,
    start: Arc<Vec<f32>>,
}

impl Bench {
    /// Encodes and decodes with a policy and with a twin, which must make the same message.
    fn both_ways(
        &self,
        (policy, options): (&str, &str),
        len: usize,
        twin_encode: impl Fn(&[f32]) -> Vec<Part>,
        twin_decode: impl Fn(&[Part]) -> Vec<f32>,
    ) {
        let (values, start) = (Arc::new(self.values[..len].to_vec()), Arc::new(self.start[..len].to_vec()));
        let loaded = self.host.load(policy).expect("the policy is built in");
        let mut instance = loaded.compressor(&layout(len), options).expect("options are right");
        let memory = &mut Memory::default();
        let message = instance.encode(&self.context, values.clone(), start.clone(), memory).expect("encodes");
        assert_eq!(message.parts, twin_encode(&values), "{policy} and its twin do the same");
        compare(
            &format!("{policy} encode {len} {options}"),
            || timed(|| instance.encode(&self.context, values.clone(), start.clone(), memory)),
            || timed(|| twin_encode(&values)),
        );
        let decoded = instance.decode(&self.context, message.clone(), start.clone(), memory).expect("decodes");
        assert_eq!(*decoded, twin_decode(&message.parts), "{policy} and its twin do the same");
        compare(
            &format!("{policy} decode {len} {options}"),
            || {
                let message = message.clone();
                timed(|| instance.decode(&self.context, message, start.clone(), memory))
            },
            || timed(|| twin_decode(&message.parts)),
        );
    }

    /// The seed that the policy sees in its context.
    fn message_seed(&self) -> u64 {
        let Context { seed, round, client, .. } = self.context;
        random::stream(seed, Purpose::PolicyUpload, round, client.unwrap_or(u32::MAX)).next_u64()
    }

    fn fedavg(&self) {
        let fedavg = self.host.load("fedavg").expect("fedavg is built in");
        let mut mean = fedavg.aggregator(&layout(VALUES), "{}").expect("options are right");
        let (round, memory) = (RoundMeta { round: 1, rounds: 1, seed: 1, cohort: 1 }, &mut Memory::default());
        mean.begin(&round, self.start.clone(), memory).expect("begins");
        let meta = UpdateMeta { client: 0, examples: 1, loss: None, norm: 0.0, tier: 0, rank: 0 };
        let mut sum = vec![0.0_f32; VALUES];
        compare(
            "fedavg accept 10M",
            || timed(|| mean.accept(self.values.clone(), &meta, memory).expect("accepts")),
            || timed(|| sum.iter_mut().zip(self.values.iter()).for_each(|(sum, value)| *sum += value)),
        );
    }

    fn small_calls(&self) {
        let (tiny, memory) = (layout(1), &mut Memory::default());
        let dense = self.host.load("dense").expect("dense is built in");
        let mut instance = dense.compressor(&tiny, "{}").expect("options are right");
        let (one, none) = (Arc::new(vec![1.0]), Arc::new(vec![0.0]));
        let mut call = || timed(|| instance.encode(&self.context, one.clone(), none.clone(), memory));
        println!("dense encode of 1 value: {:.2} us", median((0..10_001).map(|_| call()).collect()) * 1e6);
        let fresh = (0..1001).map(|_| timed(|| dense.compressor(&tiny, "{}"))).collect();
        println!("dense instantiate and init: {:.1} us", median(fresh) * 1e6);
        let load = (0..RUNS).map(|_| timed(|| self.host.load("flasc"))).collect();
        println!("flasc load, compiled before: {:.1} ms", median(load) * 1e3);
    }
}

/// Bits that a coordinate of a random set costs in a frame, and that no coder can beat.
fn index_coding() {
    const SPACE: u32 = 1 << 20;
    for share in [4, 16, 64, 256] {
        let mut stream = random::stream(7, Purpose::NoopDelta, 0, 0);
        let indices: Vec<u32> = (0..SPACE).filter(|_| stream.next_u32() < u32::MAX / share).collect();
        let p = indices.len() as f64 / f64::from(SPACE);
        let entropy = (-p * p.log2() - (1.0 - p) * (1.0 - p).log2()) / p;
        let count = indices.len() as f64;
        let message = Message { parts: vec![Part::Indices { space: SPACE, indices }] };
        let (kind, upload) = (wire::FrameKind::Upload, wire::UploadHeader::default());
        let header = wire::Header { kind, layout: 0, policy: 0, round: 1, client: 0, sequence: 0, upload };
        let frame = wire::Frame::encode(&header, &message).expect("travels");
        let bits = frame.split().indices as f64 * 8.0 / count;
        println!("indices at 1/{share}: {bits:.3} bits each, entropy {entropy:.3}, ratio {:.3}", bits / entropy);
    }
}

fn main() {
    let bench = Bench {
        host: PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default()).expect("the engine starts"),
        context: Context {
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
        },
        values: Arc::new(delta(VALUES)),
        start: Arc::new(vec![0.0; VALUES]),
    };
    bench.both_ways(
        ("flasc", r#"{"reference":"zero"}"#),
        VALUES,
        |values| twins::flasc_encode(values, (VALUES as f64 * DENSITY) as usize),
        |parts| twins::flasc_decode(VALUES, parts),
    );
    bench.both_ways(
        ("topk-ef", r#"{"bits":2}"#),
        VALUES,
        |values| twins::topk_ef_encode(values, DENSITY),
        |parts| twins::topk_ef_decode(VALUES, parts),
    );
    let seed = bench.message_seed();
    bench.both_ways(
        ("eden", r#"{"bits":2}"#),
        BLOCKS,
        |values| twins::eden_encode(values, EDEN_BLOCK, seed),
        |parts| twins::eden_decode(EDEN_BLOCK, parts, seed),
    );
    bench.fedavg();
    bench.small_calls();
    index_coding();
}
