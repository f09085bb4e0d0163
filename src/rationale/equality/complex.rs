//! Complex numbers, as far as values are computed.

/// Re and Im.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Complex(pub f64, pub f64);

impl Complex {
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1)
    }

    pub fn negated(self) -> Self {
        Self(-self.0, -self.1)
    }

    pub fn times(self, other: Self) -> Self {
        Self(self.0 * other.0 - self.1 * other.1, self.0 * other.1 + self.1 * other.0)
    }

    pub fn over(self, other: Self) -> Self {
        let square = other.0 * other.0 + other.1 * other.1;
        let above = self.times(Self(other.0, -other.1));
        Self(above.0 / square, above.1 / square)
    }

    /// √(a² + b²) without overflow. `f64::hypot` asks for a newer C library than all else in the program.
    pub fn norm(self) -> f64 {
        let (a, b) = (self.0.abs(), self.1.abs());
        let (large, small) = if a < b { (b, a) } else { (a, b) };
        match large {
            0.0 => small,
            _ if large.is_infinite() => large,
            _ => large * (1.0 + (small / large).powi(2)).sqrt(),
        }
    }

    pub fn ln(self) -> Self {
        Self(self.norm().ln(), self.1.atan2(self.0))
    }

    pub fn exp(self) -> Self {
        let size = self.0.exp();
        Self(size * self.1.cos(), size * self.1.sin())
    }
}
