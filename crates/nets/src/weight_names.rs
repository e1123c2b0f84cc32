//! Under which names the weights of a network are published.

/// Variants that publishers keep beside the plain weights, under names of their own.
pub const WEIGHT_VARIANTS: [&str; 2] = ["fp16", "bf16"];

/// One of the ways in which a folder may hold the weights of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightNames {
    /// The file, if all weights are in one: `model.fp16.safetensors`.
    pub whole: String,
    /// The list of the shards, if they are in several: `model.safetensors.index.fp16.json`.
    pub index: String,
    /// What names of shards end in: `.safetensors` or `.bin`.
    pub extension: &'static str,
    /// The variant, unless these are the plain weights.
    pub variant: Option<&'static str>,
}

/// The ways in which weights of this stem are published, those first that are taken where several are there: plain
/// safetensors, plain PyTorch archives (called `pytorch_model` for the stem `model`), and then the same of each
/// variant.
pub fn weight_names(stem: &str) -> Vec<WeightNames> {
    let pytorch_stem = if stem == "model" {
        "pytorch_model"
    } else {
        stem
    };
    let mut names = Vec::new();
    for variant in std::iter::once(None).chain(WEIGHT_VARIANTS.map(Some)) {
        let infix = variant.map_or(String::new(), |variant| format!(".{variant}"));
        for (stem, extension) in [(stem, ".safetensors"), (pytorch_stem, ".bin")] {
            names.push(WeightNames {
                whole: format!("{stem}{infix}{extension}"),
                index: format!("{stem}{extension}.index{infix}.json"),
                extension,
                variant,
            });
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_publishers() {
        let names = weight_names("model");
        let whole: Vec<&str> = names.iter().map(|names| names.whole.as_str()).collect();
        assert_eq!(
            whole[..4],
            [
                "model.safetensors",
                "pytorch_model.bin",
                "model.fp16.safetensors",
                "pytorch_model.fp16.bin"
            ]
        );
        let index = |at: usize| names[at].index.as_str();
        assert_eq!(index(0), "model.safetensors.index.json");
        assert_eq!(index(3), "pytorch_model.bin.index.fp16.json");
        let names = weight_names("diffusion_pytorch_model");
        assert_eq!(names[1].whole, "diffusion_pytorch_model.bin");
    }
}
