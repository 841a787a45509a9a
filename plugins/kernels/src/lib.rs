//! The kernels that the host lends to policies (`wit/policy.wit`, interfaces `host` and `algebra`), as pure functions over
//! slices. The engine calls them for components, the SDK calls them when a policy is tested natively.
//!
//! In: slices whose lengths the caller has checked. Out: the same bits on every machine: sums run in a fixed order, nothing
//! is fused, transcendental functions come from `libm`. A kernel whose lengths do not fit panics; none allocates for each
//! value.

mod elementwise;
mod index_sets;
mod matrices;
mod order;
mod quantizer;
mod random;
mod reductions;
mod rotation;
mod svd;
mod top_k;

pub use elementwise::{
    absolute, axpy, count_nonzero, divide, gather, keep, multiply, nonzero, scale, scatter, scatter_add,
};
pub use index_sets::{complement, intersection, runs, union};
pub use matrices::{column_norms, matmul, row_norms, scale_columns, scale_rows};
pub use order::{median, trimmed_mean};
pub use quantizer::{bits_for, dequantize, lloyd_levels, quantize, quantize_stochastic};
pub use random::{random_bits, random_normal, random_uniform};
pub use reductions::{distance, dot, max_abs, norm, sum};
pub use rotation::{rotate, rotate_back};
pub use svd::svd_of_product;
pub use top_k::{top_k, top_k_chunked};
