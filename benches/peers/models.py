"""Models for the peers on transformers: a GGUF file, a folder with safetensors, or random weights of a known shape.

Names of random models are those of `vigor bench --model random:NAME`. Their numbers mean nothing, their speed is that of
the model they are shaped as: speed depends on shapes, not on what the weights say.
"""

import os

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

RANDOM = "random:"


def deepseek(hidden, layers, heads, ff):
    """A shape of the DeepSeek-Coder family: Llama whose positions are divided by four."""
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": ff,
        "vocab_size": 32256,
        "max_position_embeddings": 16384,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100_000.0},
        "tie_word_embeddings": False,
    }


def qwen2(hidden, layers, heads, kv_heads, ff, vocabulary, tied):
    """A shape of the Qwen2.5-Coder family."""
    return {
        "model_type": "qwen2",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ff,
        "vocab_size": vocabulary,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
        "tie_word_embeddings": tied,
    }


SHAPES = {
    "deepseek-coder-1.3b": deepseek(2048, 24, 16, 5504),
    "deepseek-coder-6.7b": deepseek(4096, 32, 32, 11008),
    "qwen2.5-coder-0.5b": qwen2(896, 24, 14, 2, 4864, 151936, True),
    "qwen2.5-coder-7b": qwen2(3584, 28, 28, 4, 18944, 152064, False),
    # No model has this shape: it tries the scripts where nothing bigger fits.
    "tiny": {**deepseek(64, 2, 4, 128), "vocab_size": 4096},
}


def add_options(parser):
    parser.add_argument("model", help="a GGUF file, a folder with safetensors, or random:NAME; names: " + ", ".join(SHAPES))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="default: bfloat16 on a GPU, else float32")
    parser.add_argument("--attention", choices=["eager", "sdpa"], help="default: eager on a GPU, else sdpa")


def resolve(args):
    """Fills in the defaults that depend on the device."""
    gpu = args.device == "cuda"
    if gpu and not torch.cuda.is_available():
        raise SystemExit("--device cuda: PyTorch finds no GPU here")
    args.dtype = args.dtype or ("bfloat16" if gpu else "float32")
    args.attention = args.attention or ("eager" if gpu else "sdpa")


def is_random(name):
    return name.startswith(RANDOM)


def short(name):
    """What a report calls the model."""
    return name if is_random(name) else os.path.basename(os.path.abspath(name))


def place(name):
    """Where `from_pretrained` finds a GGUF file or a folder: its arguments."""
    path = os.path.abspath(name)
    if os.path.isdir(path):
        return path, {}
    return os.path.dirname(path), {"gguf_file": os.path.basename(path)}


def load(args):
    """The model in `args.dtype` on `args.device`."""
    transformers.utils.logging.disable_progress_bar()
    options = {"dtype": getattr(torch, args.dtype), "attn_implementation": args.attention}
    if is_random(args.model):
        name = args.model[len(RANDOM) :]
        if name not in SHAPES:
            raise SystemExit(f"there is no shape {name!r}; choose among {', '.join(SHAPES)}")
        # No token ends a text here.
        ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
        torch.manual_seed(1)
        with torch.device(args.device):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**SHAPES[name], **ends), **options)
    else:
        folder, file = place(args.model)
        model = AutoModelForCausalLM.from_pretrained(folder, **file, **options)
    return model.to(args.device).eval()


def tokenizer(name):
    folder, file = place(name)
    return AutoTokenizer.from_pretrained(folder, **file)


def synchronize(model):
    """Waits for a GPU: a call returns when its work is in the queue, not when it is done."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


def about(model, args):
    """What every report says of the peer."""
    return {
        "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "model": short(args.model),
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": args.threads,
        "device": args.device,
        "gpu": torch.cuda.get_device_name(model.device) if args.device == "cuda" else None,
        "dtype": args.dtype,
        "attention": model.config._attn_implementation,
    }
