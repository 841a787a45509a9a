//! What WebAssembly costs: flasc at ten million values against the same algorithm as plain Rust, and the price of small
//! calls. `cargo bench --bench policy` prints one line a measurement: median of several runs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use cellm::adapter::{AdapterLayout, Message, Role, TensorSpec};
use cellm::policy::{Context, Direction, LimitsConfig, PolicyHost, UpdateMeta};

const VALUES: usize = 10_000_000;
const DENSITY: f64 = 1.0 / 16.0;
const RUNS: usize = 9;

/// Median seconds of several runs; `prepare` is not timed.
fn median<P, T>(runs: usize, mut prepare: impl FnMut() -> P, mut work: impl FnMut(P) -> T) -> f64 {
    let mut seconds: Vec<f64> = (0..runs)
        .map(|_| {
            let prepared = prepare();
            let started = Instant::now();
            black_box(work(prepared));
            started.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[runs / 2]
}

/// The twin: exact top-k by a histogram of the leading bits of the absolute value, then gather. Plain and native.
fn twin_encode(values: &[f32], k: usize) -> (Vec<u32>, Vec<f32>) {
    let key = |value: f32| value.to_bits() & 0x7fff_ffff;
    let mut counts = vec![0_usize; 1 << 12];
    for value in values {
        counts[(key(*value) >> 19) as usize] += 1;
    }
    let (mut digit, mut left) = (counts.len() - 1, k);
    while counts[digit] < left {
        left -= counts[digit];
        digit -= 1;
    }
    let mut keys: Vec<u32> = values.iter().map(|v| key(*v)).filter(|key| (key >> 19) as usize == digit).collect();
    let (_, threshold, _) = keys.select_nth_unstable_by(left - 1, |a, b| b.cmp(a));
    let threshold = *threshold;
    let mut ties = k - values.iter().filter(|value| key(**value) > threshold).count();
    let mut indices = Vec::with_capacity(k);
    for (index, value) in values.iter().enumerate() {
        let key = key(*value);
        if key > threshold || (key == threshold && ties > 0) {
            ties -= usize::from(key == threshold);
            indices.push(index as u32);
        }
    }
    let sent = indices.iter().map(|index| values[*index as usize]).collect();
    (indices, sent)
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
    let host = PolicyHost::new(&LimitsConfig::default()).expect("the engine starts");
    let context = Context { direction: Direction::Upload, round: 1, rounds: 1, seed: 1, client: Some(0), examples: 1 };
    let large = layout(VALUES);
    let (values, start) = (Arc::new(delta(VALUES)), Arc::new(vec![0.0; VALUES]));
    let k = (VALUES as f64 * DENSITY) as usize;
    let ms = |seconds: f64| seconds * 1e3;

    let flasc = host.load("flasc").expect("flasc is built in");
    let mut instance = flasc.compressor(&large, &format!(r#"{{"density":{DENSITY}}}"#)).expect("options are right");
    let native = median(RUNS, || (), |()| twin_encode(&values, k));
    let wasm = median(RUNS, || (), |()| instance.encode(&context, values.clone(), start.clone()));
    println!(
        "flasc encode 10M, 1/16: {:.1} ms, native twin {:.1} ms, ratio {:.2}",
        ms(wasm),
        ms(native),
        wasm / native
    );

    let message: Message = instance.encode(&context, values.clone(), start.clone()).expect("encodes");
    let (indices, sent) = twin_encode(&values, k);
    let native = median(RUNS, || (), |()| twin_decode(VALUES, &indices, &sent));
    let wasm = median(RUNS, || message.clone(), |message| instance.decode(&context, message, start.clone()));
    println!(
        "flasc decode 10M, 1/16: {:.1} ms, native twin {:.1} ms, ratio {:.2}",
        ms(wasm),
        ms(native),
        wasm / native
    );

    let fedavg = host.load("fedavg").expect("fedavg is built in");
    let mut mean = fedavg.aggregator(&large, "{}").expect("options are right");
    mean.begin(1).expect("begins");
    let meta = UpdateMeta { client: 0, examples: 1, loss: 0.0, norm: 0.0 };
    let mut update = values.to_vec();
    let wasm = median(RUNS, || (), |()| update = mean.accept(std::mem::take(&mut update), &meta).expect("accepts"));
    let mut sum = vec![0.0_f32; VALUES];
    let native = median(RUNS, || (), |()| sum.iter_mut().zip(values.iter()).for_each(|(sum, value)| *sum += value));
    println!("fedavg accept 10M: {:.1} ms, native twin {:.1} ms, ratio {:.2}", ms(wasm), ms(native), wasm / native);

    let tiny = layout(1);
    let dense = host.load("dense").expect("dense is built in");
    let mut instance = dense.compressor(&tiny, "{}").expect("options are right");
    let (one, none) = (Arc::new(vec![1.0]), Arc::new(vec![0.0]));
    let call = median(10_001, || (), |()| instance.encode(&context, one.clone(), none.clone()));
    println!("dense encode of 1 value: {:.2} us", call * 1e6);
    let fresh = median(1001, || (), |()| dense.compressor(&tiny, "{}"));
    println!("dense instantiate and init: {:.1} us", fresh * 1e6);
    let load = median(RUNS, || (), |()| host.load("flasc"));
    println!("flasc load, compiled before: {:.1} ms", ms(load));
}
