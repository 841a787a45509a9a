//! Kernels that look at each value alone, and those that go by coordinates. In f32, in order.

use crate::top_k::pick_where;

/// `own += a * x`.
pub fn axpy(own: &mut [f32], a: f32, x: &[f32]) {
    assert_eq!(own.len(), x.len(), "axpy: lengths differ");
    for (own, x) in own.iter_mut().zip(x) {
        *own += a * x;
    }
}

/// `own *= a`.
pub fn scale(own: &mut [f32], a: f32) {
    for own in own {
        *own *= a;
    }
}

/// Elementwise `own *= x`.
pub fn multiply(own: &mut [f32], x: &[f32]) {
    assert_eq!(own.len(), x.len(), "multiply: lengths differ");
    for (own, x) in own.iter_mut().zip(x) {
        *own *= x;
    }
}

/// Elementwise `own /= x`; anything divided by zero is zero.
pub fn divide(own: &mut [f32], x: &[f32]) {
    assert_eq!(own.len(), x.len(), "divide: lengths differ");
    for (own, x) in own.iter_mut().zip(x) {
        *own = if *x == 0.0 { 0.0 } else { *own / x };
    }
}

/// Elementwise absolute value.
pub fn absolute(own: &mut [f32]) {
    for own in own {
        *own = own.abs();
    }
}

/// `own += 1` wherever `x` is not zero; NaN is not zero.
pub fn count_nonzero(own: &mut [f32], x: &[f32]) {
    assert_eq!(own.len(), x.len(), "count_nonzero: lengths differ");
    for (own, x) in own.iter_mut().zip(x) {
        *own += if *x == 0.0 { 0.0 } else { 1.0 };
    }
}

/// The values at these coordinates, in their order.
pub fn gather(values: &[f32], at: &[u32]) -> Vec<f32> {
    at.iter().map(|index| values[*index as usize]).collect()
}

/// Overwrites the values at these coordinates.
pub fn scatter(own: &mut [f32], at: &[u32], values: &[f32]) {
    assert_eq!(at.len(), values.len(), "scatter: lengths differ");
    for (index, value) in at.iter().zip(values) {
        own[*index as usize] = *value;
    }
}

/// Adds to the values at these coordinates.
pub fn scatter_add(own: &mut [f32], at: &[u32], values: &[f32]) {
    assert_eq!(at.len(), values.len(), "scatter_add: lengths differ");
    for (index, value) in at.iter().zip(values) {
        own[*index as usize] += value;
    }
}

/// Zero everywhere but at these coordinates.
pub fn keep(own: &mut [f32], at: &[u32]) {
    let kept = gather(own, at);
    own.fill(0.0);
    scatter(own, at, &kept);
}

/// Coordinates whose value is not zero, increasing.
pub fn nonzero(values: &[f32]) -> Vec<u32> {
    let mut found = Vec::new();
    pick_where(values, 0, &mut found, |value| value != 0.0);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_elementwise_and_in_single_precision() {
        let mut own = [1.0, -2.0, 3.0];
        axpy(&mut own, 2.0, &[1.0, 1.0, -1.0]);
        assert_eq!(own, [3.0, 0.0, 1.0]);
        scale(&mut own, -0.5);
        assert_eq!(own, [-1.5, 0.0, -0.5]);
        multiply(&mut own, &[2.0, 5.0, 4.0]);
        assert_eq!(own, [-3.0, 0.0, -2.0]);
        absolute(&mut own);
        assert_eq!(own, [3.0, 0.0, 2.0]);
    }

    #[test]
    fn division_by_zero_is_zero_even_of_nan() {
        let mut own = [4.0, 1.0, f32::NAN, -1.0];
        divide(&mut own, &[2.0, 0.0, -0.0, f32::INFINITY]);
        assert_eq!(own, [2.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn contributors_are_counted() {
        let mut count = [0.0; 4];
        count_nonzero(&mut count, &[0.0, -0.0, 3.0, f32::NAN]);
        count_nonzero(&mut count, &[1.0, 0.0, 3.0, 0.0]);
        assert_eq!(count, [1.0, 0.0, 2.0, 1.0]);
    }

    #[test]
    fn coordinates_select_overwrite_add_and_mask() {
        let mut own = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(gather(&own, &[1, 3]), [2.0, 4.0]);
        scatter(&mut own, &[0, 3], &[7.0, 8.0]);
        scatter_add(&mut own, &[0, 1], &[1.0, -2.0]);
        assert_eq!(own, [8.0, 0.0, 3.0, 8.0]);
        assert_eq!(nonzero(&own), [0, 2, 3]);
        keep(&mut own, &[1, 2]);
        assert_eq!(own, [0.0, 0.0, 3.0, 0.0]);
        assert!(nonzero(&[]).is_empty());
    }
}
