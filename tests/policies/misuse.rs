//! Misuses of every class of host kernel: each is a trap that names the call and both values, or a limit, up front.

use crate::support::{all_fail, all_pass};

#[test]
fn vectors_of_two_lengths_are_named() {
    all_fail(&[
        ("encode:axpy", "vector.axpy: 4 values on one side, 5 on the other"),
        ("encode:multiply", "vector.multiply: 4 values on one side, 5"),
        ("encode:divide", "vector.divide: 4 values on one side, 5"),
        ("encode:count-nonzero", "vector.count-nonzero: 4 values on one side, 5"),
        ("encode:dot", "vector.dot: 4 values on one side, 5"),
        ("encode:distance", "vector.distance: 4 values on one side, 5"),
        ("accept:median-lengths", "vector.median: 4 values on one side, 5"),
        ("accept:median-none", "vector.median: 0 trimmed at both ends of 0 vectors"),
        ("accept:trimmed-all", "vector.trimmed-mean: 1 trimmed at both ends of 2 vectors"),
        ("accept:trimmed-max", "vector.trimmed-mean: 4294967295 trimmed at both ends of 1 vectors"),
    ]);
}

#[test]
fn ranges_beyond_a_vector_are_named() {
    all_fail(&[
        ("encode:read", "vector.read: offset 1 and count 4 reach beyond the length 4"),
        ("encode:read-max", "vector.read: offset 4294967295 and count 4294967295 reach beyond the length 4"),
        ("encode:range", "vector.read: offset 4095 and count 2 reach beyond the length 4096"),
        ("encode:write", "vector.write: offset 2 and count 3 reach beyond the length 4"),
        ("encode:slice", "vector.slice: offset 5 and count 0 reach beyond the length 4"),
        ("encode:paste", "vector.paste: offset 0 and count 5 reach beyond the length 4"),
        ("encode:top-k", "vector.top-k: 5 of 4 values"),
        ("encode:top-k-range", "vector.top-k: offset 2 and count 3 reach beyond the length 4"),
        ("encode:top-k-chunk", "vector.top-k-chunked: 0 of chunks of 0 values"),
        ("encode:top-k-chunked", "vector.top-k-chunked: 3 of chunks of 2 values"),
        ("encode:set-read", "index-set.read: offset 1 and count 2 reach beyond the length 2"),
        ("encode:codes-read", "codes.read: offset 2 and count 1 reach beyond the length 2"),
    ]);
}

#[test]
fn index_sets_that_are_none_or_of_another_space_are_named() {
    all_fail(&[
        ("encode:indices", "index 4 is outside the space of 4"),
        ("encode:set-unsorted", "index 1 follows 2, indices must increase"),
        ("encode:set-twice", "index 2 follows 2, indices must increase"),
        ("encode:set-beyond", "index 4 is outside the space of 4"),
        ("encode:set-runs-overlap", "index-set.runs: runs of 5 coordinates, one every 4"),
        ("encode:set-runs-beyond", "index-set.runs: coordinates up to 105 in a space of 100"),
        ("encode:set-runs-wrap", "index-set.runs: coordinates up to 18446744069414584320 in a space of 100"),
        ("encode:set-union", "index-set.union: coordinates below 4 and below 5"),
        ("encode:set-intersection", "index-set.intersection: coordinates below 4 and below 5"),
        ("encode:at-gather", "vector.gather: coordinates below 5 for 4 values"),
        ("encode:at-scatter", "vector.scatter: 2 values on one side, 4 on the other"),
        ("encode:at-scatter-space", "vector.scatter: coordinates below 5 for 4 values"),
        ("encode:at-scatter-add", "vector.scatter-add: 2 values on one side, 4 on the other"),
        ("encode:at-keep", "vector.keep: coordinates below 5 for 4 values"),
    ]);
}

#[test]
fn levels_codes_and_blocks_that_cannot_be_are_named() {
    all_fail(&[
        ("encode:levels-none", "vector.quantize: 0 levels, 2 to 256 are allowed"),
        ("encode:levels-one", "vector.quantize: 1 levels, 2 to 256 are allowed"),
        ("encode:levels-257", "vector.quantize: 257 levels, 2 to 256 are allowed"),
        ("encode:levels-flood", "vector.quantize: 1048576 levels, 2 to 256 are allowed"),
        ("encode:levels-equal", "vector.quantize: level 1 follows 1, levels must be finite and increase"),
        ("encode:levels-falling", "vector.quantize-stochastic: level 0 follows 1"),
        ("encode:levels-nan", "vector.quantize: level NaN follows 0"),
        ("encode:levels-infinite", "vector.quantize-stochastic: level inf follows -inf"),
        ("encode:levels-lloyd-none", "vector.lloyd-levels: 0 levels"),
        ("encode:levels-lloyd-many", "vector.lloyd-levels: 4294967295 levels"),
        ("encode:levels-lloyd-long", "vector.lloyd-levels brings it to"),
        ("encode:codes-none", "codes.from-list: codes of 0 bits, 1 to 8 are allowed"),
        ("encode:codes-nine", "codes.from-list: codes of 9 bits, 1 to 8 are allowed"),
        ("encode:codes-beyond", "codes.from-list: code 4 does not fit 2 bits"),
        ("encode:codes-no-level", "code 3 found, 2 levels given"),
        ("encode:codes-levels", "codes.dequantize: 257 levels"),
        ("encode:rotate-three", "vector.rotate: blocks of 3 values, a power of two that divides 9"),
        ("encode:rotate-none", "vector.rotate: blocks of 0 values"),
        ("encode:rotate-rest", "vector.rotate: blocks of 8 values, a power of two that divides 12"),
        ("encode:rotate-max", "vector.rotate: blocks of 2147483648 values"),
        ("encode:rotate-back", "vector.rotate-back: blocks of 2 values, a power of two that divides 9"),
    ]);
}

#[test]
fn matrices_of_another_shape_and_work_without_end_are_refused_up_front() {
    all_fail(&[
        ("finish:matmul", "algebra.matmul: 4 values are no 2 x 3 matrix"),
        ("finish:matmul-empty", "algebra.matmul: a result of 18446744065119617025 values"),
        ("finish:matmul-wrap", "algebra.matmul: 0 values are no 2147483648 x 2 matrix"),
        (
            "finish:matmul-work",
            "algebra.matmul brings it to 1073741824 operations, limit 200000000 (limits.deadline_ms)",
        ),
        ("finish:svd", "algebra.svd-of-product: 5 values are no 2 x 2 matrix"),
        ("finish:svd-rank", "algebra.svd-of-product: rank 3 of a 2 x 2 product"),
        ("finish:svd-work", "algebra.svd-of-product brings it to"),
        ("finish:svd-huge", "algebra.svd-of-product brings it to"),
        ("finish:row-norms", "algebra.row-norms: 5 values are no 2 x 2 matrix"),
        ("finish:row-norms-max", "(limits.memory_mb)"),
        ("finish:column-norms", "algebra.column-norms: 5 values are no 2 x 2 matrix"),
        ("finish:column-norms-max", "(limits.memory_mb)"),
        ("finish:scale-rows", "algebra.scale-rows: 5 values are no 4 x 2 matrix"),
        ("finish:scale-columns", "algebra.scale-columns: 4 factors for 2 columns"),
        ("finish:scale-columns-rest", "algebra.scale-columns: 5 values are no 1 x 4 matrix"),
        ("accept:median-flood", "limits."),
    ]);
    all_pass(&["finish:svd-nan"]);
}
