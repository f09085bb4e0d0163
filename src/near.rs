//! Numbers that are nearly those that are expected: what tests here and in `tests/it` compare by.

use tch::Tensor;

/// Numbers in their order, however they are nested.
pub trait Numbers {
    fn numbers(&self) -> Vec<f64>;
}

impl Numbers for f64 {
    fn numbers(&self) -> Vec<f64> {
        vec![*self]
    }
}

impl<T: Numbers> Numbers for [T] {
    fn numbers(&self) -> Vec<f64> {
        self.iter().flat_map(T::numbers).collect()
    }
}

impl<T: Numbers, const N: usize> Numbers for [T; N] {
    fn numbers(&self) -> Vec<f64> {
        self[..].numbers()
    }
}

impl<T: Numbers> Numbers for Vec<T> {
    fn numbers(&self) -> Vec<f64> {
        self[..].numbers()
    }
}

impl<T: Numbers + ?Sized> Numbers for &T {
    fn numbers(&self) -> Vec<f64> {
        (*self).numbers()
    }
}

/// Asserts that as many numbers are found as are expected, each within `tolerance`: of numbers above 1 a share of them.
#[track_caller]
pub fn near(found: impl Numbers, expected: impl Numbers, tolerance: f64) {
    let (found, expected) = (found.numbers(), expected.numbers());
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance * b.abs().max(1.0);
    let all = found.len() == expected.len() && found.iter().zip(&expected).all(close);
    assert!(all, "{found:?}, not {expected:?}");
}

/// The largest difference between the numbers of two tensors of one shape.
#[track_caller]
pub fn far(one: &Tensor, other: &Tensor) -> f64 {
    assert_eq!(one.size(), other.size());
    (one - other).abs().max().double_value(&[])
}
