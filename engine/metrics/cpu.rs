//! CPU clocks: what a thread, or the whole process, has computed so far. Unlike the wall clock they do not run while
//! others have the processor.

use std::fs;

/// Ticks a second in `/proc/self/stat`: the same on every architecture of Linux that Rust builds for.
const TICKS: f64 = 100.0;

/// CPU seconds of the calling thread so far, to a few milliseconds; none where the system does not tell.
pub fn thread_cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds as f64 * 1e-9)
}

/// CPU seconds of this process so far, all threads, user and system; none where the system does not tell.
pub fn process_cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name is in brackets and may hold anything.
    let after_name = stat.rsplit(')').next()?;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().ok());
    Some(ticks.sum::<Option<f64>>()? / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run_while_a_thread_computes() {
        let (Some(thread), Some(process)) = (thread_cpu_seconds(), process_cpu_seconds()) else {
            eprintln!("skipped: this system does not tell CPU times");
            return;
        };
        let mut sum = 0_u64;
        while thread_cpu_seconds().unwrap() < thread + 0.05 {
            sum = (0..100_000).fold(sum, |sum, number| sum.wrapping_mul(31).wrapping_add(number));
        }
        assert!(process_cpu_seconds().unwrap() >= process + 0.02, "{sum}");
    }
}
