"""The reference implementation that Kinvert is measured against: the networks of diffusers, and the method on top of
them by hooks of our own that do what its published code does.

    pip install -r benches/requirements.txt
    python benches/reference.py transfer examples/bounce.mp4 --caption "a red circle on a gray background" \
        --prompt "a yellow star on a striped background" --out reference-out
    echo inversion_step | python benches/reference.py serve
    python benches/reference.py serve --model tests/fixtures/published/zeroscope_v2_576w --dtype bf16 --device cuda

`transfer` does on the built-in model what `kinvert transfer` does with the same settings. `serve` does one unit of work
for each line of standard input that names one, and tells the seconds; `benches/compare.py` talks to it and to Kinvert's
bench `work` in turn.

In 16 bits all weights are in that format. Learning in f16 computes under autocast and with a scaled loss, as the
published code does; bf16 needs neither. Embeddings and their optimiser are f32 always.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import sys
import time

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
WORKS = ["inversion_step", "denoising_step", "vae_decode"]

BUILT_IN = pathlib.Path(__file__).resolve().parent.parent / "crates/world/assets/model"

# Settings of the published code, of which a model's `kinvert.json` may change some.
PUBLISHED = {
    "inversion": {
        "steps": 400,
        "learning_rate": 0.02,
        "weight_decay": 0.01,
        "timesteps": {"first": 0, "last": 999},
        "ddim_inversion_steps": 50,
    },
    "generation": {"steps": 30, "guidance": 12.0, "difference_gain": 1.0, "noise_prior": 0.5},
}
SCHEDULER = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}

# The published sites are those of this width; a network without any gets embeddings at all.
PUBLISHED_CHANNELS = 1280

# Layers of which activations are computed again on the way back. The published code wraps these; diffusers itself would
# recompute nothing but the spatial transformers.
RECOMPUTED = ("ResnetBlock2D", "TemporalConvLayer", "Transformer2DModel", "TransformerTemporalModel")

# Frames that the autoencoder decodes at a time: as fast as a whole clip on two cores, faster than fewer.
DECODED_FRAMES = 8


def seconds_since_start():
    """Seconds since the process was created, so that imports count."""
    after_name = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


class MotionAttention:
    """An attention processor with motion embeddings (Eq. 3): MQK joins what queries and keys are projected from, MV
    what values are. MV has a row for every position and is the same for every clip of a batch."""

    def __init__(self, query_key, value):
        self.query_key, self.value = query_key, value

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        dtype = hidden_states.dtype
        query_key = hidden_states + self.query_key.to(dtype)
        value = (hidden_states.unflatten(0, (-1, len(self.value))) + self.value.to(dtype)).flatten(0, 1)
        split = lambda x: x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        mixed = torch.nn.functional.scaled_dot_product_attention(
            split(attn.to_q(query_key)), split(attn.to_k(query_key)), split(attn.to_v(value))
        )
        return attn.to_out[1](attn.to_out[0](mixed.transpose(1, 2).flatten(-2)))


def published_sites(unet):
    """Temporal blocks on the way down and up: those of the published width, or all if there are none."""
    pattern = re.compile(r"(down|up)_blocks\.(\d+)\.temp_attentions\.\d+\.transformer_blocks\.0")
    found = [(match, block) for name, block in unet.named_modules() if (match := pattern.fullmatch(name))]
    wide = [site for site in found if site[1].norm1.normalized_shape[0] == PUBLISHED_CHANNELS]
    last = len(unet.config.block_out_channels) - 1
    for match, block in wide or found:
        index = int(match[2])
        yield block, index if match[1] == "down" else last - index  # how often latents were halved before it


class Motion:
    """The embeddings of all sites: an MQK for a block's two attentions, and an MV for each of them."""

    def __init__(self, unet, frames, latent_size):
        self.parameters, self.processors = [], []
        for block, halvings in published_sites(unet):
            rows, columns = (-(-side // 2**halvings) for side in latent_size)
            channels = block.norm1.normalized_shape[0]
            zeros = lambda n: torch.nn.Parameter(torch.zeros(n, frames, channels, device=unet.device))
            query_key, values = zeros(1), [zeros(rows * columns), zeros(rows * columns)]
            self.parameters += [query_key, *values]
            for attn, value in zip((block.attn1, block.attn2), values):
                self.processors.append((attn, attn.processor, MotionAttention(query_key, value)))

    def enter(self):
        for attn, _, with_motion in self.processors:
            attn.processor = with_motion

    def leave(self):
        for attn, plain, _ in self.processors:
            attn.processor = plain

    @torch.no_grad()
    def debias(self, gain):
        """Replaces values by their differences from frame to frame (Eq. 5), times a gain."""
        for _, _, with_motion in self.processors:
            value = with_motion.value
            value[:, 1:] -= value[:, :-1].clone()
            value *= gain


def recompute(unet):
    """Keeps of each layer what goes in, and computes the rest again on the way back."""
    for module in unet.modules():
        if type(module).__name__ in RECOMPUTED:
            module.forward = recomputing(module.forward)


def recomputing(forward):
    def run(*args, **kwargs):
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return torch.utils.checkpoint.checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return run


class Networks:
    """Frozen networks in evaluation mode, and a noise schedule."""

    def __init__(self, unet, vae, scheduler, device, dtype):
        self.unet, self.vae = (part.to(device).eval().requires_grad_(False) for part in (unet, vae))
        self.scheduler, self.device, self.dtype = scheduler, device, dtype

    @classmethod
    def built_in(cls, device, dtype):
        part = lambda kind, name: kind.from_pretrained(BUILT_IN / name, torch_dtype=dtype)
        scheduler = DDIMScheduler.from_pretrained(BUILT_IN / "scheduler")
        return cls(part(UNet3DConditionModel, "unet"), part(AutoencoderKL, "vae"), scheduler, device, dtype)

    @classmethod
    def random(cls, folder, device, dtype):
        """Networks of a model's configurations with random weights, made where they are used."""
        part = lambda kind, name: kind.from_config(kind.load_config(folder / name))
        torch.set_default_dtype(dtype)
        with torch.device(device):
            unet, vae = part(UNet3DConditionModel, "unet"), part(AutoencoderKL, "vae")
        torch.set_default_dtype(torch.float32)
        return cls(unet, vae, DDIMScheduler(**SCHEDULER), device, dtype)

    @torch.inference_mode()
    def invert(self, latents, text, steps):
        """The noise from which DDIM would come to the latents."""
        from diffusers import DDIMInverseScheduler

        scheduler = DDIMInverseScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(steps)
        for timestep in scheduler.timesteps.tolist():
            predicted = self.unet(latents, timestep, text, return_dict=False)[0]
            latents = scheduler.step(predicted, timestep, latents, return_dict=False)[0]
        return latents

    @torch.inference_mode()
    def denoise(self, latents, timestep, texts, guidance):
        """One step of DDIM with guidance; `texts` are the states of the negative prompt and of the prompt."""
        both = self.unet(torch.cat([latents, latents]), timestep, texts, return_dict=False)[0]
        negative, positive = both.chunk(2)
        predicted = negative + guidance * (positive - negative)
        return self.scheduler.step(predicted, timestep, latents, return_dict=False)[0]

    @torch.inference_mode()
    def encode(self, frames):
        """Latents `[1, channels, frames, height, width]` of pixels `[frames, 3, height, width]` in -1..1."""
        mean = self.vae.encode(frames.to(self.device, self.dtype)).latent_dist.mean
        return (mean * self.vae.config.scaling_factor).transpose(0, 1).unsqueeze(0)

    @torch.inference_mode()
    def decode(self, latents):
        """Pixels `[frames, 3, height, width]` on the host."""
        latents = latents[0].transpose(0, 1) / self.vae.config.scaling_factor
        slices = latents.split(DECODED_FRAMES)
        return torch.cat([self.vae.decode(some, return_dict=False)[0] for some in slices]).cpu()


class Learner:
    """Fits embeddings to one clip by the debiased temporal loss (Eq. 4)."""

    def __init__(self, networks, latents, text, settings):
        self.networks, self.latents, self.text = networks, latents, text
        self.timesteps = settings["timesteps"]["first"], settings["timesteps"]["last"] + 1
        frames, *latent_size = latents.shape[2:]
        self.motion = Motion(networks.unet, frames, latent_size)
        rate, decay = settings["learning_rate"], settings["weight_decay"]
        self.adamw = torch.optim.AdamW(self.motion.parameters, lr=rate, weight_decay=decay, fused=True)
        half = networks.dtype == torch.float16
        kind = torch.device(networks.device).type
        self.autocast = torch.autocast(kind, torch.float16, enabled=half)
        self.scaler = torch.amp.GradScaler(kind, enabled=half)

    def step(self):
        """Draws a timestep, noise and a frame, and moves the embeddings by AdamW. Returns the loss."""
        latents = self.latents
        timestep = torch.randint(*self.timesteps, (1,), device=latents.device)
        noise = torch.randn_like(latents)
        frame = int(torch.randint(latents.shape[2], ()))
        noisy = self.networks.scheduler.add_noise(latents, noise, timestep)
        with self.autocast:
            predicted = self.networks.unet(noisy, timestep, self.text, return_dict=False)[0]
        # Debiasing is linear: that of the prediction less that of the noise is that of the error.
        error = predicted.float() - noise.float()
        debiased = 2**0.5 * error - error[:, :, frame, None]
        loss = error.square().mean() + debiased.square().mean()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.adamw)
        self.scaler.update()
        self.adamw.zero_grad()
        return loss.detach()


def units_of_work(args):
    """Each unit by its name, as a function that does it once on random latents and text."""
    device, dtype = args.device, DTYPES[args.dtype]
    if args.model:
        networks, size, frames, tokens = Networks.random(args.model, device, dtype), "576x320", 24, 77
    else:
        networks, size, frames, tokens = Networks.built_in(device, dtype), "64x64", 16, 16
    if args.recompute:
        recompute(networks.unet)
    width, height = (int(side) // 8 for side in (args.size or size).split("x"))
    draw = lambda *shape: torch.randn(*shape, device=device, dtype=dtype)
    text = lambda batch: draw(batch, tokens, networks.unet.config.cross_attention_dim)
    latents = draw(1, networks.unet.config.in_channels, args.frames or frames, height, width)
    learner = Learner(networks, latents, text(1), PUBLISHED["inversion"])
    texts = text(2)
    generation = PUBLISHED["generation"]
    networks.scheduler.set_timesteps(generation["steps"])
    timestep = networks.scheduler.timesteps.tolist()[generation["steps"] // 2]

    def inversion_step():
        learner.motion.enter()
        learner.step()
        learner.motion.leave()

    def denoising_step():
        networks.denoise(latents, timestep, texts, generation["guidance"])

    def vae_decode():
        networks.decode(latents)

    return dict(zip(WORKS, (inversion_step, denoising_step, vae_decode), strict=True))


def serve(args):
    """Does what standard input says, one unit a line; standard output carries nothing but the answers."""
    out, sys.stdout = sys.stdout, sys.stderr
    say = lambda **answer: print(json.dumps(answer), file=out, flush=True)
    cuda = args.device.startswith("cuda")
    wait = torch.cuda.synchronize if cuda else lambda: None
    units = units_of_work(args)
    wait()
    say(ready=True, works=WORKS, seconds=seconds_since_start())
    for line in sys.stdin:
        name = line.strip()
        if name not in units:
            sys.exit(f"one of {', '.join(WORKS)} was expected, not {name!r}")
        started = time.perf_counter()
        units[name]()
        wait()
        say(work=name, seconds=time.perf_counter() - started)
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    say(peak_bytes=torch.cuda.max_memory_reserved() if cuda else process)


class Stopwatch:
    """Wall-clock times of the stages of a run, by the names that Kinvert gives them."""

    def __init__(self):
        self.stages = []

    def time(self, stage, work):
        print(stage, file=sys.stderr)
        started = time.perf_counter()
        result = work()
        self.stages.append({"stage": stage, "wall_s": time.perf_counter() - started})
        return result


def transfer_settings(args):
    """The published settings, with what the built-in model recommends and the command line says."""
    recommended = json.loads((BUILT_IN / "kinvert.json").read_text())
    inversion, generation = ({**PUBLISHED[key], **recommended[key]} for key in ("inversion", "generation"))
    inversion["steps"] = args.steps or inversion["steps"]
    inversion["ddim_inversion_steps"] = args.ddim_inversion_steps or inversion["ddim_inversion_steps"]
    generation["steps"] = args.sampling_steps or generation["steps"]
    return inversion, generation, recommended


def read_clip(path, model):
    """The first frames of a clip, `[frames, height, width, 3]`, which must have the model's size."""
    import imageio.v3 as imageio

    frames = imageio.imread(path, plugin="FFMPEG")[: model["frames"]]
    if len(frames) < model["frames"] or [*frames.shape[2:0:-1]] != model["size"]:
        sys.exit(f"{path}: {model['frames']} frames of {model['size']} were expected, not {frames.shape}")
    return frames


def write_clip(stem, frames, fps):
    import imageio.v3 as imageio

    imageio.imwrite(stem.with_suffix(".mp4"), frames, plugin="FFMPEG", fps=fps, macro_block_size=1)
    imageio.imwrite(stem.with_suffix(".gif"), frames, duration=1000 / fps, loop=0)


def transfer(args):
    """Reads the clip, learns its motion, generates a clip that moves as it does, and writes it beside the reference."""
    from transformers import CLIPTextModel, CLIPTokenizer

    torch.manual_seed(args.seed)
    inversion, generation, model = transfer_settings(args)
    stopwatch = Stopwatch()
    clip = read_clip(args.clip, model)
    args.out.mkdir(parents=True, exist_ok=True)
    networks = Networks.built_in("cpu", torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(BUILT_IN / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(BUILT_IN / "text_encoder", dtype=torch.float32).eval()
    with torch.inference_mode():
        prompts = tokenizer([args.caption, args.prompt, ""], padding="max_length", truncation=True, return_tensors="pt")
        caption, prompt, empty = encoder(prompts.input_ids).last_hidden_state.split(1)

    pixels = torch.from_numpy(clip).permute(0, 3, 1, 2) / 127.5 - 1
    latents = stopwatch.time("encoding the clip", lambda: networks.encode(pixels))
    start_s = seconds_since_start()
    inverted = stopwatch.time(
        "inverting the clip", lambda: networks.invert(latents, empty, inversion["ddim_inversion_steps"])
    )

    # What was made in inference mode cannot take part in a graph.
    learner = Learner(networks, latents.clone(), caption.clone(), inversion)
    learner.motion.enter()
    learn = lambda: [learner.step() for _ in range(inversion["steps"])]
    losses = stopwatch.time("learning the motion", learn)
    learner.motion.debias(generation["difference_gain"])

    prior, noise = generation["noise_prior"], torch.randn_like(inverted)
    start = prior**0.5 * inverted + (1 - prior) ** 0.5 * noise
    networks.scheduler.set_timesteps(generation["steps"])

    def generate():
        moving, texts = start, torch.cat([empty, prompt])
        for timestep in networks.scheduler.timesteps.tolist():
            moving = networks.denoise(moving, timestep, texts, generation["guidance"])
        return moving

    generated = stopwatch.time("generating", generate)
    decoded = stopwatch.time("decoding the clip", lambda: networks.decode(generated))
    result = (decoded * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()

    def write():
        write_clip(args.out / "result", result, model["fps"])
        together = torch.cat([torch.from_numpy(clip), torch.from_numpy(result)], dim=2).numpy()
        write_clip(args.out / "side_by_side", together, model["fps"])

    stopwatch.time("writing", write)
    report = {
        "inversion": inversion,
        "generation": generation,
        "losses": [float(loss) for loss in losses],
        "stages": stopwatch.stages,
        "start_s": start_s,
        "total_s": seconds_since_start(),
    }
    (args.out / "run.json").write_text(json.dumps(report, indent=2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    serving = commands.add_parser("serve", help="do units of work as standard input says")
    serving.set_defaults(run=serve)
    model = "a model's folder, of which configurations are read; weights are random. Without one, the built-in model"
    serving.add_argument("--model", type=pathlib.Path, help=model)
    serving.add_argument("--size", help="WxH in pixels; 64x64 for the built-in model, else 576x320")
    serving.add_argument("--frames", type=int, help="16 for the built-in model, else 24")
    serving.add_argument("--dtype", choices=DTYPES, default="f32")
    serving.add_argument("--device", default="cpu")
    again = "compute activations again on the way back, as the published code does"
    serving.add_argument("--recompute", action="store_true", help=again)

    transferring = commands.add_parser("transfer", help="learn a clip's motion and replay it, on the built-in model")
    transferring.set_defaults(run=transfer)
    transferring.add_argument("clip", type=pathlib.Path)
    transferring.add_argument("--caption", required=True)
    transferring.add_argument("--prompt", required=True)
    transferring.add_argument("--out", type=pathlib.Path, required=True)
    transferring.add_argument("--seed", type=int, default=0)
    for option in ("--steps", "--ddim-inversion-steps", "--sampling-steps"):
        transferring.add_argument(option, type=int, help="as the model recommends if absent")

    for command in (serving, transferring):
        command.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True  # shapes stay the same
    args.run(args)


if __name__ == "__main__":
    main()
