//! Families that are known and cannot be loaded, with the nearest that can.

/// The family that is nearest to a known one that is not among them, and which models of it stand in.
pub(super) fn kin(model_type: &str) -> Option<(&'static str, &'static str)> {
    let near = match model_type {
        "gemma3n" | "gemma3n_text" | "gemma4" | "gemma4_text" => ("gemma3_text", "Gemma 3"),
        "gemma" => ("gemma2", "its successor"),
        "llama4" | "llama4_text" | "mllama" => ("llama", "Llama 3 without images"),
        "qwen2_vl" | "qwen2_5_vl" | "qwen3_vl" => ("qwen3", "Qwen3 without images"),
        "qwen2_moe" | "deepseek_v2" | "deepseek_v3" | "olmoe" | "glm4_moe" => {
            ("qwen3_moe", "such as Qwen3-30B-A3B")
        }
        "granitemoe" | "granitemoehybrid" => ("granite", "Granite without experts or Mamba"),
        "ministral" | "ministral3" => ("mistral", "Mistral and Mistral Small"),
        "phi" | "phimoe" | "phi4_multimodal" => ("phi3", "Phi-3 and Phi-4 without experts or images"),
        "olmo" => ("olmo2", "its successor"),
        "glm" | "glm4" | "cohere" | "cohere2" | "exaone4" | "hunyuan_v1_dense" | "seed_oss" | "lfm2" => {
            ("qwen3", "a dense model of the same sizes")
        }
        _ => return None,
    };
    Some(near)
}
