//! Pure. Kubernetes' quantities, such as `100m`, `0.5` and `128Mi`: a number, and a unit or an exponent
//! (`k8s.io/apimachinery/pkg/api/resource`).

/// The quantity as a number; `None` for a text that is not a quantity.
pub fn parse(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let factor = match &text[end..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse::<i8>().ok()?.into()),
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_kubernetes_units_and_exponents() {
        for (text, expected) in
            [("1.5", Some(1.5)), ("+2", Some(2.0)), ("5E", Some(5e18)), ("1e3", Some(1e3))]
        {
            assert_eq!(parse(text), expected, "{text}");
        }
        for (text, expected) in [("25E-1", Some(2.5)), ("1Ti", Some(1_099_511_627_776.0)), ("1GB", None)] {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!((parse("m"), parse("1ee3"), parse("")), (None, None, None));
    }
}
