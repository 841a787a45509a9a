//! What stands between a policy's call and a kernel of `cellm_kernels`: lengths are checked first (a trap that names the
//! call and both values), then work and memory are charged, then the kernel runs.

mod algebra;
mod elementwise;
mod order;
mod quantizer;
mod selection;

#[cfg(test)]
mod tests;
