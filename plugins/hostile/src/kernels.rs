//! Misuses of kernels: wrong lengths, ranges, shapes, levels, bits, and sizes that would take for ever.

use std::hint::black_box;

use crate::bindings::cellm::policy::algebra::{
    column_norms, matmul, row_norms, scale_columns, scale_rows, svd_of_product,
};
use crate::bindings::cellm::policy::host::{Codes, IndexSet, Vector};
use crate::bindings::cellm::policy::types::PolicyError;

fn set(space: u32, indices: &[u32]) -> Result<IndexSet, PolicyError> {
    IndexSet::from_list(space, indices).map_err(PolicyError::Other)
}

/// Does it.
pub fn misuse(deed: &str) -> Result<(), PolicyError> {
    let (four, five) = (Vector::new(4), Vector::new(5));
    match deed {
        "axpy" => four.axpy(1.0, &five),
        "multiply" => four.multiply(&five),
        "divide" => four.divide(&five),
        "count-nonzero" => four.count_nonzero(&five),
        "dot" => drop(black_box(four.dot(&five))),
        "distance" => drop(black_box(four.distance(&five))),
        "read" => drop(black_box(four.read(1, 4))),
        "read-max" => drop(black_box(four.read(u32::MAX, u32::MAX))),
        "write" => four.write(2, &[0.0; 3]),
        "slice" => drop(four.slice(5, 0)),
        "paste" => four.paste(0, &five),
        _ if deed.starts_with("set-") || deed.starts_with("at-") || deed.starts_with("top-") => return sets(deed),
        _ if deed.starts_with("levels-") || deed.starts_with("codes-") || deed.starts_with("rotate") => {
            return quantizers(deed);
        }
        _ => return matrices(deed),
    }
    Ok(())
}

fn sets(deed: &str) -> Result<(), PolicyError> {
    let four = Vector::new(4);
    let (of_four, of_five) = (set(4, &[1, 3])?, set(5, &[0])?);
    match deed {
        "set-unsorted" => drop(set(4, &[2, 1])?),
        "set-twice" => drop(set(4, &[2, 2])?),
        "set-beyond" => drop(set(4, &[1, 4])?),
        "set-read" => drop(black_box(of_four.read(1, 2))),
        "set-runs-overlap" => drop(IndexSet::runs(100, 0, 5, 4, 2)),
        "set-runs-beyond" => drop(IndexSet::runs(100, 0, 5, 50, 3)),
        "set-runs-wrap" => drop(IndexSet::runs(100, u32::MAX, u32::MAX, u32::MAX, u32::MAX)),
        "set-union" => drop(of_four.union(&of_five)),
        "set-intersection" => drop(of_four.intersection(&of_five)),
        "at-gather" => drop(four.gather(&of_five)),
        "at-scatter" => four.scatter(&of_four, &four),
        "at-scatter-space" => four.scatter(&of_five, &Vector::new(1)),
        "at-scatter-add" => four.scatter_add(&of_four, &four),
        "at-keep" => four.keep(&of_five),
        "top-k" => drop(four.top_k(0, 4, 5)),
        "top-k-range" => drop(four.top_k(2, 3, 1)),
        "top-k-chunk" => drop(four.top_k_chunked(0, 4, 0, 0)),
        "top-k-chunked" => drop(four.top_k_chunked(0, 4, 2, 3)),
        _ => unreachable!("no such act"),
    }
    Ok(())
}

