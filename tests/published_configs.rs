//! The configurations of published models (`published_configs.json`): each is accepted, has the number of parameters that its
//! publisher states, and a decoder of its shapes runs.

use std::collections::BTreeMap;

use serde_json::Value;
use vigor::model::families::{from_json, parameters};
use vigor::model::random::RandomWeights;
use vigor::model::{Decoder, LogitRows, ModelConfig, Span};

fn published() -> BTreeMap<String, ModelConfig> {
    let text = include_str!("published_configs.json");
    let all: BTreeMap<String, Value> = serde_json::from_str(text).expect("JSON");
    let models = all.into_iter().filter(|(name, _)| !name.starts_with('_'));
    let config = |(name, entry): (String, Value)| {
        let config = from_json(&entry["config"].to_string()).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, config)
    };
    models.map(config).collect()
}

/// Parameters as the hub counts them in the published files; tied projections once.
const PARAMETERS: [(&str, usize); 18] = [
    ("deepseek-ai/deepseek-coder-1.3b-instruct", 1_346_471_936),
    ("deepseek-ai/deepseek-coder-6.7b-instruct", 6_740_512_768),
    ("codellama/CodeLlama-7b-hf", 6_738_546_688),
    ("codellama/CodeLlama-13b-hf", 13_016_028_160),
    ("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008),
    ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384),
    ("Qwen/Qwen2.5-Coder-0.5B-Instruct", 494_032_768),
    ("Qwen/Qwen2.5-Coder-7B-Instruct", 7_615_616_512),
    ("Qwen/Qwen3-0.6B", 596_049_920),
    ("Qwen/Qwen3-8B", 8_190_735_360),
    ("Qwen/Qwen3-Coder-30B-A3B-Instruct", 30_532_122_624),
    ("bigcode/starcoder2-3b", 3_030_371_328),
    ("mistralai/Mistral-7B-v0.1", 7_241_732_096),
    ("google/gemma-2-2b", 2_614_341_888),
    ("google/gemma-3-270m", 268_098_176),
    ("google/gemma-3-1b-it", 999_885_952),
    ("microsoft/Phi-3-mini-4k-instruct", 3_821_079_552),
    ("deepseek-ai/DeepSeek-V2-Lite", 15_706_484_224),
];

#[test]
fn published_models_have_the_parameters_that_are_stated() {
    let models = published();
    assert!(models.len() >= 40, "only {} models", models.len());
    for (name, stated) in PARAMETERS {
        assert_eq!(parameters(&models[name]), stated, "{name}");
    }
}

/// What a reader of a configuration is likely to get wrong.
#[test]
fn peculiarities_are_read() {
    let models = published();
    let of = |name: &str| &models[name];
    let qwen = of("Qwen/Qwen2.5-Coder-32B-Instruct");
    assert_eq!(qwen.attention.window, None, "set, but not used");
    let starcoder = of("bigcode/starcoder2-7b");
    assert_eq!((starcoder.window_of(0), starcoder.tied), (Some(4096), true));
    assert!(!of("bigcode/starcoder2-15b").tied);
    let gemma = of("google/gemma-3-4b-it");
    assert_eq!((gemma.vocab, gemma.attention.shape.heads, gemma.attention.shape.kv_heads), (262_208, 8, 4));
    let local: Vec<usize> = (0..12).filter(|&layer| gemma.window_of(layer).is_none()).collect();
    assert_eq!(local, [5, 11]);
    assert_ne!(gemma.rope_of(0), gemma.rope_of(5));
    let gemma2 = of("google/gemma-2-9b");
    assert_eq!((gemma2.window_of(0), gemma2.window_of(1)), (Some(4096), None));
    assert_eq!((gemma2.attention.cap, gemma2.logit_cap), (Some(50.0), Some(30.0)));
    assert_eq!(of("mistralai/Mistral-7B-Instruct-v0.3").window_of(0), None);
    assert_eq!(of("microsoft/Phi-3-mini-4k-instruct").window_of(0), Some(2047));
    assert_eq!(of("Qwen/Qwen3-4B").attention.shape.head_dim, 128);
    let codegen = of("Salesforce/codegen-350M-mono");
    assert_eq!((codegen.feed_forward.width, codegen.rope().map(|r| r.dims)), (4096, Some(32)));
    let deepseek = of("deepseek-ai/DeepSeek-V2-Lite");
    assert!(deepseek.experts_of(0).is_none() && deepseek.experts_of(1).is_some());
}

/// A decoder in the shapes of the smallest model of each kind, with random weights, two layers and a small vocabulary: one
/// that reads a text at once says what one says that reads it token by token.
#[test]
fn decoders_of_published_shapes_run() {
    let mut models: Vec<_> = published().into_iter().collect();
    models.sort_by_key(|(_, config)| parameters(config));
    let mut seen = Vec::new();
    for (name, config) in models {
        let kind = (config.architecture, config.attention.shape.head_dim, config.attention.window.is_some());
        if seen.contains(&kind) {
            continue;
        }
        seen.push(kind);
        let layers = config.layers.min(2);
        let mut config = config.cut(layers);
        config.vocab = 320;
        // Enough of them that a row can choose.
        if let Some(experts) = &mut config.feed_forward.experts {
            experts.count = experts.count.min(12);
        }
        config.context = config.context.min(1024);
        let weights = RandomWeights::new(&config, 3);
        let mut model =
            Decoder::load(Box::new(weights), config, 1 << 20).unwrap_or_else(|e| panic!("{name}: {e}"));
        let tokens: Vec<u32> = (0..6).map(|i| i * 53 % 320).collect();
        let span = |from: usize, until: usize| Span {
            tokens: &tokens[from..until],
            start: from,
            pages: &[0],
            logits: LogitRows::All,
        };
        let (mut at_once, mut one_by_one) = (Vec::new(), Vec::new());
        model.logits(&[span(0, 6)], &mut at_once);
        for i in 0..6 {
            model.logits(&[span(i, i + 1)], &mut one_by_one);
        }
        assert!(at_once.len() == 6 * 320 && at_once.iter().all(|logit| logit.is_finite()), "{name}");
        assert!(at_once == one_by_one, "{name}");
    }
}
