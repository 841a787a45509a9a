//! The new start of A in each round. In: the round's seed, or the base of the first round. Out: A of each pair.

use cellm_plugin::pairs::Pair;
use cellm_plugin::{Vector, load, save};

/// A of every pair in the first round's base, from the server's memory; this round's, when there is none yet.
pub fn remembered(pairs: &[Pair], base: &Vector) -> Vec<Vector> {
    let start = |(number, pair): (usize, &Pair)| {
        let key = format!("start of A {number}");
        load(&key).unwrap_or_else(|| {
            let start = pair.a.of(base);
            save(&key, &start);
            start
        })
    };
    pairs.iter().enumerate().map(start).collect()
}

/// A of every pair, drawn uniform in `+-1 / sqrt(inputs)`, as LoRA's A starts (Kaiming, `a = sqrt(5)`).
pub fn drawn(pairs: &[Pair], seed: u64) -> Vec<Vector> {
    // The pair's number is that of its stream, so that each has a draw of its own.
    pairs.iter().zip(0..).map(|(pair, number)| draw(pair, seed, number)).collect()
}

fn draw(pair: &Pair, seed: u64, number: u64) -> Vector {
    let bound = 1.0 / (pair.inputs as f32).sqrt();
    let drawn = Vector::random_uniform(pair.a.len, seed, number);
    let ones = Vector::new(pair.a.len);
    ones.write(0, &vec![1.0; pair.a.len as usize]);
    drawn.scale(2.0 * bound);
    drawn.axpy(-bound, &ones);
    drawn
}
