//! The speed of the kernels: `cargo run --release -p cellm-kernels --example speed`. In: nothing. Out: milliseconds
//! for ten million values, the best of five.

use std::hint::black_box;
use std::time::Instant;

use cellm_kernels as kernels;

const VALUES: usize = 10_000_000;

fn time(name: &str, mut work: impl FnMut()) {
    let run = |work: &mut dyn FnMut()| {
        let begin = Instant::now();
        work();
        begin.elapsed().as_secs_f64() * 1e3
    };
    let best = (0..5).map(|_| run(&mut work)).fold(f64::MAX, f64::min);
    println!("{name:24} {best:8.1} ms");
}

fn main() {
    let x = kernels::random_normal(VALUES, 1, 1);
    let mut own = kernels::random_normal(VALUES, 1, 2);
    let tenth = kernels::top_k(&x, 0, VALUES / 10);
    let sent = kernels::gather(&x, &tenth);
    let levels: Vec<f32> = (0..256).map(|level| (level as f32 - 127.5) / 40.0).collect();
    let codes = kernels::quantize(&x, &levels);
    time("axpy", || kernels::axpy(black_box(&mut own), 1e-3, &x));
    time("divide", || kernels::divide(black_box(&mut own), &x));
    time("count_nonzero", || kernels::count_nonzero(black_box(&mut own), &x));
    time("norm", || {
        black_box(kernels::norm(&x));
    });
    time("dot", || {
        black_box(kernels::dot(&x, &own));
    });
    time("max_abs", || {
        black_box(kernels::max_abs(&x));
    });
    time("top_k 1/10", || drop(black_box(kernels::top_k(&x, 0, VALUES / 10))));
    time("top_k_chunked 64/4096", || drop(black_box(kernels::top_k_chunked(&x, 0, 4096, 64))));
    time("gather 1/10", || drop(black_box(kernels::gather(&x, &tenth))));
    time("scatter 1/10", || kernels::scatter(black_box(&mut own), &tenth, &sent));
    time("keep 1/10", || kernels::keep(black_box(&mut own), &tenth));
    time("nonzero", || drop(black_box(kernels::nonzero(&x))));
    time("complement", || drop(black_box(kernels::complement(VALUES as u32, &tenth))));
    time("quantize 4", || drop(black_box(kernels::quantize(&x, &levels[126..130]))));
    time("quantize 256", || drop(black_box(kernels::quantize(&x, &levels))));
    time("quantize_stochastic 256", || drop(black_box(kernels::quantize_stochastic(&x, &levels, 1, 1))));
    time("dequantize", || drop(black_box(kernels::dequantize(&codes, &levels))));
    time("lloyd_levels 16", || drop(black_box(kernels::lloyd_levels(&x, 16, 100))));
    let whole = 1 << 16;
    let rotated = VALUES / whole * whole;
    time("rotate 65536", || kernels::rotate(black_box(&mut own[..rotated]), whole, 1, 1));
    time("random_uniform", || drop(black_box(kernels::random_uniform(VALUES, 1, 1))));
    time("random_normal", || drop(black_box(kernels::random_normal(VALUES, 1, 1))));
    let parts: Vec<&[f32]> = x.chunks(VALUES / 10).collect();
    time("median 10 x 1 million", || drop(black_box(kernels::median(&parts))));
    time("trimmed_mean 10 x 1 mio", || drop(black_box(kernels::trimmed_mean(&parts, 2))));
    time("svd 768 x 160 x 768 to 16", || {
        let (left, right) = (&x[..768 * 160], &x[1_000_000..1_000_000 + 160 * 768]);
        drop(black_box(kernels::svd_of_product(left, right, 768, 160, 768, 16)));
    });
}
