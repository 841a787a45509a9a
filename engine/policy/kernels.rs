//! The host functions in front of the kernels of `cellm_kernels`: each first checks lengths (a trap that names the
//! call and both values), then charges work and memory, then runs the kernel.

mod algebra;
mod elementwise;
mod order;
mod quantizer;
mod selection;

#[cfg(test)]
mod tests;
