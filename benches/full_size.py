"""The reference's side of `cargo bench -p kinvert --bench full_size`: time and memory of one guided denoising step and of
one step of learning, on a network of any size with random weights.

    pip install torch==2.15.* diffusers==0.42.1
    python benches/full_size.py --unet tests/fixtures/published/zeroscope_v2_576w/unet \
        --size 576x320 --frames 24 --dtype bf16 --device cuda

The network is diffusers' UNet3DConditionModel with gradient checkpointing; the embeddings enter by hooks of our own that
do what the method's published code does: MQK is added to what queries and keys are projected from, MV to what values
are. Prints a line of JSON for each kind of work, as the bench does.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from diffusers import UNet3DConditionModel

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class MotionAttention:
    """An attention processor with motion embeddings."""

    def __init__(self, positions, frames, channels, device):
        parameter = lambda rows: torch.nn.Parameter(torch.zeros(rows, frames, channels, device=device))
        self.query_key, self.value = parameter(1), parameter(positions)

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        query_key = hidden_states + self.query_key.to(hidden_states.dtype)
        value = hidden_states + self.value.to(hidden_states.dtype)
        split = lambda x: x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        mixed = torch.nn.functional.scaled_dot_product_attention(
            split(attn.to_q(query_key)), split(attn.to_k(query_key)), split(attn.to_v(value))
        )
        return attn.to_out[1](attn.to_out[0](mixed.transpose(1, 2).flatten(-2)))


def with_motion(unet, frames, height, width, device):
    """Embeddings at the published sites: those of the widest blocks with attention, on the way down and up."""
    parameters, widest = [], max(unet.config.block_out_channels)
    for name, module in unet.named_modules():
        is_site = name.endswith("transformer_blocks.0") and "temp_attentions" in name
        if not is_site or name.startswith("mid_block") or module.norm1.normalized_shape[0] != widest:
            continue
        positions = -(-height // 4) * -(-width // 4)
        for attn in (module.attn1, module.attn2):
            processor = MotionAttention(positions, frames, widest, device)
            attn.set_processor(processor)
            parameters += [processor.query_key, processor.value]
    return parameters


def measure(device, steps, work):
    """Median seconds of the steps after a first one, and the most memory that was taken beside what was there."""
    cuda = device.startswith("cuda")
    before = 0
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    seconds = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() - before if cuda else None
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": statistics.median(seconds[1:]), "peak_bytes": peak, "process_peak_bytes": whole}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--unet", required=True)
    parser.add_argument("--size", default="576x320")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    dtype, device = DTYPES[args.dtype], args.device
    width, height = (int(side) // 8 for side in args.size.split("x"))

    config = UNet3DConditionModel.load_config(args.unet)
    unet = UNet3DConditionModel.from_config(config).to(device, dtype).eval().requires_grad_(False)
    draw = lambda *shape: torch.randn(*shape, device=device, dtype=dtype)
    latents = lambda batch: draw(batch, 4, args.frames, height, width)
    text = lambda batch: draw(batch, 77, unet.config.cross_attention_dim)

    sample, states = latents(2), text(2)

    @torch.no_grad()
    def denoise():
        unet(sample, 501, states).sample.sum().item()

    print(json.dumps({"work": "denoising step with guidance", **measure(device, args.steps, denoise)}))
    del sample, states

    UNet3DConditionModel._supports_gradient_checkpointing = True  # its blocks do, the class does not say so
    unet.enable_gradient_checkpointing()
    unet.train()  # the library recomputes in this mode alone; dropout in the temporal convolutions is its own
    parameters = with_motion(unet, args.frames, height, width, device)
    adamw = torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.01)
    sample, states, noise = latents(1), text(1), latents(1)

    def learn():
        error = unet(sample, 501, states).sample.float() - noise.float()
        debiased = error * 2**0.5 - error[:, :, :1]
        (error.square().mean() + debiased.square().mean()).backward()
        adamw.step()
        adamw.zero_grad()

    print(json.dumps({"work": "inversion step, Recompute", **measure(device, args.steps, learn)}))


if __name__ == "__main__":
    main()