fn quantizers(deed: &str) -> Result<(), PolicyError> {
    let four = Vector::new(4);
    let many: Vec<f32> = (0..257).map(|level| level as f32).collect();
    match deed {
        "levels-none" => drop(four.quantize(&[])),
        "levels-one" => drop(four.quantize(&[1.0])),
        "levels-257" => drop(four.quantize(&many)),
        "levels-flood" => drop(four.quantize(&vec![0.0; 1 << 20])),
        "levels-equal" => drop(four.quantize(&[1.0, 1.0])),
        "levels-falling" => drop(four.quantize_stochastic(&[1.0, 0.0], 1, 1)),
        "levels-nan" => drop(four.quantize(&[0.0, f32::NAN])),
        "levels-infinite" => drop(four.quantize_stochastic(&[f32::NEG_INFINITY, f32::INFINITY], 1, 1)),
        "levels-lloyd-none" => drop(black_box(four.lloyd_levels(0, 1))),
        "levels-lloyd-many" => drop(black_box(four.lloyd_levels(u32::MAX, 1))),
        "levels-lloyd-long" => drop(black_box(Vector::new(1 << 18).lloyd_levels(256, u32::MAX))),
        "codes-none" => drop(Codes::from_list(0, &[0])),
        "codes-nine" => drop(Codes::from_list(9, &[0])),
        "codes-beyond" => drop(Codes::from_list(2, &[0, 3, 4])),
        "codes-read" => drop(black_box(Codes::from_list(2, &[0, 3]).read(2, 1))),
        "codes-no-level" => drop(Codes::from_list(2, &[0, 3]).dequantize(&[0.0, 1.0]).map_err(PolicyError::Other)?),
        "codes-levels" => drop(Codes::from_list(2, &[0, 3]).dequantize(&many)),
        "rotate-three" => Vector::new(9).rotate(3, 1, 1),
        "rotate-none" => four.rotate(0, 1, 1),
        "rotate-rest" => Vector::new(12).rotate(8, 1, 1),
        "rotate-max" => four.rotate(1 << 31, 1, 1),
        "rotate-back" => Vector::new(9).rotate_back(2, 1, 1),
        _ => unreachable!("no such act"),
    }
    Ok(())
}

fn matrices(deed: &str) -> Result<(), PolicyError> {
    let (none, four, five) = (Vector::new(0), Vector::new(4), Vector::new(5));
    match deed {
        "median-none" => drop(Vector::median(&[])),
        "median-lengths" => drop(Vector::median(&[&four, &five])),
        "median-flood" => {
            let large = Vector::new(1 << 16);
            drop(Vector::median(&vec![&large; 1 << 16]));
        }
        "trimmed-all" => drop(Vector::trimmed_mean(&[&four, &four], 1)),
        "trimmed-max" => drop(Vector::trimmed_mean(&[&four], u32::MAX)),
        "matmul" => drop(matmul(&four, &four, 2, 2, 3, false, false)),
        "matmul-empty" => drop(matmul(&none, &none, u32::MAX, 0, u32::MAX, false, false)),
        "matmul-wrap" => drop(matmul(&none, &none, 1 << 31, 2, 0, false, false)),
        "matmul-work" => {
            let large = Vector::new(1 << 20);
            drop(matmul(&large, &large, 1 << 10, 1 << 10, 1 << 10, true, true));
        }
        "svd" => drop(svd_of_product(&four, &five, 2, 2, 2, 1)),
        "svd-rank" => drop(svd_of_product(&four, &four, 2, 2, 2, 3)),
        "svd-work" => {
            let large = Vector::random_uniform(1 << 19, 1, 1);
            drop(svd_of_product(&large, &large, 1 << 10, 1 << 9, 1 << 10, 1));
        }
        "svd-huge" => drop(svd_of_product(&none, &none, u32::MAX, 0, u32::MAX, u32::MAX)),
        "svd-nan" => {
            four.write(0, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0]);
            let found = svd_of_product(&four, &four, 2, 2, 2, 2);
            black_box(found.values.read(0, 2));
        }
        "row-norms" => drop(row_norms(&five, 2, 2)),
        "row-norms-max" => drop(row_norms(&none, u32::MAX, 0)),
        "column-norms" => drop(column_norms(&five, 2, 2)),
        "column-norms-max" => drop(column_norms(&none, 0, u32::MAX)),
        "scale-rows" => scale_rows(&five, 2, &four),
        "scale-columns" => scale_columns(&five, 2, &four),
        "scale-columns-rest" => scale_columns(&five, 4, &four),
        _ => unreachable!("no such act"),
    }
    Ok(())
}
