//! Binary arithmetic coding: a decision that has probability p costs -log2(p) bits.
//!
//! In: decisions, and the probability of each being true. Out: bytes; and back. The decoder never fails: whatever the bytes
//! are, it reads decisions, as if zeros followed for ever.

/// One side of the coder. A message is walked through once, by the same code at both ends.
pub trait Binary {
    /// Codes one decision that is true with probability `p / 65536`, `0 < p < 65536`. The encoder is told the decision; the
    /// decoder ignores what it is told. Both return it.
    fn code(&mut self, p: u32, decision: bool) -> bool;
}

/// The interval that is left, `low..=high`: the first bytes that both ends share are settled.
#[derive(Debug)]
struct Interval {
    low: u32,
    high: u32,
}

impl Interval {
    fn whole() -> Self {
        Self { low: 0, high: u32::MAX }
    }

    /// The last value of the part that stands for true.
    fn split(&self, p: u32) -> u32 {
        self.low + ((u64::from(self.high - self.low) * u64::from(p)) >> 16) as u32
    }

    fn choose(&mut self, split: u32, decision: bool) {
        if decision { self.high = split } else { self.low = split + 1 }
    }

    /// The next settled byte, if there is one.
    fn settled(&mut self) -> Option<u8> {
        if (self.low ^ self.high) >> 24 != 0 {
            return None;
        }
        let byte = (self.high >> 24) as u8;
        (self.low, self.high) = (self.low << 8, self.high << 8 | 0xff);
        Some(byte)
    }
}

/// Decisions to bytes.
#[derive(Debug)]
pub struct Encoder {
    interval: Interval,
    bytes: Vec<u8>,
}

impl Encoder {
    /// Of no decision yet.
    pub fn new() -> Self {
        Self { interval: Interval::whole(), bytes: Vec::new() }
    }

    /// The bytes of everything that was coded: as few as tell it apart.
    pub fn finish(mut self) -> Vec<u8> {
        let Interval { low, high } = self.interval;
        // The value in the interval that has the most zeros at its end; zeros at the end of all need not be sent.
        let value = (1..=32).map(|zeros| (u64::from(low) + (1 << zeros) - 1) >> zeros << zeros);
        let value = value.take_while(|value| *value <= u64::from(high)).last().unwrap_or(u64::from(low));
        self.bytes.extend((value as u32).to_be_bytes());
        while self.bytes.last() == Some(&0) {
            self.bytes.pop();
        }
        self.bytes
    }
}

impl Binary for Encoder {
    fn code(&mut self, p: u32, decision: bool) -> bool {
        let split = self.interval.split(p);
        self.interval.choose(split, decision);
        while let Some(byte) = self.interval.settled() {
            self.bytes.push(byte);
        }
        decision
    }
}

/// Bytes to decisions.
#[derive(Debug)]
pub struct Decoder<'a> {
    interval: Interval,
    value: u32,
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// At the beginning of what an [`Encoder`] made.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { interval: Interval::whole(), value: 0, rest: bytes };
        for _ in 0..4 {
            decoder.value = decoder.value << 8 | decoder.next();
        }
        decoder
    }

    /// Bytes that no decision needed: none, of what an encoder made of as many decisions.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    fn next(&mut self) -> u32 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        u32::from(*first)
    }
}

impl Binary for Decoder<'_> {
    fn code(&mut self, p: u32, _: bool) -> bool {
        let split = self.interval.split(p);
        let decision = self.value <= split;
        self.interval.choose(split, decision);
        while self.interval.settled().is_some() {
            self.value = self.value << 8 | self.next();
        }
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decisions that are true as often as `p` says, from a small generator.
    fn decisions(count: usize) -> Vec<(u32, bool)> {
        let mut state = 1_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 48) as u32
        };
        (0..count)
            .map(|_| {
                let p = (draw() >> (draw() % 14)).clamp(1, 65_535);
                (p, draw() < p)
            })
            .collect()
    }

    #[test]
    fn decisions_come_back_and_cost_their_information() {
        for count in [0, 1, 2, 3, 10, 100, 20_000] {
            let decisions = decisions(count);
            let mut encoder = Encoder::new();
            for (p, decision) in &decisions {
                encoder.code(*p, *decision);
            }
            let bytes = encoder.finish();
            let bits: f64 = decisions
                .iter()
                .map(|(p, decision)| {
                    let p = f64::from(*p) / 65_536.0;
                    -(if *decision { p } else { 1.0 - p }).log2()
                })
                .sum();
            assert!(bytes.len() as f64 <= bits / 8.0 * 1.0005 + 2.0, "{} bytes for {bits} bits", bytes.len());
            let mut decoder = Decoder::new(&bytes);
            for (p, decision) in &decisions {
                assert_eq!(decoder.code(*p, !decision), *decision);
            }
            assert_eq!(decoder.left(), 0);
        }
    }

    #[test]
    fn any_bytes_are_read() {
        for byte in [0, 1, 0x7f, 0xff] {
            let bytes = vec![byte; 100];
            let mut decoder = Decoder::new(&bytes);
            for (p, _) in decisions(5_000) {
                decoder.code(p, false);
            }
        }
    }
}
