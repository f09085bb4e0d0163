//! Functions, powers and roots of numbers.

use super::complex::Complex;
use super::value::Value;

/// The value of a function; `None` where it has none or is not known.
pub fn call(name: &str, values: &[Value]) -> Option<Value> {
    if let ("binom", [Value::Exact(n), Value::Exact(k)]) = (name, values) {
        return n.choose(*k).map(Value::Exact);
    }
    let one = |of: &dyn Fn(Complex) -> Complex| match values {
        [value] => Some(of(value.complex())),
        _ => None,
    };
    let i = Complex(0.0, 1.0);
    let (plus, minus) = (|z: Complex| i.times(z).exp(), |z: Complex| i.times(z).negated().exp());
    let half = Complex(0.5, 0.0);
    let sin = |z: Complex| plus(z).plus(minus(z).negated()).times(half).over(i);
    let cos = |z: Complex| plus(z).plus(minus(z)).times(half);
    let inverse = |z: Complex| Complex(1.0, 0.0).over(z);
    let value = match name {
        "sin" => one(&sin)?,
        "cos" => one(&cos)?,
        "tan" => one(&|z| sin(z).over(cos(z)))?,
        "cot" => one(&|z| cos(z).over(sin(z)))?,
        "sec" => one(&|z| inverse(cos(z)))?,
        "csc" => one(&|z| inverse(sin(z)))?,
        "exp" => one(&Complex::exp)?,
        "ln" | "log" => one(&Complex::ln)?,
        "log_b" | "ln_b" => match values {
            [base, value] => value.complex().ln().over(base.complex().ln()),
            _ => return None,
        },
        "arcsin" | "arccos" => match values {
            [value] if value.complex().1 == 0.0 && value.complex().0.abs() <= 1.0 => {
                let value = value.complex().0;
                Complex(if name == "arcsin" { value.asin() } else { value.acos() }, 0.0)
            }
            _ => return None,
        },
        "arctan" => match values {
            [Value::Exact(value)] => Complex(value.to_f64().atan(), 0.0),
            [Value::Near(Complex(value, 0.0))] => Complex(value.atan(), 0.0),
            _ => return None,
        },
        _ => return None,
    };
    let value = Complex(
        if value.0.abs() < 1e-12 { 0.0 } else { value.0 },
        if value.1.abs() < 1e-12 { 0.0 } else { value.1 },
    );
    value.norm().is_finite().then_some(Value::Near(value))
}

/// The real root of an odd index, and the imaginary one of two.
pub fn real_root(inner: f64, index: f64) -> Option<Complex> {
    if inner < 0.0 && index == 2.0 {
        return Some(Complex(0.0, (-inner).sqrt()));
    }
    if inner < 0.0 && index % 2.0 == 1.0 {
        return Some(Complex(-(-inner).powf(1.0 / index), 0.0));
    }
    power(Complex(inner, 0.0), Complex(1.0 / index, 0.0))
}

/// A sum whose digits are all known: neither part vanishes beside the other, nor do they cancel.
pub fn sound_sum(a: Complex, b: Complex) -> Option<Complex> {
    let (sum, most, least) = (a.plus(b), a.norm().max(b.norm()), a.norm().min(b.norm()));
    let sound = least == 0.0 || (least > 1e-6 * most && sum.norm() > 1e-6 * most);
    sound.then_some(sum)
}

/// A power: by multiplication of whole exponents, else by logarithms.
pub fn power(base: Complex, exponent: Complex) -> Option<Complex> {
    let whole = exponent.1 == 0.0 && exponent.0.fract() == 0.0 && exponent.0.abs() <= 64.0;
    if whole {
        let raised = (0..exponent.0.abs() as u32).fold(Complex(1.0, 0.0), |all, _| all.times(base));
        return if exponent.0 >= 0.0 {
            Some(raised)
        } else {
            (raised.norm() > 0.0).then(|| Complex(1.0, 0.0).over(raised))
        };
    }
    if base.norm() == 0.0 {
        return None;
    }
    let raised = base.ln().times(exponent).exp();
    raised.norm().is_finite().then_some(raised)
}
