"""Loads a model that `kinvert-sprites train` wrote with the reference libraries, runs it, and compares it with Kinvert.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors pillow
    python benches/load_with_diffusers.py FOLDER [--kinvert target/release/kinvert]

Every part is loaded by its published class. With --kinvert, both programs generate a clip from the same noise-free
settings; their draws differ, so what is compared is that CLIP reads the prompt in both.
"""

import argparse
import pathlib
import subprocess
import tempfile

import torch
from diffusers import TextToVideoSDPipeline
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer

PROMPTS = [
    "a red circle on a gray background",
    "an orange star on a navy background",
    "a cyan square on a checkered background",
]


def frames_of_gif(path):
    gif = Image.open(path)
    frames = []
    for index in range(gif.n_frames):
        gif.seek(index)
        frames.append(gif.convert("RGB"))
    return frames


def pixel_values(frames):
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    frames = torch.stack([torch.frombuffer(bytearray(f.tobytes()), dtype=torch.uint8) for f in frames])
    frames = frames.view(-1, 64, 64, 3).permute(0, 3, 1, 2) / 255
    return (frames - mean) / std


def cosines(clip, tokenizer, frames):
    ids = tokenizer(PROMPTS, padding="max_length", max_length=16, return_tensors="pt").input_ids
    with torch.no_grad():
        texts = clip.text_projection(clip.text_model(input_ids=ids).pooler_output)
        images = clip.visual_projection(clip.vision_model(pixel_values=pixel_values(frames)).pooler_output)
    texts, images = (x / x.norm(dim=-1, keepdim=True) for x in (texts, images))
    return (images @ texts.T).mean(0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--kinvert", type=pathlib.Path)
    arguments = parser.parse_args()
    pipeline = TextToVideoSDPipeline.from_pretrained(arguments.folder, torch_dtype=torch.float32)
    clip = CLIPModel.from_pretrained(arguments.folder / "clip", torch_dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(arguments.folder / "clip")
    numbers = {name: sum(p.numel() for p in part.parameters()) for name, part in
               [("unet", pipeline.unet), ("vae", pipeline.vae), ("text", pipeline.text_encoder), ("clip", clip)]}
    print("parameters:", numbers)
    for index, prompt in enumerate(PROMPTS):
        torch.manual_seed(index)
        output = pipeline(prompt, num_frames=16, height=64, width=64, num_inference_steps=15,
                          guidance_scale=5.0, output_type="pil").frames[0]
        report("diffusers", prompt, index, cosines(clip, tokenizer, output))
        if arguments.kinvert:
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "clip.gif"
                subprocess.run([arguments.kinvert, "generate", "--model", arguments.folder, "--prompt", prompt,
                                "--steps", "15", "--guidance", "5", "-o", path, "-q"], check=True)
                report("kinvert", prompt, index, cosines(clip, tokenizer, frames_of_gif(path)))


def report(program, prompt, index, found):
    verdict = "right" if int(found.argmax()) == index else "WRONG"
    print(f"{program:10} {prompt!r}: {verdict}, cosines {[round(float(x), 2) for x in found]}")


if __name__ == "__main__":
    main()
