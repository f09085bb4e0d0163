//! Contrast of thought paths: what a changed premise turns round is to look different, the rest alike (PODA, Wang et al.
//! 2024, arXiv 2409.14495).

use tch::{Kind, Tensor};

/// The mean of the rows of each of `spans` consecutive pieces of `states [rows, hidden]`: `[spans, hidden]` in f32.
pub fn pooled(states: &Tensor, spans: &[i64]) -> Tensor {
    let pieces = states.to_kind(Kind::Float).split_with_sizes(spans, 0);
    let means: Vec<Tensor> = pieces.iter().map(|piece| piece.mean_dim(0, false, Kind::Float)).collect();
    Tensor::stack(&means, 0)
}

/// cos of each row of `a` with that of `b`, both `[rows, hidden]`: `[rows]`.
pub fn similarity(a: &Tensor, b: &Tensor) -> Tensor {
    Tensor::cosine_similarity(a, b, -1, 1e-8)
}

/// The loss of one pair of contexts: with s the similarity of an option's analysis in the one with that in the other, the
/// mean of −log σ((s_k − s_f) / β) over the options f whose truth flips and the options k whose truth does not. `flipped` is
/// `[f]`, `unchanged` `[k]`. The authors' trainer takes the right option of each context for f and two others for k.
pub fn contrast(flipped: &Tensor, unchanged: &Tensor, beta: f64) -> Tensor {
    let margins = (unchanged.unsqueeze(0) - flipped.unsqueeze(1)) / beta;
    margins.log_sigmoid().neg().mean(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_numbers() {
        // Margins of 0.1 ln 3 and 0 at β = 0.1: −ln 3/4 and ln 2, their mean.
        let flipped = Tensor::from_slice(&[0.5f32]);
        let unchanged = Tensor::from_slice(&[0.5 + 0.1 * 3f32.ln(), 0.5]);
        let loss = contrast(&flipped, &unchanged, 0.1).double_value(&[]);
        assert!((loss - (2f64.ln() - 0.75f64.ln()) / 2.0).abs() < 1e-6, "{loss}");
        // Rows (1, 0), (0, 1) and (3, 4) in pieces of two and one: (½, ½) and (3, 4).
        let states = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 1.0, 3.0, 4.0]).view([3, 2]);
        let means: Vec<f32> = Vec::try_from(pooled(&states, &[2, 1]).view([-1])).unwrap();
        assert_eq!(means, [0.5, 0.5, 3.0, 4.0]);
        // (½, ½) with (3, 4): 3.5 / (√½ · 5).
        let cos =
            similarity(&pooled(&states.narrow(0, 0, 2), &[2]), &states.narrow(0, 2, 1)).double_value(&[0]);
        assert!((cos - 3.5 / (0.5f64.sqrt() * 5.0)).abs() < 1e-6);
    }

    /// The authors' batched form, padded and swapped, in torch (tests/fixtures/contrast/make.py): value and gradient.
    #[test]
    fn it_agrees_with_the_padded_form() {
        let fixture = include_str!("../../tests/fixtures/contrast/paths.json");
        let fixture: serde_json::Value = serde_json::from_str(fixture).unwrap();
        let numbers = |key: &str| -> Vec<f32> { serde_json::from_value(fixture[key].clone()).unwrap() };
        let size: Vec<i64> = serde_json::from_value(fixture["size"].clone()).unwrap();
        let spans: Vec<Vec<[i64; 2]>> = serde_json::from_value(fixture["spans"].clone()).unwrap();
        let right: Vec<usize> = serde_json::from_value(fixture["right"].clone()).unwrap();
        let states = Tensor::from_slice(&numbers("states")).view(size.as_slice()).set_requires_grad(true);
        let mut total = Tensor::zeros([], (Kind::Float, states.device()));
        for pair in 0..right.len() / 2 {
            let right = [right[2 * pair], right[2 * pair + 1]];
            let others = (0..spans[0].len()).filter(|option| !right.contains(option));
            let options: Vec<usize> = right.into_iter().chain(others).collect();
            let paths = [2 * pair, 2 * pair + 1].map(|row| {
                let of = |&option: &usize| {
                    let [from, to] = spans[row][option];
                    states.get(row as i64).narrow(0, from, to - from)
                };
                let pieces: Vec<Tensor> = options.iter().map(of).collect();
                let lengths: Vec<i64> = pieces.iter().map(|piece| piece.size()[0]).collect();
                pooled(&Tensor::cat(&pieces, 0), &lengths)
            });
            let alike = similarity(&paths[0], &paths[1]);
            total += contrast(&alike.narrow(0, 0, 2), &alike.narrow(0, 2, options.len() as i64 - 2), 0.1);
        }
        let loss = total / (right.len() / 2) as f64;
        let expected = fixture["loss"].as_f64().unwrap();
        assert!((loss.double_value(&[]) - expected).abs() < 1e-6, "{loss} {expected}");
        loss.backward();
        let found: Vec<f32> = Vec::try_from(states.grad().view([-1])).unwrap();
        let far = found.iter().zip(numbers("gradient")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-6, "{far}");
    }
}
